//! Secret values, which are never displayed, and their sources.

use std::fmt;
use std::str::FromStr;

use crate::Address;
use zeroize::{Zeroize as _, Zeroizing};

/// Text that is displayed in place of a secret.
pub const MASK: &str = "********";

/// A secret in plain text. It is wiped from memory when it is dropped, its debug output is a mask,
/// and it cannot be serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Takes ownership of a string as a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Takes ownership of the text of a file, of standard input or of an environment variable as a
    /// secret. One trailing line break (`\n` or `\r\n`) is removed, because editors and `echo` add
    /// it. The same rule applies to all three; a secret that ends with a line break must be written
    /// with two.
    #[must_use]
    pub fn from_file(mut text: String) -> Self {
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Self::new(text)
    }

    /// Takes ownership of bytes as a secret.
    ///
    /// # Errors
    /// Returns [`NotText`] if the bytes are not UTF-8; they are wiped from memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, NotText> {
        String::from_utf8(bytes).map(Self::new).map_err(|error| {
            error.into_bytes().zeroize();
            NotText
        })
    }

    /// Returns the plain text. Every call site requires a security review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Error for bytes that are not UTF-8. It does not contain the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret is not text (UTF-8)")]
pub struct NotText;

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Source from which a secret is read at call time instead of being stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable of the calling process.
    Environment(String),
    /// A file on the calling machine.
    File(String),
    /// A block that implements `secret-store`.
    Block(Address),
}

/// Error for text that is not a valid secret source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a secret source; expected `env:NAME`, `file:PATH` or `block:TYPE/NAME`")]
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_trailing_newline_is_removed_from_a_secret() {
        for (text, secret) in [
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a\r\n\r\n", "a\r\n"),
            ("a\r", "a\r"),
            ("a\n\r", "a\n\r"),
            (" a \t\n", " a \t"),
            ("\n", ""),
            ("", ""),
            ("-----BEGIN KEY-----\nAA==\n-----END KEY-----\n", "-----BEGIN KEY-----\nAA==\n-----END KEY-----"),
        ] {
            assert_eq!(SecretValue::from_file(text.to_owned()).expose(), secret, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn secrets_round_trip_through_files(secret in "([a\r\n \t]|\\PC){0,20}") {
            for end in ["\n", "\r\n"] {
                // A secret that ends with `\r` followed by `\n` is read as a single line break.
                if end == "\n" && secret.ends_with('\r') {
                    continue;
                }
                let read = SecretValue::from_file(format!("{secret}{end}"));
                prop_assert_eq!(read.expose(), secret.as_str());
            }
            if !secret.ends_with('\n') {
                let read = SecretValue::from_file(secret.clone());
                prop_assert_eq!(read.expose(), secret.as_str());
            }
        }
    }
}
