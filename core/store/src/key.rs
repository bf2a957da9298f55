//! Key rotation: re-wrapping each block's data key with a new key, in resumable batches.

use blockyard_model::Address;

use crate::audit::{self, AuditLine};
use crate::database::{Transaction, either, params};
use crate::{KeyRecord, Store, StoreError};

/// A data key to re-wrap.
#[derive(Debug)]
pub struct Rewrap {
    /// Address of the block.
    pub address: Address,
    /// The wrapped data key that the yard currently stores.
    pub before: Vec<u8>,
    /// The same data key, wrapped by the new key.
    pub after: Vec<u8>,
}

/// Number of data keys that a key wraps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// Key id.
    pub key_id: String,
    /// Number of blocks.
    pub blocks: u64,
}

impl Store {
    /// Records the key that a rotation moves to. Both keys open the yard until
    /// [`finish_rotation`](Self::finish_rotation).
    ///
    /// # Errors
    /// Returns [`StoreError::KeyMoved`] if the yard no longer has the key `from`, or if another
    /// rotation is running.
    pub async fn begin_rotation(&self, from: &str, to: &KeyRecord, line: AuditLine) -> Result<(), StoreError> {
        let classify = |error| self.classify(error);
        let mut transaction = self.begin().await?;
        let outcome = transaction
            .execute(
                "UPDATE yard SET next_key_id = $1, next_key_location = $2, next_canary = $3
                 WHERE key_id = $4 AND next_key_id IS NULL",
                params![&to.id, &to.location, &to.canary, from],
            )
            .await
            .map_err(classify)?;
        if outcome == 0 {
            return Err(StoreError::KeyMoved);
        }
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(classify)?;
        self.commit(transaction).await
    }

    /// Returns at most `limit` data keys that are wrapped by a key other than `to`, each with its
    /// block and the id of its key.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn keys_to_move(&self, to: &str, limit: u32) -> Result<Vec<(Address, String, Vec<u8>)>, StoreError> {
        let rows = self
            .database
            .fetch(
                "SELECT type, name, key_id, data_key FROM blocks
                 WHERE key_id <> $1 AND data_key IS NOT NULL ORDER BY id LIMIT $2",
                params![to, i64::from(limit)],
            )
            .await
            .map_err(|error| self.classify(error))?;
        rows.iter().map(|row| Ok((self.address(row, 0)?, row.text(2).to_owned(), row.bytes(3).to_owned()))).collect()
    }

    /// Replaces data keys by their re-wrapped form, atomically. Data keys that changed in the
    /// meantime are left for the next batch. Returns false and changes nothing if no rotation to
    /// `to` is running: another process finished it, and the yard may already have another key.
    ///
    /// # Errors
    /// Returns the database error if a statement fails.
    pub async fn move_keys(&self, batch: &[Rewrap], to: &str) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        if !self.lock_rotation(&mut transaction, to).await? {
            return Ok(false);
        }
        for Rewrap { address, before, after } in batch {
            transaction
                .execute(
                    "UPDATE blocks SET data_key = $1, key_id = $2 WHERE type = $3 AND name = $4 AND data_key = $5",
                    params![after, to, address.type_slug.as_str(), address.name.as_str(), before],
                )
                .await
                .map_err(|error| self.classify(error))?;
        }
        self.commit(transaction).await?;
        Ok(true)
    }

    /// Checks that a rotation to this key is running, and prevents its end until the transaction
    /// ends.
    async fn lock_rotation(&self, transaction: &mut Transaction, to: &str) -> Result<bool, StoreError> {
        let held = transaction
            .first(
                either(
                    "SELECT 1 FROM yard WHERE next_key_id = $1",
                    "SELECT 1 FROM yard WHERE next_key_id = $1 FOR SHARE",
                ),
                params![to],
            )
            .await
            .map_err(|error| self.classify(error))?;
        Ok(held.is_some())
    }

    /// Finishes a rotation: the new key becomes the yard's key. Returns false if data keys remain
    /// to be moved, and true if another process already finished the rotation.
    ///
    /// # Errors
    /// Returns the database error if a statement fails.
    pub async fn finish_rotation(&self, to: &str, line: AuditLine) -> Result<bool, StoreError> {
        let classify = |error| self.classify(error);
        let mut transaction = self.begin().await?;
        // Transactions that create a block lock this row, too, so that no block can be added in
        // between.
        transaction.lock("SELECT 1 FROM yard FOR UPDATE").await.map_err(classify)?;
        if !self.lock_rotation(&mut transaction, to).await? {
            return Ok(true);
        }
        let left = transaction
            .first("SELECT count(*) FROM blocks WHERE key_id <> $1 AND data_key IS NOT NULL", params![to])
            .await
            .map_err(classify)?;
        if left.is_none_or(|row| row.integer(0) > 0) {
            return Ok(false);
        }
        transaction
            .execute(
                "UPDATE yard SET key_id = next_key_id, key_location = next_key_location, canary = next_canary,
                 next_key_id = NULL, next_key_location = NULL, next_canary = NULL WHERE next_key_id = $1",
                params![to],
            )
            .await
            .map_err(classify)?;
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(classify)?;
        self.commit(transaction).await?;
        Ok(true)
    }

    /// Returns the number of data keys that each key wraps.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn key_use(&self) -> Result<Vec<KeyUse>, StoreError> {
        let rows = self
            .database
            .fetch(
                "SELECT key_id, count(*) FROM blocks WHERE data_key IS NOT NULL GROUP BY key_id ORDER BY key_id",
                &[],
            )
            .await
            .map_err(|error| self.classify(error))?;
        Ok(rows
            .iter()
            .map(|row| KeyUse { key_id: row.text(0).to_owned(), blocks: row.integer(1).unsigned_abs() })
            .collect())
    }

    /// Checks that a key is the yard's key or the target of its rotation, and keeps it so until the
    /// transaction ends.
    pub(crate) async fn lock_key(&self, transaction: &mut Transaction, key_id: &str) -> Result<(), StoreError> {
        let held = transaction
            .first(
                either(
                    "SELECT 1 FROM yard WHERE key_id = $1 OR next_key_id = $1",
                    "SELECT 1 FROM yard WHERE key_id = $1 OR next_key_id = $1 FOR SHARE",
                ),
                params![key_id],
            )
            .await
            .map_err(|error| self.classify(error))?;
        held.map(drop).ok_or(StoreError::KeyMoved)
    }
}
