//! Bundles of a lock file: finds the locked releases, compares bundles with them, and describes
//! bundles for the lock file.

use std::collections::BTreeMap;
use std::path::Path;

use blockyard_model::{BundleName, Digest, Manifest, WIT_VERSION, visible};
use blockyard_registry::{
    LockedBundle, LockedLocation, LockedSource, PublicKey, Registry, RegistryTrust, RelativePath, Release, Requested,
    Resolved, Unresolved, resolve,
};
use semver::VersionReq;
use url::Url;

use crate::fetch::{Found, location};
use crate::install::Staged;
use crate::lock::ProjectLock;
use crate::source::BundleSource;
use crate::{Code, Error, ErrorKind, Project, Yard};

/// A request for the release that a lock file names.
#[derive(Debug)]
pub struct LockedRequest<'a> {
    /// Name of the bundle.
    pub name: &'a BundleName,
    /// The lock file.
    pub lock: &'a ProjectLock,
    /// Key that the user accepts in place of the locked and the pinned one.
    pub accepted_key: Option<&'a PublicKey>,
    /// `true` rejects every difference to the lock file. `false` accepts a different signer if the
    /// user has accepted its key, or if the locked release was unsigned.
    pub exact: bool,
}

impl LockedRequest<'_> {
    /// Returns the error if the registry has other bytes for the locked release than when it was
    /// locked. `None` if it has the same bytes, or cannot be compared.
    #[must_use]
    pub fn changed_release(&self, registries: &[Registry]) -> Option<Error> {
        self.release(registries).err().filter(|error| matches!(error.as_code(), Some(Code::ReleaseChanged { .. })))
    }

    /// Finds the locked release in its registry. It may be withdrawn.
    fn release<'r>(&self, registries: &'r [Registry]) -> Result<Resolved<'r>, Error> {
        let (name, locked) = (self.name, self.lock.locked(self.name)?);
        let registry = self.registry(locked, registries)?;
        let version = &locked.version;
        let missing = |cause: Error| {
            let message = format!("the locked release `{name}` {version} is not available in its registry");
            let mut causes = vec![cause.to_string()];
            causes.extend(cause.causes());
            Error::new(ErrorKind::NotFound, message).because(causes.join(": "))
        };
        let requirement = VersionReq::parse(&format!("={version}"))
            .map_err(|error| missing(Error::new(ErrorKind::Invalid, error.to_string())))?;
        let requested = Requested { name, requirement: &requirement, locked: Some(version) };
        let resolved = resolve(std::slice::from_ref(registry), &requested).map_err(|error| match error {
            Unresolved::Unavailable { .. } => Error::from(error),
            error => missing(Error::from(error)),
        })?;
        match resolved.release.sha256 {
            Some(offered) if offered != locked.sha256 => Err(self.changed(locked, registry, offered)),
            _ => {
                self.check_signer(locked, registry, resolved.release)?;
                Ok(resolved)
            }
        }
    }

    /// Returns the registry of the locked release. Only configured registries are considered: a lock
    /// file cannot add one.
    fn registry<'r>(&self, locked: &LockedBundle, registries: &'r [Registry]) -> Result<&'r Registry, Error> {
        let folder = self.lock.project().folder();
        let is_source = |registry: &&Registry| {
            let location = location(&registry.base);
            location.is_ok_and(|at| source(at.as_str(), &registry.name, folder).is_same(&locked.source))
        };
        registries.iter().find(is_source).ok_or_else(|| {
            let (name, position) = (self.name, self.lock.position(self.name));
            let message =
                format!("{position}: `{name}` is locked to the registry {}, which is not in use", locked.source);
            let searched: Vec<String> =
                registries.iter().map(|registry| format!("`{}`", visible::line(&registry.name))).collect();
            let searched = if searched.is_empty() { "none".to_owned() } else { searched.join(", ") };
            Error::new(ErrorKind::Denied, message)
                .because(format!("the registries in use are: {searched}"))
                .code(Code::LockSourceUnknown { bundle: name.to_string(), source: locked.source.to_string() })
        })
    }

    /// Compares the key of the registry with the locked signer, before anything is read.
    fn check_signer(&self, locked: &LockedBundle, registry: &Registry, release: &Release) -> Result<(), Error> {
        let (name, shown) = (self.name, visible::line(&registry.name));
        match (registry.trust_in(release), &locked.signer) {
            (RegistryTrust::Key(key), Some(signer)) if key == *signer => Ok(()),
            (RegistryTrust::Key(key), Some(_)) if !self.exact && self.accepted_key == Some(&key) => Ok(()),
            (RegistryTrust::Key(key), Some(signer)) => {
                let message = format!("the registry `{shown}` has another key than the lock file");
                let cause = format!("`{name}` is locked with the signer {signer}; the registry has the key {key}");
                Err(Error::new(ErrorKind::Denied, message).because(cause).code(Code::SignerChanged {
                    bundle: name.to_string(),
                    pinned: signer.to_string(),
                    offered: key.to_string(),
                }))
            }
            (_, Some(signer)) => {
                let message = format!("the registry `{shown}` has no key, but the lock file names one");
                Err(Error::new(ErrorKind::Denied, message)
                    .because(format!("`{name}` is locked with the signer {signer}"))
                    .hint("do not install from it until its owner explains the change"))
            }
            // With `exact`, a key in place of none is found when the bundle is compared.
            (_, None) => Ok(()),
        }
    }

    fn changed(&self, locked: &LockedBundle, registry: &Registry, offered: Digest) -> Error {
        let (name, LockedBundle { version, sha256, .. }) = (self.name, locked);
        let shown = visible::line(&registry.name);
        Error::new(ErrorKind::Denied, format!("the registry changed `{name}` {version} after it was published"))
            .because(format!(
                "{} has sha256 {sha256}, but the registry `{shown}` now has sha256 {offered}",
                self.lock.position(name)
            ))
            .hint("a release must not change: ask the owner of the registry")
            .hint("yards that have the locked bytes continue to use them")
            .code(Code::ReleaseChanged {
                bundle: name.to_string(),
                version: version.to_string(),
                locked: sha256.to_string(),
                offered: offered.to_string(),
            })
    }
}

