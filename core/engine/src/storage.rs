//! The interface `object-storage`, typed.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_32_ISCSI, Crc, Digest, Table};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::block::Block;
use crate::{ByteStream, Deadline, Error, ErrorKind, Input, Problem};

/// How long the storage may take for a copy on its own side: a day, for objects have any size, and no
/// byte passes here.
const COPY_TIME: Duration = Duration::from_secs(86_400);

/// CRC32C (RFC 3720, appendix B.4), sixteen bytes at a time.
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// A block that implements `object-storage`.
#[derive(Debug, Clone)]
pub struct ObjectStorage {
    block: Block,
}

/// An object, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its path, relative to the block.
    pub path: String,
    /// Its size, bytes.
    pub size: u64,
    /// When it was last changed (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Its checksum: CRC32C, big-endian, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32c: Option<String>,
    /// Which state of the object this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// What its writers said about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// A page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPage {
    /// Objects in the order of their paths.
    pub objects: Vec<Object>,
    /// What stands for all objects whose paths go on after the delimiter.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// For the next page; none on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// How an object is stored.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// Its media type; where it is not said, that of the input.
    pub content_type: Option<String>,
    /// Only where there is no object at that path.
    pub if_absent: bool,
}

impl Block {
    /// The block as a storage of objects.
    ///
    /// # Errors
    /// Its type does not implement the interface; the error says what it implements.
    pub fn as_object_storage(&self) -> Result<ObjectStorage, Error> {
        self.need_interface("object-storage")?;
        Ok(ObjectStorage { block: self.clone() })
    }
}

impl ObjectStorage {
    /// A page of the objects whose paths begin with a prefix. Paths that go on after `delimiter` are
    /// shown as one prefix.
    ///
    /// # Errors
    /// What the storage says.
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

    /// What an object is, without its bytes.
    ///
    /// # Errors
    /// There is none; what else the storage says.
    pub async fn stat(&self, path: &str) -> Result<Object, Error> {
        read(self.block.call("stat", json!({ "path": path })).await?.result)
    }

    /// The bytes of an object. The stream ends with a problem where they are not as many as the
    /// object has, or where its CRC32C is another: nobody takes a part for the whole.
    ///
    /// # Errors
    /// There is none; what else the storage says.
    pub async fn get(&self, path: &str) -> Result<(Object, ByteStream), Error> {
        let reply = self.block.call("get", json!({ "path": path })).await?;
        let object: Object = read(reply.result)?;
        let (_, stream) = reply.output.ok_or_else(|| Error::new(ErrorKind::Bundle, "the bundle gave no bytes"))?;
        let stream = whole(stream, &object);
        Ok((object, stream))
    }

    /// Stores bytes as an object: all of them, or nothing.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn put(&self, path: &str, input: Input, options: &PutOptions) -> Result<Object, Error> {
        let mut arguments = json!({ "path": path, "if_absent": options.if_absent });
        if let Some(content_type) = &options.content_type {
            arguments["content_type"] = content_type.as_str().into();
        }
        read(self.block.call_with("put", arguments, Some(input), Deadline::default()).await?.result)
    }

    /// Removes an object.
    ///
    /// # Errors
    /// There is none; what else the storage says.
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.block.call("delete", json!({ "path": path })).await.map(drop)
    }

    /// Copies an object within the storage.
    ///
    /// # Errors
    /// There is none; what else the storage says.
    pub async fn copy(&self, from: &str, to: &str) -> Result<Object, Error> {
        let arguments = json!({ "from": from, "to": to });
        read(self.block.call_with("copy", arguments, None, Deadline::within(COPY_TIME)).await?.result)
    }
}

fn read<T: serde::de::DeserializeOwned>(result: Value) -> Result<T, Error> {
    serde_json::from_value(result).map_err(|error| {
        Error::new(ErrorKind::Bundle, "the bundle does not answer as `object-storage` wants it").because(error)
    })
}

/// What was read so far, and what it should be in the end.
struct Reading {
    stream: ByteStream,
    digest: Digest<'static, u32, Table<16>>,
    bytes: u64,
    object: Object,
    ended: bool,
}

/// The stream, with a problem at its end where it is not the object.
fn whole(stream: ByteStream, object: &Object) -> ByteStream {
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
                Err(reading.mistake()?)
            }
        };
        Some((item, reading))
    })
    .boxed()
}

impl Reading {
    fn mistake(&self) -> Option<Problem> {
        let Object { path, size, crc32c, .. } = &self.object;
        let message = if self.bytes != *size {
            format!("object `{path}` has {size} bytes, and {} came", self.bytes)
        } else {
            let read = STANDARD.encode(self.digest.clone().finalize().to_be_bytes());
            let wanted = crc32c.as_ref().filter(|wanted| **wanted != read)?;
            format!("what came is not object `{path}`: its CRC32C is `{wanted}`, and that of what came is `{read}`")
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
            metadata: BTreeMap::new(),
        }
    }

    fn read_all(pieces: &[&'static str], object: &Object) -> Result<String, String> {
        let pieces: Vec<Result<bytes::Bytes, Problem>> =
            pieces.iter().map(|piece| Ok(bytes::Bytes::from_static(piece.as_bytes()))).collect();
        let stream = whole(futures_util::stream::iter(pieces).boxed(), object);
        let items: Vec<Result<bytes::Bytes, Problem>> = to_its_end(stream.collect());
        items.into_iter().try_fold(String::new(), |text, item| match item {
            Ok(piece) => Ok(text + std::str::from_utf8(&piece).expect("text")),
            Err(problem) => Err(problem.message),
        })
    }

    fn to_its_end<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn a_part_is_not_taken_for_the_whole() {
        // CRC32C of "123456789" is e3069283.
        let right = object(9, Some("4waSgw=="));
        assert_eq!(read_all(&["1234", "56789"], &right).as_deref(), Ok("123456789"));
        assert_eq!(read_all(&["1234"], &right), Err("object `a` has 9 bytes, and 4 came".to_owned()));
        let changed = read_all(&["123456780"], &right).expect_err("it is another text");
        assert!(changed.contains("its CRC32C is `4waSgw==`"), "{changed}");
        assert_eq!(read_all(&["123456780"], &object(9, None)).as_deref(), Ok("123456780"));
        assert_eq!(read_all(&[], &object(0, Some("AAAAAA=="))).as_deref(), Ok(""));
    }
}
