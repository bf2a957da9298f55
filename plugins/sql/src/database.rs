//! Block type `sql-database`, with the standard interface `database`.

use std::collections::BTreeMap;

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::{self, Rows};

use crate::Dialect;
use crate::catalog::{self, Table, TableColumn};
use crate::column_type::Empty;
use crate::load::{Loaded, Target};
use crate::parameters::{Parameters, Query, bound};
use crate::rows::Format;
use crate::{check, csv_file, script, unload, validation};

/// A SQL database: a SQLite file, or a PostgreSQL, MySQL or MariaDB server.
#[derive(Block)]
#[block(
    type = "sql-database",
    version = 1,
    title = "SQL database",
    interfaces(interface::Database),
    sql(
        dialect = "/dialect",
        host = "/host",
        port = "/port",
        database = "/database",
        username = "/username",
        tls = "/options/sslmode",
        ca = "/ca",
        application_name = "/options/application_name"
    )
)]
pub struct SqlDatabase {
    /// Database system: `sqlite`, `postgres` or `mysql` (MySQL or MariaDB).
    pub(crate) dialect: Dialect,
    /// Connection URL, instead of the other fields:
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE`, or `sqlite:///PATH`. It is split
    /// into the other fields when the block is saved; the password is stored as a secret.
    #[schemars(extend("x-connection-url" = {"dialect": {
        "sqlite": "sqlite", "postgres": "postgres", "postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"
    }}))]
    #[allow(dead_code, reason = "split into the other fields before the bundle reads the block")]
    url: Option<String>,
    /// Database name, e.g. `sales`; for SQLite the absolute path of the file, or `:memory:`.
    pub(crate) database: String,
    /// Host name or IP address of the server, e.g. `db.example.com`. Not for SQLite.
    pub(crate) host: Option<String>,
    /// Port of the server. Defaults to 5432 for PostgreSQL and 3306 for MySQL. Not for SQLite.
    pub(crate) port: Option<u16>,
    /// User name. Not for SQLite.
    pub(crate) username: Option<String>,
    /// Password of the user. Not for SQLite.
    #[block(audience = "sql")]
    pub(crate) password: Option<Secret<String>>,
    /// PEM-encoded CA certificates used to verify the server: `--set ca=@ca.pem`. Defaults to the
    /// CA certificates of this machine. Not for SQLite.
    pub(crate) ca: Option<String>,
    /// Connection options: `sslmode` (`disable`, `prefer`, `require`, `verify-ca` or
    /// `verify-full`), and `application_name` for PostgreSQL. Not for SQLite.
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
}

/// Result of a statement.
#[data]
struct Executed {
    /// Number of rows changed.
    rows_affected: u64,
    /// ID that SQLite or MySQL generated for the last inserted row.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_insert_id: Option<i64>,
}

/// Result of a script.
#[data]
struct Scripted {
    /// Number of statements run.
    statements: u64,
    /// Total number of rows changed.
    rows_affected: u64,
}

/// Description of a query result.
#[data]
struct Queried {
    /// Columns of the result.
    columns: Vec<ColumnDescription>,
}

/// A column of a query result.
#[data]
struct ColumnDescription {
    /// Column name.
    name: String,
    /// Type name of the database; empty for expressions without a type.
    type_name: String,
}

/// Requirement on the existence of the table.
#[data]
#[derive(Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// The table exists; the rows are added to it.
    Append,
    /// The table does not exist and is created.
    Create,
}

/// A row: values by column name.
type Row = Map<String, Value>;

#[operations]
impl interface::Database for SqlDatabase {
    /// Runs a read-only statement and returns its rows as an Arrow IPC stream.
    fn query(&self, #[flatten] query: Query) -> Result<Streamed<Queried>> {
        let rows = self.run(&query)?;
        Ok(Streamed { result: Queried { columns: describe(&rows) }, body: rows.into_arrow() })
    }

    /// Runs a statement that changes data and returns the number of rows changed.
    fn execute(&self, #[flatten] query: Query) -> Result<Executed> {
        let (statement, values) = bound(&query.statement, &query.parameters, self.dialect)?;
        Ok(self.connect()?.execute(&statement, &values)?.into())
    }

