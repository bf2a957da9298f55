//! Sets of blocks: the blocks of a block file that names its set.

use blockyard_model::{Address, SetName};

use crate::audit::{self, AuditLine};
use crate::database::params;
use crate::{Store, StoreError};

impl Store {
    /// Records the set of the block file that was applied to a block.
    ///
    /// # Errors
    /// Returns [`StoreError::NoBlock`] if the block does not exist or is deleted.
    pub async fn assign_set(
        &self,
        address: &Address,
        set: Option<&SetName>,
        line: AuditLine,
    ) -> Result<(), StoreError> {
        let classify = |error| self.classify(error);
        let mut transaction = self.begin().await?;
        let held = self.lock_block(&mut transaction, address).await?;
        if held.deleted {
            return Err(StoreError::NoBlock(address.clone()));
        }
        transaction
            .execute("UPDATE blocks SET set_name = $1 WHERE id = $2", params![set.map(SetName::as_str), held.id])
            .await
            .map_err(classify)?;
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(classify)?;
        self.commit(transaction).await
    }

    /// Returns the blocks of a set that are not deleted, and whose first revision has this origin, in
    /// the order of their addresses.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn blocks_of_set(&self, set: &SetName, first_origin: &str) -> Result<Vec<Address>, StoreError> {
        let rows = self
            .database
            .fetch(
                "SELECT b.type, b.name FROM blocks b JOIN revisions r ON r.block = b.id AND r.revision = 1
                 WHERE b.set_name = $1 AND r.origin = $2 AND b.deleted_at IS NULL ORDER BY b.type, b.name",
                params![set.as_str(), first_origin],
            )
            .await
            .map_err(|error| self.classify(error))?;
        rows.iter().map(|row| self.address(row, 0)).collect()
    }
}
