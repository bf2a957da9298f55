//! MySQL and MariaDB through sqlx. Statements are always prepared, which takes one statement and no
//! more; [`format`](mod@format) reads the rows' binary form, [`scan`] looks for what a transaction that only
//! reads does not stop.
//!
//! `LOAD DATA LOCAL` cannot read a file of this machine: the driver does not offer the capability for
//! it, and does not answer a server that asks all the same.

mod format;
mod scan;

use std::sync::Arc;
use std::time::Duration;

use blockyard_model::SecretValue;
use futures_util::StreamExt as _;
use serde_json::json;
use sqlx::mysql::{
    MySqlArguments, MySqlColumn, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlPoolOptions,
    MySqlSslMode,
};
use sqlx::pool::PoolConnection;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Either, Executor as _, MySql, MySqlPool,
    Row as _, SqlSafeStr as _, Statement as _,
};

use self::format::Reading;
use super::many::{Into, Refused};
use super::rows::{Head, Sink, Stop};
use super::{Access, Statement};
use crate::bindings::blockyard::bundle::sql::{Column, Execution, Target, Value};
use crate::limits;
use crate::problem::Problem;

/// The port that MySQL has with IANA.
pub(super) const DEFAULT_PORT: u16 = 3306;

/// How long it may take to tell the server that a statement is to stop.
const KILL_TIME: Duration = Duration::from_secs(3);
/// Rows of one `INSERT`.
const STATEMENT_ROWS: usize = 500;
/// Parameters that a statement may have.
const STATEMENT_VALUES: usize = 65_535;

/// A connection, and what it takes to stop its statement from another one.
pub(super) struct Session {
    connection: PoolConnection<MySql>,
    /// The server's number of the connection.
    id: u64,
    options: Arc<MySqlConnectOptions>,
}

impl Session {
    pub(super) async fn open(pool: &MySqlPool) -> Result<Self, sqlx::Error> {
        let mut connection = pool.acquire().await?;
        let (id,): (u64,) = sqlx::query_as("SELECT CONNECTION_ID()").fetch_one(&mut *connection).await?;
        Ok(Self { connection, id, options: pool.connect_options() })
    }

    /// Has the server end the connection and its statement. MySQL itself does not look whether anybody
    /// still listens, so it is told so from a second connection; the first is open until then, so that
    /// its number is nobody else's.
    pub(super) fn stop(self) {
        let Self { connection, id, options } = self;
        super::background::spawn(async move {
            let kill = async {
                let mut other = options.connect().await?;
                other.execute(AssertSqlSafe(format!("KILL {id}"))).await?;
                other.close().await
            };
            // Where that fails, the statement ends at the server's own limit of time.
            let _ = tokio::time::timeout(KILL_TIME, kill).await;
            drop(connection.detach());
        });
    }
}

pub(super) fn pool(target: &Target, password: Option<&SecretValue>) -> Result<MySqlPool, Problem> {
    let mut options = MySqlConnectOptions::new()
        .host(target.host.as_deref().unwrap_or_default())
        .port(target.port.unwrap_or(DEFAULT_PORT))
        .database(&target.database)
        .username(target.username.as_deref().unwrap_or("root"))
        .ssl_mode(MySqlSslMode::Preferred)
        // The server's own SQL mode stands: a statement means here what it means in the server's shell.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false);
    if let Some(password) = password {
        options = options.password(password.expose());
    }
    for (name, value) in &target.options {
        options = match (name.as_str(), value.as_str()) {
            ("sslmode", "disable") => options.ssl_mode(MySqlSslMode::Disabled),
            ("sslmode", "prefer") => options.ssl_mode(MySqlSslMode::Preferred),
            ("sslmode", "require") => options.ssl_mode(MySqlSslMode::Required),
            ("sslmode", "verify-ca") => options.ssl_mode(MySqlSslMode::VerifyCa),
            ("sslmode", "verify-full") => options.ssl_mode(MySqlSslMode::VerifyIdentity),
            ("ca", pem) => options.ssl_ca_from_pem(pem.as_bytes().to_vec()),
            (name, value) => {
                return Err(Problem::new("invalid", format!("option `{name}` = `{value}` is not known for MySQL"))
                    .hint("there are `sslmode` (disable, prefer, require, verify-ca, verify-full) and `ca`"));
            }
        };
    }
    // What the session is set to: text as UTF-8, times in UTC, and how long a statement may take. MariaDB
    // and MySQL have different words for the last; each skips the other's comment.
    let session = format!(
        "SET NAMES utf8mb4, time_zone = '+00:00' /*M!100101 , max_statement_time = {} */ /*!50708 , max_execution_time = {} */",
        limits::STATEMENT_TIME.as_secs(),
        limits::STATEMENT_TIME.as_millis()
    );
    Ok(MySqlPoolOptions::new()
        .max_connections(limits::POOL_CONNECTIONS)
        .acquire_timeout(limits::CONNECT_TIME)
        .idle_timeout(limits::IDLE_TIME)
        .after_connect(move |connection, _| {
            let session = session.clone();
            Box::pin(async move { connection.execute(AssertSqlSafe(session)).await.map(drop) })
        })
        // SQL has no statement that takes back all that one can do to a session (variables, temporary
        // tables, locks), and the driver does not have the protocol's command for it: the next call gets
        // a new connection.
        .after_release(|_, _| Box::pin(async { Ok(false) }))
        // A statement has what its author wrote into it: no log of the driver's gets it.
        .connect_lazy_with(options.disable_statement_logging()))
}

