//! Conversion of traps into [`HostError`]s. A panic message of the guest takes precedence over the
//! trap's own message.

use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

use crate::problem::{Fault, cut};
use crate::redact::{Guessing, Redactor};
use crate::state::MemoryLimiter;
use crate::{HostError, limits};

/// State of a guest that trapped, from which the error is derived.
pub(crate) struct Ended<'a> {
    pub(crate) bundle: &'a str,
    pub(crate) memory: &'a MemoryLimiter,
    pub(crate) panic: Option<&'a str>,
    pub(crate) redactor: &'a Redactor,
}

/// An action of a bundle that the operation's declared effect forbids. It ends the call, because
/// the user agreed to the effect that the manifest declares.
#[derive(Debug, thiserror::Error)]
#[error("a `read` operation tried to {0}")]
pub(crate) struct EffectViolation(pub(crate) String);

impl From<EffectViolation> for Fault {
    fn from(violation: EffectViolation) -> Self {
        Self::Trap(wasmtime::Error::new(violation))
    }
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

/// Returns the message of the limit that caused the trap, or `None` for another cause.
fn limit(error: &wasmtime::Error) -> Option<String> {
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return Some(too_many_handles());
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
