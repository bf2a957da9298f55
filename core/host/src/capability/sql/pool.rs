//! Connections to databases. The connections of a block's revision to one server are counted together,
//! whatever the bundle chooses for them; those that are kept for the next call are few, and expire. A
//! connection is never shared between blocks.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Instant;

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
use crate::limits;
use crate::problem::Problem;

/// All connections of a process.
#[derive(Default)]
pub(crate) struct Pools {
    shared: Arc<Shared>,
    /// Files that no block reaches, whatever it names: those of the yard.
    protected: Vec<PathBuf>,
}

#[derive(Default)]
struct Shared {
    servers: Mutex<HashMap<ServerKey, Arc<Server>>>,
}

/// What connections are counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ServerKey {
    /// `TYPE/NAME@REVISION`.
    block: String,
    /// Host and port, or a file.
    place: String,
}

/// The connections of a block's revision to one server.
struct Server {
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
}

/// A connection that waits for the next call.
struct Idle {
    purpose: Purpose,
    kept: Kept,
    since: Instant,
}

/// Connections of one purpose replace each other.
#[derive(Clone, PartialEq, Eq)]
struct Purpose {
    target: Permitted,
    /// A password from a source may change without a new revision.
    password: Option<Digest>,
    /// Connections for reads are read-only from their beginning. A database in memory is one connection.
    access: Option<Access>,
}

/// A connection that can be used again.
pub(super) enum Kept {
    /// What calls did to it was taken back.
    Postgres(PgConnection),
    /// A database in memory, which lasts as long as its connection.
    Memory(SqliteConnection),
}

/// The right to one connection to a server, until it is dropped.
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
    /// Closes the connection instead of keeping it, and has the database stop what it does.
    pub(super) fn stop(self) {
        match self {
            Self::Postgres(session) => session.stop(),
            Self::Sqlite(session) => session.stop(),
            Self::Mysql(session) => session.stop(),
        }
    }
}

/// What a call asks for.
pub(super) struct Request<'call> {
    /// `TYPE/NAME@REVISION`.
    pub(super) block: &'call str,
    pub(super) target: Permitted,
    pub(super) password: Option<&'call SecretValue>,
    pub(super) access: Access,
    /// What the statements of the call may hold in SQLite.
    pub(super) budget: &'call Arc<Budget>,
}

impl Pools {
    pub(crate) fn new(protected: Vec<PathBuf>) -> Self {
        sqlite::budget::install();
        Self { protected, ..Self::default() }
    }

    pub(super) async fn open(&self, request: Request<'_>) -> Result<Pooled, Problem> {
        let opened = self.open_within(request).await;
        // What failed is not remembered.
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
        let turn = tokio::time::timeout(limits::CONNECT_TIME, server.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| no_turn(block, &purpose.target))?.expect("the semaphore is never closed");
        let lease = Lease { shared: Arc::downgrade(&self.shared), server, purpose, _turn: turn };
        let target = lease.purpose.target.clone();
        let used = sqlite::Use { access, memory, budget: budget.clone() };
        match lease.again().await {
            Some(Kept::Postgres(connection)) => return Ok(Pooled::Postgres(postgres::Session::new(connection, lease))),
            Some(Kept::Memory(connection)) => {
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

    /// Servers that are remembered, and connections that wait.
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
        let new = || Arc::new(Server { turns: Arc::new(Semaphore::new(connections)), idle: Mutex::default() });
        lock(&self.servers).entry(key).or_insert_with(new).clone()
    }

    /// Closes what waited for too long, the oldest of too many, and forgets servers without connections.
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
        // One that a call holds has a second reference.
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
            Kept::Postgres(_) => Kind::Postgres,
            Kept::Memory(_) => Kind::Memory,
        }
    }

    /// A database in memory would be lost, so only their number is bounded.
    fn is_over(&self) -> bool {
        self.kind() == Kind::Postgres && self.since.elapsed() >= limits::IDLE_TIME
    }
}

impl Lease {
    /// A connection of this purpose that waits, if there is one that still works.
    async fn again(&self) -> Option<Kept> {
        loop {
            let found = {
                let mut idle = lock(&self.server.idle);
                let at = idle.iter().rposition(|idle| idle.purpose == self.purpose && !idle.is_over())?;
                idle.swap_remove(at)
            };
            match found.kept {
                Kept::Postgres(mut connection) => {
                    if postgres::is_alive(&mut connection).await {
                        return Some(Kept::Postgres(connection));
                    }
                }
                memory @ Kept::Memory(_) => return Some(memory),
            }
        }
    }

    /// Closes connections that wait until the new one is within the limit.
    fn make_room(&self) {
        let used = limits::POOL_CONNECTIONS.saturating_sub(self.server.turns.available_permits());
        let mut closed = Vec::new();
        let mut idle = lock(&self.server.idle);
        while idle.len() + used > limits::POOL_CONNECTIONS && !idle.is_empty() {
            closed.push(idle.remove(0));
        }
        drop(idle);
        drop(closed);
    }

    /// Keeps the connection for a later call of the same purpose.
    pub(super) fn keep(self, kept: Kept, runtime: &Handle) {
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

fn no_turn(block: &str, target: &Permitted) -> Problem {
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

/// Resolves and connects once, before a driver does, to say which of the two fails. The driver resolves the
/// name again: what protects a connection from a name that leads elsewhere is its certificate, with `sslmode`
/// `verify-full`. Private addresses are not refused, since that is where databases are.
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
