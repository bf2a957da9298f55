//! What is installed.

use blockyard_model::Digest;
use blockyard_store::BundleRecord;
use semver::Version;
use serde::Serialize;
use serde_json::Value;

use crate::{Error, Yard};

/// An installed bundle, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct BundleView {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line about it.
    pub description: String,
    /// sha256 of its component file.
    pub sha256: String,
    /// Bytes of that file.
    pub size: u64,
    /// Where it came from.
    pub source: String,
    /// Its block types.
    pub types: Vec<String>,
    /// What it asks for.
    pub capabilities: Vec<String>,
    /// What it is granted.
    pub grants: Vec<String>,
    /// When it was installed.
    pub installed_at: jiff::Timestamp,
}

impl Yard {
    /// The installed bundles, by name and time.
    ///
    /// # Errors
    /// What the database says.
    pub async fn bundles(&self) -> Result<Vec<BundleView>, Error> {
        let mut views = Vec::new();
        for record in self.store().bundles().await? {
            let manifest = manifest(&record);
            let grants = self.store().grants(&record.name).await?;
            views.push(BundleView {
                description: manifest["description"].as_str().unwrap_or_default().to_owned(),
                types: texts(&manifest["types"], |entry| &entry["slug"]),
                capabilities: texts(&manifest["capabilities"], |entry| entry),
                grants: grants.iter().map(ToString::to_string).collect(),
                sha256: record.digest.to_string(),
                name: record.name,
                version: record.version,
                size: record.size,
                source: record.source,
                installed_at: crate::audit::timestamp(record.installed_at),
            });
        }
        Ok(views)
    }

    /// The digest of the newest version of each installed bundle.
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

    /// The newest version of each installed bundle, with its manifest as JSON.
    pub(crate) async fn newest_bundles(&self) -> Result<Vec<(Digest, String, Value)>, Error> {
        let mut newest: Vec<BundleRecord> = Vec::new();
        for record in self.store().bundles().await? {
            match newest.iter_mut().find(|other| other.name == record.name) {
                Some(other) if version(other) <= version(&record) => *other = record,
                Some(_) => {}
                None => newest.push(record),
            }
        }
        Ok(newest.into_iter().map(|record| (record.digest, record.name.clone(), manifest(&record))).collect())
    }
}

/// A manifest that was checked when its bundle was installed.
fn manifest(record: &BundleRecord) -> Value {
    serde_json::from_str(&record.manifest).unwrap_or_default()
}

fn version(record: &BundleRecord) -> Option<Version> {
    Version::parse(&record.version).ok()
}

fn texts(list: &Value, text: impl Fn(&Value) -> &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|entry| text(entry).as_str().map(str::to_owned)).collect()
}
