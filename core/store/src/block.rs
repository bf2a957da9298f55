//! Blocks and their revisions.

use std::sync::LazyLock;

use blockyard_model::{Address, BlockName, Digest, Pointer, Reference, Revision, TypeSlug, exact};
use serde_json::Value;

use crate::audit::{self, AuditLine};
use crate::database::{Row, Sql, Transaction, either, params};
use crate::pointer::{read_pointer, stored};
use crate::reference::Target;
use crate::{Millis, Store, StoreError};

/// One revision of a block, with everything that is needed to open it.
#[derive(Debug, Clone)]
pub struct BlockRecord {
    /// Address of the block.
    pub address: Address,
    /// Number of this revision.
    pub revision: Revision,
    /// Newest revision of the block.
    pub newest: Revision,
    /// SHA-256 digest of the bundle that validated this revision.
    pub bundle: Digest,
    /// Checksum of the block type when the revision was saved.
    pub checksum: Digest,
    /// Configuration without secrets.
    pub config: Value,
    /// Stored text of the configuration, byte for byte: the seal covers this text, not a
    /// serialization of [`config`](Self::config).
    pub config_text: String,
    /// Authenticates the content of the revision: the bundle digest, the checksum and the
    /// configuration, and the author, the origin and the reason of a revision that has an origin.
    pub seal: Vec<u8>,
    /// Sealed secrets with their locations in the configuration.
    pub secrets: Vec<(Pointer, Vec<u8>)>,
    /// Wrapped data key of the block.
    pub data_key: Option<Vec<u8>>,
    /// Id of the key that wraps the data key.
    pub key_id: String,
    /// Number of purges of the block. Each purge replaces the data key.
    pub purges: u64,
    /// Time of deletion; `None` if the block is not deleted.
    pub deleted_at: Option<Millis>,
    /// User who saved this revision.
    pub author: String,
    /// Time when this revision was saved.
    pub created_at: Millis,
    /// How this revision was saved, as text. `None` if an earlier version of Blockyard saved it.
    pub origin: Option<String>,
    /// Reason that the author gave.
    pub reason: Option<String>,
    /// Set of the block file that was last applied to the block; `None` if it names no set, or if
    /// no file was applied.
    pub set: Option<String>,
}

/// A revision to save.
#[derive(Debug)]
pub struct NewRevision<'a> {
    /// Address of the block.
    pub address: &'a Address,
    /// SHA-256 digest of the bundle that validated the revision.
    pub bundle: Digest,
    /// Checksum of the block type.
    pub checksum: Digest,
    /// Configuration as JSON, without secrets. It is stored byte for byte, because the seal covers
    /// this text.
    pub config: &'a str,
    /// Authenticates the content of the revision.
    pub seal: &'a [u8],
    /// Sealed secrets with their locations in the configuration.
    pub secrets: &'a [(Pointer, Vec<u8>)],
    /// References to the blocks that the revision depends on.
    pub references: &'a [Reference],
    /// User who saves the revision.
    pub author: &'a str,
    /// How the revision is saved, as text.
    pub origin: &'a str,
    /// Reason that the author gives.
    pub reason: Option<&'a str>,
}

/// A block's data key as stored in the yard.
#[derive(Debug)]
pub struct WrappedKey<'a> {
    /// Wrapped data key.
    pub data_key: &'a [u8],
    /// Id of the key that wraps the data key.
    pub key_id: &'a str,
}

/// A revision in the history of a block.
#[derive(Debug, Clone)]
pub struct HistoryRecord {
    /// The revision.
    pub record: BlockRecord,
    /// Version of the bundle that validated the revision.
    pub bundle_version: String,
}

/// Columns of a [`BlockRecord`], selected from `blocks b` and `revisions r`.
const COLUMNS: &str = "b.type, b.name, b.newest, b.data_key, b.key_id, b.purges, b.deleted_at, \
     r.revision, r.bundle, r.checksum, r.config, r.seal, r.author, r.created_at, r.origin, r.reason, b.set_name";
