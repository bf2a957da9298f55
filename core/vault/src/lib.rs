//! Keys and envelope encryption.
//!
//! Every block has a random *data key*. Each secret of the block is sealed separately with that
//! key, with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) and a fresh nonce. The data key is
//! wrapped in the same way by the yard's *key*, which is kept outside the yard: in the operating
//! system's keyring, in a file, or in an environment variable of the caller.
//!
//! The additional authenticated data of a sealed value contains its location (yard, address,
//! revision, JSON Pointer), so that a ciphertext cannot be opened after it is moved.

mod envelope;
mod key;
mod location;

pub use envelope::{DataKey, EnvelopeError, SecretContext};
pub use key::{Key, KeyError, KeyId};
pub use location::{KEY_VARIABLE, KeyLocation, LocationError};
