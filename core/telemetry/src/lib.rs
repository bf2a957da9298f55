//! Exports the spans of calls and host calls as OpenTelemetry, in batches over OTLP/HTTP, to the
//! configured collector. Spans contain what `tracing` records, which never includes arguments,
//! results or secrets.
//!
//! An unreachable collector does not slow down or fail calls: spans that cannot be sent are
//! dropped, and the failure is logged once at level `info`.

mod client;
mod collector;

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanLimits,
};
use tokio::runtime::Handle;
use tracing::{Level, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::client::{Client, SENDING};
pub use crate::collector::{Collector, CollectorError};

/// Maximum number of spans in the queue. Further spans are dropped.
const WAITING: usize = 8_192;
/// Maximum number of spans in a batch.
const AT_ONCE: usize = 512;
/// Interval at which batches are sent.
const DELAY: Duration = Duration::from_secs(2);
/// Timeout for sending the last batch at shutdown. Longer than [`SENDING`], so that a failure can
/// still be logged.
const LAST: Duration = Duration::from_millis(2_500);

/// A running export. [`finish`](Self::finish) flushes and stops it.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// The export could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TelemetryError(String);

impl Telemetry {
    /// Starts exporting to a collector. Requests run on `runtime`, which must outlive the export.
    ///
    /// # Errors
    /// Returns an error if the exporter cannot be set up. An unreachable collector is not an error.
    pub fn start(collector: &Collector, runtime: Handle) -> Result<Self, TelemetryError> {
        let client = Client::new(collector, runtime).map_err(TelemetryError)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(collector.traces())
            .with_timeout(SENDING)
            .build()
            .map_err(|error| TelemetryError(error.to_string()))?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING)
            .with_max_export_batch_size(AT_ONCE)
            .with_scheduled_delay(DELAY)
            .build();
        // Set explicitly, so that `OTEL_*` environment variables cannot override them.
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_sampler(Sampler::AlwaysOn)
            .with_span_limits(SpanLimits::default())
            .with_resource(Resource::builder_empty().with_service_name("blockyard").build())
            .build();
        Ok(Self { provider })
    }

    /// Returns a layer that passes spans to the export, for the subscriber of a program. The layer
    /// ignores spans of other crates.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let layer: OpenTelemetryLayer<S, SdkTracer> = tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("blockyard"))
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        layer.with_filter(tracing_subscriber::filter::filter_fn(|metadata| {
            metadata.is_span() && *metadata.level() <= Level::INFO && metadata.target().starts_with("blockyard")
        }))
    }

    /// Sends the remaining spans and stops the export. Blocks for 2.5 seconds at most.
    pub fn finish(&self) {
        // A failure has already been logged by the client.
        let _ = self.provider.shutdown_with_timeout(LAST);
    }
}
