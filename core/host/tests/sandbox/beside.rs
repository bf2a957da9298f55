//! Concurrent calls: a guest in an endless loop does not delay other calls, and a crash of a guest
//! or of a host function affects only its own call.

use std::time::{Duration, Instant};

use blockyard_host::{CallSecret, HostError, Input, Problem, RevealHook};
use blockyard_model::{Pointer, SecretUse, SecretValue};
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::{call, invocation, load, load_attack, sandbox, well};

const LONG: Duration = Duration::from_secs(120);

/// A bundle that sleeps for 20 milliseconds.
const WAITS: &str = r#"
;; capabilities: clock
(import "blockyard:bundle/clock@0.1.0" "sleep" (func $sleep (param i32)))
(func $invoke (type $call) (call $sleep (i32.const 20)) (call $null))
"#;

/// A bundle that reveals its secret.
const REVEALS: &str = r#"
;; capabilities: secrets, reveal
(import "blockyard:bundle/secrets@0.1.0" "open" (func $open (param i32 i32 i32)))
(import "blockyard:bundle/reveal@0.1.0" "reveal" (func $reveal (param i32 i32)))
(data (i32.const 512) "/token")
(func $invoke (type $call)
    (call $open (i32.const 512) (i32.const 6) (i32.const 600))
    (call $reveal (i32.load (i32.const 604)) (i32.const 700))
    (call $null))
"#;

/// A bundle that reads its input.
const READS: &str = r#"
(import "blockyard:bundle/streams@0.1.0" "[method]body.read" (func $read (param i32 i32 i32)))
(func $invoke (type $call) (call $read (local.get 12) (i32.const 1024) (i32.const 600)) (call $null))
"#;

/// Returns the longest duration of a healthy call that runs concurrently with endless loops.
async fn slowest_beside_spinners() -> Duration {
    let sandbox = sandbox();
    let spinner = load_attack(&sandbox, "loop-in-invoke").await;
    let bundle = load_attack(&sandbox, "loop-in-validate").await;
    let healthy = load(&sandbox, "healthy", WAITS).await.expect("a bundle");
    well(&sandbox, &healthy).await;
    well(&sandbox, &spinner).await;
    let mut spinners = Vec::new();
    for _ in 0..12 {
        let (sandbox, spinner) = (sandbox.clone(), spinner.clone());
        spinners.push(tokio::spawn(async move { call(&sandbox, &spinner, "go", LONG).await.map(drop) }));
    }
    for _ in 0..4 {
        let (sandbox, bundle) = (sandbox.clone(), bundle.clone());
        let validated = async move { sandbox.validate(&bundle, "loop-in-validate", &json!({})).await.map(drop) };
        spinners.push(tokio::spawn(validated));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        call(&sandbox, &healthy, "go", LONG).await.expect("a healthy call");
        slowest = slowest.max(began.elapsed());
    }
    assert!(!spinners[0].is_finished(), "nothing spun");
    for spinner in &spinners {
        spinner.abort();
    }
    slowest
}

