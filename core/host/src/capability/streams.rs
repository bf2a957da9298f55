//! `streams`: bytes that the host holds and the guest passes on by handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blockyard_model::{Pointer, RequestUrl};
use bytes::Bytes;
use futures_util::StreamExt as _;
use wasmtime::component::Resource;

use crate::bindings::blockyard::bundle::streams::{Host, HostBody};
use crate::capability::http::Upload;
use crate::limits;
use crate::output::{ByteStream, Input};
use crate::problem::{Fault, Problem};
use crate::redact::{OnFind, Redactor, Watch, holds_a_secret, unreadable};
use crate::state::CallState;
use crate::trace;

/// Bytes that the host holds.
pub struct Body {
    media_type: String,
    size: Option<u64>,
    /// Bytes that count as the guest's memory while this body, or one that has the same bytes, lives.
    held: Option<Arc<usize>>,
    source: Source,
    maker: Maker,
}

/// Who made a body's bytes.
#[derive(Clone)]
enum Maker {
    /// The guest: they are its own words.
    Guest,
    /// The caller or a database.
    Other,
    /// A server that secrets of the block are sent to.
    Server(Echo),
}

/// The answer of a server that may echo secrets. It stays with the bytes: with what is taken of them, and with what
/// is sent again.
#[derive(Clone)]
pub(crate) struct Echo {
    /// Secrets whose audience has the server.
    pub(crate) secrets: Vec<Pointer>,
    /// Whether the bytes can be searched: they are neither compressed nor a part of the whole.
    pub(crate) readable: bool,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) watch: Arc<Watch>,
    /// Whether the guest has begun to read.
    begun: bool,
    /// Whether a secret was found.
    found: Arc<AtomicBool>,
}

enum Source {
    /// In memory: what `from-bytes` and `take` made. `at` is how much was read.
    Bytes { all: Bytes, at: usize },
    /// From elsewhere; `rest` is what was taken from the stream and not yet read.
    Stream { stream: ByteStream, rest: Bytes },
}

impl Echo {
    pub(crate) fn new(secrets: Vec<Pointer>, readable: bool, redactor: Arc<Redactor>, watch: Arc<Watch>) -> Self {
        Self { secrets, readable, redactor, watch, begun: false, found: Arc::default() }
    }

    /// A stream of its bytes under search.
    fn searched(&self, stream: ByteStream, on_find: OnFind) -> ByteStream {
        self.redactor.clone().stream(stream, on_find, self.found.clone(), self.watch.clone())
    }
}

impl Body {
    pub(crate) fn stream(media_type: &str, stream: ByteStream) -> Self {
        Self {
            media_type: media_type.to_owned(),
            size: None,
            held: None,
            // A guest may read on after the end.
            source: Source::Stream { stream: stream.fuse().boxed(), rest: Bytes::new() },
            maker: Maker::Other,
        }
    }

    /// The body of an answer from outside. `echo` is what it may hold.
    pub(crate) fn answer(media_type: &str, size: Option<u64>, stream: ByteStream, echo: Option<Echo>) -> Self {
        Self { size, maker: echo.map_or(Maker::Other, Maker::Server), ..Self::stream(media_type, stream) }
    }

    fn bytes(media_type: String, bytes: Bytes, held: Option<Arc<usize>>, maker: Maker) -> Self {
        let size = Some(bytes.len() as u64);
        Self { media_type, size, held, source: Source::Bytes { all: bytes, at: 0 }, maker }
    }

    pub(crate) fn input(input: Input) -> Self {
        Self { size: input.size, ..Self::stream(&input.media_type, input.stream) }
    }

    pub(crate) fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The bytes that were not read yet, for the caller.
    pub(crate) fn into_stream(self) -> ByteStream {
        let stream = match self.source {
            Source::Bytes { all, at } => futures_util::stream::iter([Ok(all.slice(at..))]).boxed(),
            Source::Stream { stream, rest } => futures_util::stream::iter([Ok(rest)]).chain(stream).boxed(),
        };
        match self.maker {
            // The guest began to read: what follows is masked, and masked bytes are no file.
            Maker::Server(echo) if echo.begun => {
                let whole = move |chunk| if echo.found.load(Ordering::Relaxed) { Err(holds_a_secret()) } else { chunk };
                stream.map(whole).boxed()
            }
            _ => stream,
        }
    }

