//! Statements on SQLite's own interface, from one thread: the driver would hop between two for every row.

#![allow(unsafe_code, reason = "rows are read where SQLite has them, through its C interface")]

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libsqlite3_sys as ffi;

use super::confinement::{self, Guard, write_in_a_read};
use crate::bindings::blockyard::bundle::sql::Value;
use crate::capability::sql::cell::Cell;
use crate::capability::sql::number;
use crate::limits;
use crate::problem::Problem;

/// How many of its own instructions SQLite runs before it looks whether it is to stop: some 50 µs.
const STEPS: c_int = 5_000;
/// How long a statement waits for another process's lock on the file.
pub(super) const BUSY_TIME: Duration = Duration::from_secs(10);
/// How often it looks whether the lock is gone.
const BUSY_STEP: Duration = Duration::from_millis(2);

/// A database that this thread alone uses, until it is told to stop.
pub(super) struct Database {
    raw: NonNull<ffi::sqlite3>,
    watch: Box<Watch>,
    guard: Box<Guard>,
}

/// When a statement ends before it is done.
struct Watch {
    stop: Arc<AtomicBool>,
    until: Instant,
}

impl Watch {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || Instant::now() >= self.until
    }
}

/// What SQLite said: its extended code (https://www.sqlite.org/rescode.html) and its words.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) message: String,
}

impl Database {
    /// # Safety
    /// The handle is open and no other thread uses it while this lives.
    pub(super) unsafe fn new(raw: NonNull<ffi::sqlite3>, stop: Arc<AtomicBool>, guard: Guard) -> Self {
        let watch = Box::new(Watch { stop, until: Instant::now() + limits::STATEMENT_TIME });
        let pointer = std::ptr::from_ref(&*watch).cast_mut().cast::<c_void>();
        let guard = Box::new(guard);
        // SAFETY: the boxes stay where they are until `drop` takes the handlers back.
        unsafe {
            let guard = std::ptr::from_ref(&*guard).cast_mut().cast::<c_void>();
            ffi::sqlite3_set_authorizer(raw.as_ptr(), Some(confinement::authorize), guard);
            ffi::sqlite3_progress_handler(raw.as_ptr(), STEPS, Some(on_progress), pointer);
            ffi::sqlite3_busy_handler(raw.as_ptr(), Some(on_busy), pointer);
        }
        Self { raw, watch, guard }
    }

