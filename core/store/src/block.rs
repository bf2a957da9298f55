//! Blocks and their revisions.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;

use blockyard_model::{Address, BlockName, Digest, Pointer, Reference, Revision, TypeSlug};
use serde_json::Value;

use crate::audit::{self, AuditLine};
use crate::database::{Ask, Database, Param, Row, Sql, Transaction, either, params};
use crate::{Millis, Store, StoreError};

/// One revision of a block, with all that is needed to open it.
#[derive(Debug, Clone)]
pub struct BlockRecord {
    /// The block.
    pub address: Address,
    /// The revision that this is.
    pub revision: Revision,
    /// The newest revision of the block.
    pub newest: Revision,
    /// sha256 of the bundle that validated this revision.
    pub bundle: Digest,
    /// The checksum of its type, as it was.
    pub checksum: Digest,
    /// The configuration, without secrets.
    pub config: Value,
    /// What shows that nobody changed bundle, checksum and configuration.
    pub seal: Vec<u8>,
    /// The sealed secrets by their place.
    pub secrets: Vec<(Pointer, Vec<u8>)>,
    /// The block's data key, wrapped.
    pub data_key: Option<Vec<u8>>,
    /// The id of the key that wraps it.
    pub key_id: String,
    /// How often the block's secrets were destroyed; each time it got another data key.
    pub purges: u64,
    /// When the block was deleted, if it was.
    pub deleted_at: Option<Millis>,
    /// Who saved this revision.
    pub author: String,
    /// When.
    pub created_at: Millis,
}

/// A revision to save.
#[derive(Debug)]
pub struct NewRevision<'a> {
    /// The block.
    pub address: &'a Address,
    /// sha256 of the bundle that validated it.
    pub bundle: Digest,
    /// The checksum of its type.
    pub checksum: Digest,
    /// The configuration, without secrets.
    pub config: &'a Value,
    /// What shows later that nobody changed bundle, checksum and configuration.
    pub seal: &'a [u8],
    /// The sealed secrets by their place.
    pub secrets: &'a [(Pointer, Vec<u8>)],
    /// What it builds on.
    pub references: &'a [Reference],
    /// Who saves it.
    pub author: &'a str,
}

/// A block's data key as the yard keeps it.
#[derive(Debug)]
pub struct WrappedKey<'a> {
    /// The data key, wrapped.
    pub data_key: &'a [u8],
    /// The id of the key that wraps it.
    pub key_id: &'a str,
}

/// A block in a list.
#[derive(Debug, Clone)]
pub struct BlockSummary {
    /// The block.
    pub address: Address,
    /// Its newest revision.
    pub newest: Revision,
    /// When that was saved.
    pub saved_at: Millis,
    /// When the block was deleted, if it was.
    pub deleted_at: Option<Millis>,
}

/// A revision in a history.
#[derive(Debug, Clone)]
pub struct HistoryRecord {
    /// The revision.
    pub record: BlockRecord,
    /// The version of the bundle that validated it.
    pub bundle_version: String,
}

/// Which blocks to list.
#[derive(Debug, Clone, Default)]
pub struct BlockFilter {
    /// Of these types only; none means of all.
    pub types: Option<Vec<String>>,
    /// With this word in the address.
    pub word: Option<String>,
    /// Deleted ones instead of live ones.
    pub deleted: bool,
    /// After this address, in the order of addresses: the next page.
    pub after: Option<Address>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// The columns of a [`BlockRecord`], for `blocks b` and `revisions r`.
const COLUMNS: &str = "b.type, b.name, b.newest, b.data_key, b.key_id, b.purges, b.deleted_at, \
     r.revision, r.bundle, r.checksum, r.config, r.seal, r.author, r.created_at";
/// One more: the sealed secrets as JSON, so that a block comes in one row.
const SECRETS_SQLITE: &str = "(SELECT json_group_array(json_array(s.pointer, hex(s.sealed))) \
     FROM secrets s WHERE s.block = r.block AND s.revision = r.revision)";
const SECRETS_POSTGRES: &str = "(SELECT coalesce(json_agg(json_build_array(s.pointer, encode(s.sealed, 'hex'))), '[]')::text \
     FROM secrets s WHERE s.block = r.block AND s.revision = r.revision)";

/// A statement around the columns of a block's record.
fn records(before: &str, after: &str) -> Sql {
    Sql::new(
        format!("{before} {COLUMNS}, {SECRETS_SQLITE} {after}"),
        format!("{before} {COLUMNS}, {SECRETS_POSTGRES} {after}"),
    )
}

/// One revision.
static ONE: LazyLock<Sql> = LazyLock::new(|| {
    records(
        "SELECT",
        "FROM blocks b JOIN revisions r ON r.block = b.id AND r.revision = coalesce($3, b.newest)
         WHERE b.type = $1 AND b.name = $2",
    )
});

/// One revision, and the newest ones of all that it builds on.
static ALL: LazyLock<Sql> = LazyLock::new(|| {
    records(
        "WITH RECURSIVE reached (block, revision) AS (
             SELECT b.id, coalesce($3, b.newest) FROM blocks b WHERE b.type = $1 AND b.name = $2
             UNION
             SELECT t.id, t.newest
             FROM reached
             JOIN block_references f ON f.block = reached.block AND f.revision = reached.revision
             JOIN blocks t ON t.id = f.target
             WHERE f.purpose = 'configuration'
         )
         SELECT",
        "FROM reached JOIN blocks b ON b.id = reached.block
         JOIN revisions r ON r.block = reached.block AND r.revision = reached.revision",
    )
});

