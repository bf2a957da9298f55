//! Blocks and their revisions.

use std::sync::LazyLock;

use blockyard_model::{Address, BlockName, Digest, Pointer, Reference, Revision, TypeSlug, exact};
use serde_json::Value;

use crate::audit::{self, AuditLine};
use crate::database::{Row, Sql, Transaction, either, params};
use crate::reference::Target;
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
    /// The configuration as it is stored, to the byte: the seal covers this text, not a serialization
    /// of [`config`](Self::config).
    pub config_text: String,
    /// Proves that bundle, checksum and configuration are as they were saved.
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
    /// The configuration as JSON, without secrets. It is stored to the byte, because the seal covers
    /// this text.
    pub config: &'a str,
    /// Proves later that bundle, checksum and configuration are as they were saved.
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

/// A revision in a history.
#[derive(Debug, Clone)]
pub struct HistoryRecord {
    /// The revision.
    pub record: BlockRecord,
    /// The version of the bundle that validated it.
    pub bundle_version: String,
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

    /// Holds a block's row until the transaction ends.
    pub(crate) async fn hold_block(
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
            .map_err(|error| self.sort(error))?
            .ok_or_else(|| StoreError::NoBlock(address.clone()))?;
        Ok(Held {
            id: row.integer(0),
            newest: self.revision(row.integer(1))?,
            purges: row.integer(2).unsigned_abs(),
            deleted: row.maybe_integer(3).is_some(),
        })
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
            config: self.config(row.text(at + 10))?,
            config_text: row.text(at + 10).to_owned(),
            seal: row.bytes(at + 11).to_owned(),
            author: row.text(at + 12).to_owned(),
            created_at: row.integer(at + 13),
            secrets: self.sealed(row.text(at + 14))?,
        })
    }

    /// A document as it was saved: its numbers have the spelling that they were saved with.
    fn config(&self, text: &str) -> Result<serde_json::Value, StoreError> {
        let mut config = serde_json::from_str(text).map_err(|error| self.broken(error))?;
        exact::normalize(&mut config);
        Ok(config)
    }

    /// The address in two columns.
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
            "INSERT INTO revisions (block, revision, bundle, checksum, config, seal, author, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            params![
                block,
                revision,
                new.bundle.as_bytes().as_slice(),
                new.checksum.as_bytes().as_slice(),
                new.config,
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

pub(crate) fn read_pointer(text: &str) -> Pointer {
    Pointer::new(text.replace("~2", "\0"))
}

pub(crate) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.number()).unwrap_or(i64::MAX)
}
