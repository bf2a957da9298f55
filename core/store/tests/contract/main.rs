//! Contract of the store: every method of [`Store`](blockyard_store::Store) has the same result on
//! SQLite and on PostgreSQL. Each case is written once and runs on a new yard of each backend.
//!
//! The cases on PostgreSQL use the server that `cargo xtask test` starts, and are skipped by name
//! if there is none. In CI a missing server is a failure.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its yard fails")]

/// Defines the tests `sqlite::NAME` and `postgres::NAME` for each `async fn NAME(yard: &TestStore)`.
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

mod audit;
mod bundle;
mod concurrency;
mod delete;
mod fixture;
mod grant;
mod guard;
mod interruption;
mod list;
mod purge;
mod reference;
mod revision;
mod rotation;
mod set;
mod signer;
mod uninstall;
mod upgrade;
mod yard;
