//! Block type `sql-database`: SQLite, PostgreSQL, and MySQL or MariaDB, with the standard interface
//! `database`.

mod array;
mod arrow_file;
mod bytes_text;
mod catalog;
mod codec;
mod csv_file;
mod footer;
mod kind;
mod list;
mod load;
mod moment;
mod ndjson;
mod number;
mod parameters;
mod parquet_file;
mod reader;
mod rows;
mod script;
mod style;
mod unload;
mod want;

use std::collections::BTreeMap;

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::lexer::Syntax;
use blockyard_sdk::sql::{self, Connection, Rows, Target};
use blockyard_sdk::{StepStatus, clock};

use catalog::{Table, TableColumn};
use load::{Loaded, Target as LoadTarget};
use parameters::{Parameters, bound};
use rows::Format;
use want::Empty;

/// A SQL database: a SQLite file, or a PostgreSQL, MySQL or MariaDB server.
#[derive(Block)]
#[block(
    type = "sql-database",
    version = 1,
    title = "SQL database",
    interfaces("database"),
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
    dialect: Dialect,
    /// Connection URL, instead of the other fields:
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE`, or `sqlite:///PATH`. It is split
    /// into the other fields when the block is saved; the password is stored as a secret.
    #[schemars(extend("x-connection-url" = {"dialect": {
        "sqlite": "sqlite", "postgres": "postgres", "postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"
    }}))]
    #[allow(dead_code, reason = "split into the other fields before the bundle reads the block")]
    url: Option<String>,
    /// Database name, e.g. `sales`; for SQLite the absolute path of the file, or `:memory:`.
    database: String,
    /// Host name or IP address of the server, e.g. `db.example.com`. Not for SQLite.
    host: Option<String>,
    /// Port of the server. Defaults to 5432 for PostgreSQL and 3306 for MySQL. Not for SQLite.
    port: Option<u16>,
    /// User name. Not for SQLite.
    username: Option<String>,
    /// Password of the user. Not for SQLite.
    #[block(audience = "sql")]
    password: Option<Secret<String>>,
    /// PEM-encoded CA certificates used to verify the server: `--set ca=@ca.pem`. Defaults to the
    /// CA certificates of this machine. Not for SQLite.
    ca: Option<String>,
    /// Connection options: `sslmode` (`disable`, `prefer`, `require`, `verify-ca` or
    /// `verify-full`), and `application_name` for PostgreSQL. Not for SQLite.
    #[serde(default)]
    options: BTreeMap<String, String>,
}

/// Database systems; `mysql` is MySQL or MariaDB.
#[data]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Dialect {
    Sqlite,
    Postgres,
    Mysql,
}

impl Dialect {
    /// Returns the lexical rules of the dialect.
    fn syntax(self) -> Syntax {
        match self {
            Self::Sqlite => Syntax::Sqlite,
            Self::Postgres => Syntax::Postgres,
            Self::Mysql => Syntax::Mysql,
        }
    }
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

fn describe(rows: &Rows) -> Vec<ColumnDescription> {
    let columns = rows.columns().into_iter();
    columns.map(|column| ColumnDescription { name: column.name, type_name: column.type_name }).collect()
}

/// TLS modes, named as in the clients of PostgreSQL.
const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// A row: values by column name.
type Row = Map<String, Value>;

#[operations]
impl SqlDatabase {
    /// Runs a read-only statement and returns its rows as an Arrow IPC stream.
    #[operation(read)]
    fn query(
        &self,
        /// SQL statement with parameters as `:name` or `?`, e.g. `SELECT * FROM flights WHERE id =
        /// :id`.
        statement: String,
        /// Parameter values: an object for `:name`, e.g. `{"id": 7}`, or a list for `?`, e.g.
        /// `[7]`. `{"$bytes": "3q0="}` is base64-encoded bytes.
        #[serde(default)]
        parameters: Parameters,
    ) -> Result<Streamed<Queried>> {
        let rows = self.rows(&statement, &parameters)?;
        Ok(Streamed { result: Queried { columns: describe(&rows) }, body: rows.into_arrow() })
    }

