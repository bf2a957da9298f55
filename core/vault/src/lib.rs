//! Keys and envelopes.
//!
//! Every block has a random *data key*; the block's secrets are sealed with it, each on its own,
//! with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) and a fresh nonce. The data key is
//! wrapped in the same way by the yard's *key*, which is kept outside the yard: in the operating
//! system's keyring, in a file, or in an environment variable of the caller.
//!
//! The additional data of each sealed value names its place (yard, address, revision, JSON
//! Pointer), so that a ciphertext that was moved does not open.

mod envelope;
mod key;
mod location;

pub use envelope::{DataKey, EnvelopeError, Place};
pub use key::{Key, KeyError, KeyId};
pub use location::{KEY_VARIABLE, KeyLocation, LocationError};
