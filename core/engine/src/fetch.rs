//! Finds a bundle in registries: resolves the release, reads its file, and verifies its digest and
//! its signature. Nothing that fails a check is passed on.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use blockyard_model::{BundleName, Digest, visible};
use blockyard_registry::{
    Base, PublicKey, Registry, RegistryTrust, RelativePath, Release, RemoteUrl, Requested, Resolved, Source, resolve,
};
use semver::{Version, VersionReq};
use url::Url;

use crate::ownership::{Guard, writable_by_others};
use crate::source::BundleSource;
use crate::{Code, Error, ErrorKind, Yard};

/// Maximum size of a component file in bytes, the limit of the sandbox.
const COMPONENT_BYTES: u64 = blockyard_host::limits::COMPONENT_BYTES as u64;

/// A requested bundle.
#[derive(Debug)]
pub struct Request<'a> {
    /// Name of the bundle.
    pub name: &'a BundleName,
    /// Permitted versions.
    pub requirement: &'a VersionReq,
    /// Key that the user accepts in place of the pinned one.
    pub accepted_key: Option<&'a PublicKey>,
}

/// A bundle found in a registry.
#[derive(Debug)]
pub struct Found {
    /// Component file, or the crate to build.
    pub content: Content,
    /// The release.
    pub release: FoundRelease,
}

/// Content of a release in a registry.
#[derive(Debug)]
pub enum Content {
    /// Content of a component file, which was verified.
    Component(Vec<u8>),
    /// Folder of a crate, which must be built first.
    Crate(PathBuf),
}

/// The release that a registry lists, to which the component is compared when it is staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRelease {
    /// Name of the bundle.
    pub(crate) name: BundleName,
    /// Version of the bundle.
    pub(crate) version: Version,
    /// Digest of the component file. `None` for a crate.
    pub(crate) digest: Option<Digest>,
    /// Source to record in the yard.
    pub(crate) source: BundleSource,
    /// The pinned key that the user agreed to replace.
    pub(crate) replaced_key: Option<String>,
    /// Content of the signature file that was verified. `None` if the release is unsigned.
    pub(crate) signature: Option<String>,
}

