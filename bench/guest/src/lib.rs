//! A bundle for measuring: what it takes is what the host takes.

use std::time::Duration;

use blockyard_sdk::prelude::*;
use blockyard_sdk::{clock, http};

/// A block to be called.
#[derive(Block)]
#[block(type = "bench", version = 1)]
pub struct Bench {
    /// A note.
    note: String,
    /// Where bytes come from and go to.
    base_url: Option<String>,
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

    /// Passes an object on to whoever asks.
    #[operation(read)]
    fn fetch(&self) -> Result<Streamed<u16>> {
        let answer = http::get(self.object()).send()?.ok()?;
        Ok(Streamed { result: answer.status, body: answer.body })
    }

    /// Passes what it is given on to the server.
    #[operation(write)]
    fn store(&self, input: Body) -> Result<u16> {
        Ok(http::put(self.object()).body(input).send()?.ok()?.status)
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

impl Bench {
    fn object(&self) -> String {
        format!("{}/object", self.base_url.as_deref().unwrap_or(&self.note))
    }
}

bundle! {
    name: "bench",
    description: "Operations to be measured",
    types: [Bench],
    // `secrets`: requests may carry them, and the SDK links what they need.
    capabilities: ["clock", "http {config.base_url}", "secrets"],
}
