//! The sandbox. A bundle is a stranger: it runs in a fresh WebAssembly store per call, reaches
//! only the capabilities that were granted, and everything that it controls is bounded by a limit
//! in [`limits`].
//!
//! One capability is one file of one shape: what the guest holds, the functions that it calls,
//! and nothing else. Secrets stay on this side; the guest has handles.

mod bindings;
mod bundle;
mod call;
mod capability;
mod error;
pub mod limits;
mod output;
mod problem;
mod redact;
mod sandbox;
mod state;

pub use bundle::Bundle;
pub use call::{Block, CallSecret, Deadline, Invocation, LogLevel, LogLine, Reply};
pub use capability::reveal::RevealHook;
pub use capability::sql::settled;
pub use error::HostError;
pub use output::{ByteStream, Input};
pub use problem::Problem;
pub use sandbox::{Sandbox, SandboxConfig};
