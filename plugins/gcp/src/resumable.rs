//! Resumable uploads, as all of Google's APIs take them ("Resumable uploads", Cloud Storage; "Resumable
//! uploads", BigQuery): a session, and chunks that are each sent again from where the server stands.

use blockyard_sdk::http;
use blockyard_sdk::prelude::*;

use crate::api;
use crate::credentials::GcpCredentials;
use crate::encryption::Key;

/// Bytes of a chunk: a multiple of 256 KiB, as Google wants it, and twice its recommended least, for each
/// costs a round trip. The host holds a chunk until the server has it, and the one after it.
pub(crate) const CHUNK_BYTES: u32 = 16 << 20;
/// How often in a row a chunk gets no further.
const ATTEMPTS: u32 = 5;

/// An upload that was begun.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    credentials: &'a GcpCredentials,
    target: Target<'a>,
    key: Key<'a>,
    /// The session's own address.
    url: String,
}

/// What is uploaded, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The API's address for uploads.
    pub(crate) url: &'a str,
    pub(crate) content_type: &'a str,
    /// For messages.
    pub(crate) what: &'a str,
}

/// Where the server says it stands.
enum Standing {
    /// It has all; what it made of it.
    Done(Value),
    /// It holds so many bytes.
    Holds(u64),
    /// It did not say.
    Unknown(Problem),
}

impl<'a> Session<'a> {
    /// Begins an upload; the resource says what the bytes shall become.
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
        let answer = api::ok(answer, target.what)?;
        let url = answer.header("location").map(str::to_owned);
        let url = url.ok_or_else(|| Problem::new("failed", "Google began an upload and gave no address for it"))?;
        Ok(Self { credentials, target, key, url })
    }

    /// Sends the chunk that was taken first and all that the body still has; `seen` is told of each
    /// chunk. Gives what the server made of it.
    pub(crate) fn send(&self, first: Body, input: &Body, mut seen: impl FnMut(&Body) -> Result<()>) -> Result<Value> {
        let (mut chunk, mut at) = (first, 0);
        loop {
            seen(&chunk)?;
            let length = chunk.size().unwrap_or_default();
            let next = if length < CHUNK_BYTES.into() { empty() } else { self::chunk(input)? };
            let end = at + length;
            let total = (next.size() == Some(0)).then_some(end);
            if let Some(made) = self.send_chunk(&chunk, at, total)? {
                return Ok(made);
            }
            (at, chunk) = (end, next);
        }
    }

    /// Sends a chunk until the server has all of it. Gives what was made after the last one.
    fn send_chunk(&self, chunk: &Body, begin: u64, total: Option<u64>) -> Result<Option<Value>> {
        let end = begin + chunk.size().unwrap_or_default();
        let (mut at, mut ask) = (begin, false);
        let mut failures = 0;
        loop {
            let part = if ask || at == end { empty() } else { rest(chunk, at - begin)? };
            let nothing = part.size() == Some(0);
            let why = match self.put(part, at, total)? {
                Standing::Done(made) => return Ok(Some(made)),
                Standing::Holds(held) if held == end && total.is_none() => return Ok(None),
                Standing::Holds(held) if !(begin..=end).contains(&held) => {
                    let message =
                        format!("Google lost a part of the upload of {}; nothing was written", self.target.what);
                    return Err(Problem::new("failed", message).retryable());
                }
                Standing::Holds(held) => {
                    let further = held > at;
                    // Asked where it stands, it said so; what it lacks comes next.
                    let told = nothing && held < end;
                    (at, ask) = (held, false);
                    if further {
                        failures = 0;
                    }
                    if further || told {
                        continue;
                    }
                    Problem::new("unavailable", "the server takes no more")
                }
                Standing::Unknown(problem) => {
                    ask = true;
                    problem
                }
            };
            failures += 1;
            if failures == ATTEMPTS {
                let what = self.target.what;
                let message = format!("the upload of {what} stopped after {at} bytes, and nothing was written: {why}");
                return Err(Problem::new(why.code(), message).retryable());
            }
            api::wait(failures);
        }
    }

    /// Sends a part, or nothing to ask where the server stands.
    fn put(&self, part: Body, at: u64, total: Option<u64>) -> Result<Standing> {
        let range = content_range(at, part.size().unwrap_or_default(), total);
        let request = http::put(self.url.as_str()).header("content-type", self.target.content_type);
        let request = self.key.with(request.header("content-range", range).body(part));
        let (answer, passing) = api::judge(self.credentials.sign(request).send());
        let answer = match answer {
            Ok(answer) if passing => {
                let passed = api::ok(answer, self.target.what).err();
                return Ok(Standing::Unknown(passed.unwrap_or_else(|| Problem::new("failed", "the upload stopped"))));
            }
            Err(problem) if passing => return Ok(Standing::Unknown(problem)),
            answer => answer?,
        };
        match answer.status {
            308 => match held(answer.header("range")) {
                Some(held) => Ok(Standing::Holds(held)),
                None => Err(Problem::new("failed", "Google says where an upload stands in a way that is not known")),
            },
            404 | 410 => {
                let message = format!("the upload of {} is gone; nothing was written", self.target.what);
                Err(Problem::new("failed", message).retryable().hint("begin again"))
            }
            _ => Ok(Standing::Done(api::ok(answer, self.target.what)?.json()?)),
        }
    }
}

/// The next chunk, which can be sent again and again; shorter than [`CHUNK_BYTES`] at the end only.
pub(crate) fn chunk(input: &Body) -> Result<Body> {
    Ok(input.take(CHUNK_BYTES)?.unwrap_or_else(empty))
}

fn empty() -> Body {
    Body::from_bytes("", &[])
}

/// What a chunk has after so many bytes.
fn rest(chunk: &Body, after: u64) -> Result<Body> {
    let rest = chunk.again()?;
    if let Some(after) = u32::try_from(after).ok().filter(|after| *after > 0) {
        rest.take(after)?;
    }
    Ok(rest)
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