impl Yard {
    /// Finds a bundle in the first registry that has a fitting release. `report` is called with the
    /// bundle's name, its version and the registry's path.
    ///
    /// A component file is verified: its digest, and the signature by the registry's key. The key is
    /// pinned by the first installation.
    ///
    /// # Errors
    /// Returns an error if no registry has a fitting release, if the registry is neither signed nor
    /// declared unsigned, if its key is not the pinned one, or if the file does not match.
    pub async fn find(
        &self,
        request: &Request<'_>,
        registries: &[Registry],
        report: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Found, Error> {
        let Request { name, requirement, accepted_key } = *request;
        if registries.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "no registry is configured")
                .code(Code::NoRegistry { bundle: name.to_string() }));
        }
        let resolved = resolve(registries, &Requested { name, requirement, locked: None })?;
        self.fetch(&resolved, name, accepted_key, report).await
    }

    /// Reads and verifies a release that was selected from a registry.
    pub(crate) async fn fetch(
        &self,
        resolved: &Resolved<'_>,
        name: &BundleName,
        accepted_key: Option<&PublicKey>,
        report: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Found, Error> {
        let Resolved { registry, release, .. } = *resolved;
        // The registry's name is chosen by its author, so its location is shown as well.
        let place = registry.base.to_string();
        let (shown, place) = (visible::line(&registry.name), visible::line(&place));
        report(&format!("{name} {} from the registry `{shown}` in `{place}`", release.version));
        let location = location(&registry.base)?;
        let entry = format!("{}: {name} {}", registry.name, release.version);
        let found = |digest, signer: Option<&str>, replaced_key| FoundRelease {
            name: name.clone(),
            version: release.version.clone(),
            digest,
            source: BundleSource::registry(&location, &entry, signer),
            replaced_key,
            signature: None,
        };
        let url = match &release.source {
            Source::Path(folder) => {
                self.may_be_unsigned(registry, &registry.trust, &location).await?;
                return Ok(Found { content: Content::Crate(folder.clone()), release: found(None, None, None) });
            }
            Source::Url(url) => url,
        };
        let (key, replaced) = self.signer(registry, release, &location, name, accepted_key).await?;
        let bytes = content(registry, release, url).await?;
        let digest = verified(registry, name, release, key.as_ref(), &bytes)?;
        let signature = key.as_ref().and(release.signature.clone());
        let release = FoundRelease { signature, ..found(Some(digest), key.as_ref().map(PublicKey::as_str), replaced) };
        Ok(Found { content: Content::Component(bytes), release })
    }

    /// Returns the key that must have signed a release, and the pinned key that it replaces with the
    /// user's agreement. The first is `None` if the registry is declared unsigned.
    async fn signer(
        &self,
        registry: &Registry,
        release: &Release,
        location: &Url,
        name: &BundleName,
        accepted: Option<&PublicKey>,
    ) -> Result<(Option<PublicKey>, Option<String>), Error> {
        let key = match registry.trust_in(release) {
            RegistryTrust::Key(key) => key,
            trust => {
                self.may_be_unsigned(registry, &trust, location).await?;
                return Ok((None, None));
            }
        };
        let shown = visible::line(&registry.name);
        if let Some(accepted) = accepted.filter(|accepted| **accepted != key) {
            let message = format!("the registry `{shown}` does not have the accepted key");
            return Err(Error::new(ErrorKind::Denied, message)
                .because(format!("the accepted key is {accepted}; the registry has the key {key}"))
                .hint("do not install from it until its owner explains the difference"));
        }
        // A bundle that is new in this yard must be signed like the other bundles of the registry.
        let pinned = match self.store().signer(location.as_str(), name.as_str()).await? {
            Some(pinned) => Some(pinned),
            None => {
                let others = self.store().registry_signers(location.as_str()).await?;
                others.iter().all(|other| other != key.as_str()).then(|| others.into_iter().next()).flatten()
            }
        };
        match pinned.filter(|pinned| pinned != key.as_str()) {
            None => Ok((Some(key), None)),
            Some(pinned) if accepted.is_some() => Ok((Some(key), Some(pinned))),
            Some(pinned) => {
                let message = format!("the registry `{shown}` now has another key");
                let cause = format!("its releases were signed with the key {pinned}; it now has the key {key}");
                Err(Error::new(ErrorKind::Denied, message).because(cause).code(Code::SignerChanged {
                    bundle: name.to_string(),
                    pinned,
                    offered: key.to_string(),
                }))
            }
        }
    }

    /// Checks that an unsigned release may be installed from a registry: none of its releases was
    /// signed before, and the registry has a key or is declared unsigned.
    async fn may_be_unsigned(&self, registry: &Registry, trust: &RegistryTrust, location: &Url) -> Result<(), Error> {
        let shown = visible::line(&registry.name);
        if !self.store().registry_signers(location.as_str()).await?.is_empty() {
            let message = format!("the registry `{shown}` offers an unsigned release, but signed its releases before");
            return Err(Error::new(ErrorKind::Denied, message)
                .hint("do not install from it until its owner explains the change"));
        }
        match trust {
            RegistryTrust::Unsigned | RegistryTrust::Key(_) => Ok(()),
            RegistryTrust::Undeclared => {
                Err(Error::new(ErrorKind::Denied, format!("the registry `{shown}` is not signed"))
                    .code(Code::RegistryNotSigned { registry: registry.name.clone() }))
            }
        }
    }
}