    /// Runs a statement that changes data and returns the number of rows changed.
    #[operation(write)]
    fn execute(
        &self,
        /// SQL statement with parameters as `:name` or `?`.
        statement: String,
        /// Parameter values: an object for `:name`, e.g. `{"id": 7}`, or a list for `?`, e.g.
        /// `[7]`. `{"$bytes": "3q0="}` is base64-encoded bytes.
        #[serde(default)]
        parameters: Parameters,
    ) -> Result<Executed> {
        let (statement, values) = bound(&statement, &parameters, self.dialect)?;
        Ok(self.connect()?.execute(&statement, &values)?.into())
    }

    /// Runs a statement once for each set of parameters, atomically.
    #[operation(write)]
    fn execute_many(
        &self,
        /// SQL statement with parameters as `:name` or `?`.
        statement: String,
        /// Sets of parameter values, each an object for `:name` or a list for `?`, e.g. `[{"id":
        /// 1}, {"id": 2}]`.
        parameters: Vec<Parameters>,
    ) -> Result<Executed> {
        let mut text = None;
        let mut sets = Vec::with_capacity(parameters.len());
        for (index, set) in parameters.iter().enumerate() {
            let place = |problem: Problem| problem.context(format!("set {} of the parameters", index + 1));
            let (own, values) = bound(&statement, set, self.dialect).map_err(place)?;
            if *text.get_or_insert_with(|| own.clone()) != own {
                return Err(place(Problem::invalid("parameter sets must be either all objects or all lists")));
            }
            sets.push(values);
        }
        match text {
            Some(text) => Ok(self.connect()?.execute_many(&text, &sets)?.into()),
            None => Ok(Executed { rows_affected: 0, last_insert_id: None }),
        }
    }

    /// Returns the first row of a query, or null.
    #[operation(read)]
    fn fetch_one(
        &self,
        /// SQL statement with parameters as `:name` or `?`.
        statement: String,
        /// Parameter values: an object for `:name`, e.g. `{"id": 7}`, or a list for `?`, e.g.
        /// `[7]`. `{"$bytes": "3q0="}` is base64-encoded bytes.
        #[serde(default)]
        parameters: Parameters,
    ) -> Result<Option<Row>> {
        Ok(self.rows(&statement, &parameters)?.objects(1)?.pop())
    }

    /// Returns at most the first `size` rows of a query.
    #[operation(read)]
    fn fetch_many(
        &self,
        /// SQL statement with parameters as `:name` or `?`.
        statement: String,
        /// Parameter values: an object for `:name`, e.g. `{"id": 7}`, or a list for `?`, e.g.
        /// `[7]`. `{"$bytes": "3q0="}` is base64-encoded bytes.
        #[serde(default)]
        parameters: Parameters,
        /// Maximum number of rows.
        size: u32,
    ) -> Result<Vec<Row>> {
        self.rows(&statement, &parameters)?.objects(size as usize)
    }

    /// Returns all rows of a query as values. Use `query` for results that do not fit in memory.
    #[operation(read)]
    fn fetch_all(
        &self,
        /// SQL statement with parameters as `:name` or `?`.
        statement: String,
        /// Parameter values: an object for `:name`, e.g. `{"id": 7}`, or a list for `?`, e.g.
        /// `[7]`. `{"$bytes": "3q0="}` is base64-encoded bytes.
        #[serde(default)]
        parameters: Parameters,
    ) -> Result<Vec<Row>> {
        self.rows(&statement, &parameters)?.objects(usize::MAX)
    }

    /// Runs several statements in one transaction. If one fails, none takes effect, except that
    /// MySQL and MariaDB commit implicitly at statements that change a table definition.
    #[operation(write)]
    fn script(
        &self,
        /// SQL statements separated by semicolons, without parameters.
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
                let place = format!("statement {} of {}", done.statements, statements.len());
                problem.context(place).with_details(details)
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
        let delimiter = delimiter_of(delimiter.as_deref(), format)?;
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
        let target = LoadTarget { dialect: self.dialect, schema, table: &table, types, empty, delimiter };
        target.load(&self.connect()?, input, format)
    }

