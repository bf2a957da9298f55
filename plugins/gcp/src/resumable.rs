//! Resumable uploads, which Cloud Storage and BigQuery support in the same way ("Resumable uploads"
//! in the documentation of each). A session is created, and each chunk is sent until the server has
//! acknowledged all of it, continuing at the offset that the server reports.

use std::time::Duration;

use blockyard_sdk::http;
use blockyard_sdk::prelude::*;
use blockyard_sdk::retry::{self, Backoff};

use crate::api;
use crate::credentials::GcpCredentials;
use crate::encryption::Key;

/// Chunk size in bytes. Google requires a multiple of 256 KiB and recommends at least 8 MiB; twice
/// that reduces the number of round trips. The host buffers two chunks: the current one until the
/// server has acknowledged it, and the next one.
pub(crate) const CHUNK_BYTES: u32 = 16 << 20;

/// A started upload session.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    credentials: &'a GcpCredentials,
    target: Target<'a>,
    key: Key<'a>,
    /// Session URI.
    url: String,
}

/// Destination of an upload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// Upload URL of the API.
    pub(crate) url: &'a str,
    pub(crate) content_type: &'a str,
    /// Name of the destination in error messages.
    pub(crate) subject: &'a str,
}

/// Upload state that the server reports.
enum UploadState {
    /// Complete. Contains the created resource.
    Done(Value),
    /// Number of bytes received.
    Received(u64),
    /// The request failed before the server reported a state. Contains the wait that the server
    /// requests.
    Unknown(Problem, Option<Duration>),
}

impl<'a> Session<'a> {
    /// Starts an upload session. `resource` is the metadata of the resource to create.
    pub(crate) fn begin(
        credentials: &'a GcpCredentials,
        target: Target<'a>,
        key: Key<'a>,
        resource: &impl serde::Serialize,
    ) -> Result<Self> {
        let answer = api::send(|| {
            let request = http::post(target.url).header("x-upload-content-type", target.content_type);
            credentials.sign(key.with(request.json(resource)))
        })?;
        let answer = api::ok(answer, target.subject)?;
        let url = answer.header("location").map(str::to_owned);
        let url =
            url.ok_or_else(|| Problem::new("failed", "Google started an upload without returning a session URI"))?;
        Ok(Self { credentials, target, key, url })
    }

    /// Sends `first` and the rest of `input`, calling `seen` with each chunk. Returns the created
    /// resource.
    pub(crate) fn send(&self, first: Body, input: &Body, mut seen: impl FnMut(&Body) -> Result<()>) -> Result<Value> {
        let (mut chunk, mut at) = (first, 0);
        loop {
            seen(&chunk)?;
            let length = chunk.size().unwrap_or_default();
            let next = if length < CHUNK_BYTES.into() { empty() } else { self::chunk(input)? };
            let end = at + length;
            let total = (next.size() == Some(0)).then_some(end);
            if let Some(uploaded) = self.send_chunk(&chunk, at, total)? {
                return Ok(uploaded);
            }
            (at, chunk) = (end, next);
        }
    }

    /// Sends one chunk until the server has received all of it. Returns the created resource after
    /// the last chunk.
    fn send_chunk(&self, chunk: &Body, begin: u64, total: Option<u64>) -> Result<Option<Value>> {
        let end = begin + chunk.size().unwrap_or_default();
        let (mut at, mut ask) = (begin, false);
        // Attempts since the last progress.
        let mut backoff: Option<Backoff> = None;
        loop {
            let part = if ask || at == end { empty() } else { rest(chunk, at - begin)? };
            let nothing = part.size() == Some(0);
            let (why, wait) = match self.put(part, at, total)? {
                UploadState::Done(uploaded) => return Ok(Some(uploaded)),
                UploadState::Received(received) if received == end && total.is_none() => return Ok(None),
                UploadState::Received(received) if !(begin..=end).contains(&received) => {
                    let message =
                        format!("Google lost part of the upload of {}; nothing was written", self.target.subject);
                    return Err(Problem::new("failed", message).retryable());
                }
                UploadState::Received(received) => {
                    let further = received > at;
                    // The server answered a status request; the bytes it lacks are sent next.
                    let lacks_bytes = nothing && received < end;
                    (at, ask) = (received, false);
                    if further {
                        backoff = None;
                    }
                    if further || lacks_bytes {
                        continue;
                    }
                    (Problem::new("unavailable", "the server accepted no further bytes"), None)
                }
                UploadState::Unknown(problem, wait) => {
                    ask = true;
                    (problem, wait)
                }
            };
            if !backoff.get_or_insert_with(|| api::RETRIES.start()).wait(wait) {
                let subject = self.target.subject;
                // The server may have processed the last chunk although its response was lost.
                if ask && total.is_some() {
                    let message = format!("the upload of {subject} may or may not be complete: {why}");
                    return Err(Problem::new(why.code(), message).hint(format!("check {subject} before you retry")));
                }
                let message =
                    format!("the upload of {subject} failed after {at} bytes, and nothing was written: {why}");
                return Err(Problem::new(why.code(), message).retryable());
            }
        }
    }

