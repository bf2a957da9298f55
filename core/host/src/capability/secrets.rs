//! `secrets`: the secret fields of the block under call, as handles. The values stay in
//! [`CallState`]; a handle knows a place.

use blockyard_model::Pointer;
use wasmtime::component::Resource;

use crate::bindings::blockyard::bundle::secrets::{Host, HostSecret};
use crate::problem::{Fault, Problem, quoted};
use crate::state::CallState;
use crate::trace;

/// What the guest holds: the place of a secret, not the secret.
#[derive(Debug)]
pub struct Secret {
    pub(crate) pointer: Pointer,
}

impl Host for CallState {
    async fn open(&mut self, pointer: String) -> Result<Resource<Secret>, Fault> {
        let _traced = trace::inner_call("secrets.open");
        let pointer = Pointer::new(pointer);
        if !self.secrets.contains_key(&pointer) {
            return Err(Problem::new(
                "not-found",
                format!("the block has no secret at `{}`", quoted(pointer.as_str())),
            )
            .into());
        }
        Ok(self.table.push(Secret { pointer })?)
    }
}

impl HostSecret for CallState {
    async fn pointer(&mut self, secret: Resource<Secret>) -> wasmtime::Result<String> {
        Ok(self.table.get(&secret)?.pointer.as_str().to_owned())
    }

    async fn drop(&mut self, secret: Resource<Secret>) -> wasmtime::Result<()> {
        self.table.delete(secret)?;
        Ok(())
    }
}
