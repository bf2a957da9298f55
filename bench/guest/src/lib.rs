//! A bundle for measuring: what it takes is what the host takes.

use std::time::Duration;

use blockyard_sdk::clock;
use blockyard_sdk::prelude::*;

/// A block to be called.
#[derive(Block)]
#[block(type = "bench", version = 1)]
#[allow(dead_code, reason = "a configuration to be carried, not to be read")]
pub struct Bench {
    /// A note.
    note: String,
}

#[operations]
impl Bench {
    /// Does nothing.
    #[operation(read)]
    fn nothing(&self) -> Result<Option<bool>> {
        Ok(None)
    }

    /// Waits.
    #[operation(read)]
    fn wait(
        &self,
        /// How long.
        milliseconds: u32,
    ) -> Result<Option<bool>> {
        clock::sleep(Duration::from_millis(milliseconds.into()));
        Ok(None)
    }

    /// Computes for ever.
    #[operation(read)]
    fn spin(&self) -> Result<u64> {
        let mut sum = 0u64;
        loop {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}

bundle! {
    name: "bench",
    description: "Operations to be measured",
    types: [Bench],
    capabilities: ["clock"],
}
