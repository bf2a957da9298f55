//! Uninstalling versions of bundles. A version is marked, and its bytes remain: the revisions that it
//! validated open with them.

use std::collections::BTreeSet;

use blockyard_model::Digest;

use crate::audit::{self, AuditLine};
use crate::bundle::{INSTALLED, digest};
use crate::bundle_user::BundleUser;
use crate::database::{Ask, params};
use crate::{Store, StoreError};

/// A version of a bundle to uninstall.
#[derive(Debug)]
pub struct Uninstall<'a> {
    /// Name of the bundle.
    pub bundle: &'a str,
    /// Digests of the versions to uninstall.
    pub versions: &'a BTreeSet<Digest>,
    /// Digests of the versions that remain installed.
    pub remaining: &'a BTreeSet<Digest>,
}

/// Selects the blocks whose newest revision uses a version of a bundle.
const USERS: &str = "SELECT b.type, b.name, n.digest, n.version FROM bundles n
     JOIN revisions r ON r.bundle = n.digest JOIN blocks b ON b.id = r.block AND b.newest = r.revision
     WHERE n.name = $1 AND b.deleted_at IS NULL ORDER BY b.type, b.name";

impl Store {
    /// Marks versions of a bundle as uninstalled, atomically. `revoked` is called for each granted
    /// capability, as text: it returns the audit line of its removal, or `None` if the grant
    /// remains. Block types remain reserved for the bundle, and pinned signers remain pinned.
    ///
    /// # Errors
    /// Returns [`StoreError::BundleInUse`] if the newest revision of a block that is not deleted
    /// uses one of the versions, and [`StoreError::VersionsMoved`] if other versions are installed
    /// than the caller expects.
    pub async fn uninstall(
        &self,
        uninstall: &Uninstall<'_>,
        line: AuditLine,
        revoked: &(dyn Fn(&str) -> Option<AuditLine> + Sync),
    ) -> Result<(), StoreError> {
        let classify = |error| self.classify(error);
        let Uninstall { bundle, versions, remaining } = *uninstall;
        let mut transaction = self.begin().await?;
        // Serialized with installations, and with transactions that create a block.
        transaction.lock("SELECT 1 FROM yard FOR UPDATE").await.map_err(classify)?;
        let installed = transaction.fetch(INSTALLED, params![bundle]).await.map_err(classify)?;
        let installed: BTreeSet<Digest> = installed.iter().map(|row| digest(row.bytes(0))).collect();
        if installed != versions | remaining {
            return Err(StoreError::VersionsMoved(bundle.to_owned()));
        }
        let mut users = self.bundle_users_in(&mut transaction, bundle).await?;
        users.retain(|user| versions.contains(&user.digest));
        if !users.is_empty() {
            return Err(StoreError::BundleInUse { bundle: bundle.to_owned(), users });
        }
        for version in versions {
            transaction
                .execute(
                    "UPDATE bundles SET uninstalled_at = $1 WHERE digest = $2",
                    params![line.at, version.as_bytes().as_slice()],
                )
                .await
                .map_err(classify)?;
        }
        let mut lines = vec![line];
        let granted = transaction
            .fetch("SELECT capability FROM grants WHERE bundle = $1 ORDER BY capability", params![bundle])
            .await
            .map_err(classify)?;
        for capability in granted.iter().map(|row| row.text(0)) {
            let Some(line) = revoked(capability) else { continue };
            transaction
                .execute("DELETE FROM grants WHERE bundle = $1 AND capability = $2", params![bundle, capability])
                .await
                .map_err(classify)?;
            lines.push(line);
        }
        audit::append_all(&mut transaction, &self.yard().id, &lines).await.map_err(classify)?;
        self.commit(transaction).await
    }

    /// Returns the blocks, except deleted ones, whose newest revision uses a version of a bundle, in
    /// the order of their addresses.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn bundle_users(&self, bundle: &str) -> Result<Vec<BundleUser>, StoreError> {
        self.bundle_users_in(&mut &self.database, bundle).await
    }

    async fn bundle_users_in(&self, database: &mut impl Ask, bundle: &str) -> Result<Vec<BundleUser>, StoreError> {
        let rows = database.ask(USERS, params![bundle]).await.map_err(|error| self.classify(error))?;
        let user = |row| {
            let address = self.address(row, 0)?;
            Ok(BundleUser { address, digest: digest(row.bytes(2)), version: row.text(3).to_owned() })
        };
        rows.iter().map(user).collect()
    }

    /// Returns, for each bundle that validated the newest revision of a block that is not deleted,
    /// the number of these blocks.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn blocks_by_bundle(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        let rows = self
            .database
            .fetch(
                "SELECT r.bundle, count(*) FROM blocks b JOIN revisions r ON r.block = b.id AND r.revision = b.newest
                 WHERE b.deleted_at IS NULL GROUP BY r.bundle",
                &[],
            )
            .await
            .map_err(|error| self.classify(error))?;
        Ok(rows.iter().map(|row| (digest(row.bytes(0)), row.integer(1).unsigned_abs())).collect())
    }
}