/// Additional column with the sealed secrets as JSON, so that a block is read as a single row.
const SECRETS_SQLITE: &str = "(SELECT json_group_array(json_array(s.pointer, hex(s.sealed))) \
     FROM secrets s WHERE s.block = r.block AND s.revision = r.revision)";
const SECRETS_POSTGRES: &str = "(SELECT coalesce(json_agg(json_build_array(s.pointer, encode(s.sealed, 'hex'))), '[]')::text \
     FROM secrets s WHERE s.block = r.block AND s.revision = r.revision)";

/// Builds a statement around the columns of a [`BlockRecord`].
fn records(before: &str, after: &str) -> Sql {
    Sql::new(
        format!("{before} {COLUMNS}, {SECRETS_SQLITE} {after}"),
        format!("{before} {COLUMNS}, {SECRETS_POSTGRES} {after}"),
    )
}

/// Selects one revision.
static ONE: LazyLock<Sql> = LazyLock::new(|| {
    records(
        "SELECT",
        "FROM blocks b JOIN revisions r ON r.block = b.id AND r.revision = coalesce($3, b.newest)
         WHERE b.type = $1 AND b.name = $2",
    )
});

/// Selects one revision, and the newest revisions of all its direct and indirect dependencies.
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

/// Selects all revisions, newest first, each with the version of its bundle.
static HISTORY: LazyLock<Sql> = LazyLock::new(|| {
    records(
        "SELECT n.version,",
        "FROM blocks b JOIN revisions r ON r.block = b.id JOIN bundles n ON n.digest = r.bundle
         WHERE b.type = $1 AND b.name = $2 ORDER BY r.revision DESC",
    )
});

