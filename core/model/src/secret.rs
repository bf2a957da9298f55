//! Secrets as values that do not show themselves.

use std::fmt;
use std::str::FromStr;

use crate::Address;
use zeroize::{Zeroize as _, Zeroizing};

/// What a person sees where a secret stands.
pub const MASK: &str = "********";

/// A secret in plain text. It is wiped from memory when dropped, prints as asterisks, and
/// has no `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Takes over a text as a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Takes over bytes as a secret.
    ///
    /// # Errors
    /// They are not UTF-8; they are wiped.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, NotText> {
        String::from_utf8(bytes).map(Self::new).map_err(|error| {
            error.into_bytes().zeroize();
            NotText
        })
    }

    /// The plain text. Every caller is a place for a security review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Bytes that are not text (UTF-8). It does not quote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret is not text (UTF-8)")]
pub struct NotText;

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Where a secret is read at the call instead of being stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable of the calling process.
    Environment(String),
    /// A file on the calling machine.
    File(String),
    /// A block that implements `secret-store`.
    Block(Address),
}

/// A text that is not a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a secret source; there are `env:NAME`, `file:PATH` and `block:TYPE/NAME`")]
pub struct SecretSourceError(String);

impl FromStr for SecretSource {
    type Err = SecretSourceError;
    fn from_str(text: &str) -> Result<Self, SecretSourceError> {
        let wrong = || SecretSourceError(crate::name::printable(text));
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Environment(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            Some(("block", address)) => Ok(Self::Block(address.parse().map_err(|_| wrong())?)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Block(address) => write!(f, "block:{address}"),
        }
    }
}
