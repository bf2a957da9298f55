//! What the host did for a bundle, as `tracing` spans: one per function that a bundle calls, inside
//! the span of its call. A span says which function, where to, how many bytes, how long. It never
//! has a value: no argument, no statement, no parameter, no secret.
//!
//! ```text
//! let traced = trace::host_call("http.send");
//! traced.origin(&origin);          // what was granted, once it was checked
//! …
//! traced.bytes(body.len());        // where it is known
//! ```
//!
//! The span ends when `traced` is dropped, whatever the reason.

use std::fmt::Display;
use std::time::Instant;

use tracing::{Span, field};

/// A function of a capability under way.
pub(crate) struct HostCall {
    span: Span,
    /// None where nobody looks.
    begun: Option<Instant>,
}

/// A function that reaches outside, or shows a secret: seen with `-v`.
pub(crate) fn host_call(function: &'static str) -> HostCall {
    HostCall::new(tracing::info_span!(
        "host-call",
        function,
        dialect = field::Empty,
        server = field::Empty,
        origin = field::Empty,
        bytes = field::Empty,
        elapsed_ms = field::Empty,
    ))
}

/// A function that stays within the process and may be called a million times: seen with `-vv`.
pub(crate) fn inner_call(function: &'static str) -> HostCall {
    HostCall::new(tracing::debug_span!("host-call", function, bytes = field::Empty, elapsed_ms = field::Empty))
}

/// A function failed; `code` is the kind of its problem. The message stays with the error, which is
/// searched for secrets.
pub(crate) fn failed(code: &str) {
    tracing::info!(code, "a host call failed");
}

impl HostCall {
    fn new(span: Span) -> Self {
        let begun = (!span.is_disabled()).then(Instant::now);
        Self { span, begun }
    }

    /// The kind of database.
    pub(crate) fn dialect(&self, dialect: &str) {
        self.span.record("dialect", dialect);
    }

    /// Host and port of a database, once the block's configuration was seen to name them.
    pub(crate) fn server(&self, host: &str, port: u16) {
        self.span.record("server", field::display(format_args!("{host}:{port}")));
    }

    /// Where a request goes: scheme, host and port, once they were seen to be granted.
    pub(crate) fn origin(&self, origin: impl Display) {
        self.span.record("origin", field::display(origin));
    }

    /// How many bytes came or went.
    pub(crate) fn bytes(&self, bytes: usize) {
        // OpenTelemetry has whole numbers with a sign, and makes a text of others.
        self.span.record("bytes", i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl Drop for HostCall {
    fn drop(&mut self) {
        if let Some(begun) = self.begun {
            self.span.record("elapsed_ms", begun.elapsed().as_secs_f64() * 1e3);
            match self.span.metadata().map(|metadata| *metadata.level()) {
                Some(tracing::Level::INFO) => tracing::info!(parent: &self.span, "done"),
                _ => tracing::debug!(parent: &self.span, "done"),
            }
        }
    }
}
