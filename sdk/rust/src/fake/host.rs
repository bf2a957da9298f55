//! The fake host: its secrets, clock, generator, log, databases and scripted server.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::exchange::Exchange;
use super::script::Script;
use crate::bindings::blockyard::bundle::log::Level;
use crate::bindings::{Effect, SentRequest, State, enter};
use crate::calendar;

/// Time at which the clock starts by default: 2024-01-01T00:00:00Z.
const START: Duration = Duration::from_secs(1_704_067_200);

/// A host for tests, with which the code of a block runs natively.
///
/// Each host is independent of all others, also of those of tests that run at the same time. At its
/// end it fails the test if the requests that were sent differ from those that were expected.
pub struct Host {
    pub(super) state: Rc<State>,
    script: Rc<RefCell<Script>>,
    start: Duration,
    is_verified: Cell<bool>,
}

impl Host {
    /// Creates a host without secrets and without expected requests. Its clock starts at
    /// 2024-01-01T00:00:00Z.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default host would be a second way to create one")]
    pub fn new() -> Self {
        let script = Rc::new(RefCell::new(Script::default()));
        let answering = script.clone();
        let server = move |sent: SentRequest| Ok(answering.borrow_mut().answer(sent)?);
        let state = Rc::new(State::new(START, Box::new(server)));
        Self { state, script, start: START, is_verified: Cell::new(false) }
    }

    /// Sets the value of a secret field, by its JSON Pointer in the configuration, e.g. `/token`.
    /// The block receives a handle in its place.
    ///
    /// # Panics
    /// Panics if the pointer does not begin with `/`.
    #[must_use]
    pub fn secret(self, pointer: &str, value: impl Into<String>) -> Self {
        assert!(pointer.starts_with('/'), "`{pointer}` is not a JSON Pointer; write `/{pointer}`");
        self.state.secrets.borrow_mut().insert(pointer.to_owned(), value.into());
        self
    }

    /// Grants the capability `reveal`.
    #[must_use]
    pub fn grant_reveal(self) -> Self {
        self.state.reveal.set(true);
        self
    }

    /// Expects a request, and answers it. Requests can be sent in any order, unless
    /// [`in_order`](Self::in_order) is set; of several exchanges that match, the first one that
    /// expects a further request is used.
    #[must_use]
    pub fn http(self, exchange: Exchange) -> Self {
        self.script.borrow_mut().add(exchange);
        self
    }

    /// Expects the requests in the order in which they were added.
    #[must_use]
    pub fn in_order(self) -> Self {
        self.script.borrow_mut().in_order = true;
        self
    }

    /// Sets the time at which the clock starts, e.g. `2024-02-29T12:00:00Z`. The clock passes only
    /// by sleeping, by delays of responses, and by [`advance`](Self::advance).
    ///
    /// # Panics
    /// Panics if the text is not a timestamp since 1970.
    #[must_use]
    pub fn now(mut self, time: &str) -> Self {
        let micros = calendar::timestamp(time).and_then(|time| u64::try_from(time.micros).ok());
        let micros = micros.unwrap_or_else(|| panic!("`{time}` is not a timestamp such as `2024-02-29T12:00:00Z`"));
        self.start = Duration::from_micros(micros);
        self.state.now.set(self.start);
        self
    }

    /// Sets the seed of the random bytes, which are the same in each run of a test.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.state.random.set(seed);
        self
    }

    /// Moves the clock forward.
    pub fn advance(&self, time: Duration) {
        self.state.advance(time);
    }

    /// Returns the time that has passed on the clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.state.now.get().saturating_sub(self.start)
    }

    /// Returns the requests that were sent, in their order.
    #[must_use]
    pub fn requests(&self) -> Vec<SentRequest> {
        self.script.borrow().sent.clone()
    }

    /// Returns the logged messages.
    #[must_use]
    pub fn log(&self) -> Vec<(Level, String)> {
        self.state.log.borrow().clone()
    }

    /// Runs code with this host, e.g. a function that sends requests. It may do everything that an
    /// operation with the effect `write` may do.
    pub fn run<R>(&self, code: impl FnOnce() -> R) -> R {
        self.run_as(Effect::Write, code)
    }

    /// Runs code of an operation with this effect.
    pub(super) fn run_as<R>(&self, effect: Effect, code: impl FnOnce() -> R) -> R {
        let outer = self.state.effect.replace(effect);
        let entered = enter(self.state.clone());
        let result = code();
        drop(entered);
        self.state.effect.replace(outer);
        result
    }

    /// Checks that all expected requests were sent, and no others. The host then does not check it
    /// again at its end.
    ///
    /// # Errors
    /// Returns a report of the differences.
    pub fn verify(&self) -> Result<(), String> {
        self.is_verified.set(true);
        self.script.borrow().report().map_or(Ok(()), Err)
    }
}

impl Drop for Host {
    /// Fails the test if the requests differ from the script.
    fn drop(&mut self) {
        if self.is_verified.get() || std::thread::panicking() {
            return;
        }
        if let Some(report) = self.script.borrow().report() {
            panic!("{report}");
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("script", &self.script).finish_non_exhaustive()
    }
}
