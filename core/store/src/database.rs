//! A common interface to the two databases that can store a yard.
//!
//! Statements are written once, with the parameters `$1`, `$2`, ..., in the SQL that SQLite and
//! PostgreSQL have in common. Where the two differ, a statement has two versions ([`Sql`]). Columns
//! are integers, strings and byte strings only.

use std::borrow::Cow;

use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Executor, Postgres, Row as _, SqliteConnection};

use crate::sqlite::{SqliteFile, SqliteTransaction};

/// A yard's database: a pool of connections.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    Sqlite(SqliteFile),
    Postgres(PgPool),
}

/// A transaction. If it is dropped without [`commit`](Self::commit), it is rolled back.
pub(crate) enum Transaction {
    Sqlite(SqliteTransaction),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// A statement in the dialect of each database. Values are always passed as parameters, never
/// inserted into the text.
#[derive(Debug, Clone)]
pub(crate) struct Sql {
    sqlite: Cow<'static, str>,
    postgres: Cow<'static, str>,
}

/// A value for a parameter `$1`, `$2`, ...
#[derive(Debug, Clone, Copy)]
pub(crate) enum Param<'a> {
    Integer(Option<i64>),
    Text(Option<&'a str>),
    Bytes(Option<&'a [u8]>),
}

/// A row of a result.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Sql {
    /// Combines two statements that were assembled from constants of this crate.
    pub(crate) fn new(sqlite: String, postgres: String) -> Self {
        Self { sqlite: Cow::Owned(sqlite), postgres: Cow::Owned(postgres) }
    }
}

/// A statement that differs between the two databases.
pub(crate) const fn either(sqlite: &'static str, postgres: &'static str) -> Sql {
    Sql { sqlite: Cow::Borrowed(sqlite), postgres: Cow::Borrowed(postgres) }
}

/// One text for both databases.
impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        either(text, text)
    }
}

/// One text for both databases, assembled from constants of this crate.
impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self { sqlite: Cow::Owned(text.clone()), postgres: Cow::Owned(text) }
    }
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(Some(value))
    }
}

impl From<Option<i64>> for Param<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Integer(value)
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<Option<&'a str>> for Param<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(Some(value))
    }
}

impl<'a> From<&'a Vec<u8>> for Param<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

/// Builds the parameter list of a statement, in order.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::database::Param::from($value)),*] };
}
pub(crate) use params;

type Result<T> = std::result::Result<T, sqlx::Error>;

