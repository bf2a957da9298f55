//! `--otlp`: exports traces to an OpenTelemetry collector. Requires the feature `telemetry`.

use blockyard::{Error, ErrorKind};
use tokio::runtime::Runtime;

#[cfg(feature = "telemetry")]
pub(crate) use blockyard::Telemetry;

/// Starts exporting traces to the collector at a URL.
#[cfg(feature = "telemetry")]
pub(crate) fn start(collector: &str, runtime: &Runtime) -> Result<Telemetry, Error> {
    // The URL is not repeated in the error: it may contain a password.
    let collector = collector.parse().map_err(|error: blockyard::CollectorError| {
        Error::new(ErrorKind::Usage, "the value of `--otlp` is not a valid collector URL").because(error)
    })?;
    Telemetry::start(&collector, runtime.handle().clone())
        .map_err(|error| Error::new(ErrorKind::Remote, "cannot start the trace exporter").because(error))
}

/// An export of traces, which cannot exist in this program.
#[cfg(not(feature = "telemetry"))]
#[derive(Debug)]
pub(crate) enum Telemetry {}

#[cfg(not(feature = "telemetry"))]
impl Telemetry {
    pub(crate) fn layer(&self) -> tracing_subscriber::layer::Identity {
        match *self {}
    }

    pub(crate) fn finish(&self) {
        match *self {}
    }
}

/// Reports that this program cannot export traces.
#[cfg(not(feature = "telemetry"))]
pub(crate) fn start(_collector: &str, _runtime: &Runtime) -> Result<Telemetry, Error> {
    Err(Error::new(ErrorKind::Usage, "this program was built without the export of traces")
        .hint("build it with the feature `telemetry`, or omit `--otlp` and unset `BLOCKYARD_OTLP`"))
}
