//! Keys of the customer's own ("Customer-supplied encryption keys", Cloud Storage): with every request for
//! an object goes the key, and what proves that it is the right one.

use blockyard_sdk::Secret;
use blockyard_sdk::http::Request;

/// A key: 32 bytes in base64. None for what Google encrypts with its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a>(pub(crate) Option<&'a Secret<String>>);

impl Key<'_> {
    /// A request for an object that is encrypted, or shall be.
    pub(crate) fn with(self, request: Request) -> Request {
        self.under("x-goog-encryption", request)
    }

    /// A request that copies one encrypted object to another.
    pub(crate) fn with_both(self, request: Request) -> Request {
        self.with(self.under("x-goog-copy-source-encryption", request))
    }

    fn under(self, prefix: &str, request: Request) -> Request {
        match self.0 {
            None => request,
            Some(key) => request
                .header(format!("{prefix}-algorithm"), "AES256")
                .secret_header(format!("{prefix}-key"), key)
                .secret_digest_header(format!("{prefix}-key-sha256"), key),
        }
    }
}
