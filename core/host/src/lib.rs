//! The sandbox. A bundle is a stranger: it runs in a fresh WebAssembly store per call, reaches
//! only the capabilities that were granted, and everything that it controls is bounded by a limit
//! in [`limits`]. What it says of itself it says on an engine where there is nothing to reach.
//!
//! One capability is one file of one shape: what the guest holds, the functions that it calls,
//! and nothing else. Secrets stay on this side; the guest has handles.

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
pub use notice::GuessNotice;
pub use output::{ByteStream, Input};
pub use problem::Problem;
pub use redact::Redactor;
pub use sandbox::{Sandbox, SandboxConfig};
