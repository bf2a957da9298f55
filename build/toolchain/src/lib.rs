//! Compiles a crate to a core WebAssembly module.
//!
//! rustup does not install the standard library for `wasm32-unknown-unknown` by default.
//! [`Toolchain::find`] tries three sources in this order: the installed target; rustup, which
//! downloads the target; and a compiler of the distribution that includes the sources of the
//! standard library (Debian's `rustc-web` and `rust-web-src`), which cargo then builds.

mod cargo;
mod find;
mod imports;

pub use cargo::{BuildError, Crate, Profile, TestRun, build, manifest, test};
pub use find::{Acquire, Toolchain, ToolchainError};
pub use imports::{ImportingCrate, importing_crates};

/// Compilation target of bundles. It has no WASI, so a component imports only the interfaces that
/// it declares.
pub const TARGET: &str = "wasm32-unknown-unknown";