    /// Runs a read-only statement and returns its rows as a file.
    #[operation(read)]
    fn unload(
        &self,
        /// SQL statement with parameters as `:name` or `?`.
        statement: String,
        /// Parameter values: an object for `:name`, e.g. `{"id": 7}`, or a list for `?`, e.g.
        /// `[7]`. `{"$bytes": "3q0="}` is base64-encoded bytes.
        #[serde(default)]
        parameters: Parameters,
        /// Format of the file.
        format: Format,
    ) -> Result<InParts<Queried>> {
        let rows = self.rows(&statement, &parameters)?;
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
        let mut steps = Vec::new();
        let started = clock::now();
        let connected = self.connect();
        let milliseconds = took(started);
        // The host reports the step that failed; the steps before it passed.
        let failed =
            connected.as_ref().err().map(|problem| sql::step_of(problem).unwrap_or_else(|| "connect".to_owned()));
        let names: &[&str] = match self.dialect {
            Dialect::Sqlite => &["connect"],
            Dialect::Postgres | Dialect::Mysql => &["resolve", "connect", "authenticate"],
        };
        let at = failed.and_then(|failed| names.iter().position(|name| *name == failed));
        for (index, name) in names.iter().enumerate() {
            let (status, detail) = match (&connected, at) {
                (Ok(_), _) => (StepStatus::Passed, None),
                (Err(_), Some(at)) if index < at => (StepStatus::Passed, None),
                (Err(_), Some(at)) if index > at => (StepStatus::Skipped, None),
                (Err(problem), _) => (StepStatus::Failed, Some(problem.to_string())),
            };
            let timed = status == StepStatus::Failed || index + 1 == names.len() && status == StepStatus::Passed;
            steps.push(Step { name: (*name).to_owned(), status, detail, milliseconds: timed.then_some(milliseconds) });
        }
        let connection = connected.ok();
        for (name, ask) in self.questions() {
            let started = clock::now();
            let (status, detail) = match connection.as_ref().map(ask) {
                None => (StepStatus::Skipped, None),
                Some(Ok(found)) => (StepStatus::Passed, Some(found)),
                Some(Err(problem)) => (StepStatus::Failed, Some(problem.to_string())),
            };
            let milliseconds = (status != StepStatus::Skipped).then(|| took(started));
            steps.push(Step { name: (*name).to_owned(), status, detail, milliseconds });
        }
        steps
    }

