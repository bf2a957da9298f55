//! Replies of operations in tests.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::host::Host;
use crate::bindings::exports::blockyard::bundle::block_types::Output;
use crate::bindings::{Effect, Table};
use crate::{Body, Problem, Result};

/// Reply of an operation: the result, and the output stream.
pub struct Reply<'host> {
    host: &'host Host,
    effect: Effect,
    result: Value,
    output: Output,
}

impl<'host> Reply<'host> {
    pub(super) fn new(host: &'host Host, effect: Effect, result: Value, output: Output) -> Self {
        Self { host, effect, result, output }
    }

    /// Returns the result as JSON.
    #[must_use]
    pub fn result(&self) -> &Value {
        &self.result
    }

    /// Deserializes the result.
    ///
    /// # Errors
    /// The result does not match the type.
    pub fn read<R: DeserializeOwned>(&self) -> Result<R> {
        R::deserialize(&self.result).map_err(|error| Problem::new("failed", format!("the result: {error}")))
    }

    /// Checks whether the reply has an output stream.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !matches!(self.output, Output::None)
    }

    /// Returns the media type of the output, unless it is produced in chunks.
    #[must_use]
    pub fn media_type(&self) -> Option<String> {
        match &self.output {
            Output::Body(body) => Some(body.media_type()),
            Output::None | Output::Parts(_) => None,
        }
    }

    /// Reads the rest of the output, as the host does for the caller. Chunks are produced while it
    /// is read.
    ///
    /// # Errors
    /// The output is interrupted.
    ///
    /// # Panics
    /// Panics if the operation violates its effect, for which the host ends the call.
    pub fn output(&self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next()? {
            all.extend(chunk);
        }
        Ok(all)
    }

    /// Reads the next chunk of the output, or `None` at the end.
    ///
    /// # Errors
    /// The output is interrupted.
    ///
    /// # Panics
    /// Panics if the operation violates its effect, for which the host ends the call.
    pub fn next(&self) -> Result<Option<Vec<u8>>> {
        let drained = |body: &Body| -> Result<Option<Vec<u8>>> {
            let bytes = body.drain()?;
            Ok((!bytes.is_empty()).then_some(bytes))
        };
        match &self.output {
            Output::None => Ok(None),
            Output::Body(body) => drained(body),
            Output::Parts(parts) => loop {
                let Some(body) = self.host.run_as(self.effect.clone(), || parts.pull())? else { return Ok(None) };
                if let Some(bytes) = drained(&body)? {
                    return Ok(Some(bytes));
                }
            },
        }
    }

    /// Returns the rows that the block passes on with `Rows::into_arrow`, or `None` for any other
    /// output.
    #[must_use]
    pub fn rows(&self) -> Option<Table> {
        match &self.output {
            Output::Body(body) => body.as_table(),
            Output::None | Output::Parts(_) => None,
        }
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("result", &self.result).field("output", &self.output).finish_non_exhaustive()
    }
}