    /// Runs a statement once for each set of parameters, atomically.
    fn execute_many(
        &self,
        /// SQL statement with parameters as `:name` or `?`.
        #[block(language = "sql")]
        statement: String,
        /// Sets of parameter values, each an object for `:name` or a list for `?`, e.g. `[{"id":
        /// 1}, {"id": 2}]`.
        parameters: Vec<Parameters>,
    ) -> Result<Executed> {
        let mut text = None;
        let mut sets = Vec::with_capacity(parameters.len());
        for (index, set) in parameters.iter().enumerate() {
            let in_set = |problem: Problem| problem.context(format!("set {} of the parameters", index + 1));
            let (parsed, values) = bound(&statement, set, self.dialect).map_err(in_set)?;
            if *text.get_or_insert_with(|| parsed.clone()) != parsed {
                return Err(in_set(Problem::invalid("parameter sets must be either all objects or all lists")));
            }
            sets.push(values);
        }
        match text {
            Some(text) => Ok(self.connect()?.execute_many(&text, &sets)?.into()),
            None => Ok(Executed { rows_affected: 0, last_insert_id: None }),
        }
    }

    /// Returns the first row of a query, or null.
    fn fetch_one(&self, #[flatten] query: Query) -> Result<Option<Row>> {
        Ok(self.run(&query)?.objects(1)?.pop())
    }

    /// Returns at most the first `size` rows of a query.
    fn fetch_many(
        &self,
        #[flatten] query: Query,
        /// Maximum number of rows.
        size: u32,
    ) -> Result<Vec<Row>> {
        self.run(&query)?.objects(size as usize)
    }

    /// Returns all rows of a query as values. Use `query` for results that do not fit in memory.
    fn fetch_all(&self, #[flatten] query: Query) -> Result<Vec<Row>> {
        self.run(&query)?.objects(usize::MAX)
    }
}

#[operations]
impl SqlDatabase {
    /// Runs several statements in one transaction. If one fails, none takes effect, except that
    /// MySQL and MariaDB commit implicitly at statements that change a table definition.
    #[operation(write)]
    fn script(
        &self,
        /// SQL statements separated by semicolons, without parameters.
        #[block(language = "sql")]
        script: String,
    ) -> Result<Scripted> {
        let statements = script::statements(&script, self.dialect)?;
        for (index, statement) in statements.iter().enumerate() {
            if let Some(word) = script::transaction_word(statement, self.dialect) {
                return Err(Problem::invalid(format!(
                    "statement {} of the script is `{word}`, but a script already runs in one transaction",
                    index + 1
                ))
                .hint("remove the statements that begin or end transactions"));
            }
        }
        let transaction = self.connect()?.begin()?;
        let mut done = Scripted { statements: 0, rows_affected: 0 };
        for statement in &statements {
            done.statements += 1;
            let execution = transaction.execute(statement, &[]).map_err(|problem| {
                let mut details = problem.details();
                if !details.is_object() {
                    details = json!({});
                }
                details["statement"] = done.statements.into();
                let position = format!("statement {} of {}", done.statements, statements.len());
                problem.context(position).with_details(details)
            })?;
            done.rows_affected += execution.rows_affected;
        }
        transaction.commit()?;
        Ok(done)
    }