    /// Rejects server fields for SQLite, and missing or invalid server fields otherwise.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        match self.dialect {
            Dialect::Sqlite => {
                let given = [
                    ("host", self.host.is_some()),
                    ("port", self.port.is_some()),
                    ("username", self.username.is_some()),
                    ("password", self.password.is_some()),
                    ("ca", self.ca.is_some()),
                ];
                for (field, _) in given.iter().filter(|(_, given)| *given) {
                    violations.push(Violation::new(format!("/{field}"), "is not supported for SQLite"));
                }
                if self.database != ":memory:" && !is_absolute(&self.database) {
                    violations.push(Violation::new(
                        "/database",
                        "must be an absolute path, or `:memory:`, so that it does not depend on the current directory",
                    ));
                }
            }
            Dialect::Postgres | Dialect::Mysql => {
                let (product, known, they_are): (_, &[&str], _) = match self.dialect {
                    Dialect::Mysql => ("MySQL", &["sslmode"], "the only option is `sslmode`"),
                    _ => (
                        "PostgreSQL",
                        &["sslmode", "application_name"],
                        "the options are `sslmode` and `application_name`",
                    ),
                };
                for (name, value) in &self.options {
                    let pointer = format!("/options/{}", name.replace('~', "~0").replace('/', "~1"));
                    if !known.contains(&name.as_str()) {
                        violations.push(Violation::new(pointer, format!("is not a known option; {they_are}")));
                    } else if name == "sslmode" && !SSL_MODES.contains(&value.as_str()) {
                        let modes = SSL_MODES.join("`, `");
                        violations.push(Violation::new(pointer, format!("must be one of `{modes}`")));
                    }
                }
                if self.ca.as_ref().is_some_and(|ca| !ca.contains("-----BEGIN CERTIFICATE-----")) {
                    violations.push(Violation::new(
                        "/ca",
                        "is not a PEM-encoded certificate; use `--set ca=@FILE` to read a file",
                    ));
                }
                if self.host.is_none() {
                    violations.push(Violation::new("/host", format!("is missing; it is required for {product}")));
                }
                if self.username.is_none() {
                    violations.push(Violation::new("/username", format!("is missing; it is required for {product}")));
                }
            }
        }
        violations
    }

    fn schema_parameter(&self, schema: Option<String>) -> Result<Map<String, Value>> {
        if schema.is_some() && self.dialect == Dialect::Sqlite {
            return Err(Problem::invalid("SQLite databases have no schemas"));
        }
        Ok(Map::from_iter([("schema_name".to_owned(), schema.into())]))
    }

    /// Checks whether a table name starts with the name of an existing schema.
    fn is_qualified(&self, table: &str) -> Result<bool> {
        let Some((schema, _)) = table.split_once('.') else { return Ok(false) };
        let asked = match self.dialect {
            Dialect::Sqlite => return Ok(matches!(schema, "main" | "temp")),
            Dialect::Postgres => "select 1 as found from pg_namespace where nspname = :schema_name::text",
            Dialect::Mysql => "select 1 as found from information_schema.schemata where schema_name = :schema_name",
        };
        let parameters = Map::from_iter([("schema_name".to_owned(), schema.into())]);
        Ok(!self.rows(asked, &Parameters::Named(parameters))?.objects(1)?.is_empty())
    }

    /// Adds a hint on how to specify a schema if the table name may contain one, and the hint
    /// `otherwise` if not.
    fn qualified(&self, problem: Problem, table: &str, schema: Option<&str>, otherwise: &str) -> Problem {
        match table.split_once('.') {
            Some((_, table)) if self.dialect == Dialect::Sqlite => {
                problem.hint(format!("SQLite databases have no schemas: use `--table {table}`"))
            }
            Some((before, table)) if schema.is_none() => {
                problem.hint(format!("specify the schema separately: `--schema {before} --table {table}`"))
            }
            _ => problem.hint(otherwise),
        }
    }

    fn rows(&self, statement: &str, parameters: &Parameters) -> Result<Rows> {
        let (statement, values) = bound(statement, parameters, self.dialect)?;
        self.connect()?.query(&statement, &values)
    }

    fn connect(&self) -> Result<Connection> {
        let target = Target {
            dialect: match self.dialect {
                Dialect::Sqlite => "sqlite".to_owned(),
                Dialect::Postgres => "postgres".to_owned(),
                Dialect::Mysql => "mysql".to_owned(),
            },
            host: self.host.clone(),
            port: self.port,
            database: self.database.clone(),
            username: self.username.clone(),
            options: self.options.clone().into_iter().chain(self.ca.clone().map(|ca| ("ca".to_owned(), ca))).collect(),
        };
        Connection::open(&target, self.password.as_ref())
    }

    /// Checks that the storage engine of a MySQL table supports transactions, so that a failed load
    /// can be rolled back.
    fn need_transactions(&self, table: &str, schema: Option<&str>) -> Result<()> {
        let asked = "select e.engine as engine, e.transactions as transactions from information_schema.tables t \
                     join information_schema.engines e on e.engine = t.engine \
                     where t.table_schema = coalesce(:schema_name, database()) and t.table_name = :table_name";
        let parameters =
            Map::from_iter([("schema_name".to_owned(), schema.into()), ("table_name".to_owned(), table.into())]);
        let found = self.rows(asked, &Parameters::Named(parameters))?.objects(1)?;
        match found.first() {
            Some(row) if row["transactions"] != "YES" => {
                let engine = row["engine"].as_str().unwrap_or_default();
                Err(Problem::invalid(format!(
                    "table `{table}` uses the storage engine {engine}, which does not support transactions"
                ))
                .hint("a load requires transactions: run `alter table … engine = InnoDB`"))
            }
            _ => Ok(()),
        }
    }

    /// Returns the names and queries of the connection check after connecting.
    fn questions(&self) -> &'static [(&'static str, Question)] {
        match self.dialect {
            Dialect::Sqlite => {
                &[("query", |connection| answer(connection, "select 'SQLite ' || sqlite_version() as found"))]
            }
            Dialect::Postgres => &[
                ("tls", |connection| {
                    let asked = "select case when ssl then concat_ws(' ', version, cipher) else 'none' end as found \
                                 from pg_stat_ssl where pid = pg_backend_pid()";
                    answer(connection, asked)
                }),
                ("permissions", |connection| {
                    let asked = "select nullif(concat_ws(', ', \
                                 case when has_schema_privilege(current_schema(), 'USAGE') then 'use' end, \
                                 case when has_schema_privilege(current_schema(), 'CREATE') then 'create' end), '') \
                                 || ' in schema ' || current_schema() as found";
                    answer(connection, asked)
                        .map_err(|_| Problem::new("denied", "the user has no access to a schema of the search path"))
                }),
                ("query", |connection| {
                    answer(connection, "select 'PostgreSQL ' || current_setting('server_version') as found")
                }),
            ],
            Dialect::Mysql => &[
                ("tls", |connection| {
                    let rows = connection.query("show session status like 'Ssl_version'", &[])?.objects(1)?;
                    let version = rows.first().and_then(|row| row.get("Value")?.as_str());
                    Ok(version.filter(|version| !version.is_empty()).unwrap_or("none").to_owned())
                }),
                ("permissions", |connection| {
                    let asked = "select coalesce(group_concat(distinct lower(privilege_type) order by 1 separator ', '), \
                                 'on single tables only') as found from (\
                                 select privilege_type, grantee from information_schema.schema_privileges \
                                 where table_schema = database() \
                                 union select privilege_type, grantee from information_schema.user_privileges) granted \
                                 where privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP') \
                                 and replace(grantee, '\\'', '') = current_user()";
                    answer(connection, asked)
                }),
                // The version of MariaDB contains the product name, that of MySQL does not.
                ("query", |connection| {
                    let asked =
                        "select if(version() like '%MariaDB%', version(), concat('MySQL ', version())) as found";
                    answer(connection, asked)
                }),
            ],
        }
    }
}

