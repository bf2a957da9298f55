//! Sealing values with a data key.

use blockyard_model::{Address, Digest, Pointer, Revision, SecretValue};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// Key size in bytes (256 bits).
pub(crate) const KEY_BYTES: usize = 32;

/// Size of an XChaCha20-Poly1305 nonce, in bytes. At 192 bits, random nonces do not collide.
const NONCE_BYTES: usize = 24;

/// Data key of one block. Wiped from memory when dropped.
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

/// Location of a sealed value. It is authenticated together with the value.
#[derive(Debug, Clone, Copy)]
pub struct SecretContext<'a> {
    /// Yard id.
    pub yard: &'a str,
    /// Block address.
    pub address: &'a Address,
    /// Revision of the block.
    pub revision: Revision,
    /// Field of the configuration.
    pub pointer: &'a Pointer,
}

/// Error for a sealed value that cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot open the sealed value: it was changed or moved, or sealed with another key")]
pub struct EnvelopeError;

impl DataKey {
    /// Generates a random data key.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        fill_random(bytes.as_mut_slice());
        Self(bytes)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let bytes: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| EnvelopeError)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Seals a secret for one location.
    #[must_use]
    pub fn seal(&self, context: &SecretContext<'_>, secret: &SecretValue) -> Vec<u8> {
        seal(&self.0, secret.expose().as_bytes(), &context.associated_data())
    }

    /// Authenticates content that is not secret. `content` is its digest. The check fails if the
    /// content is changed afterwards or moved to another block or revision.
    #[must_use]
    pub fn seal_content(&self, yard: &str, address: &Address, revision: Revision, content: &Digest) -> Vec<u8> {
        seal(&self.0, &[], &content_context(yard, address, revision, content))
    }

    /// Checks that `sealed` was created for this content, block and revision.
    ///
    /// # Errors
    /// Returns [`EnvelopeError`] if it was not.
    pub fn check_content(
        &self,
        yard: &str,
        address: &Address,
        revision: Revision,
        content: &Digest,
        sealed: &[u8],
    ) -> Result<(), EnvelopeError> {
        open(&self.0, sealed, &content_context(yard, address, revision, content)).map(drop)
    }

    /// Opens a secret that was sealed for this location.
    ///
    /// # Errors
    /// Returns [`EnvelopeError`] if the secret was sealed for another location or with another key,
    /// or was changed afterwards.
    pub fn open(&self, context: &SecretContext<'_>, sealed: &[u8]) -> Result<SecretValue, EnvelopeError> {
        let plain = open(&self.0, sealed, &context.associated_data())?;
        let text = str::from_utf8(&plain).map_err(|_| EnvelopeError)?;
        Ok(SecretValue::new(text.to_owned()))
    }
}

fn content_context(yard: &str, address: &Address, revision: Revision, content: &Digest) -> Vec<u8> {
    context(&["content", yard, &address.to_string(), &revision.to_string(), &content.to_string()])
}

impl SecretContext<'_> {
    fn associated_data(&self) -> Vec<u8> {
        context(&["secret", self.yard, &self.address.to_string(), &self.revision.to_string(), self.pointer.as_str()])
    }
}

/// Encodes the additional authenticated data. Each part is preceded by its length, so that
/// different lists of parts never have the same encoding.
pub(crate) fn context(parts: &[&str]) -> Vec<u8> {
    let mut bytes = b"blockyard v1".to_vec();
    for part in parts {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

/// Encrypts `plain`. Returns nonce, ciphertext and tag, concatenated.
pub(crate) fn seal(key: &[u8; KEY_BYTES], plain: &[u8], context: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    fill_random(&mut nonce);
    let payload = Payload { msg: plain, aad: context };
    let ciphertext = XChaCha20Poly1305::new(key.into())
        .encrypt(&XNonce::from(nonce), payload)
        .expect("values are far below the cipher's limit of 256 GiB");
    [nonce.as_slice(), &ciphertext].concat()
}

pub(crate) fn open(key: &[u8; KEY_BYTES], sealed: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(EnvelopeError)?;
    let payload = Payload { msg: ciphertext, aad: context };
    XChaCha20Poly1305::new(key.into())
        .decrypt(&XNonce::from(*nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| EnvelopeError)
}

/// Fills `bytes` from the operating system's random generator.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system has a random generator");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> Address {
        text.parse().expect("an address")
    }

    #[test]
    fn a_moved_ciphertext_does_not_open() {
        let key = DataKey::generate();
        let (zoo, other) = (address("a/zoo"), address("a/other"));
        let (password, token) = (Pointer::new("/password"), Pointer::new("/token"));
        let context = SecretContext { yard: "y", address: &zoo, revision: Revision::FIRST, pointer: &password };
        let sealed = key.seal(&context, &SecretValue::new("s3cret".into()));
        assert_eq!(key.open(&context, &sealed).map(|s| s.expose().to_owned()), Ok("s3cret".into()));
        for moved in [
            SecretContext { yard: "z", ..context },
            SecretContext { address: &other, ..context },
            SecretContext { revision: Revision::FIRST.next(), ..context },
            SecretContext { pointer: &token, ..context },
        ] {
            assert_eq!(key.open(&moved, &sealed).err(), Some(EnvelopeError));
        }
        assert_eq!(DataKey::generate().open(&context, &sealed).err(), Some(EnvelopeError));
        assert_eq!(key.open(&context, b"short").err(), Some(EnvelopeError));
    }

    proptest! {
        #[test]
        fn every_secret_round_trips_and_every_flipped_bit_is_detected(text in ".{0,200}", bit in any::<usize>()) {
            let key = DataKey::generate();
            let (zoo, field) = (address("a/zoo"), Pointer::new("/f"));
            let context = SecretContext { yard: "y", address: &zoo, revision: Revision::FIRST, pointer: &field };
            let mut sealed = key.seal(&context, &SecretValue::new(text.clone()));
            let opened = key.open(&context, &sealed).expect("its own place");
            prop_assert_eq!(opened.expose(), text);
            let bit = bit % (sealed.len() * 8);
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(key.open(&context, &sealed).is_err());
        }
    }
}
