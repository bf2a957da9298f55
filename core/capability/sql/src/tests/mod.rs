//! Tests of the drivers on real databases, without a bundle: all kinds of values, canceled
//! statements, and reset sessions. Tests of a server that is not available are skipped with a
//! message.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests report what they skip")]

mod bounds;
mod cleaning;
mod connections;
mod lexing;
mod quoting;
mod reading;
mod stopping;
mod transactions;
mod types;
mod view;

use std::sync::Arc;

use arrow_array::RecordBatch;
use blockyard_call::Problem;
use blockyard_model::capability::Dialect;
use blockyard_model::{SecretValue, TlsMode};
use bytes::Buf as _;
use futures_util::StreamExt as _;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use super::connection::{Claimed, End, Slot, begin, end, execute};
use super::pool::{Pooled, Pools, Request};
use super::sqlite::budget::Budget;
use super::statement::{Access, Statement};
use super::target::{MEMORY, Permitted};
use super::{many, mysql, postgres, rows, sqlite};
use crate::bindings::blockyard::bundle::sql::{Execution, Value};

/// A database for a test: a new file, or a server that `cargo xtask test` has started.
struct Server {
    dialect: Dialect,
    target: Permitted,
    password: Option<SecretValue>,
    pools: Pools,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Server {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db").display().to_string();
        // An empty file is a database without tables.
        std::fs::write(&path, "").unwrap();
        Self::new(Dialect::Sqlite, None, path, None, folder)
    }

    fn memory() -> Self {
        Self::new(Dialect::Sqlite, None, MEMORY.to_owned(), None, tempfile::tempdir().unwrap())
    }

    fn postgres() -> Option<Self> {
        Self::started(Dialect::Postgres, "POSTGRES", "postgres", "postgres")
    }

    fn mysql() -> Option<Self> {
        if cfg!(not(feature = "mysql")) {
            eprintln!("SKIPPED: this build does not support MySQL");
            return None;
        }
        Self::started(Dialect::Mysql, "MARIADB", "mysql", "blockyard")
    }

    /// Returns all available databases.
    fn all() -> Vec<Self> {
        [Some(Self::sqlite()), Self::postgres(), Self::mysql()].into_iter().flatten().collect()
    }

    fn started(dialect: Dialect, name: &str, database: &str, username: &str) -> Option<Self> {
        let variable = |what: &str| std::env::var(format!("BLOCKYARD_TEST_{name}_{what}")).ok();
        let Some(port) = variable("PORT") else {
            eprintln!("SKIPPED: BLOCKYARD_TEST_{name}_PORT is not set");
            return None;
        };
        let server = Some((port.parse().unwrap(), username.to_owned()));
        let password = variable("PASSWORD").map(SecretValue::new);
        Some(Self::new(dialect, server, database.to_owned(), password, tempfile::tempdir().unwrap()))
    }

    fn new(
        dialect: Dialect,
        server: Option<(u16, String)>,
        database: String,
        password: Option<SecretValue>,
        folder: tempfile::TempDir,
    ) -> Self {
        let (port, username) = server.unzip();
        let server = port.map(|port| ("127.0.0.1".to_owned(), port));
        let target =
            Permitted { dialect, server, database, username, tls: TlsMode::Prefer, ca: None, application_name: None };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { dialect, target, password, pools: Pools::new(Vec::new()), runtime, _folder: folder }
    }

    /// Opens a connection from the pool of one block.
    async fn open(&self, access: Access) -> Slot {
        self.try_open("test/test@1", access, &Arc::default()).await.unwrap()
    }

    async fn try_open(&self, block: &str, access: Access, budget: &Arc<Budget>) -> Result<Slot, Problem> {
        let (target, password) = (self.target.clone(), self.password.as_ref());
        let pooled = self.pools.open(Request { block, target, password, access, budget }).await?;
        Ok(Arc::new(Mutex::new(Some(pooled))))
    }
}

fn statement(text: &str, parameters: &[Value], access: Access) -> Statement {
    Statement { text: text.to_owned(), parameters: parameters.to_vec(), access, in_transaction: false }
}

async fn run(slot: &Slot, text: &str) -> Execution {
    let claimed = Claimed::of(slot).unwrap();
    execute(claimed, statement(text, &[], Access::ReadWrite))
        .await
        .unwrap_or_else(|problem| panic!("{text}: {problem:?}"))
}

/// Inserts rows into a table, in a separate transaction.
async fn insert(slot: &Slot, table: &[String], columns: &[String], rows: Vec<Vec<Value>>) -> Result<u64, Problem> {
    begin(&mut Claimed::of(slot)?, Access::ReadWrite).await?;
    let inserted = many::insert(Claimed::of(slot)?, table, columns, rows).await;
    end(&mut Claimed::of(slot)?, if inserted.is_ok() { End::Commit } else { End::Rollback }).await?;
    inserted
}

async fn fetch(slot: &Slot, text: &str, parameters: &[Value]) -> Result<Vec<Vec<Value>>, Problem> {
    let mut rows = rows::start(Claimed::of(slot)?, statement(text, parameters, Access::ReadWrite)).await?;
    let mut all = Vec::new();
    loop {
        let some = rows.next(1000).await?;
        if some.is_empty() {
            // The task that read the rows releases the connection asynchronously.
            while Claimed::of(slot).is_err() {
                tokio::task::yield_now().await;
            }
            return Ok(all);
        }
        all.extend(some);
    }
}

/// Returns the single value of a result with one row.
async fn value(slot: &Slot, text: &str) -> Value {
    fetch(slot, text, &[]).await.unwrap_or_else(|problem| panic!("{text}: {problem:?}")).remove(0).remove(0)
}

async fn batches(slot: &Slot, text: &str) -> Vec<RecordBatch> {
    let rows = rows::start(Claimed::of(slot).unwrap(), statement(text, &[], Access::ReadWrite)).await.unwrap();
    let chunks: Vec<_> = rows.into_arrow().collect().await;
    let bytes: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.unwrap().to_vec()).collect();
    while Claimed::of(slot).is_err() {
        tokio::task::yield_now().await;
    }
    arrow_ipc::reader::StreamReader::try_new(bytes.reader(), None).unwrap().map(Result::unwrap).collect()
}

/// Runs a statement in an operation with the effect `read`, without scanning it.
async fn unscanned(pooled: &mut Pooled, text: &str) -> Result<(), Problem> {
    match pooled {
        Pooled::Postgres(session) => postgres::unscanned(session, text).await,
        Pooled::Sqlite(session) => sqlite::unscanned(session, text).await,
        Pooled::Mysql(session) => mysql::unscanned(session, text).await,
    }
}

/// Runs a statement without any check, and then the check that follows a guest's statement.
async fn execute_unscanned(pooled: &mut Pooled, text: &'static str) -> Result<(), Problem> {
    match pooled {
        Pooled::Postgres(session) => postgres::execute_unscanned(session, text).await,
        Pooled::Sqlite(_) => unreachable!("SQLite's authorizer sees every statement"),
        Pooled::Mysql(session) => mysql::execute_unscanned(session, text).await,
    }
}
