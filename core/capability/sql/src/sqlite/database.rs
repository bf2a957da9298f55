//! The statements of a session, from one thread. The driver of sqlx would switch between two threads
//! for every row.

use std::borrow::Cow;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blockyard_call::{Problem, limits};
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthContext, Authorization};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Batch, Connection, Row, Statement};

use super::confinement::Guard;
use super::error::{Refusal, write_in_a_read};
use crate::bindings::blockyard::bundle::sql::Value;
use crate::cell::Cell;
use crate::number;

/// Number of SQLite's virtual machine instructions between two checks for an interrupt: about 50
/// µs.
const STEPS: i32 = 5_000;
/// Maximum time that a statement waits for another process's lock on the file.
pub(super) const BUSY_TIME: Duration = Duration::from_secs(10);
/// Interval at which the lock is checked.
const BUSY_STEP: Duration = Duration::from_millis(2);

thread_local! {
    /// Conditions of the database that this thread uses, for the busy handler, which is a function
    /// without state in rusqlite.
    static WATCH: RefCell<Option<Arc<Watch>>> = const { RefCell::new(None) };
}

/// A connection with the handlers of one exchange: restrictions, an interrupt and a time limit.
pub(super) struct Database<'connection> {
    connection: &'connection Connection,
    watch: Arc<Watch>,
    guard: Arc<Guard>,
}

/// The conditions that end a statement early.
struct Watch {
    stop: Arc<AtomicBool>,
    until: Instant,
}

impl Watch {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || Instant::now() >= self.until
    }
}

impl<'connection> Database<'connection> {
    /// Sets the handlers of a connection, until the value is dropped.
    pub(super) fn new(
        connection: &'connection Connection,
        stop: Arc<AtomicBool>,
        guard: Guard,
    ) -> rusqlite::Result<Self> {
        let watch = Arc::new(Watch { stop, until: Instant::now() + limits::STATEMENT_TIME });
        let database = Self { connection, watch: watch.clone(), guard: Arc::new(guard) };
        let guard = database.guard.clone();
        connection.authorizer(Some(move |context: AuthContext<'_>| guard.authorize(&context.action)))?;
        WATCH.set(Some(watch.clone()));
        connection.progress_handler(STEPS, Some(move || watch.is_over()))?;
        connection.busy_handler(Some(on_busy))?;
        Ok(database)
    }

    /// Checks whether a transaction is open.
    pub(super) fn is_in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// Runs a statement of the host, which may begin and end transactions.
    pub(super) fn run(&self, statement: &str) -> Result<(), Problem> {
        self.connection.execute_batch(statement).map_err(|error| self.guard.problem(&Refusal::from(&error)))
    }

    /// Checks whether the statement was interrupted or has reached its time limit.
    pub(super) fn is_over(&self) -> bool {
        self.watch.is_over()
    }

    /// Compiles a text that contains one statement. The rest of the text is compiled, too, to check
    /// that it contains only white space, comments and semicolons.
    pub(super) fn prepare(&self, text: &str) -> Result<Prepared<'_>, Problem> {
        if let Some(at) = text.find('\0') {
            let at = at + 1;
            return Err(Problem::new("invalid", format!("the statement contains a NUL character at byte {at}")));
        }
        let mut statements = Batch::new(self.connection, text);
        let mut first = None;
        loop {
            match self.guard.while_compiling(|| statements.next()) {
                Ok(None) => break,
                Ok(Some(statement)) if self.guard.refuses_as_write(statement.readonly()) => {
                    return Err(write_in_a_read());
                }
                Ok(Some(statement)) if first.is_none() => {
                    first = Some(Prepared { statement, guard: &self.guard });
                }
                Err(error) if first.is_none() => return Err(self.guard.problem(&Refusal::from(&error))),
                Ok(Some(_)) | Err(_) => {
                    return Err(
                        Problem::new("invalid", "there is more than one statement").hint("run one statement at a time")
                    );
                }
            }
        }
        first.ok_or_else(|| Problem::new("invalid", "the statement is empty"))
    }

    /// Returns the number of rows that statements of this connection have changed, including
    /// triggers.
    pub(super) fn total_changes(&self) -> u64 {
        self.connection.total_changes()
    }

    /// Returns the number of rows changed by the last statement that changes rows.
    pub(super) fn changes(&self) -> u64 {
        self.connection.changes()
    }

    pub(super) fn last_insert_rowid(&self) -> i64 {
        self.connection.last_insert_rowid()
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // These functions fail only for connections that another library has opened.
        let _ = self.connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>);
        let _ = self.connection.progress_handler(0, None::<fn() -> bool>);
        let _ = self.connection.busy_timeout(BUSY_TIME);
        WATCH.set(None);
    }
}

/// The busy handler: waits for a lock on the file. Returns false to give up.
fn on_busy(times: i32) -> bool {
    let waited = BUSY_STEP * u32::try_from(times).unwrap_or(u32::MAX);
    let is_over = WATCH.with_borrow(|watch| watch.as_ref().is_none_or(|watch| watch.is_over()));
    if is_over || waited >= BUSY_TIME {
        return false;
    }
    std::thread::sleep(BUSY_STEP);
    true
}

/// A compiled statement.
pub(super) struct Prepared<'database> {
    statement: Statement<'database>,
    guard: &'database Guard,
}

/// The rows of a statement that runs. It is reset when they are dropped.
pub(super) struct Rows<'statement> {
    rows: rusqlite::Rows<'statement>,
    guard: &'statement Guard,
}