/// Returns the separator of CSV fields.
fn delimiter_of(delimiter: Option<&str>, format: Format) -> Result<u8> {
    match (delimiter, format) {
        (None, _) => Ok(b','),
        (Some(_), Format::Ndjson | Format::Arrow | Format::Parquet) => {
            Err(Problem::invalid("`delimiter` applies to CSV only"))
        }
        (Some("\\t"), _) => Ok(b'\t'),
        (Some(text), _) => match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') && !byte.is_ascii_alphanumeric() => {
                Ok(*byte)
            }
            _ => Err(Problem::invalid(format!("`{text}` is not a delimiter"))
                .hint("use one character, such as `;`, `|` or `\\t` for a tab")),
        },
    }
}

/// A query on an open connection. Returns text for people.
type Question = fn(&Connection) -> Result<String>;

/// Returns the column `found` of the only row of a statement's result.
fn answer(connection: &Connection, statement: &str) -> Result<String> {
    let rows = connection.query(statement, &[])?.objects(1)?;
    let found = rows.first().and_then(|row| row["found"].as_str());
    found.map(str::to_owned).ok_or_else(|| Problem::new("failed", "the server returned no value"))
}

impl From<sql::Execution> for Executed {
    fn from(execution: sql::Execution) -> Self {
        Self { rows_affected: execution.rows_affected, last_insert_id: execution.last_insert_id }
    }
}

/// Checks for an absolute path of Unix or Windows, because the bundle does not know the platform of
/// the host.
fn is_absolute(path: &str) -> bool {
    let drive = path.as_bytes();
    path.starts_with('/') || matches!(drive, [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic())
}

fn took(started: std::time::Duration) -> u64 {
    u64::try_from(clock::now().saturating_sub(started).as_millis()).unwrap_or(u64::MAX)
}

bundle! {
    name: "sql",
    description: "SQL databases: SQLite, PostgreSQL, MySQL and MariaDB",
    types: [SqlDatabase],
    capabilities: ["sql sqlite", "sql postgres", "sql mysql", "clock"],
}
