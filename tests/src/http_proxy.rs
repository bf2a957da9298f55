//! HTTP proxy in front of an emulator that does not check tokens: it forwards only requests that
//! carry a known token, and injects the faults that a test requests.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::server::Server;

/// A running proxy. It stops when the value is dropped.
pub struct HttpProxy {
    server: Server,
    tokens: Arc<Mutex<HashSet<String>>>,
}

/// How the proxy handles a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Forwards the request.
    Pass,
    /// Responds with this status and JSON body instead of forwarding the request.
    Answer(u16, String),
    /// Responds with 308 and the number of stored bytes, as Cloud Storage does when a client
    /// queries the status of a resumable upload. fake-gcs-server mistakes that query for the end of
    /// the upload.
    PersistedRange(u64),
    /// Closes the connection without forwarding the request to the server.
    CutRequest,
    /// Forwards the request, and closes the connection before the client receives the response.
    CutAnswer,
    /// Closes the connection after this number of bytes of the response body.
    CutBody(usize),
}

type FaultSelector = dyn Fn(&http::request::Parts) -> Fault + Send + Sync;
type ProxyResponse = http::Response<BoxBody<Bytes, std::io::Error>>;

impl HttpProxy {
    /// Starts a proxy in front of the server on this port.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn for_server(
        port: u16,
        select_fault: impl Fn(&http::request::Parts) -> Fault + Send + Sync + 'static,
    ) -> Self {
        Self::for_servers(vec![("/", port)], select_fault)
    }

    /// Starts a proxy in front of several servers: a request goes to the first server whose path is
    /// a prefix of the request's path.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn for_servers(
        servers: Vec<(&'static str, u16)>,
        select_fault: impl Fn(&http::request::Parts) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let tokens = Arc::new(Mutex::new(HashSet::new()));
        let (known, select_fault): (_, Arc<FaultSelector>) = (tokens.clone(), Arc::new(select_fault));
        let server = Server::start(move |listener| accept(listener, servers.into(), known, select_fault));
        Self { server, tokens }
    }

    /// Returns `127.0.0.1:PORT`.
    #[must_use]
    pub fn authority(&self) -> String {
        self.server.address().to_string()
    }

    /// Returns the set of accepted tokens. The test's token server adds each token that it issues.
    #[must_use]
    pub fn tokens(&self) -> Arc<Mutex<HashSet<String>>> {
        self.tokens.clone()
    }
}

async fn accept(
    listener: TcpListener,
    servers: Arc<[(&'static str, u16)]>,
    tokens: Arc<Mutex<HashSet<String>>>,
    select_fault: Arc<FaultSelector>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (servers, tokens, select_fault) = (servers.clone(), tokens.clone(), select_fault.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                forward(request, servers.clone(), tokens.clone(), select_fault.clone())
            });
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// Handles one request. Returning an error closes the connection.
async fn forward(
    request: http::Request<Incoming>,
    servers: Arc<[(&'static str, u16)]>,
    tokens: Arc<Mutex<HashSet<String>>>,
    select_fault: Arc<FaultSelector>,
) -> Result<ProxyResponse, std::io::Error> {
    let (head, body) = request.into_parts();
    let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
    let known =
        token.is_some_and(|token| tokens.lock().expect("nothing panics while it holds this lock").contains(token));
    if !known {
        return Ok(refused(
            401,
            r#"{"error": {"code": 401, "message": "Invalid Credentials", "errors": [{"reason": "authError"}]}}"#,
        ));
    }
    let fault = select_fault(&head);
    match &fault {
        Fault::Answer(status, text) => {
            let _ = body.collect().await;
            return Ok(refused(*status, text));
        }
        Fault::PersistedRange(bytes) => {
            let mut answer = refused(308, "");
            if let Some(last) = bytes.checked_sub(1) {
                let range = format!("bytes=0-{last}").parse().map_err(std::io::Error::other)?;
                answer.headers_mut().insert("range", range);
            }
            return Ok(answer);
        }
        Fault::CutRequest => return Err(std::io::ErrorKind::ConnectionReset.into()),
        _ => {}
    }
    let server = servers.iter().find(|(path, _)| head.uri.path().starts_with(path));
    let (_, port) = server.ok_or(std::io::ErrorKind::ConnectionRefused)?;
    let connection = TcpStream::connect(("127.0.0.1", *port)).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let mut forwarded = http::Request::builder().method(head.method).uri(path);
    if let Some(headers) = forwarded.headers_mut() {
        *headers = head.headers;
    }
    let forwarded = forwarded.body(body).map_err(std::io::Error::other)?;
    let answer = sender.send_request(forwarded).await.map_err(std::io::Error::other)?;
    let (head, body) = answer.into_parts();
    let body = match fault {
        Fault::CutAnswer => {
            let _ = body.collect().await;
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        Fault::CutBody(bytes) => {
            let complete = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
            let chunks = [
                Ok(Frame::data(complete.slice(..bytes.min(complete.len())))),
                Err(std::io::ErrorKind::ConnectionReset.into()),
            ];
            // A pause before each chunk ensures that the first one is sent before the connection
            // closes.
            let slow = stream::iter(chunks).then(|chunk| async {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                chunk
            });
            http_body_util::BodyExt::boxed(StreamBody::new(Box::pin(slow)))
        }
        _ => body.map_err(std::io::Error::other).boxed(),
    };
    Ok(http::Response::from_parts(head, body))
}

fn refused(status: u16, text: &str) -> ProxyResponse {
    let body = Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}).boxed();
    http::Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(body)
        .expect("a valid response")
}
