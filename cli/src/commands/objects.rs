//! Local and object paths for the commands on `object-storage`.

use std::path::PathBuf;

use blockyard::{Error, ErrorKind, ObjectStorage, PinnedAddress, Yard};

/// Source or destination of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A local file or folder; `-` is standard input or output.
    Local(PathBuf),
    /// A path in the storage of a block.
    Stored(Stored),
}

/// An object path, `TYPE/NAME:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) address: PinnedAddress,
    pub(super) path: String,
}

impl Endpoint {
    /// Parses a location. Text with an address before the first colon is an object path; anything
    /// else is a local path. Prefix a local file of such a name with `./`.
    pub(super) fn parse(text: &str) -> Self {
        match text.split_once(':').and_then(|(address, path)| Some((address.parse().ok()?, path))) {
            Some((address, path)) => Self::Stored(Stored { address, path: path.to_owned() }),
            None => Self::Local(PathBuf::from(text)),
        }
    }
}

impl Stored {
    /// Parses an object path like [`Endpoint::parse`]; a local path is an error.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        match Endpoint::parse(text) {
            Endpoint::Stored(stored) => Ok(stored),
            Endpoint::Local(_) => Err(Error::new(ErrorKind::Usage, format!("`{text}` is not an object path"))
                .hint("use `TYPE/NAME:PATH`, such as `gcs-bucket/zoo:data/flights.csv`")),
        }
    }

    /// Opens the block as an object storage.
    pub(super) async fn open(&self, yard: &Yard) -> Result<ObjectStorage, Error> {
        yard.open_block(&self.address).await?.as_object_storage()
    }
}

impl std::fmt::Display for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.address, self.path)
    }
}

/// Formats a number of bytes with a binary unit.
pub(super) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_before_a_colon_is_a_block() {
        for text in ["gcs-bucket/zoo:", "gcs-bucket/zoo:a/b:c", "gcs-bucket/zoo@3:a"] {
            assert!(matches!(Endpoint::parse(text), Endpoint::Stored(stored) if stored.to_string() == text), "{text}");
        }
        for text in ["-", "a", "./gcs-bucket/zoo:a", "/data/a:b", "a:b", "C:\\data", "A/B:c"] {
            assert!(matches!(Endpoint::parse(text), Endpoint::Local(_)), "{text}");
        }
    }
}
