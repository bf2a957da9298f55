//! Storage of a yard: one SQLite file in WAL mode, or one schema of a PostgreSQL database.
//!
//! This crate stores rows and does not interpret them: the caller passes documents without secrets,
//! together with the sealed values, and gets them back in the same form. Every write is a single
//! transaction, which is durable on disk when the call returns.

mod audit;
mod block;
mod bundle;
mod bundle_user;
mod database;
mod delete;
mod error;
mod gc;
mod grant;
mod key;
mod list;
mod location;
mod migrations;
mod pointer;
mod reference;
mod set;
mod signer;
mod sqlite;
mod uninstall;
mod upgrade;
mod yard;

pub use audit::{AuditChain, AuditFilter, AuditLine};
pub use block::{BlockRecord, HistoryRecord, NewRevision, WrappedKey};
pub use bundle::{BundleRecord, NewBundle};
pub use bundle_user::BundleUser;
pub use error::StoreError;
pub use key::{KeyUse, Rewrap};
pub use list::{BlockFilter, BlockSummary};
pub use location::{LocationError, YardLocation};
pub use signer::NewSigner;
pub use uninstall::Uninstall;
pub use upgrade::{BlockUpgrade, Upgrade};
pub use yard::{KeyRecord, Store, YardRecord};

/// Milliseconds since 1970-01-01T00:00:00 UTC. The caller supplies the current time.
pub type Millis = i64;
