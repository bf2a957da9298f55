//! Addresses of yards: `sqlite:PATH` or `postgres://...`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use url::Url;

/// Default schema of a yard in PostgreSQL.
const DEFAULT_SCHEMA: &str = "blockyard";

/// Location of a yard.
#[derive(Debug, Clone)]
pub enum YardLocation {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A schema of a PostgreSQL database.
    Postgres(Box<PostgresLocation>),
}

/// Connection parameters of a yard in PostgreSQL.
#[derive(Clone)]
pub struct PostgresLocation {
    pub(crate) options: PgConnectOptions,
    /// Schema that contains the yard's tables.
    pub(crate) schema: String,
    pub(crate) max_connections: u32,
    /// Maximum time to wait for a connection. After that the server counts as unreachable.
    pub(crate) connect_timeout: Duration,
    /// Maximum time that the server may spend on one statement.
    pub(crate) statement_timeout: Duration,
    /// The address without its password, for display.
    shown: String,
}

/// Error for text that is not a valid yard address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// The text has no known form.
    #[error("`{0}` is not the address of a yard")]
    Form(String),
    /// A part of the address is invalid. The message never contains a password.
    #[error("invalid yard address: {0}")]
    Option(String),
}

impl YardLocation {
    /// Returns the path of the SQLite file; `None` for PostgreSQL.
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

    /// Parses `sqlite:PATH`, or `postgres://USER@HOST/DATABASE` with the libpq parameters for TLS
    /// (`sslmode`, `sslrootcert`, `sslcert`, `sslkey`) and the additional parameters `schema`,
    /// `max_connections`, `connect_timeout` and `statement_timeout` (both in seconds). Omitted
    /// parts are taken from `PGHOST`, `PGUSER`, `PGPASSWORD`, ... and `~/.pgpass`, as in every
    /// PostgreSQL client.
    fn from_str(text: &str) -> Result<Self, LocationError> {
        match text.split_once(':') {
            Some(("sqlite", path)) => sqlite_path(path).map(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => PostgresLocation::parse(text).map(|l| Self::Postgres(Box::new(l))),
            // Invalid text may contain a misplaced password, so the message does not repeat it in
            // full.
            Some((scheme, _)) => Err(LocationError::Form(format!("{scheme}:…"))),
            None if text.contains(['@', '=', ' ']) => Err(LocationError::Form("…".to_owned())),
            None => Err(LocationError::Form(text.to_owned())),
        }
    }
}

impl PostgresLocation {
    fn parse(text: &str) -> Result<Self, LocationError> {
        let wrong = |what: String| LocationError::Option(what);
        if let Some(mistake) = postgres_mistake(text) {
            return Err(wrong(mistake.to_owned()));
        }
        let mut url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
        let mut seen = BTreeSet::new();
        let mut schema = DEFAULT_SCHEMA.to_owned();
        let mut max_connections = 8;
        let mut connect_timeout = Duration::from_secs(10);
        let mut statement_timeout = Duration::from_secs(60);
        let mut passed_on = Vec::new();
        for (name, value) in url.query_pairs() {
            let number = |range: std::ops::RangeInclusive<u32>| {
                value.parse::<u32>().ok().filter(|number| range.contains(number)).ok_or_else(|| {
                    wrong(format!("`{name}` must be an integer from {} to {}", range.start(), range.end()))
                })
            };
            let before = match &*name {
                "host" => url.host_str().is_some_and(|host| !host.is_empty()),
                "port" => url.port().is_some(),
                "user" => !url.username().is_empty(),
                _ => false,
            };
            if before || !seen.insert(name.clone()) {
                return Err(wrong(format!("`{name}` is given twice")));
            }
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
                        "`password` is not allowed as a parameter; use PGPASSWORD or `~/.pgpass`".to_owned(),
                    ));
                }
                other => return Err(wrong(format!("unknown parameter `{other}`"))),
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

/// Parses the path of a SQLite yard. Rejects text that other programs would interpret differently,
/// such as options: the yard's file would get another name than the user intended.
fn sqlite_path(text: &str) -> Result<PathBuf, LocationError> {
    let wrong = |what: &str| Err(LocationError::Option(what.to_owned()));
    let path = match text.strip_prefix("//") {
        Some(path) if path.starts_with('/') && path.contains('%') => {
            return wrong("a `%` after `sqlite://` is ambiguous; write `sqlite:PATH`");
        }
        Some(path) if path.starts_with("//") => {
            return wrong("the path begins with several slashes; write `sqlite:/PATH`");
        }
        Some(path) if path.starts_with('/') => path,
        Some(_) => return wrong("`sqlite://` is followed by a server name; write `sqlite:PATH`"),
        None => text,
    };
    if path.is_empty() {
        return wrong("the path of the file is missing");
    }
    if path.contains(['?', '#']) {
        return wrong("`?` and `#` are not allowed, because a SQLite yard takes no options");
    }
    if path.contains("://") || path.chars().any(char::is_control) {
        return wrong("the path is not a valid file path");
    }
    // `:memory:`, which SQLite does not interpret as a file.
    if path.rsplit('/').next().is_some_and(|name| name.starts_with(':')) {
        return wrong("a SQLite yard cannot be in memory");
    }
    Ok(Path::new(path).to_owned())
}

/// Returns a problem in a PostgreSQL address that the URL parser would drop or misinterpret.
fn postgres_mistake(text: &str) -> Option<&'static str> {
    let Some((_, rest)) = text.split_once("://") else { return Some("`//` is missing after `postgres:`") };
    if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("white space and control characters are not allowed");
    }
    if rest.contains('#') {
        return Some("`#` is not allowed; in a password, write it as `%23`");
    }
    let (before, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
    let (authority, path) = before.split_once('/').map_or((before, ""), |(authority, path)| (authority, path));
    if path.contains('@') || query.is_some_and(|query| query.contains('@')) || authority.matches('@').count() > 1 {
        return Some("in a password, write `/ ? @` as `%2F %3F %40`");
    }
    if path.contains('/') {
        return Some("the host must be followed by a single path segment, the database name");
    }
    let (userinfo, host) = authority.split_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if userinfo.is_some_and(|userinfo| userinfo.is_empty() || userinfo.starts_with(':') || userinfo.ends_with(':')) {
        return Some("`@` without a user, or `:` without a password");
    }
    if host.contains(',') {
        return Some("several hosts are given; a yard supports one");
    }
    if host.contains('%') {
        return Some("`%` is not allowed in the host; write the folder of a Unix socket as `?host=/FOLDER`");
    }
    if host.ends_with(':') {
        return Some("`:` without a port");
    }
    let pair = |pair: &str| pair.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty());
    if query.is_some_and(|query| !query.split('&').all(pair)) {
        return Some("parameters must have the form `NAME=VALUE`, separated by `&`");
    }
    None
}

