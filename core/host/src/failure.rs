//! Conversion of failures of a guest: traps into [`HostError`]s, and its own problems into [`Problem`]s. A
//! panic message of the guest takes precedence over the trap's own message.

use blockyard_call::{
    EffectViolation, Guessing, LimitExceeded, Problem, Redactor, bindings::blockyard::bundle::types, cut, limits,
};
use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

use crate::error::HostError;
use crate::memory::MemoryLimiter;

/// State of a guest that trapped, from which the error is derived.
pub(crate) struct Ended<'a> {
    pub(crate) bundle: &'a str,
    pub(crate) memory: &'a MemoryLimiter,
    pub(crate) panic: Option<&'a str>,
    pub(crate) redactor: &'a Redactor,
}

impl Ended<'_> {
    pub(crate) fn by(&self, error: &wasmtime::Error) -> HostError {
        let bundle = self.bundle.to_owned();
        if let Some(limit) = self.memory.exceeded.clone().or_else(|| limit(error)) {
            return HostError::Limit { bundle, limit };
        }
        if let Some(violation) = error.downcast_ref::<EffectViolation>() {
            return HostError::Effect { bundle, reason: violation.to_string() };
        }
        if let Some(guessing) = error.downcast_ref::<Guessing>() {
            return HostError::Guessing { bundle, reason: guessing.to_string() };
        }
        let reason = match self.panic {
            Some(panic) => panic.to_owned(),
            None => cut(self.redactor.text(error.root_cause().to_string()), limits::MESSAGE_BYTES),
        };
        HostError::Crash { bundle, reason }
    }
}

/// Converts a problem that the guest returned, with secrets masked. Its strings are guest-controlled and are
/// therefore truncated, after masking, so that no part of a secret remains at the end.
pub(crate) fn guest_problem(problem: types::Problem, redactor: &Redactor) -> Problem {
    let shown = |text: String, bytes: usize| cut(redactor.text(cut(text, limits::LOG_SEARCHED_BYTES)), bytes);
    Problem {
        code: shown(problem.code, 64),
        message: shown(problem.message, limits::MESSAGE_BYTES),
        hint: problem.hint.map(|hint| shown(hint, limits::MESSAGE_BYTES)),
        retryable: problem.retryable,
        details: problem
            .details
            .filter(|details| details.len() <= limits::MESSAGE_BYTES)
            .map(|details| redactor.text(details)),
        is_from_database: false,
    }
}

/// Returns the message of the limit that caused the trap, or `None` for another cause.
fn limit(error: &wasmtime::Error) -> Option<String> {
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return Some(too_many_handles());
    }
    if let Some(exceeded) = error.downcast_ref::<LimitExceeded>() {
        return Some(exceeded.to_string());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            let milliseconds = limits::TICK.as_millis() * u128::from(limits::CPU_TICKS);
            return Some(format!("it used more than {} seconds of processor time", milliseconds / 1000));
        }
        Some(Trap::OutOfFuel) => {
            return Some(format!("it used more than {} million units of fuel", limits::PURE_FUEL / 1_000_000));
        }
        Some(Trap::StackOverflow) => {
            return Some(format!("its stack exceeds {} KiB", limits::STACK_BYTES >> 10));
        }
        _ => {}
    }
    // wasmtime has no error types for these.
    let text = error.root_cause().to_string();
    if text.contains("hostcalls has been exhausted") {
        let mebibytes = limits::HOST_CALL_BYTES >> 20;
        return Some(format!("it passed more than {mebibytes} MiB to the host in one call"));
    }
    if text.contains("store handle limit exceeded") {
        return Some(too_many_handles());
    }
    text.strip_prefix("resource limit exceeded: ").map(|which| format!("it exceeds a resource limit: {which}"))
}

fn too_many_handles() -> String {
    format!("it holds more than {} handles", limits::HANDLES)
}
