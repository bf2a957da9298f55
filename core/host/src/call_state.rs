//! The state of one call, which its WebAssembly store holds: one context per capability. It is created for
//! the call and dropped after it, with all handles, so that no resource outlives the call.

use blockyard_call::CallContext;
use blockyard_http::HttpContext;
use blockyard_sql::SqlContext;

use crate::capability::log::LogContext;
use crate::capability::reveal::RevealHook;
use crate::memory::MemoryLimiter;

/// The state of one call.
pub(crate) struct CallState {
    pub(crate) memory: MemoryLimiter,
    pub(crate) call: CallContext,
    pub(crate) sql: SqlContext,
    pub(crate) http: HttpContext,
    pub(crate) reveal: RevealHook,
    pub(crate) log: LogContext,
}
