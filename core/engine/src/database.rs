//! Typed access to blocks that implement the interface `database`.

use serde_json::{Map, Value, json};

use crate::block::Block;
use crate::{ByteStream, Error, ErrorKind};

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
