//! The graph of references between blocks. References point to existing blocks and never form a
//! cycle.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use blockyard_model::{Address, Pointer, Reference};

use crate::database::{Ask, Transaction, params};
use crate::pointer::read_pointer;
use crate::{Store, StoreError};

/// A block that another block depends on.
pub(crate) struct Target {
    pub(crate) id: i64,
    pub(crate) address: Address,
}

impl Store {
    /// Returns the cycle that a new revision of `address` with these targets would create, or
    /// `None`.
    ///
    /// # Errors
    /// Returns the database error if a query fails.
    pub async fn find_cycle(
        &self,
        address: &Address,
        targets: &[&Address],
    ) -> Result<Option<Vec<Address>>, StoreError> {
        let Some(block) = self.find(address).await? else { return Ok(None) };
        let mut found = Vec::new();
        for target in targets {
            if let Some(id) = self.find(target).await? {
                found.push(Target { id, address: (*target).clone() });
            }
        }
        self.cycle(&mut &self.database, block, address, &found).await
    }

    /// Returns the blocks whose newest revision references this block, each with the field that
    /// holds the reference.
    ///
    /// # Errors
    /// Returns the database error if a query fails.
    pub async fn users_of(&self, address: &Address) -> Result<Vec<(Address, Pointer)>, StoreError> {
        match self.find(address).await? {
            Some(block) => self.users(&mut &self.database, block).await,
            None => Ok(Vec::new()),
        }
    }

    /// Returns the blocks that the newest revision of a block references.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn targets_of(&self, address: &Address) -> Result<Vec<Address>, StoreError> {
        let rows = self
            .database
            .fetch(
                "SELECT DISTINCT t.type, t.name
                 FROM blocks b
                 JOIN block_references f ON f.block = b.id AND f.revision = b.newest
                 JOIN blocks t ON t.id = f.target
                 WHERE b.type = $1 AND b.name = $2 ORDER BY t.type, t.name",
                params![address.type_slug.as_str(), address.name.as_str()],
            )
            .await
            .map_err(|error| self.classify(error))?;
        rows.iter().map(|row| self.address(row, 0)).collect()
    }

    async fn find(&self, address: &Address) -> Result<Option<i64>, StoreError> {
        let row = self
            .database
            .first(
                "SELECT id FROM blocks WHERE type = $1 AND name = $2",
                params![address.type_slug.as_str(), address.name.as_str()],
            )
            .await
            .map_err(|error| self.classify(error))?;
        Ok(row.map(|row| row.integer(0)))
    }

    /// Locks the graph of references against changes by other transactions until this one ends.
    pub(crate) async fn lock_references(&self, transaction: &mut Transaction) -> Result<(), StoreError> {
        transaction
            .lock("LOCK TABLE block_references IN SHARE ROW EXCLUSIVE MODE")
            .await
            .map_err(|error| self.classify(error))
    }

    /// Locks the blocks that a new revision depends on: they exist and cannot be deleted before the
    /// revision is saved.
    pub(crate) async fn lock_targets(
        &self,
        transaction: &mut Transaction,
        references: &[Reference],
    ) -> Result<Vec<Target>, StoreError> {
        if references.is_empty() {
            return Ok(Vec::new());
        }
        self.lock_references(transaction).await?;
        let mut targets: Vec<Target> = Vec::new();
        for reference in references {
            let address = &reference.target;
            if targets.iter().any(|target| target.address == *address) {
                continue;
            }
            let row = transaction
                .first(
                    "SELECT id FROM blocks WHERE type = $1 AND name = $2 AND deleted_at IS NULL",
                    params![address.type_slug.as_str(), address.name.as_str()],
                )
                .await
                .map_err(|error| self.classify(error))?
                .ok_or_else(|| StoreError::TargetMissing(address.clone()))?;
            targets.push(Target { id: row.integer(0), address: address.clone() });
        }
        Ok(targets)
    }

    /// Returns the cycle that these targets of a block would create, as the path from the block to
    /// itself.
    pub(crate) async fn cycle(
        &self,
        database: &mut impl Ask,
        block: i64,
        address: &Address,
        targets: &[Target],
    ) -> Result<Option<Vec<Address>>, StoreError> {
        let classify = |error| self.classify(error);
        if targets.iter().any(|target| target.id == block) {
            return Ok(Some(vec![address.clone(), address.clone()]));
        }
        // A block that no other block references cannot be part of a cycle.
        let used = database
            .ask("SELECT 1 FROM block_references WHERE target = $1 LIMIT 1", params![block])
            .await
            .map_err(classify)?;
        if targets.is_empty() || used.is_empty() {
            return Ok(None);
        }
        for target in targets {
            let edges = database
                .ask(
                    "WITH RECURSIVE reached (block) AS (
                         SELECT id FROM blocks WHERE id = $1
                         UNION
                         SELECT f.target FROM reached
                         JOIN blocks b ON b.id = reached.block
                         JOIN block_references f ON f.block = b.id AND f.revision = b.newest
                     )
                     SELECT b.id, f.target, t.type, t.name
                     FROM reached JOIN blocks b ON b.id = reached.block
                     JOIN block_references f ON f.block = b.id AND f.revision = b.newest
                     JOIN blocks t ON t.id = f.target",
                    params![target.id],
                )
                .await
                .map_err(classify)?;
            let mut came_from: BTreeMap<i64, Option<(i64, Address)>> = BTreeMap::from([(target.id, None)]);
            let mut next = VecDeque::from([target.id]);
            while let Some(current) = next.pop_front() {
                for edge in edges.iter().filter(|edge| edge.integer(0) == current) {
                    let there = edge.integer(1);
                    if let Entry::Vacant(vacant) = came_from.entry(there) {
                        vacant.insert(Some((current, self.address(edge, 2)?)));
                        next.push_back(there);
                    }
                }
            }
            if came_from.contains_key(&block) {
                let mut path = Vec::new();
                let mut current = block;
                while let Some(Some((before, own))) = came_from.get(&current) {
                    path.push(own.clone());
                    current = *before;
                }
                path.push(target.address.clone());
                path.push(address.clone());
                path.reverse();
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    pub(crate) async fn users(
        &self,
        database: &mut impl Ask,
        block: i64,
    ) -> Result<Vec<(Address, Pointer)>, StoreError> {
        let rows = database
            .ask(
                "SELECT b.type, b.name, f.pointer
                 FROM block_references f JOIN blocks b ON b.id = f.block AND b.newest = f.revision
                 WHERE f.target = $1 AND b.deleted_at IS NULL",
                params![block],
            )
            .await
            .map_err(|error| self.classify(error))?;
        let user = |row| Ok((self.address(row, 0)?, read_pointer(row.text(2))));
        let mut users = rows.iter().map(user).collect::<Result<Vec<_>, StoreError>>()?;
        // Not `ORDER BY`: PostgreSQL sorts pointers by the locale of the database.
        users.sort_unstable();
        Ok(users)
    }
}
