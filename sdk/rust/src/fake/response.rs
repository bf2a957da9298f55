//! Scripted responses.

use std::time::Duration;

use serde_json::Value;

use crate::Problem;
use crate::bindings::Answer;

/// A response of the scripted server, or a failure in its place.
#[derive(Debug, Clone)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    chunks: Vec<Result<Vec<u8>, Problem>>,
    delay: Duration,
    failure: Option<Problem>,
}

/// Creates a response with a status code and an empty body.
#[must_use]
pub fn status(status: u16) -> Response {
    Response::new(status)
}

/// Creates a response with status 200 and a JSON body.
#[must_use]
pub fn json(body: Value) -> Response {
    Response::new(200).json(body)
}

/// Fails the request with a problem, as the host does.
#[must_use]
pub fn failure(problem: Problem) -> Response {
    Response { failure: Some(problem), ..Response::new(0) }
}

/// Fails the request as for a server that does not accept connections.
#[must_use]
pub fn unreachable() -> Response {
    failure(Problem::new("unavailable", "cannot connect: connection refused").retryable())
}

/// Lets the request time out. The time passes on the clock of the fake host.
#[must_use]
pub fn timeout() -> Response {
    Response::new(0).delay(Duration::MAX)
}

impl Response {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), chunks: Vec::new(), delay: Duration::ZERO, failure: None }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Sets a JSON body and its media type.
    #[must_use]
    pub fn json(self, body: Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Sets the media type and the body.
    #[must_use]
    pub fn body(self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.chunks(media_type, [body.into()])
    }

    /// Sets the media type, and a body that arrives in chunks: a read returns at most one of them.
    #[must_use]
    pub fn chunks<C: Into<Vec<u8>>>(self, media_type: &str, chunks: impl IntoIterator<Item = C>) -> Self {
        let mut response = self.header("content-type", media_type);
        response.chunks = chunks.into_iter().map(|chunk| Ok(chunk.into())).collect();
        response
    }

    /// Interrupts the body after its chunks.
    #[must_use]
    pub fn interrupted(mut self) -> Self {
        let problem = Problem::new("unavailable", "the response was interrupted").retryable();
        self.chunks.push(Err(problem));
        self
    }

    /// Delays the response. The time passes on the clock of the fake host; a request whose timeout
    /// is shorter fails.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Converts the response to the answer of the host.
    pub(super) fn into_answer(self) -> Result<Answer, Problem> {
        let Self { status, headers, chunks, delay, failure } = self;
        match failure {
            Some(problem) => Err(problem),
            None => {
                let chunks = chunks.into_iter().map(|chunk| chunk.map_err(Into::into)).collect();
                Ok(Answer { status, headers, chunks, delay })
            }
        }
    }
}

impl From<u16> for Response {
    fn from(status: u16) -> Self {
        Self::new(status)
    }
}

impl From<Value> for Response {
    fn from(body: Value) -> Self {
        json(body)
    }
}