// 16 looping threads share the processors with the worker. If the loops ran on the worker, each of
// a call's two waits would take 61 ticks, because tokio polls timers only every 61 tasks.
#[tokio::test(flavor = "current_thread")]
async fn a_computing_guest_does_not_block_other_calls_with_one_worker() {
    let slowest = slowest_beside_spinners().await;
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_computing_guest_does_not_block_other_calls_with_two_workers() {
    let slowest = slowest_beside_spinners().await;
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_concurrency_limit_wait_and_complete() {
    let sandbox = sandbox();
    let bundle = load(&sandbox, "healthy", WAITS).await.expect("a bundle");
    let calls = (0..4 * blockyard_host::limits::CONCURRENT_CALLS).map(|_| call(&sandbox, &bundle, "go", LONG));
    let done = futures_util::future::join_all(calls).await;
    assert!(done.iter().all(Result::is_ok), "{:?}", done.into_iter().find_map(Result::err));
}

#[tokio::test]
async fn waiting_for_a_permit_ends_at_the_deadline() {
    let sandbox = sandbox();
    let waits = load_attack(&sandbox, "wait-past-the-deadline").await;
    let healthy = load(&sandbox, "healthy", "").await.expect("a bundle");
    let mut holders = Vec::new();
    for _ in 0..blockyard_host::limits::CONCURRENT_CALLS {
        let (sandbox, waits) = (sandbox.clone(), waits.clone());
        holders.push(tokio::spawn(async move { call(&sandbox, &waits, "go", LONG).await.map(drop) }));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = call(&sandbox, &healthy, "well", Duration::from_millis(300)).await;
    assert!(matches!(refused, Err(HostError::Deadline(_))), "all permits are taken");
    // An aborted call releases its permit.
    for holder in &holders {
        holder.abort();
    }
    well(&sandbox, &healthy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_does_not_affect_other_calls() {
    let sandbox = sandbox();
    let (trap, counter) = (load_attack(&sandbox, "trap").await, load_attack(&sandbox, "counter-across-calls").await);
    let pairs = (0..100).map(async |_| {
        let (trapped, counted) = tokio::join!(call(&sandbox, &trap, "go", LONG), call(&sandbox, &counter, "go", LONG));
        assert!(matches!(trapped, Err(HostError::Crash { .. })));
        // No call sees the counter of another call.
        assert_eq!(counted.expect("a healthy call").result, json!(1));
    });
    futures_util::future::join_all(pairs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_panic_fails_only_its_call() {
    let sandbox = sandbox();
    let reveals = load(&sandbox, "reveals", REVEALS).await.expect("a bundle");
    let pairs = (0..blockyard_host::limits::CONCURRENT_CALLS * 2).map(async |_| {
        let mut panics = invocation(&reveals, LONG);
        let secret = CallSecret { value: SecretValue::new("token-secret-7431".to_owned()), uses: SecretUse::default() };
        panics.secrets.insert(Pointer::new("/token"), secret);
        // The embedding program's reveal hook counts as host code.
        panics.reveal = RevealHook::new(async |_| panic!("the vault fell over token-secret-7431"));
        let nothing = json!({});
        let panics = sandbox.invoke(&reveals, panics, "go", &nothing, None);
        let (panicked, ()) = tokio::join!(panics, well(&sandbox, &reveals));
        let Err(HostError::Panic { bundle, reason }) = panicked.map(drop) else { panic!("it did not panic") };
        assert_eq!((bundle.as_str(), reason.as_str()), ("reveals", "the vault fell over ********"));
    });
    futures_util::future::join_all(pairs).await;
    // No permit was lost, although twice as many calls panicked as there are permits.
    well(&sandbox, &reveals).await;
}

#[tokio::test]
async fn a_panic_in_a_stream_fails_only_its_call() {
    let sandbox = sandbox();
    let reads = load(&sandbox, "reads", READS).await.expect("a bundle");
    let held = std::sync::Arc::new(());
    let guard = held.clone();
    let stream = stream::once(async move {
        let _guard = guard;
        panic!("the disk fell over")
    });
    let input = Input { media_type: "text/plain".to_owned(), size: None, stream: stream.boxed() };
    let panicked = sandbox.invoke(&reads, invocation(&reads, LONG), "go", &json!({}), Some(input)).await;
    assert!(matches!(panicked.map(drop), Err(HostError::Panic { reason, .. }) if reason == "the disk fell over"));
    // The resources of the call are closed.
    assert_eq!(std::sync::Arc::strong_count(&held), 1);
    well(&sandbox, &reads).await;
}

#[tokio::test]
async fn a_canceled_call_releases_its_resources() {
    let sandbox = sandbox();
    let reads = load(&sandbox, "reads", READS).await.expect("a bundle");
    let held = std::sync::Arc::new(());
    let guard = held.clone();
    let stream = stream::once(async move {
        let _guard = guard;
        std::future::pending::<Result<bytes::Bytes, Problem>>().await
    });
    let input = Input { media_type: "text/plain".to_owned(), size: None, stream: stream.boxed() };
    let nothing = json!({});
    let reading = sandbox.invoke(&reads, invocation(&reads, LONG), "go", &nothing, Some(input));
    assert!(tokio::time::timeout(Duration::from_millis(300), reading).await.is_err());
    // The call may be on its separate thread, which then releases the input.
    let released = async {
        while std::sync::Arc::strong_count(&held) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, released).await.expect("the input is released");
}
