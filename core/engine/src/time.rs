//! Times of the yard.

use std::time::{SystemTime, UNIX_EPOCH};

use blockyard_store::Millis;
use jiff::Timestamp;

/// Converts a time of the yard, such as that of an [`AuditLine`](crate::AuditLine), clamped to the
/// supported range.
#[must_use]
pub fn timestamp(at: Millis) -> Timestamp {
    let nearest = if at < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(at).unwrap_or(nearest)
}

/// Returns the current time in milliseconds since 1970-01-01T00:00:00 UTC.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}
