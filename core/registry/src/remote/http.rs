//! HTTP requests with limits: the only module that opens connections.
//!
//! A server decides the status, the headers and the body, and therefore nothing that it sends is
//! unbounded: redirects are counted and stay encrypted, bodies have a maximum size, and every
//! exchange has a deadline. Credentials do not follow a redirect to another origin.

use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use blockyard_model::SecretValue;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, TRANSFER_ENCODING};
use reqwest::{Client, Method, Response, StatusCode, Version, redirect};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use url::Url;

use crate::access::RemoteTimes;
use crate::remote_error::RemoteError;
use crate::remote_url::is_loopback;

/// Maximum number of redirects of a request.
const REDIRECTS: usize = 5;
/// Maximum size of a file of CA certificates. That of a whole system has about 200 KiB.
const AUTHORITY_BYTES: u64 = 1 << 20;
/// Maximum number of characters of an error that a server sends.
const REASON_CHARACTERS: usize = 200;

/// A client for one registry.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    times: RemoteTimes,
}

/// A request. Without a body it can be sent again. It has no `Debug`, because the body may contain a
/// token.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Option<Bytes>,
    /// Maximum size of the response in bytes.
    pub(crate) limit: u64,
    /// Maximum time of the exchange.
    pub(crate) time: Duration,
}

/// A response whose body was received completely.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// URL of the response, after redirects.
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Outgoing {
    /// Returns a request of the method GET.
    pub(crate) fn get(url: Url, limit: u64, time: Duration) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), body: None, limit, time }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Incoming {
    /// Returns a header that is text.
    pub(crate) fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the error of a response whose status is not the expected one.
    pub(crate) fn unexpected(&self) -> RemoteError {
        let text = String::from_utf8_lossy(&self.body);
        let text: String = text.trim().chars().take(REASON_CHARACTERS).collect();
        let is_text = !text.is_empty() && !text.starts_with('<') && !text.contains('\u{fffd}');
        RemoteError::Status { url: self.url.to_string(), status: self.status.as_u16(), reason: is_text.then_some(text) }
    }
}

