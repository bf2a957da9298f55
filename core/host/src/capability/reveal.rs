//! `reveal`: the only way for a bundle to read the value of a secret. It is linked only if it is
//! granted, and each use is recorded in the audit trail before the value is returned.

use std::fmt;
use std::sync::Arc;

use blockyard_call::bindings::blockyard::bundle::types;
use blockyard_call::{CallContext, Fault, Problem, Secret, trace};
use blockyard_model::{Capability, Pointer};
use futures_util::future::BoxFuture;
use wasmtime::component::{HasData, Linker, Resource};

use crate::bindings::blockyard::bundle::reveal::{self, Host};

/// A function that runs before a bundle receives the value of a secret. The embedding program uses
/// it to record the access in its audit trail. If the function fails, the value is not returned.
#[derive(Clone)]
pub struct RevealHook(Arc<Hook>);

type Hook = dyn Fn(Pointer) -> BoxFuture<'static, Result<(), Problem>> + Send + Sync;

impl RevealHook {
    /// Creates a hook from an asynchronous function, which receives the JSON Pointer of the secret.
    pub fn new<F>(hook: impl Fn(Pointer) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Problem>> + Send + 'static,
    {
        Self(Arc::new(move |pointer| Box::pin(hook(pointer))))
    }
}

/// View of a call that `reveal` needs.
pub(crate) struct RevealView<'call> {
    pub(crate) call: &'call mut CallContext,
    pub(crate) hook: &'call RevealHook,
}

/// Names [`RevealView`] as the data of the interface.
struct HasReveal;

impl HasData for HasReveal {
    type Data<'call> = RevealView<'call>;
}

/// Links the interface `reveal`.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> RevealView<'_>,
) -> wasmtime::Result<()> {
    reveal::add_to_linker::<T, HasReveal>(linker, view)
}

impl types::Host for RevealView<'_> {
    fn convert_problem(&mut self, fault: Fault) -> wasmtime::Result<types::Problem> {
        self.call.convert_problem(fault)
    }
}

impl Host for RevealView<'_> {
    async fn reveal(&mut self, secret: Resource<Secret>) -> Result<Vec<u8>, Fault> {
        let _traced = trace::host_call("reveal.reveal");
        self.call.usage.record(&Capability::Reveal);
        let (pointer, secret) = self.call.secret(&secret)?;
        let (pointer, value) = (pointer.clone(), secret.value.clone());
        (self.hook.0)(pointer).await?;
        Ok(value.expose().as_bytes().to_vec())
    }
}

impl fmt::Debug for RevealHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RevealHook")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use blockyard_call::CallSecret;
    use blockyard_model::{Effect, SecretUse, SecretValue};

    use super::*;

    /// Reveals the secret `hunter7` with this hook.
    async fn revealed(hook: RevealHook) -> Result<Vec<u8>, Fault> {
        let pointer = Pointer::new("/password");
        let secret = CallSecret { value: SecretValue::new("hunter7".to_owned()), uses: SecretUse::default() };
        let secrets = BTreeMap::from([(pointer.clone(), secret)]);
        let (bundle, block) = ("zoo".to_owned(), "zoo/a@1".to_owned());
        let config = serde_json::Value::Null;
        let mut call = CallContext::new(bundle, Effect::Read, config, block, secrets, Arc::default());
        let handle = call.table.push(Secret { pointer }).expect("a handle");
        RevealView { call: &mut call, hook: &hook }.reveal(handle).await
    }

    #[tokio::test]
    async fn a_value_is_returned_after_its_use_is_recorded() {
        let recorded = RevealHook::new(async |pointer: Pointer| {
            assert_eq!(pointer.as_str(), "/password");
            Ok(())
        });
        assert_eq!(revealed(recorded).await.expect("the value"), b"hunter7");
        let failing = RevealHook::new(async |_| Err(Problem::new("unavailable", "the audit trail is full")));
        let Err(Fault::Problem(problem)) = revealed(failing).await else { panic!("the value must not be returned") };
        assert_eq!(problem.message, "the audit trail is full");
    }
}
