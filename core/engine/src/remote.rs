//! Registries on servers: opens them, publishes in them, and removes unused files from their cache.
//! Without the feature `remote`, opening and publishing report that this build does not support it.

use std::path::Path;

use blockyard_model::Manifest;
use blockyard_registry::{Evicted, Registry, RemoteAccess, RemoteError, RemoteRegistry, SigningKey, Wanted, component};

#[cfg(feature = "remote")]
use crate::publish::Comparison;
use crate::publish::{OnPermissions, Published};
use crate::{Code, Error, ErrorKind};

/// Reads the index of a registry on a server. A registry that cannot be read keeps its position
/// among others: a bundle for which it is asked first is not looked up in later ones.
pub async fn open_remote(registry: &RemoteRegistry, wanted: Wanted<'_>, access: &RemoteAccess) -> Registry {
    #[cfg(feature = "remote")]
    return blockyard_registry::open(registry, wanted, access).await;
    #[cfg(not(feature = "remote"))]
    {
        let _ = (wanted, access);
        let url = registry.url.to_string();
        let base = url::Url::parse(&url).expect("the text of a `RemoteUrl` is a URL");
        let name = registry.name.clone().unwrap_or_else(|| url.clone());
        Registry::unavailable(name, base, RemoteError::Unsupported { url })
    }
}

/// Permits that a registry on this machine names files on servers.
pub fn permit_downloads(registry: &mut Registry, access: &RemoteAccess) {
    #[cfg(feature = "remote")]
    blockyard_registry::permit_downloads(registry, access);
    #[cfg(not(feature = "remote"))]
    let _ = (registry, access);
}

/// Removes the entries of the cache folder of registries that were not used for 30 days. Entries that
/// do not match their digest are listed, and stay.
///
/// # Errors
/// Returns an error if the folder belongs to another user, or an entry cannot be removed.
pub fn evict_downloads(folder: &Path) -> Result<Evicted, Error> {
    #[cfg(feature = "remote")]
    return blockyard_registry::evict(folder).map_err(|error| {
        let message = format!("unused files in the cache `{}` were not all removed", folder.display());
        Error::new(ErrorKind::Remote, message).because(error)
    });
    #[cfg(not(feature = "remote"))]
    {
        let _ = folder;
        Ok(Evicted::default())
    }
}

/// Signs a component file and publishes it in an OCI registry. A release that is already published is
/// never replaced. No code of the component runs. `report` receives the changed permissions before
/// anything is uploaded.
///
/// # Errors
/// Returns an error if the file is not a bundle, if the registry has other bytes under this version
/// or is signed with another key, or if it cannot be reached.
pub async fn publish_remotely(
    registry: &RemoteRegistry,
    bytes: &[u8],
    key: &SigningKey,
    access: &RemoteAccess,
    report: OnPermissions<'_>,
) -> Result<Published, Error> {
    let manifest = Manifest::parse(component::manifest(bytes)?)
        .map_err(|error| Error::new(ErrorKind::Invalid, "the file is not a valid bundle").because(error))?;
    #[cfg(feature = "remote")]
    {
        use blockyard_registry::Release;
        let release = blockyard_registry::NewRelease { manifest: &manifest, bytes };
        let permissions = Comparison::new(&manifest, report);
        let on_preceding = |preceding: &Release| permissions.with(preceding);
        let uploaded = blockyard_registry::publish_remotely(registry, &release, key, access, &on_preceding).await?;
        Ok(Published {
            name: manifest.name.to_string(),
            version: manifest.version.to_string(),
            sha256: uploaded.digest.to_string(),
            key: key.public().to_string(),
            file: uploaded.reference,
            changed: uploaded.changed,
            permissions: permissions.found(),
        })
    }
    #[cfg(not(feature = "remote"))]
    {
        let _ = (manifest, key, access, report);
        Err(RemoteError::Unsupported { url: registry.url.to_string() }.into())
    }
}

impl From<RemoteError> for Error {
    fn from(error: RemoteError) -> Self {
        let kind = match &error {
            RemoteError::Unreachable { .. } | RemoteError::Status { .. } | RemoteError::NotListed { .. } => {
                ErrorKind::Remote
            }
            RemoteError::Certificate { .. }
            | RemoteError::Credentials { .. }
            | RemoteError::Redirect { .. }
            | RemoteError::Authority { .. }
            | RemoteError::Damaged { .. } => ErrorKind::Denied,
            RemoteError::TooLarge { .. } | RemoteError::Invalid { .. } => ErrorKind::Invalid,
            RemoteError::NotCached { .. } => ErrorKind::NotFound,
            RemoteError::Unsupported { .. } => ErrorKind::Usage,
        };
        let kind = if matches!(error, RemoteError::Status { status: 404, .. }) { ErrorKind::NotFound } else { kind };
        let advice = match &error {
            RemoteError::Certificate { .. } => {
                Some("if its certificate is signed by a private authority, set `ca` for the registry")
            }
            RemoteError::Authority { .. } => Some("name a file of PEM-encoded CA certificates as `ca`"),
            RemoteError::Redirect { .. } | RemoteError::Invalid { .. } | RemoteError::TooLarge { .. } => {
                Some("report this to the registry's owner")
            }
            RemoteError::Damaged { .. } => Some("delete the entry; it is then downloaded again"),
            RemoteError::NotListed { .. } => Some("name the bundle that you look for"),
            _ => None,
        };
        let code = match &error {
            RemoteError::Credentials { host, variable, token_service, .. } => Some(Code::RegistryCredentials {
                host: host.clone(),
                variable: variable.clone(),
                token_service: token_service.clone(),
            }),
            RemoteError::NotCached { url } => Some(Code::NotCached { url: url.clone() }),
            _ => None,
        };
        let reason = error.reason();
        let error = Self::new(kind, error.to_string()).maybe_hint(advice.map(str::to_owned));
        let error = reason.into_iter().fold(error, Self::because);
        code.into_iter().fold(error, Self::code)
    }
}
