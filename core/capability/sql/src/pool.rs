//! Connection pools. All connections of one block revision to one server count toward one limit,
//! regardless of the options that the bundle chooses. The number of idle connections is limited as
//! well, and they expire. A connection is never shared between blocks.

use std::path::PathBuf;
use std::sync::Arc;

use blockyard_call::{Problem, limits};
use blockyard_model::capability::Dialect;
use blockyard_model::{Digest, SecretValue};
use serde_json::json;
use tokio::net::{TcpStream, lookup_host};

use super::lease::{Lease, Purpose, Reusable, Shared};
use super::sqlite::budget::Budget;
use super::statement::Access;
use super::target::Permitted;
use super::{mysql, postgres, sqlite};

/// All database connections of a process.
#[derive(Default)]
pub struct Pools {
    shared: Arc<Shared>,
    /// Files that no block may open, such as those of the yard.
    protected: Vec<PathBuf>,
    /// Only databases in memory can be opened.
    is_isolated: bool,
}

/// A connection in use.
pub(super) enum Pooled {
    Postgres(postgres::Session),
    Sqlite(sqlite::Session),
    Mysql(mysql::Session),
}

impl Pooled {
    /// Closes the connection instead of returning it to the pool, and cancels the running
    /// statement. Returns the closed session of MySQL, whose later errors name the changes that the
    /// server has committed.
    pub(super) fn stop(self) -> Option<Self> {
        match self {
            Self::Postgres(session) => session.stop(),
            Self::Sqlite(session) => session.stop(),
            Self::Mysql(mut session) => {
                session.stop();
                return Some(Self::Mysql(session));
            }
        }
        None
    }

    /// Checks for the session of a connection that [`stop`](Self::stop) has closed.
    #[cfg(test)]
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Mysql(session) if session.is_closed())
    }
}

/// A request for a connection.
pub(super) struct Request<'call> {
    /// `TYPE/NAME@REVISION`.
    pub(super) block: &'call str,
    pub(super) target: Permitted,
    pub(super) password: Option<&'call SecretValue>,
    pub(super) access: Access,
    /// Memory and temporary files that the statements of the call use in SQLite.
    pub(super) budget: &'call Arc<Budget>,
}

impl Pools {
    /// Creates empty pools. No block can open a file in `protected`, such as those of the yard.
    #[must_use]
    pub fn new(protected: Vec<PathBuf>) -> Self {
        sqlite::budget::install();
        Self { protected, ..Self::default() }
    }

    /// Creates empty pools of a sandbox without a network and files: only databases in memory can be opened.
    #[must_use]
    pub fn isolated() -> Self {
        Self { is_isolated: true, ..Self::new(Vec::new()) }
    }

    pub(super) async fn open(&self, request: Request<'_>) -> Result<Pooled, Problem> {
        let opened = self.open_within(request).await;
        // Removes the entry of the server if the connection failed.
        self.shared.sweep();
        opened
    }

    async fn open_within(&self, request: Request<'_>) -> Result<Pooled, Problem> {
        let Request { block, target, password, access, budget } = request;
        let memory = target.is_memory();
        if self.is_isolated && !memory {
            let message =
                format!("`{}` is not opened: this sandbox has no network and no files", target.server_or_file());
            return Err(Problem::new("unavailable", message).details(&json!({ "step": "connect" })));
        }
        let purpose = Purpose {
            password: password.map(|password| Digest::of(password.expose().as_bytes())),
            access: (!memory).then_some(access),
            target,
        };
        let server = self.shared.server(block, &purpose.target);
        let permit = tokio::time::timeout(limits::CONNECT_TIME, server.permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| no_permit(block, &purpose.target))?.expect("the semaphore is never closed");
        let lease = Lease::new(&self.shared, server, purpose, permit);
        let target = lease.purpose.target.clone();
        let used = sqlite::SessionOptions { access, memory, budget: budget.clone() };
        while let Some(idle) = lease.reusable() {
            match idle {
                Reusable::Postgres(mut connection) => {
                    if postgres::is_alive(&mut connection).await {
                        return Ok(Pooled::Postgres(postgres::Session::new(connection, lease)));
                    }
                }
                Reusable::Memory(connection) => {
                    return Ok(Pooled::Sqlite(sqlite::Session::new(connection, lease, used)));
                }
            }
        }
        lease.evict_idle();
        if let Some((host, port)) = &target.server {
            check_reachable(host, *port).await?;
        }
        Ok(match target.dialect {
            Dialect::Postgres => {
                let connection = postgres::connect(&target, password, access).await?;
                Pooled::Postgres(postgres::Session::new(connection, lease))
            }
            Dialect::Sqlite => {
                let connection = sqlite::connect(&target, access, &self.protected).await?;
                Pooled::Sqlite(sqlite::Session::new(connection, lease, used))
            }
            Dialect::Mysql => Pooled::Mysql(mysql::Session::open(&target, password, access, lease).await?),
        })
    }

    /// Returns the number of known servers and the number of idle connections.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        self.shared.counts()
    }
}

fn no_permit(block: &str, target: &Permitted) -> Problem {
    let connections = if target.is_memory() { 1 } else { limits::POOL_CONNECTIONS };
    Problem::new(
        "unavailable",
        format!(
            "block `{block}` has {connections} connections to `{}` in use, and none became free within {} seconds",
            target.server_or_file(),
            limits::CONNECT_TIME.as_secs()
        ),
    )
    .retryable()
    .details(&json!({ "step": "connect" }))
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pools")
    }
}

/// Resolves the host name and connects once before the driver does, to report which of the two
/// steps fails. The driver resolves the name again. A connection is protected against a name that
/// resolves to another server by the server's certificate, with `sslmode` set to `verify-full`.
/// Private addresses are accepted, because that is where databases usually are.
async fn check_reachable(host: &str, port: u16) -> Result<(), Problem> {
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
        let reason = last.map_or_else(|| "the host has no address".to_owned(), |error| error.to_string());
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
