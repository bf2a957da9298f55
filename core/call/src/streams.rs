//! `streams`: byte streams that the host holds and the guest passes on by handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blockyard_model::{Pointer, RequestUrl};
use bytes::Bytes;
use futures_util::StreamExt as _;
use wasmtime::component::{HasSelf, Linker, Resource};

use crate::bindings::blockyard::bundle::streams::{self, Host, HostBody};
use crate::context::CallContext;
use crate::output::{ByteStream, Input};
use crate::problem::{Fault, Problem};
use crate::redact::{OnFind, Redactor, Watch, holds_a_secret, unreadable};
use crate::{limits, trace};

/// Resource `body`: bytes that the host holds, in memory or as a stream.
pub struct Body {
    media_type: String,
    size: Option<u64>,
    /// Number of bytes that count toward the guest's memory. The count is shared by all bodies with
    /// the same bytes, and released with the last of them.
    held: Option<Arc<usize>>,
    source: Source,
    producer: Producer,
}

/// Source of a body's bytes. It determines whether they are searched for secrets.
#[derive(Clone)]
enum Producer {
    /// The guest wrote the bytes.
    Guest,
    /// The caller.
    Caller,
    /// A database, or a server that receives no secrets of the block. The guest may have stored the bytes
    /// there.
    Other,
    /// A server that receives secrets of the block.
    Server(Echo),
}

/// State of a response from a server that may echo secrets. It stays attached to the bytes when
/// they are taken from the body, and when they are sent in another request.
#[derive(Clone)]
pub struct Echo {
    /// Secrets that the host sends to this server.
    pub(crate) secrets: Vec<Pointer>,
    /// Whether the bytes can be searched: they are neither compressed nor a partial response.
    pub(crate) readable: bool,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) watch: Arc<Watch>,
    /// Whether the guest has started to read.
    is_read: bool,
    /// Whether a secret was found in the bytes.
    found: Arc<AtomicBool>,
}

enum Source {
    /// In memory, created by `from-bytes` or `take`. `at` is the number of bytes already read.
    Bytes { all: Bytes, at: usize },
    /// A stream. `rest` holds bytes that were received from the stream and not yet read.
    Stream { stream: ByteStream, rest: Bytes },
}

impl Echo {
    /// Creates the state of a response that the guest has not read.
    #[must_use]
    pub fn new(secrets: Vec<Pointer>, readable: bool, redactor: Arc<Redactor>, watch: Arc<Watch>) -> Self {
        Self { secrets, readable, redactor, watch, is_read: false, found: Arc::default() }
    }

    /// Returns the stream with its bytes searched for secrets.
    fn searched(&self, stream: ByteStream, on_find: OnFind) -> ByteStream {
        self.redactor.clone().stream(stream, on_find, self.found.clone(), self.watch.clone())
    }
}

impl Body {
    /// Creates a body of unknown size whose bytes are those of a database.
    #[must_use]
    pub fn stream(media_type: &str, stream: ByteStream) -> Self {
        Self {
            media_type: media_type.to_owned(),
            size: None,
            held: None,
            // A guest may read again after the end of the stream.
            source: Source::Stream { stream: stream.fuse().boxed(), rest: Bytes::new() },
            producer: Producer::Other,
        }
    }

    /// Creates the body of an HTTP response. `echo` is set if the server may echo secrets.
    #[must_use]
    pub fn response(media_type: &str, size: Option<u64>, stream: ByteStream, echo: Option<Echo>) -> Self {
        Self { size, producer: echo.map_or(Producer::Other, Producer::Server), ..Self::stream(media_type, stream) }
    }

    fn bytes(media_type: String, bytes: Bytes, held: Option<Arc<usize>>, producer: Producer) -> Self {
        let size = Some(bytes.len() as u64);
        Self { media_type, size, held, source: Source::Bytes { all: bytes, at: 0 }, producer }
    }

