//! Limits on the memory and temporary files of SQLite, per call. SQLite has one heap per process,
//! and its own limits would let one call use the memory that the yard and other calls need.
//! Therefore its allocator is wrapped, and each thread that runs statements records the call that
//! they belong to. When a call exceeds its limit, only its own statement fails, as it would if the
//! machine were out of memory.

#![allow(unsafe_code, reason = "SQLite's allocator is configured through its C interface")]

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use blockyard_call::limits;
use rusqlite::ffi;

/// Resources that the statements of one call use in SQLite.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    memory: AtomicI64,
    temporary: AtomicI64,
}

impl Budget {
    /// Adds bytes of temporary files. Returns false if that exceeds the limit.
    pub(super) fn take_temporary(&self, bytes: i64) -> bool {
        take(&self.temporary, bytes, limits::SQLITE_TEMPORARY_BYTES)
    }

    pub(super) fn give_temporary(&self, bytes: i64) {
        self.temporary.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes of temporary files that statements use now.
    #[cfg(test)]
    pub(crate) fn temporary(&self) -> i64 {
        self.temporary.load(Ordering::Relaxed)
    }

    /// Returns the bytes of memory that statements use now.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> i64 {
        self.memory.load(Ordering::Relaxed)
    }
}

fn take(count: &AtomicI64, bytes: i64, limit: u64) -> bool {
    let before = count.fetch_add(bytes, Ordering::Relaxed);
    let allowed = bytes <= 0 || before.saturating_add(bytes) <= i64::try_from(limit).unwrap_or(i64::MAX);
    if !allowed {
        count.fetch_sub(bytes, Ordering::Relaxed);
    }
    allowed
}

thread_local! {
    /// Budget of the call whose statements this thread runs.
    static CURRENT: RefCell<Option<Arc<Budget>>> = const { RefCell::new(None) };
    /// Bytes that this thread has allocated and not freed since it started to run these statements.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

/// Counts the allocations of this thread toward a call until it is dropped. The memory that the
/// connection still holds at that time is freed with the connection; for a database in memory it is
/// limited by [`limits::SQLITE_DATABASE_BYTES`].
pub(super) struct Counting(());

impl Counting {
    pub(super) fn start(budget: Arc<Budget>) -> Self {
        CURRENT.set(Some(budget));
        HELD.set(0);
        Self(())
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if let Some(budget) = CURRENT.take() {
            budget.memory.fetch_sub(HELD.take(), Ordering::Relaxed);
        }
    }
}

/// Calls a function with the budget of the call whose statements this thread runs. Returns `None`
/// if there is none, or if the thread is ending.
fn with_current<T>(use_budget: impl FnOnce(&Arc<Budget>) -> T) -> Option<T> {
    CURRENT.try_with(|current| current.borrow().as_ref().map(use_budget)).ok().flatten()
}

/// Returns the budget of the call whose statements this thread runs.
pub(super) fn current() -> Option<Arc<Budget>> {
    with_current(Arc::clone)
}

fn count(bytes: i64) -> bool {
    let counted = |budget: &Arc<Budget>| {
        let allowed = take(&budget.memory, bytes, limits::SQLITE_MEMORY_BYTES);
        if allowed {
            HELD.set(HELD.get() + bytes);
        }
        allowed
    };
    with_current(counted).unwrap_or(true)
}

/// The original allocator of SQLite.
struct Allocator(ffi::sqlite3_mem_methods);
// SAFETY: it consists of functions, and of a pointer that only their initialization uses.
unsafe impl Send for Allocator {}
// SAFETY: as above.
unsafe impl Sync for Allocator {}

static ALLOCATOR: OnceLock<Option<Allocator>> = OnceLock::new();

/// Counts the memory of SQLite per call, by a wrapper around its allocator. It must be called
/// before SQLite is first used in the process. Returns whether memory is counted. If not, the heap
/// of SQLite has one limit for all calls of the process together.
pub fn install() -> bool {
    ALLOCATOR.get_or_init(wrap).is_some()
}

/// Limits the heap of the process if memory cannot be counted per call.
pub(super) fn ensure() {
    if !install() {
        let limit = i64::try_from(limits::SQLITE_PROCESS_BYTES).unwrap_or(i64::MAX);
        // SAFETY: the function accepts any number. A lower limit set by the embedding program is
        // kept.
        unsafe {
            let before = ffi::sqlite3_hard_heap_limit64(-1);
            if before == 0 || before > limit {
                ffi::sqlite3_hard_heap_limit64(limit);
            }
        }
    }
}

fn wrap() -> Option<Allocator> {
    // SAFETY: all-zero bytes are valid for this structure, and SQLite fills it.
    let mut methods: ffi::sqlite3_mem_methods = unsafe { std::mem::zeroed() };
    // SAFETY: SQLite copies both structures during the calls. It returns an error if it is already
    // initialized.
    unsafe {
        if ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut methods) != ffi::SQLITE_OK {
            return None;
        }
        methods.xMalloc.and(methods.xFree).and(methods.xRealloc).and(methods.xSize)?;
    }
    let original = Allocator(methods);
    let mut counted = methods;
    counted.xMalloc = Some(allocate);
    counted.xFree = Some(free);
    counted.xRealloc = Some(reallocate);
    ORIGINAL.set(original).ok()?;
    // SAFETY: as above.
    let code = unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw mut counted) };
    (code == ffi::SQLITE_OK).then_some(Allocator(methods))
}

