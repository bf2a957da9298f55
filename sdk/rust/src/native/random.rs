//! Interface `random`: deterministic bytes.

use super::state::current;

/// Maximum number of bytes that the host returns at once.
const BYTES: u32 = 64 << 10;

/// Returns `length` bytes of the generator SplitMix64.
///
/// # Panics
/// Panics for more than 64 KiB, for which the host ends the call.
pub fn fill(length: u32) -> Vec<u8> {
    assert!(length <= BYTES, "{length} random bytes at once; the limit is {BYTES}");
    let state = current("random::bytes");
    let mut bytes = Vec::with_capacity(length as usize);
    while bytes.len() < length as usize {
        let seed = state.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.random.set(seed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes.truncate(length as usize);
    bytes
}
