//! Memory and temporary files of SQLite, counted per call. SQLite has one heap for the process: its own
//! limits would let one call take what the yard and other calls need. So its allocator is wrapped, and
//! each thread that runs statements of a call says whose they are; where a call has too much, this call's
//! statement fails, as it would on a machine without memory.

#![allow(unsafe_code, reason = "SQLite's allocator is configured through its C interface")]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use libsqlite3_sys as ffi;

use crate::limits;

/// What the statements of one call hold in SQLite.
#[derive(Debug, Default)]
pub(in crate::capability::sql) struct Budget {
    memory: AtomicI64,
    temporary: AtomicI64,
}

impl Budget {
    /// Counts bytes of temporary files; false where that is too much.
    pub(super) fn take_temporary(&self, bytes: i64) -> bool {
        take(&self.temporary, bytes, limits::SQLITE_TEMPORARY_BYTES)
    }

    pub(super) fn give_temporary(&self, bytes: i64) {
        self.temporary.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of temporary files that statements hold now.
    #[cfg(test)]
    pub(in crate::capability::sql) fn temporary(&self) -> i64 {
        self.temporary.load(Ordering::Relaxed)
    }

    /// Bytes of memory that statements hold now.
    #[cfg(test)]
    pub(in crate::capability::sql) fn memory(&self) -> i64 {
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
    /// The budget of the call whose statements this thread runs.
    static CURRENT: Cell<*const Budget> = const { Cell::new(std::ptr::null()) };
    /// What this thread has allocated and not freed since it runs them.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

/// Counts what this thread does in SQLite for a call, until it is dropped. What the connection holds then
/// goes with the connection (or, in memory, is bounded by [`limits::SQLITE_DATABASE_BYTES`]).
pub(super) struct Counting(Arc<Budget>);

impl Counting {
    pub(super) fn start(budget: Arc<Budget>) -> Self {
        CURRENT.set(Arc::as_ptr(&budget));
        HELD.set(0);
        Self(budget)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        CURRENT.set(std::ptr::null());
        self.0.memory.fetch_sub(HELD.take(), Ordering::Relaxed);
    }
}

/// The budget of the call whose statements this thread runs.
pub(super) fn current() -> Option<Arc<Budget>> {
    let current = CURRENT.get();
    if current.is_null() {
        return None;
    }
    // SAFETY: it comes from an `Arc` that `Counting` holds on this thread for as long as it is set.
    unsafe {
        Arc::increment_strong_count(current);
        Some(Arc::from_raw(current))
    }
}

fn count(bytes: i64) -> bool {
    let current = CURRENT.get();
    if current.is_null() {
        return true;
    }
    // SAFETY: `Counting` holds the budget for as long as it is set.
    let allowed = take(unsafe { &(*current).memory }, bytes, limits::SQLITE_MEMORY_BYTES);
    if allowed {
        HELD.set(HELD.get() + bytes);
    }
    allowed
}

/// SQLite's own allocator.
struct Allocator(ffi::sqlite3_mem_methods);
// SAFETY: it is functions, and a pointer that its initialization alone uses.
unsafe impl Send for Allocator {}
// SAFETY: as above.
unsafe impl Sync for Allocator {}

static ALLOCATOR: OnceLock<Option<Allocator>> = OnceLock::new();

/// Counts the memory of SQLite per call, by a wrapper around its allocator. It can be set up before SQLite is
/// first used in the process, and not after. Returns whether memory is counted; if not, the heap of SQLite
/// in the process has one bound for all calls together.
pub fn install() -> bool {
    ALLOCATOR.get_or_init(wrap).is_some()
}

/// Bounds the heap of the process, where calls cannot be counted one by one.
pub(super) fn ensure() {
    if !install() {
        let limit = i64::try_from(limits::SQLITE_PROCESS_BYTES).unwrap_or(i64::MAX);
        // SAFETY: the function takes any number. A lower limit of the program stays.
        unsafe {
            let before = ffi::sqlite3_hard_heap_limit64(-1);
            if before == 0 || before > limit {
                ffi::sqlite3_hard_heap_limit64(limit);
            }
        }
    }
}

fn wrap() -> Option<Allocator> {
    // SAFETY: plain memory that SQLite fills.
    let mut methods: ffi::sqlite3_mem_methods = unsafe { std::mem::zeroed() };
    // SAFETY: SQLite copies both structures during the calls. It answers with an error once it is initialized.
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

/// The functions that the wrapper calls; set before SQLite knows the wrapper.
static ORIGINAL: OnceLock<Allocator> = OnceLock::new();

fn original() -> &'static ffi::sqlite3_mem_methods {
    &ORIGINAL.get().expect("it is set before SQLite knows the wrapper").0
}

/// # Safety
/// `memory` is of this allocator.
unsafe fn size(memory: *mut c_void) -> i64 {
    // SAFETY: see above.
    original().xSize.map_or(0, |size| unsafe { size(memory) }.into())
}

unsafe extern "C" fn allocate(bytes: c_int) -> *mut c_void {
    if !count(bytes.into()) {
        return std::ptr::null_mut();
    }
    // SAFETY: SQLite's own call, passed on.
    let memory = original().xMalloc.map_or(std::ptr::null_mut(), |allocate| unsafe { allocate(bytes) });
    // The allocator rounds up; what is counted is what `free` will see.
    // SAFETY: it was allocated just now.
    let real = if memory.is_null() { 0 } else { unsafe { size(memory) } };
    adjust(real - i64::from(bytes));
    memory
}

unsafe extern "C" fn free(memory: *mut c_void) {
    if memory.is_null() {
        return;
    }
    // SAFETY: SQLite's own call, passed on.
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
    // SAFETY: SQLite's own call, passed on.
    let moved = original().xRealloc.map_or(std::ptr::null_mut(), |move_to| unsafe { move_to(memory, bytes) });
    // SAFETY: it was allocated just now.
    let real = if moved.is_null() { before } else { unsafe { size(moved) } };
    adjust(real - before - more);
    moved
}

/// Counts without a limit: a difference of rounding, or memory that is free again.
fn adjust(bytes: i64) {
    let current = CURRENT.get();
    if bytes != 0 && !current.is_null() {
        // SAFETY: `Counting` holds the budget for as long as it is set.
        unsafe { &(*current).memory }.fetch_add(bytes, Ordering::Relaxed);
        HELD.set(HELD.get() + bytes);
    }
}
