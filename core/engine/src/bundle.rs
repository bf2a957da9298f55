//! Lists installed bundles.

use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{Address, Digest, TypeSlug};
use blockyard_store::{BundleRecord, Store};
use semver::Version;
use serde::Serialize;
use serde_json::Value;

use crate::source::BundleSource;
use crate::time::timestamp;
use crate::{Code, Error, ErrorKind, Yard};

/// An installed bundle, for display and for programs.
#[derive(Debug, Clone, Serialize)]
pub struct BundleView {
    /// Bundle name.
    pub name: String,
    /// Bundle version.
    pub version: String,
    /// Short description.
    pub description: String,
    /// SPDX license expression, if the bundle names one.
    pub license: Option<String>,
    /// sha256 of the component file.
    pub sha256: String,
    /// Size of the component file in bytes.
    pub size: u64,
    /// Source from which the bundle was installed.
    pub source: String,
    /// Key that verified its signature. `None` if it is unsigned.
    pub signer: Option<String>,
    /// Slugs of its block types.
    pub types: Vec<String>,
    /// Capabilities that the bundle requests.
    pub capabilities: Vec<String>,
    /// Capabilities that the bundle is granted.
    pub grants: Vec<String>,
    /// Number of blocks whose newest revision uses this version.
    pub blocks: u64,
    /// Time of installation.
    pub installed_at: jiff::Timestamp,
}

impl Yard {
    /// Lists every installed version of each bundle, sorted by name and time of installation.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read.
    pub async fn bundles(&self) -> Result<Vec<BundleView>, Error> {
        let mut views = Vec::new();
        let blocks = self.store().blocks_by_bundle().await?;
        for record in self.store().bundles().await? {
            let manifest = manifest(&record);
            let grants = self.store().grants(&record.name).await?;
            views.push(BundleView {
                description: manifest["description"].as_str().unwrap_or_default().to_owned(),
                license: manifest["license"].as_str().map(str::to_owned),
                types: texts(&manifest["types"], |entry| &entry["slug"]),
                capabilities: texts(&manifest["capabilities"], |entry| entry),
                grants: grants.iter().map(ToString::to_string).collect(),
                sha256: record.digest.to_string(),
                signer: BundleSource::parse(&record.source).signer().map(str::to_owned),
                blocks: blocks.iter().find(|(digest, _)| *digest == record.digest).map_or(0, |(_, count)| *count),
                name: record.name,
                version: record.version,
                size: record.size,
                source: record.source,
                installed_at: timestamp(record.installed_at),
            });
        }
        Ok(views)
    }

    /// Returns the digest of the newest version of each installed bundle.
    pub(crate) async fn newest_digests(&self) -> Result<Vec<Digest>, Error> {
        let newest = self.store().bundle_versions().await?;
        let mut found: Vec<(Digest, String, Option<Version>)> = Vec::new();
        for (digest, name, text) in newest {
            let version = Version::parse(&text).ok();
            match found.iter_mut().find(|(_, other, _)| *other == name) {
                Some(other) if other.2 <= version => *other = (digest, name, version),
                Some(_) => {}
                None => found.push((digest, name, version)),
            }
        }
        Ok(found.into_iter().map(|(digest, _, _)| digest).collect())
    }

    /// Returns all versions that the yard has, with their manifests as JSON: uninstalled ones first,
    /// both groups ordered by version.
    pub(crate) async fn stored_versions(&self) -> Result<Vec<(BundleRecord, Value)>, Error> {
        let mut records = self.store().uninstalled_bundles().await?;
        records.extend(self.store().bundles().await?);
        records.sort_by_key(|record| (record.uninstalled_at.is_none(), version(record)));
        let with_manifest = |record: BundleRecord| {
            let manifest = manifest(&record);
            (record, manifest)
        };
        Ok(records.into_iter().map(with_manifest).collect())
    }

    /// Returns the error for a bundle that is not installed. It names the newest uninstalled version
    /// that the yard still has, or an installed bundle with a similar name.
    pub(crate) async fn not_installed(&self, bundle: &str) -> Error {
        let error = Error::new(ErrorKind::NotFound, format!("bundle `{bundle}` is not installed"));
        let (uninstalled, installed) = match (self.store().uninstalled_bundles().await, self.store().bundles().await) {
            (Ok(uninstalled), Ok(installed)) => (uninstalled, installed),
            (Err(failure), _) | (_, Err(failure)) => return failure.into(),
        };
        let old = uninstalled.into_iter().filter(|record| record.name == bundle);
        match old.max_by_key(version) {
            Some(BundleRecord { name, version, .. }) => error
                .because(format!("its version {version} is uninstalled; only blocks that use it can be read"))
                .code(Code::BundleUninstalled { bundle: name, version }),
            None => error
                .maybe_hint(did_you_mean(bundle, installed.iter().map(|record| record.name.as_str())))
                .code(Code::NotInstalled { bundle: bundle.to_owned() }),
        }
    }

