//! Spans of calls and host calls, exported as OpenTelemetry: in batches over OTLP/HTTP, to the collector
//! that the configuration names. What is in them is what `tracing` has: never a value.
//!
//! A collector that does not answer costs no call anything: what cannot be sent is dropped, and said
//! once (`-v` shows it).

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

use crate::client::Client;
pub use crate::collector::{Collector, CollectorError};

/// Spans that wait to be sent; further ones are dropped.
const WAITING: usize = 8_192;
/// Spans that are sent at once.
const AT_ONCE: usize = 512;
/// How long spans wait for company.
const DELAY: Duration = Duration::from_secs(2);
/// How long sending a batch may take.
const SENDING: Duration = Duration::from_secs(2);
/// How long a process waits at its end for the last batch, and for what is said where it fails.
const LAST: Duration = Duration::from_millis(2_500);

/// A running export. It ends with [`finish`](Self::finish).
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// Why an export did not start.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TelemetryError(String);

impl Telemetry {
    /// Begins to export to a collector. Requests run on the given runtime, which must outlive this.
    ///
    /// # Errors
    /// The exporter cannot be set up. That the collector does not answer is no error.
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
        // Each of these is said, so that no variable of the environment says otherwise.
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_sampler(Sampler::AlwaysOn)
            .with_span_limits(SpanLimits::default())
            .with_resource(Resource::builder_empty().with_service_name("blockyard").build())
            .build();
        Ok(Self { provider })
    }

    /// What hands spans to the export: a layer for a program's own subscriber. It takes the spans of
    /// Blockyard, and no others.
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

    /// Sends what is left. Waits for two and a half seconds at the most.
    pub fn finish(&self) {
        // What went wrong was said when it did.
        let _ = self.provider.shutdown_with_timeout(LAST);
    }
}