/// Returns the address without its password.
fn shown(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return "postgres:…".to_owned() };
    if url.password().is_some() && url.set_password(None).is_err() {
        return "postgres:…".to_owned();
    }
    url.to_string()
}

/// Checks a schema name. A valid name can be inserted into a statement and into `search_path`
/// without quoting.
fn schema_name(text: &str) -> Result<String, String> {
    let plain = !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.starts_with("pg_");
    plain.then(|| text.to_owned()).ok_or_else(|| {
        "`schema` must have 1 to 63 characters of `a-z`, `0-9` and `_`, and must not begin with a digit or `pg_`"
            .to_owned()
    })
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
    fn locations_hide_the_password_and_keep_their_options() {
        let location: YardLocation =
            "postgres://u:s3cret@h:5433/d?schema=team_a&sslmode=require&statement_timeout=5".parse().expect("good");
        assert_eq!(location.to_string(), "postgres://u@h:5433/d?schema=team_a&sslmode=require&statement_timeout=5");
        assert!(!format!("{location:?}").contains("s3cret"));
        let YardLocation::Postgres(location) = location else { panic!("PostgreSQL") };
        assert_eq!(location.schema, "team_a");
        assert_eq!(location.statement_timeout, Duration::from_secs(5));
    }

    #[test]
    fn errors_of_invalid_locations_state_the_cause() {
        let wrong = |text: &str| text.parse::<YardLocation>().expect_err("must be refused").to_string();
        assert_eq!(wrong("yard.db"), "`yard.db` is not the address of a yard");
        assert_eq!(wrong("mysql://u:pw@h/d"), "`mysql:…` is not the address of a yard");
        assert!(wrong("postgres://h/d?schema=A").contains("`schema` must have"));
        assert!(wrong("postgres://h/d?max_connections=0").contains("from 1 to 1000"));
        assert!(wrong("postgres://h/d?colour=red").contains("unknown parameter `colour`"));
        assert!(wrong("postgres://h/d?sslmode=maybe").contains("invalid yard address"));
        for (text, reason) in [
            ("sqlite:", "path of the file is missing"),
            ("sqlite://yard.db", "a server name"),
            ("sqlite:////a/yard.db", "several slashes"),
            ("sqlite:///a%20b/yard.db", "ambiguous"),
            ("sqlite:yard.db?mode=ro", "no options"),
            ("sqlite:yard.db#x", "no options"),
            ("sqlite::memory:", "in memory"),
            ("sqlite:///:memory:", "in memory"),
            ("sqlite:/a/yard.db\n", "valid file path"),
            ("postgres:?host=h", "`//` is missing"),
            ("postgres:/d?host=h", "`//` is missing"),
            ("postgres://u:s3c/ret@h/d", "`%2F"),
            ("postgres://u:s3c?ret@h/d", "`%2F"),
            ("postgres://u:s3c#ret@h/d", "`%23`"),
            ("postgres://u:s3c@ret@h/d", "`%2F"),
            ("postgres://@h/d", "without a user"),
            ("postgres://u:@h/d", "without a password"),
            ("postgres://h/d/e", "single path segment"),
            ("postgres://h,i/d", "several hosts"),
            ("postgres://%2Frun/d", "socket"),
            ("postgres://h:/d", "without a port"),
            ("postgres://h/d?", "NAME=VALUE"),
            ("postgres://h/d?schema=a&&x=b", "NAME=VALUE"),
            ("postgres://h/d?schema", "NAME=VALUE"),
            ("postgres://h/d?schema=a&schema=b", "`schema` is given twice"),
            ("postgres://h/d?host=i", "`host` is given twice"),
            ("postgres://h:1/d?port=2", "`port` is given twice"),
            ("postgres://u@h/d?user=v", "`user` is given twice"),
            ("postgres://h /d", "white space"),
        ] {
            let message = wrong(text);
            assert!(message.contains(reason) && !message.contains("s3c"), "{text}: {message}");
        }
    }

    #[test]
    fn a_sqlite_location_is_the_named_file() {
        for (text, path) in [
            ("sqlite:yard.db", "yard.db"),
            ("sqlite:/a b/yard.db", "/a b/yard.db"),
            ("sqlite:///a/yard.db", "/a/yard.db"),
            ("sqlite:/a%20b/yard.db", "/a%20b/yard.db"),
        ] {
            let location: YardLocation = text.parse().expect(text);
            assert_eq!(location.file(), Some(Path::new(path)), "{text}");
            // The displayed location can be parsed and results in the same file.
            let again: YardLocation = location.to_string().parse().expect(text);
            assert_eq!(again.file(), location.file(), "{text}");
        }
    }
}
