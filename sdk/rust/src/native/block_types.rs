//! Interface `block-types`: the exports of a bundle, which the fake host calls directly.

use std::fmt;

pub use super::streams::Body;
pub use super::types::{Json, Problem};

/// The called block.
#[derive(Debug, Clone)]
pub struct Block {
    /// Block type.
    pub type_: String,
    /// Name.
    pub name: String,
    /// Revision.
    pub revision: u64,
    /// Resolved configuration.
    pub config: Json,
}

/// Violation of a constraint by a field of a configuration.
#[derive(Debug, Clone)]
pub struct Violation {
    /// JSON Pointer of the field.
    pub pointer: String,
    /// Description.
    pub message: String,
}

/// Output that the bundle produces in chunks.
pub struct Parts(Box<dyn GuestParts>);

impl Parts {
    /// Creates the resource from its implementation.
    pub fn new<T: GuestParts>(parts: T) -> Self {
        Self(Box::new(parts))
    }

    /// Returns the next chunk, as the host requests it.
    pub(crate) fn pull(&self) -> Result<Option<Body>, Problem> {
        self.0.next()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}

/// Output stream of a reply.
#[derive(Debug)]
pub enum Output {
    /// No output.
    None,
    /// One body.
    Body(Body),
    /// Chunks.
    Parts(Parts),
}

/// Reply of an operation.
#[derive(Debug)]
pub struct Reply {
    /// Result, as JSON.
    pub result: Json,
    /// Output stream.
    pub output: Output,
}

/// The functions of a bundle.
pub trait Guest {
    /// Implementation of the resource `parts`.
    type Parts: GuestParts;

    /// Returns the manifest.
    fn describe() -> Json;
    /// Validates constraints that JSON Schema cannot express.
    ///
    /// # Errors
    /// The configuration violates a constraint.
    fn validate(type_: String, config: Json) -> Result<(), Vec<Violation>>;
    /// Converts a configuration of an older version of its type.
    ///
    /// # Errors
    /// The conversion fails.
    fn migrate(type_: String, from_version: u32, config: Json) -> Result<Json, Problem>;
    /// Checks that the block works.
    ///
    /// # Errors
    /// The check could not run.
    fn check(block: Block) -> Result<Json, Problem>;
    /// Calls an operation.
    ///
    /// # Errors
    /// The operation fails.
    fn invoke(block: Block, operation: String, arguments: Json, input: Option<Body>) -> Result<Reply, Problem>;
}

/// The functions of the resource `parts`.
pub trait GuestParts: 'static {
    /// Returns the next chunk; `None` at the end.
    ///
    /// # Errors
    /// The chunk cannot be produced.
    fn next(&self) -> Result<Option<Body>, Problem>;
}