    /// From here on the guest reads: what it reads has no secret in it.
    fn guarded(&mut self) -> Result<(), Problem> {
        let Maker::Server(echo) = &mut self.maker else { return Ok(()) };
        if !echo.readable {
            return Err(unreadable());
        }
        if let Source::Stream { stream, .. } = &mut self.source
            && !std::mem::replace(&mut echo.begun, true)
        {
            let source = std::mem::replace(stream, futures_util::stream::empty().boxed());
            *stream = echo.searched(source, OnFind::Mask).fuse().boxed();
        }
        Ok(())
    }

    /// Whether what was read is not what was sent.
    fn is_masked(&self) -> bool {
        matches!(&self.maker, Maker::Server(echo) if echo.found.load(Ordering::Relaxed))
    }

    /// The next bytes, as many of them as there are up to `max`, for the guest to send on.
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

impl CallState {
    /// Takes a body from the guest, to send it to this server.
    ///
    /// An answer that may hold secrets goes on as it is where all of them may go; elsewhere it is searched, and ends
    /// before a secret. What cannot be searched does not go there.
    pub(crate) fn take_body(&mut self, body: Resource<Body>, url: &RequestUrl) -> Result<Upload, Fault> {
        let mut body = self.table.delete(body)?;
        self.release(body.held.take());
        let size = body.size;
        match &body.maker {
            Maker::Guest if !self.may_echo(&url.origin).is_empty() => {
                if let Source::Bytes { all, at } = &body.source {
                    let words = all.slice(*at..);
                    self.said([&words[..]])?;
                }
                Ok(Upload::stream(body.into_stream(), size))
            }
            Maker::Server(echo) if !self.is_audience_of(&echo.secrets, &url.origin) => {
                let echo = echo.clone();
                if !echo.readable {
                    return Err(unreadable().into());
                }
                Ok(Upload::stream(echo.searched(body.into_stream(), OnFind::Refuse), size))
            }
            _ => Ok(Upload::stream(body.into_stream(), size)),
        }
    }
}

impl CallState {
    /// Bytes are let go of with the last body that has them.
    fn release(&mut self, held: Option<Arc<usize>>) {
        if let Some(bytes) = held.and_then(Arc::into_inner) {
            self.release_body_bytes(bytes);
        }
    }
}

impl Host for CallState {}

impl HostBody for CallState {
    async fn from_bytes(&mut self, media_type: String, bytes: Vec<u8>) -> wasmtime::Result<Resource<Body>> {
        let traced = trace::inner_call("streams.from-bytes");
        traced.bytes(bytes.len());
        self.hold_body_bytes(bytes.len())?;
        let held = Some(Arc::new(bytes.len()));
        Ok(self.table.push(Body::bytes(media_type, bytes.into(), held, Maker::Guest))?)
    }

    async fn media_type(&mut self, body: Resource<Body>) -> wasmtime::Result<String> {
        Ok(self.table.get(&body)?.media_type.clone())
    }

    async fn size(&mut self, body: Resource<Body>) -> wasmtime::Result<Option<u64>> {
        let body = self.table.get(&body)?;
        // The length of an echo has the length of the secret in it.
        let unread = matches!(body.source, Source::Stream { .. });
        Ok(body.size.filter(|_| !(unread && matches!(body.maker, Maker::Server(_)))))
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
        self.hold_body_bytes(max)?;
        let source = self.table.get_mut(&body)?;
        let (media_type, maker) = (source.media_type.clone(), source.maker.clone());
        let taken = source.take(max).await;
        self.release_body_bytes(max - taken.as_ref().map_or(0, Vec::len));
        self.watched()?;
        let taken = taken?;
        traced.bytes(taken.len());
        if taken.is_empty() {
            return Ok(None);
        }
        let held = Some(Arc::new(taken.len()));
        Ok(Some(self.table.push(Body::bytes(media_type, taken.into(), held, maker))?))
    }

    async fn again(&mut self, body: Resource<Body>) -> Result<Resource<Body>, Fault> {
        let body = self.table.get(&body)?;
        let Source::Bytes { all, .. } = &body.source else {
            return Err(Problem::new("invalid", "only bytes from `from-bytes` and `take` can be had again").into());
        };
        let again = Body::bytes(body.media_type.clone(), all.clone(), body.held.clone(), body.maker.clone());
        Ok(self.table.push(again)?)
    }

    async fn drop(&mut self, body: Resource<Body>) -> wasmtime::Result<()> {
        let mut body = self.table.delete(body)?;
        self.release(body.held.take());
        Ok(())
    }
}