impl Http {
    /// Creates a client. `registry` is the server for which it is made; `ca` is a file of CA
    /// certificates that it accepts in addition to those of the system.
    pub(crate) fn new(registry: Option<&Url>, ca: Option<&Path>, times: RemoteTimes) -> Result<Self, RemoteError> {
        let mut client = Client::builder()
            .tls_backend_preconfigured(tls(ca)?)
            .user_agent(concat!("blockyard/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(times.connect)
            .read_timeout(times.idle);
        // A proxy would receive the unencrypted requests to this machine.
        if registry.is_some_and(is_loopback) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| RemoteError::Unreachable {
            url: registry.map(ToString::to_string).unwrap_or_default(),
            reason: described(&error),
        })?;
        Ok(Self { client, times })
    }

    /// Returns the time limits.
    pub(crate) fn times(&self) -> RemoteTimes {
        self.times
    }

    /// Sends a request and receives the response. Follows redirects of GET. The value of
    /// `Authorization` is not sent to another origin than that of the request's URL.
    pub(crate) async fn send(
        &self,
        request: &Outgoing,
        authorization: Option<&SecretValue>,
    ) -> Result<Incoming, RemoteError> {
        match tokio::time::timeout(request.time, self.exchange(request, authorization)).await {
            Ok(result) => result,
            Err(_) => Err(unreachable(&request.url, format!("no complete response within {:?}", request.time))),
        }
    }

    async fn exchange(&self, request: &Outgoing, authorization: Option<&SecretValue>) -> Result<Incoming, RemoteError> {
        let mut url = request.url.clone();
        permitted(&request.url, &url).map_err(|reason| unreachable(&url, reason.to_owned()))?;
        for _ in 0..=REDIRECTS {
            let response = self.response(request, &url, authorization).await?;
            let target = match response.headers().get(LOCATION) {
                Some(target) if response.status().is_redirection() => target,
                _ => return received(response, url, request).await,
            };
            url = redirected(request, &url, target)?;
        }
        Err(RemoteError::Redirect {
            url: request.url.to_string(),
            target: url.to_string(),
            reason: format!("more than {REDIRECTS} redirects"),
        })
    }

    async fn response(
        &self,
        request: &Outgoing,
        url: &Url,
        authorization: Option<&SecretValue>,
    ) -> Result<Response, RemoteError> {
        let mut builder = self.client.request(request.method.clone(), url.clone());
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(value) = authorization.filter(|_| url.origin() == request.url.origin()) {
            let invalid = |_| unreachable(url, "the credentials have characters that a header cannot have".to_owned());
            let mut value = HeaderValue::from_str(value.expose()).map_err(invalid)?;
            value.set_sensitive(true);
            builder = builder.header(AUTHORIZATION, value);
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        builder.send().await.map_err(|error| failed(url, &error))
    }
}

/// Receives the body of a response.
async fn received(mut response: Response, url: Url, request: &Outgoing) -> Result<Incoming, RemoteError> {
    let limit = request.limit;
    let too_large = || RemoteError::TooLarge { url: url.to_string(), limit };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let headers = response.headers();
    // A body that ends with the connection cannot be distinguished from one that was cut off.
    let is_delimited = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    let is_download = request.method == Method::GET && response.status() == StatusCode::OK;
    if response.version() < Version::HTTP_2 && is_download && !is_delimited {
        return Err(unreachable(&url, "the response has no length, so its end cannot be recognized".to_owned()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&url, &error))? {
        if body.len() as u64 + chunk.len() as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    Ok(Incoming { url, status, headers, body })
}

/// Returns the target of a redirect, if it is permitted.
fn redirected(request: &Outgoing, url: &Url, target: &HeaderValue) -> Result<Url, RemoteError> {
    let text = String::from_utf8_lossy(target.as_bytes()).into_owned();
    let refused = |reason: &str| RemoteError::Redirect {
        url: url.to_string(),
        target: text.chars().take(REASON_CHARACTERS).collect(),
        reason: reason.to_owned(),
    };
    // Sending a body again, to another server, is never needed.
    if request.method != Method::GET {
        return Err(refused("only downloads are redirected"));
    }
    let target = url.join(&text).map_err(|_| refused("it is not a URL"))?;
    permitted(&request.url, &target).map_err(refused)?;
    Ok(target)
}

/// Checks that a request to a URL is encrypted, or stays on this machine like the first one.
pub(crate) fn permitted(first: &Url, url: &Url) -> Result<(), &'static str> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL has credentials");
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if first.scheme() == "http" && is_loopback(first) && is_loopback(url) => Ok(()),
        "http" => Err("it is not encrypted"),
        _ => Err("only `https` is permitted"),
    }
}

/// Returns the configuration of TLS: the certificates of the system and those of `ca`.
fn tls(ca: Option<&Path>) -> Result<rustls::ClientConfig, RemoteError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let refused = |reason: String| RemoteError::Authority { path: path.to_owned(), reason };
        for certificate in authorities(path).map_err(refused)? {
            roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3");
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// Reads a file of CA certificates. Each of them must be valid, and there must be one.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() || metadata.len() > AUTHORITY_BYTES {
        return Err(format!("it is not a file of at most {AUTHORITY_BYTES} bytes"));
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|error| format!("it is not PEM: {error}"))?;
    if certificates.is_empty() {
        return Err("it contains no PEM-encoded certificate".to_owned());
    }
    Ok(certificates)
}

fn unreachable(url: &Url, reason: String) -> RemoteError {
    RemoteError::Unreachable { url: url.to_string(), reason }
}

/// Converts an error of a request. An error of the certificate is not one of the network.
fn failed(url: &Url, error: &reqwest::Error) -> RemoteError {
    match certificate_error(error) {
        Some(reason) => RemoteError::Certificate { url: url.to_string(), reason },
        None => unreachable(url, described(error)),
    }
}

/// Finds the error of a certificate in a chain of causes. Errors of connections are wrapped in
/// [`io::Error`], which does not list the wrapped error as its source.
fn certificate_error(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error @ rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
        return Some(error.to_string());
    }
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.and_then(|wrapped| certificate_error(wrapped)).or_else(|| error.source().and_then(certificate_error))
}

