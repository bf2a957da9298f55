//! Settings with which registries on servers are read: what the caller knows of the user's machine.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blockyard_model::{BundleName, SecretValue};

use crate::remote_url::RemoteUrl;
use crate::token_service::TokenService;

/// Settings for all registries on servers.
#[derive(Clone)]
pub struct RemoteAccess {
    /// Folder for downloaded indexes and component files. It is created with mode 0700 and can be
    /// deleted at any time. `None` disables the cache.
    pub cache: Option<PathBuf>,
    /// `true` to use the cache only: no connection is opened.
    pub offline: bool,
    /// The user's `config.json` of docker or oras, which need not exist.
    pub docker_config: Option<PathBuf>,
    /// Time limits.
    pub times: RemoteTimes,
    /// Receives warnings, such as the path of a damaged cache entry.
    pub report: Arc<dyn Fn(&str) + Send + Sync>,
}

/// The entries that were removed from the cache of registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Number of removed entries.
    pub entries: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Entries that do not match their digest. They are not removed.
    pub damaged: Vec<PathBuf>,
}

/// Time limits of requests.
#[derive(Debug, Clone, Copy)]
pub struct RemoteTimes {
    /// Maximum time to connect, including the TLS handshake.
    pub connect: Duration,
    /// Maximum time without a byte.
    pub idle: Duration,
    /// Maximum time for an index or another document.
    pub document: Duration,
    /// Maximum time for a component file.
    pub component: Duration,
}

impl Default for RemoteTimes {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(20),
            document: Duration::from_secs(60),
            component: Duration::from_secs(15 * 60),
        }
    }
}

/// A registry on a server, with the user's settings for it.
#[derive(Debug, Clone)]
pub struct RemoteRegistry {
    /// Name in the configuration. `None` if only its URL was given.
    pub name: Option<String>,
    /// The URL.
    pub url: RemoteUrl,
    /// File of PEM-encoded CA certificates that are accepted for this registry, in addition to
    /// those of the system.
    pub ca: Option<PathBuf>,
    /// `true` if the user accepts that its releases are not signed.
    pub unsigned: bool,
    /// Token for this registry. `None` if it has no name, from which the variable's name is derived.
    pub token: Option<RegistryToken>,
    /// Token service that receives the credentials of docker for this registry. `None` permits only
    /// one on the registry's host.
    pub token_service: Option<TokenService>,
}

/// A token from an environment variable.
#[derive(Debug, Clone)]
pub struct RegistryToken {
    /// Name of the variable.
    pub variable: String,
    /// The token. `None` if the variable is not set.
    pub value: Option<SecretValue>,
}

/// The bundles that a caller needs of a registry.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// These bundles. An OCI registry is asked for them only.
    Bundles(&'a [BundleName]),
    /// All bundles, for a search. Not every OCI registry can list them.
    All,
}

impl fmt::Debug for RemoteAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cache, offline, docker_config, times, report: _ } = self;
        f.debug_struct("RemoteAccess")
            .field("cache", cache)
            .field("offline", offline)
            .field("docker_config", docker_config)
            .field("times", times)
            .finish_non_exhaustive()
    }
}

impl Default for RemoteAccess {
    fn default() -> Self {
        Self {
            cache: None,
            offline: false,
            docker_config: None,
            times: RemoteTimes::default(),
            report: Arc::new(|_| {}),
        }
    }
}
