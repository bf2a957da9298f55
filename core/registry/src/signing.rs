//! Keys that sign releases: minisign secret keys.

use std::fmt;
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_model::{BundleName, Digest};
use minisign::{KeyPair, SecretKey, SecretKeyBox};
use semver::Version;

use crate::signature::{PublicKey, statement};

/// Bytes of a secret key that name the key derivation: zeros for a key without a password, `Sc` for
/// scrypt. Source: the description of the format in the documentation of minisign.
const KEY_DERIVATION: std::ops::Range<usize> = 2..4;

/// A minisign secret key with its public key.
pub struct SigningKey {
    secret: SecretKey,
    public: PublicKey,
}

/// An error of reading or using a signing key. It never contains the key or its password.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The text is not a minisign secret key.
    #[error("not a minisign secret key: {0}")]
    Malformed(String),
    /// The key is protected by a password, and no password was given.
    #[error("the signing key is protected by a password")]
    PasswordNeeded,
    /// The key cannot be used, for example because the password is wrong.
    #[error("the signing key cannot be used: {0}")]
    Unusable(String),
}

impl SigningKey {
    /// Parses the content of a minisign secret key file.
    ///
    /// # Errors
    /// Returns a [`SigningError`] if the text is not a key, or the password does not decrypt it.
    pub fn parse(text: &str, password: Option<String>) -> Result<Self, SigningError> {
        let malformed = |reason: &str| SigningError::Malformed(reason.to_owned());
        let encoded = text.lines().nth(1).ok_or_else(|| malformed("it has fewer than two lines"))?;
        let bytes = STANDARD.decode(encoded.trim()).map_err(|_| malformed("its second line is not base64"))?;
        let unusable = |error: minisign::PError| SigningError::Unusable(error.to_string());
        let key = SecretKeyBox::from_string(text).map_err(unusable)?;
        // The password is decided here: without one, the library would ask on the terminal.
        let secret = match (bytes.get(KEY_DERIVATION), password) {
            (Some(b"\0\0"), _) => key.into_unencrypted_secret_key(),
            (Some(b"Sc"), Some(password)) => key.into_secret_key(Some(password)),
            (Some(b"Sc"), None) => return Err(SigningError::PasswordNeeded),
            _ => return Err(malformed("its format is unknown")),
        };
        let secret = secret.map_err(unusable)?;
        Self::new(secret)
    }

    /// Creates a key without a password. Returns the content of its file, too.
    ///
    /// # Errors
    /// Returns [`SigningError::Unusable`] if the operating system provides no random numbers.
    pub fn generate() -> Result<(Self, String), SigningError> {
        let unusable = |error: minisign::PError| SigningError::Unusable(error.to_string());
        let KeyPair { sk, .. } = KeyPair::generate_unencrypted_keypair().map_err(unusable)?;
        let text = sk.to_box(Some("signing key of a Blockyard registry")).map_err(unusable)?.into_string();
        Ok((Self::new(sk)?, text))
    }

    fn new(secret: SecretKey) -> Result<Self, SigningError> {
        let unusable = |error: String| SigningError::Unusable(error);
        let public = minisign::PublicKey::from_secret_key(&secret).map_err(|error| unusable(error.to_string()))?;
        let public = public.to_base64().parse().map_err(|_| unusable("it has no public key".to_owned()))?;
        Ok(Self { secret, public })
    }

    /// Returns the public key.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a release. Returns the content of the signature file.
    ///
    /// # Errors
    /// Returns [`SigningError::Unusable`] if the operating system provides no random numbers.
    pub fn sign(&self, bytes: &[u8], name: &BundleName, version: &Version) -> Result<String, SigningError> {
        let comment = statement(name, version, Digest::of(bytes));
        let untrusted = format!("{name} {version}");
        minisign::sign(None, &self.secret, Cursor::new(bytes), Some(&comment), Some(&untrusted))
            .map(|signature| signature.into_string())
            .map_err(|error| SigningError::Unusable(error.to_string()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_its_file() {
        let (key, text) = SigningKey::generate().expect("a key");
        let read = SigningKey::parse(&text, None).expect("a key");
        assert_eq!(read.public(), key.public());
        let unneeded = SigningKey::parse(&text, Some("unneeded".to_owned())).expect("a key");
        assert_eq!(unneeded.public(), key.public());
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public()));
        for text in ["", "x", "untrusted comment: x\nRWQ=", "untrusted comment: x\n!", &text[..text.len() - 9]] {
            let refused = SigningKey::parse(text, None).expect_err(text);
            assert!(matches!(refused, SigningError::Malformed(_) | SigningError::Unusable(_)), "{text}: {refused}");
        }
    }

    #[test]
    fn a_protected_key_requires_its_password() {
        let KeyPair { sk, pk } = KeyPair::generate_encrypted_keypair(Some("open sesame".to_owned())).expect("keys");
        let text = sk.to_box(None).expect("a file").into_string();
        let key = SigningKey::parse(&text, Some("open sesame".to_owned())).expect("a key");
        assert_eq!(key.public().as_str(), pk.to_base64());
        assert!(matches!(SigningKey::parse(&text, None), Err(SigningError::PasswordNeeded)));
        let wrong = SigningKey::parse(&text, Some("open".to_owned())).expect_err("another password");
        assert!(matches!(wrong, SigningError::Unusable(_)) && !wrong.to_string().contains("open "), "{wrong}");
    }
}
