//! The yard's key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::envelope::{self, DataKey, EnvelopeError, KEY_BYTES};
use blockyard_model::Address;

const CANARY: &[u8] = b"blockyard canary";

/// Key-encryption key of a yard. Wiped from memory when dropped; its debug output is its id.
#[derive(Clone)]
pub struct Key {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

/// Identifier of a key that does not reveal the key: the first 8 bytes of a tagged SHA-256 hash, as
/// hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyId(String);

/// Error for text that is not a valid key. It never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not valid base64.
    #[error("the key is not base64 (RFC 4648, with padding)")]
    NotBase64,
    /// The text is base64 of the wrong number of bytes.
    #[error("the key has {0} bytes, but must have 32")]
    Length(usize),
}

impl Key {
    /// Generates a random key with the operating system's generator.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        envelope::fill_random(bytes.as_mut_slice());
        Self { bytes }
    }

    /// Parses a key from base64 of 32 bytes. Surrounding white space is ignored.
    ///
    /// # Errors
    /// Returns [`KeyError`], which does not contain the text.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let mut decoded = STANDARD.decode(text.trim()).map_err(|_| KeyError::NotBase64)?;
        let length = decoded.len();
        let key = decoded.as_slice().try_into().map(|bytes: [u8; KEY_BYTES]| Self { bytes: Zeroizing::new(bytes) });
        decoded.zeroize();
        key.map_err(|_| KeyError::Length(length))
    }

    /// Returns the key as base64, the form in which it is stored outside the yard.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.bytes.as_slice()))
    }

    /// Returns the key's id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mut hash = Sha256::new();
        hash.update(b"blockyard key id\0");
        hash.update(self.bytes.as_slice());
        KeyId(hex::encode(&hash.finalize()[..8]))
    }

    /// Creates a record that only this key can open. It detects a wrong key before any other record
    /// is opened.
    #[must_use]
    pub fn canary(&self, yard: &str) -> Vec<u8> {
        envelope::seal(&self.bytes, CANARY, &envelope::context(&["canary", yard]))
    }

    /// Returns true if this key created the canary.
    #[must_use]
    pub fn opens_canary(&self, yard: &str, canary: &[u8]) -> bool {
        envelope::open(&self.bytes, canary, &envelope::context(&["canary", yard]))
            .is_ok_and(|plain| plain.as_slice() == CANARY)
    }

    /// Wraps a block's data key.
    #[must_use]
    pub fn wrap(&self, yard: &str, address: &Address, data_key: &DataKey) -> Vec<u8> {
        let context = envelope::context(&["data key", yard, &address.to_string()]);
        envelope::seal(&self.bytes, data_key.bytes(), &context)
    }

    /// Unwraps a block's data key.
    ///
    /// # Errors
    /// Returns [`EnvelopeError`] if the data key was wrapped by another key, or if the bytes were
    /// changed or belong to another block.
    pub fn unwrap(&self, yard: &str, address: &Address, wrapped: &[u8]) -> Result<DataKey, EnvelopeError> {
        let context = envelope::context(&["data key", yard, &address.to_string()]);
        let plain = envelope::open(&self.bytes, wrapped, &context)?;
        DataKey::from_bytes(&plain)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip_as_text() {
        let key = Key::generate();
        let again = Key::from_base64(&key.to_base64()).expect("its own text");
        assert_eq!(key.id(), again.id());
        assert!(again.opens_canary("yard", &key.canary("yard")));
        assert!(!again.opens_canary("other yard", &key.canary("yard")));
        assert!(!Key::generate().opens_canary("yard", &key.canary("yard")));
    }

    #[test]
    fn invalid_keys_are_rejected_without_being_quoted() {
        assert_eq!(Key::from_base64("not base64!").err(), Some(KeyError::NotBase64));
        assert_eq!(Key::from_base64("c2hvcnQ=").err(), Some(KeyError::Length(5)));
    }
}
