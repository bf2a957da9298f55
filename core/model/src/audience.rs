//! The audience of a secret: the databases and servers that may receive it. Each secret field of a
//! schema declares its audience, and the host sends the secret to no other destination.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::origin::{Origin, OriginError, OriginPattern};

/// A permitted use of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Password of a database.
    Sql,
    /// Written by earlier versions of the SDK for signing secrets. It permits nothing: a schema
    /// declares the forms that a secret may sign.
    Crypto,
    /// Requests to matching origins only.
    Origin(OriginPattern),
}

impl Audience {
    /// Replaces the `{config.FIELD}` parts by the fields of a block's configuration. Returns `None`
    /// if the result is not a valid origin; such an audience permits nothing.
    #[must_use]
    pub fn expand(&self, config: &Value) -> Option<Self> {
        match self {
            Self::Origin(pattern) => pattern.expand(config).map(Self::Origin),
            other => Some(other.clone()),
        }
    }

    /// Returns true if requests to this origin may carry the secret.
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
