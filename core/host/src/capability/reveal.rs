//! `reveal`: the only way for a bundle to read the value of a secret. It is linked only if it is
//! granted, and each use is recorded in the audit trail before the value is returned.

use std::fmt;
use std::sync::Arc;

use blockyard_model::Pointer;
use futures_util::future::BoxFuture;
use wasmtime::component::Resource;

use crate::bindings::blockyard::bundle::reveal::Host;
use crate::capability::secrets::Secret;
use crate::problem::{Fault, Problem};
use crate::state::CallState;
use crate::trace;

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

    /// Creates a hook that refuses every access, for calls that have no secrets to reveal.
    pub(crate) fn none() -> Self {
        Self::new(async |_| Err(Problem::new("denied", "this call has no secrets to reveal")))
    }
}

impl Host for CallState {
    async fn reveal(&mut self, secret: Resource<Secret>) -> Result<Vec<u8>, Fault> {
        let _traced = trace::host_call("reveal.reveal");
        let pointer = self.table.get(&secret)?.pointer.clone();
        let known = self.secrets.get(&pointer);
        let value = known.ok_or_else(|| Problem::new("not-found", "the block has no such secret"))?.value.clone();
        (self.reveal.0)(pointer).await?;
        Ok(value.expose().as_bytes().to_vec())
    }
}

impl fmt::Debug for RevealHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RevealHook")
    }
}
