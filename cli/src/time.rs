//! Times as text.

/// Formats a time as RFC 3339 in UTC, with a precision of seconds.
pub(crate) fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
