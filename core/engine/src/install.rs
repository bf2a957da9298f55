//! Installing bundles: staged first, shown, agreed to, then all or nothing into the yard.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockyard_host::Bundle;
use blockyard_model::{BundleName, Capability, Digest, SafeRequest};
use blockyard_registry::{Registry, Source, component};
use blockyard_store::NewBundle;
use semver::VersionReq;
use serde::Serialize;
use serde_json::{Value, json};

use crate::audit::line;
use crate::build::build_in;
use crate::{Error, ErrorKind, Yard};

/// What to install.
#[derive(Debug, Clone, PartialEq)]
pub enum InstallTarget {
    /// A bundle of a registry, in a version that fits.
    Registry {
        /// The bundle's name.
        name: BundleName,
        /// Which versions.
        requirement: VersionReq,
    },
    /// A component file.
    File(PathBuf),
    /// The folder of a crate, which is built.
    Crate(PathBuf),
}

/// A bundle that was fetched and checked, and is not installed yet.
#[derive(Debug)]
pub struct Staged {
    bundle: Bundle,
    bytes: Arc<Vec<u8>>,
    source: String,
    /// Whether these very bytes are installed already.
    already: bool,
    /// What it asks for and is not granted yet.
    asks: BTreeSet<Capability>,
}

/// What installing did.
#[derive(Debug, Clone, Serialize)]
pub struct Installed {
    /// The bundle's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// sha256 of its component file.
    pub sha256: String,
    /// Its block types.
    pub types: Vec<String>,
    /// What it is granted.
    pub grants: Vec<String>,
    /// Whether anything changed: installing the same bytes twice changes nothing.
    pub changed: bool,
}

impl InstallTarget {
    /// Reads what a person wrote: `NAME`, `NAME@REQUIREMENT`, a `.wasm` file, a folder.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let path = Path::new(text);
        if text.ends_with(".wasm") || path.is_file() {
            return Ok(Self::File(path.to_owned()));
        }
        if text.contains(['/', '\\']) || text.starts_with('.') {
            return Ok(Self::Crate(path.to_owned()));
        }
        let (name, requirement) = text.split_once('@').unwrap_or((text, "*"));
        let requirement = VersionReq::parse(requirement).map_err(|error| {
            Error::new(ErrorKind::Usage, format!("`{requirement}` is not a version requirement"))
                .because(error)
                .hint("write for example `sql@0.1`, `sql@=0.1.2` or `sql@>=0.1,<0.3`")
        })?;
        Ok(Self::Registry { name: BundleName::new(name)?, requirement })
    }
}

impl Staged {
    /// The bundle's name.
    #[must_use]
    pub fn name(&self) -> &BundleName {
        &self.bundle.manifest().name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> String {
        self.bundle.manifest().version.to_string()
    }

    /// Whether these very bytes are installed already.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.already
    }

    /// Requests that its operations which read may send besides GET and HEAD, because it says that
    /// they change nothing: type, operation, request. To be shown before [`Yard::install`].
    #[must_use]
    pub fn safe_requests(&self) -> Vec<(String, String, String)> {
        let types = self.bundle.manifest().types.iter();
        types
            .flat_map(|block_type| block_type.operations.iter().map(move |operation| (block_type, operation)))
            .flat_map(|(block_type, operation)| {
                let named =
                    move |safe: &SafeRequest| (block_type.slug.to_string(), operation.name.clone(), safe.to_string());
                operation.safe.iter().map(named)
            })
            .collect()
    }

    /// What it asks for and is not granted yet, with what that means. To be shown before
    /// [`Yard::install`].
    #[must_use]
    pub fn asks(&self) -> Vec<(Capability, String)> {
        self.asks.iter().map(|capability| (capability.clone(), capability.explanation())).collect()
    }
}

