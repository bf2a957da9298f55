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

/// A validated request.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: RequestUrl,
    pub(super) headers: HeaderMap,
    /// Headers that the host adds from the block's secrets.
    pub(super) injected: Vec<Injected>,
    /// Source of the access token that the host adds.
    pub(super) token: Option<TokenSource>,
}