    /// Sends part of a chunk, or an empty body to query the state of the upload.
    fn put(&self, part: Body, at: u64, total: Option<u64>) -> Result<UploadState> {
        let range = content_range(at, part.size().unwrap_or_default(), total);
        let request = http::put(self.url.as_str()).header("content-type", self.target.content_type);
        let request = self.key.with(request.header("content-range", range).body(part));
        let (answer, transient) = api::classify(self.credentials.sign(request).send());
        let answer = match answer {
            Ok(answer) if transient => {
                let wait = retry::retry_after(&answer);
                let passed = api::ok(answer, self.target.subject).err();
                let passed = passed.unwrap_or_else(|| Problem::new("failed", "the upload failed"));
                return Ok(UploadState::Unknown(passed, wait));
            }
            Err(problem) if transient => return Ok(UploadState::Unknown(problem, None)),
            answer => answer?,
        };
        match answer.status {
            308 => match received_bytes(answer.header("range")) {
                Some(received) => Ok(UploadState::Received(received)),
                None => Err(Problem::new("failed", "Google returned the upload state in an unexpected format")),
            },
            404 | 410 => {
                let message = format!("the upload session of {} expired; nothing was written", self.target.subject);
                Err(Problem::new("failed", message).retryable().hint("retry the upload"))
            }
            _ => Ok(UploadState::Done(api::ok(answer, self.target.subject)?.json()?)),
        }
    }
}

/// Reads the next chunk, which can be sent repeatedly. Only the last one is shorter than
/// [`CHUNK_BYTES`].
pub(crate) fn chunk(input: &Body) -> Result<Body> {
    Ok(input.take(CHUNK_BYTES)?.unwrap_or_else(empty))
}

fn empty() -> Body {
    Body::from_bytes("", &[])
}

/// Returns the remainder of a chunk after the first `after` bytes.
fn rest(chunk: &Body, after: u64) -> Result<Body> {
    let rest = chunk.again()?;
    if let Some(after) = u32::try_from(after).ok().filter(|after| *after > 0) {
        rest.take(after)?;
    }
    Ok(rest)
}

/// `Content-Range` header (RFC 9110, section 14.4) of part of a chunk or of a status request.
fn content_range(at: u64, length: u64, total: Option<u64>) -> String {
    let total = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
    if length == 0 { format!("bytes */{total}") } else { format!("bytes {at}-{}/{total}", at + length - 1) }
}

/// Parses the number of bytes received from the `Range` header of a response (`bytes=0-N`). Returns
/// `None` if the header is malformed.
fn received_bytes(range: Option<&str>) -> Option<u64> {
    match range {
        None => Some(0),
        Some(range) => range.strip_prefix("bytes=0-")?.parse::<u64>().ok()?.checked_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_formatted_and_parsed() {
        assert_eq!(content_range(0, 10, None), "bytes 0-9/*");
        assert_eq!(content_range(10, 5, Some(15)), "bytes 10-14/15");
        assert_eq!(content_range(15, 0, Some(15)), "bytes */15");
        assert_eq!(content_range(0, 0, Some(0)), "bytes */0");
        assert_eq!(received_bytes(None), Some(0));
        assert_eq!(received_bytes(Some("bytes=0-41")), Some(42));
        assert_eq!(received_bytes(Some("bytes=7-41")), None);
        assert_eq!(received_bytes(Some("bytes=0-18446744073709551615")), None);
    }
}
