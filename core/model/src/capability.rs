//! Capabilities: services that the host provides to a bundle. A bundle's manifest requests them and
//! a yard grants them; both are required.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::origin::{HttpAccess, OriginError};

/// One capability, in the form used in manifests, registries and grants: `sql postgres`,
/// `http https://storage.googleapis.com`, `reveal`, ...
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Requests to some origins.
    Http(HttpAccess),
    /// Connections to the databases of one dialect that the block's configuration declares.
    Sql(Dialect),
    /// Use of the block's secrets by handle.
    Secrets,
    /// Signing with a secret without disclosing it.
    Crypto,
    /// Writing to the log.
    Log,
    /// Reading the time, and waiting.
    Clock,
    /// Random bytes.
    Random,
    /// Reading secrets in plain text. Every use is audited.
    Reveal,
}

/// A family of SQL databases that the host supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// SQLite, a database in a file.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
}

/// A capability without parameters.
struct Plain {
    capability: Capability,
    /// The text form, which is also the name of the interface.
    name: &'static str,
    /// What it permits, for the user who grants it.
    explanation: &'static str,
}

/// The capabilities without parameters. Each has an interface of the same name.
static PLAIN: [Plain; 6] = [
    Plain {
        capability: Capability::Secrets,
        name: "secrets",
        explanation: "use its blocks' secrets without seeing them",
    },
    Plain {
        capability: Capability::Crypto,
        name: "crypto",
        explanation: "sign with its blocks' secrets without seeing them",
    },
    Plain { capability: Capability::Log, name: "log", explanation: "write to the log" },
    Plain { capability: Capability::Clock, name: "clock", explanation: "read the time" },
    Plain { capability: Capability::Random, name: "random", explanation: "get random bytes" },
    Plain { capability: Capability::Reveal, name: "reveal", explanation: "SEE its blocks' secrets in plain text" },
];

/// Error for text that is not a valid capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// The name of the capability is unknown.
    #[error("`{0}` is not a capability; the capabilities are {known}", known = known())]
    Unknown(String),
    /// `http` with an invalid origin.
    #[error("the capability `http` requires an origin: {0}")]
    Origin(OriginError),
}

/// Returns the forms of all capabilities, for a message.
fn known() -> String {
    let sql = Dialect::ALL.iter().map(|dialect| format!("`sql {}`", dialect.as_str()));
    let plain = PLAIN.iter().map(|plain| format!("`{}`", plain.name));
    let mut names: Vec<String> = std::iter::once("`http ORIGIN`".to_owned()).chain(sql).chain(plain).collect();
    let last = names.pop().unwrap_or_default();
    format!("{} and {last}", names.join(", "))
}

impl Capability {
    /// Describes what the capability permits, for the user who grants it.
    #[must_use]
    pub fn explanation(&self) -> String {
        match self {
            Self::Http(HttpAccess { origin, networks }) => {
                let origin = match origin.has_fields() {
                    true => format!("the origin that its blocks name ({origin})"),
                    false => origin.to_string(),
                };
                let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
                match networks.is_empty() {
                    true => format!("send requests to {origin}"),
                    false => format!("send requests to {origin}, also inside of the network {}", networks.join(", ")),
                }
            }
            Self::Sql(dialect) => format!("open the {} databases that its blocks name", dialect.product()),
            plain => plain.plain().explanation.to_owned(),
        }
    }

    /// Returns true if `other` may be granted to a bundle that requests this capability: it is
    /// equal or permits less.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(asked), Self::Http(granted)) => asked.origin.covers(&granted.origin),
            (asked, granted) => asked == granted,
        }
    }

    /// Returns true if this capability permits nothing that `other` does not: it is equal, or
    /// narrower for every block. A pattern with fields is only within an equal one, because its
    /// origins depend on each block.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (own, other) if own == other => true,
            (Self::Http(own), Self::Http(other)) => {
                let origin =
                    own.origin == other.origin || !other.origin.has_fields() && other.origin.covers(&own.origin);
                let inside = |network| other.networks.iter().any(|wider| wider.contains(network));
                origin && own.networks.iter().all(inside)
            }
            _ => false,
        }
    }

    /// Returns the interface of the WIT package that the capability links.
    #[must_use]
    pub fn interface(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Sql(_) => "sql",
            plain => plain.plain().name,
        }
    }

    /// Returns the description of a capability without parameters.
    fn plain(&self) -> &'static Plain {
        let found = PLAIN.iter().find(|plain| plain.capability == *self);
        found.expect("the table lists every capability without parameters")
    }
}

impl Dialect {
    /// The supported dialects.
    const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::Mysql];

    /// Returns the name in the interface with bundles.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }

    /// Returns the product name, for messages.
    #[must_use]
    pub fn product(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::Mysql => "MySQL",
        }
    }
}

impl FromStr for Dialect {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|dialect| dialect.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(access) => write!(f, "http {access}"),
            Self::Sql(dialect) => write!(f, "sql {}", dialect.as_str()),
            other => f.write_str(other.interface()),
        }
    }
}

impl FromStr for Capability {
    type Err = CapabilityError;
    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        let unknown = || CapabilityError::Unknown(crate::name::printable(text));
        Ok(match text.split_once(' ') {
            Some(("http", access)) => Self::Http(access.parse().map_err(CapabilityError::Origin)?),
            Some(("sql", dialect)) => Self::Sql(dialect.parse().map_err(|()| unknown())?),
            Some(_) => return Err(unknown()),
            None => PLAIN.iter().find(|plain| plain.name == text).ok_or_else(unknown)?.capability.clone(),
        })
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Capability;

    #[test]
    fn a_capability_is_within_equal_or_wider_ones() {
        let within = |own: &str, other: &str| {
            let parse = |text: &str| text.parse::<Capability>().expect(text);
            parse(own).is_within(&parse(other))
        };
        assert!(within("log", "log"));
        assert!(within("http https://a.b.example", "http https://*.b.example"));
        assert!(within("http {config.url}", "http {config.url} at 10.0.0.0/8"));
        assert!(within("http {config.url} at 10.1.0.0/16", "http {config.url} at 10.0.0.0/8"));
        assert!(!within("log", "clock"));
        assert!(!within("http https://*.b.example", "http https://a.b.example"));
        assert!(!within("http https://a.example", "http {config.url}"));
        assert!(!within("http {config.other}", "http {config.url}"));
        assert!(!within("http {config.url} at 10.0.0.0/8", "http {config.url}"));
        assert!(!within("http {config.url} at 10.0.0.0/8", "http {config.url} at 10.1.0.0/16"));
    }

    #[test]
    fn the_message_names_all_capabilities() {
        let message = "files".parse::<Capability>().expect_err("no capability").to_string();
        assert_eq!(
            message,
            "`files` is not a capability; the capabilities are `http ORIGIN`, `sql sqlite`, `sql postgres`, \
             `sql mysql`, `secrets`, `crypto`, `log`, `clock`, `random` and `reveal`"
        );
    }

    #[test]
    fn capabilities_round_trip() {
        for text in [
            "http https://storage.googleapis.com",
            "http {config.endpoint}",
            "http https://vault.example at 10.0.0.0/8",
            "sql sqlite",
            "sql postgres",
            "sql mysql",
            "secrets",
            "crypto",
            "log",
            "clock",
            "random",
            "reveal",
        ] {
            assert_eq!(text.parse::<Capability>().expect("a capability").to_string(), text);
        }
        for text in ["", "sql", "sql oracle", "http", "http storage", "files", "log all"] {
            assert!(text.parse::<Capability>().is_err(), "{text}");
        }
    }
}
