//! Random bytes. Requires the capability `random`.

/// Returns `count` random bytes, at most 64 KiB.
#[must_use]
pub fn bytes(count: u32) -> Vec<u8> {
    crate::bindings::blockyard::bundle::random::fill(count)
}