/// All revisions, newest first, with the version of the bundle of each.
static HISTORY: LazyLock<Sql> = LazyLock::new(|| {
    records(
        "SELECT n.version,",
        "FROM blocks b JOIN revisions r ON r.block = b.id JOIN bundles n ON n.digest = r.bundle
         WHERE b.type = $1 AND b.name = $2 ORDER BY r.revision DESC",
    )
});

impl Store {
    /// A block at its newest or at a given revision, deleted or not; none where there is no such
    /// block or revision. One round trip.
    ///
    /// # Errors
    /// What the database says.
    pub async fn block(
        &self,
        address: &Address,
        revision: Option<Revision>,
    ) -> Result<Option<BlockRecord>, StoreError> {
        let row = self
            .database
            .first(ONE.clone(), params![address.type_slug.as_str(), address.name.as_str(), revision.map(number)])
            .await
            .map_err(|error| self.sort(error))?;
        row.map(|row| self.read(&row, 0)).transpose()
    }

    /// As [`block`](Self::block), with the newest revision of every block that it builds on, at any
    /// depth. One round trip.
    ///
    /// # Errors
    /// What the database says.
    pub async fn block_with_parts(
        &self,
        address: &Address,
        revision: Option<Revision>,
    ) -> Result<Option<(BlockRecord, Vec<BlockRecord>)>, StoreError> {
        let rows = self
            .database
            .fetch(ALL.clone(), params![address.type_slug.as_str(), address.name.as_str(), revision.map(number)])
            .await
            .map_err(|error| self.sort(error))?;
        let mut parts = rows.iter().map(|row| self.read(row, 0)).collect::<Result<Vec<_>, _>>()?;
        let own = parts
            .iter()
            .position(|record| record.address == *address && record.revision == revision.unwrap_or(record.newest));
        Ok(own.map(|own| (parts.swap_remove(own), parts)))
    }

    /// All revisions of a block, newest first; none where there is no such block.
    ///
    /// # Errors
    /// What the database says.
    pub async fn history(&self, address: &Address) -> Result<Vec<HistoryRecord>, StoreError> {
        let rows = self
            .database
            .fetch(HISTORY.clone(), params![address.type_slug.as_str(), address.name.as_str()])
            .await
            .map_err(|error| self.sort(error))?;
        rows.iter()
            .map(|row| Ok(HistoryRecord { bundle_version: row.text(0).to_owned(), record: self.read(row, 1)? }))
            .collect()
    }

