//! Tests of the engine on whole yards, in process: everything that needs neither a command line nor
//! a remote service. Most cases run on a yard of each backend.
//!
//! The bundle of these tests has the manifest of `tests/guests/zoo`, but code that accepts every
//! configuration and returns nothing, so no other program has to be built first. Cases on
//! PostgreSQL use the server that `cargo xtask test` starts, and are skipped by name if there is
//! none. In CI a missing server is a failure.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its yard fails")]

#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
#[path = "../../../../tests/src/attack.rs"]
mod attack;

/// Defines the tests `sqlite::NAME` and `postgres::NAME` for each `async fn NAME(yard: &TestYard)`.
macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $case() { $crate::fixture::on_sqlite(super::$case); })*
        }
        mod postgres {
            $(#[test] fn $case() { $crate::fixture::on_postgres(super::$case); })*
        }
    };
}

mod code;
mod conformance;
mod file;
mod fixture;
mod history;
mod install;
mod merge;
mod prune;
mod purge;
mod reference;
mod schema;
mod seal;
mod source;
mod trust;
mod uninstall;
mod unused;
mod upgrade;
mod verify;
mod violation;
