//! What the commands on `object-storage` have in common: places on this machine and in a storage.

use std::path::PathBuf;

use blockyard::{Error, ErrorKind, ObjectStorage, PinnedAddress, Yard};

/// A place where bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A file or folder of this machine; `-` is standard input or output.
    Local(PathBuf),
    /// A path in a block's storage.
    Stored(Stored),
}

/// `TYPE/NAME:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) address: PinnedAddress,
    pub(super) path: String,
}

impl Place {
    /// What stands before a colon and is an address names a block; all else is a file. A file whose
    /// name looks so is written with `./` before it.
    pub(super) fn parse(text: &str) -> Self {
        match text.split_once(':').and_then(|(address, path)| Some((address.parse().ok()?, path))) {
            Some((address, path)) => Self::Stored(Stored { address, path: path.to_owned() }),
            None => Self::Local(PathBuf::from(text)),
        }
    }
}

impl Stored {
    /// As [`Place::parse`], where only a storage makes sense.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        match Place::parse(text) {
            Place::Stored(stored) => Ok(stored),
            Place::Local(_) => Err(Error::new(ErrorKind::Usage, format!("`{text}` is not a place in a storage"))
                .hint("write `TYPE/NAME:PATH`, such as `gcs-bucket/zoo:data/flights.csv`")),
        }
    }

    /// Opens the block as a storage.
    pub(super) async fn open(&self, yard: &Yard) -> Result<ObjectStorage, Error> {
        yard.open_block(&self.address).await?.as_object_storage()
    }
}

impl std::fmt::Display for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.address, self.path)
    }
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_before_a_colon_is_a_block() {
        for text in ["gcs-bucket/zoo:", "gcs-bucket/zoo:a/b:c", "gcs-bucket/zoo@3:a"] {
            assert!(matches!(Place::parse(text), Place::Stored(stored) if stored.to_string() == text), "{text}");
        }
        for text in ["-", "a", "./gcs-bucket/zoo:a", "/data/a:b", "a:b", "C:\\data", "A/B:c"] {
            assert!(matches!(Place::parse(text), Place::Local(_)), "{text}");
        }
    }
}
