//! Connection pools. All connections of one block revision to one server count toward one limit,
//! regardless of the options that the bundle chooses. The number of idle connections is limited as
//! well, and they expire. A connection is never shared between blocks.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Instant;

use blockyard_call::{Problem, limits};
use blockyard_model::capability::Dialect;
use blockyard_model::{Digest, SecretValue};
use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use tokio::net::{TcpStream, lookup_host};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::sqlite::budget::Budget;
use super::target::Permitted;
use super::{Access, mysql, postgres, sqlite};

/// All database connections of a process.
#[derive(Default)]
pub struct Pools {
    shared: Arc<Shared>,
    /// Files that no block may open, such as those of the yard.
    protected: Vec<PathBuf>,
}

#[derive(Default)]
struct Shared {
    servers: Mutex<HashMap<ServerKey, Arc<Server>>>,
}

/// Key under which connections are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ServerKey {
    /// `TYPE/NAME@REVISION`.
    block: String,
    /// Host and port, or the path of a file.
    place: String,
}

/// Connections of one block revision to one server.
struct Server {
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
}

/// An idle connection.
struct Idle {
    purpose: Purpose,
    kept: Reusable,
    since: Instant,
}

/// Properties that a request and an idle connection must share for the connection to be reused.
#[derive(Clone, PartialEq, Eq)]
struct Purpose {
    target: Permitted,
    /// Included because a password from a secret source may change without a new revision.
    password: Option<Digest>,
    /// Included because a connection for reads is read-only from the beginning. `None` for a
    /// database in memory, which has only one connection.
    access: Option<Access>,
}

/// A connection that can be reused.
pub(super) enum Reusable {
    /// The changes that a call made to the session have been reset.
    Postgres(PgConnection),
    /// A database in memory, which exists as long as its connection.
    Memory(SqliteConnection),
}

/// Permit for one connection to a server. It is returned when the lease is dropped.
pub(super) struct Lease {
    shared: Weak<Shared>,
    server: Arc<Server>,
    purpose: Purpose,
    _turn: OwnedSemaphorePermit,
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

    pub(super) async fn open(&self, request: Request<'_>) -> Result<Pooled, Problem> {
        let opened = self.open_within(request).await;
        // Removes the entry of the server if the connection failed.
        self.shared.sweep();
        opened
    }

