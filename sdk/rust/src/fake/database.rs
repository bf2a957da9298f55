//! Databases of the fake host in tests.

use serde_json::{Map, Value};

use super::host::Host;
use crate::Result;
use crate::sql::{Connection, Target};

impl Host {
    /// Creates a SQLite database in memory with a script of SQL statements. `path` is the path in
    /// the configuration of the block, e.g. `/data/zoo.db`; no file is created.
    ///
    /// # Panics
    /// Panics if the path is not absolute, or if a statement fails.
    #[must_use]
    pub fn database(self, path: &str, script: &str) -> Self {
        let created = self.run(|| crate::bindings::create_database(path, script));
        created.unwrap_or_else(|problem| panic!("the script of the database `{path}`: {}", problem.message));
        self
    }

    /// Returns the rows of a query as JSON objects, for comparisons in a test.
    ///
    /// # Errors
    /// The database does not exist, or rejects the query.
    pub fn rows(&self, path: &str, query: &str) -> Result<Vec<Map<String, Value>>> {
        let target = Target {
            dialect: "sqlite".to_owned(),
            host: None,
            port: None,
            database: path.to_owned(),
            username: None,
            options: Vec::new(),
        };
        self.run(|| Connection::open(&target, None)?.query(query, &[])?.objects(usize::MAX))
    }
}
