//! `streams`: bytes that the host holds and the guest passes on by handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use wasmtime::component::Resource;

use crate::bindings::blockyard::bundle::streams::{Host, HostBody};
use crate::capability::http::Upload;
use crate::limits;
use crate::output::{ByteStream, Input};
use crate::problem::{Fault, Problem};
use crate::redact::Redactor;
use crate::state::CallState;
use crate::trace;

/// Bytes that the host holds.
pub struct Body {
    media_type: String,
    size: Option<u64>,
    /// Bytes that count as the guest's memory while this body, or one that has the same bytes, lives.
    held: Option<Arc<usize>>,
    source: Source,
    /// For an answer from outside: what the guest may not read in it.
    guard: Option<Guard>,
}

/// Keeps the secrets of the call out of what the guest reads. Bytes that are passed on by handle are
/// passed on as they are.
struct Guard {
    redactor: Arc<Redactor>,
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

impl Body {
    pub(crate) fn stream(media_type: &str, stream: ByteStream) -> Self {
        Self {
            media_type: media_type.to_owned(),
            size: None,
            held: None,
            // A guest may read on after the end.
            source: Source::Stream { stream: stream.fuse().boxed(), rest: Bytes::new() },
            guard: None,
        }
    }

    /// The body of an answer from outside.
    pub(crate) fn answer(media_type: &str, size: Option<u64>, stream: ByteStream, redactor: Arc<Redactor>) -> Self {
        let guard = Guard { redactor, begun: false, found: Arc::default() };
        Self { size, guard: Some(guard), ..Self::stream(media_type, stream) }
    }

    fn bytes(media_type: String, bytes: Bytes, held: Option<Arc<usize>>) -> Self {
        let size = Some(bytes.len() as u64);
        Self { media_type, size, held, source: Source::Bytes { all: bytes, at: 0 }, guard: None }
    }

    pub(crate) fn input(input: Input) -> Self {
        Self { size: input.size, ..Self::stream(&input.media_type, input.stream) }
    }

    pub(crate) fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The bytes that were not read yet.
    pub(crate) fn into_stream(self) -> ByteStream {
        match self.source {
            Source::Bytes { all, at } => futures_util::stream::iter([Ok(all.slice(at..))]).boxed(),
            Source::Stream { stream, rest } => futures_util::stream::iter([Ok(rest)]).chain(stream).boxed(),
        }
    }

    /// What the guest reads from here on has no secret in it.
    fn guarded(&mut self) {
        if let (Some(guard), Source::Stream { stream, .. }) = (&mut self.guard, &mut self.source)
            && !guard.begun
        {
            guard.begun = true;
            let source = std::mem::replace(stream, futures_util::stream::empty().boxed());
            *stream = guard.redactor.clone().stream(source, guard.found.clone()).fuse().boxed();
        }
    }

    /// Whether what was read is not what was sent.
    fn is_masked(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.found.load(Ordering::Relaxed))
    }

    /// The next bytes, as many of them as there are up to `max`, for the guest to send on.
    async fn take(&mut self, max: usize) -> Result<Vec<u8>, Problem> {
        self.guarded();
        let expected = self.size.and_then(|size| usize::try_from(size).ok()).map_or(0, |size| size.min(max));
        let mut taken = Vec::with_capacity(expected);
        while taken.len() < max {
            match self.read(max - taken.len()).await? {
                Some(chunk) => taken.extend_from_slice(&chunk),
                None => break,
            }
        }
        if self.is_masked() {
            let message = "the answer holds a secret of this block, and is not sent on in parts";
            return Err(Problem::new("denied", message).hint("pass the whole body on"));
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
    /// Takes a body from the guest, to send it.
    pub(crate) fn take_body(&mut self, body: Resource<Body>) -> wasmtime::Result<Upload> {
        let mut body = self.table.delete(body)?;
        self.release(body.held.take());
        let size = body.size;
        Ok(Upload::stream(body.into_stream(), size))
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
        Ok(self.table.push(Body::bytes(media_type, bytes.into(), held))?)
    }

    async fn media_type(&mut self, body: Resource<Body>) -> wasmtime::Result<String> {
        Ok(self.table.get(&body)?.media_type.clone())
    }

    async fn size(&mut self, body: Resource<Body>) -> wasmtime::Result<Option<u64>> {
        Ok(self.table.get(&body)?.size)
    }

    async fn read(&mut self, body: Resource<Body>, max_bytes: u32) -> Result<Option<Vec<u8>>, Fault> {
        let traced = trace::inner_call("streams.read");
        let max = (max_bytes as usize).clamp(1, limits::BODY_CHUNK_BYTES);
        let body = self.table.get_mut(&body)?;
        body.guarded();
        let chunk = body.read(max).await?;
        traced.bytes(chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk.map(Vec::from))
    }

    async fn take(&mut self, body: Resource<Body>, max_bytes: u32) -> Result<Option<Resource<Body>>, Fault> {
        let traced = trace::inner_call("streams.take");
        let max = max_bytes as usize;
        self.hold_body_bytes(max)?;
        let source = self.table.get_mut(&body)?;
        let media_type = source.media_type.clone();
        let taken = source.take(max).await;
        self.release_body_bytes(max - taken.as_ref().map_or(0, Vec::len));
        let taken = taken?;
        traced.bytes(taken.len());
        if taken.is_empty() {
            return Ok(None);
        }
        let held = Some(Arc::new(taken.len()));
        Ok(Some(self.table.push(Body::bytes(media_type, taken.into(), held))?))
    }

    async fn again(&mut self, body: Resource<Body>) -> Result<Resource<Body>, Fault> {
        let body = self.table.get(&body)?;
        let Source::Bytes { all, .. } = &body.source else {
            return Err(Problem::new("invalid", "only bytes from `from-bytes` and `take` can be had again").into());
        };
        let again = Body::bytes(body.media_type.clone(), all.clone(), body.held.clone());
        Ok(self.table.push(again)?)
    }

    async fn drop(&mut self, body: Resource<Body>) -> wasmtime::Result<()> {
        let mut body = self.table.delete(body)?;
        self.release(body.held.take());
        Ok(())
    }
}
