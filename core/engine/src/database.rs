//! The interface `database`, typed.

use serde_json::{Map, Value, json};

use crate::block::Block;
use crate::{ByteStream, Error, ErrorKind};

/// A block that implements `database`.
#[derive(Debug, Clone)]
pub struct Database {
    block: Block,
}

impl Block {
    /// The block as a database.
    ///
    /// # Errors
    /// Its type does not implement the interface; the error says what it implements.
    pub fn as_database(&self) -> Result<Database, Error> {
        self.need_interface("database")?;
        Ok(Database { block: self.clone() })
    }
}

impl Database {
    /// Runs a statement that only reads. The rows come as an Arrow IPC stream.
    ///
    /// # Errors
    /// What the database says.
    pub async fn query(&self, statement: &str, parameters: Map<String, Value>) -> Result<ByteStream, Error> {
        let reply = self.block.call("query", json!({"statement": statement, "parameters": parameters})).await?;
        let output = reply.output.ok_or_else(|| Error::new(ErrorKind::Bundle, "the bundle gave no rows"))?;
        Ok(output.1)
    }

    /// Runs a statement that changes something. Says how many rows it changed.
    ///
    /// # Errors
    /// What the database says.
    pub async fn execute(&self, statement: &str, parameters: Map<String, Value>) -> Result<u64, Error> {
        let reply = self.block.call("execute", json!({"statement": statement, "parameters": parameters})).await?;
        Ok(reply.result["rows_affected"].as_u64().unwrap_or_default())
    }

    /// All rows of a query, as values by the names of their columns.
    ///
    /// # Errors
    /// What the database says.
    pub async fn fetch_all(
        &self,
        statement: &str,
        parameters: Map<String, Value>,
    ) -> Result<Vec<Map<String, Value>>, Error> {
        let reply = self.block.call("fetch-all", json!({"statement": statement, "parameters": parameters})).await?;
        serde_json::from_value(reply.result)
            .map_err(|error| Error::new(ErrorKind::Bundle, "the rows are not objects").because(error))
    }
}