    async fn open_within(&self, request: Request<'_>) -> Result<Pooled, Problem> {
        let Request { block, target, password, access, budget } = request;
        let memory = target.is_memory();
        let purpose = Purpose {
            password: password.map(|password| Digest::of(password.expose().as_bytes())),
            access: (!memory).then_some(access),
            target,
        };
        let server = self.shared.server(block, &purpose.target);
        let turn = tokio::time::timeout(limits::CONNECT_TIME, server.permits.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| no_permit(block, &purpose.target))?.expect("the semaphore is never closed");
        let lease = Lease { shared: Arc::downgrade(&self.shared), server, purpose, _turn: turn };
        let target = lease.purpose.target.clone();
        let used = sqlite::SessionOptions { access, memory, budget: budget.clone() };
        match lease.again().await {
            Some(Reusable::Postgres(connection)) => {
                return Ok(Pooled::Postgres(postgres::Session::new(connection, lease)));
            }
            Some(Reusable::Memory(connection)) => {
                return Ok(Pooled::Sqlite(sqlite::Session::new(connection, lease, used)));
            }
            None => {}
        }
        lease.make_room();
        if let Some((host, port)) = &target.server {
            reach(host, *port).await?;
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
    pub(super) fn remembered(&self) -> (usize, usize) {
        self.shared.sweep();
        let servers = lock(&self.shared.servers);
        (servers.len(), servers.values().map(|server| lock(&server.idle).len()).sum())
    }
}

impl Shared {
    fn server(&self, block: &str, target: &Permitted) -> Arc<Server> {
        let key = ServerKey { block: block.to_owned(), place: target.place() };
        let connections = if target.is_memory() { 1 } else { limits::POOL_CONNECTIONS };
        let new = || Arc::new(Server { permits: Arc::new(Semaphore::new(connections)), idle: Mutex::default() });
        lock(&self.servers).entry(key).or_insert_with(new).clone()
    }

    /// Closes idle connections that have expired, then the oldest of those above the limit, and
    /// removes servers without connections.
    fn sweep(&self) {
        let mut closed = Vec::new();
        let mut servers = lock(&self.servers);
        for server in servers.values() {
            let mut idle = lock(&server.idle);
            closed.extend(idle.extract_if(.., |idle| idle.is_over()));
        }
        for kind in [Kind::Postgres, Kind::Memory] {
            let mut ages: Vec<Instant> = servers
                .values()
                .flat_map(|server| {
                    lock(&server.idle)
                        .iter()
                        .filter(|idle| idle.kind() == kind)
                        .map(|idle| idle.since)
                        .collect::<Vec<_>>()
                })
                .collect();
            let limit = kind.limit();
            if ages.len() > limit {
                ages.sort_unstable_by(|one, other| other.cmp(one));
                let oldest = ages[limit - 1];
                for server in servers.values() {
                    closed.extend(lock(&server.idle).extract_if(.., |idle| idle.kind() == kind && idle.since < oldest));
                }
            }
        }
        // A server with a connection in use has a second reference.
        servers.retain(|_, server| Arc::strong_count(server) > 1 || !lock(&server.idle).is_empty());
        drop(servers);
        drop(closed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Postgres,
    Memory,
}

impl Kind {
    fn limit(self) -> usize {
        match self {
            Self::Postgres => limits::SQL_IDLE_CONNECTIONS,
            Self::Memory => limits::SQLITE_MEMORY_DATABASES,
        }
    }
}

impl Idle {
    fn kind(&self) -> Kind {
        match self.kept {
            Reusable::Postgres(_) => Kind::Postgres,
            Reusable::Memory(_) => Kind::Memory,
        }
    }

    /// Checks whether the connection has expired. A database in memory never expires, because its
    /// contents would be lost; only the number of such databases is limited.
    fn is_over(&self) -> bool {
        self.kind() == Kind::Postgres && self.since.elapsed() >= limits::IDLE_TIME
    }
}

impl Lease {
    /// Takes an idle connection for the same purpose out of the pool, if one still works.
    async fn again(&self) -> Option<Reusable> {
        loop {
            let found = {
                let mut idle = lock(&self.server.idle);
                let at = idle.iter().rposition(|idle| idle.purpose == self.purpose && !idle.is_over())?;
                idle.swap_remove(at)
            };
            match found.kept {
                Reusable::Postgres(mut connection) => {
                    if postgres::is_alive(&mut connection).await {
                        return Some(Reusable::Postgres(connection));
                    }
                }
                memory @ Reusable::Memory(_) => return Some(memory),
            }
        }
    }

    /// Closes idle connections until there is room for a new one within the limit.
    fn make_room(&self) {
        let used = limits::POOL_CONNECTIONS.saturating_sub(self.server.permits.available_permits());
        let mut closed = Vec::new();
        let mut idle = lock(&self.server.idle);
        while idle.len() + used > limits::POOL_CONNECTIONS && !idle.is_empty() {
            closed.push(idle.remove(0));
        }
        drop(idle);
        drop(closed);
    }

    /// Returns the connection to the pool, for a later call with the same purpose.
    pub(super) fn keep(self, kept: Reusable, runtime: &Handle) {
        let Some(shared) = self.shared.upgrade() else { return };
        lock(&self.server.idle).push(Idle { purpose: self.purpose.clone(), kept, since: Instant::now() });
        let weak = self.shared.clone();
        drop(self);
        shared.sweep();
        runtime.spawn(async move {
            tokio::time::sleep(limits::IDLE_TIME).await;
            if let Some(shared) = weak.upgrade() {
                shared.sweep();
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

fn no_permit(block: &str, target: &Permitted) -> Problem {
    let connections = if target.is_memory() { 1 } else { limits::POOL_CONNECTIONS };
    Problem::new(
        "unavailable",
        format!(
            "block `{block}` has {connections} connections to `{}` in use, and none became free within {} seconds",
            target.place(),
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
async fn reach(host: &str, port: u16) -> Result<(), Problem> {
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

/// Returns the problem if a connection failed before authentication, and `None` for other errors.
pub(super) fn not_connected(error: &sqlx::Error) -> Option<Problem> {
    let problem = match error {
        sqlx::Error::PoolTimedOut => {
            Problem::new("unavailable", format!("could not connect within {} seconds", limits::CONNECT_TIME.as_secs()))
                .retryable()
        }
        sqlx::Error::Tls(reason) => Problem::new("unavailable", format!("TLS: {reason}")),
        // The driver reports an untrusted certificate as this kind of I/O error.
        sqlx::Error::Io(reason) if reason.kind() == std::io::ErrorKind::InvalidData => {
            Problem::new("unavailable", format!("TLS: {reason}"))
        }
        _ => return None,
    };
    Some(problem.details(&json!({ "step": "connect" })))
}
