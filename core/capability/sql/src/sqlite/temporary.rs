//! Limits on temporary files of SQLite (sorters, temporary tables, materialized views), per call. A
//! virtual file system wraps the system's default one. It differs only in temporary files, which
//! grow only within the budget of the call that creates them.

#![allow(unsafe_code, reason = "a virtual file system is written against SQLite's C interface")]

use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, OnceLock};

use rusqlite::ffi;

use super::budget::{self, Budget};

/// Name of the virtual file system.
const NAME: &CStr = c"blockyard";
/// Types of files that are counted.
const TEMPORARY: c_int = ffi::SQLITE_OPEN_TEMP_DB
    | ffi::SQLITE_OPEN_TEMP_JOURNAL
    | ffi::SQLITE_OPEN_TRANSIENT_DB
    | ffi::SQLITE_OPEN_SUBJOURNAL;

/// A temporary file. In memory, it is followed by the file of the wrapped file system.
#[repr(C)]
struct Counted {
    base: ffi::sqlite3_file,
    /// `Arc<Budget>` as a raw pointer; null if the file belongs to no known call.
    budget: *const Budget,
    bytes: i64,
}

/// Size of [`Counted`], rounded up to a multiple of the largest alignment.
const HEAD: usize = size_of::<Counted>().next_multiple_of(16);

/// The wrapped file system.
static SYSTEM: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(std::ptr::null_mut());
static REGISTERED: OnceLock<bool> = OnceLock::new();

/// Registers the virtual file system, once per process. Returns its name, for connections.
pub(super) fn file_system() -> Option<&'static CStr> {
    REGISTERED.get_or_init(register).then_some(NAME)
}

fn register() -> bool {
    // SAFETY: SQLite's file systems live as long as the process; the new one is leaked for that.
    unsafe {
        let system = ffi::sqlite3_vfs_find(std::ptr::null());
        if system.is_null() {
            return false;
        }
        SYSTEM.store(system, Ordering::Release);
        let mut counting = *system;
        counting.pNext = std::ptr::null_mut();
        counting.zName = NAME.as_ptr();
        counting.szOsFile = c_int::try_from(HEAD).unwrap_or(c_int::MAX).saturating_add((*system).szOsFile);
        counting.xOpen = Some(open);
        ffi::sqlite3_vfs_register(Box::into_raw(Box::new(counting)), 0) == ffi::SQLITE_OK
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Version 1: no shared memory and no memory mapping, which temporary files do not need.
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let system = SYSTEM.load(Ordering::Acquire);
    // SAFETY: SQLite allocates `szOsFile` bytes, which include the bytes that the wrapped file
    // system asks for.
    unsafe {
        let Some(open) = (*system).xOpen else { return ffi::SQLITE_CANTOPEN };
        if flags & TEMPORARY == 0 {
            return open(system, name, file, flags, out);
        }
        let counted = file.cast::<Counted>();
        (*counted).base.pMethods = std::ptr::null();
        let inner = inner(file);
        (*inner).pMethods = std::ptr::null();
        let code = open(system, name, inner, flags, out);
        if code != ffi::SQLITE_OK {
            // SQLite does not close a file without methods, so the wrapped file is closed here.
            if let Some(close) = methods(inner).and_then(|methods| methods.xClose) {
                close(inner);
            }
            return code;
        }
        (*counted).budget = budget::current().map_or(std::ptr::null(), Arc::into_raw);
        (*counted).bytes = 0;
        (*counted).base.pMethods = &raw const METHODS;
        code
    }
}

/// # Safety
/// `file` was created by [`open`].
unsafe fn inner(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: there is room after the head.
    unsafe { file.cast::<u8>().add(HEAD).cast() }
}

/// # Safety
/// `file` is an open file of the wrapped file system.
unsafe fn methods<'a>(file: *mut ffi::sqlite3_file) -> Option<&'a ffi::sqlite3_io_methods> {
    // SAFETY: methods are static.
    unsafe { (*file).pMethods.as_ref() }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once, and calls the functions below for open files only.
    unsafe {
        let counted = file.cast::<Counted>();
        if !(*counted).budget.is_null() {
            let budget = Arc::from_raw((*counted).budget);
            budget.give_temporary((*counted).bytes);
            (*counted).budget = std::ptr::null();
        }
        let inner = inner(file);
        methods(inner).and_then(|methods| methods.xClose).map_or(ffi::SQLITE_OK, |close| close(inner))
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, amount: c_int, at: i64) -> c_int {
    // SAFETY: see `close`.
    unsafe {
        let counted = file.cast::<Counted>();
        let more = at.saturating_add(amount.into()) - (*counted).bytes;
        if more > 0 {
            if let Some(budget) = (*counted).budget.as_ref()
                && !budget.take_temporary(more)
            {
                return ffi::SQLITE_FULL;
            }
            (*counted).bytes += more;
        }
        let inner = inner(file);
        methods(inner)
            .and_then(|methods| methods.xWrite)
            .map_or(ffi::SQLITE_IOERR, |write| write(inner, from, amount, at))
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: see `close`.
    unsafe {
        let inner = inner(file);
        let code = methods(inner)
            .and_then(|methods| methods.xTruncate)
            .map_or(ffi::SQLITE_IOERR, |truncate| truncate(inner, size));
        let counted = file.cast::<Counted>();
        if code == ffi::SQLITE_OK && size < (*counted).bytes {
            if let Some(budget) = (*counted).budget.as_ref() {
                budget.give_temporary((*counted).bytes - size);
            }
            (*counted).bytes = size;
        }
        code
    }
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    // Size hints would let the wrapped file grow without being counted.
    if matches!(operation, ffi::SQLITE_FCNTL_SIZE_HINT | ffi::SQLITE_FCNTL_CHUNK_SIZE) {
        return ffi::SQLITE_OK;
    }
    // SAFETY: see `close`.
    unsafe {
        let inner = inner(file);
        let control = methods(inner).and_then(|methods| methods.xFileControl);
        control.map_or(ffi::SQLITE_NOTFOUND, |control| control(inner, operation, argument))
    }
}

/// Defines a function that calls the wrapped file's method with unchanged arguments.
macro_rules! pass_on {
    ($name:ident, $method:ident $(, $argument:ident: $type:ty)*) => {
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $argument: $type)*) -> c_int {
            // SAFETY: see `close`.
            unsafe {
                let inner = inner(file);
                methods(inner).and_then(|methods| methods.$method).map_or(ffi::SQLITE_IOERR, |call| call(inner $(, $argument)*))
            }
        }
    };
}

pass_on!(read, xRead, to: *mut c_void, amount: c_int, at: i64);
pass_on!(sync, xSync, flags: c_int);
pass_on!(file_size, xFileSize, size: *mut i64);
pass_on!(lock, xLock, level: c_int);
pass_on!(unlock, xUnlock, level: c_int);
pass_on!(check_reserved_lock, xCheckReservedLock, out: *mut c_int);
pass_on!(sector_size, xSectorSize);
pass_on!(device_characteristics, xDeviceCharacteristics);
