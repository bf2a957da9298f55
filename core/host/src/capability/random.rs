//! `random`: random bytes from the operating system's generator.

use crate::bindings::blockyard::bundle::random::Host;
use crate::limits;
use crate::state::CallState;
use crate::trace;

impl Host for CallState {
    async fn fill(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        let traced = trace::inner_call("random.fill");
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