    /// Returns the newest version of each installed bundle: digest, name and manifest as JSON.
    pub(crate) async fn newest_bundles(&self) -> Result<Vec<(Digest, String, Value)>, Error> {
        newest_bundles(self.store()).await
    }
}

/// Returns the newest version of each installed bundle: digest, name and manifest as JSON.
pub(crate) async fn newest_bundles(store: &Store) -> Result<Vec<(Digest, String, Value)>, Error> {
    let mut newest: Vec<BundleRecord> = Vec::new();
    for record in store.bundles().await? {
        match newest.iter_mut().find(|other| other.name == record.name) {
            Some(other) if version(other) <= version(&record) => *other = record,
            Some(_) => {}
            None => newest.push(record),
        }
    }
    Ok(newest.into_iter().map(|record| (record.digest, record.name.clone(), manifest(&record))).collect())
}

/// The bundle of a block, and the newer installed version that also defines the block's type, if
/// any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleUse {
    /// Bundle name.
    pub name: String,
    /// Version that validated the block. Calls run the code of this version.
    pub version: String,
    /// Newest installed version. Omitted if the block uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer: Option<String>,
    /// `true` if the version of the block is uninstalled. Omitted otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub uninstalled: bool,
}

/// Installed versions of all bundles.
pub(crate) struct Versions {
    all: Vec<(Digest, String, String)>,
    newest: Vec<Digest>,
}

impl Yard {
    /// Returns the installed versions, as input of [`bundle_use`](Self::bundle_use).
    pub(crate) async fn versions(&self) -> Result<Versions, Error> {
        Ok(Versions { all: self.store().bundle_versions().await?, newest: self.newest_digests().await? })
    }

    /// Returns the bundle of a block of a type. `None` if the yard no longer has it.
    pub(crate) async fn bundle_use(
        &self,
        versions: &Versions,
        digest: &Digest,
        slug: &TypeSlug,
    ) -> Result<Option<BundleUse>, Error> {
        let installed = versions.all.iter().find(|(own, _, _)| own == digest);
        let (name, version) = match installed {
            Some((_, name, version)) => (name.clone(), version.clone()),
            None => match self.store().bundle(digest).await? {
                Some(record) => (record.name, record.version),
                None => return Ok(None),
            },
        };
        let newest = versions.all.iter().find(|(own, other, _)| *other == name && versions.newest.contains(own));
        let newer = match newest {
            Some((other, _, newer)) if other != digest && self.manifest(other).await?.block_type(slug).is_some() => {
                Some(if *newer == version { format!("{newer} (different build)") } else { newer.clone() })
            }
            _ => None,
        };
        Ok(Some(BundleUse { name, version, newer, uninstalled: installed.is_none() }))
    }

    /// Returns a hint for an error about unknown fields, if the block's bundle is an older version.
    /// `None` if it is the newest version.
    pub(crate) async fn older_bundle_hint(&self, digest: &Digest, address: &Address) -> Option<String> {
        let versions = self.versions().await.ok()?;
        let used = self.bundle_use(&versions, digest, &address.type_slug).await.ok()??;
        used.newer.as_ref()?;
        Some(format!("block `{address}` uses {used}; fields of other versions are not available"))
    }
}

impl BundleUse {
    /// Checks whether the block uses the newest installed version.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.newer.is_none() && !self.uninstalled
    }
}

impl std::fmt::Display for BundleUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bundle `{}` {}", self.name, self.version)?;
        if self.uninstalled {
            f.write_str(", which is uninstalled")?;
        }
        match &self.newer {
            Some(newer) => write!(f, ", while {newer} is installed"),
            None => Ok(()),
        }
    }
}

/// Parses a manifest, which was validated when the bundle was installed.
fn manifest(record: &BundleRecord) -> Value {
    serde_json::from_str(&record.manifest).unwrap_or_default()
}

fn version(record: &BundleRecord) -> Option<Version> {
    Version::parse(&record.version).ok()
}

fn texts(list: &Value, text: impl Fn(&Value) -> &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|entry| text(entry).as_str().map(str::to_owned)).collect()
}
