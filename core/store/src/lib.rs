//! The yard in its database: one SQLite file in WAL mode, or a schema of a PostgreSQL database.
//!
//! This crate keeps rows and knows no meaning: documents come in without secrets and with sealed
//! values beside them, and go out the same way. Every write is one transaction that is on disk
//! when the call returns.

mod audit;
mod block;
mod bundle;
mod database;
mod delete;
mod error;
mod grant;
mod key;
mod list;
mod location;
mod reference;
mod sqlite;
mod yard;

pub use audit::{AuditChain, AuditFilter, AuditLine};
pub use block::{BlockRecord, HistoryRecord, NewRevision, WrappedKey};
pub use bundle::{BundleRecord, NewBundle};
pub use error::StoreError;
pub use key::{KeyUse, Rewrap};
pub use list::{BlockFilter, BlockSummary};
pub use location::{LocationError, YardLocation};
pub use yard::{KeyRecord, Store, YardRecord};

/// Milliseconds since 1970-01-01T00:00:00 UTC. The caller has the clock.
pub type Millis = i64;
