//! A call as a `tracing` span: which block, which code, which operation, and at its end how it went,
//! how many bytes came out, how long it took. The host's spans of what it did for the bundle are
//! inside. There is never a value in one: no argument, no result, no secret.
//!
//! Whoever wants them installs a subscriber of `tracing`; without one, nothing is measured.

use std::time::Instant;

use blockyard_host::ByteStream;
use blockyard_model::Effect;
use futures_util::{StreamExt as _, stream};
use tracing::{Span, field};

use crate::Error;
use crate::block::Block;
use crate::call::CallReply;

/// A call under way. It ends when the last byte of its output was read.
pub(crate) struct CallTrace {
    span: Span,
    /// None where nobody looks.
    begun: Option<Instant>,
    bytes: u64,
    outcome: &'static str,
}

impl CallTrace {
    /// Begins one. The operation is one that the block's type has.
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
        // Whoever drops the call in the middle has stopped it.
        Self { begun: (!span.is_disabled()).then(Instant::now), span, bytes: 0, outcome: "stopped" }
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The call has its answer. A stream of bytes goes on until it is read.
    pub(crate) fn answered(self, outcome: Result<CallReply, Error>) -> Result<CallReply, Error> {
        match outcome {
            Ok(CallReply { output: Some((media_type, stream)), result, log, masked }) if self.begun.is_some() => {
                Ok(CallReply { output: Some((media_type, self.follow(stream))), result, log, masked })
            }
            outcome => self.ended(outcome),
        }
    }

    /// What was done has its outcome.
    pub(crate) fn ended<T>(mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        self.outcome = crate::call::word(&outcome);
        outcome
    }

    /// The same stream, whose bytes are counted.
    fn follow(mut self, stream: ByteStream) -> ByteStream {
        // A reader that knows where the end is need not ask whether it is there.
        self.outcome = "ok";
        stream::unfold((stream, self), async |(mut stream, mut trace)| {
            let piece = stream.next().await?;
            match &piece {
                Ok(bytes) => trace.bytes += bytes.len() as u64,
                Err(_) => trace.outcome = "failed",
            }
            Some((piece, (stream, trace)))
        })
        .boxed()
    }
}

/// OpenTelemetry has whole numbers with a sign, and makes a text of others.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As the manifest has it.
fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read",
        Effect::Write => "write",
        Effect::Destructive => "destructive",
    }
}

impl Drop for CallTrace {
    fn drop(&mut self) {
        if let Some(begun) = self.begun {
            self.span.record("outcome", self.outcome);
            self.span.record("bytes", signed(self.bytes));
            self.span.record("elapsed_ms", begun.elapsed().as_secs_f64() * 1e3);
            tracing::info!(parent: &self.span, "ended");
        }
    }
}