impl Yard {
    /// Stages the locked bytes if they are already in the yard, whatever the registry has now.
    /// Returns `None` if they are not.
    ///
    /// # Errors
    /// Returns an error if the bundle is not the one that the lock file describes.
    pub async fn stage_locked(&self, request: &LockedRequest<'_>) -> Result<Option<Staged>, Error> {
        let locked = request.lock.locked(request.name)?;
        let Some(record) = self.store().bundle(&locked.sha256).await? else { return Ok(None) };
        let Some(bytes) = self.store().bundle_bytes(&locked.sha256).await? else { return Ok(None) };
        let mut staged = self.stage(bytes, BundleSource::parse(&record.source)).await?;
        staged.signature = record.signature;
        // The same bytes may have been installed from another source, where they had no signer.
        let found = describe(staged.manifest(), staged.digest(), locked.source.clone(), locked.signer.clone());
        compare(request, staged.name(), locked, &found)?;
        Ok(Some(staged))
    }

    /// Finds a locked release in its registry, like [`find`](Self::find).
    ///
    /// # Errors
    /// Returns an error if the registry of the release is not among these, if it has other bytes or
    /// another key now, or if the file does not match.
    pub async fn find_locked(
        &self,
        request: &LockedRequest<'_>,
        registries: &[Registry],
        report: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Found, Error> {
        let resolved = request.release(registries)?;
        self.fetch(&resolved, request.name, request.accepted_key, report).await
    }

    /// Locks installed bundles in place of the locked releases. Bundles that the project does not
    /// require, and those that were not installed from a registry, are left out, because other
    /// machines could not install them. Returns `false` if this changes nothing.
    ///
    /// # Errors
    /// Returns an error if a bundle is not installed, or if the lock file cannot be written.
    pub async fn lock_installed(&self, lock: &mut ProjectLock, installed: &[Digest]) -> Result<bool, Error> {
        let mut releases = BTreeMap::new();
        for digest in installed {
            let record = self.store().bundle(digest).await?;
            let missing = || Error::new(ErrorKind::NotFound, format!("no bundle with sha256 {digest} is installed"));
            let record = record.ok_or_else(missing)?;
            let manifest = self.manifest_of(&record)?;
            let source = BundleSource::parse(&record.source);
            if let Some(entry) = entry(&manifest, record.digest, &source, lock.project()) {
                releases.insert(manifest.name.clone(), entry);
            }
        }
        lock.update(releases)
    }
}

impl Staged {
    /// Describes the bundle for the lock file of a project. Returns `None` if it is not from a
    /// registry, because other machines could not install it.
    #[must_use]
    pub fn lock_entry(&self, project: &Project) -> Option<LockedBundle> {
        entry(self.manifest(), self.digest(), self.source(), project)
    }