/// A connection that was refused after the server was reached.
pub(super) fn refused(error: &sqlx::Error, target: &Target) -> Problem {
    let authenticate = json!({ "step": "authenticate" });
    if let sqlx::Error::Configuration(_) = error {
        return Problem::new("denied", "the server asks for the password in a form that is safe only with TLS")
            .hint("set `options.sslmode` to `verify-full`")
            .details(&authenticate);
    }
    let mut problem = super::pool::not_connected(error).unwrap_or_else(|| problem(error).details(&authenticate));
    if problem.code == "not-found" {
        problem = problem.hint(format!("make the database `{}`, or name another in the block", target.database));
    }
    problem
}

pub(super) async fn begin(session: &mut Session, access: Access) -> Result<(), Problem> {
    run(
        session,
        match access {
            Access::ReadOnly => "START TRANSACTION READ ONLY",
            Access::ReadWrite => "START TRANSACTION",
        },
    )
    .await
}

pub(super) async fn run(session: &mut Session, statement: &'static str) -> Result<(), Problem> {
    session.connection.execute(statement).await.map(drop).map_err(|error| problem(&error))
}

pub(super) async fn execute(session: &mut Session, statement: Statement) -> Result<Execution, Problem> {
    let wrapped = statement.needs_read_only_transaction();
    scan::check(&statement.text, statement.access)?;
    if wrapped {
        begin(session, Access::ReadOnly).await?;
    }
    let executed = execute_one(&mut session.connection, &statement.text, &statement.parameters).await;
    if wrapped {
        run(session, "ROLLBACK").await?;
    }
    executed
}

async fn execute_one(connection: &mut MySqlConnection, text: &str, parameters: &[Value]) -> Result<Execution, Problem> {
    let (_, arguments) = prepare(connection, text, parameters).await?;
    let result =
        sqlx::query_with(AssertSqlSafe(text), arguments).execute(connection).await.map_err(|error| problem(&error))?;
    Ok(Execution {
        rows_affected: result.rows_affected(),
        last_insert_id: i64::try_from(result.last_insert_id()).ok().filter(|id| *id != 0),
    })
}

/// One statement for many sets of parameters, in the transaction that is open.
pub(super) async fn execute_many(
    session: &mut Session,
    text: &str,
    sets: Vec<Vec<Value>>,
    access: Access,
) -> Result<Execution, Refused> {
    scan::check(text, access)?;
    let mut total = Execution { rows_affected: 0, last_insert_id: None };
    for (index, parameters) in sets.into_iter().enumerate() {
        let executed = execute_one(&mut session.connection, text, &parameters).await;
        let executed = executed.map_err(|problem| Refused::at(index, problem))?;
        total.rows_affected += executed.rows_affected;
        total.last_insert_id = executed.last_insert_id.or(total.last_insert_id);
    }
    Ok(total)
}

/// Rows into a table, in the transaction that is open: many in one statement.
pub(super) async fn insert(session: &mut Session, into: &Into, rows: &[Vec<Value>]) -> Result<u64, Refused> {
    let most = STATEMENT_ROWS.min(STATEMENT_VALUES / into.columns.len()).max(1);
    let (mut done, mut inserted) = (0, 0);
    let one = into.statement(1);
    // What is wrong with the statement itself is no row's fault.
    session.connection.prepare(AssertSqlSafe(one.clone()).into_sql_str()).await.map_err(|error| problem(&error))?;
    for chunk in rows.chunks(most) {
        match execute_one(&mut session.connection, &into.statement(chunk.len()), &chunk.concat()).await {
            Ok(executed) => inserted += executed.rows_affected,
            // Nothing of the statement was done; one by one they say which it was.
            Err(problem) if !problem.retryable && problem.code != "timeout" && chunk.len() > 1 => {
                for (index, row) in chunk.iter().enumerate() {
                    let alone = execute_one(&mut session.connection, &one, row).await;
                    alone.map_err(|problem| Refused::at(done + index, problem))?;
                }
                return Err(problem.into());
            }
            Err(problem) if chunk.len() == 1 => return Err(Refused::at(done, problem)),
            Err(problem) => return Err(problem.into()),
        }
        done += chunk.len();
    }
    Ok(inserted)
}

