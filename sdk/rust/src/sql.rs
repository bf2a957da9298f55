//! SQL databases of the block's configuration. Requires the capability `sql DIALECT`.

mod json;
pub mod lexer;
mod text;
mod value;

use serde_json::{Map, Value as Json};

use crate::bindings::blockyard::bundle::sql as wit;
use crate::{Body, Problem, Result, Secret};

pub use text::float_text;
pub use value::{bytes_from_base64, bytes_to_base64, from_json, parameter, to_json, try_to_json};
pub use wit::{Column, Execution, Target, Timestamp, Value};

/// A connection from the host's pool for this block.
#[derive(Debug)]
pub struct Connection(wit::Connection);

/// A transaction, rolled back if dropped without [`commit`](Self::commit).
#[derive(Debug)]
pub struct Transaction(wit::Transaction);

/// Result rows of a query, read incrementally.
#[derive(Debug)]
pub struct Rows(wit::Rows);

impl Connection {
    /// Opens a connection. Host, port and database must be those of the block's configuration.
    ///
    /// # Errors
    /// The connection fails. The details of the problem contain the failed step (`resolve`,
    /// `connect` or `authenticate`).
    pub fn open(target: &Target, password: Option<&Secret<String>>) -> Result<Self> {
        let password = password.map(Secret::handle).transpose()?;
        Ok(Self(wit::Connection::open(target, password.as_ref())?))
    }

    /// Runs a statement that returns rows.
    ///
    /// # Errors
    /// The database rejects the statement.
    pub fn query(&self, statement: &str, parameters: &[Value]) -> Result<Rows> {
        Ok(Rows(self.0.query(statement, parameters)?))
    }

    /// Runs a statement that writes.
    ///
    /// # Errors
    /// The database rejects the statement.
    pub fn execute(&self, statement: &str, parameters: &[Value]) -> Result<Execution> {
        Ok(self.0.execute(statement, parameters)?)
    }

    /// Runs a statement once for each set of parameters, atomically.
    ///
    /// # Errors
    /// The database rejects a set; the problem contains its number.
    pub fn execute_many(&self, statement: &str, parameters: &[Vec<Value>]) -> Result<Execution> {
        Ok(self.0.execute_many(statement, parameters)?)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// The database reports an error.
    pub fn begin(&self) -> Result<Transaction> {
        Ok(Transaction(self.0.begin()?))
    }
}

impl Transaction {
    /// Runs a statement that returns rows.
    ///
    /// # Errors
    /// The database rejects the statement.
    pub fn query(&self, statement: &str, parameters: &[Value]) -> Result<Rows> {
        Ok(Rows(self.0.query(statement, parameters)?))
    }

    /// Runs a statement that writes.
    ///
    /// # Errors
    /// The database rejects the statement.
    pub fn execute(&self, statement: &str, parameters: &[Value]) -> Result<Execution> {
        Ok(self.0.execute(statement, parameters)?)
    }

    /// Inserts rows into a table by the fastest method of the database (`COPY` in PostgreSQL).
    /// Returns the number of rows. `table` consists of an optional schema name and the table name.
    ///
    /// # Errors
    /// The database rejects a row. The details of the problem contain the number of the row,
    /// counted from 1, as `row`. The transaction can then no longer be used.
    pub fn insert(&self, table: &[String], columns: &[String], rows: &[Vec<Value>]) -> Result<u64> {
        Ok(self.0.insert(table, columns, rows)?)
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// The commit fails. Nothing is saved unless the connection was lost during the commit.
    pub fn commit(self) -> Result<()> {
        Ok(wit::Transaction::commit(self.0)?)
    }
}

impl Rows {
    /// Returns the columns.
    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        self.0.columns()
    }

    /// Returns up to `max` rows, or an empty list at the end.
    ///
    /// # Errors
    /// The query fails after its first rows.
    pub fn next(&self, max: u32) -> Result<Vec<Vec<Value>>> {
        Ok(self.0.next(max)?)
    }

    /// Returns up to `max` rows as JSON objects.
    ///
    /// # Errors
    /// Two columns have the same name, a value cannot be represented in JSON, or the query fails
    /// after its first rows.
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

    /// Returns the rows as an Arrow IPC stream that the host produces. They never enter the bundle.
    #[must_use]
    pub fn into_arrow(self) -> Body {
        wit::Rows::into_arrow(self.0)
    }
}

/// Returns the failed step of a connection problem: `resolve`, `connect` or `authenticate`.
#[must_use]
pub fn step_of(problem: &Problem) -> Option<String> {
    problem.details()["step"].as_str().map(str::to_owned)
}

/// Checks that column names are unique, because a JSON object would keep only one of the
/// duplicates.
///
/// # Errors
/// Two columns have the same name.
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
    fn duplicate_column_names_are_rejected() {
        let column = |name: &str| Column { name: name.to_owned(), type_name: String::new(), nullable: None };
        assert!(unique_names(&[column("n"), column("m")]).is_ok());
        let refused = unique_names(&[column("n"), column("m"), column("n")]).expect_err("twice");
        assert_eq!(refused.message(), "two columns are named `n`");
    }
}
