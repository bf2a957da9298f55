//! Moving a yard from one key to another: each block's data key is wrapped anew, in batches that
//! can be taken up where they were left.

use blockyard_model::Address;

use crate::audit::{self, AuditLine};
use crate::database::{Transaction, either, params};
use crate::{KeyRecord, Store, StoreError};

/// A data key to wrap anew.
#[derive(Debug)]
pub struct Rewrap {
    /// The block.
    pub address: Address,
    /// Its data key as the yard has it.
    pub before: Vec<u8>,
    /// The same, wrapped by the new key.
    pub after: Vec<u8>,
}

/// How many blocks' data keys a key wraps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The key's id.
    pub key_id: String,
    /// Blocks.
    pub blocks: u64,
}

impl Store {
    /// Writes down the key that a rotation moves to. From here on both keys open the yard, until
    /// [`finish_rotation`](Self::finish_rotation).
    ///
    /// # Errors
    /// [`StoreError::KeyMoved`] where another rotation is under way or came first.
    pub async fn begin_rotation(&self, from: &str, to: &KeyRecord, line: AuditLine) -> Result<(), StoreError> {
        let sort = |error| self.sort(error);
        let mut transaction = self.begin().await?;
        let begun = transaction
            .execute(
                "UPDATE yard SET next_key_id = $1, next_key_location = $2, next_canary = $3
                 WHERE key_id = $4 AND next_key_id IS NULL",
                params![&to.id, &to.location, &to.canary, from],
            )
            .await
            .map_err(sort)?;
        if begun == 0 {
            return Err(StoreError::KeyMoved);
        }
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(sort)?;
        self.commit(transaction).await
    }

    /// Data keys that are wrapped by another key than this one, at most `limit`.
    ///
    /// # Errors
    /// What the database says.
    pub async fn keys_to_move(&self, to: &str, limit: u32) -> Result<Vec<(Address, String, Vec<u8>)>, StoreError> {
        let rows = self
            .database
            .fetch(
                "SELECT type, name, key_id, data_key FROM blocks
                 WHERE key_id <> $1 AND data_key IS NOT NULL ORDER BY id LIMIT $2",
                params![to, i64::from(limit)],
            )
            .await
            .map_err(|error| self.sort(error))?;
        rows.iter().map(|row| Ok((self.address(row, 0)?, row.text(2).to_owned(), row.bytes(3).to_owned()))).collect()
    }

    /// Puts data keys that were wrapped anew in the place of the old ones, all or none. What changed
    /// meanwhile is left for the next batch. Says no, and moves nothing, where the rotation to this key
    /// is over: another process ended it, and the yard may have moved on to yet another key.
    ///
    /// # Errors
    /// What the database says.
    pub async fn move_keys(&self, batch: &[Rewrap], to: &str) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        if !self.hold_rotation(&mut transaction, to).await? {
            return Ok(false);
        }
        for Rewrap { address, before, after } in batch {
            transaction
                .execute(
                    "UPDATE blocks SET data_key = $1, key_id = $2 WHERE type = $3 AND name = $4 AND data_key = $5",
                    params![after, to, address.type_slug.as_str(), address.name.as_str(), before],
                )
                .await
                .map_err(|error| self.sort(error))?;
        }
        self.commit(transaction).await?;
        Ok(true)
    }

    /// Whether a rotation to this key is under way; it stays so until the transaction ends.
    async fn hold_rotation(&self, transaction: &mut Transaction, to: &str) -> Result<bool, StoreError> {
        let held = transaction
            .first(
                either(
                    "SELECT 1 FROM yard WHERE next_key_id = $1",
                    "SELECT 1 FROM yard WHERE next_key_id = $1 FOR SHARE",
                ),
                params![to],
            )
            .await
            .map_err(|error| self.sort(error))?;
        Ok(held.is_some())
    }

    /// Ends a rotation: the new key is the yard's key. Says no where data keys are left to move, and
    /// yes where another process ended it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn finish_rotation(&self, to: &str, line: AuditLine) -> Result<bool, StoreError> {
        let sort = |error| self.sort(error);
        let mut transaction = self.begin().await?;
        // Whoever makes a block holds this row, too: none comes in between.
        transaction.lock("SELECT 1 FROM yard FOR UPDATE").await.map_err(sort)?;
        if !self.hold_rotation(&mut transaction, to).await? {
            return Ok(true);
        }
        let left = transaction
            .first("SELECT count(*) FROM blocks WHERE key_id <> $1 AND data_key IS NOT NULL", params![to])
            .await
            .map_err(sort)?;
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
            .map_err(sort)?;
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(sort)?;
        self.commit(transaction).await?;
        Ok(true)
    }

    /// Which keys wrap how many data keys.
    ///
    /// # Errors
    /// What the database says.
    pub async fn key_use(&self) -> Result<Vec<KeyUse>, StoreError> {
        let rows = self
            .database
            .fetch(
                "SELECT key_id, count(*) FROM blocks WHERE data_key IS NOT NULL GROUP BY key_id ORDER BY key_id",
                &[],
            )
            .await
            .map_err(|error| self.sort(error))?;
        Ok(rows
            .iter()
            .map(|row| KeyUse { key_id: row.text(0).to_owned(), blocks: row.integer(1).unsigned_abs() })
            .collect())
    }

    /// Makes sure that a key is the yard's, or that which it moves to, until the transaction ends.
    pub(crate) async fn hold_key(&self, transaction: &mut Transaction, key_id: &str) -> Result<(), StoreError> {
        let held = transaction
            .first(
                either(
                    "SELECT 1 FROM yard WHERE key_id = $1 OR next_key_id = $1",
                    "SELECT 1 FROM yard WHERE key_id = $1 OR next_key_id = $1 FOR SHARE",
                ),
                params![key_id],
            )
            .await
            .map_err(|error| self.sort(error))?;
        held.map(drop).ok_or(StoreError::KeyMoved)
    }
}
