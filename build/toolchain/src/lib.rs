//! Compiles a crate to a core WebAssembly module.
//!
//! rustup does not install the standard library for `wasm32-unknown-unknown` by default.
//! [`Toolchain::find`] tries three sources in this order: the installed target; rustup, which
//! downloads the target; and a compiler of the distribution that includes the sources of the
//! standard library (Debian's `rustc-web` and `rust-web-src`), which cargo then builds.

mod cargo;
mod find;

pub use cargo::{BuildError, Crate, build, manifest};
pub use find::{Acquire, Toolchain, ToolchainError};

/// Compilation target of bundles. It has no WASI, so a component imports only the interfaces that
/// it declares.
pub const TARGET: &str = "wasm32-unknown-unknown";