    /// Creates the body of the caller's input.
    #[must_use]
    pub fn input(input: Input) -> Self {
        Self { size: input.size, producer: Producer::Caller, ..Self::stream(&input.media_type, input.stream) }
    }

    /// Returns the media type (RFC 6838).
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Returns the unread bytes as a stream.
    #[must_use]
    pub fn into_stream(self) -> ByteStream {
        let stream = match self.source {
            Source::Bytes { all, at } => futures_util::stream::iter([Ok(all.slice(at..))]).boxed(),
            Source::Stream { stream, rest } => futures_util::stream::iter([Ok(rest)]).chain(stream).boxed(),
        };
        match self.producer {
            // The guest has started to read, so secrets in the rest are masked. Masked bytes differ
            // from the original, so the stream fails if a secret was found.
            Producer::Server(echo) if echo.is_read => {
                let fail_if_found =
                    move |chunk| if echo.found.load(Ordering::Relaxed) { Err(holds_a_secret()) } else { chunk };
                stream.map(fail_if_found).boxed()
            }
            _ => stream,
        }
    }

    /// Prepares the body for reading by the guest: secrets in a response are masked from here on.
    /// Fails if the bytes cannot be searched.
    fn guarded(&mut self) -> Result<(), Problem> {
        let Producer::Server(echo) = &mut self.producer else { return Ok(()) };
        if !echo.readable {
            return Err(unreadable());
        }
        if let Source::Stream { stream, .. } = &mut self.source
            && !std::mem::replace(&mut echo.is_read, true)
        {
            let source = std::mem::replace(stream, futures_util::stream::empty().boxed());
            *stream = echo.searched(source, OnFind::Mask).fuse().boxed();
        }
        Ok(())
    }

    /// Checks whether a secret was masked in the bytes read so far.
    fn is_masked(&self) -> bool {
        matches!(&self.producer, Producer::Server(echo) if echo.found.load(Ordering::Relaxed))
    }

    /// Reads up to `max` bytes, for a body that the guest sends on. Fails if a secret was found in
    /// them, because masked bytes differ from the original.
    async fn take(&mut self, max: usize) -> Result<Vec<u8>, Problem> {
        self.guarded()?;
        let expected = self.size.and_then(|size| usize::try_from(size).ok()).map_or(0, |size| size.min(max));
        let mut taken = Vec::with_capacity(expected);
        while taken.len() < max {
            match self.read(max - taken.len()).await? {
                Some(chunk) => taken.extend_from_slice(&chunk),
                None => break,
            }
        }
        if self.is_masked() {
            return Err(holds_a_secret());
        }
        taken.shrink_to_fit();
        Ok(taken)
    }

    async fn read(&mut self, max: usize) -> Result<Option<Bytes>, Problem> {
        let chunk = match &mut self.source {
            Source::Bytes { all, at } => {
                let end = (*at + max).min(all.len());
                let chunk = all.slice(*at..end);
                *at = end;
                chunk
            }
            Source::Stream { stream, rest } => {
                while rest.is_empty() {
                    match stream.next().await {
                        Some(next) => *rest = next?,
                        None => return Ok(None),
                    }
                }
                rest.split_to(max.min(rest.len()))
            }
        };
        if let Some(size) = &mut self.size {
            *size = size.saturating_sub(chunk.len() as u64);
        }
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }
}

