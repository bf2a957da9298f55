//! Describes one bundle, installed or not, without running its code: its releases, and the block
//! types in the manifest of a release.

use blockyard_model::{BundleName, Manifest};
use blockyard_registry::{Registry, component};
use semver::VersionReq;
use serde::Serialize;
use serde_json::Value;

use crate::catalog::{self, CatalogEntry, Offer};
use crate::fetch::{Content, Request};
use crate::manifest_view::{CapabilityView, ManifestView};
use crate::{BundleView, Error, ErrorKind, TypeView, Yard};

/// A bundle, for display and for programs.
#[derive(Debug, Clone, Serialize)]
pub struct BundleInfo {
    /// Bundle name.
    pub name: String,
    /// Short description.
    pub description: String,
    /// SPDX license expression.
    pub license: Option<String>,
    /// URL of the home page.
    pub homepage: Option<String>,
    /// URL of the source code.
    pub repository: Option<String>,
    /// The release that an installation uses. `None` if no release can be installed.
    pub release: Option<Offer>,
    /// Installed versions.
    pub installed: Vec<String>,
    /// Slugs of the block types.
    pub types: Vec<String>,
    /// Capabilities that the bundle requests.
    pub capabilities: Vec<CapabilityView>,
    /// Definitions of the block types, from the manifest of the release, or of the newest installed
    /// version if no release can be read. Empty if no manifest can be read.
    pub definitions: Vec<TypeView>,
    /// All releases: by registry, newest first.
    pub releases: Vec<Offer>,
    /// Reason why the release cannot be installed or its manifest cannot be read.
    pub problem: Option<String>,
}

/// Describes a bundle by the indexes of registries alone. `installed` are the bundles of the user's
/// yard, if there is one.
///
/// # Errors
/// Returns an error if no registry lists the bundle.
pub fn bundle_info(name: &BundleName, registries: &[Registry], installed: &[BundleView]) -> Result<BundleInfo, Error> {
    let CatalogEntry { name: text, description, license, types, release, installed: versions, problem } =
        catalog::entry(registries, installed, name)?;
    let requested = release.iter().flat_map(|release| &release.capabilities);
    Ok(BundleInfo {
        name: text,
        description,
        license,
        homepage: None,
        repository: None,
        capabilities: requested.map(|text| CapabilityView::of(text)).collect(),
        release,
        installed: versions,
        types,
        definitions: Vec::new(),
        releases: catalog::releases(registries, installed, name),
        problem,
    })
}

impl Yard {
    /// Describes a bundle by the indexes of registries and by the manifest of the release that an
    /// installation uses. The release is verified as for an installation, and its code is not run.
    /// A bundle that no registry lists is described by its newest installed version.
    ///
    /// # Errors
    /// Returns an error if the bundle is neither listed nor installed.
    pub async fn bundle_info(&self, name: &BundleName, registries: &[Registry]) -> Result<BundleInfo, Error> {
        let installed = self.bundles().await?;
        let own = self.newest_bundles().await?.into_iter().find(|(_, other, _)| other == name.as_str());
        let own = own.map(|(_, _, manifest)| manifest);
        let mut info = match (bundle_info(name, registries, &installed), &own) {
            (Ok(info), _) => info,
            (Err(error), Some(_)) => BundleInfo::installed(name, &installed, error.to_string()),
            (Err(error), None) => return Err(error),
        };
        if info.release.is_some() {
            match self.release_manifest(name, registries).await {
                Ok(Some(manifest)) => info.describe(&manifest),
                Ok(None) => {}
                Err(error) => {
                    let mut reasons = vec![error.to_string()];
                    reasons.extend(error.causes());
                    info.problem = Some(reasons.join(": "));
                }
            }
        }
        if info.definitions.is_empty()
            && let Some(manifest) = &own
        {
            info.describe(manifest);
        }
        Ok(info)
    }

    /// Returns the manifest that is embedded in the release that an installation uses. `None` if the
    /// release is source code.
    async fn release_manifest(&self, name: &BundleName, registries: &[Registry]) -> Result<Option<Value>, Error> {
        let request = Request { name, requirement: &VersionReq::STAR, accepted_key: None };
        let bytes = match self.find(&request, registries, &mut |_| ()).await?.content {
            Content::Component(bytes) => bytes,
            Content::Crate(_) => return Ok(None),
        };
        let text = component::manifest(&bytes)?;
        let invalid = |error| Error::new(ErrorKind::Invalid, "the manifest of the release is not valid").because(error);
        Manifest::parse(text).map_err(invalid)?;
        Ok(serde_json::from_str(text).ok())
    }
}

impl BundleInfo {
    /// Describes a bundle that no registry lists.
    fn installed(name: &BundleName, installed: &[BundleView], problem: String) -> Self {
        let versions = installed.iter().filter(|bundle| bundle.name == name.as_str());
        Self {
            name: name.to_string(),
            description: String::new(),
            license: None,
            homepage: None,
            repository: None,
            release: None,
            installed: versions.map(|bundle| bundle.version.clone()).collect(),
            types: Vec::new(),
            capabilities: Vec::new(),
            definitions: Vec::new(),
            releases: Vec::new(),
            problem: Some(problem),
        }
    }

    /// Completes the description with a manifest, which takes precedence over an index.
    fn describe(&mut self, manifest: &Value) {
        let ManifestView { description, license, homepage, repository, capabilities, definitions, .. } =
            ManifestView::of(manifest);
        self.types = definitions.iter().map(|view| view.slug.clone()).collect();
        (self.description, self.license, self.homepage, self.repository) = (description, license, homepage, repository);
        (self.capabilities, self.definitions) = (capabilities, definitions);
    }
}