/// The functions that the wrapper calls. Set before the wrapper is registered with SQLite.
static ORIGINAL: OnceLock<Allocator> = OnceLock::new();

fn original() -> &'static ffi::sqlite3_mem_methods {
    &ORIGINAL.get().expect("it is set before the wrapper is registered").0
}

/// # Safety
/// `memory` was allocated by this allocator.
unsafe fn size(memory: *mut c_void) -> i64 {
    // SAFETY: see above.
    original().xSize.map_or(0, |size| unsafe { size(memory) }.into())
}

unsafe extern "C" fn allocate(bytes: c_int) -> *mut c_void {
    if !count(bytes.into()) {
        return std::ptr::null_mut();
    }
    // SAFETY: SQLite's arguments are passed on unchanged.
    let memory = original().xMalloc.map_or(std::ptr::null_mut(), |allocate| unsafe { allocate(bytes) });
    // The allocator rounds up, and `free` subtracts the real size, so the real size is counted.
    // SAFETY: the memory has just been allocated.
    let real = if memory.is_null() { 0 } else { unsafe { size(memory) } };
    adjust(real - i64::from(bytes));
    memory
}

unsafe extern "C" fn free(memory: *mut c_void) {
    if memory.is_null() {
        return;
    }
    // SAFETY: SQLite's arguments are passed on unchanged.
    unsafe {
        adjust(-size(memory));
        if let Some(free) = original().xFree {
            free(memory);
        }
    }
}

unsafe extern "C" fn reallocate(memory: *mut c_void, bytes: c_int) -> *mut c_void {
    // SAFETY: SQLite passes memory of this allocator.
    let before = unsafe { size(memory) };
    let more = i64::from(bytes) - before;
    if !count(more) {
        return std::ptr::null_mut();
    }
    // SAFETY: SQLite's arguments are passed on unchanged.
    let moved = original().xRealloc.map_or(std::ptr::null_mut(), |move_to| unsafe { move_to(memory, bytes) });
    // SAFETY: the memory has just been allocated.
    let real = if moved.is_null() { before } else { unsafe { size(moved) } };
    adjust(real - before - more);
    moved
}

/// Changes the count without a limit, for rounding differences and freed memory.
fn adjust(bytes: i64) {
    if bytes == 0 {
        return;
    }
    with_current(|budget| {
        budget.memory.fetch_add(bytes, Ordering::Relaxed);
        HELD.set(HELD.get() + bytes);
    });
}
