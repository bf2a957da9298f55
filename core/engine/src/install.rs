//! Installs bundles: a bundle is staged, reviewed, approved and then stored in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use blockyard_host::Bundle;
use blockyard_model::{BundleName, Digest, Manifest, Schema, TypeSlug};
use blockyard_registry::component;
use blockyard_store::{NewBundle, NewSigner};
use serde::Serialize;
use serde_json::{Value, json};

use crate::audit_writer::line;
use crate::fetch::FoundRelease;
use crate::review::{Agreement, InstalledVersion, Review};
use crate::source::BundleSource;
use crate::yard::bundle_bytes;
use crate::{Error, ErrorKind, Yard};

/// A bundle that was fetched and validated, but is not installed yet.
#[derive(Debug)]
pub struct Staged {
    pub(crate) bundle: Bundle,
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) source: BundleSource,
    /// `true` if the same bytes are already installed.
    pub(crate) already: bool,
    pub(crate) review: Review,
    /// Installed versions of the same name that the review covers.
    pub(crate) reviewed: BTreeSet<Digest>,
    /// The pinned key of the registry that the user agreed to replace.
    pub(crate) replaced_key: Option<String>,
    /// Content of the signature file of the bytes. `None` if they are unsigned.
    pub(crate) signature: Option<String>,
}

/// Result of an installation.
#[derive(Debug, Clone, Serialize)]
pub struct Installed {
    /// Bundle name.
    pub name: String,
    /// Bundle version.
    pub version: String,
    /// sha256 of the component file.
    pub sha256: String,
    /// Slugs of the block types.
    pub types: Vec<String>,
    /// Capabilities that the bundle is granted.
    pub grants: Vec<String>,
    /// `false` if the same bytes were already installed.
    pub changed: bool,
}

impl Staged {
    /// Returns the bundle name.
    #[must_use]
    pub fn name(&self) -> &BundleName {
        &self.bundle.manifest().name
    }

    /// Returns the bundle version.
    #[must_use]
    pub fn version(&self) -> String {
        self.bundle.manifest().version.to_string()
    }

    /// Returns `true` if the same bytes are already installed.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.already
    }

    /// Returns the schema of a block type. `None` if the bundle does not define the type.
    #[must_use]
    pub fn schema(&self, slug: &TypeSlug) -> Option<&Schema> {
        self.bundle.manifest().block_type(slug).map(|block_type| &block_type.schema)
    }

    /// Returns the manifest.
    pub(crate) fn manifest(&self) -> &Manifest {
        self.bundle.manifest()
    }

    /// Returns the digest of the component file.
    pub(crate) fn digest(&self) -> Digest {
        self.bundle.digest()
    }

    /// Returns the source.
    pub(crate) fn source(&self) -> &BundleSource {
        &self.source
    }

    /// Returns the review, which must be shown to the user before [`Yard::install`].
    #[must_use]
    pub fn review(&self) -> &Review {
        &self.review
    }
}

impl Yard {
    /// Validates a component file or a crate that the user named: its manifest, its imports, and that
    /// `describe` returns the embedded manifest. Stores nothing in the yard.
    ///
    /// # Errors
    /// Returns an error if the file is not a valid bundle.
    pub async fn stage(&self, bytes: Vec<u8>, source: BundleSource) -> Result<Staged, Error> {
        let (bundle, bytes) = self.known_or_loaded(bytes).await?;
        self.staged(bundle, bytes, source, None, None).await
    }

    /// Validates the component file of a release like [`stage`](Self::stage), and compares it with
    /// the registry. `bytes` are those of the release, or built from its crate.
    ///
    /// # Errors
    /// Returns an error if the file is not a valid bundle, or not the one that the registry lists.
    pub async fn stage_release(&self, bytes: Vec<u8>, release: FoundRelease) -> Result<Staged, Error> {
        let (bundle, bytes) = self.known_or_loaded(bytes).await?;
        let FoundRelease { name, version, digest, source, replaced_key, signature } = release;
        let manifest = bundle.manifest();
        let contained = format!("`{}` {}", manifest.name, manifest.version);
        let differs = manifest.name != name || manifest.version != version;
        if differs || digest.is_some_and(|digest| digest != bundle.digest()) {
            let message =
                format!("the registry lists bundle `{name}` {version}, but the file contains bundle {contained}");
            return Err(Error::new(ErrorKind::Denied, message).hint("report this to the registry's owner"));
        }
        self.staged(bundle, bytes, source, replaced_key, signature).await
    }

    /// Returns the bundle of a component file. Its code runs only if the yard does not have the same
    /// bytes, which were validated when they were installed.
    async fn known_or_loaded(&self, bytes: Vec<u8>) -> Result<(Bundle, Arc<Vec<u8>>), Error> {
        let digest = Digest::of(&bytes);
        match self.store().bundle(&digest).await?.map(|record| self.manifest_of(&record)) {
            Some(Ok(manifest)) => {
                let bytes = Arc::new(bytes);
                Ok((Bundle::installed(bytes.clone(), digest, manifest), bytes))
            }
            // If the manifest in the yard is damaged, the code in the file returns it.
            Some(Err(_)) | None => self.load(bytes).await,
        }
    }

