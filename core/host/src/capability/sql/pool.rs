//! Pools: one per block revision, target, password and access. A connection is never shared
//! between blocks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use blockyard_model::capability::Dialect;
use blockyard_model::{Digest, SecretValue};
use serde_json::{Value, json};
use sqlx::pool::PoolConnection;
use sqlx::{MySqlPool, PgPool, Postgres, SqlitePool};
use tokio::net::{TcpStream, lookup_host};

use super::{Access, mysql, postgres, sqlite};
use crate::bindings::blockyard::bundle::sql::Target;
use crate::limits;
use crate::problem::Problem;

/// All pools of a process.
#[derive(Default)]
pub(crate) struct Pools {
    pools: Mutex<HashMap<PoolKey, Pool>>,
    /// Files that no block reaches, whatever it names: those of the yard.
    protected: Vec<PathBuf>,
}

#[derive(PartialEq, Eq, Hash)]
struct PoolKey {
    /// `TYPE/NAME@REVISION`.
    block: String,
    target: String,
    /// A password from a source may change without a new revision.
    password: Option<Digest>,
    access: Access,
}

#[derive(Clone)]
enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
    Mysql(MySqlPool),
}

/// A connection from a pool.
pub(super) enum Pooled {
    Postgres(PoolConnection<Postgres>),
    Sqlite(sqlite::Session),
    Mysql(mysql::Session),
}

impl Pooled {
    /// Closes the connection instead of giving it back, and has the database stop what it does.
    pub(super) fn stop(self) {
        match self {
            // The server sees within a second that nobody listens any more.
            Self::Postgres(connection) => drop(connection.detach()),
            Self::Sqlite(session) => session.stop(),
            Self::Mysql(session) => session.stop(),
        }
    }
}

impl Pools {
    pub(crate) fn new(protected: Vec<PathBuf>) -> Self {
        Self { protected, ..Self::default() }
    }

    pub(super) async fn open(
        &self,
        block: &str,
        dialect: Dialect,
        target: &Target,
        password: Option<&SecretValue>,
        access: Access,
    ) -> Result<Pooled, Problem> {
        let key = PoolKey {
            block: block.to_owned(),
            target: format!("{target:?}"),
            password: password.map(|password| Digest::of(password.expose().as_bytes())),
            access,
        };
        let known = self.pools.lock().expect("nothing panics while it holds this lock").get(&key).cloned();
        let pool = match known {
            Some(pool) => pool,
            None => {
                let pool = match dialect {
                    Dialect::Postgres => {
                        reach(target, postgres::DEFAULT_PORT).await?;
                        Pool::Postgres(postgres::pool(target, password)?)
                    }
                    Dialect::Sqlite => Pool::Sqlite(sqlite::pool(target, access, &self.protected)?),
                    Dialect::Mysql => {
                        reach(target, mysql::DEFAULT_PORT).await?;
                        Pool::Mysql(mysql::pool(target, password)?)
                    }
                };
                self.pools.lock().expect("nothing panics while it holds this lock").insert(key, pool.clone());
                pool
            }
        };
        match pool {
            Pool::Postgres(pool) => {
                pool.acquire().await.map(Pooled::Postgres).map_err(|error| postgres::refused(&error, target))
            }
            Pool::Sqlite(pool) => {
                sqlite::Session::open(&pool).await.map(Pooled::Sqlite).map_err(|error| sqlite::refused(&error, target))
            }
            Pool::Mysql(pool) => {
                mysql::Session::open(&pool).await.map(Pooled::Mysql).map_err(|error| mysql::refused(&error, target))
            }
        }
    }
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pools")
    }
}

/// A bundle reaches what the block's own configuration names, and nothing else: a SQLite file where a value is
/// its path, a server where one object, or one address, names its host, its port and its database together. A
/// host of one place with a database of another is nobody's wish.
pub(super) fn named_by(config: &Value, target: &Target, dialect: Dialect) -> Result<(), Problem> {
    let refused =
        |what: String| Err(Problem::new("not-granted", format!("the block's configuration does not name the {what}")));
    if dialect == Dialect::Sqlite {
        if target.database != ":memory:" && !Path::new(&target.database).is_absolute() {
            return Err(Problem::new("invalid", format!("the path `{}` is not absolute", target.database)));
        }
        let is_path = |value: &str| {
            let path = value.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
            value == target.database || path == Some(&target.database)
        };
        return if mentions(config, &|value| value.as_str().is_some_and(is_path)) {
            Ok(())
        } else {
            refused(format!("database `{}`", target.database))
        };
    }
    let Some(host) = &target.host else {
        return Err(Problem::new("invalid", "a server's address needs a host"));
    };
    let default_port = default_port(dialect);
    let place = Place { host, port: target.port.unwrap_or(default_port), database: &target.database, default_port };
    if mentions(config, &|value| place.is_named_by(value)) {
        return Ok(());
    }
    // What is missing, for whoever wrote the bundle.
    let text = |wanted: &str| mentions(config, &|value| value.as_str() == Some(wanted));
    if !text(host) {
        return refused(format!("host `{host}`"));
    }
    if !text(&target.database) {
        return refused(format!("database `{}`", target.database));
    }
    refused(format!("port `{}` with the host `{host}` and the database `{}`", place.port, target.database))
}

/// The port of a dialect's servers where none is given.
pub(super) fn default_port(dialect: Dialect) -> u16 {
    if dialect == Dialect::Mysql { mysql::DEFAULT_PORT } else { postgres::DEFAULT_PORT }
}

/// Where a server's database is.
struct Place<'target> {
    host: &'target str,
    port: u16,
    database: &'target str,
    default_port: u16,
}

