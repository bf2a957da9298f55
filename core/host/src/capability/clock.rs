//! `clock`: the current time, and a sleep that does not block a host thread.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blockyard_call::{Usage, limits, trace};
use blockyard_model::Capability;
use wasmtime::component::{HasData, Linker};

use crate::bindings::blockyard::bundle::clock::{self, Host};

/// View of a call that `clock` needs.
pub(crate) struct ClockView<'call> {
    pub(crate) usage: &'call Usage,
}

/// Names [`ClockView`] as the data of the interface.
struct HasClock;

impl HasData for HasClock {
    type Data<'call> = ClockView<'call>;
}

/// Links the interface `clock`.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> ClockView<'_>,
) -> wasmtime::Result<()> {
    clock::add_to_linker::<T, HasClock>(linker, view)
}

impl Host for ClockView<'_> {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        let _traced = trace::inner_call("clock.now");
        self.usage.record(&Capability::Clock);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep(&mut self, milliseconds: u32) -> wasmtime::Result<()> {
        let _traced = trace::host_call("clock.sleep");
        self.usage.record(&Capability::Clock);
        let wanted = Duration::from_millis(milliseconds.into());
        tokio::time::sleep(wanted.min(limits::SLEEP)).await;
        Ok(())
    }
}
