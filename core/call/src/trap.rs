//! Errors that end a call, in addition to [`Guessing`](crate::Guessing).

use crate::problem::Fault;

/// An action of a bundle that the operation's declared effect forbids. It ends the call, because
/// the user agreed to the effect that the manifest declares.
#[derive(Debug, thiserror::Error)]
#[error("a `read` operation tried to {0}")]
pub struct EffectViolation(pub String);

/// A bundle exceeded a limit of [`limits`](crate::limits). Contains the limit with its value, as text for a
/// message.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LimitExceeded(pub String);

impl From<EffectViolation> for Fault {
    fn from(violation: EffectViolation) -> Self {
        Self::Trap(wasmtime::Error::new(violation))
    }
}
