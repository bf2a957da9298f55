//! The search of a stream for the secrets of a call, chunk by chunk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::redactor::{Masking, Redactor};
use super::watch::Watch;
use crate::output::ByteStream;
use crate::problem::Problem;

/// Action for a stream in which a secret is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFind {
    /// Mask the secret.
    Mask,
    /// End the stream with a problem before the secret.
    Refuse,
    /// As `Refuse`, for bytes that are not a response to a request with a secret. Compressed bytes pass,
    /// although a server that decompresses them may echo a secret in them: most files are compressed, and
    /// the masks of such an echo are counted by [`Watch`].
    RefuseGuess,
}

impl Redactor {
    /// Searches a stream for secrets, also for secrets that span several chunks. `found` is set
    /// once a secret is found: the returned bytes then differ from those of the source.
    pub(crate) fn stream(
        self: Arc<Self>,
        source: ByteStream,
        on_find: OnFind,
        found: Arc<AtomicBool>,
        watch: Arc<Watch>,
    ) -> ByteStream {
        if self.is_empty() {
            return source;
        }
        let argument_masking = Masking::new(Arc::new(self.shared_with(&watch.argument_secrets())));
        let searched =
            Searched { masking: Masking::new(self), argument_masking, on_find, found, watch, head: Vec::new() };
        stream::unfold((Some(source), searched), async |(source, mut searched)| {
            let mut source = source?;
            loop {
                let next = source.next().await;
                let end = next.is_none();
                let clean = match next {
                    Some(Ok(bytes)) => searched.pass(&bytes),
                    Some(Err(problem)) => Err(searched.masking.redactor.problem(problem)),
                    None => searched.finish(),
                };
                match clean {
                    Err(problem) => return Some((Err(problem), (None, searched))),
                    Ok(clean) if end => return (!clean.is_empty()).then_some((Ok(clean), (None, searched))),
                    Ok(clean) if clean.is_empty() => {}
                    Ok(clean) => return Some((Ok(clean), (Some(source), searched))),
                }
            }
        })
        .boxed()
    }
}

/// State of the search of a stream.
struct Searched {
    masking: Masking<Arc<Redactor>>,
    /// The search for secrets that the caller's arguments contain. It releases no later than `masking`,
    /// because none of its patterns is longer.
    argument_masking: Masking<Arc<Redactor>>,
    on_find: OnFind,
    found: Arc<AtomicBool>,
    watch: Arc<Watch>,
    /// The first bytes, at most [`COMPRESSED_BYTES`], to recognize a compressed format.
    head: Vec<u8>,
}

/// Magic numbers of compressed formats, which cannot be searched: gzip, zlib, Zstandard, bzip2, xz,
/// LZ4, zip, 7z. A server can send them without announcing it in a header.
const COMPRESSED: [&[u8]; 10] = [
    b"\x1f\x8b",
    b"\x78\x01",
    b"\x78\x9c",
    b"\x78\xda",
    b"\x28\xb5\x2f\xfd",
    b"BZh",
    b"\xfd7zXZ",
    b"\x04\x22\x4d\x18",
    b"PK\x03\x04",
    b"7z\xbc\xaf",
];
/// Length of the longest entry of [`COMPRESSED`], in bytes.
const COMPRESSED_BYTES: usize = 5;

impl Searched {
    /// Rejects a body that cannot be searched. No byte of it was released before, because more
    /// bytes are held back than this function examines.
    fn recognize(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let missing = COMPRESSED_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        if missing > 0
            && self.on_find != OnFind::RefuseGuess
            && COMPRESSED.iter().any(|format| self.head.starts_with(format))
        {
            return Err(unreadable());
        }
        Ok(())
    }

    fn pass(&mut self, bytes: &[u8]) -> Result<Bytes, Problem> {
        self.watch.searched(bytes.len());
        self.recognize(bytes)?;
        if !self.argument_masking.redactor.is_empty() && self.argument_masking.pass(bytes).1 > 0 {
            self.watch.echo();
        }
        let passed = self.masking.pass(bytes);
        self.apply(passed)
    }

    fn finish(&mut self) -> Result<Bytes, Problem> {
        if self.argument_masking.finish().1 > 0 {
            self.watch.echo();
        }
        let passed = self.masking.finish();
        self.apply(passed)
    }

    fn apply(&self, (clean, found): (Bytes, usize)) -> Result<Bytes, Problem> {
        if found > 0 {
            self.found.store(true, Ordering::Relaxed);
            self.watch.found(found);
            match self.on_find {
                OnFind::Mask => {}
                OnFind::Refuse => return Err(holds_a_secret()),
                OnFind::RefuseGuess => return Err(could_be_echoed()),
            }
        }
        Ok(clean)
    }
}

/// Returns the problem of a response that may contain a secret and cannot be searched.
pub(crate) fn unreadable() -> Problem {
    let message = "the response is compressed or partial, and may hold a secret of this block";
    Problem::new("denied", message)
        .hint("return the body to the caller without reading it, or request it uncompressed and in full")
}

/// Returns the problem of a body that contains a secret and would be sent outside of the secret's
/// audience.
pub(crate) fn holds_a_secret() -> Problem {
    Problem::new("denied", "the response holds a secret of this block and cannot be forwarded")
        .hint("return the body to the caller, or send it to an origin in the secret's audience")
}

/// Returns the problem of a body that the guest may have composed, that contains a secret, and would
/// be sent to a server that may echo it.
fn could_be_echoed() -> Problem {
    Problem::new("denied", "the body holds a secret of this block, and the server could echo it")
        .hint("remove the value from the data, or change the secret")
}
