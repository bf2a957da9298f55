//! Connections to the configured database, and the queries that operations share.

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::{Connection, Rows, Target};

use crate::Dialect;
use crate::database::SqlDatabase;
use crate::parameters::{Parameters, Query, bound};

impl SqlDatabase {
    pub(crate) fn connect(&self) -> Result<Connection> {
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

    /// Runs a query.
    pub(crate) fn run(&self, query: &Query) -> Result<Rows> {
        self.rows(&query.statement, &query.parameters)
    }

    pub(crate) fn rows(&self, statement: &str, parameters: &Parameters) -> Result<Rows> {
        let (statement, values) = bound(statement, parameters, self.dialect)?;
        self.connect()?.query(&statement, &values)
    }

    pub(crate) fn schema_parameter(&self, schema: Option<String>) -> Result<Map<String, Value>> {
        if schema.is_some() && self.dialect == Dialect::Sqlite {
            return Err(Problem::invalid("SQLite databases have no schemas"));
        }
        Ok(Map::from_iter([("schema_name".to_owned(), schema.into())]))
    }

    /// Checks whether a table name starts with the name of an existing schema.
    pub(crate) fn is_qualified(&self, table: &str) -> Result<bool> {
        let Some((schema, _)) = table.split_once('.') else { return Ok(false) };
        let statement = match self.dialect {
            Dialect::Sqlite => return Ok(matches!(schema, "main" | "temp")),
            Dialect::Postgres => "select 1 as found from pg_namespace where nspname = :schema_name::text",
            Dialect::Mysql => "select 1 as found from information_schema.schemata where schema_name = :schema_name",
        };
        let parameters = Map::from_iter([("schema_name".to_owned(), schema.into())]);
        Ok(!self.rows(statement, &Parameters::Named(parameters))?.objects(1)?.is_empty())
    }

    /// Adds a hint on how to specify a schema if the table name may contain one, and the hint
    /// `otherwise` if not.
    pub(crate) fn qualified(&self, problem: Problem, table: &str, schema: Option<&str>, otherwise: &str) -> Problem {
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

    /// Checks that the storage engine of a MySQL table supports transactions, so that a failed load
    /// can be rolled back.
    pub(crate) fn need_transactions(&self, table: &str, schema: Option<&str>) -> Result<()> {
        let statement = "select e.engine as engine, e.transactions as transactions from information_schema.tables t \
                     join information_schema.engines e on e.engine = t.engine \
                     where t.table_schema = coalesce(:schema_name, database()) and t.table_name = :table_name";
        let parameters =
            Map::from_iter([("schema_name".to_owned(), schema.into()), ("table_name".to_owned(), table.into())]);
        let found = self.rows(statement, &Parameters::Named(parameters))?.objects(1)?;
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
}
