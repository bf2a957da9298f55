//! Typed access to blocks that implement the interface `object-storage`.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_host::limits;
use crc::{CRC_32_ISCSI, Crc, Digest, Table};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::block::Block;
use crate::{ByteStream, Deadline, Error, ErrorKind, Input, Problem};

/// Timeout for a copy within the storage: one day, because objects have any size and the copy
/// transfers no bytes through this process, so there is no progress to measure.
const COPY_TIME: Duration = Duration::from_secs(86_400);

/// CRC32C (RFC 3720, appendix B.4), computed sixteen bytes at a time.
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// A block that implements `object-storage`.
#[derive(Debug, Clone)]
pub struct ObjectStorage {
    block: Block,
}

/// Metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Path, relative to the block.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last modification (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
    /// Media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// CRC32C checksum, big-endian, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32c: Option<String>,
    /// Identifier of this version of the object, as assigned by the storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Encoding of the stored bytes, such as `gzip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// `true` if the storage decoded the bytes that it returned. `size` and `crc32c` then refer to
    /// the stored, encoded bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decoded: bool,
    /// User-defined metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// A page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPage {
    /// Objects, sorted by path.
    pub objects: Vec<Object>,
    /// Prefixes that end with the delimiter. Each represents all objects whose paths begin with it.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Token for the next page. `None` on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Options for storing an object.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// Media type. Defaults to the media type of the input.
    pub content_type: Option<String>,
    /// Store the object only if no object exists at the path.
    pub if_absent: bool,
}

/// Iterates over the pages of a listing. A listing that would not end results in an error.
#[derive(Debug)]
pub struct ObjectPages<'a> {
    storage: &'a ObjectStorage,
    prefix: &'a str,
    delimiter: Option<&'a str>,
    progress: PageProgress,
}

/// Position in a listing. Detects storages whose listings do not end: a repeated token, a repeated
/// first entry of a page, or too many pages is an error.
#[derive(Debug, Default)]
struct PageProgress {
    token: Option<String>,
    /// Hashes of the tokens and of the first entries of all pages so far.
    seen: HashSet<u64>,
    pages: usize,
    /// Number of consecutive empty pages up to the current one.
    empty: usize,
    ended: bool,
}

impl ObjectPages<'_> {
    /// Returns the next page, or `None` after the last page.
    ///
    /// # Errors
    /// Returns an error if the call fails, or if the listing does not end.
    pub async fn next(&mut self) -> Result<Option<ObjectPage>, Error> {
        if self.progress.ended {
            return Ok(None);
        }
        let page = self.storage.list(self.prefix, self.delimiter, self.progress.token.as_deref()).await?;
        self.progress.advance(&page).map_err(|reason| {
            Error::new(
                ErrorKind::Bundle,
                format!("the listing of objects below `{}` does not end: {reason}", self.prefix),
            )
            .hint("report this to the bundle's author; use a longer prefix to list fewer objects")
        })?;
        Ok(Some(page))
    }
}

impl PageProgress {
    fn advance(&mut self, page: &ObjectPage) -> Result<(), String> {
        self.pages += 1;
        let first = page.objects.first().map(|object| &object.path).or(page.prefixes.first());
        self.empty = if first.is_some() { 0 } else { self.empty + 1 };
        self.token.clone_from(&page.next_page_token);
        let Some(token) = &self.token else {
            self.ended = true;
            return Ok(());
        };
        if !self.seen.insert(hashed(&("token", token))) {
            return Err("a page token was repeated".to_owned());
        }
        if first.is_some_and(|first| !self.seen.insert(hashed(&("first", first)))) {
            return Err("two pages began with the same entry".to_owned());
        }
        if self.empty > limits::LIST_EMPTY_PAGES {
            return Err(format!("more than {} consecutive pages are empty", limits::LIST_EMPTY_PAGES));
        }
        if self.pages >= limits::LIST_PAGES {
            return Err(format!("it has more than {} pages", limits::LIST_PAGES));
        }
        Ok(())
    }
}