impl Store {
    /// Returns one revision of a block, the newest by default, even if the block is deleted.
    /// Returns `None` if the block or the revision does not exist. One round trip.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn block(
        &self,
        address: &Address,
        revision: Option<Revision>,
    ) -> Result<Option<BlockRecord>, StoreError> {
        let row = self
            .database
            .first(ONE.clone(), params![address.type_slug.as_str(), address.name.as_str(), revision.map(number)])
            .await
            .map_err(|error| self.classify(error))?;
        row.map(|row| self.read(&row, 0)).transpose()
    }

    /// Returns a revision as [`block`](Self::block) does, together with the newest revisions of its
    /// direct and indirect dependencies. One round trip.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn block_with_dependencies(
        &self,
        address: &Address,
        revision: Option<Revision>,
    ) -> Result<Option<(BlockRecord, Vec<BlockRecord>)>, StoreError> {
        let rows = self
            .database
            .fetch(ALL.clone(), params![address.type_slug.as_str(), address.name.as_str(), revision.map(number)])
            .await
            .map_err(|error| self.classify(error))?;
        let mut parts = rows.iter().map(|row| self.read(row, 0)).collect::<Result<Vec<_>, _>>()?;
        let own = parts
            .iter()
            .position(|record| record.address == *address && record.revision == revision.unwrap_or(record.newest));
        Ok(own.map(|own| (parts.swap_remove(own), parts)))
    }

    /// Returns all revisions of a block, newest first; empty if the block does not exist.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn history(&self, address: &Address) -> Result<Vec<HistoryRecord>, StoreError> {
        let rows = self
            .database
            .fetch(HISTORY.clone(), params![address.type_slug.as_str(), address.name.as_str()])
            .await
            .map_err(|error| self.classify(error))?;
        rows.iter()
            .map(|row| Ok(HistoryRecord { bundle_version: row.text(0).to_owned(), record: self.read(row, 1)? }))
            .collect()
    }

    /// Saves revision 1 of a new block. `set` is the set of the block file that contains it.
    ///
    /// # Errors
    /// [`StoreError::Taken`], [`StoreError::TakenByDeleted`], [`StoreError::TargetMissing`],
    /// [`StoreError::KeyMoved`], [`StoreError::BundleUninstalled`].
    pub async fn create_block(
        &self,
        new: &NewRevision<'_>,
        key: &WrappedKey<'_>,
        set: Option<&str>,
        line: AuditLine,
    ) -> Result<(), StoreError> {
        let classify = |error| self.classify(error);
        let mut transaction = self.begin().await?;
        self.lock_key(&mut transaction, key.key_id).await?;
        self.bundle_is_installed(&mut transaction, new).await?;
        let targets = self.lock_targets(&mut transaction, new.references).await?;
        let (type_slug, name) = (new.address.type_slug.as_str(), new.address.name.as_str());
        self.name_is_free(&mut transaction, new.address).await?;
        let inserted = transaction
            .first(
                "INSERT INTO blocks (type, name, newest, data_key, key_id, created_at, set_name)
                 VALUES ($1, $2, 1, $3, $4, $5, $6) ON CONFLICT (type, name) DO NOTHING RETURNING id",
                params![type_slug, name, key.data_key, key.key_id, line.at, set],
            )
            .await
            .map_err(classify)?;
        let Some(inserted) = inserted else {
            // In PostgreSQL another transaction may have inserted the same name after the first
            // check.
            self.name_is_free(&mut transaction, new.address).await?;
            return Err(StoreError::Taken(new.address.clone()));
        };
        let block = inserted.integer(0);
        insert_revision(&mut transaction, block, Revision::FIRST, new, &targets, line.at).await.map_err(classify)?;
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(classify)?;
        self.commit(transaction).await
    }

    /// Saves the next revision of a block. `from` must be its newest revision, and the block must
    /// still have the data key of `from`.
    ///
    /// # Errors
    /// Returns [`StoreError::Moved`] if another revision was saved or the secrets were purged in
    /// the meantime; [`StoreError::NoBlock`], [`StoreError::TargetMissing`], [`StoreError::Cycle`].
    pub async fn save_revision(
        &self,
        new: &NewRevision<'_>,
        from: &BlockRecord,
        line: AuditLine,
    ) -> Result<Revision, StoreError> {
        let mut transaction = self.begin().await?;
        let next = self.save_in(&mut transaction, new, (from.newest, from.purges), line.at).await?;
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(|error| self.classify(error))?;
        self.commit(transaction).await?;
        Ok(next)
    }

    /// Saves the next revision of a block as part of a transaction. `from` is the newest revision
    /// and the number of purges that the new revision is based on.
    pub(crate) async fn save_in(
        &self,
        transaction: &mut Transaction,
        new: &NewRevision<'_>,
        from: (Revision, u64),
        now: Millis,
    ) -> Result<Revision, StoreError> {
        let classify = |error| self.classify(error);
        let targets = self.lock_targets(transaction, new.references).await?;
        let held = self.lock_block(transaction, new.address).await?;
        if held.deleted {
            return Err(StoreError::NoBlock(new.address.clone()));
        }
        if (held.newest, held.purges) != from {
            return Err(StoreError::Moved { address: new.address.clone(), newest: held.newest });
        }
        if let Some(cycle) = self.cycle(transaction, held.id, new.address, &targets).await? {
            return Err(StoreError::Cycle(cycle));
        }
        let next = held.newest.next();
        insert_revision(transaction, held.id, next, new, &targets, now).await.map_err(classify)?;
        transaction
            .execute("UPDATE blocks SET newest = $1 WHERE id = $2", params![number(next), held.id])
            .await
            .map_err(classify)?;
        Ok(next)
    }

    /// Checks that the bundle of a new revision is installed. The lock on the yard's row keeps it so
    /// until the transaction ends.
    pub(crate) async fn bundle_is_installed(
        &self,
        transaction: &mut Transaction,
        new: &NewRevision<'_>,
    ) -> Result<(), StoreError> {
        let installed = transaction
            .first(
                "SELECT 1 FROM bundles WHERE digest = $1 AND uninstalled_at IS NULL",
                params![new.bundle.as_bytes().as_slice()],
            )
            .await
            .map_err(|error| self.classify(error))?;
        installed.map(drop).ok_or_else(|| StoreError::BundleUninstalled(new.address.clone()))
    }

    async fn name_is_free(&self, transaction: &mut Transaction, address: &Address) -> Result<(), StoreError> {
        let there = transaction
            .first(
                "SELECT deleted_at FROM blocks WHERE type = $1 AND name = $2",
                params![address.type_slug.as_str(), address.name.as_str()],
            )
            .await
            .map_err(|error| self.classify(error))?;
        match there.map(|row| row.maybe_integer(0)) {
            None => Ok(()),
            Some(Some(_)) => Err(StoreError::TakenByDeleted(address.clone())),
            Some(None) => Err(StoreError::Taken(address.clone())),
        }
    }

    /// Reads a block's row and locks it until the transaction ends.
    pub(crate) async fn lock_block(
        &self,
        transaction: &mut Transaction,
        address: &Address,
    ) -> Result<Held, StoreError> {
        let row = transaction
            .first(
                either(
                    "SELECT id, newest, purges, deleted_at FROM blocks WHERE type = $1 AND name = $2",
                    "SELECT id, newest, purges, deleted_at FROM blocks WHERE type = $1 AND name = $2 FOR UPDATE",
                ),
                params![address.type_slug.as_str(), address.name.as_str()],
            )
            .await
            .map_err(|error| self.classify(error))?
            .ok_or_else(|| StoreError::NoBlock(address.clone()))?;
        Ok(Held {
            id: row.integer(0),
            newest: self.revision(row.integer(1))?,
            purges: row.integer(2).unsigned_abs(),
            deleted: row.maybe_integer(3).is_some(),
        })
    }

    /// Reads a record from the columns that begin at index `at`.
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
            config: self.config(row.text(at + 10))?,
            config_text: row.text(at + 10).to_owned(),
            seal: row.bytes(at + 11).to_owned(),
            author: row.text(at + 12).to_owned(),
            created_at: row.integer(at + 13),
            origin: row.maybe_text(at + 14).map(str::to_owned),
            reason: row.maybe_text(at + 15).map(str::to_owned),
            set: row.maybe_text(at + 16).map(str::to_owned),
            secrets: self.sealed(row.text(at + 17))?,
        })
    }

    /// Parses a stored configuration. Numbers keep the spelling that they were saved with.
    fn config(&self, text: &str) -> Result<serde_json::Value, StoreError> {
        let mut config = serde_json::from_str(text).map_err(|error| self.broken(error))?;
        exact::normalize(&mut config);
        Ok(config)
    }

    /// Reads an address from two columns.
    pub(crate) fn address(&self, row: &Row, at: usize) -> Result<Address, StoreError> {
        let type_slug = TypeSlug::new(row.text(at)).map_err(|error| self.broken(error))?;
        let name = BlockName::new(row.text(at + 1)).map_err(|error| self.broken(error))?;
        Ok(Address { type_slug, name })
    }

    pub(crate) fn revision(&self, number: i64) -> Result<Revision, StoreError> {
        let revision = u64::try_from(number).ok().and_then(Revision::new);
        revision.ok_or_else(|| self.broken(format!("{number} is not a revision")))
    }

    fn digest(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        bytes.try_into().map(Digest::from_bytes).map_err(|_| self.broken("a digest has 32 bytes"))
    }

    fn sealed(&self, text: &str) -> Result<Vec<(Pointer, Vec<u8>)>, StoreError> {
        // Most blocks have no secrets: skip the JSON parser.
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

/// Locked row of a block.
pub(crate) struct Held {
    pub(crate) id: i64,
    pub(crate) newest: Revision,
    pub(crate) purges: u64,
    pub(crate) deleted: bool,
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
    transaction
        .execute(
            "INSERT INTO revisions (block, revision, bundle, checksum, config, seal, author, created_at, origin, reason)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            params![
                block,
                revision,
                new.bundle.as_bytes().as_slice(),
                new.checksum.as_bytes().as_slice(),
                new.config,
                new.seal,
                new.author,
                now,
                new.origin,
                new.reason
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
        let target = target.expect("every reference's target is locked").id;
        transaction
            .execute(
                "INSERT INTO block_references (block, revision, pointer, target, purpose) VALUES ($1, $2, $3, $4, $5)",
                params![block, revision, &stored(&reference.pointer), target, reference.purpose.as_str()],
            )
            .await?;
    }
    Ok(())
}

pub(crate) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.number()).unwrap_or(i64::MAX)
}
