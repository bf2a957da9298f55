//! SQL databases that the block's configuration names. Needs the capability `sql DIALECT`.

mod json;
mod text;
mod value;

use serde_json::{Map, Value as Json};

use crate::bindings::blockyard::bundle::sql as wit;
use crate::{Body, Problem, Result, Secret};

pub use text::{date_text, float_text, time_text, timestamp_text};
pub use value::{bytes_from_base64, from_json, parameter, to_json, try_to_json};
pub use wit::{Column, Execution, Target, Timestamp, Value};

/// A connection from the host's pool for this block.
#[derive(Debug)]
pub struct Connection(wit::Connection);

/// A transaction. Dropped without [`commit`](Self::commit) it is rolled back.
#[derive(Debug)]
pub struct Transaction(wit::Transaction);

/// The rows of a query, on their way.
#[derive(Debug)]
pub struct Rows(wit::Rows);

impl Connection {
    /// Opens a connection. Host, port and database must stand in the block's configuration.
    ///
    /// # Errors
    /// Why not; the problem's details have the step (`resolve`, `connect`, `authenticate`).
    pub fn open(target: &Target, password: Option<&Secret<String>>) -> Result<Self> {
        let password = password.map(Secret::handle).transpose()?;
        Ok(Self(wit::Connection::open(target, password.as_ref())?))
    }

    /// Runs a statement that gives rows.
    ///
    /// # Errors
    /// What the database says.
    pub fn query(&self, statement: &str, parameters: &[Value]) -> Result<Rows> {
        Ok(Rows(self.0.query(statement, parameters)?))
    }

    /// Runs a statement that changes something.
    ///
    /// # Errors
    /// What the database says.
    pub fn execute(&self, statement: &str, parameters: &[Value]) -> Result<Execution> {
        Ok(self.0.execute(statement, parameters)?)
    }

    /// Runs a statement once for each set of parameters, all or nothing.
    ///
    /// # Errors
    /// What the database says, with the number of the set.
    pub fn execute_many(&self, statement: &str, parameters: &[Vec<Value>]) -> Result<Execution> {
        Ok(self.0.execute_many(statement, parameters)?)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// What the database says.
    pub fn begin(&self) -> Result<Transaction> {
        Ok(Transaction(self.0.begin()?))
    }
}

impl Transaction {
    /// Runs a statement that gives rows.
    ///
    /// # Errors
    /// What the database says.
    pub fn query(&self, statement: &str, parameters: &[Value]) -> Result<Rows> {
        Ok(Rows(self.0.query(statement, parameters)?))
    }

    /// Runs a statement that changes something.
    ///
    /// # Errors
    /// What the database says.
    pub fn execute(&self, statement: &str, parameters: &[Value]) -> Result<Execution> {
        Ok(self.0.execute(statement, parameters)?)
    }

    /// Puts rows into a table, by the fastest way that the database has (`COPY` in PostgreSQL); gives their
    /// number. The table's name may have its schema's before it.
    ///
    /// # Errors
    /// What the database says; the details have the number of the row that it does not take as `row`, from 1.
    /// The transaction is good for nothing else then.
    pub fn insert(&self, table: &[String], columns: &[String], rows: &[Vec<Value>]) -> Result<u64> {
        Ok(self.0.insert(table, columns, rows)?)
    }

    /// Makes all of it last.
    ///
    /// # Errors
    /// What the database says; then nothing of it lasts.
    pub fn commit(self) -> Result<()> {
        Ok(wit::Transaction::commit(self.0)?)
    }
}

impl Rows {
    /// What the columns are.
    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        self.0.columns()
    }

    /// The next rows, at most so many; empty at the end.
    ///
    /// # Errors
    /// Where the query fails in the middle.
    pub fn next(&self, max: u32) -> Result<Vec<Vec<Value>>> {
        Ok(self.0.next(max)?)
    }

    /// The rows as JSON objects, at most `max`.
    ///
    /// # Errors
    /// Two columns have one name, a value has no form in JSON, or the query fails after its first rows.
    pub fn objects(&self, max: usize) -> Result<Vec<Map<String, Json>>> {
        let columns = self.columns();
        unique_names(&columns)?;
        let mut objects: Vec<Map<String, Json>> = Vec::new();
        while objects.len() < max {
            let rows = self.next(u32::try_from(max - objects.len()).unwrap_or(u32::MAX))?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let number = objects.len() + 1;
                objects.push(object(&columns, row).map_err(|problem| problem.context(format!("row {number}")))?);
            }
        }
        Ok(objects)
    }

    /// The rows as an Arrow IPC stream that the host makes; they never enter the bundle.
    #[must_use]
    pub fn into_arrow(self) -> Body {
        wit::Rows::into_arrow(self.0)
    }
}

/// A problem of the database's own: connecting, authenticating, …
#[must_use]
pub fn step_of(problem: &Problem) -> Option<String> {
    problem.details()["step"].as_str().map(str::to_owned)
}

/// Refuses a result in which two columns have one name: an object would keep only one of them.
///
/// # Errors
/// The name that two columns have.
pub fn unique_names(columns: &[Column]) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    match columns.iter().find(|column| !seen.insert(column.name.as_str())) {
        None => Ok(()),
        Some(twice) => Err(Problem::invalid(format!("two columns are named `{}`", twice.name))
            .hint("give each a different name with `as`")),
    }
}

fn object(columns: &[Column], row: Vec<Value>) -> Result<Map<String, Json>> {
    let members = columns.iter().zip(row).map(|(column, value)| {
        let value = try_to_json(value).map_err(|problem| problem.context(format!("column `{}`", column.name)))?;
        Ok((column.name.clone(), value))
    });
    members.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_columns_of_one_name_are_refused() {
        let column = |name: &str| Column { name: name.to_owned(), type_name: String::new(), nullable: None };
        assert!(unique_names(&[column("n"), column("m")]).is_ok());
        let refused = unique_names(&[column("n"), column("m"), column("n")]).expect_err("twice");
        assert_eq!(refused.message(), "two columns are named `n`");
    }
}