impl CallContext {
    /// Takes a body from the guest, to send it in a request to `url`. Returns its stream, and its size if known.
    ///
    /// A response that may contain secrets is sent unchanged if the server may receive all of them.
    /// For any other server it is searched, and the upload fails before the first secret; a
    /// response that cannot be searched is refused.
    ///
    /// Bytes of a database or of another server are searched for a server that may echo secrets: the
    /// guest may have stored guesses there, and the mask of their echo would confirm one. The same secrets
    /// are permitted as in text of the guest, see [`check_for_secrets`](Self::check_for_secrets). The
    /// caller's bytes are sent as they are.
    ///
    /// # Errors
    /// Returns the problem of a body that must not be sent, or a trap if the guest wrote a secret into it.
    pub fn take_body(&mut self, body: Resource<Body>, url: &RequestUrl) -> Result<(ByteStream, Option<u64>), Fault> {
        let mut body = self.table.delete(body)?;
        self.release(body.held.take());
        let size = body.size;
        match &body.producer {
            Producer::Guest if !self.may_echo(&url.origin).is_empty() => {
                if let Source::Bytes { all, at } = &body.source {
                    let words = all.slice(*at..);
                    self.check_for_secrets([&words[..]])?;
                }
                Ok((body.into_stream(), size))
            }
            Producer::Server(echo) if !self.is_audience_of(&echo.secrets, &url.origin) => {
                let echo = echo.clone();
                if !echo.readable {
                    return Err(unreadable().into());
                }
                Ok((echo.searched(body.into_stream(), OnFind::Refuse), size))
            }
            Producer::Other if !self.may_echo(&url.origin).is_empty() => {
                let (redactor, watch) = (self.guest_redactor(), self.watch.clone());
                let searched = redactor.stream(body.into_stream(), OnFind::RefuseGuess, Arc::default(), watch);
                Ok((searched, size))
            }
            _ => Ok((body.into_stream(), size)),
        }
    }
}

impl CallContext {
    /// Takes a body that the guest wrote, to which the host adds a secret. Returns its bytes.
    ///
    /// # Errors
    /// Returns a problem for any other body, or a trap if the guest wrote a secret into it.
    pub fn take_written(&mut self, body: Resource<Body>) -> Result<Bytes, Fault> {
        let mut body = self.table.delete(body)?;
        self.release(body.held.take());
        match (&body.producer, &body.source) {
            (Producer::Guest, Source::Bytes { all, at }) => {
                let bytes = all.slice(*at..);
                self.check_for_secrets([&bytes[..]])?;
                Ok(bytes)
            }
            _ => Err(Problem::new("invalid", "a secret is added only to a body that the bundle wrote").into()),
        }
    }

    /// Releases the bytes if this was the last body that holds them.
    fn release(&mut self, held: Option<Arc<usize>>) {
        if let Some(bytes) = held.and_then(Arc::into_inner) {
            self.release_body_bytes(bytes);
        }
    }
}

impl Host for CallContext {}

impl HostBody for CallContext {
    async fn from_bytes(&mut self, media_type: String, bytes: Vec<u8>) -> wasmtime::Result<Resource<Body>> {
        let traced = trace::inner_call("streams.from-bytes");
        traced.bytes(bytes.len());
        self.count_body_bytes(bytes.len())?;
        let held = Some(Arc::new(bytes.len()));
        Ok(self.table.push(Body::bytes(media_type, bytes.into(), held, Producer::Guest))?)
    }

    async fn media_type(&mut self, body: Resource<Body>) -> wasmtime::Result<String> {
        Ok(self.table.get(&body)?.media_type.clone())
    }

    async fn size(&mut self, body: Resource<Body>) -> wasmtime::Result<Option<u64>> {
        let body = self.table.get(&body)?;
        // The size of a response that echoes a secret would reveal the length of the secret.
        let unread = matches!(body.source, Source::Stream { .. });
        Ok(body.size.filter(|_| !(unread && matches!(body.producer, Producer::Server(_)))))
    }

    async fn read(&mut self, body: Resource<Body>, max_bytes: u32) -> Result<Option<Vec<u8>>, Fault> {
        let traced = trace::inner_call("streams.read");
        let max = (max_bytes as usize).clamp(1, limits::BODY_CHUNK_BYTES);
        let body = self.table.get_mut(&body)?;
        body.guarded()?;
        let chunk = body.read(max).await?;
        self.watched()?;
        traced.bytes(chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk.map(Vec::from))
    }