/// Returns the innermost causes of an error. The outer ones only repeat that the request failed.
fn described(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return if error.is_connect() { "no connection in time" } else { "no response in time" }.to_owned();
    }
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    causes.dedup();
    causes.retain(|cause| !cause.is_empty());
    if causes.is_empty() { error.to_string() } else { causes.split_off(causes.len().saturating_sub(2)).join(": ") }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Mutex;

    use super::*;

    /// A server that writes raw responses, which no library would write.
    struct Server {
        url: Url,
        /// Heads of the received requests.
        heads: Arc<Mutex<Vec<String>>>,
    }

    impl Server {
        fn start(respond: impl Fn(&str, &mut TcpStream) + Send + 'static) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let url = format!("http://{}/a", listener.local_addr().expect("an address"));
            let heads: Arc<Mutex<Vec<String>>> = Arc::default();
            let log = heads.clone();
            std::thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                        head.push(byte[0]);
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    log.lock().expect("no panic").push(head.clone());
                    respond(&head, &mut stream);
                }
            });
            Self { url: url.parse().expect("a URL"), heads }
        }

        /// Starts a server with one response.
        fn fixed(response: impl Into<Vec<u8>>) -> Self {
            let response = response.into();
            Self::start(move |_, stream| drop(stream.write_all(&response)))
        }

        fn heads(&self) -> Vec<String> {
            self.heads.lock().expect("no panic").clone()
        }
    }

    fn redirect(to: &str) -> String {
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }

    async fn get(url: &Url) -> Result<Incoming, RemoteError> {
        let times = RemoteTimes { idle: Duration::from_millis(300), ..RemoteTimes::default() };
        let request = Outgoing::get(url.clone(), 1_000, Duration::from_secs(3));
        let secret = SecretValue::new("Bearer hunter2".to_owned());
        Http::new(Some(url), None, times)?.send(&request, Some(&secret)).await
    }

    async fn reason(response: impl Into<Vec<u8>>) -> String {
        let server = Server::fixed(response);
        let error = get(&server.url).await.expect_err("an incomplete response");
        format!("{error}: {}", error.reason().unwrap_or_default()).replace(server.url.as_str(), "URL")
    }

    #[tokio::test]
    async fn incomplete_responses_are_errors() {
        let good = Server::fixed("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
        let response = get(&good.url).await.expect("a response");
        assert_eq!((response.status, response.body), (StatusCode::OK, b"abc".to_vec()));
        let short = reason("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nabc").await;
        assert!(short.starts_with("`URL` cannot be read: "), "{short}");
        let chunks = reason("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
        assert!(chunks.starts_with("`URL` cannot be read: "), "{chunks}");
        assert_eq!(
            reason("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc").await,
            "`URL` cannot be read: the response has no length, so its end cannot be recognized"
        );
        assert!(reason("not HTTP at all\r\n\r\n").await.starts_with("`URL` cannot be read: "));
        assert!(reason("").await.starts_with("`URL` cannot be read: "));
    }

    #[tokio::test]
    async fn large_responses_are_errors() {
        let large = "`URL` is larger than 1000 bytes, the limit for it: ";
        assert_eq!(reason("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n").await, large);
        let body = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7D1\r\n{}\r\n", "x".repeat(2_001));
        assert_eq!(reason(body).await, large);
        // An error page, too.
        assert_eq!(reason("HTTP/1.1 500 No\r\nContent-Length: 104857600\r\n\r\n").await, large);
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_an_error() {
        let hangs = Server::start(|_, _| std::thread::sleep(Duration::from_secs(30)));
        let error = get(&hangs.url).await.expect_err("no response");
        assert_eq!(error.reason().as_deref(), Some("no response in time"));
        // Each byte is in time, but the response is not.
        let slow = Server::start(|_, stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n");
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let error = get(&slow.url).await.expect_err("no complete response");
        assert_eq!(error.reason().as_deref(), Some("no complete response within 3s"));
        let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let closed: Url = format!("http://{closed}/").parse().expect("a URL");
        assert!(matches!(get(&closed).await, Err(RemoteError::Unreachable { .. })));
    }

    #[tokio::test]
    async fn credentials_do_not_follow_a_redirect_to_another_origin() {
        let other = Server::fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        let target = other.url.to_string();
        let first = Server::start(move |head, stream| {
            let to = if head.starts_with("GET /a ") { "/b" } else { &*target };
            let _ = stream.write_all(redirect(to).as_bytes());
        });
        let response = get(&first.url).await.expect("a response");
        assert_eq!((response.url, response.body), (other.url.clone(), b"ok".to_vec()));
        let sent = |heads: Vec<String>| heads.iter().filter(|head| head.contains("hunter2")).count();
        assert_eq!((sent(first.heads()), sent(other.heads()), other.heads().len()), (2, 0, 1));
    }

    #[tokio::test]
    async fn redirects_stay_encrypted_and_end() {
        for (to, expected) in [
            ("http://r.example/", "it is not encrypted"),
            ("ftp://r.example/", "only `https` is permitted"),
            ("file:///etc/passwd", "only `https` is permitted"),
            ("//user:password@127.0.0.1/", "the URL has credentials"),
            ("/again", "more than 5 redirects"),
        ] {
            let error = get(&Server::fixed(redirect(to)).url).await.expect_err(to);
            assert!(matches!(error, RemoteError::Redirect { .. }), "{to}: {error}");
            assert_eq!(error.reason().as_deref(), Some(expected), "{to}");
        }
        let (https, loopback) = ("https://r.example/", "http://127.0.0.1/");
        let permitted =
            |first: &str, to: &str| super::permitted(&first.parse().expect("a URL"), &to.parse().expect("a URL"));
        assert_eq!(permitted(https, https), Ok(()));
        assert_eq!(permitted(https, loopback), Err("it is not encrypted"));
        assert_eq!(permitted(loopback, https), Ok(()));
        assert_eq!(permitted(loopback, "http://r.example/"), Err("it is not encrypted"));
    }

    #[tokio::test]
    async fn an_upload_is_not_redirected() {
        let server = Server::fixed(redirect("/b"));
        let mut request = Outgoing::get(server.url.clone(), 1_000, Duration::from_secs(3));
        (request.method, request.body) = (Method::PUT, Some(Bytes::from_static(b"x")));
        let http = Http::new(Some(&server.url), None, RemoteTimes::default()).expect("a client");
        let error = http.send(&request, None).await.expect_err("a redirect");
        assert_eq!(error.reason().as_deref(), Some("only downloads are redirected"));
        assert_eq!(server.heads().len(), 1);
    }

    #[test]
    fn each_ca_certificate_must_be_valid() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        let refused = || {
            let error = tls(Some(&path)).expect_err("no certificate");
            assert!(matches!(error, RemoteError::Authority { .. }), "{error}");
            error.reason().unwrap_or_default()
        };
        assert!(refused().contains("No such file"));
        let good = rcgen::generate_simple_self_signed(vec!["r.example".to_owned()]).expect("a certificate").cert.pem();
        for (text, reason) in [
            (String::new(), "it contains no PEM-encoded certificate"),
            ("not PEM".to_owned(), "it contains no PEM-encoded certificate"),
            (format!("{good}-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"), "it is not PEM"),
            (
                format!("{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
                "invalid peer certificate",
            ),
        ] {
            std::fs::write(&path, text).expect("a file");
            assert!(refused().contains(reason), "{reason}: {}", refused());
        }
        std::fs::write(&path, good).expect("a file");
        tls(Some(&path)).expect("a configuration");
    }
}
