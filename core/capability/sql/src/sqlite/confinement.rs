//! Restricts a connection to its file and its operation. SQL has statements that open other files,
//! change the process, or end the transaction that the host began. SQLite's authorizer
//! (<https://www.sqlite.org/c3ref/set_authorizer.html>) sees what a statement does, regardless of
//! how it is written.

#![allow(unsafe_code, reason = "SQLite's authorizer is available only through its C interface")]

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::NonNull;

use blockyard_call::{Problem, limits};
use libsqlite3_sys as ffi;
use serde_json::json;

use super::error::{Refusal, write_in_a_read};
use crate::statement::Access;
use crate::word::transaction_control;

/// Pragmas that only return information, without an argument.
const TELLING: [&str; 33] = [
    "analysis_limit",
    "application_id",
    "auto_vacuum",
    "automatic_index",
    "busy_timeout",
    "cache_size",
    "cell_size_check",
    "collation_list",
    "compile_options",
    "data_version",
    "database_list",
    "defer_foreign_keys",
    "encoding",
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "freelist_count",
    "function_list",
    "ignore_check_constraints",
    "integrity_check",
    "journal_mode",
    "max_page_count",
    "mmap_size",
    "module_list",
    "page_count",
    "page_size",
    "pragma_list",
    "quick_check",
    "recursive_triggers",
    "schema_version",
    "synchronous",
    "table_list",
    "user_version",
];
/// Pragmas that only return information about their argument.
const TELLING_ABOUT: [&str; 10] = [
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];
/// Pragmas that change the file, or the behavior of statements that write. Pragmas that are not
/// listed change the memory, disk space, waiting time or trust settings of a connection, which only
/// the host may set.
const CHANGING: [&str; 18] = [
    "application_id",
    "auto_vacuum",
    "case_sensitive_like",
    "defer_foreign_keys",
    "encoding",
    "foreign_keys",
    "ignore_check_constraints",
    "incremental_vacuum",
    "journal_mode",
    "legacy_alter_table",
    "optimize",
    "page_size",
    "recursive_triggers",
    "reverse_unordered_selects",
    "secure_delete",
    "synchronous",
    "user_version",
    "wal_checkpoint",
];

/// Reason for which a statement is not permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Denied {
    OtherFile,
    Write,
    TransactionControl(String),
    Pragma(String),
}

/// Restrictions on the statements of a session.
pub(super) struct Guard {
    access: Access,
    memory: bool,
    /// Whether a guest's statement is being compiled. Statements that SQLite compiles while another
    /// one runs (`VACUUM` begins transactions) are part of a statement that has been permitted.
    compiling: Cell<bool>,
    /// Whether the statement is a pragma.
    pragma: Cell<bool>,
    denied: Cell<Option<Denied>>,
}

impl Guard {
    pub(super) fn new(access: Access, memory: bool) -> Self {
        Self { access, memory, compiling: Cell::new(false), pragma: Cell::new(false), denied: Cell::new(None) }
    }

    /// Compiles a guest's statement under the restrictions.
    pub(super) fn while_compiling<T>(&self, compile: impl FnOnce() -> T) -> T {
        self.compiling.set(true);
        self.pragma.set(false);
        self.denied.set(None);
        let compiled = compile();
        self.compiling.set(false);
        compiled
    }

    /// Checks whether the last compiled statement must be refused in an operation with the effect
    /// `read`, because it writes to a database.
    pub(super) fn refuses_as_write(&self, only_reads: bool) -> bool {
        // SQLite reports that some pragmas write although they only return information. Pragmas are
        // checked by the lists above instead.
        self.access == Access::ReadOnly && !only_reads && !self.pragma.get()
    }

    /// Converts a refusal by SQLite to a problem.
    pub(super) fn problem(&self, refusal: &Refusal) -> Problem {
        let details = json!({ "sqlite": refusal.code });
        match self.denied.take() {
            Some(Denied::Write) => write_in_a_read().details(&details),
            Some(Denied::TransactionControl(word)) => transaction_control(&word).details(&details),
            Some(Denied::Pragma(name)) => {
                let message =
                    format!("the pragma `{name}` is not available: the host controls the settings of connections");
                Problem::new("not-granted", message).details(&details)
            }
            Some(Denied::OtherFile) | None => refusal.problem(),
        }
    }

    fn decide(&self, action: c_int, first: Option<&str>, second: Option<&str>) -> Option<Denied> {
        match action {
            // `ATTACH` and `VACUUM INTO` name another file; a plain `VACUUM` attaches the empty
            // name. If the name is not a literal, it is missing here, and can be any file.
            ffi::SQLITE_ATTACH => (first != Some("") || self.compiling.get()).then_some(Denied::OtherFile),
            ffi::SQLITE_DETACH if self.compiling.get() => Some(Denied::OtherFile),
            ffi::SQLITE_FUNCTION => (second == Some("load_extension")).then_some(Denied::OtherFile),
            ffi::SQLITE_PRAGMA => {
                self.pragma.set(true);
                self.decide_pragma(first.unwrap_or_default(), second)
            }
            ffi::SQLITE_TRANSACTION if self.compiling.get() => {
                Some(Denied::TransactionControl(first.unwrap_or_default().to_ascii_lowercase()))
            }
            ffi::SQLITE_SAVEPOINT if self.compiling.get() => Some(Denied::TransactionControl("savepoint".to_owned())),
            ffi::SQLITE_SELECT | ffi::SQLITE_READ | ffi::SQLITE_RECURSIVE => None,
            _ => (self.access == Access::ReadOnly && self.compiling.get()).then_some(Denied::Write),
        }
    }

