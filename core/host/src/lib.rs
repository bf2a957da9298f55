//! The sandbox that runs bundles.
//!
//! Bundles are untrusted. Each call gets a new WebAssembly store, in which the bundle can use only
//! the granted capabilities; everything that the bundle controls is bounded by a limit in
//! [`limits`]. `describe`, `validate` and `migrate` run on a separate engine, without any
//! capability.
//!
//! The capabilities are separate parts with the same structure, linked by one table. Secret values stay in the
//! host; the guest has only handles.

mod bindings;
mod bundle;
mod cache;
mod call;
mod capability;
mod compile;
mod configuration;
mod deadline;
mod drive;
mod error;
mod failure;
mod memory;
mod notice;
mod pure;
mod sandbox;
mod ticker;

pub use blockyard_call::{ByteStream, CallSecret, Input, Problem, Redactor, Usage, limits};
pub use blockyard_sql::{count_sqlite_memory, settled};
pub use bundle::{Bundle, LoadBytes};
pub use call::{Block, Invocation, Reply};
pub use capability::log::{LogLevel, LogLine};
pub use capability::reveal::RevealHook;
pub use compile::examine;
pub use configuration::Migrated;
pub use deadline::Deadline;
pub use error::HostError;
pub use notice::GuessingHook;
pub use sandbox::{Sandbox, SandboxConfig};