fn hashed(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Block {
    /// Returns the block as an object storage.
    ///
    /// # Errors
    /// Returns an error if the block's type does not implement the interface. The error lists the
    /// interfaces that it implements.
    pub fn as_object_storage(&self) -> Result<ObjectStorage, Error> {
        self.need_interface("object-storage")?;
        Ok(ObjectStorage { block: self.clone() })
    }
}

impl ObjectStorage {
    /// Returns a page of the objects whose paths begin with `prefix`. Paths that contain
    /// `delimiter` after the prefix are grouped into one entry of [`ObjectPage::prefixes`].
    ///
    /// # Errors
    /// Returns an error if the call fails.
    pub async fn list(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        page_token: Option<&str>,
    ) -> Result<ObjectPage, Error> {
        let mut arguments = json!({ "prefix": prefix });
        if let Some(delimiter) = delimiter {
            arguments["delimiter"] = delimiter.into();
        }
        if let Some(token) = page_token {
            arguments["page_token"] = token.into();
        }
        read(self.block.call("list", arguments).await?.result)
    }

    /// Returns all pages of a listing, fetched one by one.
    #[must_use]
    pub fn pages<'a>(&'a self, prefix: &'a str, delimiter: Option<&'a str>) -> ObjectPages<'a> {
        ObjectPages { storage: self, prefix, delimiter, progress: PageProgress::default() }
    }

    /// Returns the metadata of an object.
    ///
    /// # Errors
    /// Returns an error if the object does not exist, or if the call fails.
    pub async fn stat(&self, path: &str) -> Result<Object, Error> {
        read(self.block.call("stat", json!({ "path": path })).await?.result)
    }

    /// Returns the metadata and the bytes of an object. Bytes with a content encoding are decoded
    /// if the storage decodes them ([`Object::decoded`]).
    ///
    /// The stream ends with a problem if the number of bytes or their CRC32C differs from the
    /// metadata, so that a truncated object is never mistaken for a complete one.
    ///
    /// # Errors
    /// Returns an error if the object does not exist, or if the call fails.
    pub async fn get(&self, path: &str) -> Result<(Object, ByteStream), Error> {
        let reply = self.block.call("get", json!({ "path": path })).await?;
        let object: Object = read(reply.result)?;
        let (_, stream) = reply.output.ok_or_else(|| Error::new(ErrorKind::Bundle, "the bundle returned no bytes"))?;
        let stream = verified(stream, &object);
        Ok((object, stream))
    }

    /// Stores bytes as an object, atomically.
    ///
    /// # Errors
    /// Returns an error if the call fails.
    pub async fn put(&self, path: &str, input: Input, options: &PutOptions) -> Result<Object, Error> {
        let mut arguments = json!({ "path": path, "if_absent": options.if_absent });
        if let Some(content_type) = &options.content_type {
            arguments["content_type"] = content_type.as_str().into();
        }
        read(self.block.call_with("put", arguments, Some(input), Deadline::default()).await?.result)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// Returns an error if the object does not exist, or if the call fails.
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.block.call("delete", json!({ "path": path })).await.map(drop)
    }

    /// Copies an object within the storage.
    ///
    /// # Errors
    /// Returns an error if the object does not exist, or if the call fails.
    pub async fn copy(&self, from: &str, to: &str) -> Result<Object, Error> {
        let arguments = json!({ "from": from, "to": to });
        read(self.block.call_with("copy", arguments, None, Deadline::within(COPY_TIME)).await?.result)
    }
}

fn read<T: serde::de::DeserializeOwned>(result: Value) -> Result<T, Error> {
    serde_json::from_value(result).map_err(|error| {
        Error::new(ErrorKind::Bundle, "the bundle returned a result that does not match the interface `object-storage`")
            .because(error)
    })
}

/// State of an object that is being read: the bytes so far, and the expected metadata.
struct Reading {
    stream: ByteStream,
    digest: Digest<'static, u32, Table<16>>,
    bytes: u64,
    object: Object,
    ended: bool,
}

/// Appends a problem to the stream if its bytes do not match the object's metadata.
fn verified(stream: ByteStream, object: &Object) -> ByteStream {
    let reading = Reading { stream, digest: CRC32C.digest(), bytes: 0, object: object.clone(), ended: false };
    futures_util::stream::unfold(reading, |mut reading| async move {
        if reading.ended {
            return None;
        }
        let next = reading.stream.next().await;
        let item = match next {
            Some(Ok(chunk)) => {
                reading.digest.update(&chunk);
                reading.bytes += chunk.len() as u64;
                Ok(chunk)
            }
            Some(Err(problem)) => {
                reading.ended = true;
                Err(problem)
            }
            None => {
                reading.ended = true;
                Err(reading.mismatch()?)
            }
        };
        Some((item, reading))
    })
    .boxed()
}

