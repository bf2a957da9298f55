//! Requests that a block sent, as a test sees them, and the answers of the test.

use std::time::Duration;

use super::types::Problem;

/// A request that a block sent, with its credentials in place of their values.
#[derive(Debug, Clone, PartialEq)]
pub struct SentRequest {
    /// HTTP method.
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// Headers that the block set, in their order.
    pub headers: Vec<(String, String)>,
    /// Credentials that the host adds, as the `Authorization` header or as the URL.
    pub credential: Credential,
    /// Headers that the host adds: the name, and the JSON Pointer of the secret.
    pub secret_headers: Vec<(String, String)>,
    /// Maximum time until the head of the response.
    pub timeout: Option<Duration>,
    /// Bytes of the body, if the request has one.
    pub body: Option<Vec<u8>>,
}

/// Credentials of a request. Secrets are named by their JSON Pointers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// No credentials.
    None,
    /// A secret as a bearer token.
    Bearer(String),
    /// A user name, and a secret as the password.
    Basic(String, String),
    /// An access token that the host obtains.
    Token(Grant),
    /// A scheme of the `Authorization` header, and a secret as its credentials.
    Scheme(String, String),
    /// The name of a member of the body, and the secret that is its value. [`SentRequest::body`] does not
    /// contain it.
    Member(String, String),
    /// A secret URL, to which the host sends the request. [`SentRequest::url`] is its origin.
    Url(String),
}

/// Grant by which the host obtains an access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Kind of the grant.
    pub kind: GrantKind,
    /// URL of the token server.
    pub token_url: String,
    /// Requested scopes.
    pub scopes: Vec<String>,
    /// JSON Pointers of the secrets that are sent to the token server, or sign the assertion.
    pub secrets: Vec<String>,
}

/// Kind of a [`Grant`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantKind {
    /// JWT bearer grant (RFC 7523).
    JwtBearer {
        /// Issuer of the assertion.
        issuer: String,
        /// Subject of the assertion.
        subject: Option<String>,
    },
    /// Client credentials grant (RFC 6749, section 4.4).
    ClientCredentials {
        /// Client ID.
        client_id: String,
    },
    /// Refresh token grant (RFC 6749, section 6).
    RefreshToken {
        /// Client ID.
        client_id: String,
    },
}

/// Answer of the script to a request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Status code.
    pub(crate) status: u16,
    /// Headers, with names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Chunks of the body. A problem interrupts it.
    pub(crate) chunks: Vec<Result<Vec<u8>, Problem>>,
    /// Time until the head of the response.
    pub(crate) delay: Duration,
}
