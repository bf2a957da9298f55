//! HTTP server of the harness for the requests of bundles and to registries: it records what it receives and responds
//! as the test specifies. Supports HTTP/1.1 and HTTP/2, with and without TLS.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::Server;

/// Number of bytes of a request body that are recorded. Length and digest cover the complete body.
const RECORDED_BYTES: usize = 1 << 20;

/// A running server. It stops when the value is dropped.
pub struct Web {
    server: Server,
    secure: bool,
    requests: Arc<Mutex<Vec<RecordedRequest>>>,
    connections: Arc<AtomicUsize>,
}

/// A received request.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// Protocol version: `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The first mebibyte of the body.
    pub body: Vec<u8>,
    /// Length of the complete body in bytes.
    pub length: u64,
    /// sha256 of the complete body in hexadecimal digits. Not computed if the request has the
    /// header `x-unmeasured`.
    pub sha256: String,
}

/// The response that a test specifies.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The status; 0 stands for 200.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Number of bytes of [`pattern`] that follow the body.
    pub more: u64,
    /// Delay before the response is sent.
    pub after: Duration,
}

impl Answer {
    /// Returns a response with status 200 and a text.
    #[must_use]
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self { body: text.into(), ..Self::default() }
    }

    /// Returns a response with status 200 and a JSON document.
    #[must_use]
    pub fn json(value: &serde_json::Value) -> Self {
        Self::text(value.to_string()).header("content-type", "application/json")
    }

    /// Returns a response with this status and without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Returns a redirect to the URL `to`.
    #[must_use]
    pub fn redirect(status: u16, to: &str) -> Self {
        Self::status(status).header("location", to)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl RecordedRequest {
    /// Returns the value of a header, or an empty string if it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Server certificate for `localhost` and `127.0.0.1`, and the path of the CA certificate that
/// signed it.
struct Certificates {
    authority: std::path::PathBuf,
    server: Arc<rustls::ServerConfig>,
    /// The same with a certificate that has expired.
    expired: Arc<rustls::ServerConfig>,
}

static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();

impl Web {
    /// Starts a server without TLS.
    #[must_use]
    pub fn start(answer: impl Fn(&RecordedRequest) -> Answer + Send + Sync + 'static) -> Self {
        Self::run(Arc::new(answer), None)
    }

    /// Starts a server with TLS. Its certificate is signed by [`authority`](Self::authority).
    #[must_use]
    pub fn start_secure(answer: impl Fn(&RecordedRequest) -> Answer + Send + Sync + 'static) -> Self {
        Self::run(Arc::new(answer), Some(certificates().server.clone()))
    }

    /// Starts a server with TLS whose certificate has expired.
    #[must_use]
    pub fn start_expired(answer: impl Fn(&RecordedRequest) -> Answer + Send + Sync + 'static) -> Self {
        Self::run(Arc::new(answer), Some(certificates().expired.clone()))
    }

    fn run(answer: Arc<Handler>, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let secure = tls.is_some();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (recorded, counted) = (requests.clone(), connections.clone());
        let server = Server::start(move |listener| accept(listener, answer, tls, recorded, counted));
        Self { server, secure, requests, connections }
    }

    /// Returns `http://127.0.0.1:PORT` or `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.server.address())
    }

    /// Returns the server's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// Returns the requests received so far.
    ///
    /// # Panics
    /// If the server's thread panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.requests.lock().expect("nothing panics while it holds this lock").clone()
    }

    /// Returns the number of connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns the path of a PEM file with the CA certificate that verifies the servers with TLS.
    #[must_use]
    pub fn authority() -> &'static std::path::Path {
        &certificates().authority
    }
}

type Handler = dyn Fn(&RecordedRequest) -> Answer + Send + Sync;

async fn accept(
    listener: TcpListener,
    answer: Arc<Handler>,
    tls: Option<Arc<rustls::ServerConfig>>,
    requests: Arc<Mutex<Vec<RecordedRequest>>>,
    connections: Arc<AtomicUsize>,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    while let Ok((stream, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::SeqCst);
        let _ = stream.set_nodelay(true);
        let (answer, requests, acceptor) = (answer.clone(), requests.clone(), acceptor.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| respond(request, answer.clone(), requests.clone()));
            let server = auto::Builder::new(TokioExecutor::new());
            match acceptor {
                None => drop(server.serve_connection(TokioIo::new(stream), service).await),
                Some(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    drop(server.serve_connection(TokioIo::new(stream), service).await);
                }
            }
        });
    }
}

async fn respond(
    request: http::Request<Incoming>,
    answer: Arc<Handler>,
    requests: Arc<Mutex<Vec<RecordedRequest>>>,
) -> Result<http::Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut recorded = Vec::new();
    let (mut length, mut digest) = (0, Sha256::new());
    let measured = !head.headers.contains_key("x-unmeasured");
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(bytes) = frame.into_data() else { continue };
        length += bytes.len() as u64;
        if measured {
            digest.update(&bytes);
        }
        recorded.extend_from_slice(&bytes[..bytes.len().min(RECORDED_BYTES - recorded.len())]);
    }
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let request = RecordedRequest {
        version: format!("{:?}", head.version),
        method: head.method.to_string(),
        target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers,
        body: recorded,
        length,
        sha256: hex::encode(digest.finalize()),
    };
    let Answer { status, headers, body, more, after } = answer(&request);
    requests.lock().expect("nothing panics while it holds this lock").push(request);
    tokio::time::sleep(after).await;
    let mut response = http::Response::builder().status(if status == 0 { 200 } else { status });
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let body = if more == 0 {
        Full::new(body.into()).boxed()
    } else {
        response = response.header("content-length", body.len() as u64 + more);
        let frames =
            stream::iter([Bytes::from(body)]).chain(stream::iter(pattern(more))).map(|bytes| Ok(Frame::data(bytes)));
        http_body_util::BodyExt::boxed(StreamBody::new(frames))
    };
    Ok(response.body(body).expect("a valid response"))
}

/// Returns `length` bytes in chunks. The pattern repeats every 251 bytes, so lost or reordered
/// chunks change the digest.
pub fn pattern(length: u64) -> impl Iterator<Item = Bytes> {
    const CHUNK: usize = 64 << 10;
    let repeated: Vec<u8> = (0..CHUNK + 251).map(|at| u8::try_from(at % 251).expect("below 251")).collect();
    let repeated = Bytes::from(repeated);
    let mut at = 0;
    std::iter::from_fn(move || {
        let size = (length - at).min(CHUNK as u64);
        let from = usize::try_from(at % 251).expect("below 251");
        at += size;
        (size > 0).then(|| repeated.slice(from..from + usize::try_from(size).expect("a chunk")))
    })
}

fn certificates() -> &'static Certificates {
    CERTIFICATES.get_or_init(|| {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&key).expect("a certificate");
        let file = std::env::temp_dir().join(format!("blockyard-test-authority-{}.pem", std::process::id()));
        std::fs::write(&file, certificate.pem()).expect("a file");
        let issuer = Issuer::new(authority, key);
        let server = |expires: Option<i32>| {
            let key = KeyPair::generate().expect("a key");
            let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            let mut parameters = CertificateParams::new(names).expect("parameters");
            if let Some(year) = expires {
                parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
            }
            let certificate = parameters.signed_by(&key, &issuer).expect("a certificate");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut server = rustls::ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("versions of TLS")
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().expect("a key"))
                .expect("a certificate and its key");
            server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Arc::new(server)
        };
        Certificates { authority: file, server: server(None), expired: server(Some(2020)) }
    })
}
