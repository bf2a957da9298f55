//! Statements through SQLite's C interface, from one thread. The driver would switch between two
//! threads for every row.

#![allow(unsafe_code, reason = "rows are read through SQLite's C interface")]

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blockyard_call::{Problem, limits};
use libsqlite3_sys as ffi;

use super::confinement::{self, Guard};
use super::error::{Refusal, write_in_a_read};
use crate::bindings::blockyard::bundle::sql::Value;
use crate::cell::Cell;
use crate::number;

/// Number of SQLite's virtual machine instructions between two checks for an interrupt: about 50
/// µs.
const STEPS: c_int = 5_000;
/// Maximum time that a statement waits for another process's lock on the file.
pub(super) const BUSY_TIME: Duration = Duration::from_secs(10);
/// Interval at which the lock is checked.
const BUSY_STEP: Duration = Duration::from_millis(2);

/// A database that only this thread uses, with an interrupt and a time limit.
pub(super) struct Database {
    raw: NonNull<ffi::sqlite3>,
    watch: Box<Watch>,
    guard: Box<Guard>,
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

impl Database {
    /// # Safety
    /// The handle is open, and no other thread uses it while this value exists.
    pub(super) unsafe fn new(raw: NonNull<ffi::sqlite3>, stop: Arc<AtomicBool>, guard: Guard) -> Self {
        let watch = Box::new(Watch { stop, until: Instant::now() + limits::STATEMENT_TIME });
        let pointer = std::ptr::from_ref(&*watch).cast_mut().cast::<c_void>();
        let guard = Box::new(guard);
        // SAFETY: the boxes do not move until `drop` removes the handlers.
        unsafe {
            let guard = std::ptr::from_ref(&*guard).cast_mut().cast::<c_void>();
            ffi::sqlite3_set_authorizer(raw.as_ptr(), Some(confinement::authorize), guard);
            ffi::sqlite3_progress_handler(raw.as_ptr(), STEPS, Some(on_progress), pointer);
            ffi::sqlite3_busy_handler(raw.as_ptr(), Some(on_busy), pointer);
        }
        Self { raw, watch, guard }
    }

    /// Checks whether a transaction is open.
    pub(super) fn is_in_transaction(&self) -> bool {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_get_autocommit(self.raw.as_ptr()) == 0 }
    }

    /// Runs a statement of the host, which may begin and end transactions.
    pub(super) fn run(&self, statement: &CStr) -> Result<(), Problem> {
        let mut rest = statement;
        match self.compile(&mut rest).map_err(|refusal| self.guard.problem(&refusal))? {
            Some(mut prepared) => prepared.step().map(drop),
            None => Ok(()),
        }
    }

    /// Checks whether the statement was interrupted or has reached its time limit.
    pub(super) fn is_over(&self) -> bool {
        self.watch.is_over()
    }

