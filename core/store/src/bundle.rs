//! Installed bundles and their bytes.

use std::collections::BTreeSet;

use blockyard_model::{Capability, Digest, Manifest};

use crate::audit::{self, AuditLine};
use crate::database::{Row, Transaction, params};
use crate::{Millis, NewSigner, Store, StoreError};

/// A bundle in the yard, without its bytes.
#[derive(Debug, Clone)]
pub struct BundleRecord {
    /// SHA-256 digest of the component file.
    pub digest: Digest,
    /// Name of the bundle.
    pub name: String,
    /// Version of the bundle.
    pub version: String,
    /// Manifest of the bundle, as JSON.
    pub manifest: String,
    /// Description of the source that the bundle was installed from.
    pub source: String,
    /// Size of the component file in bytes.
    pub size: u64,
    /// Time of the installation.
    pub installed_at: Millis,
    /// Time at which it was uninstalled; `None` if it is installed.
    pub uninstalled_at: Option<Millis>,
    /// Content of the minisign signature file of the bytes. `None` if they are unsigned, or were
    /// installed by a version that did not store it.
    pub signature: Option<String>,
}

/// A bundle to install.
#[derive(Debug)]
pub struct NewBundle<'a> {
    /// SHA-256 digest of the component file.
    pub digest: Digest,
    /// Manifest of the bundle.
    pub manifest: &'a Manifest,
    /// The same manifest, as JSON.
    pub manifest_text: &'a str,
    /// Bytes of the component file.
    pub bytes: &'a [u8],
    /// Description of the source that the bundle is installed from.
    pub source: &'a str,
    /// Capabilities that the user approved.
    pub grants: &'a BTreeSet<Capability>,
    /// Installed versions of the same bundle that the user's approval takes into account.
    pub reviewed: &'a BTreeSet<Digest>,
    /// Signer of the release, which is pinned. `None` if it is unsigned.
    pub signer: Option<NewSigner<'a>>,
    /// Content of the minisign signature file of the bytes. `None` if they are unsigned.
    pub signature: Option<&'a str>,
}

pub(crate) const COLUMNS: &str =
    "digest, name, version, manifest, source, size, installed_at, uninstalled_at, signature";

impl Store {
    /// Installs a bundle with its bytes, types and grants, atomically.
    ///
    /// # Errors
    /// Returns [`StoreError::SlugTaken`] if another bundle owns one of its types,
    /// [`StoreError::BundleMoved`] if another version of the bundle was installed since the review,
    /// and [`StoreError::SignerMoved`] if another key was pinned since then.
    pub async fn install(&self, bundle: &NewBundle<'_>, line: AuditLine) -> Result<(), StoreError> {
        let classify = |error| self.classify(error);
        let mut transaction = self.begin().await?;
        self.lock_installations(&mut transaction).await?;
        self.install_in(&mut transaction, bundle, line.at).await?;
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(classify)?;
        self.commit(transaction).await
    }

    /// Serializes installations, so that an approval applies to the versions that are installed
    /// when the transaction ends.
    pub(crate) async fn lock_installations(&self, transaction: &mut Transaction) -> Result<(), StoreError> {
        transaction.lock("SELECT 1 FROM yard FOR UPDATE").await.map_err(|error| self.classify(error))
    }

    /// Installs a bundle as part of a transaction.
    pub(crate) async fn install_in(
        &self,
        transaction: &mut Transaction,
        bundle: &NewBundle<'_>,
        now: Millis,
    ) -> Result<(), StoreError> {
        let classify = |error| self.classify(error);
        let name = bundle.manifest.name.as_str();
        let installed = transaction.fetch(INSTALLED, params![name]).await.map_err(classify)?;
        // The same bytes, installed by another process in the meantime, change nothing.
        let unseen = |other: &Digest| *other != bundle.digest && !bundle.reviewed.contains(other);
        if installed.iter().map(|row| digest(row.bytes(0))).any(|other| unseen(&other)) {
            return Err(StoreError::BundleMoved(name.to_owned()));
        }
        for block_type in &bundle.manifest.types {
            let slug = block_type.slug.as_str();
            // The first bundle to insert a type owns it; the query below detects another owner.
            transaction
                .execute("INSERT INTO types (slug, bundle) VALUES ($1, $2) ON CONFLICT DO NOTHING", params![slug, name])
                .await
                .map_err(classify)?;
            let owner =
                transaction.first("SELECT bundle FROM types WHERE slug = $1", params![slug]).await.map_err(classify)?;
            if let Some(owner) = owner.map(|row| row.text(0).to_owned()).filter(|owner| owner != name) {
                return Err(StoreError::SlugTaken { slug: slug.to_owned(), owner, bundle: name.to_owned() });
            }
        }
        let digest = bundle.digest.as_bytes().as_slice();
        let version = bundle.manifest.version.to_string();
        transaction
            .execute(
                "INSERT INTO bundles (digest, name, version, manifest, source, size, installed_at, signature)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                 ON CONFLICT (digest) DO UPDATE SET installed_at = excluded.installed_at, source = excluded.source,
                 manifest = excluded.manifest, signature = excluded.signature, uninstalled_at = NULL",
                params![
                    digest,
                    name,
                    &version,
                    bundle.manifest_text,
                    bundle.source,
                    i64::try_from(bundle.bytes.len()).unwrap_or(i64::MAX),
                    now,
                    bundle.signature
                ],
            )
            .await
            .map_err(classify)?;
        transaction
            .execute(
                // Damaged bytes are replaced.
                "INSERT INTO bundle_bytes (digest, bytes) VALUES ($1, $2)
                 ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes",
                params![digest, bundle.bytes],
            )
            .await
            .map_err(classify)?;
        for capability in bundle.grants {
            let capability = capability.to_string();
            transaction
                .execute(
                    "INSERT INTO grants (bundle, capability, granted_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    params![name, &capability, now],
                )
                .await
                .map_err(classify)?;
        }
        if let Some(signer) = &bundle.signer {
            self.pin(transaction, name, signer, now).await?;
        }
        Ok(())
    }