    async fn take(&mut self, body: Resource<Body>, max_bytes: u32) -> Result<Option<Resource<Body>>, Fault> {
        let traced = trace::inner_call("streams.take");
        let max = max_bytes as usize;
        self.count_body_bytes(max)?;
        let source = self.table.get_mut(&body)?;
        let (media_type, producer) = (source.media_type.clone(), source.producer.clone());
        let taken = source.take(max).await;
        self.release_body_bytes(max - taken.as_ref().map_or(0, Vec::len));
        self.watched()?;
        let taken = taken?;
        traced.bytes(taken.len());
        if taken.is_empty() {
            return Ok(None);
        }
        let held = Some(Arc::new(taken.len()));
        Ok(Some(self.table.push(Body::bytes(media_type, taken.into(), held, producer))?))
    }

    async fn again(&mut self, body: Resource<Body>) -> Result<Resource<Body>, Fault> {
        let body = self.table.get(&body)?;
        let Source::Bytes { all, .. } = &body.source else {
            return Err(
                Problem::new("invalid", "`again` is available only for bodies from `from-bytes` and `take`").into()
            );
        };
        let again = Body::bytes(body.media_type.clone(), all.clone(), body.held.clone(), body.producer.clone());
        Ok(self.table.push(again)?)
    }

    async fn drop(&mut self, body: Resource<Body>) -> wasmtime::Result<()> {
        let mut body = self.table.delete(body)?;
        self.release(body.held.take());
        Ok(())
    }
}

/// Links the interface `streams`.
///
/// # Errors
/// Returns an error if the linker already defines the interface.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    call: fn(&mut T) -> &mut CallContext,
) -> wasmtime::Result<()> {
    streams::add_to_linker::<T, HasSelf<CallContext>>(linker, call)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use blockyard_model::{Effect, SecretUse, SecretValue};
    use futures_util::FutureExt as _;
    use serde_json::json;

    use super::*;
    use crate::CallSecret;

    /// Sends a body that a database returned to the token server of the secret `test`. Returns the
    /// bytes, or the error.
    fn forwarded(text: &'static str, config: serde_json::Value, arguments: &str) -> Result<Bytes, String> {
        let url = RequestUrl::parse("https://example.com/token").expect("a URL");
        let uses = SecretUse { tokens: vec![url.clone()], ..SecretUse::default() };
        let secret = CallSecret { value: SecretValue::new("test".to_owned()), uses };
        let secrets = BTreeMap::from([(Pointer::new("/password"), secret)]);
        let (bundle, block) = ("zoo".to_owned(), "zoo/a".to_owned());
        let mut call = CallContext::new(bundle, Effect::Write, config, block, secrets, Arc::default());
        call.record_arguments(arguments);
        let stream = futures_util::stream::iter([Ok(Bytes::from_static(text.as_bytes()))]).boxed();
        let body = call.table.push(Body::stream("text/plain", stream)).expect("a handle");
        let Ok((sent, _)) = call.take_body(body, &url) else { panic!("the body is searched when it is sent") };
        let chunks: Vec<_> = sent.collect().now_or_never().expect("nothing waits");
        let chunks: Result<Vec<Bytes>, Problem> = chunks.into_iter().collect();
        chunks.map(|chunks| chunks.concat().into()).map_err(|problem| problem.message)
    }

    #[test]
    fn data_with_a_secret_is_rejected_unless_the_guest_may_write_it() {
        let refused = "the body holds a secret of this block, and the server could echo it";
        assert_eq!(forwarded("a,test", json!({}), "{}"), Err(refused.to_owned()));
        let passed = Ok(Bytes::from_static(b"a,test"));
        assert_eq!(forwarded("a,test", json!({"table": "test"}), "{}"), passed);
        assert_eq!(forwarded("a,test", json!({}), r#"{"path": "latest.csv"}"#), passed);
        assert_eq!(forwarded("a,test", json!({}), r#"{"path": "test.csv"}"#), Err(refused.to_owned()));
    }
}
