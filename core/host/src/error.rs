//! What can go wrong with a bundle, and with a call through it.

use std::time::Duration;

use blockyard_model::{Capability, ManifestError};

use crate::Problem;

/// Why a bundle could not be loaded or a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The engine itself could not be set up.
    #[error("the WebAssembly engine could not be set up: {0:#}")]
    Engine(wasmtime::Error),
    /// The bytes are not a component.
    #[error("{0}")]
    NotAComponent(String),
    /// The file is too large.
    #[error("the component has {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// [`crate::limits::COMPONENT_BYTES`].
        limit: usize,
    },
    /// The manifest is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It imports what the host does not have.
    #[error("the component imports `{0}`, which Blockyard does not provide")]
    UnknownImport(String),
    /// It imports a capability that its manifest does not ask for.
    #[error("the component uses `{0}`, which its manifest does not ask for")]
    Undeclared(String),
    /// It does not export what a bundle must.
    #[error("the component is not a bundle: {0}")]
    NotABundle(String),
    /// It needs a capability that was not granted.
    #[error("bundle `{bundle}` needs `{}`, which is not granted", .missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("`, `"))]
    NotGranted {
        /// The bundle.
        bundle: String,
        /// What it lacks.
        missing: Vec<Capability>,
    },
    /// The bundle says why not.
    #[error("{}", .0.message)]
    Problem(Problem),
    /// The bundle crashed.
    #[error("bundle `{bundle}` crashed: {reason}")]
    Crash {
        /// The bundle.
        bundle: String,
        /// The panic's own message, or the trap.
        reason: String,
    },
    /// The bundle used more than it may.
    #[error("bundle `{bundle}` was stopped: {limit}")]
    Limit {
        /// The bundle.
        bundle: String,
        /// Which limit, with its value.
        limit: String,
    },
    /// The bundle did what the operation's effect forbids.
    #[error("bundle `{bundle}` was stopped: {reason}")]
    Effect {
        /// The bundle.
        bundle: String,
        /// What it did.
        reason: String,
    },
    /// The bundle looked for a secret: by its own words, or by what is masked in answers.
    #[error("bundle `{bundle}` was stopped: {reason}")]
    Guessing {
        /// The bundle.
        bundle: String,
        /// What it did.
        reason: String,
    },
    /// Blockyard itself failed while it did something for the bundle.
    #[error("Blockyard failed while it worked for bundle `{bundle}`: {reason}")]
    Panic {
        /// The bundle.
        bundle: String,
        /// The panic's message.
        reason: String,
    },
    /// The call took longer than it may.
    #[error("the call was stopped after {} seconds", .0.as_secs_f32())]
    Deadline(Duration),
    /// The bundle's answer is not what its manifest promises.
    #[error("bundle `{bundle}` gave an answer that is not valid: {reason}")]
    BadAnswer {
        /// The bundle.
        bundle: String,
        /// What is wrong with it.
        reason: String,
    },
}