    /// Returns all installed bundles, ordered by name and time of installation.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn bundles(&self) -> Result<Vec<BundleRecord>, StoreError> {
        self.records("uninstalled_at IS NULL").await
    }

    /// Returns all uninstalled bundles whose bytes the yard still has, ordered by name and time of
    /// installation.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn uninstalled_bundles(&self) -> Result<Vec<BundleRecord>, StoreError> {
        self.records("uninstalled_at IS NOT NULL").await
    }

    async fn records(&self, condition: &'static str) -> Result<Vec<BundleRecord>, StoreError> {
        let rows = self
            .database
            .fetch(format!("SELECT {COLUMNS} FROM bundles WHERE {condition} ORDER BY installed_at, digest"), &[])
            .await
            .map_err(|error| self.classify(error))?;
        let mut bundles: Vec<BundleRecord> = rows.iter().map(record).collect();
        // Not `ORDER BY`: PostgreSQL sorts names by the locale of the database.
        bundles.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(bundles)
    }

    /// Returns digest, name and version of all installed bundles, ordered by name and time of
    /// installation. Sufficient to determine the newest version, without loading the manifests.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn bundle_versions(&self) -> Result<Vec<(Digest, String, String)>, StoreError> {
        let rows = self
            .database
            .fetch(
                "SELECT digest, name, version FROM bundles WHERE uninstalled_at IS NULL ORDER BY installed_at, digest",
                &[],
            )
            .await
            .map_err(|error| self.classify(error))?;
        let version = |row: &Row| (digest(row.bytes(0)), row.text(1).to_owned(), row.text(2).to_owned());
        let mut versions: Vec<(Digest, String, String)> = rows.iter().map(version).collect();
        versions.sort_by(|a, b| a.1.cmp(&b.1));
        Ok(versions)
    }

    /// Returns the bundle with this digest, also if it is uninstalled.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn bundle(&self, digest: &Digest) -> Result<Option<BundleRecord>, StoreError> {
        let row = self
            .database
            .first(format!("SELECT {COLUMNS} FROM bundles WHERE digest = $1"), params![digest.as_bytes().as_slice()])
            .await
            .map_err(|error| self.classify(error))?;
        Ok(row.as_ref().map(record))
    }

    /// Returns the bytes of a bundle, also if it is uninstalled.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn bundle_bytes(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self
            .database
            .first("SELECT bytes FROM bundle_bytes WHERE digest = $1", params![digest.as_bytes().as_slice()])
            .await
            .map_err(|error| self.classify(error))?;
        Ok(row.map(|row| row.bytes(0).to_owned()))
    }
}

/// Selects the digests of the installed versions of a bundle.
pub(crate) const INSTALLED: &str = "SELECT digest FROM bundles WHERE name = $1 AND uninstalled_at IS NULL";

pub(crate) fn record(row: &Row) -> BundleRecord {
    BundleRecord {
        digest: digest(row.bytes(0)),
        name: row.text(1).to_owned(),
        version: row.text(2).to_owned(),
        manifest: row.text(3).to_owned(),
        source: row.text(4).to_owned(),
        size: row.integer(5).unsigned_abs(),
        installed_at: row.integer(6),
        uninstalled_at: row.maybe_integer(7),
        signature: row.maybe_text(8).map(str::to_owned),
    }
}

/// Reads a digest from its column. A CHECK constraint of the table guarantees its length.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(bytes.try_into().expect("the table holds digests of 32 bytes"))
}
