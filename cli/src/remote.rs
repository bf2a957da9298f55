//! Registries on servers in commands: the user's settings for them, tokens in environment variables,
//! and the credentials of docker.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockyard::model::{SecretValue, visible};
use blockyard::{
    Error, ErrorKind, NamedRegistry, Registry, RegistryAddress, RegistryToken, RemoteAccess, RemoteRegistry, RemoteUrl,
    RemoteUrlError, Wanted, open_remote, permit_downloads,
};
use futures_util::future::join_all;

use crate::context::Context;
use crate::settings::Settings;

/// Start of the names of the variables with tokens. The name of the registry follows, in upper case,
/// with `_` for `-`.
pub(crate) const TOKEN: &str = "BLOCKYARD_REGISTRY_TOKEN_";

/// The registries that a command uses, and what it needs of them.
#[derive(Clone, Copy)]
pub(crate) struct RegistryQuery<'a> {
    /// The registries of `--registry`. If there is none, the configured ones are used.
    pub(crate) named: &'a [PathBuf],
    /// The bundles that are needed.
    pub(crate) wanted: Wanted<'a>,
    /// Whether connections may be opened.
    pub(crate) network: Network,
}

impl<'a> RegistryQuery<'a> {
    /// Registries to which connections may be opened.
    pub(crate) fn permitted(named: &'a [PathBuf], wanted: Wanted<'a>) -> Self {
        Self { named, wanted, network: Network::Permitted }
    }
}

/// Whether a command may open connections to registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Permitted,
    /// `--offline`: only local registries and the cache are used.
    CacheOnly,
}

/// A registry that a command uses.
pub(crate) enum Configured {
    Local { path: PathBuf, unsigned: bool },
    Remote(Box<RemoteRegistry>),
}

impl Configured {
    /// Returns a registry of `--registry`. A URL that the user's configuration names has the
    /// settings of that entry.
    pub(crate) fn named(path: &Path, settings: &Settings) -> Result<Self, Error> {
        let Some(text) = path.to_str().filter(|text| RemoteUrl::is_url(text)) else {
            return Ok(Self::Local { path: path.to_owned(), unsigned: false });
        };
        let url: RemoteUrl = text.parse().map_err(|error: RemoteUrlError| {
            Error::new(ErrorKind::Usage, format!("the registry `{}` {error}", without_credentials(text)))
        })?;
        let address = RegistryAddress::Remote(url.clone());
        let known = settings.configuration().registries.iter().find(|known| known.address == address);
        Ok(match known {
            Some(known) => Self::entry(known),
            None => Self::remote(RemoteRegistry {
                name: None,
                url,
                ca: None,
                unsigned: false,
                token: None,
                token_service: None,
            }),
        })
    }

    fn remote(registry: RemoteRegistry) -> Self {
        Self::Remote(Box::new(registry))
    }

    /// Returns a registry of the user's configuration.
    pub(crate) fn entry(registry: &NamedRegistry) -> Self {
        let NamedRegistry { name, address, unsigned, ca, token_service } = registry.clone();
        match address {
            RegistryAddress::Path(path) => Self::Local { path, unsigned },
            RegistryAddress::Remote(url) => {
                let token = Some(token(name.as_str()));
                let name = Some(name.to_string());
                Self::remote(RemoteRegistry { name, url, ca, unsigned, token, token_service })
            }
        }
    }

    /// Returns a registry of a project file. If the user's configuration names its URL, it has the
    /// settings of that entry. A token that the user has set for another registry of the same name is
    /// not sent to it.
    pub(crate) fn of_project(registry: &NamedRegistry, settings: &Settings) -> Self {
        let own = &settings.configuration().registries;
        if let Some(known) = own.iter().find(|known| known.address == registry.address) {
            return Self::entry(known);
        }
        let mut configured = Self::entry(registry);
        if let Self::Remote(remote) = &mut configured
            && own.iter().any(|known| known.name == registry.name)
        {
            remote.token = None;
        }
        configured
    }

    /// Returns the path or the URL.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Local { path, .. } => path.display().to_string(),
            Self::Remote(registry) => registry.url.to_string(),
        }
    }

    pub(crate) async fn open(&self, wanted: Wanted<'_>, access: &RemoteAccess) -> Result<Registry, Error> {
        match self {
            Self::Remote(registry) => Ok(open_remote(registry, wanted, access).await),
            Self::Local { path, unsigned } => {
                let mut registry = Registry::read(path)?;
                if *unsigned {
                    registry.accept_unsigned();
                }
                permit_downloads(&mut registry, access);
                Ok(registry)
            }
        }
    }
}

impl Context {
    /// Opens registries at the same time, so that one that does not respond delays the others only
    /// once.
    pub(crate) async fn open_registries(
        &self,
        configured: &[Configured],
        wanted: Wanted<'_>,
        network: Network,
    ) -> Result<Vec<Registry>, Error> {
        let access = self.remote_access(network);
        let opened = join_all(configured.iter().map(|registry| registry.open(wanted, &access))).await;
        opened.into_iter().collect()
    }

    /// Returns the cache of registries on servers. `None` if the user has no home folder.
    pub(crate) fn downloads_folder(&self) -> Option<PathBuf> {
        self.cache_folder().map(|folder| folder.join("registries"))
    }

    /// Returns the settings for registries on servers.
    pub(crate) fn remote_access(&self, network: Network) -> RemoteAccess {
        let terminal = self.terminal.clone();
        RemoteAccess {
            cache: self.downloads_folder(),
            offline: network == Network::CacheOnly,
            docker_config: docker_config(),
            report: Arc::new(move |warning| terminal.note(&format!("warning: {}", visible::line(warning)))),
            ..RemoteAccess::default()
        }
    }
}

/// Returns the value of `--registry` for display: a path, or a URL without its user and password.
pub(crate) fn shown(path: &Path) -> String {
    match path.to_str().filter(|text| RemoteUrl::is_url(text)) {
        Some(url) => without_credentials(url),
        None => path.display().to_string(),
    }
}

/// Returns a URL for a message, without its user and password, if any.
fn without_credentials(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    visible::line(&format!("{scheme}://{host}{}", &rest[authority.len()..]))
}

/// Returns the token for a registry from its environment variable.
fn token(name: &str) -> RegistryToken {
    let variable = format!("{TOKEN}{}", name.to_uppercase().replace('-', "_"));
    let value = std::env::var(&variable).ok().map(SecretValue::from_file).filter(|value| !value.expose().is_empty());
    RegistryToken { variable, value }
}

/// Returns the name of the variable with the token for a registry, if it is set.
pub(crate) fn token_variable(name: &str) -> Option<String> {
    let RegistryToken { variable, value } = token(name);
    value.map(|_| variable)
}

/// Returns the path of docker's configuration, which oras uses, too.
fn docker_config() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = folder.or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
    folder.map(|folder| folder.join("config.json"))
}
