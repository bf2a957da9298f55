//! Signatures of releases: [minisign](https://jedisct1.github.io/minisign/) signatures of component
//! files. Verification needs no network and no clock.
//!
//! The trusted comment of a signature states the name, the version and the digest of the release
//! ([`statement`]), and is itself signed. A signature therefore cannot be moved to another release.

use std::fmt;
use std::str::FromStr;

use blockyard_model::{BundleName, Digest};
use minisign_verify::Signature;
use semver::Version;

/// Start of the trusted comment.
const STATEMENT: &str = "blockyard-bundle";

/// Maximum length of a signature file, in bytes. A valid one has about 400.
const SIGNATURE_BYTES: usize = 4_096;

/// Length of a public key in base64.
const KEY_CHARACTERS: usize = 56;

/// A minisign public key (Ed25519). Its text form is base64 and begins with `RW`.
#[derive(Clone)]
pub struct PublicKey {
    text: String,
    key: minisign_verify::PublicKey,
}

/// Error for text that is not a minisign public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a minisign public key; a key has 56 characters and begins with `RW`")]
pub struct PublicKeyError(String);

/// The reason why a signature was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The text is not a prehashed minisign signature.
    #[error("the signature is not a minisign signature file (four lines, prehashed)")]
    Malformed,
    /// The signature was made with another key.
    #[error("the signature was not made with the key `{key}`")]
    OtherKey {
        /// The key of the registry.
        key: String,
    },
    /// The bytes or the signature were changed.
    #[error("the signature does not match the file")]
    Mismatch,
    /// The signature is valid for another release.
    #[error("the signature is for `{stated}`, not for `{expected}`")]
    OtherRelease {
        /// The trusted comment.
        stated: String,
        /// The required trusted comment.
        expected: String,
    },
}

/// Returns the trusted comment of the signature of a release.
#[must_use]
pub fn statement(name: &BundleName, version: &Version, digest: Digest) -> String {
    format!("{STATEMENT}:{name}:{version}:{digest}")
}

impl PublicKey {
    /// Verifies the signature of a release. `signature` is the content of a minisign signature file.
    ///
    /// # Errors
    /// Returns a [`SignatureError`] unless the key has signed these bytes as this release.
    pub fn verify(
        &self,
        signature: &str,
        bytes: &[u8],
        name: &BundleName,
        version: &Version,
    ) -> Result<(), SignatureError> {
        if signature.len() > SIGNATURE_BYTES {
            return Err(SignatureError::Malformed);
        }
        let signature = Signature::decode(signature.trim()).map_err(|_| SignatureError::Malformed)?;
        // The legacy format signs the bytes directly instead of their hash. minisign has not written
        // it since 2021.
        self.key.verify(bytes, &signature, false).map_err(|error| match error {
            minisign_verify::Error::UnexpectedKeyId => SignatureError::OtherKey { key: self.text.clone() },
            minisign_verify::Error::InvalidSignature => SignatureError::Mismatch,
            _ => SignatureError::Malformed,
        })?;
        let expected = statement(name, version, Digest::of(bytes));
        match signature.trusted_comment() {
            stated if stated == expected => Ok(()),
            stated => Err(SignatureError::OtherRelease { stated: stated.to_owned(), expected }),
        }
    }

    /// Returns the text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let not_a_key = || PublicKeyError(text.to_owned());
        if text.len() != KEY_CHARACTERS || !text.starts_with("RW") {
            return Err(not_a_key());
        }
        let key = minisign_verify::PublicKey::from_base64(text).map_err(|_| not_a_key())?;
        Ok(Self { text: text.to_owned(), key })
    }
}

/// Keys are compared by their text: 42 bytes are exactly 56 characters of base64, so a key has only
/// one text form.
impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PublicKey {}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use minisign::KeyPair;
    use proptest::prelude::*;

    use super::*;

    fn name() -> BundleName {
        BundleName::new("zoo").expect("a name")
    }

    fn version() -> Version {
        Version::new(1, 2, 3)
    }

    fn sign(pair: &KeyPair, bytes: &[u8], comment: &str) -> String {
        let signature = minisign::sign(None, &pair.sk, Cursor::new(bytes), Some(comment), None).expect("a signature");
        signature.into_string()
    }

    fn pair() -> (KeyPair, PublicKey) {
        let pair = KeyPair::generate_unencrypted_keypair().expect("keys");
        let key = pair.pk.to_base64().parse().expect("a key");
        (pair, key)
    }

    #[test]
    fn a_signature_is_valid_for_one_release_only() {
        let (pair, key) = pair();
        let bytes = b"\0asm zoo";
        let good = sign(&pair, bytes, &statement(&name(), &version(), Digest::of(bytes)));
        let verify = |signature: &str, bytes: &[u8]| key.verify(signature, bytes, &name(), &version());
        assert_eq!(verify(&good, bytes), Ok(()));
        assert_eq!(verify(&format!("\n{good}\n"), bytes), Ok(()), "whitespace around it is ignored");
        assert_eq!(verify(&good, b"\0asm zo0"), Err(SignatureError::Mismatch));
        assert_eq!(verify("", bytes), Err(SignatureError::Malformed));
        assert_eq!(verify(&"x".repeat(1 << 20), bytes), Err(SignatureError::Malformed));
        let other = Version::new(1, 2, 4);
        let moved = key.verify(&good, bytes, &name(), &other).expect_err("another release");
        assert!(matches!(moved, SignatureError::OtherRelease { .. }), "{moved}");
        let plain = sign(&pair, bytes, "file:zoo.wasm");
        assert!(matches!(verify(&plain, bytes), Err(SignatureError::OtherRelease { .. })));
        let edited = plain.replace("file:zoo.wasm", &statement(&name(), &version(), Digest::of(bytes)));
        assert_eq!(verify(&edited, bytes), Err(SignatureError::Mismatch), "the trusted comment is signed");
        let (_, stranger) = self::pair();
        let refused = stranger.verify(&good, bytes, &name(), &version());
        assert_eq!(refused, Err(SignatureError::OtherKey { key: stranger.to_string() }));
    }

    #[test]
    fn text_that_is_not_a_key_is_rejected() {
        let legacy = "RUQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let long = format!("{}A", legacy.replace("RU", "RW"));
        for text in ["", "RW", "RWQf6LRC", "not base64 at all", &"!".repeat(56), legacy, &long] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// No changed signature verifies.
        #[test]
        fn a_changed_signature_is_rejected(at in 0..400_usize, to in any::<u8>()) {
            let (pair, key) = pair();
            let bytes = b"\0asm zoo";
            let good = sign(&pair, bytes, &statement(&name(), &version(), Digest::of(bytes)));
            let mut changed = good.clone().into_bytes();
            let at = at % changed.len();
            changed[at] = to;
            let Ok(changed) = String::from_utf8(changed) else { return Ok(()) };
            // The untrusted comment (the first line) and whitespace at the end are not signed.
            let signed = |text: &str| text.split_once('\n').map(|(_, rest)| rest.trim().to_owned());
            if signed(&changed) != signed(&good) {
                prop_assert!(key.verify(&changed, bytes, &name(), &version()).is_err(), "{changed}");
            }
        }
    }
}
