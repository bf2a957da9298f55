//! Where a yard is: `sqlite:PATH` or `postgres://…`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use url::Url;

/// The schema of a PostgreSQL database that a yard is in when its address names none.
const DEFAULT_SCHEMA: &str = "blockyard";

/// Where a yard is.
#[derive(Debug, Clone)]
pub enum YardLocation {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A schema of a PostgreSQL database.
    Postgres(Box<PostgresLocation>),
}

/// A yard in PostgreSQL: how to get there, and how to behave there.
#[derive(Clone)]
pub struct PostgresLocation {
    pub(crate) options: PgConnectOptions,
    /// The schema with the yard's tables.
    pub(crate) schema: String,
    pub(crate) max_connections: u32,
    /// How long a connection is waited for; then the server counts as unreachable.
    pub(crate) connect_timeout: Duration,
    /// How long the server may work on one statement.
    pub(crate) statement_timeout: Duration,
    /// The address without its password.
    shown: String,
}

/// A text that is not the address of a yard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Of no known form.
    #[error("`{0}` is not the address of a yard")]
    Form(String),
    /// One of its options is not right. It never quotes a password.
    #[error("the address of the yard: {0}")]
    Option(String),
}

impl YardLocation {
    /// The SQLite file, where it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl FromStr for YardLocation {
    type Err = LocationError;

    /// Reads `sqlite:PATH`, or `postgres://USER@HOST/DATABASE` with the parameters of libpq for
    /// TLS (`sslmode`, `sslrootcert`, `sslcert`, `sslkey`) and our own: `schema`,
    /// `max_connections`, `connect_timeout` and `statement_timeout` (both in seconds). What the
    /// address leaves out comes from `PGHOST`, `PGUSER`, `PGPASSWORD`, … and `~/.pgpass`, as in every
    /// client of PostgreSQL.
    fn from_str(text: &str) -> Result<Self, LocationError> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() && !path.contains("://") => {
                Ok(Self::Sqlite(Path::new(path.strip_prefix("//").unwrap_or(path)).to_owned()))
            }
            Some(("postgres" | "postgresql", _)) => PostgresLocation::parse(text).map(|l| Self::Postgres(Box::new(l))),
            // What is not an address may be a password in the wrong place: it is not repeated whole.
            Some((scheme, _)) => Err(LocationError::Form(format!("{scheme}:…"))),
            None if text.contains(['@', '=', ' ']) => Err(LocationError::Form("…".to_owned())),
            None => Err(LocationError::Form(text.to_owned())),
        }
    }
}

impl PostgresLocation {
    fn parse(text: &str) -> Result<Self, LocationError> {
        let wrong = |what: String| LocationError::Option(what);
        let mut url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
        let mut schema = DEFAULT_SCHEMA.to_owned();
        let mut max_connections = 8;
        let mut connect_timeout = Duration::from_secs(10);
        let mut statement_timeout = Duration::from_secs(60);
        let mut passed_on = Vec::new();
        for (name, value) in url.query_pairs() {
            let number = |range: std::ops::RangeInclusive<u32>| {
                value
                    .parse::<u32>()
                    .ok()
                    .filter(|number| range.contains(number))
                    .ok_or_else(|| wrong(format!("`{name}` is a number from {} to {}", range.start(), range.end())))
            };
            match &*name {
                "schema" => schema = schema_name(&value).map_err(wrong)?,
                "max_connections" => max_connections = number(1..=1_000)?,
                "connect_timeout" => connect_timeout = Duration::from_secs(number(1..=600)?.into()),
                "statement_timeout" => statement_timeout = Duration::from_secs(number(1..=86_400)?.into()),
                "sslmode" | "sslrootcert" | "sslcert" | "sslkey" | "application_name" | "host" | "port" | "user" => {
                    passed_on.push((name.into_owned(), value.into_owned()));
                }
                "password" => {
                    return Err(wrong(
                        "`password` does not belong in its parameters; use PGPASSWORD or `~/.pgpass`".to_owned(),
                    ));
                }
                other => return Err(wrong(format!("`{other}` is not a parameter of it"))),
            }
        }
        url.set_query(None);
        if !passed_on.is_empty() {
            url.query_pairs_mut().extend_pairs(&passed_on);
        }
        let options: PgConnectOptions = url.as_str().parse().map_err(|error: sqlx::Error| match error {
            sqlx::Error::Configuration(reason) => wrong(reason.to_string()),
            other => wrong(other.to_string()),
        })?;
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("blockyard"),
        };
        Ok(Self { options, schema, max_connections, connect_timeout, statement_timeout, shown: shown(text) })
    }
}

/// The address without its password.
fn shown(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return "postgres:…".to_owned() };
    if url.password().is_some() && url.set_password(None).is_err() {
        return "postgres:…".to_owned();
    }
    url.to_string()
}

/// A schema's name, safe to write into a statement and into `search_path`.
fn schema_name(text: &str) -> Result<String, String> {
    let plain = !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.starts_with("pg_");
    plain.then(|| text.to_owned()).ok_or_else(|| "`schema` is 1 to 63 of `a-z`, `0-9` and `_`".to_owned())
}

impl fmt::Display for YardLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(location) => f.write_str(&location.shown),
        }
    }
}

impl fmt::Debug for PostgresLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_show_no_password_and_keep_their_options() {
        let location: YardLocation =
            "postgres://u:s3cret@h:5433/d?schema=team_a&sslmode=require&statement_timeout=5".parse().expect("good");
        assert_eq!(location.to_string(), "postgres://u@h:5433/d?schema=team_a&sslmode=require&statement_timeout=5");
        assert!(!format!("{location:?}").contains("s3cret"));
        let YardLocation::Postgres(location) = location else { panic!("PostgreSQL") };
        assert_eq!(location.schema, "team_a");
        assert_eq!(location.statement_timeout, Duration::from_secs(5));
    }

    #[test]
    fn bad_addresses_say_what_is_wrong() {
        let wrong = |text: &str| text.parse::<YardLocation>().expect_err("must be refused").to_string();
        assert_eq!(wrong("yard.db"), "`yard.db` is not the address of a yard");
        assert_eq!(wrong("mysql://u:pw@h/d"), "`mysql:…` is not the address of a yard");
        assert!(wrong("postgres://h/d?schema=A").contains("`schema` is"));
        assert!(wrong("postgres://h/d?max_connections=0").contains("from 1 to 1000"));
        assert!(wrong("postgres://h/d?colour=red").contains("`colour` is not a parameter"));
        assert!(wrong("postgres://h/d?sslmode=maybe").contains("the address of the yard"));
    }
}
