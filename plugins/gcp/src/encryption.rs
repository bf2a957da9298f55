//! Customer-supplied encryption keys ("Customer-supplied encryption keys", Cloud Storage). Every
//! request for an object carries the key and the SHA-256 digest with which Cloud Storage verifies
//! it.

use blockyard_sdk::Secret;
use blockyard_sdk::http::Request;

/// Base64-encoded 32-byte key, or `None` for objects encrypted with a Google-managed key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a>(pub(crate) Option<&'a Secret<String>>);

impl Key<'_> {
    /// Adds the key to a request that reads or writes an object.
    pub(crate) fn with(self, request: Request) -> Request {
        self.under("x-goog-encryption", request)
    }

    /// Adds the key to a request that copies an object, for both the source and the destination.
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
