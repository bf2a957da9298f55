//! Moves blocks to another version of their bundle, all of them in one transaction.

use std::collections::BTreeSet;

use blockyard_model::{Address, BundleName, Digest, Revision};

use crate::audit::{self, AuditLine};
use crate::database::params;
use crate::{NewBundle, NewRevision, Store, StoreError};

/// An upgrade of the blocks of a bundle.
#[derive(Debug)]
pub struct Upgrade<'a> {
    /// Name of the bundle.
    pub name: &'a BundleName,
    /// SHA-256 digest of the version that the blocks are moved to.
    pub digest: Digest,
    /// The version to install first. `None` if it is installed.
    pub bundle: Option<&'a NewBundle<'a>>,
    /// New revisions of the blocks.
    pub blocks: &'a [BlockUpgrade<'a>],
    /// Blocks that keep their version, because the new version does not define their type.
    pub kept: &'a BTreeSet<Address>,
}

/// The new revision of a block.
#[derive(Debug)]
pub struct BlockUpgrade<'a> {
    /// The revision.
    pub revision: NewRevision<'a>,
    /// Newest revision that the new one is based on.
    pub from: Revision,
    /// Number of purges of the block at that revision.
    pub purges: u64,
    /// Line of the audit trail about the block.
    pub line: AuditLine,
}

impl Store {
    /// Installs a version of a bundle and saves a new revision of each of its blocks, atomically.
    ///
    /// The revisions are stored in the order of the slice, which must be the order of the
    /// addresses, so that concurrent upgrades lock the blocks in the same order.
    ///
    /// # Errors
    /// Returns [`StoreError::Moved`] if a block was changed, purged or created since the upgrade was
    /// prepared, [`StoreError::NoBlock`] if one was deleted, and
    /// [`StoreError::BundleUninstalled`] if the version was uninstalled. Otherwise, same as
    /// [`install`](Self::install) and [`save_revision`](Self::save_revision). Nothing is changed.
    pub async fn upgrade_blocks(&self, upgrade: &Upgrade<'_>, line: AuditLine) -> Result<(), StoreError> {
        let classify = |error| self.classify(error);
        let now = line.at;
        let mut transaction = self.begin().await?;
        self.lock_installations(&mut transaction).await?;
        if let Some(bundle) = upgrade.bundle {
            self.install_in(&mut transaction, bundle, now).await?;
        }
        if let Some(block) = upgrade.blocks.first() {
            self.bundle_is_installed(&mut transaction, &block.revision).await?;
        }
        // The references are locked before the first block, as in every other transaction.
        if upgrade.blocks.iter().any(|block| !block.revision.references.is_empty()) {
            self.lock_references(&mut transaction).await?;
        }
        for block in upgrade.blocks {
            self.save_in(&mut transaction, &block.revision, (block.from, block.purges), now).await?;
        }
        let left = transaction
            .fetch(
                "SELECT b.type, b.name, b.newest FROM blocks b
                 JOIN revisions r ON r.block = b.id AND r.revision = b.newest
                 JOIN bundles n ON n.digest = r.bundle
                 WHERE n.name = $1 AND r.bundle <> $2 AND b.deleted_at IS NULL",
                params![upgrade.name.as_str(), upgrade.digest.as_bytes().as_slice()],
            )
            .await
            .map_err(classify)?;
        for row in &left {
            let address = self.address(row, 0)?;
            if !upgrade.kept.contains(&address) {
                return Err(StoreError::Moved { address, newest: self.revision(row.integer(2))? });
            }
        }
        let lines: Vec<AuditLine> = upgrade.blocks.iter().map(|block| block.line.clone()).chain([line]).collect();
        audit::append_all(&mut transaction, &self.yard().id, &lines).await.map_err(classify)?;
        self.commit(transaction).await
    }
}
