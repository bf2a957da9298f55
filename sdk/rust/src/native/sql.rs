//! Interface `sql`: SQLite databases in memory, with the feature `fake-sql`.

use super::secrets::Secret;
#[cfg(feature = "fake-sql")]
use super::sqlite as database;
use super::state::current;
use super::streams::{Body, Table};
use super::types::Problem;

pub use super::value::{Column, Execution, Target, Timestamp, Value};

/// Maximum number of rows that the host returns at once.
const ROWS: usize = 512;

/// Result rows of a query.
#[derive(Debug)]
pub struct Rows(database::Cursor);

/// A transaction. Rolled back when it is dropped.
#[derive(Debug)]
pub struct Transaction(database::Transaction);

/// A connection.
#[derive(Debug)]
pub struct Connection(database::Handle);

impl Rows {
    /// Returns the columns.
    pub fn columns(&self) -> Vec<Column> {
        self.0.columns()
    }

    /// Returns the next rows, at most `max`; an empty list at the end.
    ///
    /// # Errors
    /// A row cannot be read.
    pub fn next(&self, max: u32) -> Result<Vec<Vec<Value>>, Problem> {
        self.0.next((max as usize).clamp(1, ROWS))
    }

    /// Returns the remaining rows as a body.
    pub fn into_arrow(rows: Rows) -> Body {
        match rows.0.into_rows() {
            Ok((columns, rows)) => Body::table(Table { columns, rows }),
            Err(problem) => Body::chunked("application/vnd.apache.arrow.stream", None, vec![Err(problem)]),
        }
    }
}

impl Transaction {
    /// Runs a statement that returns rows.
    ///
    /// # Errors
    /// The database rejects the statement.
    pub fn query(&self, statement: &str, parameters: &[Value]) -> Result<Rows, Problem> {
        self.0.handle().query(statement, parameters).map(Rows)
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// The database rejects the statement.
    pub fn execute(&self, statement: &str, parameters: &[Value]) -> Result<Execution, Problem> {
        self.0.handle().execute(statement, parameters)
    }

    /// Inserts rows into a table.
    ///
    /// # Errors
    /// The database rejects a row.
    pub fn insert(&self, table: &[String], columns: &[String], rows: &[Vec<Value>]) -> Result<u64, Problem> {
        self.0.handle().insert(table, columns, rows)
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// The commit fails.
    pub fn commit(transaction: Transaction) -> Result<(), Problem> {
        transaction.0.commit()
    }
}

impl Connection {
    /// Opens a database of the fake host.
    ///
    /// # Errors
    /// The target is not valid, or not a SQLite database.
    pub fn open(target: &Target, password: Option<&Secret>) -> Result<Connection, Problem> {
        let _ = password;
        let state = current("Connection::open");
        let read_only = state.effect.borrow().is_read();
        database::open(&state.databases, target, read_only).map(Connection)
    }

    /// Runs a statement that returns rows.
    ///
    /// # Errors
    /// The database rejects the statement.
    pub fn query(&self, statement: &str, parameters: &[Value]) -> Result<Rows, Problem> {
        self.0.query(statement, parameters).map(Rows)
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// The database rejects the statement.
    pub fn execute(&self, statement: &str, parameters: &[Value]) -> Result<Execution, Problem> {
        self.0.execute(statement, parameters)
    }

    /// Executes a statement once for each set of parameters, in one transaction.
    ///
    /// # Errors
    /// The database rejects a set.
    pub fn execute_many(&self, statement: &str, parameters: &[Vec<Value>]) -> Result<Execution, Problem> {
        self.0.execute_many(statement, parameters)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// Another connection has begun one.
    pub fn begin(&self) -> Result<Transaction, Problem> {
        self.0.begin().map(Transaction)
    }
}

/// Creates a database of the current host with a script of SQL statements.
///
/// # Errors
/// The path is not valid, or a statement fails.
#[cfg(feature = "fake-sql")]
pub(crate) fn create_database(path: &str, script: &str) -> Result<(), Problem> {
    database::create(&current("Host::database").databases, path, script)
}

/// In place of the databases, without the feature `fake-sql`: types that have no values.
#[cfg(not(feature = "fake-sql"))]
mod database {
    use super::{Column, Execution, Problem, Target, Value};

    #[derive(Debug)]
    pub(super) enum Never {}

    pub(super) type Cursor = Never;
    pub(super) type Transaction = Never;
    pub(super) type Handle = Never;

    pub(super) fn open(_: &(), _: &Target, _: bool) -> Result<Handle, Problem> {
        Err(Problem::new("failed", "the fake host was compiled without databases")
            .hint("enable the feature `fake-sql` of `blockyard-sdk` under `[dev-dependencies]`"))
    }

    impl Never {
        pub(super) fn columns(&self) -> Vec<Column> {
            match *self {}
        }

        pub(super) fn next(&self, _: usize) -> Result<Vec<Vec<Value>>, Problem> {
            match *self {}
        }

        pub(super) fn into_rows(self) -> Result<(Vec<Column>, Vec<Vec<Value>>), Problem> {
            match self {}
        }

        pub(super) fn handle(&self) -> &Self {
            self
        }

        pub(super) fn query(&self, _: &str, _: &[Value]) -> Result<Self, Problem> {
            match *self {}
        }

        pub(super) fn execute(&self, _: &str, _: &[Value]) -> Result<Execution, Problem> {
            match *self {}
        }

        pub(super) fn execute_many(&self, _: &str, _: &[Vec<Value>]) -> Result<Execution, Problem> {
            match *self {}
        }

        pub(super) fn insert(&self, _: &[String], _: &[String], _: &[Vec<Value>]) -> Result<u64, Problem> {
            match *self {}
        }

        pub(super) fn begin(&self) -> Result<Self, Problem> {
            match *self {}
        }

        pub(super) fn commit(self) -> Result<(), Problem> {
            match self {}
        }
    }
}
