//! In-process tests of the sandbox: malformed files, concurrent calls, a manipulated cache, and
//! thousands of instances. Attacks that a single call of the binary can show are in
//! `tests/e2e/attacks.rs`.

#[allow(dead_code, unreachable_pub, reason = "the tests of the binary use the rest")]
#[path = "../../../../tests/src/attack.rs"]
mod attack;

mod beside;
mod cache;
mod loading;
mod migrate;
mod soak;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use blockyard_host::{
    Block, Bundle, CallSecret, Deadline, GuessingHook, HostError, Invocation, Problem, Reply, RevealHook, Sandbox,
    SandboxConfig, Usage,
};
use blockyard_model::{Effect, Pointer};
use serde_json::{Value, json};

fn sandbox() -> Sandbox {
    Sandbox::new(&SandboxConfig::default()).expect("a sandbox")
}

/// Loads a bundle that is built from a text in the format of `attack.rs`.
async fn load(sandbox: &Sandbox, name: &str, text: &str) -> Result<Bundle, HostError> {
    sandbox.load(Arc::new(attack::build(name, text))).await
}

/// Loads one of the attack bundles.
async fn load_attack(sandbox: &Sandbox, name: &str) -> Bundle {
    sandbox.load(Arc::new(attack::attack(name))).await.unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn invocation(bundle: &Bundle, deadline: Duration) -> Invocation {
    Invocation {
        block: Block {
            type_slug: bundle.manifest().name.to_string(),
            name: "a".to_owned(),
            revision: 1,
            config: json!({"note": "here"}),
        },
        effect: Effect::Write,
        safe: Vec::new(),
        secrets: BTreeMap::<Pointer, CallSecret>::new(),
        sql: Vec::new(),
        usage: Usage::new(Arc::new(bundle.manifest().capabilities.clone())),
        deadline: Deadline::within(deadline),
        reveal: RevealHook::new(async |_| Err(Problem::new("denied", "there is nothing to reveal"))),
        guessed: GuessingHook::none(),
    }
}

async fn call(sandbox: &Sandbox, bundle: &Bundle, operation: &str, deadline: Duration) -> Result<Reply, HostError> {
    sandbox.invoke(bundle, invocation(bundle, deadline), operation, &json!({}), None).await
}

/// Makes a call that must succeed.
async fn well(sandbox: &Sandbox, bundle: &Bundle) {
    let reply = call(sandbox, bundle, "well", Duration::from_secs(60)).await;
    assert_eq!(reply.unwrap_or_else(|error| panic!("{error}")).result, Value::Null);
}