impl Yard {
    /// Fetches or builds a bundle and checks it: its manifest, its imports, and that it describes
    /// itself as the manifest says. Nothing of it is in the yard yet. `say` hears what is done.
    ///
    /// # Errors
    /// It is not there, does not build, is not a bundle, or not what its registry says.
    pub async fn stage(
        &self,
        target: &InstallTarget,
        registries: &[Registry],
        say: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Staged, Error> {
        let (bytes, source) = match target {
            InstallTarget::File(path) => (read_file(path)?, format!("file {}", path.display())),
            InstallTarget::Crate(folder) => {
                let built = build_in(self.sandbox()?, folder, say).await?;
                (built.bytes, format!("crate {}", folder.display()))
            }
            InstallTarget::Registry { name, requirement } => self.fetch(name, requirement, registries, say).await?,
        };
        let bytes = Arc::new(bytes);
        let bundle = self.sandbox()?.load(bytes.clone()).await?;
        // What it says when it runs is what the file says without running it.
        let embedded = component::manifest(&bytes)?;
        let same =
            serde_json::from_str::<Value>(embedded).ok() == serde_json::from_str::<Value>(bundle.manifest_text()).ok();
        if !same {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("bundle `{}` describes itself otherwise than its manifest does", bundle.manifest().name),
            )
            .hint("its author builds it again with `blockyard build`"));
        }
        if let InstallTarget::Registry { name, .. } = target
            && bundle.manifest().name != *name
        {
            return Err(Error::new(
                ErrorKind::Denied,
                format!("the registry says `{name}`, and the bundle says that it is `{}`", bundle.manifest().name),
            )
            .hint("tell the registry's owner"));
        }
        let granted = self.store().grants(bundle.manifest().name.as_str()).await?;
        let already = self.store().bundle(&bundle.digest()).await?.is_some();
        // What was revoked from an installed bundle stays revoked; `grant` gives it back.
        let asks = match already {
            true => BTreeSet::new(),
            false => bundle.manifest().capabilities.difference(&granted).cloned().collect(),
        };
        Ok(Staged { asks, already, bundle, bytes, source })
    }

    async fn fetch(
        &self,
        name: &BundleName,
        requirement: &VersionReq,
        registries: &[Registry],
        say: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(Vec<u8>, String), Error> {
        if registries.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "no registry is known").hint(
                "name one with `--registry FILE`, or work in a folder that has a `registry.toml` at or above it",
            ));
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
            say(&format!("{} {} from registry `{}`", entry.name, release.version, registry.name));
            let origin = format!("registry {} ({} {})", registry.name, entry.name, release.version);
            return match &release.source {
                Source::Path(folder) => Ok((build_in(self.sandbox()?, folder, say).await?.bytes, origin)),
                Source::Url(url) if !url.contains("://") => {
                    let bytes = read_file(&registry.folder.join(url))?;
                    let digest = Digest::of(&bytes);
                    match release.sha256 {
                        Some(wanted) if wanted != digest => Err(Error::new(ErrorKind::Denied, format!("the bytes of `{name}` are not those that the registry promises"))
                            .because(format!("the registry says sha256 {wanted}, and the file has {digest}"))
                            .hint("do not use the file; tell the registry's owner")),
                        _ => Err(Error::new(ErrorKind::Denied, format!("`{name}` comes as a file, and this version of Blockyard cannot check a registry's signatures yet"))
                            .hint(format!("if you trust the file, install it by its path: `blockyard install {}`", registry.folder.join(url).display()))),
                    }
                }
                Source::Url(url) => {
                    Err(Error::new(ErrorKind::Usage, format!("this version of Blockyard does not fetch `{url}`"))
                        .hint("fetch the file yourself, and install it by its path"))
                }
            };
        }
        Err(refused.map_or_else(|| Error::new(ErrorKind::Internal, "no registry was asked"), Error::from))
    }

    /// Installs what was staged, with what it asks for granted. The person has agreed.
    ///
    /// # Errors
    /// Another bundle has one of its types; what the database says.
    pub async fn install(&self, staged: Staged) -> Result<Installed, Error> {
        let Staged { bundle, bytes, source, already, asks } = staged;
        let manifest = bundle.manifest();
        let changed = !already;
        if changed {
            let detail = json!({
                "version": manifest.version.to_string(),
                "sha256": bundle.digest().to_string(),
                "source": source,
                "granted": asks.iter().map(ToString::to_string).collect::<Vec<_>>(),
            });
            let new = NewBundle {
                digest: bundle.digest(),
                manifest,
                manifest_text: bundle.manifest_text(),
                bytes: &bytes,
                source: &source,
                grants: &asks,
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

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Outside };
        Error::new(kind, format!("`{}` cannot be read", path.display())).because(error)
    })
}
