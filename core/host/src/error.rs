//! Errors of loading and calling bundles.

use std::time::Duration;

use blockyard_call::Problem;
use blockyard_model::{Capability, ManifestError};

/// An error of loading or calling a bundle.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The WebAssembly engine could not be set up.
    #[error("the WebAssembly engine could not be set up: {0:#}")]
    Engine(wasmtime::Error),
    /// The bytes of an installed component could not be loaded.
    #[error(transparent)]
    Bytes(Box<dyn std::error::Error + Send + Sync>),
    /// The file is not a valid WebAssembly component.
    #[error("{0}")]
    NotAComponent(String),
    /// The component file is too large.
    #[error("the component has {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// Size of the file, in bytes.
        bytes: usize,
        /// The limit, [`blockyard_call::limits::COMPONENT_BYTES`].
        limit: usize,
    },
    /// The manifest is not valid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The component imports an interface that the host does not provide.
    #[error("the component imports `{0}`, which Blockyard does not provide")]
    UnknownImport(String),
    /// The component imports a capability that its manifest does not request.
    #[error("the component uses `{0}`, which its manifest does not request")]
    Undeclared(String),
    /// The component is valid but not a bundle: it lacks an export, exceeds a limit or does not
    /// describe itself.
    #[error("the component is not a bundle: {0}")]
    NotABundle(String),
    /// The bundle requires a capability that is not granted.
    #[error("bundle `{bundle}` needs `{}`, which is not granted", .missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("`, `"))]
    NotGranted {
        /// Name of the bundle.
        bundle: String,
        /// The capabilities that are not granted.
        missing: Vec<Capability>,
    },
    /// The bundle reported a problem.
    #[error("{}", .0.message)]
    Problem(Problem),
    /// The bundle crashed.
    #[error("bundle `{bundle}` crashed: {reason}")]
    Crash {
        /// Name of the bundle.
        bundle: String,
        /// The panic message, or the description of the trap.
        reason: String,
    },
    /// The bundle exceeded a limit.
    #[error("bundle `{bundle}` was stopped: {limit}")]
    Limit {
        /// Name of the bundle.
        bundle: String,
        /// The exceeded limit, with its value.
        limit: String,
    },
    /// The bundle violated the declared effect of the operation.
    #[error("bundle `{bundle}` was stopped: {reason}")]
    Effect {
        /// Name of the bundle.
        bundle: String,
        /// Description of the violation.
        reason: String,
    },
    /// The bundle tried to guess a secret: it sent the secret's value, or too many secrets were
    /// masked in the responses that it read.
    #[error("bundle `{bundle}` was stopped: {reason}")]
    Guessing {
        /// Name of the bundle.
        bundle: String,
        /// Description of the attempt.
        reason: String,
    },
    /// A host function panicked, which is a defect in Blockyard.
    #[error("internal error in a call of bundle `{bundle}`: {reason}")]
    Panic {
        /// Name of the bundle.
        bundle: String,
        /// The panic message.
        reason: String,
    },
    /// The deadline of the call passed. Contains the time that the call had.
    #[error("the call was stopped after {} seconds", .0.as_secs_f32())]
    Deadline(Duration),
    /// The bundle returned an invalid result.
    #[error("bundle `{bundle}` returned invalid data: {reason}")]
    BadAnswer {
        /// Name of the bundle.
        bundle: String,
        /// The reason why the result is not valid.
        reason: String,
    },
}