impl Place<'_> {
    fn is_named_by(&self, value: &Value) -> bool {
        match value {
            Value::Object(fields) => {
                let text = |wanted: &str| fields.values().any(|field| field.as_str() == Some(wanted));
                let is_port = |field: &Value| field.as_u64() == Some(self.port.into());
                let port = match fields.get("port").filter(|port| !port.is_null()) {
                    Some(port) => is_port(port),
                    None => self.port == self.default_port || fields.values().any(is_port),
                };
                text(self.host) && text(self.database) && port
            }
            Value::String(text) => url::Url::parse(text).is_ok_and(|url| {
                url.host_str().is_some_and(|host| host.trim_matches(['[', ']']) == self.host)
                    && url.port().unwrap_or(self.default_port) == self.port
                    && url.path().strip_prefix('/') == Some(self.database)
            }),
            _ => false,
        }
    }
}

fn mentions(config: &Value, wanted: &impl Fn(&Value) -> bool) -> bool {
    wanted(config)
        || match config {
            Value::Object(object) => object.values().any(|value| mentions(value, wanted)),
            Value::Array(array) => array.iter().any(|value| mentions(value, wanted)),
            _ => false,
        }
}

/// Resolves and connects once, before a driver does, to say which of the two fails. The driver resolves the
/// name again: what protects a connection from a name that leads elsewhere is its certificate, with `sslmode`
/// `verify-full`. Private addresses are not refused, since that is where databases are.
async fn reach(target: &Target, default_port: u16) -> Result<(), Problem> {
    let host = target.host.as_deref().unwrap_or_default();
    let port = target.port.unwrap_or(default_port);
    let step = |step: &str| json!({ "step": step });
    let attempt = async {
        let addresses: Vec<_> = lookup_host((host, port))
            .await
            .map_err(|error| {
                Problem::new("unavailable", format!("host `{host}` does not resolve: {error}"))
                    .details(&step("resolve"))
            })?
            .collect();
        let mut last = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        let reason = last.map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
        Err(Problem::new("unavailable", format!("`{host}:{port}` cannot be reached: {reason}"))
            .retryable()
            .details(&step("connect")))
    };
    tokio::time::timeout(limits::CONNECT_TIME, attempt).await.unwrap_or_else(|_| {
        Err(Problem::new(
            "timeout",
            format!("`{host}:{port}` did not answer within {} seconds", limits::CONNECT_TIME.as_secs()),
        )
        .retryable()
        .details(&step("connect")))
    })
}

/// A failure before the server knew who connects; none for others.
pub(super) fn not_connected(error: &sqlx::Error) -> Option<Problem> {
    let problem = match error {
        sqlx::Error::PoolTimedOut => {
            Problem::new("unavailable", format!("no connection within {} seconds", limits::CONNECT_TIME.as_secs()))
                .retryable()
        }
        sqlx::Error::Tls(reason) => Problem::new("unavailable", format!("TLS: {reason}")),
        // So comes a certificate that is not believed.
        sqlx::Error::Io(reason) if reason.kind() == std::io::ErrorKind::InvalidData => {
            Problem::new("unavailable", format!("TLS: {reason}"))
        }
        _ => return None,
    };
    Some(problem.details(&json!({ "step": "connect" })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: Option<&str>, port: Option<u16>, database: &str) -> Target {
        Target {
            dialect: String::new(),
            host: host.map(str::to_owned),
            port,
            database: database.to_owned(),
            username: None,
            options: Vec::new(),
        }
    }

    #[test]
    fn a_server_is_named_as_a_whole() {
        let named = |config: Value, host: &str, port: Option<u16>, database: &str| {
            named_by(&config, &target(Some(host), port, database), Dialect::Postgres).is_ok()
        };
        let plain = json!({"host": "db", "database": "zoo", "note": "db2 zoo2", "port": null});
        assert!(named(plain.clone(), "db", None, "zoo") && named(plain.clone(), "db", Some(5432), "zoo"));
        assert!(!named(plain.clone(), "db", Some(22), "zoo"));
        assert!(!named(plain.clone(), "db2", None, "zoo") && !named(plain, "db", None, "zoo2"));

        let ported = json!({"server": {"$block": "x/y", "config": {"host": "db", "port": 6000, "database": "zoo"}}});
        assert!(named(ported.clone(), "db", Some(6000), "zoo"));
        assert!(!named(ported.clone(), "db", None, "zoo") && !named(ported, "db", Some(5432), "zoo"));

        let apart = json!({"a": {"host": "one", "database": "x"}, "b": {"host": "two", "database": "y"}});
        assert!(named(apart.clone(), "one", None, "x") && !named(apart, "one", None, "y"));

        let address = json!(["postgres://me@db.example.com:6000/zoo?sslmode=require", "postgres://[::1]/zoo"]);
        assert!(named(address.clone(), "db.example.com", Some(6000), "zoo"));
        assert!(named(address.clone(), "::1", None, "zoo"));
        assert!(!named(address.clone(), "example.com", Some(6000), "zoo"));
        assert!(!named(address, "db.example.com", None, "zoo"));
    }

    #[test]
    fn a_file_is_named_as_a_whole() {
        let named = |config: Value, path: &str| named_by(&config, &target(None, None, path), Dialect::Sqlite).is_ok();
        assert!(named(json!({"file": "/a/b.db"}), "/a/b.db") && named(json!(["sqlite:/a/b.db"]), "/a/b.db"));
        assert!(!named(json!({"file": "/a/b.db, /a/c.db"}), "/a/b.db"));
        assert!(!named(json!({"file": "/a/b.db"}), "/a/../a/b.db"));
        assert!(!named(json!({"file": "b.db"}), "b.db"));
        assert!(!named(json!({"memory": true}), ":memory:"));
    }
}