impl Database {
    /// Returns all rows of a statement.
    pub(crate) async fn fetch(&self, sql: impl Into<Sql>, params: &[Param<'_>]) -> Result<Vec<Row>> {
        let sql = sql.into();
        match self {
            Self::Sqlite(file) => file.with(async |on| fetch_sqlite(on, sql.sqlite, params).await).await,
            Self::Postgres(pool) => fetch_postgres(pool, sql.postgres, params).await,
        }
    }

    /// Returns the first row of a statement.
    pub(crate) async fn first(&self, sql: impl Into<Sql>, params: &[Param<'_>]) -> Result<Option<Row>> {
        Ok(self.fetch(sql, params).await?.into_iter().next())
    }

    /// Runs a statement outside of any transaction and returns the number of rows that it changed.
    pub(crate) async fn execute(&self, sql: impl Into<Sql>, params: &[Param<'_>]) -> Result<u64> {
        let sql = sql.into();
        match self {
            Self::Sqlite(file) => file.with(async |on| execute_sqlite(on, sql.sqlite, params).await).await,
            Self::Postgres(pool) => execute_postgres(pool, sql.postgres, params).await,
        }
    }

    /// Begins a write transaction. SQLite takes the write lock immediately, so that the transaction
    /// never fails halfway because another writer was faster. PostgreSQL locks rows as they are
    /// used; all use cases lock in the same order: the yard, the graph of references, blocks, the
    /// end of the audit trail.
    pub(crate) async fn begin(&self) -> Result<Transaction> {
        Ok(match self {
            Self::Sqlite(file) => Transaction::Sqlite(file.begin().await?),
            Self::Postgres(pool) => Transaction::Postgres(pool.begin().await?),
        })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(file) => file.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Transaction {
    /// Returns all rows of a statement.
    pub(crate) async fn fetch(&mut self, sql: impl Into<Sql>, params: &[Param<'_>]) -> Result<Vec<Row>> {
        let sql = sql.into();
        match self {
            Self::Sqlite(transaction) => fetch_sqlite(transaction.connection(), sql.sqlite, params).await,
            Self::Postgres(transaction) => fetch_postgres(&mut **transaction, sql.postgres, params).await,
        }
    }

    /// Returns the first row of a statement.
    pub(crate) async fn first(&mut self, sql: impl Into<Sql>, params: &[Param<'_>]) -> Result<Option<Row>> {
        Ok(self.fetch(sql, params).await?.into_iter().next())
    }

    /// Runs a statement and returns the number of rows that it changed.
    pub(crate) async fn execute(&mut self, sql: impl Into<Sql>, params: &[Param<'_>]) -> Result<u64> {
        let sql = sql.into();
        match self {
            Self::Sqlite(transaction) => execute_sqlite(transaction.connection(), sql.sqlite, params).await,
            Self::Postgres(transaction) => execute_postgres(&mut **transaction, sql.postgres, params).await,
        }
    }

    /// Runs a locking statement in PostgreSQL. SQLite needs none: it has one writer at a time.
    pub(crate) async fn lock(&mut self, postgres: &'static str) -> Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(transaction) => execute_postgres(&mut **transaction, postgres.into(), &[]).await.map(drop),
        }
    }

    /// Commits the transaction; its changes are durable on disk afterwards.
    pub(crate) async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }
}

/// Queries inside or outside of a transaction.
pub(crate) trait Ask {
    /// Returns all rows of a statement.
    async fn ask(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>>;
}

impl Ask for &Database {
    async fn ask(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        self.fetch(sql, params).await
    }
}

impl Ask for Transaction {
    async fn ask(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        self.fetch(sql, params).await
    }
}

impl Row {
    /// Returns the integer in a column that is never NULL.
    pub(crate) fn integer(&self, column: usize) -> i64 {
        match self {
            Self::Sqlite(row) => row.get(column),
            Self::Postgres(row) => row.get(column),
        }
    }

    /// Returns the integer in a column, or `None` for NULL.
    pub(crate) fn maybe_integer(&self, column: usize) -> Option<i64> {
        match self {
            Self::Sqlite(row) => row.get(column),
            Self::Postgres(row) => row.get(column),
        }
    }

    /// Returns the string in a column that is never NULL.
    pub(crate) fn text(&self, column: usize) -> &str {
        match self {
            Self::Sqlite(row) => row.get(column),
            Self::Postgres(row) => row.get(column),
        }
    }

    /// Returns the string in a column, or `None` for NULL.
    pub(crate) fn maybe_text(&self, column: usize) -> Option<&str> {
        match self {
            Self::Sqlite(row) => row.get(column),
            Self::Postgres(row) => row.get(column),
        }
    }

    /// Returns the bytes in a column that is never NULL.
    pub(crate) fn bytes(&self, column: usize) -> &[u8] {
        match self {
            Self::Sqlite(row) => row.get(column),
            Self::Postgres(row) => row.get(column),
        }
    }

    /// Returns the bytes in a column, or `None` for NULL.
    pub(crate) fn maybe_bytes(&self, column: usize) -> Option<&[u8]> {
        match self {
            Self::Sqlite(row) => row.get(column),
            Self::Postgres(row) => row.get(column),
        }
    }
}

async fn fetch_sqlite(on: &mut SqliteConnection, sql: Cow<'static, str>, params: &[Param<'_>]) -> Result<Vec<Row>> {
    let mut arguments = SqliteArguments::default();
    bind(&mut arguments, params)?;
    let rows = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(on).await?;
    Ok(rows.into_iter().map(Row::Sqlite).collect())
}

async fn fetch_postgres<'e>(
    on: impl Executor<'e, Database = Postgres>,
    sql: Cow<'static, str>,
    params: &[Param<'_>],
) -> Result<Vec<Row>> {
    let mut arguments = PgArguments::default();
    bind(&mut arguments, params)?;
    let rows = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(on).await?;
    Ok(rows.into_iter().map(Row::Postgres).collect())
}

async fn execute_sqlite(on: &mut SqliteConnection, sql: Cow<'static, str>, params: &[Param<'_>]) -> Result<u64> {
    let mut arguments = SqliteArguments::default();
    bind(&mut arguments, params)?;
    Ok(sqlx::query_with(AssertSqlSafe(sql), arguments).execute(on).await?.rows_affected())
}

async fn execute_postgres<'e>(
    on: impl Executor<'e, Database = Postgres>,
    sql: Cow<'static, str>,
    params: &[Param<'_>],
) -> Result<u64> {
    let mut arguments = PgArguments::default();
    bind(&mut arguments, params)?;
    Ok(sqlx::query_with(AssertSqlSafe(sql), arguments).execute(on).await?.rows_affected())
}

fn bind<'q, DB, A>(arguments: &mut A, params: &[Param<'q>]) -> Result<()>
where
    DB: sqlx::Database,
    A: sqlx::Arguments<Database = DB>,
    Option<i64>: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
    Option<&'q str>: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
    Option<&'q [u8]>: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
{
    for param in params {
        match *param {
            Param::Integer(value) => arguments.add(value),
            Param::Text(value) => arguments.add(value),
            Param::Bytes(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(())
}