/// Verifies the bytes of a release. Returns their digest.
fn verified(
    registry: &Registry,
    name: &BundleName,
    release: &Release,
    key: Option<&PublicKey>,
    bytes: &[u8],
) -> Result<Digest, Error> {
    let refused = |message: String| {
        Error::new(ErrorKind::Denied, message).hint("do not use the file; report this to the registry's owner")
    };
    let version = &release.version;
    let digest = Digest::of(bytes);
    if let Some(expected) = release.sha256.filter(|expected| *expected != digest) {
        return Err(refused(format!("the file of `{name}` {version} does not match the digest in the registry"))
            .because(format!("expected sha256 {expected}, found {digest}")));
    }
    let Some(key) = key else { return Ok(digest) };
    let Some(signature) = &release.signature else {
        let registry = visible::line(&registry.name);
        return Err(refused(format!("`{name}` {version} is not signed, although the registry `{registry}` has a key")));
    };
    key.verify(signature, bytes, name, version).map_err(|error| {
        refused(format!("the signature of `{name}` {version} is not valid")).because(visible::line(&error.to_string()))
    })?;
    Ok(digest)
}

/// Reads or downloads the component file of a release.
async fn content(registry: &Registry, release: &Release, url: &str) -> Result<Vec<u8>, Error> {
    match (&registry.base, &registry.downloads, release.sha256) {
        (Base::Folder(folder), _, _) if !RemoteUrl::is_url(url) => read(folder, url),
        (_, Some(downloads), Some(digest)) => Ok(downloads.download(url, digest).await?),
        _ => Err(Error::new(
            ErrorKind::Usage,
            format!("this build of Blockyard does not fetch `{}`", visible::line(url)),
        )
        .hint("download the file, and install it by its path")),
    }
}

/// Reads a component file: a path relative to the registry's folder.
fn read(folder: &Path, url: &str) -> Result<Vec<u8>, Error> {
    let relative: RelativePath = url.parse().map_err(|error| {
        Error::new(ErrorKind::Invalid, format!("the registry names the file `{}`", visible::line(url)))
            .because(format!("it {error}"))
            .hint("report this to the registry's owner")
    })?;
    let path = relative.components().fold(folder.to_owned(), |path, component| path.join(component));
    let failed = |error: std::io::Error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Remote };
        Error::new(kind, format!("`{}` cannot be read", path.display())).because(error)
    };
    let mut options = std::fs::File::options();
    options.read(true);
    // Opening a pipe would wait for its writer.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(&path).map_err(failed)?;
    // A device or a pipe could block, or never end.
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Error::new(ErrorKind::Invalid, format!("`{}` is not a regular file", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(COMPONENT_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > COMPONENT_BYTES {
        let message =
            format!("`{}` is larger than {} MiB, the limit for bundles", path.display(), COMPONENT_BYTES >> 20);
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(bytes)
}

/// Returns the URL that identifies a registry.
pub(crate) fn location(base: &Base) -> Result<Url, Error> {
    let folder = match base {
        Base::Folder(folder) => folder,
        Base::Server(url) => return Ok(url.clone()),
    };
    let absolute = std::fs::canonicalize(folder).map_err(|error| {
        Error::new(ErrorKind::Remote, format!("the folder `{}` cannot be read", folder.display())).because(error)
    })?;
    Url::from_directory_path(&absolute)
        .map_err(|()| Error::new(ErrorKind::Remote, format!("`{}` is not an absolute path", absolute.display())))
}

/// Checks that no other user could modify a registry.
///
/// # Errors
/// Returns an error if another user could modify it, or if it cannot be inspected.
pub fn usable_registry(folder: &Path) -> Result<(), Error> {
    let file = folder.join(Registry::FILE_NAME);
    let message = || format!("the registry `{}` is not used", folder.display());
    match writable_by_others(&file, Guard::File) {
        Ok(None) => Ok(()),
        Ok(Some(reason)) => Err(Error::new(ErrorKind::Denied, message()).because(reason)),
        Err(error) => Err(Error::new(ErrorKind::Remote, message()).because(error)),
    }
}
