//! Current time and sleeping. Requires the capability `clock`.

use std::time::Duration;

/// Returns the time since 1970-01-01T00:00:00 UTC with millisecond precision.
#[must_use]
pub fn now() -> Duration {
    Duration::from_millis(crate::bindings::blockyard::bundle::clock::now())
}

/// Suspends the call for `time`, at most one minute. The host is not blocked.
pub fn sleep(time: Duration) {
    crate::bindings::blockyard::bundle::clock::sleep(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
}
