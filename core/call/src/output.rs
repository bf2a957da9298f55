//! Byte streams: the input and the output of a call.

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::problem::Problem;

/// A stream of chunks. It ends after the last chunk or after a [`Problem`].
pub type ByteStream = BoxStream<'static, Result<Bytes, Problem>>;

/// The input stream that a caller passes to an operation.
pub struct Input {
    /// Media type (RFC 6838); `application/octet-stream` if unknown.
    pub media_type: String,
    /// Length in bytes, if known.
    pub size: Option<u64>,
    /// The content.
    pub stream: ByteStream,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Input({}, {:?} bytes)", self.media_type, self.size)
    }
}