    /// Loads a file into a table, atomically.
    #[operation(write)]
    fn load(
        &self,
        /// Table name, as stored in the database. A table that does not exist is created with the
        /// columns of the file; a file format without types gets the types that its first rows
        /// imply.
        table: String,
        /// Schema of the table. Defaults to the search path for PostgreSQL, and to the configured
        /// database for MySQL. Not for SQLite.
        schema: Option<String>,
        /// Format of the input.
        format: Format,
        /// `append` requires that the table exists, `create` that it does not. By default, both are
        /// accepted.
        mode: Option<Mode>,
        /// Meaning of empty CSV fields in string and binary columns. `quoted`: an unquoted empty
        /// field is null, `""` is an empty value. `nulls`: both are null. `texts`: both are an
        /// empty value. In other columns, empty fields are always null.
        #[serde(default)]
        empty: Empty,
        /// Field separator of the CSV file, e.g. `;`; `\t` is a tab. Defaults to a comma.
        delimiter: Option<String>,
        input: Body,
    ) -> Result<Loaded> {
        let delimiter = csv_file::delimiter(delimiter.as_deref(), format)?;
        let mut parameters = self.schema_parameter(schema.clone())?;
        parameters.insert("table_name".to_owned(), table.as_str().into());
        let known = self.rows(catalog::columns(self.dialect), &Parameters::Named(parameters))?.objects(usize::MAX)?;
        match (mode, known.is_empty()) {
            (Some(Mode::Append), true) => {
                let problem = Problem::new("not-found", format!("table `{table}` does not exist"));
                return Err(self.qualified(problem, &table, schema.as_deref(), "set `mode` to `create`, or omit it"));
            }
            (Some(Mode::Create), false) => {
                return Err(Problem::new("conflict", format!("table `{table}` already exists"))
                    .hint("set `mode` to `append`, or omit it"));
            }
            _ => {}
        }
        if self.dialect == Dialect::Mysql && !known.is_empty() {
            self.need_transactions(&table, schema.as_deref())?;
        }
        let types = known.iter().map(TableColumn::read).map(|column| (column.name, column.type_name)).collect();
        if known.is_empty() && schema.is_none() && self.is_qualified(&table)? {
            let problem = Problem::invalid(format!("`{table}` is not a valid table name"));
            return Err(self.qualified(problem, &table, None, ""));
        }
        let schema = schema.as_deref();
        let target = Target { dialect: self.dialect, schema, table: &table, types, empty, delimiter };
        target.load(&self.connect()?, input, format)
    }

    /// Runs a read-only statement and returns its rows as a file.
    #[operation(read)]
    fn unload(
        &self,
        #[flatten] query: Query,
        /// Format of the file.
        format: Format,
    ) -> Result<InParts<Queried>> {
        let rows = self.run(&query)?;
        let columns = describe(&rows);
        Ok(InParts { result: Queried { columns }, parts: unload::unload(rows, format, self.dialect)? })
    }

    /// Lists the tables and views.
    #[operation(read)]
    fn tables(
        &self,
        /// Schema to list. Defaults to all schemas except the system schemas for PostgreSQL, and to
        /// the configured database for MySQL. Not for SQLite.
        schema: Option<String>,
    ) -> Result<Vec<Table>> {
        let parameters = self.schema_parameter(schema)?;
        Ok(self
            .rows(catalog::tables(self.dialect), &Parameters::Named(parameters))?
            .objects(usize::MAX)?
            .iter()
            .map(Table::read)
            .collect())
    }

    /// Returns the columns of a table or view, in order.
    #[operation(read)]
    fn describe_table(
        &self,
        /// Table or view name, as stored in the database.
        table: String,
        /// Schema of the table. Defaults to the search path for PostgreSQL, and to the configured
        /// database for MySQL. Not for SQLite.
        schema: Option<String>,
    ) -> Result<Vec<TableColumn>> {
        let mut parameters = self.schema_parameter(schema)?;
        parameters.insert("table_name".to_owned(), table.as_str().into());
        let rows = self.rows(catalog::columns(self.dialect), &Parameters::Named(parameters))?.objects(usize::MAX)?;
        if rows.is_empty() {
            return Err(Problem::new("not-found", format!("table or view `{table}` does not exist"))
                .hint("run the operation `tables` to list the tables and views"));
        }
        Ok(rows.iter().map(TableColumn::read).collect())
    }

    /// Connects and authenticates, then queries the TLS status, the permissions and the version of
    /// the server.
    #[check]
    fn check(&self) -> Vec<Step> {
        check::steps(self)
    }

    /// Rejects server fields for SQLite, and missing or invalid server fields otherwise.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        validation::violations(self)
    }
}

fn describe(rows: &Rows) -> Vec<ColumnDescription> {
    let columns = rows.columns().into_iter();
    columns.map(|column| ColumnDescription { name: column.name, type_name: column.type_name }).collect()
}

impl From<sql::Execution> for Executed {
    fn from(execution: sql::Execution) -> Self {
        Self { rows_affected: execution.rows_affected, last_insert_id: execution.last_insert_id }
    }
}

#[cfg(test)]
mod tests;
