//! `cargo xtask lint`: checks of the source code that do not run it.
//!
//! clippy and rustdoc use the same metadata of the dependencies, which cargo builds once for both,
//! and whose build scripts and macros the tests need, too.

use crate::{Result, setup};

pub(crate) fn run() -> Result {
    println!("lint: formatting");
    crate::run(setup::cargo().args(["fmt", "--all", "--check"]))?;
    println!("lint: clippy");
    let clippy = ["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    crate::run(setup::cargo().args(clippy))?;
    println!("lint: documentation");
    let documentation = ["doc", "--locked", "--workspace", "--no-deps"];
    crate::run(setup::cargo().args(documentation).env("RUSTDOCFLAGS", "--deny warnings"))
}
