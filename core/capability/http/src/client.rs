//! The HTTP client: HTTP/1.1 and HTTP/2 over vetted connections, with TLS that trusts the system's
//! root certificates. It does not follow redirects, decompress, or read proxy settings from the
//! environment: bytes go to the server that the URL names, and come back unchanged.

use std::collections::HashMap;
use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};

use blockyard_call::{ByteStream, Problem, limits};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ipnet::IpNet;
use serde_json::json;

use super::connector::{CheckedConnector, ConnectError, Resolve, system_resolver};

/// `User-Agent` header of requests for which the bundle sets none.
pub(super) const USER_AGENT: &str = concat!("blockyard/", env!("CARGO_PKG_VERSION"));

/// The HTTP client of a sandbox. It has one connection pool per set of permitted networks, so that
/// a connection opened under one grant is not reused by a call without that grant.
pub(super) struct HttpClient {
    clients: Mutex<HashMap<Vec<IpNet>, Pool>>,
    tls: OnceLock<rustls::ClientConfig>,
    resolve: Resolve,
    is_isolated: bool,
}

/// Connections that were vetted against the same networks.
type Pool = Client<HttpsConnector<CheckedConnector>, Upload>;

/// The body of a request.
pub(crate) struct Upload {
    stream: Option<ByteStream>,
    left: Option<u64>,
}

/// A failure of the stream that supplies the request body. It passes through the HTTP client as an
/// error source, and `problem` extracts it again.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
struct SourceFailed(Problem);

impl Default for HttpClient {
    fn default() -> Self {
        Self { clients: Mutex::default(), tls: OnceLock::new(), resolve: system_resolver(), is_isolated: false }
    }
}

impl HttpClient {
    /// Creates a client that makes no connection. Each request fails with a problem.
    pub(super) fn isolated() -> Self {
        Self { is_isolated: true, ..Self::default() }
    }

    /// Sends one request, and waits for the status and headers of the response.
    pub(super) async fn send(
        &self,
        request: http::Request<Upload>,
        networks: Vec<IpNet>,
    ) -> Result<http::Response<Incoming>, Problem> {
        let client = self.client(networks);
        client.request(request).await.map_err(|error| problem(&error))
    }

    fn client(&self, networks: Vec<IpNet>) -> Pool {
        let mut clients = self.clients.lock().expect("nothing panics while it holds this lock");
        if let Some(client) = clients.get(&networks) {
            return client.clone();
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.get_or_init(tls).clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(CheckedConnector {
                networks: networks.clone().into(),
                resolve: self.resolve.clone(),
                is_isolated: self.is_isolated,
            });
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits::IDLE_TIME)
            .pool_max_idle_per_host(limits::IDLE_CONNECTIONS)
            .http1_max_headers(limits::HTTP_HEADERS)
            .http2_max_header_list_size(u32::try_from(limits::HTTP_HEADER_BYTES).unwrap_or(u32::MAX))
            .http2_adaptive_window(true)
            .build(connector);
        clients.insert(networks, client.clone());
        client
    }
}

/// Returns the TLS configuration: versions 1.2 and 1.3, with the system's root certificates.
fn tls() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    // Certificates that cannot be parsed are skipped, so that the others remain usable.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the versions of TLS that it is built with")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

impl Upload {
    pub(super) fn none() -> Self {
        Self { stream: None, left: Some(0) }
    }

    pub(super) fn bytes(bytes: Bytes) -> Self {
        Self { left: Some(bytes.len() as u64), stream: Some(stream::iter([Ok(bytes)]).boxed()) }
    }

    /// Returns the number of bytes left to send, if it is known.
    pub(super) fn size(&self) -> Option<u64> {
        self.left
    }

    /// Creates an upload from a stream. Without a size, it is sent without a `Content-Length`
    /// header.
    pub(crate) fn stream(stream: ByteStream, size: Option<u64>) -> Self {
        Self { stream: Some(stream), left: size }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let next = match stream.poll_next_unpin(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(next) => next,
        };
        Poll::Ready(match next {
            None => {
                self.stream = None;
                None
            }
            Some(Err(problem)) => {
                self.stream = None;
                Some(Err(Box::new(SourceFailed(problem))))
            }
            Some(Ok(bytes)) => {
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(bytes.len() as u64);
                }
                Some(Ok(Frame::data(bytes)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_none() || self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// Returns a response body as a stream of chunks. The stream fails if the body is shorter than
/// announced, or if the server sends nothing for [`limits::HTTP_IDLE_TIME`].
pub(super) fn download(body: Incoming) -> ByteStream {
    stream::unfold(Some(body), async |body| {
        let mut body = body?;
        loop {
            let next = match tokio::time::timeout(limits::HTTP_IDLE_TIME, body.frame()).await {
                Err(_) => Err(Problem::new(
                    "timeout",
                    format!("the server sent nothing for {} seconds", limits::HTTP_IDLE_TIME.as_secs()),
                )
                .retryable()),
                Ok(None) => return None,
                Ok(Some(Err(error))) => {
                    Err(Problem::new("unavailable", format!("the response was interrupted: {}", chain(&error)))
                        .retryable())
                }
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => Ok(bytes),
                    // Trailers are skipped.
                    Err(_) => continue,
                },
            };
            return Some(match next {
                Ok(bytes) => (Ok(bytes), Some(body)),
                Err(problem) => (Err(problem), None),
            });
        }
    })
    .boxed()
}

/// Converts the error of a failed request to a problem, by the first known cause in its chain of
/// sources.
fn problem(error: &(dyn Error + 'static)) -> Problem {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(SourceFailed(problem)) = current.downcast_ref() {
            return problem.clone();
        }
        if let Some(connect) = current.downcast_ref::<ConnectError>() {
            return connect_problem(connect);
        }
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return Problem::new("unavailable", format!("TLS: {tls}")).details(&json!({ "step": "tls" }));
        }
        // An I/O error returns a TLS error from `get_ref`, not from `source`.
        let inner = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => current.source(),
        };
    }
    Problem::new("unavailable", format!("no valid response from the server: {}", chain(error))).retryable()
}

fn connect_problem(error: &ConnectError) -> Problem {
    let problem = match error {
        ConnectError::NotPublic { .. } => Problem::new("not-granted", error.to_string()),
        ConnectError::Unresolved { .. } | ConnectError::Isolated { .. } => {
            Problem::new("unavailable", error.to_string())
        }
        ConnectError::Unreachable { .. } => Problem::new("unavailable", error.to_string()).retryable(),
        ConnectError::Late { .. } => Problem::new("timeout", error.to_string()).retryable(),
    };
    let step = match error {
        ConnectError::Unresolved { .. } => "resolve",
        ConnectError::NotPublic { .. } => "authorise",
        ConnectError::Unreachable { .. } | ConnectError::Isolated { .. } | ConnectError::Late { .. } => "connect",
    };
    match error {
        ConnectError::NotPublic { address, .. } => problem.details(&json!({ "step": step, "address": address })),
        _ => problem.details(&json!({ "step": step })),
    }
}

/// Formats an error and its causes as one message.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        let next = current.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = current.source();
    }
    text
}
