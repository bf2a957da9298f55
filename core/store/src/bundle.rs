//! Installed bundles and their bytes.

use std::collections::BTreeSet;

use blockyard_model::{Capability, Digest, Manifest};

use crate::audit::{self, AuditLine};
use crate::database::{Row, params};
use crate::{Millis, Store, StoreError};

/// An installed bundle, without its bytes.
#[derive(Debug, Clone)]
pub struct BundleRecord {
    /// sha256 of the component file.
    pub digest: Digest,
    /// The bundle's name.
    pub name: String,
    /// Its version, as text.
    pub version: String,
    /// Its manifest, as JSON text.
    pub manifest: String,
    /// Where it came from, in words.
    pub source: String,
    /// Bytes of the component file.
    pub size: u64,
    /// When it was installed.
    pub installed_at: Millis,
}

/// A bundle to install.
#[derive(Debug)]
pub struct NewBundle<'a> {
    /// sha256 of the bytes.
    pub digest: Digest,
    /// What it says of itself.
    pub manifest: &'a Manifest,
    /// The same as JSON text.
    pub manifest_text: &'a str,
    /// The component file.
    pub bytes: &'a [u8],
    /// Where it came from, in words.
    pub source: &'a str,
    /// What the person who installs it agreed to.
    pub grants: &'a BTreeSet<Capability>,
    /// The installed versions of its name that the agreement is about.
    pub reviewed: &'a BTreeSet<Digest>,
}

const COLUMNS: &str = "digest, name, version, manifest, source, size, installed_at";

impl Store {
    /// Installs a bundle: bytes, types and grants, all or nothing.
    ///
    /// # Errors
    /// [`StoreError::SlugTaken`] if another bundle has one of its types, [`StoreError::BundleMoved`] if another
    /// version of the bundle was installed since the review.
    pub async fn install(&self, bundle: &NewBundle<'_>, line: AuditLine) -> Result<(), StoreError> {
        let sort = |error| self.sort(error);
        let name = bundle.manifest.name.as_str();
        let mut transaction = self.begin().await?;
        // One installation at a time, so that the agreement is about the versions that are there.
        transaction.lock("SELECT 1 FROM yard FOR UPDATE").await.map_err(sort)?;
        let installed =
            transaction.fetch("SELECT digest FROM bundles WHERE name = $1", params![name]).await.map_err(sort)?;
        // The same bytes, installed by another process in the meantime, change nothing.
        let unseen = |other: &Digest| *other != bundle.digest && !bundle.reviewed.contains(other);
        if installed.iter().map(|row| digest(row.bytes(0))).any(|other| unseen(&other)) {
            return Err(StoreError::BundleMoved(name.to_owned()));
        }
        for block_type in &bundle.manifest.types {
            let slug = block_type.slug.as_str();
            // Whoever comes first has it; the other one sees that here.
            transaction
                .execute("INSERT INTO types (slug, bundle) VALUES ($1, $2) ON CONFLICT DO NOTHING", params![slug, name])
                .await
                .map_err(sort)?;
            let owner =
                transaction.first("SELECT bundle FROM types WHERE slug = $1", params![slug]).await.map_err(sort)?;
            if let Some(owner) = owner.map(|row| row.text(0).to_owned()).filter(|owner| owner != name) {
                return Err(StoreError::SlugTaken { slug: slug.to_owned(), owner, newcomer: name.to_owned() });
            }
        }
        let digest = bundle.digest.as_bytes().as_slice();
        let version = bundle.manifest.version.to_string();
        transaction
            .execute(
                "INSERT INTO bundles (digest, name, version, manifest, source, size, installed_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (digest) DO UPDATE SET installed_at = excluded.installed_at, source = excluded.source",
                params![
                    digest,
                    name,
                    &version,
                    bundle.manifest_text,
                    bundle.source,
                    i64::try_from(bundle.bytes.len()).unwrap_or(i64::MAX),
                    line.at
                ],
            )
            .await
            .map_err(sort)?;
        transaction
            .execute(
                "INSERT INTO bundle_bytes (digest, bytes) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                params![digest, bundle.bytes],
            )
            .await
            .map_err(sort)?;
        for capability in bundle.grants {
            let capability = capability.to_string();
            transaction
                .execute(
                    "INSERT INTO grants (bundle, capability, granted_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    params![name, &capability, line.at],
                )
                .await
                .map_err(sort)?;
        }
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(sort)?;
        self.commit(transaction).await
    }

    /// All installed bundles, by name and time.
    ///
    /// # Errors
    /// What the database says.
    pub async fn bundles(&self) -> Result<Vec<BundleRecord>, StoreError> {
        let rows = self
            .database
            .fetch(format!("SELECT {COLUMNS} FROM bundles ORDER BY name, installed_at, digest"), &[])
            .await
            .map_err(|error| self.sort(error))?;
        Ok(rows.iter().map(record).collect())
    }

    /// Digest, name and version of all installed bundles, by name and time: what the newest one is
    /// told by, without the manifests.
    ///
    /// # Errors
    /// What the database says.
    pub async fn bundle_versions(&self) -> Result<Vec<(Digest, String, String)>, StoreError> {
        let rows = self
            .database
            .fetch("SELECT digest, name, version FROM bundles ORDER BY name, installed_at, digest", &[])
            .await
            .map_err(|error| self.sort(error))?;
        Ok(rows.iter().map(|row| (digest(row.bytes(0)), row.text(1).to_owned(), row.text(2).to_owned())).collect())
    }

    /// An installed bundle by its digest.
    ///
    /// # Errors
    /// What the database says.
    pub async fn bundle(&self, digest: &Digest) -> Result<Option<BundleRecord>, StoreError> {
        let row = self
            .database
            .first(format!("SELECT {COLUMNS} FROM bundles WHERE digest = $1"), params![digest.as_bytes().as_slice()])
            .await
            .map_err(|error| self.sort(error))?;
        Ok(row.as_ref().map(record))
    }

    /// The bytes of an installed bundle.
    ///
    /// # Errors
    /// What the database says.
    pub async fn bundle_bytes(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self
            .database
            .first("SELECT bytes FROM bundle_bytes WHERE digest = $1", params![digest.as_bytes().as_slice()])
            .await
            .map_err(|error| self.sort(error))?;
        Ok(row.map(|row| row.bytes(0).to_owned()))
    }
}

fn record(row: &Row) -> BundleRecord {
    BundleRecord {
        digest: digest(row.bytes(0)),
        name: row.text(1).to_owned(),
        version: row.text(2).to_owned(),
        manifest: row.text(3).to_owned(),
        source: row.text(4).to_owned(),
        size: row.integer(5).unsigned_abs(),
        installed_at: row.integer(6),
    }
}

/// A digest from its column; the table's check holds its length.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(bytes.try_into().expect("the table holds digests of 32 bytes"))
}