    /// Saves revision 1 of a new block.
    ///
    /// # Errors
    /// [`StoreError::Taken`], [`StoreError::TakenByDeleted`], [`StoreError::TargetGone`],
    /// [`StoreError::KeyMoved`].
    pub async fn create_block(
        &self,
        new: &NewRevision<'_>,
        key: &WrappedKey<'_>,
        line: AuditLine,
    ) -> Result<(), StoreError> {
        let sort = |error| self.sort(error);
        let mut transaction = self.begin().await?;
        self.hold_key(&mut transaction, key.key_id).await?;
        let targets = self.hold_targets(&mut transaction, new.references).await?;
        let (type_slug, name) = (new.address.type_slug.as_str(), new.address.name.as_str());
        self.name_is_free(&mut transaction, new.address).await?;
        let inserted = transaction
            .first(
                "INSERT INTO blocks (type, name, newest, data_key, key_id, created_at) VALUES ($1, $2, 1, $3, $4, $5)
                 ON CONFLICT (type, name) DO NOTHING RETURNING id",
                params![type_slug, name, key.data_key, key.key_id, line.at],
            )
            .await
            .map_err(sort)?;
        let Some(inserted) = inserted else {
            // In PostgreSQL another one may have come in between.
            self.name_is_free(&mut transaction, new.address).await?;
            return Err(StoreError::Taken(new.address.clone()));
        };
        let block = inserted.integer(0);
        insert_revision(&mut transaction, block, Revision::FIRST, new, &targets, line.at).await.map_err(sort)?;
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(sort)?;
        self.commit(transaction).await
    }

    /// Saves the revision after that of `from`, which must be the newest and sealed with the data key
    /// that the block still has.
    ///
    /// # Errors
    /// [`StoreError::Moved`] where another save came first, or the secrets were destroyed;
    /// [`StoreError::NoBlock`], [`StoreError::TargetGone`], [`StoreError::Circle`].
    pub async fn save_revision(
        &self,
        new: &NewRevision<'_>,
        from: &BlockRecord,
        line: AuditLine,
    ) -> Result<Revision, StoreError> {
        let sort = |error| self.sort(error);
        let mut transaction = self.begin().await?;
        let targets = self.hold_targets(&mut transaction, new.references).await?;
        let held = self.hold_block(&mut transaction, new.address).await?;
        if held.deleted {
            return Err(StoreError::NoBlock(new.address.clone()));
        }
        if held.newest != from.newest || held.purges != from.purges {
            return Err(StoreError::Moved { address: new.address.clone(), newest: held.newest });
        }
        if let Some(circle) = self.circle(&mut transaction, held.id, new.address, &targets).await? {
            return Err(StoreError::Circle(circle));
        }
        let next = from.newest.next();
        insert_revision(&mut transaction, held.id, next, new, &targets, line.at).await.map_err(sort)?;
        transaction
            .execute("UPDATE blocks SET newest = $1 WHERE id = $2", params![number(next), held.id])
            .await
            .map_err(sort)?;
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(sort)?;
        self.commit(transaction).await?;
        Ok(next)
    }

