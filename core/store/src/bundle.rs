//! Installed bundles and their bytes.

use std::collections::BTreeSet;

use blockyard_model::{Capability, Digest, Manifest};
use sqlx::Row as _;

use crate::audit::{self, AuditLine};
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
}

impl Store {
    /// Installs a bundle: bytes, types and grants, all or nothing.
    ///
    /// # Errors
    /// [`StoreError::SlugTaken`] where another bundle has one of its types.
    pub async fn install(&self, bundle: &NewBundle<'_>, line: AuditLine, now: Millis) -> Result<(), StoreError> {
        let sort = |error| self.sort(error);
        let name = bundle.manifest.name.as_str();
        let mut transaction = self.begin().await?;
        for block_type in &bundle.manifest.types {
            let slug = block_type.slug.as_str();
            let owner: Option<String> = sqlx::query_scalar("SELECT bundle FROM types WHERE slug = ?")
                .bind(slug)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(sort)?;
            match owner {
                Some(owner) if owner != name => {
                    return Err(StoreError::SlugTaken { slug: slug.to_owned(), owner, newcomer: name.to_owned() });
                }
                Some(_) => {}
                None => {
                    sqlx::query("INSERT INTO types (slug, bundle) VALUES (?, ?)")
                        .bind(slug)
                        .bind(name)
                        .execute(&mut *transaction)
                        .await
                        .map_err(sort)?;
                }
            }
        }
        sqlx::query(
            "INSERT INTO bundles (digest, name, version, manifest, source, size, installed_at)
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(bundle.digest.as_bytes().as_slice())
        .bind(name)
        .bind(bundle.manifest.version.to_string())
        .bind(bundle.manifest_text)
        .bind(bundle.source)
        .bind(i64::try_from(bundle.bytes.len()).unwrap_or(i64::MAX))
        .bind(now)
        .execute(&mut *transaction)
        .await
        .map_err(sort)?;
        sqlx::query("INSERT INTO bundle_bytes (digest, bytes) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(bundle.digest.as_bytes().as_slice())
            .bind(bundle.bytes)
            .execute(&mut *transaction)
            .await
            .map_err(sort)?;
        for capability in bundle.grants {
            sqlx::query("INSERT INTO grants (bundle, capability, granted_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(name)
                .bind(capability.to_string())
                .bind(now)
                .execute(&mut *transaction)
                .await
                .map_err(sort)?;
        }
        audit::append(&mut transaction, &line, now).await.map_err(sort)?;
        transaction.commit().await.map_err(sort)
    }

    /// All installed bundles, by name and time of installing.
    ///
    /// # Errors
    /// What the database says.
    pub async fn bundles(&self) -> Result<Vec<BundleRecord>, StoreError> {
        let rows = sqlx::query("SELECT digest, name, version, manifest, source, size, installed_at FROM bundles ORDER BY name, installed_at, digest")
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.sort(error))?;
        Ok(rows.iter().map(record).collect())
    }

    /// One installed bundle by its digest.
    ///
    /// # Errors
    /// What the database says.
    pub async fn bundle(&self, digest: &Digest) -> Result<Option<BundleRecord>, StoreError> {
        let row = sqlx::query(
            "SELECT digest, name, version, manifest, source, size, installed_at FROM bundles WHERE digest = ?",
        )
        .bind(digest.as_bytes().as_slice())
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| self.sort(error))?;
        Ok(row.as_ref().map(record))
    }

    /// The bytes of an installed bundle.
    ///
    /// # Errors
    /// What the database says.
    pub async fn bundle_bytes(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::query_scalar("SELECT bytes FROM bundle_bytes WHERE digest = ?")
            .bind(digest.as_bytes().as_slice())
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.sort(error))
    }
}

fn record(row: &sqlx::sqlite::SqliteRow) -> BundleRecord {
    BundleRecord {
        digest: digest(row.get(0)),
        name: row.get(1),
        version: row.get(2),
        manifest: row.get(3),
        source: row.get(4),
        size: row.get::<i64, _>(5).unsigned_abs(),
        installed_at: row.get(6),
    }
}

/// A digest from its column; the table's check holds its length.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(bytes.try_into().expect("the table holds digests of 32 bytes"))
}
