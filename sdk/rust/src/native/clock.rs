//! Interface `clock`: the time of the fake host, which passes only by sleeping.

use std::time::Duration;

use super::state::current;

/// Maximum duration of one `sleep` of the host.
const SLEEP: Duration = Duration::from_secs(60);

/// Returns the milliseconds since 1970-01-01T00:00:00 UTC.
pub fn now() -> u64 {
    u64::try_from(current("clock::now").now.get().as_millis()).unwrap_or(u64::MAX)
}

/// Moves the clock forward, at most by one minute.
pub fn sleep(milliseconds: u32) {
    current("clock::sleep").advance(Duration::from_millis(milliseconds.into()).min(SLEEP));
}