    /// Checks that the bundle is the one that the lock file describes.
    ///
    /// # Errors
    /// Returns an error that lists all differences.
    pub fn check_lock(&self, request: &LockedRequest<'_>) -> Result<(), Error> {
        let locked = request.lock.locked(request.name)?;
        let signer = if request.exact { signer(self.source()) } else { locked.signer.clone() };
        let found = describe(self.manifest(), self.digest(), locked.source.clone(), signer);
        compare(request, self.name(), locked, &found)
    }
}

/// Compares a bundle with the locked one. Their sources were compared before.
fn compare(
    request: &LockedRequest<'_>,
    name: &BundleName,
    locked: &LockedBundle,
    found: &LockedBundle,
) -> Result<(), Error> {
    let mut differences: Vec<String> = locked.differences(found).iter().map(ToString::to_string).collect();
    if name != request.name {
        differences.insert(0, format!("`name` is locked as {}, found {name}", request.name));
    }
    if differences.is_empty() {
        return Ok(());
    }
    let position = request.lock.position(request.name);
    let message = format!("{position}: bundle `{}` {} differs from the locked one", request.name, locked.version);
    Err(Error::new(ErrorKind::Denied, message)
        .because(differences.join("; "))
        .code(Code::LockMismatch { bundle: request.name.to_string(), differences }))
}

fn entry(manifest: &Manifest, digest: Digest, from: &BundleSource, project: &Project) -> Option<LockedBundle> {
    let (location, entry) = from.registry_entry()?;
    let suffix = format!(": {} {}", manifest.name, manifest.version);
    let registry = entry.strip_suffix(&suffix).unwrap_or(entry);
    Some(describe(manifest, digest, source(location, registry, project.folder()), signer(from)))
}

fn describe(manifest: &Manifest, sha256: Digest, source: LockedSource, signer: Option<PublicKey>) -> LockedBundle {
    LockedBundle {
        version: manifest.version.clone(),
        source,
        sha256,
        signer,
        // A manifest of another interface version is not valid.
        wit: WIT_VERSION.to_owned(),
        capabilities: manifest.capabilities.clone(),
    }
}

fn signer(source: &BundleSource) -> Option<PublicKey> {
    source.signer().and_then(|key| key.parse().ok())
}

/// Returns the source of releases of a registry, for the lock file of the project in `folder`. Paths
/// of this machine are not written to it.
fn source(location: &str, registry: &str, folder: &Path) -> LockedSource {
    let path = Url::parse(location).ok().and_then(|url| url.to_file_path().ok());
    let location = match path {
        None => LockedLocation::url(location),
        Some(path) => inside(&path, folder).map(LockedLocation::Folder),
    };
    LockedSource::new(registry, location)
}

/// Returns the path relative to a folder, which is `None` for the folder itself. Returns `None` if the
/// path is not inside, or has characters that are not permitted in project files.
fn inside(path: &Path, folder: &Path) -> Option<Option<RelativePath>> {
    let relative = path.strip_prefix(folder).ok()?;
    let parts = relative.components().map(|part| part.as_os_str().to_str()).collect::<Option<Vec<_>>>()?;
    if parts.is_empty() { Some(None) } else { parts.join("/").parse().ok().map(Some) }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_no_path_of_this_machine() {
        let check = |location: &str, expected: &str| {
            assert_eq!(source(location, "acme", Path::new("/home/ada/zoo")).to_string(), expected, "{location}");
        };
        check("file:///home/ada/zoo/", "`acme` in the project's folder");
        check("file:///home/ada/zoo/registries/acme/", "`acme` in `registries/acme`");
        check("file:///home/ada/zoo/my%20registry/", "`acme` in `my registry`");
        check("file:///home/ada/zoo/a%3Ab/", "`acme`");
        check("file:///home/ada/zoos/acme/", "`acme`");
        check("file:///srv/acme/", "`acme`");
        check("https://acme.example/r/", "`acme` at `https://acme.example/r/`");
        check("https://user:hunter2@acme.example/r/", "`acme`");
        check("oci://acme.example/bundles", "`acme` at `oci://acme.example/bundles`");
    }
}
