//! `clock`: the current time, and a sleep that does not block a host thread.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::bindings::blockyard::bundle::clock::Host;
use crate::limits;
use crate::state::CallState;
use crate::trace;

impl Host for CallState {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        let _traced = trace::inner_call("clock.now");
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep(&mut self, milliseconds: u32) -> wasmtime::Result<()> {
        let _traced = trace::host_call("clock.sleep");
        let wanted = Duration::from_millis(milliseconds.into());
        tokio::time::sleep(wanted.min(limits::SLEEP)).await;
        Ok(())
    }
}
