//! `reveal`: the one way in which a bundle sees a secret. Linked only where it was granted, and
//! each use is written to the audit trail before the value is given.

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

/// What is done before a bundle is shown the secret at a place: whoever embeds the sandbox writes
/// it down. Where that fails, the secret is not shown.
#[derive(Clone)]
pub struct RevealHook(Arc<Hook>);

type Hook = dyn Fn(Pointer) -> BoxFuture<'static, Result<(), Problem>> + Send + Sync;

impl RevealHook {
    /// A hook from a function.
    pub fn new<F>(hook: impl Fn(Pointer) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Problem>> + Send + 'static,
    {
        Self(Arc::new(move |pointer| Box::pin(hook(pointer))))
    }

    /// A hook for where there is no secret to show.
    pub(crate) fn none() -> Self {
        Self::new(async |_| Err(Problem::new("denied", "there is nothing to reveal")))
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
