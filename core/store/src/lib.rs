//! The yard in its database: SQLite in WAL mode, one file.
//!
//! This crate keeps rows and knows no meaning: documents come in without secrets and with sealed
//! values beside them, and go out the same way. Every write is one transaction that is on disk
//! when the call returns (`synchronous=FULL`).

mod audit;
mod block;
mod bundle;
mod error;
mod grant;
mod yard;

pub use audit::AuditLine;
pub use block::{BlockFilter, BlockRecord, BlockSummary, NewRevision, RevisionSummary};
pub use bundle::{BundleRecord, NewBundle};
pub use error::StoreError;
pub use yard::{Store, YardRecord};

/// Milliseconds since 1970-01-01T00:00:00 UTC. The caller has the clock.
pub type Millis = i64;
