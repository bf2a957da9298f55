//! `tracing` spans for host functions: one span per function that a bundle calls, inside the span
//! of the call. A span records the function, the destination, the number of bytes and the elapsed
//! time. It never records a value: no argument, statement, parameter or secret.
//!
//! ```text
//! let traced = trace::host_call("http.send");
//! traced.origin(&origin);          // after the check that the origin is granted
//! …
//! traced.bytes(body.len());        // if known
//! ```
//!
//! The span ends when `traced` is dropped, also on an error.

use std::fmt::Display;
use std::time::Instant;

use tracing::{Span, field};

/// The span of a running host function.
pub struct HostCall {
    span: Span,
    /// Start time; `None` if the span is disabled.
    started: Option<Instant>,
}

/// Opens the span of a function that accesses a remote service or reveals a secret. Shown with
/// `-v`.
pub fn host_call(function: &'static str) -> HostCall {
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

/// Opens the span of a function that stays within the process and may be called very often. Shown
/// with `-vv`.
pub fn inner_call(function: &'static str) -> HostCall {
    HostCall::new(tracing::debug_span!("host-call", function, bytes = field::Empty, elapsed_ms = field::Empty))
}

/// Records that a host function failed, with the `code` of its problem. The message is not
/// recorded, because secrets are masked only in the error itself.
pub fn failed(code: &str) {
    tracing::info!(code, "a host call failed");
}

impl HostCall {
    fn new(span: Span) -> Self {
        let started = (!span.is_disabled()).then(Instant::now);
        Self { span, started }
    }

    /// Records the SQL dialect, e.g. `postgres`.
    pub fn dialect(&self, dialect: &str) {
        self.span.record("dialect", dialect);
    }

    /// Records the host and port of a database server. Called after the check that the block's
    /// configuration names them.
    pub fn server(&self, host: &str, port: u16) {
        self.span.record("server", field::display(format_args!("{host}:{port}")));
    }

    /// Records the origin of a request: scheme, host and port. Called after the check that the
    /// origin is granted.
    pub fn origin(&self, origin: impl Display) {
        self.span.record("origin", field::display(origin));
    }

    /// Records the number of bytes sent or received.
    pub fn bytes(&self, bytes: usize) {
        // OpenTelemetry has signed integers only; it would record an unsigned one as a string.
        self.span.record("bytes", i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl Drop for HostCall {
    fn drop(&mut self) {
        if let Some(started) = self.started {
            self.span.record("elapsed_ms", started.elapsed().as_secs_f64() * 1e3);
            match self.span.metadata().map(|metadata| *metadata.level()) {
                Some(tracing::Level::INFO) => tracing::info!(parent: &self.span, "done"),
                _ => tracing::debug!(parent: &self.span, "done"),
            }
        }
    }
}