    /// Lets a block go, and keeps its name and revisions.
    ///
    /// # Errors
    /// [`StoreError::NoBlock`], [`StoreError::DeletedOrNot`], [`StoreError::InUse`].
    pub async fn delete_block(&self, address: &Address, line: AuditLine) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        self.hold_references(&mut transaction).await?;
        let held = self.hold_block(&mut transaction, address).await?;
        if held.deleted {
            return Err(StoreError::DeletedOrNot { address: address.clone(), deleted: true });
        }
        let users = self.users(&mut transaction, held.id).await?;
        if !users.is_empty() {
            return Err(StoreError::InUse { address: address.clone(), users });
        }
        self.mark_deleted(transaction, held.id, Some(line.at), line).await
    }

    /// Has a deleted block back.
    ///
    /// # Errors
    /// [`StoreError::NoBlock`], [`StoreError::DeletedOrNot`]; [`StoreError::TargetGone`] where a block
    /// that it builds on is deleted.
    pub async fn restore_block(&self, address: &Address, line: AuditLine) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        self.hold_references(&mut transaction).await?;
        let held = self.hold_block(&mut transaction, address).await?;
        if !held.deleted {
            return Err(StoreError::DeletedOrNot { address: address.clone(), deleted: false });
        }
        let gone = transaction
            .first(
                "SELECT t.type, t.name FROM block_references f JOIN blocks t ON t.id = f.target
                 WHERE f.block = $1 AND f.revision = $2 AND t.deleted_at IS NOT NULL",
                params![held.id, number(held.newest)],
            )
            .await
            .map_err(|error| self.sort(error))?;
        if let Some(gone) = gone {
            return Err(StoreError::TargetGone(self.address(&gone, 0)?));
        }
        self.mark_deleted(transaction, held.id, None, line).await
    }

    async fn name_is_free(&self, transaction: &mut Transaction, address: &Address) -> Result<(), StoreError> {
        let there = transaction
            .first(
                "SELECT deleted_at FROM blocks WHERE type = $1 AND name = $2",
                params![address.type_slug.as_str(), address.name.as_str()],
            )
            .await
            .map_err(|error| self.sort(error))?;
        match there.map(|row| row.maybe_integer(0)) {
            None => Ok(()),
            Some(Some(_)) => Err(StoreError::TakenByDeleted(address.clone())),
            Some(None) => Err(StoreError::Taken(address.clone())),
        }
    }

    async fn mark_deleted(
        &self,
        mut transaction: Transaction,
        block: i64,
        at: Option<Millis>,
        line: AuditLine,
    ) -> Result<(), StoreError> {
        let sort = |error| self.sort(error);
        transaction
            .execute("UPDATE blocks SET deleted_at = $1 WHERE id = $2", params![at, block])
            .await
            .map_err(sort)?;
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(sort)?;
        self.commit(transaction).await
    }

    /// Destroys a block's data key and with it all its secrets, of every revision. `seals` are made
    /// anew with the new data key, one for each revision.
    ///
    /// In SQLite what is destroyed is overwritten and the file is written anew. In PostgreSQL it is
    /// gone from the tables; what the server's write-ahead log and its backups keep is theirs.
    ///
    /// # Errors
    /// [`StoreError::Moved`] where another save came first; [`StoreError::NoBlock`],
    /// [`StoreError::KeyMoved`].
    pub async fn purge_block(
        &self,
        newest: &BlockRecord,
        key: &WrappedKey<'_>,
        seals: &[(Revision, Vec<u8>)],
        line: AuditLine,
    ) -> Result<(), StoreError> {
        let sort = |error| self.sort(error);
        let mut transaction = self.begin().await?;
        self.hold_key(&mut transaction, key.key_id).await?;
        let held = self.hold_block(&mut transaction, &newest.address).await?;
        if held.newest != newest.newest || held.purges != newest.purges {
            return Err(StoreError::Moved { address: newest.address.clone(), newest: held.newest });
        }
        transaction
            .execute(
                "UPDATE blocks SET data_key = $1, key_id = $2, purges = purges + 1 WHERE id = $3",
                params![key.data_key, key.key_id, held.id],
            )
            .await
            .map_err(sort)?;
        transaction.execute("DELETE FROM secrets WHERE block = $1", params![held.id]).await.map_err(sort)?;
        for (revision, seal) in seals {
            transaction
                .execute(
                    "UPDATE revisions SET seal = $1 WHERE block = $2 AND revision = $3",
                    params![seal, held.id, number(*revision)],
                )
                .await
                .map_err(sort)?;
        }
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(sort)?;
        self.commit(transaction).await?;
        self.scrub().await
    }

    /// Leaves nothing of what was destroyed in the yard's files.
    async fn scrub(&self) -> Result<(), StoreError> {
        let done = match &self.database {
            Database::Sqlite(_) => self.scrub_file().await,
            // The dead rows' space is given back; it is overwritten as it is used again.
            Database::Postgres(_) => self.database.execute("VACUUM secrets, blocks, revisions", &[]).await.map(drop),
        };
        done.map_err(|error| StoreError::NotScrubbed(Box::new(self.sort(error))))
    }

    /// The file is written anew without its free pages, and the write-ahead log is emptied.
    async fn scrub_file(&self) -> Result<(), sqlx::Error> {
        self.database.execute("VACUUM", &[]).await?;
        let emptied = self.database.first("PRAGMA wal_checkpoint(TRUNCATE)", &[]).await?;
        // The first column says whether a reader was in the way (https://www.sqlite.org/pragma.html#pragma_wal_checkpoint).
        match emptied {
            Some(row) if row.integer(0) == 0 => Ok(()),
            _ => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// Blocks in the order of their addresses.
    ///
    /// # Errors
    /// What the database says.
    pub async fn blocks(&self, filter: &BlockFilter) -> Result<Vec<BlockSummary>, StoreError> {
        let (condition, mut params) = condition(filter);
        params.push(filter.limit.map_or(i64::MAX, i64::from).into());
        let sql = format!(
            "SELECT b.type, b.name, b.newest, r.created_at, b.deleted_at
             FROM blocks b JOIN revisions r ON r.block = b.id AND r.revision = b.newest
             WHERE {condition} ORDER BY b.type, b.name LIMIT ${}",
            params.len()
        );
        let rows = self.database.fetch(sql, &params).await.map_err(|error| self.sort(error))?;
        rows.iter()
            .map(|row| {
                Ok(BlockSummary {
                    address: self.address(row, 0)?,
                    newest: self.revision(row.integer(2))?,
                    saved_at: row.integer(3),
                    deleted_at: row.maybe_integer(4),
                })
            })
            .collect()
    }

    /// How many blocks there are, on all pages.
    ///
    /// # Errors
    /// What the database says.
    pub async fn count_blocks(&self, filter: &BlockFilter) -> Result<u64, StoreError> {
        let all = BlockFilter { after: None, ..filter.clone() };
        let (condition, params) = condition(&all);
        let sql = format!("SELECT count(*) FROM blocks b WHERE {condition}");
        let row = self.database.first(sql, &params).await.map_err(|error| self.sort(error))?;
        Ok(row.map_or(0, |row| row.integer(0)).unsigned_abs())
    }

    /// What is known of these blocks: the order is that of their addresses, and those that are not
    /// there are left out. One round trip.
    ///
    /// # Errors
    /// What the database says.
    pub async fn known_blocks(&self, addresses: &[&Address]) -> Result<Vec<BlockSummary>, StoreError> {
        if addresses.is_empty() {
            return Ok(Vec::new());
        }
        let params: Vec<Param<'_>> = addresses
            .iter()
            .flat_map(|address| [address.type_slug.as_str().into(), address.name.as_str().into()])
            .collect();
        let places: Vec<String> =
            (0..addresses.len()).map(|at| format!("(${}, ${})", 2 * at + 1, 2 * at + 2)).collect();
        let sql = format!(
            "SELECT b.type, b.name, b.newest, b.created_at, b.deleted_at FROM blocks b
             WHERE (b.type, b.name) IN (VALUES {})",
            places.join(", ")
        );
        let rows = self.database.fetch(sql, &params).await.map_err(|error| self.sort(error))?;
        rows.iter()
            .map(|row| {
                Ok(BlockSummary {
                    address: self.address(row, 0)?,
                    newest: self.revision(row.integer(2))?,
                    saved_at: row.integer(3),
                    deleted_at: row.maybe_integer(4),
                })
            })
            .collect()
    }

    /// Whether a new revision of a block with these targets would close a circle, and which.
    ///
    /// # Errors
    /// What the database says.
    pub async fn would_circle(
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
        self.circle(&mut &self.database, block, address, &found).await
    }

    /// The blocks whose newest revision builds on this one, and through which field.
    ///
    /// # Errors
    /// What the database says.
    pub async fn users_of(&self, address: &Address) -> Result<Vec<(Address, Pointer)>, StoreError> {
        match self.find(address).await? {
            Some(block) => self.users(&mut &self.database, block).await,
            None => Ok(Vec::new()),
        }
    }

    /// Blocks whose newest revision is not there.
    ///
    /// # Errors
    /// What the database says.
    pub async fn blocks_without_newest(&self) -> Result<Vec<Address>, StoreError> {
        let rows = self
            .database
            .fetch(
                "SELECT b.type, b.name FROM blocks b
                 LEFT JOIN revisions r ON r.block = b.id AND r.revision = b.newest
                 WHERE r.block IS NULL ORDER BY b.type, b.name",
                &[],
            )
            .await
            .map_err(|error| self.sort(error))?;
        rows.iter().map(|row| self.address(row, 0)).collect()
    }

    /// What the newest revision of a block builds on.
    ///
    /// # Errors
    /// What the database says.
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
            .map_err(|error| self.sort(error))?;
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
            .map_err(|error| self.sort(error))?;
        Ok(row.map(|row| row.integer(0)))
    }

    /// Holds a block's row until the transaction ends.
    async fn hold_block(&self, transaction: &mut Transaction, address: &Address) -> Result<Held, StoreError> {
        let row = transaction
            .first(
                either(
                    "SELECT id, newest, purges, deleted_at FROM blocks WHERE type = $1 AND name = $2",
                    "SELECT id, newest, purges, deleted_at FROM blocks WHERE type = $1 AND name = $2 FOR UPDATE",
                ),
                params![address.type_slug.as_str(), address.name.as_str()],
            )
            .await
            .map_err(|error| self.sort(error))?
            .ok_or_else(|| StoreError::NoBlock(address.clone()))?;
        Ok(Held {
            id: row.integer(0),
            newest: self.revision(row.integer(1))?,
            purges: row.integer(2).unsigned_abs(),
            deleted: row.maybe_integer(3).is_some(),
        })
    }

    /// Holds the graph of references as it is until the transaction ends, against all others that
    /// would change it.
    async fn hold_references(&self, transaction: &mut Transaction) -> Result<(), StoreError> {
        transaction
            .lock("LOCK TABLE block_references IN SHARE ROW EXCLUSIVE MODE")
            .await
            .map_err(|error| self.sort(error))
    }

    /// Holds the blocks that a new revision builds on: they are there, and stay until it is saved.
    async fn hold_targets(
        &self,
        transaction: &mut Transaction,
        references: &[Reference],
    ) -> Result<Vec<Target>, StoreError> {
        if references.is_empty() {
            return Ok(Vec::new());
        }
        self.hold_references(transaction).await?;
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
                .map_err(|error| self.sort(error))?
                .ok_or_else(|| StoreError::TargetGone(address.clone()))?;
            targets.push(Target { id: row.integer(0), address: address.clone() });
        }
        Ok(targets)
    }

    /// The circle that these targets of a block would close, from the block to itself.
    async fn circle(
        &self,
        database: &mut impl Ask,
        block: i64,
        address: &Address,
        targets: &[Target],
    ) -> Result<Option<Vec<Address>>, StoreError> {
        let sort = |error| self.sort(error);
        if targets.iter().any(|target| target.id == block) {
            return Ok(Some(vec![address.clone(), address.clone()]));
        }
        // Nothing leads back to a block that nothing builds on.
        let used = database
            .ask("SELECT 1 FROM block_references WHERE target = $1 LIMIT 1", params![block])
            .await
            .map_err(sort)?;
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
                .map_err(sort)?;
            let mut came_from: BTreeMap<i64, Option<(i64, Address)>> = BTreeMap::from([(target.id, None)]);
            let mut next = VecDeque::from([target.id]);
            while let Some(here) = next.pop_front() {
                for edge in edges.iter().filter(|edge| edge.integer(0) == here) {
                    let there = edge.integer(1);
                    if let Entry::Vacant(vacant) = came_from.entry(there) {
                        vacant.insert(Some((here, self.address(edge, 2)?)));
                        next.push_back(there);
                    }
                }
            }
            if came_from.contains_key(&block) {
                let mut path = Vec::new();
                let mut here = block;
                while let Some(Some((before, own))) = came_from.get(&here) {
                    path.push(own.clone());
                    here = *before;
                }
                path.push(target.address.clone());
                path.push(address.clone());
                path.reverse();
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    async fn users(&self, database: &mut impl Ask, block: i64) -> Result<Vec<(Address, Pointer)>, StoreError> {
        let rows = database
            .ask(
                "SELECT b.type, b.name, f.pointer
                 FROM block_references f JOIN blocks b ON b.id = f.block AND b.newest = f.revision
                 WHERE f.target = $1 AND b.deleted_at IS NULL ORDER BY b.type, b.name, f.pointer",
                params![block],
            )
            .await
            .map_err(|error| self.sort(error))?;
        rows.iter().map(|row| Ok((self.address(row, 0)?, read_pointer(row.text(2))))).collect()
    }

    /// A record whose columns begin at this one.
    fn read(&self, row: &Row, at: usize) -> Result<BlockRecord, StoreError> {
        Ok(BlockRecord {
            address: self.address(row, at)?,
            newest: self.revision(row.integer(at + 2))?,
            data_key: row.maybe_bytes(at + 3).map(<[u8]>::to_owned),
            key_id: row.text(at + 4).to_owned(),
            purges: row.integer(at + 5).unsigned_abs(),
            deleted_at: row.maybe_integer(at + 6),
            revision: self.revision(row.integer(at + 7))?,
            bundle: self.digest(row.bytes(at + 8))?,
            checksum: self.digest(row.bytes(at + 9))?,
            config: serde_json::from_str(row.text(at + 10)).map_err(|error| self.broken(error))?,
            seal: row.bytes(at + 11).to_owned(),
            author: row.text(at + 12).to_owned(),
            created_at: row.integer(at + 13),
            secrets: self.sealed(row.text(at + 14))?,
        })
    }

    /// The address in two columns.
    pub(crate) fn address(&self, row: &Row, at: usize) -> Result<Address, StoreError> {
        let type_slug = TypeSlug::new(row.text(at)).map_err(|error| self.broken(error))?;
        let name = BlockName::new(row.text(at + 1)).map_err(|error| self.broken(error))?;
        Ok(Address { type_slug, name })
    }

    fn revision(&self, number: i64) -> Result<Revision, StoreError> {
        let revision = u64::try_from(number).ok().and_then(Revision::new);
        revision.ok_or_else(|| self.broken(format!("{number} is not a revision")))
    }

    fn digest(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        bytes.try_into().map(Digest::from_bytes).map_err(|_| self.broken("a digest has 32 bytes"))
    }

    fn sealed(&self, text: &str) -> Result<Vec<(Pointer, Vec<u8>)>, StoreError> {
        // The common case costs nothing.
        if text == "[]" {
            return Ok(Vec::new());
        }
        let pairs: Vec<(String, String)> = serde_json::from_str(text).map_err(|error| self.broken(error))?;
        pairs
            .into_iter()
            .map(|(pointer, sealed)| {
                let bytes = hex::decode(sealed).map_err(|error| self.broken(error))?;
                Ok((read_pointer(&pointer), bytes))
            })
            .collect()
    }
}

/// A block whose row is held.
struct Held {
    id: i64,
    newest: Revision,
    purges: u64,
    deleted: bool,
}

/// A block that another one builds on.
struct Target {
    id: i64,
    address: Address,
}

/// What a filter means for `blocks b`. One type is a place in the index; so is a page.
fn condition(filter: &BlockFilter) -> (String, Vec<Param<'_>>) {
    let mut params: Vec<Param<'_>> = Vec::new();
    let mut parts = vec![if filter.deleted { "b.deleted_at IS NOT NULL" } else { "b.deleted_at IS NULL" }.to_owned()];
    match filter.types.as_deref() {
        None => {}
        Some([]) => parts.push("1 = 0".to_owned()),
        Some(types) => {
            let first = params.len() + 1;
            params.extend(types.iter().map(Param::from));
            let places: Vec<String> = (first..=params.len()).map(|at| format!("${at}")).collect();
            parts.push(format!("b.type IN ({})", places.join(", ")));
        }
    }
    if let Some(after) = &filter.after {
        params.push(after.type_slug.as_str().into());
        params.push(after.name.as_str().into());
        parts.push(format!("(b.type, b.name) > (${}, ${})", params.len() - 1, params.len()));
    }
    if let Some(word) = &filter.word {
        params.push(word.into());
        parts.push(format!("replace(b.type || '/' || b.name, ${}, '') <> b.type || '/' || b.name", params.len()));
    }
    (parts.join(" AND "), params)
}

async fn insert_revision(
    transaction: &mut Transaction,
    block: i64,
    revision: Revision,
    new: &NewRevision<'_>,
    targets: &[Target],
    now: Millis,
) -> Result<(), sqlx::Error> {
    let revision = number(revision);
    let config = new.config.to_string();
    transaction
        .execute(
            "INSERT INTO revisions (block, revision, bundle, checksum, config, seal, author, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            params![
                block,
                revision,
                new.bundle.as_bytes().as_slice(),
                new.checksum.as_bytes().as_slice(),
                &config,
                new.seal,
                new.author,
                now
            ],
        )
        .await?;
    for (pointer, sealed) in new.secrets {
        transaction
            .execute(
                "INSERT INTO secrets (block, revision, pointer, sealed) VALUES ($1, $2, $3, $4)",
                params![block, revision, &stored(pointer), sealed],
            )
            .await?;
    }
    for reference in new.references {
        let target = targets.iter().find(|target| target.address == reference.target);
        let target = target.expect("every reference's target is held").id;
        transaction
            .execute(
                "INSERT INTO block_references (block, revision, pointer, target, purpose) VALUES ($1, $2, $3, $4, $5)",
                params![block, revision, &stored(&reference.pointer), target, reference.purpose.as_str()],
            )
            .await?;
    }
    Ok(())
}

/// A pointer as a column holds it. PostgreSQL's texts have no NUL; in a pointer (RFC 6901) `~` is only
/// ever followed by 0 or 1, so `~2` is free.
fn stored(pointer: &Pointer) -> String {
    pointer.as_str().replace('\0', "~2")
}

fn read_pointer(text: &str) -> Pointer {
    Pointer::new(text.replace("~2", "\0"))
}

fn number(revision: Revision) -> i64 {
    i64::try_from(revision.number()).unwrap_or(i64::MAX)
}
