//! From the folder of a crate to a core WebAssembly module.
//!
//! rustup's Rust has no standard library for `wasm32-unknown-unknown` until it is asked for one.
//! [`Toolchain::find`] looks for one in three places, in this order: the installed target; rustup,
//! which downloads it; and a distribution's compiler that comes with the sources of the standard
//! library (Debian's `rustc-web` and `rust-web-src`), which cargo then builds.

mod cargo;
mod find;

pub use cargo::{BuildError, Crate, build, manifest};
pub use find::{Acquire, Toolchain, ToolchainError};

/// What bundles are compiled for: no WASI, so a component imports what it asks for and nothing else.
pub const TARGET: &str = "wasm32-unknown-unknown";
