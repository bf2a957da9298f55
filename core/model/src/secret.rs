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

    /// Takes over the text of a file, of standard input or of an environment variable as a secret: one line end
    /// (`\n` or `\r\n`) at its end is not part of the secret, because editors and `echo` add it. This is the one
    /// rule for all of them; a secret that ends with a line end is written with two.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_line_end_is_not_part_of_a_secret() {
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
        fn a_secret_is_read_from_what_editors_make_of_it(secret in "([a\r\n \t]|\\PC){0,20}") {
            for end in ["\n", "\r\n"] {
                // A secret that ends with a return, before a line feed, reads as one line end.
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
