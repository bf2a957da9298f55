//! Addresses of blocks: `TYPE/NAME`, and `TYPE/NAME@N` for one revision.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::name::{BlockName, NameError, TypeSlug, printable};

/// Address of a block, `TYPE/NAME`. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Slug of the block type.
    pub type_slug: TypeSlug,
    /// Name of the block, unique within its type.
    pub name: BlockName,
}

/// Number of a saved state of a block, beginning with 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(NonZeroU64);

/// Address with an optional revision: `TYPE/NAME@N`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PinnedAddress {
    /// Address of the block.
    pub address: Address,
    /// Revision; `None` for the newest.
    pub revision: Option<Revision>,
}

/// Error for text that is not a valid address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text contains no `/`.
    #[error("`{0}` is not an address; an address is `TYPE/NAME`, for example `sql-database/flights`")]
    NoSlash(String),
    /// The type or the name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The text contains a revision where only a block is accepted.
    #[error("`{0}` contains a revision, but only a block is accepted; write `TYPE/NAME`")]
    Pinned(String),
    /// The revision is not an integer of at least 1.
    #[error("`{0}` is not a revision; revisions are numbers from 1, as in `TYPE/NAME@3`")]
    Revision(String),
}

impl Revision {
    /// The first revision of every block.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// Creates a revision from its number; `None` for 0.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Returns the number, at least 1.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0.get()
    }

    /// Returns the next revision.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (type_slug, name) = text.split_once('/').ok_or_else(|| AddressError::NoSlash(printable(text)))?;
        if let Some((_, revision)) = name.rsplit_once('@')
            && revision.parse::<u64>().is_ok()
        {
            return Err(AddressError::Pinned(printable(text)));
        }
        Ok(Self { type_slug: TypeSlug::new(type_slug)?, name: BlockName::new(name)? })
    }
}

impl FromStr for PinnedAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Some((address, revision)) = text.rsplit_once('@') else {
            return Ok(Self { address: text.parse()?, revision: None });
        };
        let revision =
            revision.parse().ok().and_then(Revision::new).ok_or_else(|| AddressError::Revision(printable(revision)))?;
        Ok(Self { address: address.parse()?, revision: Some(revision) })
    }
}

impl From<Address> for PinnedAddress {
    fn from(address: Address) -> Self {
        Self { address, revision: None }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.type_slug, self.name)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for PinnedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        match self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for text in ["gcs-bucket/zoo", "gcs-bucket/zoo@3", "a/b"] {
            let parsed: PinnedAddress = text.parse().expect("a good address");
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn errors_of_malformed_addresses_state_the_cause() {
        let wrong = |text: &str| text.parse::<PinnedAddress>().expect_err("must be refused").to_string();
        assert!(wrong("zoo").contains("an address is `TYPE/NAME`"));
        assert!(wrong("a/b@0").contains("revisions are numbers from 1"));
        assert!(wrong("a/b@x").contains("`x` is not a revision"));
        assert!(wrong("a/b/c").contains("the character `/`"));
        assert!("a/b@3".parse::<Address>().expect_err("pinned").to_string().contains("contains a revision"));
    }
}
