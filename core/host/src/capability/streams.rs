//! `streams`: bytes that the host holds and the guest passes on by handle.

use bytes::Bytes;
use futures_util::StreamExt as _;
use wasmtime::component::Resource;

use crate::bindings::blockyard::bundle::streams::{Host, HostBody};
use crate::limits;
use crate::output::{ByteStream, Input};
use crate::problem::{Fault, Problem};
use crate::state::CallState;
use crate::trace;

/// Bytes that the host holds.
pub struct Body {
    media_type: String,
    size: Option<u64>,
    /// Bytes that count as the guest's memory while this body lives.
    held: usize,
    source: Source,
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
            held: 0,
            source: Source::Stream { stream, rest: Bytes::new() },
        }
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

impl Host for CallState {}

impl HostBody for CallState {
    async fn from_bytes(&mut self, media_type: String, bytes: Vec<u8>) -> wasmtime::Result<Resource<Body>> {
        let traced = trace::inner_call("streams.from-bytes");
        traced.bytes(bytes.len());
        self.hold_body_bytes(bytes.len())?;
        let body = Body {
            media_type,
            size: Some(bytes.len() as u64),
            held: bytes.len(),
            source: Source::Bytes { all: bytes.into(), at: 0 },
        };
        Ok(self.table.push(body)?)
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
        let chunk = self.table.get_mut(&body)?.read(max).await?;
        traced.bytes(chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk.map(Vec::from))
    }

    async fn take(&mut self, body: Resource<Body>, max_bytes: u32) -> Result<Option<Resource<Body>>, Fault> {
        let traced = trace::inner_call("streams.take");
        let max = max_bytes as usize;
        self.hold_body_bytes(max)?;
        let source = self.table.get_mut(&body)?;
        let mut taken = Vec::new();
        while taken.len() < max {
            match source.read(max - taken.len()).await? {
                Some(chunk) => taken.extend_from_slice(&chunk),
                None => break,
            }
        }
        let media_type = source.media_type.clone();
        self.release_body_bytes(max - taken.len());
        traced.bytes(taken.len());
        if taken.is_empty() {
            return Ok(None);
        }
        let part = Body {
            media_type,
            size: Some(taken.len() as u64),
            held: taken.len(),
            source: Source::Bytes { all: taken.into(), at: 0 },
        };
        Ok(Some(self.table.push(part)?))
    }

    async fn again(&mut self, body: Resource<Body>) -> Result<Resource<Body>, Fault> {
        let body = self.table.get(&body)?;
        let Source::Bytes { all, .. } = &body.source else {
            return Err(Problem::new("invalid", "only bytes from `from-bytes` and `take` can be had again").into());
        };
        let again = Body {
            media_type: body.media_type.clone(),
            size: Some(all.len() as u64),
            held: 0,
            source: Source::Bytes { all: all.clone(), at: 0 },
        };
        Ok(self.table.push(again)?)
    }

    async fn drop(&mut self, body: Resource<Body>) -> wasmtime::Result<()> {
        let body = self.table.delete(body)?;
        self.release_body_bytes(body.held);
        Ok(())
    }
}