    /// Loads untrusted bytes, and checks that `describe` returns the embedded manifest.
    pub(crate) async fn load(&self, bytes: Vec<u8>) -> Result<(Bundle, Arc<Vec<u8>>), Error> {
        let bytes = Arc::new(bytes);
        let bundle = self.sandbox()?.load(bytes.clone()).await?;
        // The manifest that the code returns must equal the embedded manifest, which is read
        // without running the code.
        let embedded = component::manifest(&bytes)?;
        let same =
            serde_json::from_str::<Value>(embedded).ok() == serde_json::from_str::<Value>(bundle.manifest_text()).ok();
        if !same {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "the description that bundle `{}` returns differs from its embedded manifest",
                    bundle.manifest().name
                ),
            )
            .hint("report it to the author of the bundle, who must build it again"));
        }
        Ok((bundle, bytes))
    }

    async fn staged(
        &self,
        bundle: Bundle,
        bytes: Arc<Vec<u8>>,
        source: BundleSource,
        replaced_key: Option<String>,
        signature: Option<String>,
    ) -> Result<Staged, Error> {
        // If two files have the same version, new blocks use the one that was installed last.
        let name = bundle.manifest().name.as_str();
        let version = bundle.manifest().version.to_string();
        let versions = self.store().bundle_versions().await?;
        let last = versions.iter().rfind(|(_, other, text)| other == name && *text == version);
        let already =
            last.is_some_and(|(digest, _, _)| *digest == bundle.digest()) && self.is_intact(&bundle, &bytes).await;
        let (installed, reviewed) = self.installed_versions(&bundle.manifest().name).await?;
        let granted = self.store().grants(bundle.manifest().name.as_str()).await?;
        let mut review = Review::new(bundle.manifest(), &source, &installed, !reviewed.is_empty(), &granted);
        if reviewed.is_empty() {
            let uninstalled = self.store().uninstalled_bundles().await?;
            let of_name = uninstalled.iter().filter(|record| record.name == name);
            let sources: Vec<BundleSource> = of_name.map(|record| BundleSource::parse(&record.source)).collect();
            review.compare_uninstalled(&source, &sources);
        }
        Ok(Staged { already, bundle, bytes, source, review, reviewed, replaced_key, signature })
    }

    /// Checks whether the yard has these bytes with their embedded manifest. If another program changed
    /// them, the bundle is installed again.
    async fn is_intact(&self, bundle: &Bundle, bytes: &[u8]) -> bool {
        let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
        let manifest = component::manifest(bytes).ok().and_then(parse);
        let stored = self.store().bundle(&bundle.digest()).await.ok().flatten();
        manifest.is_some()
            && stored.is_some_and(|record| parse(&record.manifest) == manifest)
            && bundle_bytes(self.store(), &bundle.digest(), bundle.manifest().name.as_str()).await.is_ok()
    }

    /// Returns the readable installed versions of a bundle, newest last, and the digests of all of
    /// them.
    pub(crate) async fn installed_versions(
        &self,
        name: &BundleName,
    ) -> Result<(Vec<InstalledVersion>, BTreeSet<Digest>), Error> {
        let records = self.store().bundles().await?;
        let of_name: Vec<_> = records.iter().filter(|record| record.name == name.as_str()).collect();
        let mut versions: Vec<InstalledVersion> = of_name
            .iter()
            .filter_map(|record| {
                let manifest = self.manifest_of(record).ok()?;
                Some(InstalledVersion { manifest, source: BundleSource::parse(&record.source) })
            })
            .collect();
        // The sort is stable: of two equal versions, the one that was installed later is last.
        versions.sort_by(|a, b| a.manifest.version.cmp(&b.manifest.version));
        Ok((versions, of_name.iter().map(|record| record.digest).collect()))
    }

    /// Installs a staged bundle and grants the approved capabilities.
    ///
    /// # Errors
    /// Returns an error if the agreement does not cover the [`Review`] (listing the remaining
    /// lines), if another bundle defines one of its block types, or if another version of the
    /// bundle was installed after the review.
    pub async fn install(&self, staged: Staged, agreement: &Agreement) -> Result<Installed, Error> {
        let Staged { bundle, bytes, source, already, review, reviewed, replaced_key, signature } = staged;
        let manifest = bundle.manifest();
        let signer =
            source.registry_key().map(|(registry, key)| NewSigner { registry, key, replaces: replaced_key.as_deref() });
        let changed = !already;
        if changed {
            let grants = review.agreed_grants(agreement)?;
            let wider = review.lines.iter().filter(|line| line.needs.is_some());
            let detail = json!({
                "version": manifest.version.to_string(),
                "sha256": bundle.digest().to_string(),
                "source": source.to_string(),
                "granted": grants.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "wider": wider.map(|line| line.text.as_str()).collect::<Vec<_>>(),
            });
            let new = NewBundle {
                digest: bundle.digest(),
                manifest,
                manifest_text: component::manifest(&bytes)?,
                bytes: &bytes,
                source: &source.to_string(),
                grants: &grants,
                reviewed: &reviewed,
                signer,
                signature: signature.as_deref(),
            };
            self.store().install(&new, line(self.actor(), "install", &manifest.name, &detail)).await?;
            self.grant_cache().clear();
        } else if let Some(signer) = signer {
            // The bytes were installed from another source, or the registry has another key now.
            let pinned = self.store().signer(signer.registry, manifest.name.as_str()).await?;
            if pinned.as_deref() != Some(signer.key) {
                let detail = json!({ "registry": signer.registry, "key": signer.key });
                let line = line(self.actor(), "pin", &manifest.name, &detail);
                self.store().pin_signer(manifest.name.as_str(), &signer, line).await?;
            }
        }
        let grants = self.store().grants(manifest.name.as_str()).await?;
        Ok(Installed {
            name: manifest.name.to_string(),
            version: manifest.version.to_string(),
            sha256: bundle.digest().to_string(),
            types: manifest.types.iter().map(|block_type| block_type.slug.to_string()).collect(),
            grants: grants.iter().map(ToString::to_string).collect(),
            changed,
        })
    }
}