    /// Compiles a text that contains one statement. The rest of the text is compiled, too, to check
    /// that it contains only white space, comments and semicolons.
    pub(super) fn prepare(&self, text: &str) -> Result<Prepared<'_>, Problem> {
        let text = CString::new(text).map_err(|error| {
            let at = error.nul_position() + 1;
            Problem::new("invalid", format!("the statement contains a NUL character at byte {at}"))
        })?;
        let mut rest = text.as_c_str();
        let mut first = None;
        while !rest.is_empty() {
            match self.guard.while_compiling(|| self.compile(&mut rest)) {
                Ok(Some(prepared)) if self.guard.refuses_as_write(prepared.only_reads()) => {
                    return Err(write_in_a_read());
                }
                Ok(None) => {}
                Ok(Some(prepared)) if first.is_none() => first = Some(prepared),
                Err(refusal) if first.is_none() => return Err(self.guard.problem(&refusal)),
                Ok(Some(_)) | Err(_) => {
                    return Err(
                        Problem::new("invalid", "there is more than one statement").hint("run one statement at a time")
                    );
                }
            }
        }
        first.ok_or_else(|| Problem::new("invalid", "the statement is empty"))
    }

    /// Compiles the first statement of a text, and moves `rest` to the text after it.
    fn compile(&self, rest: &mut &CStr) -> Result<Option<Prepared<'_>>, Refusal> {
        let (mut statement, mut tail) = (std::ptr::null_mut(), rest.as_ptr());
        // SAFETY: the text ends in NUL, and SQLite leaves `tail` within it.
        let code =
            unsafe { ffi::sqlite3_prepare_v2(self.raw.as_ptr(), rest.as_ptr(), -1, &raw mut statement, &raw mut tail) };
        if code != ffi::SQLITE_OK {
            return Err(self.refusal());
        }
        // SAFETY: as above.
        *rest = unsafe { CStr::from_ptr(tail) };
        Ok(NonNull::new(statement).map(|raw| Prepared { raw, database: self }))
    }

    /// Returns the number of rows that statements of this connection have changed, including
    /// triggers.
    pub(super) fn total_changes(&self) -> i64 {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_total_changes64(self.raw.as_ptr()) }
    }

    /// Returns the number of rows changed by the last statement that changes rows.
    pub(super) fn changes(&self) -> i64 {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_changes64(self.raw.as_ptr()) }
    }

    pub(super) fn last_insert_rowid(&self) -> i64 {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_last_insert_rowid(self.raw.as_ptr()) }
    }

    /// Returns the last error as a problem.
    fn problem(&self) -> Problem {
        self.guard.problem(&self.refusal())
    }

    fn refusal(&self) -> Refusal {
        // SAFETY: the handle is open, and the message is copied before the next call.
        unsafe {
            let message = CStr::from_ptr(ffi::sqlite3_errmsg(self.raw.as_ptr())).to_string_lossy().into_owned();
            Refusal { code: ffi::sqlite3_extended_errcode(self.raw.as_ptr()).into(), message }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let milliseconds = c_int::try_from(BUSY_TIME.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the handle is open, and nothing points to the watch and the guard after this.
        unsafe {
            ffi::sqlite3_set_authorizer(self.raw.as_ptr(), None, std::ptr::null_mut());
            ffi::sqlite3_progress_handler(self.raw.as_ptr(), 0, None, std::ptr::null_mut());
            ffi::sqlite3_busy_timeout(self.raw.as_ptr(), milliseconds);
        }
    }
}

unsafe extern "C" fn on_progress(watch: *mut c_void) -> c_int {
    // SAFETY: set by `Database::new`, and removed before the watch is dropped.
    let watch = unsafe { &*watch.cast::<Watch>() };
    c_int::from(watch.is_over())
}

unsafe extern "C" fn on_busy(watch: *mut c_void, times: c_int) -> c_int {
    // SAFETY: as above.
    let watch = unsafe { &*watch.cast::<Watch>() };
    let waited = BUSY_STEP * u32::try_from(times).unwrap_or(u32::MAX);
    if watch.is_over() || waited >= BUSY_TIME {
        return 0;
    }
    std::thread::sleep(BUSY_STEP);
    1
}

/// A compiled statement.
pub(super) struct Prepared<'database> {
    raw: NonNull<ffi::sqlite3_stmt>,
    database: &'database Database,
}