    /// Whether a transaction is open.
    pub(super) fn is_in_transaction(&self) -> bool {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_get_autocommit(self.raw.as_ptr()) == 0 }
    }

    /// Runs a statement of the host's own, which may begin and end transactions.
    pub(super) fn run(&self, statement: &CStr) -> Result<(), Problem> {
        let mut rest = statement;
        match self.compile(&mut rest).map_err(|refusal| self.guard.problem(&refusal))? {
            Some(mut prepared) => prepared.step().map(drop),
            None => Ok(()),
        }
    }

    /// Whether it was told to stop, or its time is over.
    pub(super) fn is_over(&self) -> bool {
        self.watch.is_over()
    }

    /// Compiles a text that is one statement. What follows it is compiled, too, to see that it is nothing:
    /// white space, comments and semicolons.
    pub(super) fn prepare(&self, text: &str) -> Result<Prepared<'_>, Problem> {
        let text = CString::new(text).map_err(|error| {
            let at = error.nul_position() + 1;
            Problem::new("invalid", format!("the statement has a NUL character at byte {at}"))
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
        first.ok_or_else(|| Problem::new("invalid", "there is no statement"))
    }

    /// The first statement of a text, and what is left of it.
    fn compile(&self, rest: &mut &CStr) -> Result<Option<Prepared<'_>>, Refusal> {
        let (mut statement, mut tail) = (std::ptr::null_mut(), rest.as_ptr());
        // SAFETY: the text ends in NUL; SQLite leaves `tail` within it.
        let code =
            unsafe { ffi::sqlite3_prepare_v2(self.raw.as_ptr(), rest.as_ptr(), -1, &raw mut statement, &raw mut tail) };
        if code != ffi::SQLITE_OK {
            return Err(self.refusal());
        }
        // SAFETY: as above.
        *rest = unsafe { CStr::from_ptr(tail) };
        Ok(NonNull::new(statement).map(|raw| Prepared { raw, database: self }))
    }

    /// Rows that statements of this connection have changed so far, triggers included.
    pub(super) fn total_changes(&self) -> i64 {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_total_changes64(self.raw.as_ptr()) }
    }

    /// Rows that the last statement which changes any has changed.
    pub(super) fn changes(&self) -> i64 {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_changes64(self.raw.as_ptr()) }
    }

    pub(super) fn last_insert_rowid(&self) -> i64 {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_last_insert_rowid(self.raw.as_ptr()) }
    }

    /// The last error as a problem.
    fn problem(&self) -> Problem {
        self.guard.problem(&self.refusal())
    }

    fn refusal(&self) -> Refusal {
        // SAFETY: the handle is open; the message is copied before the next call.
        unsafe {
            let message = CStr::from_ptr(ffi::sqlite3_errmsg(self.raw.as_ptr())).to_string_lossy().into_owned();
            Refusal { code: ffi::sqlite3_extended_errcode(self.raw.as_ptr()).into(), message }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let milliseconds = c_int::try_from(BUSY_TIME.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the handle is open; nothing points to the watch and the guard after this.
        unsafe {
            ffi::sqlite3_set_authorizer(self.raw.as_ptr(), None, std::ptr::null_mut());
            ffi::sqlite3_progress_handler(self.raw.as_ptr(), 0, None, std::ptr::null_mut());
            ffi::sqlite3_busy_timeout(self.raw.as_ptr(), milliseconds);
        }
    }
}

unsafe extern "C" fn on_progress(watch: *mut c_void) -> c_int {
    // SAFETY: set by `Database::new`, taken back before the watch goes.
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
        // SAFETY: the statement is compiled. So in all functions of this block.
        usize::try_from(unsafe { ffi::sqlite3_bind_parameter_count(self.raw.as_ptr()) }).unwrap_or(0)
    }

    /// Whether it writes to no database, by SQLite's own account.
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

    /// The type that the table's definition gives the column; empty for expressions.
    pub(super) fn declared_type(&self, column: c_int) -> String {
        // SAFETY: see `parameters`.
        text_of(unsafe { ffi::sqlite3_column_decltype(self.raw.as_ptr(), column) })
    }

    /// Makes it ready to run (again), with these values.
    pub(super) fn bind(&mut self, values: &[Value]) -> Result<(), Problem> {
        // SAFETY: see `parameters`. What it says is about the run before, which was told then.
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
        // SAFETY: see `parameters`; SQLite copies texts and bytes before the call returns.
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

    /// Goes to the next row; false at the end.
    pub(super) fn step(&mut self) -> Result<bool, Problem> {
        // SAFETY: see `parameters`.
        match unsafe { ffi::sqlite3_step(self.raw.as_ptr()) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            _ => Err(self.database.problem()),
        }
    }

    /// A value of the row, where SQLite has it.
    pub(super) fn cell(&self, column: c_int) -> Result<Cell<'_>, Problem> {
        let raw = self.raw.as_ptr();
        // SAFETY: see `parameters`. What SQLite points to stays until the next step, for which this borrow ends.
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
                        Problem::new("failed", format!("column {} has a text that is not UTF-8", column + 1))
                            .hint("ask for its bytes, with `cast(… as blob)`")
                    })?;
                    Cell::Text(Cow::Borrowed(text))
                }
            })
        }
    }

    /// # Safety
    /// `bytes` is what SQLite gave for this column, just now.
    unsafe fn bytes(&self, column: c_int, bytes: *const u8) -> &[u8] {
        // SAFETY: see `parameters`.
        let length = unsafe { ffi::sqlite3_column_bytes(self.raw.as_ptr(), column) };
        match usize::try_from(length) {
            // SAFETY: SQLite has so many bytes there.
            Ok(length) if !bytes.is_null() => unsafe { std::slice::from_raw_parts(bytes, length) },
            _ => &[],
        }
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        // SAFETY: it is finalized once.
        unsafe { ffi::sqlite3_finalize(self.raw.as_ptr()) };
    }
}

/// Why SQLite has no value for this one. It would store null for NaN, and it takes a number beyond a double for
/// a text or a rounded double, whatever the column.
fn unknown_to_sqlite(value: &Value) -> Option<&'static str> {
    match value {
        Value::Float(v) if v.is_nan() => Some("SQLite has no `NaN`; give it as a string, or null"),
        Value::Decimal(v) if v.parse::<i64>().is_err() && number::double_of_text(v).is_none() => {
            Some("SQLite has no number with all digits of this one; give it as a string, to a column of type `text`")
        }
        Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => Some("SQLite has no dates; give it as text"),
        _ => None,
    }
}

fn text_of(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: SQLite's names end in NUL; the text is copied at once.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}
