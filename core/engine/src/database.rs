//! Typed access to blocks that implement the interface `database`.

use serde_json::{Map, Value, json};

use crate::block::Block;
use crate::{ByteStream, Deadline, Error, ErrorKind, Input};

/// A block that implements `database`.
#[derive(Debug, Clone)]
pub struct Database {
    block: Block,
}

impl Block {
    /// Returns the block as a database.
    ///
    /// # Errors
    /// Returns an error if the block's type does not implement the interface. The error lists the
    /// interfaces that it implements.
    pub fn as_database(&self) -> Result<Database, Error> {
        self.need_interface("database")?;
        Ok(Database { block: self.clone() })
    }
}

/// Media type of an Arrow IPC stream
/// (<https://www.iana.org/assignments/media-types/application/vnd.apache.arrow.stream>).
const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

impl Block {
    /// Checks that the block has an operation `load` that accepts an Arrow IPC stream.
    ///
    /// # Errors
    /// Returns an error if it does not.
    pub fn can_load_rows(&self) -> Result<(), Error> {
        let load = self.operation("load")?;
        let accepted = |format: &str| {
            let violations = load.arguments.check(&json!({ "format": format }));
            violations.iter().all(|violation| violation.pointer.as_str() != "/format")
        };
        if load.input && accepted("arrow") {
            return Ok(());
        }
        let message = format!("type `{}` does not load rows as an Arrow stream", self.address().type_slug);
        let other = if accepted("parquet") { "a Parquet file" } else { "a file" };
        Err(Error::new(ErrorKind::Usage, message)
            .hint(format!("save the rows as {other}, and load it by the operation `load`")))
    }

    /// Loads rows, given as an Arrow IPC stream, by the operation `load` of the block. Returns the
    /// result of the operation.
    ///
    /// # Errors
    /// Returns the error of [`can_load_rows`](Self::can_load_rows), and an error if the call fails,
    /// for example because `rows` fails.
    pub async fn load_rows(&self, mut arguments: Map<String, Value>, rows: ByteStream) -> Result<Value, Error> {
        self.can_load_rows()?;
        arguments.insert("format".to_owned(), json!("arrow"));
        let input = Input { media_type: ARROW_STREAM.to_owned(), size: None, stream: rows };
        let reply = self.call_with("load", Value::Object(arguments), Some(input), Deadline::default()).await?;
        Ok(reply.result)
    }
}

impl Database {
    /// Runs a read-only statement. Returns the rows as an Arrow IPC stream.
    ///
    /// # Errors
    /// Returns an error if the call fails, for example because the database rejects the statement.
    pub async fn query(&self, statement: &str, parameters: Map<String, Value>) -> Result<ByteStream, Error> {
        let reply = self.block.call("query", json!({"statement": statement, "parameters": parameters})).await?;
        let output = reply.output.ok_or_else(|| Error::new(ErrorKind::Bundle, "the bundle returned no rows"))?;
        Ok(output.1)
    }

    /// Runs a statement that modifies data. Returns the number of affected rows.
    ///
    /// # Errors
    /// Returns an error if the call fails, for example because the database rejects the statement.
    pub async fn execute(&self, statement: &str, parameters: Map<String, Value>) -> Result<u64, Error> {
        let reply = self.block.call("execute", json!({"statement": statement, "parameters": parameters})).await?;
        Ok(reply.result["rows_affected"].as_u64().unwrap_or_default())
    }

    /// Returns all rows of a query, as values by column name.
    ///
    /// # Errors
    /// Returns an error if the call fails, for example because the database rejects the statement.
    pub async fn fetch_all(
        &self,
        statement: &str,
        parameters: Map<String, Value>,
    ) -> Result<Vec<Map<String, Value>>, Error> {
        let reply = self.block.call("fetch-all", json!({"statement": statement, "parameters": parameters})).await?;
        serde_json::from_value(reply.result).map_err(|error| {
            Error::new(ErrorKind::Bundle, "the bundle returned rows that are not objects").because(error)
        })
    }
}
