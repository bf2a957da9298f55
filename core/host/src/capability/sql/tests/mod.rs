//! The drivers on real databases, without a bundle before them: every kind of value, statements that are
//! stopped, sessions that are taken back. A server that is not there is skipped, by name.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests say what they skip")]

mod cleaning;
mod stopping;
mod types;

use std::sync::Arc;

use arrow_array::RecordBatch;
use blockyard_model::SecretValue;
use blockyard_model::capability::Dialect;
use bytes::Buf as _;
use futures_util::StreamExt as _;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use super::pool::Pools;
use super::{Access, Claimed, Slot, Statement, begin, end, execute, many, rows};
use crate::bindings::blockyard::bundle::sql::{Execution, Target, Value};
use crate::problem::Problem;

/// A database for a test: a file of its own, or what `cargo xtask test` has started.
struct Server {
    dialect: Dialect,
    target: Target,
    password: Option<SecretValue>,
    pools: Pools,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Server {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db").display().to_string();
        Self::new(Dialect::Sqlite, None, path, None, folder)
    }

    fn postgres() -> Option<Self> {
        Self::started(Dialect::Postgres, "POSTGRES", "postgres", "postgres")
    }

    fn mysql() -> Option<Self> {
        Self::started(Dialect::Mysql, "MARIADB", "mysql", "blockyard")
    }

    /// All that are there.
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
        let host = port.map(|_| "127.0.0.1".to_owned());
        let target =
            Target { dialect: dialect.as_str().to_owned(), host, port, database, username, options: Vec::new() };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { dialect, target, password, pools: Pools::new(Vec::new()), runtime, _folder: folder }
    }

    /// A connection from the pool of one block.
    async fn open(&self, access: Access) -> Slot {
        let password = self.password.as_ref();
        let pooled = self.pools.open("test/test@1", self.dialect, &self.target, password, access).await.unwrap();
        Arc::new(Mutex::new(Some(pooled)))
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

/// Rows into a table, in a transaction of their own.
async fn insert(slot: &Slot, table: &[String], columns: &[String], rows: Vec<Vec<Value>>) -> Result<u64, Problem> {
    begin(&mut Claimed::of(slot)?, Access::ReadWrite).await?;
    let inserted = many::insert(Claimed::of(slot)?, table, columns, rows).await;
    end(&mut Claimed::of(slot)?, if inserted.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    inserted
}

async fn fetch(slot: &Slot, text: &str, parameters: &[Value]) -> Result<Vec<Vec<Value>>, Problem> {
    let mut rows = rows::start(Claimed::of(slot)?, statement(text, parameters, Access::ReadWrite)).await?;
    let mut all = Vec::new();
    loop {
        let some = rows.next(1000).await?;
        if some.is_empty() {
            // The task that read them gives the connection back on its own.
            while Claimed::of(slot).is_err() {
                tokio::task::yield_now().await;
            }
            return Ok(all);
        }
        all.extend(some);
    }
}

/// The one value of the one row.
async fn value(slot: &Slot, text: &str) -> Value {
    fetch(slot, text, &[]).await.unwrap_or_else(|problem| panic!("{text}: {problem:?}")).remove(0).remove(0)
}

async fn batches(slot: &Slot, text: &str) -> Vec<RecordBatch> {
    let rows = rows::start(Claimed::of(slot).unwrap(), statement(text, &[], Access::ReadWrite)).await.unwrap();
    let pieces: Vec<_> = rows.into_arrow().collect().await;
    let bytes: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.unwrap().to_vec()).collect();
    while Claimed::of(slot).is_err() {
        tokio::task::yield_now().await;
    }
    arrow_ipc::reader::StreamReader::try_new(bytes.reader(), None).unwrap().map(Result::unwrap).collect()
}
