//! `reveal`: the only way for a bundle to read the value of a secret. It is linked only if it is
//! granted, and each use is recorded in the audit trail before the value is returned.

use std::fmt;
use std::sync::Arc;

use blockyard_call::bindings::blockyard::bundle::types;
use blockyard_call::{CallContext, Fault, Problem, Secret, trace};
use blockyard_model::Pointer;
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
        let pointer = self.call.table.get(&secret)?.pointer.clone();
        let known = self.call.secrets.get(&pointer);
        let value = known.ok_or_else(|| Problem::new("not-found", "the block has no such secret"))?.value.clone();
        (self.hook.0)(pointer).await?;
        Ok(value.expose().as_bytes().to_vec())
    }
}

impl fmt::Debug for RevealHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RevealHook")
    }
}
