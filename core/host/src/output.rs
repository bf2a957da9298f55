//! Streams of bytes in and out of a call.

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::Problem;

/// Bytes piece by piece; a problem ends it.
pub type ByteStream = BoxStream<'static, Result<Bytes, Problem>>;

/// What a caller gives an operation to read.
pub struct Input {
    /// What kind of bytes they are (RFC 6838); `application/octet-stream` where nothing is known.
    pub media_type: String,
    /// How many there are, where it is known.
    pub size: Option<u64>,
    /// The bytes.
    pub stream: ByteStream,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Input({}, {:?} bytes)", self.media_type, self.size)
    }
}