impl Prepared<'_> {
    pub(super) fn parameters(&self) -> usize {
        self.statement.parameter_count()
    }

    pub(super) fn columns(&self) -> Result<Vec<(String, String)>, Problem> {
        columns(&self.statement)
    }

    /// Binds these values. The statement runs as its rows are read.
    pub(super) fn rows(&mut self, values: &[Value]) -> Result<Rows<'_>, Problem> {
        for (place, value) in (1..).zip(values) {
            self.bind_one(place, value)?;
        }
        Ok(Rows { rows: self.statement.raw_query(), guard: self.guard })
    }

    fn bind_one(&mut self, place: usize, value: &Value) -> Result<(), Problem> {
        if let Some(reason) = unknown_to_sqlite(value) {
            return Err(Problem::new("invalid", format!("parameter {place}: {reason}")));
        }
        let value = match value {
            Value::Null => ValueRef::Null,
            Value::Boolean(v) => ValueRef::Integer((*v).into()),
            Value::Integer(v) => ValueRef::Integer(*v),
            Value::Float(v) => ValueRef::Real(*v),
            Value::Bytes(v) => ValueRef::Blob(v),
            Value::Decimal(v) | Value::Text(v) | Value::Uuid(v) | Value::Json(v) | Value::Other((_, v)) => {
                ValueRef::Text(v.as_bytes())
            }
            Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => unreachable!("refused above"),
        };
        let bound = self.statement.raw_bind_parameter(place, ToSqlOutput::Borrowed(value));
        bound.map_err(|error| self.guard.problem(&Refusal::from(&error)))
    }
}

impl<'statement> Rows<'statement> {
    /// Moves to the next row. Returns `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<&Row<'statement>>, Problem> {
        self.rows.next().map_err(|error| self.guard.problem(&Refusal::from(&error)))
    }
}

/// Returns the name of each column, and its type from the definition of its table, which is empty
/// for expressions.
pub(super) fn columns(statement: &Statement<'_>) -> Result<Vec<(String, String)>, Problem> {
    let described = || {
        let columns = statement.columns();
        let declared = |column: &rusqlite::Column<'_>| column.decl_type().unwrap_or_default().to_owned();
        columns.iter().map(|column| (column.name().to_owned(), declared(column))).collect()
    };
    // rusqlite panics if a file that another program has written has a name that is not UTF-8.
    catch_unwind(AssertUnwindSafe(described))
        .map_err(|_| Problem::new("failed", "the name or the type of a column is not UTF-8"))
}

/// Returns a value of a row, borrowed from SQLite.
pub(super) fn cell<'row>(row: &'row Row<'_>, column: usize) -> Result<Cell<'row>, Problem> {
    // rusqlite panics if SQLite has no memory for the value, which a guest can cause: SQLite expands
    // `zeroblob`, and converts UTF-16, when a value is read.
    let value = catch_unwind(AssertUnwindSafe(|| row.get_ref(column)))
        .map_err(|_| Refusal::out_of_memory().problem())?
        .map_err(|error| Refusal::from(&error).problem())?;
    Ok(match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(value) => Cell::Integer(value),
        ValueRef::Real(value) => Cell::Float(value),
        ValueRef::Blob(bytes) => Cell::Bytes(Cow::Borrowed(bytes)),
        ValueRef::Text(bytes) => {
            let text = str::from_utf8(bytes).map_err(|_| {
                Problem::new("failed", format!("column {} has a string that is not UTF-8", column + 1))
                    .hint("read it as bytes, with `cast(… as blob)`")
            })?;
            Cell::Text(Cow::Borrowed(text))
        }
    })
}

/// Returns the reason if SQLite cannot represent a value. SQLite would store null for NaN. It would
/// treat a number that no double can represent as a string or as a rounded double, so such a number
/// is refused for every column.
fn unknown_to_sqlite(value: &Value) -> Option<&'static str> {
    match value {
        Value::Float(v) if v.is_nan() => Some("SQLite has no `NaN`; pass it as a string, or null"),
        Value::Decimal(v) if is_inexact(v) => Some(INEXACT),
        // An unsigned integer of MySQL, for example. Other JSON is text to SQLite.
        Value::Json(v) if v.trim().parse::<f64>().is_ok() && is_inexact(v) => Some(INEXACT),
        Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => Some("SQLite has no date types; pass it as a string"),
        _ => None,
    }
}

const INEXACT: &str = "SQLite cannot store all digits of this number; pass it as a string, to a column of type `text`";

/// Checks that a number is neither a 64-bit integer nor equal to a double.
fn is_inexact(number: &str) -> bool {
    number.trim().parse::<i64>().is_err() && number::double_of_text(number).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_would_be_rounded_is_refused() {
        let json = |text: &str| Value::Json(text.to_owned());
        for value in [
            json("18446744073709551615"),
            json(" 0.12345678901234567890 "),
            json("1e400"),
            Value::Decimal("18446744073709551615".to_owned()),
        ] {
            assert!(unknown_to_sqlite(&value).is_some(), "{value:?}");
        }
        for value in [
            json("9223372036854775807"),
            json("9007199254740992.0"),
            json("1.50"),
            json("\"18446744073709551615\""),
            json("[18446744073709551615]"),
            json("null"),
            Value::Text("18446744073709551615".to_owned()),
        ] {
            assert!(unknown_to_sqlite(&value).is_none(), "{value:?}");
        }
    }
}
