//! The audience of a secret: the databases and servers that may receive it. Each secret field of a schema names
//! its audience; the host sends the secret to no one else.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::origin::{Origin, OriginError, OriginPattern};

/// One use of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// As the password of databases.
    Sql,
    /// Written by earlier versions of the SDK for secrets that sign. It allows nothing: the schema names the
    /// forms that a secret signs.
    Crypto,
    /// In requests to these origins, and to nobody else.
    Origin(OriginPattern),
}

impl Audience {
    /// With the fields of the block's configuration in place. None where that makes no origin: such
    /// a use does not exist.
    #[must_use]
    pub fn expand(&self, config: &Value) -> Option<Self> {
        match self {
            Self::Origin(pattern) => pattern.expand(config).map(Self::Origin),
            other => Some(other.clone()),
        }
    }

    /// Whether requests to this origin may carry the secret.
    #[must_use]
    pub fn is_origin(&self, origin: &Origin) -> bool {
        matches!(self, Self::Origin(pattern) if pattern.matches(origin))
    }
}

impl FromStr for Audience {
    type Err = OriginError;
    fn from_str(text: &str) -> Result<Self, OriginError> {
        match text {
            "sql" => Ok(Self::Sql),
            "crypto" => Ok(Self::Crypto),
            origin => origin.parse().map(Self::Origin),
        }
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql => f.write_str("sql"),
            Self::Crypto => f.write_str("crypto"),
            Self::Origin(pattern) => pattern.fmt(f),
        }
    }
}
