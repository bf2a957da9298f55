//! HTTP client of the span exporter: hyper on the program's Tokio runtime. The OpenTelemetry
//! library sends batches from a separate thread that has no runtime.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;

use crate::collector::Collector;

/// Timeout for sending a batch.
pub(crate) const SENDING: Duration = Duration::from_secs(2);

pub(crate) struct Client {
    http: Arc<dyn HttpClient>,
    runtime: Handle,
    collector: String,
    /// Set when an export failure has been logged, so that it is logged once only.
    is_reported: AtomicBool,
}

impl Client {
    pub(crate) fn new(collector: &Collector, runtime: Handle) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        if collector.is_encrypted() {
            // Skipped for `http`, because loading the system's certificates takes milliseconds.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Ok(Self {
            http: Arc::new(HyperClient::new(connector, SENDING, None)),
            runtime,
            collector: collector.to_string(),
            is_reported: AtomicBool::new(false),
        })
    }

    fn report(&self, reason: &dyn fmt::Display) {
        if !self.is_reported.swap(true, Ordering::Relaxed) {
            tracing::info!(collector = self.collector, %reason, "traces cannot be exported, and are dropped");
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sent = self.runtime.spawn(async move { http.send_bytes(request).await }).await;
        match sent.map_err(HttpError::from).flatten() {
            Ok(response) => {
                if !response.status().is_success() {
                    self.report(&response.status());
                }
                Ok(response)
            }
            Err(error) => {
                self.report(&causes(&*error));
                Err(error)
            }
        }
    }
}

/// Formats an error with its chain of causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.collector)
    }
}
