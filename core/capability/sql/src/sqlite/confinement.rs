//! Restricts a connection to its file and its operation. SQL has statements that open other files,
//! change the process, or end the transaction that the host began. SQLite's authorizer
//! (<https://www.sqlite.org/c3ref/set_authorizer.html>) sees what a statement does, regardless of
//! how it is written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use blockyard_call::{Problem, limits};
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, Authorization, TransactionOperation};
use rusqlite::limits::Limit;
use rusqlite::{Connection, ffi};
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
    compiling: AtomicBool,
    /// Whether the statement is a pragma.
    pragma: AtomicBool,
    denied: Mutex<Option<Denied>>,
}

impl Guard {
    pub(super) fn new(access: Access, memory: bool) -> Self {
        let (compiling, pragma) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { access, memory, compiling, pragma, denied: Mutex::new(None) }
    }

    /// Compiles a guest's statement under the restrictions.
    pub(super) fn while_compiling<T>(&self, compile: impl FnOnce() -> T) -> T {
        self.compiling.store(true, Ordering::Relaxed);
        self.pragma.store(false, Ordering::Relaxed);
        self.deny(None);
        let compiled = compile();
        self.compiling.store(false, Ordering::Relaxed);
        compiled
    }

    fn is_compiling(&self) -> bool {
        self.compiling.load(Ordering::Relaxed)
    }

    /// Replaces the reason of the last refusal, and returns it.
    fn deny(&self, denied: Option<Denied>) -> Option<Denied> {
        std::mem::replace(&mut *self.denied.lock().unwrap_or_else(PoisonError::into_inner), denied)
    }

    /// Checks whether the last compiled statement must be refused in an operation with the effect
    /// `read`, because it writes to a database.
    pub(super) fn refuses_as_write(&self, only_reads: bool) -> bool {
        // SQLite reports that some pragmas write although they only return information. Pragmas are
        // checked by the lists above instead.
        self.access == Access::ReadOnly && !only_reads && !self.pragma.load(Ordering::Relaxed)
    }

    /// Converts a refusal by SQLite to a problem.
    pub(super) fn problem(&self, refusal: &Refusal) -> Problem {
        let details = json!({ "sqlite": refusal.code });
        match self.deny(None) {
            Some(Denied::Write) => write_in_a_read().details(&details),
            Some(Denied::TransactionControl(word)) => transaction_control(&word).details(&details),
            Some(Denied::Pragma(name)) => {
                let message =
                    format!("the pragma `{name}` is not available: the host controls the settings of connections");
                Problem::new("not-granted", message).details(&details)
            }
            // rusqlite denies an action without calling the authorizer if a name is not UTF-8. Only
            // another program can have written such a name.
            None if refusal.code == i64::from(ffi::SQLITE_AUTH) => {
                Problem::new("failed", "the database has a name that is not UTF-8").details(&details)
            }
            Some(Denied::OtherFile) | None => refusal.problem(),
        }
    }

    /// The authorizer: permits an action of a statement, or refuses the statement.
    pub(super) fn authorize(&self, action: &AuthAction<'_>) -> Authorization {
        match self.decide(action) {
            None => Authorization::Allow,
            Some(denied) => {
                self.deny(Some(denied));
                Authorization::Deny
            }
        }
    }

    fn decide(&self, action: &AuthAction<'_>) -> Option<Denied> {
        match action {
            // `ATTACH` and `VACUUM INTO` name another file; a plain `VACUUM` attaches the empty
            // name.
            AuthAction::Attach { filename } => {
                (!filename.is_empty() || self.is_compiling()).then_some(Denied::OtherFile)
            }
            // A name that is not a literal is missing here, and can be any file.
            AuthAction::Unknown { code: ffi::SQLITE_ATTACH, .. } => Some(Denied::OtherFile),
            AuthAction::Detach { .. } | AuthAction::Unknown { code: ffi::SQLITE_DETACH, .. } if self.is_compiling() => {
                Some(Denied::OtherFile)
            }
            AuthAction::Function { function_name } => {
                function_name.eq_ignore_ascii_case("load_extension").then_some(Denied::OtherFile)
            }
            AuthAction::Pragma { pragma_name, pragma_value } => {
                self.pragma.store(true, Ordering::Relaxed);
                self.decide_pragma(&pragma_name.to_ascii_lowercase(), *pragma_value)
            }
            AuthAction::Transaction { operation } if self.is_compiling() => {
                let word = match operation {
                    TransactionOperation::Begin => "begin",
                    TransactionOperation::Rollback => "rollback",
                    // rusqlite has no name for `COMMIT`.
                    _ => "commit",
                };
                Some(Denied::TransactionControl(word.to_owned()))
            }
            AuthAction::Savepoint { .. } if self.is_compiling() => {
                Some(Denied::TransactionControl("savepoint".to_owned()))
            }
            AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => None,
            _ => (self.access == Access::ReadOnly && self.is_compiling()).then_some(Denied::Write),
        }
    }