pub(super) async fn query(session: &mut Session, statement: Statement, sink: &mut Sink) -> Result<(), Stop> {
    let wrapped = statement.needs_read_only_transaction();
    scan::check(&statement.text, statement.access)?;
    if wrapped {
        begin(session, Access::ReadOnly).await?;
    }
    let read = read(&mut session.connection, &statement.text, &statement.parameters, sink).await;
    if wrapped && !matches!(read, Err(Stop::Unread)) {
        run(session, "ROLLBACK").await?;
    }
    read
}

async fn read(connection: &mut MySqlConnection, text: &str, parameters: &[Value], sink: &mut Sink) -> Result<(), Stop> {
    let (described, arguments) = prepare(connection, text, parameters).await?;
    let mut rows = sqlx::query_with(AssertSqlSafe(text), arguments).fetch(connection);
    let mut next = rows.next().await.transpose().map_err(|error| problem(&error))?;
    // The server settles the types of expressions with parameters when it runs the statement.
    let described = next.as_ref().map_or(described.as_slice(), |row| row.columns());
    let readings: Vec<Reading> = described.iter().map(|column| Reading::of(column.type_info())).collect();
    let columns = described
        .iter()
        .zip(&readings)
        .map(|(column, reading)| Column {
            name: column.name().to_owned(),
            type_name: reading.type_name.clone(),
            nullable: None,
        })
        .collect();
    sink.head(Head { columns, kinds: readings.iter().map(|reading| reading.kind).collect() }).await?;
    while let Some(row) = next {
        if sink.row(readings.iter().enumerate().map(|(index, reading)| format::cell(&row, index, reading)))? {
            sink.flush().await?;
        }
        next = rows.next().await.transpose().map_err(|error| problem(&error))?;
    }
    Ok(())
}

/// Has the server parse the statement: its columns, and the parameters in the form that it takes.
async fn prepare(
    connection: &mut MySqlConnection,
    text: &str,
    parameters: &[Value],
) -> Result<(Vec<MySqlColumn>, MySqlArguments), Problem> {
    let prepared = connection.prepare(AssertSqlSafe(text).into_sql_str()).await.map_err(|error| problem(&error))?;
    let wanted = match prepared.parameters() {
        Some(Either::Right(count)) => count,
        Some(Either::Left(types)) => types.len(),
        None => parameters.len(),
    };
    if wanted != parameters.len() {
        return Err(Problem::new(
            "invalid",
            format!("the statement takes {wanted} parameters; {} were given", parameters.len()),
        ));
    }
    Ok((prepared.columns().to_vec(), format::arguments(parameters)?))
}

/// What the server says, sorted by its number and by the class of its SQLSTATE
/// (https://mariadb.com/kb/en/mariadb-error-code-reference/,
/// https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html).
fn problem(error: &sqlx::Error) -> Problem {
    let Some(database) = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
    else {
        return match error {
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => {
                Problem::new("unavailable", format!("the connection broke: {error}")).retryable()
            }
            // The driver's own words are about its insides.
            sqlx::Error::Protocol(_) => Problem::new("failed", "the server's answer was not understood")
                .hint("is it MySQL or MariaDB? Types that are new to both are read with `cast(… as char)`"),
            other => Problem::said_by_database("failed", other.to_string()),
        };
    };
    let (number, state) = (database.number(), database.code().unwrap_or_default());
    let details = json!({ "mysql": number, "sqlstate": state });
    let (code, retryable) = match number {
        // Cannot execute statement in a READ ONLY transaction.
        1792 => ("effect", false),
        // Unknown database.
        1049 => ("not-found", false),
        // Access denied: to the server, a database, a table, a column, a routine, to what needs a privilege; an
        // option of the server forbids it; LOCAL INFILE.
        1044 | 1045 | 1142 | 1143 | 1148 | 1227 | 1290 | 1370 | 1698 | 3948 | 4166 => ("denied", false),
        // Lock wait timeout, deadlock.
        1205 | 1213 => ("conflict", true),
        // The time for a statement is over (MariaDB, MySQL), or somebody stopped it.
        1317 | 1969 | 3024 => ("timeout", false),
        // Too many connections, of all or of this user; the server shuts down.
        1040 | 1053 | 1203 | 1226 => ("unavailable", true),
        // Values that do not fit; statements that cannot be prepared.
        1295 | 1364 | 1366 | 1411 | 3140 => ("invalid", false),
        _ => match state.get(..2).unwrap_or_default() {
            "28" => ("denied", false),
            "23" => ("conflict", false),
            "08" => ("unavailable", true),
            "21" | "22" | "42" => ("invalid", false),
            _ => ("failed", false),
        },
    };
    let problem = Problem { retryable, ..Problem::said_by_database(code, database.message()).details(&details) };
    match (code, number) {
        ("effect", _) => problem.hint("use `execute` for statements that change something"),
        (_, 1295) => problem.hint("statements run prepared here; run this one with the server's own client"),
        _ => problem,
    }
}
