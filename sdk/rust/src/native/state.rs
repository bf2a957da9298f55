//! State of a fake host, and the host of the current thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::effect::Effect;
use super::sent::{Answer, SentRequest};
#[cfg(feature = "fake-sql")]
use super::sqlite::Databases;
use super::types::Problem;

/// Severity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Details of a computation.
    Trace,
    /// For debugging.
    Debug,
    /// Informational.
    Info,
    /// A warning.
    Warn,
    /// An error.
    Error,
}

/// Answers the requests of the block.
pub(crate) type Server = dyn Fn(SentRequest) -> Result<Answer, Problem>;

/// State of a fake host: what its functions return, and what was passed to them.
pub(crate) struct State {
    /// Values of the secrets by their JSON Pointers.
    pub(crate) secrets: RefCell<BTreeMap<String, String>>,
    /// Whether the capability `reveal` is granted.
    pub(crate) reveal: Cell<bool>,
    /// Effect of the running operation.
    pub(crate) effect: RefCell<Effect>,
    /// Time since 1970-01-01 UTC.
    pub(crate) now: Cell<Duration>,
    /// State of the generator of random bytes.
    pub(crate) random: Cell<u64>,
    /// Logged messages.
    pub(crate) log: RefCell<Vec<(Level, String)>>,
    /// Answers requests.
    pub(crate) server: Box<Server>,
    /// Databases by their paths.
    #[cfg(feature = "fake-sql")]
    pub(crate) databases: Databases,
    #[cfg(not(feature = "fake-sql"))]
    pub(crate) databases: (),
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<State>>> = const { RefCell::new(None) };
}

/// A period in which a host is that of the thread. Its end restores the previous host.
#[must_use]
pub(crate) struct Entered {
    previous: Option<Rc<State>>,
}

impl State {
    /// Creates the state of a host without secrets, at a time.
    pub(crate) fn new(now: Duration, server: Box<Server>) -> Self {
        Self {
            secrets: RefCell::default(),
            reveal: Cell::new(false),
            effect: RefCell::default(),
            now: Cell::new(now),
            random: Cell::new(0),
            log: RefCell::default(),
            server,
            databases: Default::default(),
        }
    }

    /// Moves the clock forward.
    pub(crate) fn advance(&self, time: Duration) {
        self.now.set(self.now.get().saturating_add(time));
    }
}

/// Makes a host that of the thread, until the returned value is dropped.
pub(crate) fn enter(state: Rc<State>) -> Entered {
    Entered { previous: CURRENT.replace(Some(state)) }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // The thread may be ending, in which case it has no host.
        let _ = CURRENT.try_with(|current| current.replace(self.previous.take()));
    }
}

/// Returns the host of the thread, for a function of a capability.
///
/// # Panics
/// Panics if the thread has none, and in a validation or migration.
pub(super) fn current(function: &str) -> Rc<State> {
    let state = current_for_log(function);
    assert!(
        *state.effect.borrow() != Effect::Pure,
        "`{function}` was called in a validation or a migration, which have no capabilities"
    );
    state
}

/// Returns the host of the thread, for the log, which is always available.
///
/// # Panics
/// Panics if the thread has none.
pub(super) fn current_for_log(function: &str) -> Rc<State> {
    CURRENT.with_borrow(Option::clone).unwrap_or_else(|| {
        panic!(
            "`{function}` was called outside of a fake host; call the block through \
             `blockyard_sdk::fake::Host`, e.g. with `host.run(|| …)`"
        )
    })
}

impl fmt::Debug for State {
    /// Shows no secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("now", &self.now).finish_non_exhaustive()
    }
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entered")
    }
}
