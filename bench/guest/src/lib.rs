//! Bundle for benchmarks. Its operations do almost nothing, so that a measurement shows the
//! overhead of the host.

use std::time::Duration;

use blockyard_sdk::prelude::*;
use blockyard_sdk::{clock, http};

/// Block for benchmarks.
#[derive(Block)]
#[block(type = "bench", version = 1)]
pub struct Bench {
    /// Note without effect, e.g. `none`.
    note: String,
    /// Base URL of the server for `fetch` and `store`.
    base_url: Option<String>,
}

#[operations]
impl Bench {
    /// Returns immediately.
    #[operation(read)]
    fn nothing(&self) -> Result<Option<bool>> {
        Ok(None)
    }

    /// Suspends the call.
    #[operation(read)]
    fn wait(
        &self,
        /// Waiting time in milliseconds.
        milliseconds: u32,
    ) -> Result<Option<bool>> {
        clock::sleep(Duration::from_millis(milliseconds.into()));
        Ok(None)
    }

    /// Forwards an object of the server to the caller.
    #[operation(read)]
    fn fetch(&self) -> Result<Streamed<u16>> {
        let answer = http::get(self.object()).send()?.ok()?;
        Ok(Streamed { result: answer.status, body: answer.body })
    }

    /// Forwards the input to the server.
    #[operation(write)]
    fn store(&self, input: Body) -> Result<u16> {
        Ok(http::put(self.object()).body(input).send()?.ok()?.status)
    }

    /// Runs an endless loop.
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
    description: "Operations for benchmarks",
    types: [Bench],
    // The SDK links the interface `secrets`, because requests can contain secrets.
    capabilities: ["clock", "http {config.base_url}", "secrets"],
}
