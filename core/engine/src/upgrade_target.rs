//! Selects the version of a bundle that an upgrade leads to.

use blockyard_model::{BundleName, Digest};
use blockyard_registry::{Registry, Requested, Unresolved, resolve};
use semver::{Version, VersionReq};

use crate::install::Staged;
use crate::review::Review;
use crate::source::BundleSource;
use crate::{Error, ErrorKind, Yard};

/// Version that an upgrade leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpgradeTarget {
    /// An installed version.
    Installed(Digest),
    /// A release of a registry, which must be found and staged first.
    Release(Version),
}

impl Yard {
    /// Returns the names of the installed bundles, in alphabetical order.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read.
    pub async fn installed_names(&self) -> Result<Vec<BundleName>, Error> {
        let mut names: Vec<String> =
            self.store().bundle_versions().await?.into_iter().map(|(_, name, _)| name).collect();
        names.dedup();
        Ok(names.into_iter().filter_map(|name| BundleName::new(name).ok()).collect())
    }

    /// Returns the version that an upgrade of a bundle leads to: the newest one that fits the
    /// requirement, of the installed versions and of the first registry with a fitting release. An
    /// installed version precedes an equal release.
    ///
    /// Without a requirement, the result is never older than the newest installed version.
    ///
    /// # Errors
    /// Returns an error if the bundle is not installed, or if no version fits the requirement.
    pub async fn upgrade_target(
        &self,
        name: &BundleName,
        requirement: Option<&VersionReq>,
        registries: &[Registry],
    ) -> Result<UpgradeTarget, Error> {
        let versions = self.store().bundle_versions().await?;
        // Ordered by the time of installation: of two equal versions, the later one is used.
        let installed: Vec<(Version, Digest)> = versions
            .iter()
            .filter(|(_, own, _)| own == name.as_str())
            .filter_map(|(digest, _, version)| Some((Version::parse(version).ok()?, *digest)))
            .collect();
        if installed.is_empty() {
            return Err(self.not_installed(name.as_str()).await);
        }
        let fits = |version: &Version| requirement.is_none_or(|requirement| requirement.matches(version));
        let newest = installed.iter().filter(|(version, _)| fits(version)).max_by(|a, b| a.0.cmp(&b.0));
        let any = VersionReq::STAR;
        let requested = Requested { name, requirement: requirement.unwrap_or(&any), locked: None };
        let release = match (resolve(registries, &requested), newest) {
            (Ok(resolved), _) => Some(resolved.release.version.clone()),
            // An invalid entry is an error: a version of it may be the one that the user expects.
            (Err(broken @ Unresolved::Broken { .. }), _) => return Err(broken.into()),
            (Err(_), Some(_)) => None,
            (Err(error), None) => return Err(error.into()),
        };
        Ok(match (newest, release) {
            (Some((version, digest)), release) if release.as_ref().is_none_or(|release| release <= version) => {
                UpgradeTarget::Installed(*digest)
            }
            (_, Some(release)) => UpgradeTarget::Release(release),
            (_, None) => {
                return Err(Error::new(ErrorKind::NotFound, format!("bundle `{name}` has no fitting version")));
            }
        })
    }

    /// Stages an installed version, to which existing blocks are to be moved.
    ///
    /// # Errors
    /// Returns an error if no bundle with this digest is installed.
    pub async fn stage_installed(&self, digest: &Digest) -> Result<Staged, Error> {
        let bundle = self.bundle(digest).await?;
        let record = self.store().bundle(digest).await?;
        let source = record.map(|record| record.source).unwrap_or_default();
        let review = Review::of_installed(bundle.manifest());
        Ok(Staged {
            bundle,
            bytes: std::sync::Arc::default(),
            source: BundleSource::parse(&source),
            already: true,
            review,
            reviewed: std::collections::BTreeSet::new(),
            replaced_key: None,
            signature: None,
        })
    }
}
