//! Uploads: one request where the bytes are few, and otherwise a resumable session ("Resumable
//! uploads", Cloud Storage): chunks, each sent again from where the server stands. What was stored is
//! compared with what was read by its CRC32C.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_sdk::http::{self, Response};
use blockyard_sdk::prelude::*;

use crate::api;
use crate::bucket::GcsBucket;
use crate::checksum::CRC32C;

/// Bytes of a chunk: a multiple of 256 KiB, as Cloud Storage wants it, and its recommended least.
/// A chunk is in memory until the server has it.
const CHUNK_BYTES: usize = 8 << 20;
/// Bytes that are read at once.
const READ_BYTES: u32 = 1 << 20;
/// How often in a row a chunk gets no further.
const ATTEMPTS: u32 = 5;

/// What an object shall be.
#[derive(Debug)]
pub(crate) struct Upload<'a> {
    pub(crate) bucket: &'a GcsBucket,
    /// Its name in the bucket.
    pub(crate) name: String,
    pub(crate) content_type: String,
    /// The resource's other fields.
    pub(crate) resource: Map<String, Value>,
    /// Only where there is no object of that name.
    pub(crate) if_absent: bool,
}

impl Upload<'_> {
    /// Sends all that the body has; gives the object's resource.
    pub(crate) fn send(&self, input: &Body) -> Result<Value> {
        let mut chunk = fill(input)?;
        let mut digest = CRC32C.digest();
        digest.update(&chunk);
        let stored = if chunk.len() < CHUNK_BYTES && self.resource.is_empty() {
            self.send_at_once(&chunk)?
        } else {
            let session = self.begin()?;
            let mut at = 0;
            loop {
                let next = if chunk.len() < CHUNK_BYTES { Vec::new() } else { fill(input)? };
                let end = at + chunk.len() as u64;
                let total = next.is_empty().then_some(end);
                if let Some(stored) = self.send_chunk(&session, &chunk, at, total)? {
                    break stored;
                }
                digest.update(&next);
                (at, chunk) = (end, next);
            }
        };
        self.compare(&stored, digest.finalize())?;
        Ok(stored)
    }

    fn what(&self) -> String {
        format!("object `{}` of bucket `{}`", self.name, self.bucket.bucket)
    }

    fn url(&self, kind: &str) -> Result<String> {
        let base = self.bucket.credentials()?.base("storage");
        let mut url = format!(
            "{base}/upload/storage/v1/b/{}/o?uploadType={kind}&name={}",
            http::percent_encode(&self.bucket.bucket),
            http::percent_encode(&self.name)
        );
        if self.if_absent {
            url.push_str("&ifGenerationMatch=0");
        }
        Ok(url)
    }

    fn send_at_once(&self, bytes: &[u8]) -> Result<Value> {
        let url = self.url("media")?;
        let credentials = self.bucket.credentials()?;
        let (answer, sent) = api::send_counting(|| {
            let request = http::post(url.as_str()).header("content-type", &self.content_type);
            credentials.sign(request.body(Body::from_bytes(&self.content_type, bytes)))
        })?;
        if sent > 1 && self.if_absent && answer.status == 412 {
            return api::ok(answer, &self.what())
                .map_err(|problem| problem.hint("an answer was lost: what is there may be what this call wrote"))?
                .json();
        }
        api::ok(answer, &self.what())?.json()
    }

    /// Opens a session; gives its address.
    fn begin(&self) -> Result<String> {
        let url = self.url("resumable")?;
        let credentials = self.bucket.credentials()?;
        let mut resource = self.resource.clone();
        resource.insert("contentType".to_owned(), self.content_type.as_str().into());
        let answer = api::send(|| {
            let request = http::post(url.as_str()).header("x-upload-content-type", &self.content_type);
            credentials.sign(request.json(&resource))
        })?;
        let answer = api::ok(answer, &self.what())?;
        let session = answer.header("location").map(str::to_owned);
        session.ok_or_else(|| Problem::new("failed", "Cloud Storage opened an upload and gave no address for it"))
    }

    /// Sends a chunk until the server has all of it. Gives the object's resource after the last one.
    fn send_chunk(&self, session: &str, chunk: &[u8], begin: u64, total: Option<u64>) -> Result<Option<Value>> {
        let end = begin + chunk.len() as u64;
        let mut at = begin;
        let mut attempt = 0;
        let mut ask = false;
        loop {
            let part = if ask { &[] } else { &chunk[usize::try_from(at - begin).unwrap_or(chunk.len())..] };
            let answer = self.put(session, part, content_range(at, part.len() as u64, total));
            if !api::is_passing(&answer) {
                let answer = answer?;
                let held = match answer.status {
                    308 => held(answer.header("range")),
                    404 | 410 => {
                        return Err(Problem::new(
                            "failed",
                            format!("the upload of {} is gone; nothing was written", self.what()),
                        )
                        .retryable()
                        .hint("begin again"));
                    }
                    _ => return Ok(Some(api::ok(answer, &self.what())?.json()?)),
                };
                if held == Some(end) && total.is_none() {
                    return Ok(None);
                }
                let held = held.filter(|held| (begin..=end).contains(held)).ok_or_else(|| {
                    Problem::new(
                        "failed",
                        format!("Cloud Storage lost a part of the upload of {}; nothing was written", self.what()),
                    )
                    .retryable()
                })?;
                let further = held > at;
                (at, ask) = (held, false);
                if further {
                    attempt = 0;
                    continue;
                }
                // Asked where it stands, it said so; what it lacks comes next.
                if part.is_empty() && at < end {
                    continue;
                }
            } else if attempt + 1 == ATTEMPTS {
                let passing = answer.and_then(|answer| api::ok(answer, &self.what()));
                return Err(match passing {
                    Err(problem) => Problem::new(
                        problem.code(),
                        format!(
                            "the upload of {} stopped after {at} bytes, and nothing was written: {problem}",
                            self.what()
                        ),
                    )
                    .retryable(),
                    Ok(_) => Problem::new("failed", "the upload stopped"),
                });
            } else {
                ask = true;
            }
            attempt += 1;
            if attempt == ATTEMPTS {
                return Err(Problem::new(
                    "unavailable",
                    format!("the upload of {} gets no further than {at} bytes; nothing was written", self.what()),
                )
                .retryable());
            }
            api::wait(attempt);
        }
    }

    fn put(&self, session: &str, part: &[u8], range: String) -> Result<Response> {
        let request =
            http::put(session).header("content-range", range).body(Body::from_bytes(&self.content_type, part));
        self.bucket.credentials()?.sign(request).send()
    }

    /// Whether the server has what was read. What it should not have, it does not keep.
    fn compare(&self, stored: &Value, read: u32) -> Result<()> {
        let read = STANDARD.encode(read.to_be_bytes());
        let there = stored["crc32c"].as_str().unwrap_or_default();
        if there == read {
            return Ok(());
        }
        let generation = stored["generation"].as_str().unwrap_or_default();
        let removed = self.bucket.remove(&self.name, Some(generation));
        let left = if removed.is_ok() { "it was removed" } else { "it is still there" };
        Err(Problem::new(
            "failed",
            format!("{} is not what was sent (CRC32C `{there}`, not `{read}`); {left}", self.what()),
        )
        .retryable())
    }
}

