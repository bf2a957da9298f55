//! `secrets`: the secret fields of the called block, as handles. The values stay in [`CallState`];
//! a handle holds only the JSON Pointer of its field.

use blockyard_model::Pointer;
use wasmtime::component::Resource;

use crate::bindings::blockyard::bundle::secrets::{Host, HostSecret};
use crate::problem::{Fault, Problem, quoted};
use crate::state::CallState;
use crate::trace;

/// Resource `secret`: refers to a secret field of the block, and does not contain its value.
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
