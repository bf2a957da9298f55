//! `random`: random bytes from the operating system's generator.

use blockyard_call::{Usage, limits, trace};
use blockyard_model::Capability;
use wasmtime::component::{HasData, Linker};

use crate::bindings::blockyard::bundle::random::{self, Host};

/// View of a call that `random` needs.
pub(crate) struct RandomView<'call> {
    pub(crate) usage: &'call Usage,
}

/// Names [`RandomView`] as the data of the interface.
struct HasRandom;

impl HasData for HasRandom {
    type Data<'call> = RandomView<'call>;
}

/// Links the interface `random`.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> RandomView<'_>,
) -> wasmtime::Result<()> {
    random::add_to_linker::<T, HasRandom>(linker, view)
}

impl Host for RandomView<'_> {
    async fn fill(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        let traced = trace::inner_call("random.fill");
        self.usage.record(&Capability::Random);
        if length > limits::RANDOM_BYTES {
            return Err(wasmtime::Error::msg(format!(
                "{length} random bytes at once; the limit is {}",
                limits::RANDOM_BYTES
            )));
        }
        let mut bytes = vec![0; length as usize];
        getrandom::fill(&mut bytes)?;
        traced.bytes(bytes.len());
        Ok(bytes)
    }
}