impl Reading {
    fn mismatch(&self) -> Option<Problem> {
        let Object { path, size, crc32c, .. } = &self.object;
        if self.object.decoded {
            // No size or checksum is known for decoded bytes. The host reports truncated responses.
            return None;
        }
        let message = if self.bytes != *size {
            format!("object `{path}` has {size} bytes, but {} were received", self.bytes)
        } else {
            let read = STANDARD.encode(self.digest.clone().finalize().to_be_bytes());
            let expected = crc32c.as_ref().filter(|expected| **expected != read)?;
            format!("the received bytes of object `{path}` are corrupt: expected CRC32C `{expected}`, found `{read}`")
        };
        Some(Problem::new("failed", message).retryable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(size: u64, crc32c: Option<&str>) -> Object {
        Object {
            path: "a".to_owned(),
            size,
            updated: None,
            content_type: None,
            crc32c: crc32c.map(str::to_owned),
            generation: None,
            content_encoding: None,
            decoded: false,
            metadata: BTreeMap::new(),
        }
    }

    fn page(paths: &[&str], token: Option<&str>) -> ObjectPage {
        let objects = paths.iter().map(|path| Object { path: (*path).to_owned(), ..object(0, None) }).collect();
        ObjectPage { objects, prefixes: Vec::new(), next_page_token: token.map(str::to_owned) }
    }

    #[test]
    fn an_endless_listing_is_an_error() {
        let walk = |pages: &mut dyn Iterator<Item = ObjectPage>| {
            let mut progress = PageProgress::default();
            for page in pages {
                progress.advance(&page)?;
                if progress.ended {
                    return Ok(progress.pages);
                }
            }
            Err("the pages ended first".to_owned())
        };
        let honest = [page(&["a", "b"], Some("1")), page(&[], Some("2")), page(&["c"], None)];
        assert_eq!(walk(&mut honest.into_iter()), Ok(3));
        let same = walk(&mut std::iter::repeat_with(|| page(&["a"], Some("1"))));
        assert_eq!(same, Err("a page token was repeated".to_owned()));
        let cycle = walk(&mut (0..).map(|number| page(&[], Some(&(number % 3).to_string()))));
        assert_eq!(cycle, Err("a page token was repeated".to_owned()));
        let again = walk(&mut (0..).map(|number: u64| page(&["a", "b"], Some(&number.to_string()))));
        assert_eq!(again, Err("two pages began with the same entry".to_owned()));
        let empty = walk(&mut (0..).map(|number: u64| page(&[], Some(&number.to_string()))));
        assert_eq!(empty, Err("more than 1000 consecutive pages are empty".to_owned()));
        let endless = walk(&mut (0..).map(|number: u64| page(&[&number.to_string()], Some(&number.to_string()))));
        assert_eq!(endless, Err("it has more than 100000 pages".to_owned()));
    }

    fn read_all(chunks: &[&'static str], object: &Object) -> Result<String, String> {
        let chunks: Vec<Result<bytes::Bytes, Problem>> =
            chunks.iter().map(|chunk| Ok(bytes::Bytes::from_static(chunk.as_bytes()))).collect();
        let stream = verified(futures_util::stream::iter(chunks).boxed(), object);
        let items: Vec<Result<bytes::Bytes, Problem>> = to_end(stream.collect());
        items.into_iter().try_fold(String::new(), |text, item| match item {
            Ok(chunk) => Ok(text + std::str::from_utf8(&chunk).expect("text")),
            Err(problem) => Err(problem.message),
        })
    }

    fn to_end<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn a_truncated_object_is_rejected() {
        // CRC32C of "123456789" is e3069283.
        let right = object(9, Some("4waSgw=="));
        assert_eq!(read_all(&["1234", "56789"], &right).as_deref(), Ok("123456789"));
        assert_eq!(read_all(&["1234"], &right), Err("object `a` has 9 bytes, but 4 were received".to_owned()));
        let changed = read_all(&["123456780"], &right).expect_err("it is another text");
        assert!(changed.contains("expected CRC32C `4waSgw==`"), "{changed}");
        assert_eq!(read_all(&["123456780"], &object(9, None)).as_deref(), Ok("123456780"));
        assert_eq!(read_all(&[], &object(0, Some("AAAAAA=="))).as_deref(), Ok(""));
        let decoded = Object { decoded: true, ..object(3, Some("AAAAAA==")) };
        assert_eq!(read_all(&["1234", "56789"], &decoded).as_deref(), Ok("123456789"));
    }
}