impl Prepared<'_> {
    pub(super) fn parameters(&self) -> usize {
        // SAFETY: the statement is compiled. This applies to all functions of this block.
        usize::try_from(unsafe { ffi::sqlite3_bind_parameter_count(self.raw.as_ptr()) }).unwrap_or(0)
    }

    /// Checks whether the statement writes to no database, according to SQLite.
    fn only_reads(&self) -> bool {
        // SAFETY: see `parameters`.
        unsafe { ffi::sqlite3_stmt_readonly(self.raw.as_ptr()) != 0 }
    }

    pub(super) fn columns(&self) -> c_int {
        // SAFETY: see `parameters`.
        unsafe { ffi::sqlite3_column_count(self.raw.as_ptr()) }
    }

    pub(super) fn name(&self, column: c_int) -> String {
        // SAFETY: see `parameters`.
        text_of(unsafe { ffi::sqlite3_column_name(self.raw.as_ptr(), column) })
    }

    /// Returns the column's type from the definition of its table; empty for expressions.
    pub(super) fn declared_type(&self, column: c_int) -> String {
        // SAFETY: see `parameters`.
        text_of(unsafe { ffi::sqlite3_column_decltype(self.raw.as_ptr(), column) })
    }

    /// Resets the statement, and binds these values.
    pub(super) fn bind(&mut self, values: &[Value]) -> Result<(), Problem> {
        // SAFETY: see `parameters`. The result is ignored, because it repeats the error of the last
        // run.
        unsafe { ffi::sqlite3_reset(self.raw.as_ptr()) };
        for (place, value) in (1..).zip(values) {
            self.bind_one(place, value)?;
        }
        Ok(())
    }

    fn bind_one(&mut self, place: c_int, value: &Value) -> Result<(), Problem> {
        if let Some(reason) = unknown_to_sqlite(value) {
            return Err(Problem::new("invalid", format!("parameter {place}: {reason}")));
        }
        let raw = self.raw.as_ptr();
        let copy = ffi::SQLITE_TRANSIENT();
        #[allow(clippy::cast_possible_truncation, reason = "the encoding is 1")]
        let utf8 = ffi::SQLITE_UTF8 as u8;
        // SAFETY: see `parameters`. SQLite copies strings and bytes before the call returns.
        let code = unsafe {
            match value {
                Value::Null => ffi::sqlite3_bind_null(raw, place),
                Value::Boolean(v) => ffi::sqlite3_bind_int64(raw, place, (*v).into()),
                Value::Integer(v) => ffi::sqlite3_bind_int64(raw, place, *v),
                Value::Float(v) => ffi::sqlite3_bind_double(raw, place, *v),
                Value::Bytes(v) => ffi::sqlite3_bind_blob64(raw, place, v.as_ptr().cast(), v.len() as u64, copy),
                Value::Decimal(v) | Value::Text(v) | Value::Uuid(v) | Value::Json(v) | Value::Other((_, v)) => {
                    ffi::sqlite3_bind_text64(raw, place, v.as_ptr().cast(), v.len() as u64, copy, utf8)
                }
                Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => unreachable!("refused above"),
            }
        };
        if code == ffi::SQLITE_OK { Ok(()) } else { Err(self.database.problem()) }
    }

    /// Moves to the next row. Returns false at the end.
    pub(super) fn step(&mut self) -> Result<bool, Problem> {
        // SAFETY: see `parameters`.
        match unsafe { ffi::sqlite3_step(self.raw.as_ptr()) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            _ => Err(self.database.problem()),
        }
    }

    /// Returns a value of the current row, borrowed from SQLite.
    pub(super) fn cell(&self, column: c_int) -> Result<Cell<'_>, Problem> {
        let raw = self.raw.as_ptr();
        // SAFETY: see `parameters`. SQLite's pointers are valid until the next step, and this
        // borrow ends before it.
        unsafe {
            Ok(match ffi::sqlite3_column_type(raw, column) {
                ffi::SQLITE_INTEGER => Cell::Integer(ffi::sqlite3_column_int64(raw, column)),
                ffi::SQLITE_FLOAT => Cell::Float(ffi::sqlite3_column_double(raw, column)),
                ffi::SQLITE_NULL => Cell::Null,
                ffi::SQLITE_BLOB => {
                    let bytes = ffi::sqlite3_column_blob(raw, column);
                    Cell::Bytes(Cow::Borrowed(self.bytes(column, bytes.cast())))
                }
                _ => {
                    let bytes = self.bytes(column, ffi::sqlite3_column_text(raw, column));
                    let text = str::from_utf8(bytes).map_err(|_| {
                        Problem::new("failed", format!("column {} has a string that is not UTF-8", column + 1))
                            .hint("read it as bytes, with `cast(… as blob)`")
                    })?;
                    Cell::Text(Cow::Borrowed(text))
                }
            })
        }
    }

    /// # Safety
    /// `bytes` is the pointer that SQLite has just returned for this column.
    unsafe fn bytes(&self, column: c_int, bytes: *const u8) -> &[u8] {
        // SAFETY: see `parameters`.
        let length = unsafe { ffi::sqlite3_column_bytes(self.raw.as_ptr(), column) };
        match usize::try_from(length) {
            // SAFETY: SQLite has stored this number of bytes there.
            Ok(length) if !bytes.is_null() => unsafe { std::slice::from_raw_parts(bytes, length) },
            _ => &[],
        }
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        // SAFETY: the statement is finalized once.
        unsafe { ffi::sqlite3_finalize(self.raw.as_ptr()) };
    }
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

fn text_of(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: SQLite's names end in NUL, and the text is copied immediately.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
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
