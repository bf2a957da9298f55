//! Reads files and standard input.

use std::io::Read as _;
use std::path::Path;

use blockyard::{Error, ErrorKind, Input, Problem};
use futures_util::StreamExt as _;
use tokio::io::AsyncReadExt as _;

/// Maximum size of a text, such as a field or a configuration, in bytes.
const FILE_BYTES: u64 = 16 << 20;
/// Chunk size of a byte stream, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// Reads a UTF-8 text file, or standard input if the path is `-`.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    let failed = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::InvalidData => {
                return Error::new(ErrorKind::Invalid, format!("`{}` is not valid UTF-8", path.display()))
                    .hint("encode binary data as base64");
            }
            _ => ErrorKind::Remote,
        };
        Error::new(kind, format!("`{}` cannot be read", path.display())).because(error)
    };
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES + 1).read_to_string(&mut text))
            .map_err(failed)?
    };
    if read as u64 > FILE_BYTES {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("`{}` is larger than {} MiB", path.display(), FILE_BYTES >> 20),
        ));
    }
    Ok(text)
}

/// Opens a file, or standard input, as a byte stream.
pub(crate) async fn stream(path: &Path) -> Result<Input, Error> {
    let (reader, size): (Box<dyn tokio::io::AsyncRead + Send + Unpin>, _) = if path.as_os_str() == "-" {
        (Box::new(tokio::io::stdin()), None)
    } else {
        let file = tokio::fs::File::open(path).await.map_err(|error| {
            Error::new(ErrorKind::NotFound, format!("`{}` cannot be read", path.display())).because(error)
        })?;
        let size = file.metadata().await.ok().map(|metadata| metadata.len());
        (Box::new(file), size)
    };
    let stream = futures_util::stream::unfold(reader, async |mut reader| {
        let mut chunk = bytes::BytesMut::with_capacity(CHUNK_BYTES);
        match reader.read_buf(&mut chunk).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(chunk.freeze()), reader)),
            Err(error) => Some((Err(problem(&error)), reader)),
        }
    });
    Ok(Input { media_type: "application/octet-stream".to_owned(), size, stream: stream.boxed() })
}

fn problem(error: &std::io::Error) -> Problem {
    Problem::new("failed", format!("the input cannot be read: {error}"))
}
