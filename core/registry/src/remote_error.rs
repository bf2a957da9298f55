//! Errors of registries on servers.

use std::path::PathBuf;

/// An error of a registry on a server. Texts from the server are shortened, but not escaped. It
/// contains no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// No response, or a response that ended early.
    #[error("`{url}` cannot be read")]
    Unreachable {
        /// Requested URL.
        url: String,
        /// The cause.
        reason: String,
    },
    /// The certificate of the server was not accepted.
    #[error("the certificate of `{url}` is not accepted")]
    Certificate {
        /// Requested URL.
        url: String,
        /// The cause.
        reason: String,
    },
    /// The server reported an error.
    #[error("the server answered `{url}` with status {status}")]
    Status {
        /// Requested URL.
        url: String,
        /// Status code of HTTP.
        status: u16,
        /// Beginning of the response, if it is text.
        reason: Option<String>,
    },
    /// The server requires credentials, or rejected those it received.
    #[error("`{url}` requires other credentials")]
    Credentials {
        /// Requested URL.
        url: String,
        /// Host whose credentials are needed.
        host: String,
        /// Environment variable for a token. `None` if the registry has no name in the
        /// configuration.
        variable: Option<String>,
        /// Origin of the token service that did not receive the stored credentials, because it is not the
        /// one that the user permits. `None` if they were sent, or if there are none.
        token_service: Option<String>,
        /// Each source of credentials, with its result.
        tried: Vec<String>,
    },
    /// The server redirects to a URL that is not permitted.
    #[error("`{url}` redirects to `{target}`, which is not permitted")]
    Redirect {
        /// Requested URL.
        url: String,
        /// Target of the redirect.
        target: String,
        /// The rule.
        reason: String,
    },
    /// The response is larger than the limit.
    #[error("`{url}` is larger than {limit} bytes, the limit for it")]
    TooLarge {
        /// Requested URL.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The response is not what the protocol specifies.
    #[error("`{url}` is not valid")]
    Invalid {
        /// Requested URL.
        url: String,
        /// The cause.
        reason: String,
    },
    /// The file of CA certificates cannot be used.
    #[error("the file of CA certificates `{}` cannot be used", path.display())]
    Authority {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The network may not be used, and the cache does not contain this.
    #[error("`{url}` is not in the cache, and the network is not used")]
    NotCached {
        /// URL of the file or document.
        url: String,
    },
    /// A cache entry has other content than was stored. It is not changed.
    #[error("the cache entry `{}` is damaged", path.display())]
    Damaged {
        /// Path of the entry.
        path: PathBuf,
    },
    /// The registry does not list its bundles.
    #[error("the registry `{url}` does not list its bundles")]
    NotListed {
        /// URL of the registry.
        url: String,
        /// The cause.
        reason: String,
    },
    /// This build has no support for registries on servers.
    #[error("the registry `{url}` is on a server, which this build does not support")]
    Unsupported {
        /// URL of the registry.
        url: String,
    },
}

impl RemoteError {
    /// Returns the cause.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Unreachable { reason, .. }
            | Self::Certificate { reason, .. }
            | Self::Redirect { reason, .. }
            | Self::Invalid { reason, .. }
            | Self::Authority { reason, .. }
            | Self::NotListed { reason, .. } => Some(reason.clone()),
            Self::Status { reason, .. } => reason.clone(),
            Self::Credentials { tried, .. } => Some(format!("tried {}", tried.join("; "))),
            Self::TooLarge { .. } | Self::NotCached { .. } | Self::Damaged { .. } | Self::Unsupported { .. } => None,
        }
    }
}
