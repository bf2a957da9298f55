//! The idle connections of a process, and the permits for connections. All connections of one block revision to
//! one server count toward one limit, regardless of the options that the bundle chooses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Instant;

use blockyard_call::limits;
use blockyard_model::Digest;
use sqlx::postgres::PgConnection;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::statement::Access;
use super::target::Permitted;

/// The idle connections of a process.
#[derive(Default)]
pub(super) struct Shared {
    servers: Mutex<HashMap<ServerKey, Arc<Server>>>,
}

/// Key under which connections are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ServerKey {
    /// `TYPE/NAME@REVISION`.
    block: String,
    /// Host and port, or the path of a file.
    server_or_file: String,
}

/// Connections of one block revision to one server.
pub(super) struct Server {
    pub(super) permits: Arc<Semaphore>,
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
pub(super) struct Purpose {
    pub(super) target: Permitted,
    /// Included because a password from a secret source may change without a new revision.
    pub(super) password: Option<Digest>,
    /// Included because a connection for reads is read-only from the beginning. `None` for a
    /// database in memory, which has only one connection.
    pub(super) access: Option<Access>,
}

/// A connection that can be reused.
pub(super) enum Reusable {
    /// The changes that a call made to the session have been reset.
    Postgres(PgConnection),
    /// A database in memory, which exists as long as its connection.
    Memory(rusqlite::Connection),
}

/// Permit for one connection to a server. It is returned when the lease is dropped.
pub(super) struct Lease {
    shared: Weak<Shared>,
    server: Arc<Server>,
    pub(super) purpose: Purpose,
    _permit: OwnedSemaphorePermit,
}

impl Shared {
    pub(super) fn server(&self, block: &str, target: &Permitted) -> Arc<Server> {
        let key = ServerKey { block: block.to_owned(), server_or_file: target.server_or_file() };
        let connections = if target.is_memory() { 1 } else { limits::POOL_CONNECTIONS };
        let new = || Arc::new(Server { permits: Arc::new(Semaphore::new(connections)), idle: Mutex::default() });
        lock(&self.servers).entry(key).or_insert_with(new).clone()
    }

    /// Closes idle connections that have expired, then the oldest of those above the limit, and
    /// removes servers without connections.
    pub(super) fn sweep(&self) {
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

    /// Returns the number of known servers and the number of idle connections.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        self.sweep();
        let servers = lock(&self.servers);
        (servers.len(), servers.values().map(|server| lock(&server.idle).len()).sum())
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
    pub(super) fn new(
        shared: &Arc<Shared>,
        server: Arc<Server>,
        purpose: Purpose,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { shared: Arc::downgrade(shared), server, purpose, _permit: permit }
    }

    /// Takes an idle connection for the same purpose out of the pool.
    pub(super) fn reusable(&self) -> Option<Reusable> {
        let mut idle = lock(&self.server.idle);
        let at = idle.iter().rposition(|idle| idle.purpose == self.purpose && !idle.is_over())?;
        Some(idle.swap_remove(at).kept)
    }

    /// Closes idle connections until there is room for a new one within the limit.
    pub(super) fn evict_idle(&self) {
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
