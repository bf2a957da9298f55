//! The capabilities of bundles: the state that they have in a call, and the table by which they are linked.
//!
//! All have the same structure: a context with the state of the call, a view that borrows it, the `Host`
//! implementation of the interface for the view, and `add_to_linker`. Small capabilities are files of this
//! folder; a capability with many dependencies is a crate of its own.

pub(crate) mod clock;
pub(crate) mod crypto;
pub(crate) mod log;
pub(crate) mod random;
pub(crate) mod reveal;

use blockyard_call::{CallContext, context, secrets, streams};
use blockyard_http::{HttpContext, HttpView};
use blockyard_sql::{SqlContext, SqlView};
use wasmtime::component::Linker;

use self::clock::ClockView;
use self::crypto::CryptoView;
use self::log::{LogContext, LogView};
use self::random::RandomView;
use self::reveal::{RevealHook, RevealView};
use crate::memory::MemoryLimiter;

/// The state of one call, which its WebAssembly store holds: a context for each capability that needs one. It is
/// created for the call and dropped after it, with all handles, so that no resource outlives the call.
pub(crate) struct CallState {
    pub(crate) memory: MemoryLimiter,
    pub(crate) call: CallContext,
    pub(crate) log: LogContext,
    sql: SqlContext,
    http: HttpContext,
    reveal: RevealHook,
}

impl CallState {
    pub(crate) fn new(call: CallContext, sql: SqlContext, http: HttpContext, reveal: RevealHook) -> Self {
        Self { memory: MemoryLimiter::default(), call, log: LogContext::default(), sql, http, reveal }
    }
}

/// An interface that the host provides to bundles.
pub(crate) struct Interface {
    /// Name without package and version, e.g. `http`. The same as that of the capability.
    pub(crate) name: &'static str,
    /// Condition under which the interface is linked.
    pub(crate) condition: Condition,
    pub(crate) add_to_linker: fn(&mut Linker<CallState>) -> wasmtime::Result<()>,
}

/// Condition under which an interface is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It gives no access to anything outside of the call.
    Always,
    /// The manifest requests the capability, and the yard grants it.
    Granted,
}

/// The interfaces that the host provides.
pub(crate) const INTERFACES: [Interface; 10] = [
    Interface {
        name: "types",
        condition: Condition::Always,
        add_to_linker: |linker| context::add_to_linker(linker, |state| &mut state.call),
    },
    Interface {
        name: "streams",
        condition: Condition::Always,
        add_to_linker: |linker| streams::add_to_linker(linker, |state| &mut state.call),
    },
    Interface {
        name: "secrets",
        condition: Condition::Granted,
        add_to_linker: |linker| secrets::add_to_linker(linker, |state| &mut state.call),
    },
    Interface {
        name: "reveal",
        condition: Condition::Granted,
        add_to_linker: |linker| {
            reveal::add_to_linker(linker, |state| RevealView { call: &mut state.call, hook: &state.reveal })
        },
    },
    Interface {
        name: "crypto",
        condition: Condition::Granted,
        add_to_linker: |linker| crypto::add_to_linker(linker, |state| CryptoView { call: &mut state.call }),
    },
    Interface {
        name: "http",
        condition: Condition::Granted,
        add_to_linker: |linker| {
            blockyard_http::add_to_linker(linker, |state| HttpView { call: &mut state.call, http: &state.http })
        },
    },
    Interface {
        name: "sql",
        condition: Condition::Granted,
        add_to_linker: |linker| {
            blockyard_sql::add_to_linker(linker, |state| SqlView { call: &mut state.call, sql: &state.sql })
        },
    },
    Interface {
        name: "log",
        condition: Condition::Granted,
        add_to_linker: |linker| {
            log::add_to_linker(linker, |state| LogView {
                shown: &state.call.shown,
                log: &mut state.log,
                usage: &state.call.usage,
            })
        },
    },
    Interface {
        name: "clock",
        condition: Condition::Granted,
        add_to_linker: |linker| clock::add_to_linker(linker, |state| ClockView { usage: &state.call.usage }),
    },
    Interface {
        name: "random",
        condition: Condition::Granted,
        add_to_linker: |linker| random::add_to_linker(linker, |state| RandomView { usage: &state.call.usage }),
    },
];

impl Interface {
    /// Returns the interface with this name, or `None` if the host does not provide it.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        const { &INTERFACES }.iter().find(|interface| interface.name == name)
    }
}
