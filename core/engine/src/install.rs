//! Installs bundles: a bundle is staged, reviewed, approved and then stored in one transaction.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockyard_host::Bundle;
use blockyard_model::{BundleName, Digest};
use blockyard_registry::{Registry, Source, component};
use blockyard_store::NewBundle;
use semver::VersionReq;
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use crate::audit_writer::line;
use crate::ownership::{Guard, writable_by_others};
use crate::review::{Agreement, InstalledVersion, Review};
use crate::source::BundleSource;
use crate::{Code, Error, ErrorKind, Yard};

/// A bundle found in a registry.
#[derive(Debug)]
pub struct Found {
    /// Component file, or the crate to build.
    pub content: Content,
    /// Source to record in the yard.
    pub source: BundleSource,
}

/// Content of a release in a registry.
#[derive(Debug)]
pub enum Content {
    /// Content of a component file.
    Component(Vec<u8>),
    /// Folder of a crate, which must be built first.
    Crate(PathBuf),
}

/// A bundle that was fetched and validated, but is not installed yet.
#[derive(Debug)]
pub struct Staged {
    bundle: Bundle,
    bytes: Arc<Vec<u8>>,
    source: BundleSource,
    /// `true` if the same bytes are already installed.
    already: bool,
    review: Review,
    /// Installed versions of the same name that the review covers.
    reviewed: BTreeSet<Digest>,
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

    /// Returns the review, which must be shown to the user before [`Yard::install`].
    #[must_use]
    pub fn review(&self) -> &Review {
        &self.review
    }
}

impl Yard {
    /// Validates a component file: its manifest, its imports, and that `describe` returns the
    /// embedded manifest. Stores nothing in the yard. `name` is the name of the bundle in its
    /// registry.
    ///
    /// # Errors
    /// Returns an error if the file is not a valid bundle, or if its name differs from `name`.
    pub async fn stage(
        &self,
        bytes: Vec<u8>,
        source: BundleSource,
        name: Option<&BundleName>,
    ) -> Result<Staged, Error> {
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
        if let Some(name) = name
            && bundle.manifest().name != *name
        {
            return Err(Error::new(
                ErrorKind::Denied,
                format!(
                    "the registry lists bundle `{name}`, but the file contains bundle `{}`",
                    bundle.manifest().name
                ),
            )
            .hint("report this to the registry's owner"));
        }
        // If two files have the same version, new blocks use the one that was installed last.
        let name = bundle.manifest().name.as_str();
        let version = bundle.manifest().version.to_string();
        let versions = self.store().bundle_versions().await?;
        let last = versions.iter().rfind(|(_, other, text)| other == name && *text == version);
        let already = last.is_some_and(|(digest, _, _)| *digest == bundle.digest());
        let (installed, reviewed) = self.installed_versions(&bundle.manifest().name).await?;
        let granted = self.store().grants(bundle.manifest().name.as_str()).await?;
        let review = Review::new(bundle.manifest(), &source, &installed, !reviewed.is_empty(), &granted);
        Ok(Staged { already, bundle, bytes, source, review, reviewed })
    }

    /// Returns the readable installed versions of a bundle, newest last, and the digests of all of
    /// them.
    async fn installed_versions(&self, name: &BundleName) -> Result<(Vec<InstalledVersion>, BTreeSet<Digest>), Error> {
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
        let Staged { bundle, bytes, source, already, review, reviewed } = staged;
        let manifest = bundle.manifest();
        let changed = !already;
        if changed {
            let grants = review.settle(agreement)?;
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
                manifest_text: bundle.manifest_text(),
                bytes: &bytes,
                source: &source.to_string(),
                grants: &grants,
                reviewed: &reviewed,
            };
            self.store().install(&new, line(self.actor(), "install", &manifest.name, &detail)).await?;
            self.grant_cache().forget();
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

/// Finds a bundle in the first registry that has a matching version. `say` is called with the
/// bundle's name, its version and the registry's path.
///
/// # Errors
/// Returns an error if no registry has a matching version, or if the file does not match the
/// registry.
pub fn find(
    name: &BundleName,
    requirement: &VersionReq,
    registries: &[Registry],
    say: &mut dyn FnMut(&str),
) -> Result<Found, Error> {
    if registries.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "no registry is configured")
            .code(Code::NoRegistry { bundle: name.to_string() }));
    }
    let mut refused = None;
    for registry in registries {
        let (entry, release) = match registry.resolve(name, requirement) {
            Ok(found) => found,
            Err(error) => {
                refused.get_or_insert(error);
                continue;
            }
        };
        // The registry's name is chosen by its author, so its path is shown as well.
        let place = registry.folder.display();
        say(&format!("{} {} from the registry `{}` in `{place}`", entry.name, release.version, registry.name));
        let shown = format!("{}: {} {}", registry.name, entry.name, release.version);
        let source = BundleSource::registry(&location(&registry.folder)?, &shown, None);
        return match &release.source {
            Source::Path(folder) => Ok(Found { content: Content::Crate(folder.clone()), source }),
            Source::Url(url) if !url.contains("://") => {
                let bytes = read_file(&registry.folder.join(url))?;
                let digest = Digest::of(&bytes);
                match release.sha256 {
                    Some(wanted) if wanted != digest => Err(Error::new(ErrorKind::Denied, format!("the bytes of `{name}` do not match the digest in the registry"))
                        .because(format!("expected sha256 {wanted}, found {digest}"))
                        .hint("do not use the file; report this to the registry's owner")),
                    _ => Err(Error::new(ErrorKind::Denied, format!("`{name}` is distributed as a file, and this version of Blockyard cannot verify the signatures of registries yet"))
                        .code(Code::Unverified { path: registry.folder.join(url) })),
                }
            }
            Source::Url(url) => {
                Err(Error::new(ErrorKind::Usage, format!("this version of Blockyard does not fetch `{url}`"))
                    .hint("download the file, and install it by its path"))
            }
        };
    }
    Err(refused.map_or_else(|| Error::new(ErrorKind::Internal, "no registry was searched"), Error::from))
}

/// Returns the URL of a registry's folder, which identifies the registry.
fn location(folder: &Path) -> Result<Url, Error> {
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

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Remote };
        Error::new(kind, format!("`{}` cannot be read", path.display())).because(error)
    })
}
