//! Deletes and restores blocks, and purges their secrets.

use blockyard_model::Address;
use blockyard_store::{StoreError, WrappedKey};
use blockyard_vault::DataKey;
use serde_json::{Value, json};

use crate::key::is_moved;
use crate::revision::{SealedContent, deleted};
use crate::{Code, Error, ErrorKind, Yard};

/// Maximum number of retries of a purge after conflicts with concurrent saves or key rotations.
const TRIES: u32 = 20;

impl Yard {
    /// Deletes a block. Its name remains reserved, and [`restore`](Self::restore) restores it.
    ///
    /// # Errors
    /// Returns an error if the block does not exist or is already deleted, or if other blocks
    /// depend on it; the error lists them.
    pub async fn delete(&self, address: &Address) -> Result<(), Error> {
        let detail = self.newest(address).await?;
        let done = self.store().delete_block(address, None, self.line_of_change("delete", address, detail)).await;
        self.explained(address, done).await
    }

    /// Restores a deleted block with all its revisions and secrets.
    ///
    /// # Errors
    /// Returns an error if the block does not exist or is not deleted, or if one of its
    /// dependencies is deleted.
    pub async fn restore(&self, address: &Address) -> Result<(), Error> {
        let detail = self.newest(address).await?;
        match self.store().restore_block(address, self.line_of_change("restore", address, detail)).await {
            Err(StoreError::TargetMissing(target)) => {
                let message = format!("block `{address}` depends on `{target}`, which is deleted");
                Err(Error::new(ErrorKind::Conflict, message).code(Code::Deleted { address: target }))
            }
            done => self.explained(address, done).await,
        }
    }

    /// Returns the newest revision of a block, as details for the audit trail. The reason must not
    /// contain a secret of it.
    async fn newest(&self, address: &Address) -> Result<Value, Error> {
        match self.store().block(address, None).await? {
            Some(record) => {
                self.check_reason_of(&record).await?;
                Ok(json!({ "revision": record.newest.number() }))
            }
            None => Err(self.missing(address, None).await),
        }
    }

    async fn explained(&self, address: &Address, done: Result<(), StoreError>) -> Result<(), Error> {
        match done {
            Err(StoreError::NoBlock(_)) => Err(self.missing(address, None).await),
            Err(StoreError::DeletedOrNot { deleted: true, .. }) => Err(deleted(address)),
            done => Ok(done?),
        }
    }

    /// Permanently destroys the secrets of all revisions of a block. Its configuration and history
    /// are retained. The block may be deleted or not. Returns the number of destroyed secrets.
    ///
    /// # Errors
    /// Returns an error if the block does not exist.
    pub async fn purge(&self, address: &Address) -> Result<u64, Error> {
        let mut tries = 0;
        loop {
            let done = self.purge_once(address).await?;
            match done {
                Ok(secrets) => return Ok(secrets),
                Err(error) if tries < TRIES && (is_moved(&error) || matches!(error, StoreError::Moved { .. })) => {
                    self.load_keys().await?;
                    tries += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn purge_once(&self, address: &Address) -> Result<Result<u64, StoreError>, Error> {
        let revisions = self.store().history(address).await?;
        let Some(newest) = revisions.first() else { return Err(self.missing(address, None).await) };
        let data_key = DataKey::generate();
        let mut seals = Vec::with_capacity(revisions.len());
        let mut secrets = 0;
        for revision in &revisions {
            let record = &revision.record;
            // Only revisions with a valid seal are re-sealed.
            self.check_seal(record).await?;
            self.check_reason_of(record).await?;
            let content = SealedContent::of(record).digest();
            seals.push((record.revision, data_key.seal_content(self.id(), address, record.revision, &content)));
            secrets += record.secrets.len() as u64;
        }
        let key = self.keys().current();
        let wrapped = key.wrap(self.id(), address, &data_key);
        let key_id = key.id().to_string();
        let wrapped = WrappedKey { data_key: &wrapped, key_id: &key_id };
        let detail = json!({ "secrets": secrets, "revisions": revisions.len() });
        let done = self.line_of_change("purge", address, detail);
        Ok(self.store().purge_block(&newest.record, &wrapped, &seals, done).await.map(|()| secrets))
    }
}
