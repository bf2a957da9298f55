//! Records a call as a `tracing` span.
//!
//! The span contains the block, the bundle, the operation and its effect; when it ends, also the
//! outcome, the number of output bytes and the duration. The spans of host calls are its children.
//! Spans never contain arguments, results or secrets.
//!
//! To receive the spans, install a `tracing` subscriber. Without a subscriber, nothing is measured.

use std::time::Instant;

use blockyard_host::ByteStream;
use blockyard_model::Effect;
use futures_util::{StreamExt as _, stream};
use tracing::{Span, field};

use crate::Error;
use crate::block::Block;
use crate::reply::{CallReply, word};

/// The span of a running call. It ends when the output has been read completely or dropped.
pub(crate) struct CallTrace {
    span: Span,
    /// Start time. `None` if the span is disabled.
    started: Option<Instant>,
    bytes: u64,
    outcome: &'static str,
}

impl CallTrace {
    /// Starts the span. `operation` must be an operation of the block's type.
    pub(crate) fn begin(block: &Block, operation: &str, effect: Effect) -> Self {
        let manifest = block.bundle.manifest();
        let span = tracing::info_span!(
            "call",
            block = %block.address,
            revision = signed(block.revision.number()),
            bundle = %manifest.name,
            digest = %block.bundle.digest(),
            operation,
            effect = effect_word(effect),
            outcome = field::Empty,
            bytes = field::Empty,
            elapsed_ms = field::Empty,
        );
        // This outcome remains if the call is dropped before it completes.
        Self { started: (!span.is_disabled()).then(Instant::now), span, bytes: 0, outcome: "stopped" }
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Records the outcome of the call. If the call has an output stream, the span continues until
    /// the stream ends.
    pub(crate) fn completed(self, outcome: Result<CallReply, Error>) -> Result<CallReply, Error> {
        match outcome {
            Ok(CallReply { output: Some((media_type, stream)), result, log, masked }) if self.started.is_some() => {
                Ok(CallReply { output: Some((media_type, self.follow(stream))), result, log, masked })
            }
            outcome => self.ended(outcome),
        }
    }

    /// Records the outcome and ends the span.
    pub(crate) fn ended<T>(mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        self.outcome = word(&outcome);
        outcome
    }

    /// Wraps the stream to count its bytes.
    fn follow(mut self, stream: ByteStream) -> ByteStream {
        // Set in advance, because a reader that knows the length may not poll for the end of the
        // stream.
        self.outcome = "ok";
        stream::unfold((stream, self), async |(mut stream, mut trace)| {
            let chunk = stream.next().await?;
            match &chunk {
                Ok(bytes) => trace.bytes += bytes.len() as u64,
                Err(_) => trace.outcome = "failed",
            }
            Some((chunk, (stream, trace)))
        })
        .boxed()
    }
}

/// Converts to the signed integers of OpenTelemetry, which would export unsigned ones as strings.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns the effect as it is written in the manifest.
fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read",
        Effect::Write => "write",
        Effect::Destructive => "destructive",
    }
}

impl Drop for CallTrace {
    fn drop(&mut self) {
        if let Some(started) = self.started {
            self.span.record("outcome", self.outcome);
            self.span.record("bytes", signed(self.bytes));
            self.span.record("elapsed_ms", started.elapsed().as_secs_f64() * 1e3);
            tracing::info!(parent: &self.span, "ended");
        }
    }
}
