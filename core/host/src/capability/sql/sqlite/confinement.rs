//! Keeps a connection inside its file: SQL has statements that open others.

#![allow(unsafe_code, reason = "SQLite's authorizer is only to be had through its C interface")]

use std::ffi::{CStr, c_char, c_int, c_void};

use libsqlite3_sys::{SQLITE_ATTACH, SQLITE_DENY, SQLITE_FUNCTION, SQLITE_OK, SQLITE_PRAGMA, sqlite3_set_authorizer};
use sqlx::sqlite::SqliteConnection;

/// Sets the authorizer (https://www.sqlite.org/c3ref/set_authorizer.html) for the life of the
/// connection.
pub(super) async fn confine(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut handle = connection.lock_handle().await?;
    // SAFETY: the handle is locked, so no other thread uses the connection; the callback is a
    // function without state and lives as long as the program.
    let code =
        unsafe { sqlite3_set_authorizer(handle.as_raw_handle().as_ptr(), Some(authorize), std::ptr::null_mut()) };
    if code == SQLITE_OK {
        Ok(())
    } else {
        Err(sqlx::Error::Protocol(format!("SQLite refused the authorizer with code {code}")))
    }
}

unsafe extern "C" fn authorize(
    _: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    _: *const c_char,
    _: *const c_char,
) -> c_int {
    let text = |pointer: *const c_char| {
        // SAFETY: SQLite passes texts that end in NUL and live for the call.
        (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().to_ascii_lowercase())
    };
    let denied = match action {
        // `ATTACH` and `VACUUM INTO` name another file; plain `VACUUM` attaches the empty name.
        // There is no text at all where the name is not a literal: then it can be any file.
        SQLITE_ATTACH => text(first).as_deref() != Some(""),
        SQLITE_FUNCTION => text(second).as_deref() == Some("load_extension"),
        // These change the process, not the database.
        SQLITE_PRAGMA => matches!(
            text(first).as_deref(),
            Some("temp_store_directory" | "data_store_directory" | "hard_heap_limit" | "soft_heap_limit")
        ),
        _ => false,
    };
    if denied { SQLITE_DENY } else { SQLITE_OK }
}
