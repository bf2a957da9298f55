//! A request whose parts have been checked.

use blockyard_model::{Pointer, RequestUrl};
use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::token::TokenSource;

/// A header whose value is derived from a secret of the block.
pub(super) struct Injected {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    /// Location of the secret in the block's configuration.
    pub(super) secret: Pointer,
}

/// A secret of the block that is the URL of a request.
pub(super) struct SecretUrl {
    pub(super) url: RequestUrl,
    /// Location of the secret in the block's configuration.
    pub(super) secret: Pointer,
}

/// A validated request.
pub(super) struct Outgoing {
    pub(super) method: Method,
    /// The URL as the guest knows it: that of the request, or the origin of its secret URL.
    pub(super) url: RequestUrl,
    /// The URL to which the request is sent instead. Only the request itself contains it.
    pub(super) secret_url: Option<SecretUrl>,
    pub(super) headers: HeaderMap,
    /// Headers that the host adds from the block's secrets.
    pub(super) injected: Vec<Injected>,
    /// Source of the access token that the host adds.
    pub(super) token: Option<TokenSource>,
}
