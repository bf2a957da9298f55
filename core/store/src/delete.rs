//! Deleting and restoring blocks, and purging their secrets.

use blockyard_model::{Address, Revision};

use crate::audit::{self, AuditLine};
use crate::block::{BlockRecord, WrappedKey, number};
use crate::database::{Database, Transaction, params};
use crate::{Millis, Store, StoreError};

impl Store {
    /// Deletes a block. Its name, as a tombstone, and its revisions are retained. With `only_if`,
    /// the newest revision must have that number.
    ///
    /// # Errors
    /// [`StoreError::NoBlock`], [`StoreError::DeletedOrNot`], [`StoreError::Moved`],
    /// [`StoreError::InUse`].
    pub async fn delete_block(
        &self,
        address: &Address,
        only_if: Option<Revision>,
        line: AuditLine,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        self.lock_references(&mut transaction).await?;
        let held = self.lock_block(&mut transaction, address).await?;
        if held.deleted {
            return Err(StoreError::DeletedOrNot { address: address.clone(), deleted: true });
        }
        if only_if.is_some_and(|expected| expected != held.newest) {
            return Err(StoreError::Moved { address: address.clone(), newest: held.newest });
        }
        let users = self.users(&mut transaction, held.id).await?;
        if !users.is_empty() {
            return Err(StoreError::InUse { address: address.clone(), users });
        }
        self.mark_deleted(transaction, held.id, Some(line.at), line).await
    }

    /// Restores a deleted block.
    ///
    /// # Errors
    /// Returns [`StoreError::TargetMissing`] if a block that it depends on is deleted;
    /// [`StoreError::NoBlock`], [`StoreError::DeletedOrNot`].
    pub async fn restore_block(&self, address: &Address, line: AuditLine) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        self.lock_references(&mut transaction).await?;
        let held = self.lock_block(&mut transaction, address).await?;
        if !held.deleted {
            return Err(StoreError::DeletedOrNot { address: address.clone(), deleted: false });
        }
        let missing_target = transaction
            .first(
                "SELECT t.type, t.name FROM block_references f JOIN blocks t ON t.id = f.target
                 WHERE f.block = $1 AND f.revision = $2 AND t.deleted_at IS NOT NULL",
                params![held.id, number(held.newest)],
            )
            .await
            .map_err(|error| self.classify(error))?;
        if let Some(missing_target) = missing_target {
            return Err(StoreError::TargetMissing(self.address(&missing_target, 0)?));
        }
        self.mark_deleted(transaction, held.id, None, line).await
    }

    async fn mark_deleted(
        &self,
        mut transaction: Transaction,
        block: i64,
        at: Option<Millis>,
        line: AuditLine,
    ) -> Result<(), StoreError> {
        let classify = |error| self.classify(error);
        transaction
            .execute("UPDATE blocks SET deleted_at = $1 WHERE id = $2", params![at, block])
            .await
            .map_err(classify)?;
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(classify)?;
        self.commit(transaction).await
    }

    /// Destroys a block's data key, and with it the secrets of all its revisions. `seals` contains
    /// a new seal for each revision, made with the new data key.
    ///
    /// In SQLite the destroyed data is overwritten and the file is rewritten. In PostgreSQL it is
    /// removed from the tables, but the server's write-ahead log and backups may still contain it.
    ///
    /// # Errors
    /// Returns [`StoreError::Moved`] if another revision was saved or the block was purged in the
    /// meantime; [`StoreError::NoBlock`], [`StoreError::KeyMoved`]. Returns
    /// [`StoreError::NotScrubbed`] if the secrets were destroyed but their remains could not be
    /// overwritten.
    pub async fn purge_block(
        &self,
        newest: &BlockRecord,
        key: &WrappedKey<'_>,
        seals: &[(Revision, Vec<u8>)],
        line: AuditLine,
    ) -> Result<(), StoreError> {
        let classify = |error| self.classify(error);
        let mut transaction = self.begin().await?;
        self.lock_key(&mut transaction, key.key_id).await?;
        let held = self.lock_block(&mut transaction, &newest.address).await?;
        if held.newest != newest.newest || held.purges != newest.purges {
            return Err(StoreError::Moved { address: newest.address.clone(), newest: held.newest });
        }
        transaction
            .execute(
                "UPDATE blocks SET data_key = $1, key_id = $2, purges = purges + 1 WHERE id = $3",
                params![key.data_key, key.key_id, held.id],
            )
            .await
            .map_err(classify)?;
        transaction.execute("DELETE FROM secrets WHERE block = $1", params![held.id]).await.map_err(classify)?;
        for (revision, seal) in seals {
            transaction
                .execute(
                    "UPDATE revisions SET seal = $1 WHERE block = $2 AND revision = $3",
                    params![seal, held.id, number(*revision)],
                )
                .await
                .map_err(classify)?;
        }
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(classify)?;
        self.commit(transaction).await?;
        self.scrub().await
    }

    /// Removes the remains of destroyed data from the yard's files.
    async fn scrub(&self) -> Result<(), StoreError> {
        let done = match &self.database {
            Database::Sqlite(_) => self.scrub_file().await,
            // VACUUM marks the space of dead rows as free; it is overwritten when it is reused.
            Database::Postgres(_) => self.database.execute("VACUUM secrets, blocks, revisions", &[]).await.map(drop),
        };
        done.map_err(|error| StoreError::NotScrubbed(Box::new(self.classify(error))))
    }

    /// Rewrites the file without its free pages and truncates the write-ahead log.
    async fn scrub_file(&self) -> Result<(), sqlx::Error> {
        self.database.execute("VACUUM", &[]).await?;
        let emptied = self.database.first("PRAGMA wal_checkpoint(TRUNCATE)", &[]).await?;
        // The first column is 1 if a reader blocked the checkpoint
        // (https://www.sqlite.org/pragma.html#pragma_wal_checkpoint).
        match emptied {
            Some(row) if row.integer(0) == 0 => Ok(()),
            _ => Err(sqlx::Error::PoolTimedOut),
        }
    }
}