/// The next chunk; shorter than [`CHUNK_BYTES`] at the end only.
fn fill(input: &Body) -> Result<Vec<u8>> {
    let mut chunk = Vec::new();
    while chunk.len() < CHUNK_BYTES {
        let wanted = READ_BYTES.min(u32::try_from(CHUNK_BYTES - chunk.len()).unwrap_or(READ_BYTES));
        match input.read(wanted)? {
            Some(bytes) => chunk.extend(bytes),
            None => break,
        }
    }
    Ok(chunk)
}

/// `Content-Range` (RFC 9110, section 14.4) of a part, or of the question where the server stands.
fn content_range(at: u64, length: u64, total: Option<u64>) -> String {
    let total = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
    if length == 0 { format!("bytes */{total}") } else { format!("bytes {at}-{}/{total}", at + length - 1) }
}

/// How many bytes the server holds, from the `Range` of its answer (`bytes=0-N`); none where it is
/// something else.
fn held(range: Option<&str>) -> Option<u64> {
    match range {
        None => Some(0),
        Some(range) => range.strip_prefix("bytes=0-")?.parse::<u64>().ok()?.checked_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_and_read() {
        assert_eq!(content_range(0, 10, None), "bytes 0-9/*");
        assert_eq!(content_range(10, 5, Some(15)), "bytes 10-14/15");
        assert_eq!(content_range(15, 0, Some(15)), "bytes */15");
        assert_eq!(content_range(0, 0, Some(0)), "bytes */0");
        assert_eq!(held(None), Some(0));
        assert_eq!(held(Some("bytes=0-41")), Some(42));
        assert_eq!(held(Some("bytes=7-41")), None);
        assert_eq!(held(Some("bytes=0-18446744073709551615")), None);
    }
}
