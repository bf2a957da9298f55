//! `secrets`: the secret fields of the called block, as handles. The values stay in [`CallContext`];
//! a handle holds only the JSON Pointer of its field.

use blockyard_model::{Capability, Pointer};
use wasmtime::component::{HasSelf, Linker, Resource};

use crate::bindings::blockyard::bundle::secrets::{self, Host, HostSecret};
use crate::context::{CallContext, CallSecret};
use crate::problem::{Fault, Problem, quoted};
use crate::trace;

/// Resource `secret`: refers to a secret field of the block, and does not contain its value.
#[derive(Debug)]
pub struct Secret {
    /// The field.
    pub pointer: Pointer,
}

impl CallContext {
    /// Returns the field and the secret behind a handle.
    ///
    /// # Errors
    /// Returns a problem if the block has no such secret, and a trap if the handle is not valid.
    pub fn secret(&self, handle: &Resource<Secret>) -> Result<(&Pointer, &CallSecret), Fault> {
        let pointer = &self.table.get(handle)?.pointer;
        let secret = self.secrets.get(pointer);
        Ok((pointer, secret.ok_or_else(|| Problem::new("not-found", "the block has no such secret"))?))
    }
}

impl Host for CallContext {
    async fn open(&mut self, pointer: String) -> Result<Resource<Secret>, Fault> {
        let _traced = trace::inner_call("secrets.open");
        self.usage.record(&Capability::Secrets);
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

impl HostSecret for CallContext {
    async fn pointer(&mut self, secret: Resource<Secret>) -> wasmtime::Result<String> {
        Ok(self.table.get(&secret)?.pointer.as_str().to_owned())
    }

    async fn drop(&mut self, secret: Resource<Secret>) -> wasmtime::Result<()> {
        self.table.delete(secret)?;
        Ok(())
    }
}

/// Links the interface `secrets`.
///
/// # Errors
/// Returns an error if the linker already defines the interface.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    call: fn(&mut T) -> &mut CallContext,
) -> wasmtime::Result<()> {
    secrets::add_to_linker::<T, HasSelf<CallContext>>(linker, call)
}