    fn decide_pragma(&self, name: &str, argument: Option<&str>) -> Option<Denied> {
        let allowed = match argument {
            None => TELLING.contains(&name),
            Some(_) => TELLING_ABOUT.contains(&name),
        };
        if allowed || !self.compiling.get() {
            return None;
        }
        // With larger pages, the limit on the number of pages would allow a larger database in
        // memory.
        let changes = CHANGING.contains(&name) && !(self.memory && name == "page_size");
        match (changes, self.access) {
            (true, Access::ReadWrite) => None,
            (true, Access::ReadOnly) => Some(Denied::Write),
            (false, _) => Some(Denied::Pragma(name.to_owned())),
        }
    }
}

/// Limits what a new connection may use, before a guest receives it.
///
/// # Safety
/// The handle is open, and no other thread uses it.
pub(super) unsafe fn bound(raw: NonNull<ffi::sqlite3>, memory: bool) -> Result<(), c_int> {
    let limit = |kind: c_int, value: usize| {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_limit(raw.as_ptr(), kind, c_int::try_from(value).unwrap_or(c_int::MAX)) };
    };
    limit(ffi::SQLITE_LIMIT_LENGTH, limits::SQLITE_VALUE_BYTES);
    limit(ffi::SQLITE_LIMIT_SQL_LENGTH, limits::SQLITE_STATEMENT_BYTES);
    limit(ffi::SQLITE_LIMIT_WORKER_THREADS, 0);
    // Refuses writes to the shadow tables of virtual tables and to the schema table.
    // SAFETY: the handle is open.
    unsafe { ffi::sqlite3_db_config(raw.as_ptr(), ffi::SQLITE_DBCONFIG_DEFENSIVE, 1, std::ptr::null_mut::<c_int>()) };
    if !memory {
        return Ok(());
    }
    let pages = format!("pragma max_page_count = {}", limits::SQLITE_DATABASE_BYTES / limits::SQLITE_PAGE_BYTES);
    let pages = CString::new(pages).map_err(|_| ffi::SQLITE_MISUSE)?;
    // SAFETY: the handle is open, and the text ends in NUL.
    match unsafe { ffi::sqlite3_exec(raw.as_ptr(), pages.as_ptr(), None, std::ptr::null_mut(), std::ptr::null_mut()) } {
        ffi::SQLITE_OK => Ok(()),
        code => Err(code),
    }
}

/// The authorizer callback; `guard` is the [`Guard`] of the session.
pub(super) unsafe extern "C" fn authorize(
    guard: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    _: *const c_char,
    _: *const c_char,
) -> c_int {
    // SAFETY: set by `Database::new`, and removed before the guard is dropped.
    let guard = unsafe { &*guard.cast::<Guard>() };
    let text = |pointer: *const c_char| {
        // SAFETY: SQLite passes strings that end in NUL and are valid for the duration of the call.
        (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().to_ascii_lowercase())
    };
    match guard.decide(action, text(first).as_deref(), text(second).as_deref()) {
        None => ffi::SQLITE_OK,
        Some(denied) => {
            guard.denied.set(Some(denied));
            ffi::SQLITE_DENY
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_compiles_what_reads_and_nothing_else() {
        let guard = Guard::new(Access::ReadOnly, false);
        let decide = |action: c_int, first: Option<&str>| guard.while_compiling(|| guard.decide(action, first, None));
        for action in [ffi::SQLITE_SELECT, ffi::SQLITE_READ, ffi::SQLITE_RECURSIVE, ffi::SQLITE_FUNCTION] {
            assert_eq!(decide(action, Some("t")), None, "{action}");
        }
        // Every action of SQLite, present or future, counts as a write unless it is known not to
        // write.
        for action in (1..60).filter(|action| {
            ![
                ffi::SQLITE_SELECT,
                ffi::SQLITE_READ,
                ffi::SQLITE_RECURSIVE,
                ffi::SQLITE_FUNCTION,
                ffi::SQLITE_PRAGMA,
                ffi::SQLITE_TRANSACTION,
                ffi::SQLITE_SAVEPOINT,
                ffi::SQLITE_ATTACH,
                ffi::SQLITE_DETACH,
            ]
            .contains(action)
        }) {
            assert_eq!(decide(action, Some("t")), Some(Denied::Write), "{action}");
        }
        assert_eq!(decide(ffi::SQLITE_TRANSACTION, Some("COMMIT")), Some(Denied::TransactionControl("commit".into())));
    }

    #[test]
    fn pragmas_that_cost_memory_or_time_are_the_hosts() {
        for access in [Access::ReadOnly, Access::ReadWrite] {
            let guard = Guard::new(access, false);
            let pragma =
                |name: &str, argument: Option<&str>| guard.while_compiling(|| guard.decide_pragma(name, argument));
            for name in [
                "temp_store",
                "cache_size",
                "cache_spill",
                "mmap_size",
                "journal_size_limit",
                "max_page_count",
                "busy_timeout",
                "soft_heap_limit",
                "hard_heap_limit",
                "threads",
                "writable_schema",
                "trusted_schema",
                "temp_store_directory",
                "data_store_directory",
                "locking_mode",
                "wal_autocheckpoint",
                "query_only",
                "anything_new",
            ] {
                assert_eq!(pragma(name, Some("1")), Some(Denied::Pragma(name.to_owned())), "{name}");
            }
            assert_eq!((pragma("table_info", Some("t")), pragma("page_size", None)), (None, None));
            let changed = pragma("user_version", Some("7"));
            assert_eq!(changed, (access == Access::ReadOnly).then_some(Denied::Write));
        }
    }
}
