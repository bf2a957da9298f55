//! Pools: one per block revision, target, password and access. A connection is never shared
//! between blocks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use blockyard_model::capability::Dialect;
use blockyard_model::{Digest, SecretValue};
use serde_json::{Value, json};
use sqlx::pool::PoolConnection;
use sqlx::{MySqlPool, PgPool, Postgres, Sqlite, SqlitePool};
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
    Sqlite(PoolConnection<Sqlite>),
    Mysql(mysql::Session),
}

impl Pooled {
    /// Closes the connection instead of giving it back, and has the database stop what it does.
    pub(super) fn stop(self) {
        match self {
            // The server sees within a second that nobody listens any more.
            Self::Postgres(connection) => drop(connection.detach()),
            Self::Sqlite(connection) => drop(connection.detach()),
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
                pool.acquire().await.map(Pooled::Sqlite).map_err(|error| sqlite::refused(&error, target))
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

/// A bundle reaches what the block's own configuration names, and nothing else.
pub(super) fn named_by(config: &Value, target: &Target, dialect: Dialect) -> Result<(), Problem> {
    let named = |wanted: &str| mentions(config, &|value| value.as_str() == Some(wanted));
    let unnamed = |what: &str, wanted: &str| {
        Err(Problem::new("not-granted", format!("the block's configuration does not name the {what} `{wanted}`")))
    };
    if !named(&target.database) {
        return unnamed("database", &target.database);
    }
    if dialect == Dialect::Sqlite {
        if target.database != ":memory:" && !Path::new(&target.database).is_absolute() {
            return Err(Problem::new("invalid", format!("the path `{}` is not absolute", target.database)));
        }
        return Ok(());
    }
    let Some(host) = &target.host else {
        return Err(Problem::new("invalid", "a server's address needs a host"));
    };
    if !named(host) {
        return unnamed("host", host);
    }
    let default_port = if dialect == Dialect::Mysql { mysql::DEFAULT_PORT } else { postgres::DEFAULT_PORT };
    let port = target.port.unwrap_or(default_port);
    if port != default_port && !mentions(config, &|value| value.as_u64() == Some(port.into())) {
        return unnamed("port", &port.to_string());
    }
    Ok(())
}

fn mentions(config: &Value, wanted: &impl Fn(&Value) -> bool) -> bool {
    wanted(config)
        || match config {
            Value::Object(object) => object.values().any(|value| mentions(value, wanted)),
            Value::Array(array) => array.iter().any(|value| mentions(value, wanted)),
            _ => false,
        }
}

/// Resolves and connects once, before a driver does, to say which of the two fails.
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
