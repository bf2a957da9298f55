//! Interface `streams`: bodies in memory.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::types::Problem;
use super::value::{Column, Value};

/// Maximum number of bytes that the host returns at once.
const CHUNK_BYTES: usize = 4 << 20;
/// Media type of Arrow IPC streams, as registered with IANA.
const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// A byte stream that the host holds. A bundle can forward a body by its handle, e.g. an HTTP
/// response to its caller, or its input to an HTTP request. The bytes then never enter the bundle's
/// memory.
#[derive(Debug)]
pub struct Body(Mutex<Content>);

#[derive(Debug)]
struct Content {
    media_type: String,
    /// Number of remaining bytes, if it is known.
    size: Option<u64>,
    source: Source,
    /// Whether the bundle may read the bytes.
    readable: bool,
}

#[derive(Debug)]
enum Source {
    /// In memory, created by `from_bytes` or `take`. `at` is the number of bytes already read.
    Bytes { all: Arc<[u8]>, at: usize },
    /// Chunks, each of which is returned by a separate read. A problem interrupts the stream.
    Chunks(VecDeque<Result<Vec<u8>, Problem>>),
    /// Rows of a query, in place of an Arrow stream.
    Table(Table),
}

/// Rows of a query that the block passes on without reading them.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Columns of the rows.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
}

impl Body {
    /// Creates a body from bytes of the bundle.
    pub fn from_bytes(media_type: &str, bytes: &[u8]) -> Body {
        Self::in_memory(media_type, bytes.into())
    }

    fn in_memory(media_type: &str, all: Arc<[u8]>) -> Self {
        let size = Some(all.len() as u64);
        Self::of(media_type, size, Source::Bytes { all, at: 0 })
    }

    fn of(media_type: &str, size: Option<u64>, source: Source) -> Self {
        Self(Mutex::new(Content { media_type: media_type.to_owned(), size, source, readable: true }))
    }

    /// Creates a body that is received in chunks.
    pub(crate) fn chunked(media_type: &str, size: Option<u64>, chunks: Vec<Result<Vec<u8>, Problem>>) -> Self {
        Self::of(media_type, size, Source::Chunks(chunks.into()))
    }

    pub(super) fn table(table: Table) -> Self {
        Self::of(ARROW_STREAM, None, Source::Table(table))
    }

    /// Makes the body one that can only be forwarded.
    pub(super) fn unreadable(self) -> Self {
        self.content().readable = false;
        self
    }

    /// Returns the rows of a query, if the body was created by `into_arrow`.
    pub(crate) fn as_table(&self) -> Option<Table> {
        match &self.content().source {
            Source::Table(table) => Some(table.clone()),
            _ => None,
        }
    }

    /// Returns the remaining bytes of a body that was created by `from_bytes` or `take`.
    pub(super) fn written(&self) -> Option<Vec<u8>> {
        match &self.content().source {
            Source::Bytes { all, at } => Some(all[*at..].to_vec()),
            _ => None,
        }
    }

    /// Returns the remaining bytes, as the host reads them.
    pub(crate) fn drain(&self) -> Result<Vec<u8>, Problem> {
        self.content().readable = true;
        let mut all = Vec::new();
        while let Some(chunk) = self.content().read(usize::MAX)? {
            all.extend(chunk);
        }
        Ok(all)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the media type, e.g. "text/csv".
    pub fn media_type(&self) -> String {
        self.content().media_type.clone()
    }

    /// Returns the number of remaining bytes; `None` if it is unknown, and for a response that may
    /// echo a secret, because the size would reveal the length of the secret.
    pub fn size(&self) -> Option<u64> {
        self.content().size
    }

    /// Returns the next bytes, at most `max_bytes`; `None` at the end.
    ///
    /// # Errors
    /// The stream is interrupted, or is a compressed or partial response that may echo a secret.
    pub fn read(&self, max_bytes: u32) -> Result<Option<Vec<u8>>, Problem> {
        self.content().read((max_bytes as usize).clamp(1, CHUNK_BYTES))
    }

    /// Returns the next bytes, up to `max_bytes`, as a separate body that can be sent repeatedly;
    /// `None` at the end.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn take(&self, max_bytes: u32) -> Result<Option<Body>, Problem> {
        let mut content = self.content();
        let max = max_bytes as usize;
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(chunk) = content.read(max - taken.len())?
        {
            taken.extend(chunk);
        }
        Ok((!taken.is_empty()).then(|| Self::in_memory(&content.media_type, taken.into())))
    }

    /// Returns a body with the same bytes.
    ///
    /// # Errors
    /// The body was not created by [`from_bytes`](Self::from_bytes) or [`take`](Self::take).
    pub fn again(&self) -> Result<Body, Problem> {
        let content = self.content();
        match &content.source {
            Source::Bytes { all, .. } => Ok(Self::in_memory(&content.media_type, all.clone())),
            _ => Err(Problem::new("invalid", "`again` is available only for bodies from `from-bytes` and `take`")),
        }
    }
}

impl Content {
    fn read(&mut self, max: usize) -> Result<Option<Vec<u8>>, Problem> {
        if !self.readable {
            let message = "the response is compressed or partial, and may hold a secret of this block";
            return Err(Problem::new("denied", message)
                .hint("return the body to the caller without reading it, or request it uncompressed and in full"));
        }
        let chunk = match &mut self.source {
            Source::Bytes { all, at } => {
                let end = at.saturating_add(max).min(all.len());
                all[mem::replace(at, end)..end].to_vec()
            }
            Source::Chunks(chunks) => loop {
                match chunks.pop_front() {
                    None => break Vec::new(),
                    Some(Ok(chunk)) if chunk.is_empty() => {}
                    Some(Ok(mut chunk)) => {
                        if chunk.len() > max {
                            chunks.push_front(Ok(chunk.split_off(max)));
                        }
                        break chunk;
                    }
                    Some(Err(problem)) => return Err(problem),
                }
            },
            Source::Table(_) => {
                return Err(Problem::new("failed", "the fake host does not encode rows as Arrow")
                    .hint("read them with `Reply::rows` in the test"));
            }
        };
        if let Some(size) = &mut self.size {
            *size = size.saturating_sub(chunk.len() as u64);
        }
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }
}
