//! Health check of a database: connection, TLS, permissions and version.

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::{self, Connection};
use blockyard_sdk::{StepStatus, clock};

use crate::Dialect;
use crate::database::SqlDatabase;

/// Connects to the database and queries it. Returns one step for each stage.
pub(crate) fn steps(database: &SqlDatabase) -> Vec<Step> {
    let mut steps = Vec::new();
    let started = clock::now();
    let connected = database.connect();
    // The host reports the step that failed; the steps before it passed.
    let failed = connected.as_ref().err().map(|problem| sql::step_of(problem).unwrap_or_else(|| "connect".to_owned()));
    let names: &[&str] = match database.dialect {
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
        // The host reports no times of single steps.
        let timed = status == StepStatus::Failed || index + 1 == names.len();
        let step = Step::new(*name, status, detail, started);
        steps.push(if timed { step } else { Step { milliseconds: None, ..step } });
    }
    let connection = connected.ok();
    for (name, ask) in questions(database.dialect) {
        let started = clock::now();
        let (status, detail) = match connection.as_ref().map(ask) {
            None => (StepStatus::Skipped, None),
            Some(Ok(found)) => (StepStatus::Passed, Some(found)),
            Some(Err(problem)) => (StepStatus::Failed, Some(problem.to_string())),
        };
        steps.push(Step::new(*name, status, detail, started));
    }
    steps
}

/// A query on an open connection. Returns text for people.
type Question = fn(&Connection) -> Result<String>;

/// Returns the names and queries of the connection check after connecting.
fn questions(dialect: Dialect) -> &'static [(&'static str, Question)] {
    match dialect {
        Dialect::Sqlite => {
            &[("query", |connection| answer(connection, "select 'SQLite ' || sqlite_version() as found"))]
        }
        Dialect::Postgres => &[
            ("tls", |connection| {
                let statement = "select case when ssl then concat_ws(' ', version, cipher) else 'none' end as found \
                             from pg_stat_ssl where pid = pg_backend_pid()";
                answer(connection, statement)
            }),
            ("permissions", |connection| {
                let statement = "select nullif(concat_ws(', ', \
                             case when has_schema_privilege(current_schema(), 'USAGE') then 'use' end, \
                             case when has_schema_privilege(current_schema(), 'CREATE') then 'create' end), '') \
                             || ' in schema ' || current_schema() as found";
                answer(connection, statement)
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
                let statement = "select coalesce(group_concat(distinct lower(privilege_type) order by 1 separator ', '), \
                             'on single tables only') as found from (\
                             select privilege_type, grantee from information_schema.schema_privileges \
                             where table_schema = database() \
                             union select privilege_type, grantee from information_schema.user_privileges) granted \
                             where privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP') \
                             and replace(grantee, '\\'', '') = current_user()";
                answer(connection, statement)
            }),
            // The version of MariaDB contains the product name, that of MySQL does not.
            ("query", |connection| {
                let statement =
                    "select if(version() like '%MariaDB%', version(), concat('MySQL ', version())) as found";
                answer(connection, statement)
            }),
        ],
    }
}

/// Returns the column `found` of the only row of a statement's result.
fn answer(connection: &Connection, statement: &str) -> Result<String> {
    let rows = connection.query(statement, &[])?.objects(1)?;
    let found = rows.first().and_then(|row| row["found"].as_str());
    found.map(str::to_owned).ok_or_else(|| Problem::new("failed", "the server returned no value"))
}
