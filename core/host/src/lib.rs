//! The sandbox that runs bundles.
//!
//! Bundles are untrusted. Each call gets a new WebAssembly store, in which the bundle can use only
//! the granted capabilities; everything that the bundle controls is bounded by a limit in
//! [`limits`]. `describe`, `validate` and `migrate` run on a separate engine, without any
//! capability.
//!
//! Each capability is one file with the same structure: the resources that the guest holds handles
//! to, then the functions that it calls. Secret values stay in the host; the guest has only
//! handles.

mod bindings;
mod bundle;
mod cache;
mod call;
mod capability;
mod compile;
mod deadline;
mod drive;
mod error;
mod failure;
pub mod limits;
mod notice;
mod output;
mod problem;
mod pure;
mod redact;
mod sandbox;
mod state;
mod ticker;
mod trace;

pub use bundle::Bundle;
pub use call::{Block, CallSecret, Invocation, LogLevel, LogLine, Reply};
pub use capability::reveal::RevealHook;
pub use capability::sql::{count_sqlite_memory, settled};
pub use deadline::Deadline;
pub use error::HostError;
pub use notice::GuessingHook;
pub use output::{ByteStream, Input};
pub use problem::Problem;
pub use redact::Redactor;
pub use sandbox::{Sandbox, SandboxConfig};