    fn decide_pragma(&self, name: &str, argument: Option<&str>) -> Option<Denied> {
        let allowed = match argument {
            None => TELLING.contains(&name),
            Some(_) => TELLING_ABOUT.contains(&name),
        };
        if allowed || !self.is_compiling() {
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
pub(super) fn bound(connection: &Connection, memory: bool) -> rusqlite::Result<()> {
    let limit = |kind: Limit, value: usize| connection.set_limit(kind, i32::try_from(value).unwrap_or(i32::MAX));
    limit(Limit::SQLITE_LIMIT_LENGTH, limits::SQLITE_VALUE_BYTES)?;
    limit(Limit::SQLITE_LIMIT_SQL_LENGTH, limits::SQLITE_STATEMENT_BYTES)?;
    limit(Limit::SQLITE_LIMIT_WORKER_THREADS, 0)?;
    // Refuses writes to the shadow tables of virtual tables and to the schema table.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    if memory {
        let pages = limits::SQLITE_DATABASE_BYTES / limits::SQLITE_PAGE_BYTES;
        connection.execute_batch(&format!("pragma max_page_count = {pages}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_compiles_what_reads_and_nothing_else() {
        let guard = Guard::new(Access::ReadOnly, false);
        let decide = |action: AuthAction<'_>| guard.while_compiling(|| guard.decide(&action));
        let (table_name, column_name, function_name) = ("t", "c", "abs");
        for action in [
            AuthAction::Select,
            AuthAction::Read { table_name, column_name },
            AuthAction::Recursive,
            AuthAction::Function { function_name },
        ] {
            assert_eq!(decide(action), None, "{action:?}");
        }
        for action in [
            AuthAction::Insert { table_name },
            AuthAction::Update { table_name, column_name },
            AuthAction::Delete { table_name },
            AuthAction::CreateTable { table_name },
            AuthAction::CreateTempTable { table_name },
            AuthAction::CreateTempView { view_name: "v" },
            AuthAction::DropTable { table_name },
            AuthAction::AlterTable { database_name: "main", table_name },
            AuthAction::Analyze { table_name },
            AuthAction::Reindex { index_name: "i" },
            AuthAction::CreateVtable { table_name, module_name: "fts5" },
        ] {
            assert_eq!(decide(action), Some(Denied::Write), "{action:?}");
        }
        // Every other action of SQLite, present or future, counts as a write.
        for code in (1..60).filter(|code| ![ffi::SQLITE_ATTACH, ffi::SQLITE_DETACH].contains(code)) {
            let action = AuthAction::Unknown { code, arg1: Some("t"), arg2: None };
            assert_eq!(decide(action), Some(Denied::Write), "{action:?}");
        }
        for action in [
            AuthAction::Attach { filename: "" },
            AuthAction::Attach { filename: "other.db" },
            AuthAction::Detach { database_name: "main" },
            AuthAction::Unknown { code: ffi::SQLITE_ATTACH, arg1: None, arg2: None },
            AuthAction::Unknown { code: ffi::SQLITE_DETACH, arg1: None, arg2: None },
            AuthAction::Function { function_name: "LOAD_EXTENSION" },
        ] {
            assert_eq!(decide(action), Some(Denied::OtherFile), "{action:?}");
        }
        // SQLite's `COMMIT`.
        let commit = AuthAction::Transaction { operation: TransactionOperation::Unknown };
        assert_eq!(decide(commit), Some(Denied::TransactionControl("commit".into())));
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
