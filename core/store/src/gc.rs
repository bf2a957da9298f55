//! Dropping the bytes of uninstalled bundles that no revision names.

use blockyard_model::Digest;

use crate::audit::{self, AuditLine};
use crate::bundle::{COLUMNS, record};
use crate::database::{Database, Transaction, params};
use crate::{BundleRecord, Store, StoreError};

/// Condition on `bundles n` of a version that can be dropped. The foreign key of `revisions` rejects
/// the deletion of any other version.
const UNUSED: &str =
    "n.uninstalled_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM revisions r WHERE r.bundle = n.digest)";

impl Store {
    /// Drops uninstalled versions of bundles that no revision names, with their bytes, atomically.
    /// `line` is called with the dropped versions, and returns the line of the audit trail. Returns
    /// the dropped versions, ordered by name and time of installation.
    ///
    /// # Errors
    /// Returns the database error if a statement fails.
    pub async fn drop_unused_bundles(
        &self,
        line: &(dyn Fn(&[BundleRecord]) -> AuditLine + Sync),
    ) -> Result<Vec<BundleRecord>, StoreError> {
        let classify = |error| self.classify(error);
        let mut transaction = self.begin().await?;
        // Serialized with installations, which may install one of the versions again.
        transaction.lock("SELECT 1 FROM yard FOR UPDATE").await.map_err(classify)?;
        let rows = transaction
            .fetch(format!("SELECT {COLUMNS} FROM bundles n WHERE {UNUSED} ORDER BY installed_at, digest"), &[])
            .await
            .map_err(classify)?;
        let mut dropped: Vec<BundleRecord> = rows.iter().map(record).collect();
        if dropped.is_empty() {
            return Ok(dropped);
        }
        dropped.sort_by(|a, b| a.name.cmp(&b.name));
        for digest in dropped.iter().map(|bundle: &BundleRecord| bundle.digest) {
            self.drop_bundle(&mut transaction, digest).await.map_err(classify)?;
        }
        audit::append(&mut transaction, &self.yard().id, &line(&dropped)).await.map_err(classify)?;
        self.commit(transaction).await?;
        self.shrink().await;
        Ok(dropped)
    }

    async fn drop_bundle(&self, transaction: &mut Transaction, digest: Digest) -> Result<(), sqlx::Error> {
        for statement in ["DELETE FROM bundle_bytes WHERE digest = $1", "DELETE FROM bundles WHERE digest = $1"] {
            transaction.execute(statement, params![digest.as_bytes().as_slice()]).await?;
        }
        Ok(())
    }

    /// Returns the space of dropped rows to the file system. If another connection prevents it, the
    /// space is used by later rows.
    async fn shrink(&self) {
        let statement = match &self.database {
            Database::Sqlite(_) => "VACUUM",
            // `bundle_bytes` is rewritten only by VACUUM FULL, which would block all calls.
            Database::Postgres(_) => "VACUUM bundle_bytes, bundles",
        };
        let _ = self.database.execute(statement, &[]).await;
    }
}
