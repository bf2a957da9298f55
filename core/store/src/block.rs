//! Blocks and their revisions.

use blockyard_model::{Address, Digest, Pointer, Revision};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, Transaction};

use crate::audit::{self, AuditLine};
use crate::bundle::digest;
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
    /// The block's data key, wrapped; none for a block that has no secret.
    pub data_key: Option<Vec<u8>>,
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
    /// The block's data key, wrapped.
    pub data_key: &'a [u8],
    /// The id of the key that wraps it.
    pub key_id: &'a str,
    /// Who saves it.
    pub author: &'a str,
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
pub struct RevisionSummary {
    /// Its number.
    pub revision: Revision,
    /// sha256 of the bundle that validated it.
    pub bundle: Digest,
    /// The version of that bundle.
    pub bundle_version: String,
    /// Who saved it.
    pub author: String,
    /// When.
    pub created_at: Millis,
    /// The configuration, without secrets.
    pub config: Value,
    /// Where it had secrets.
    pub secrets: Vec<Pointer>,
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
        let row = sqlx::query(
            "SELECT b.newest, b.data_key, b.deleted_at, r.revision, r.bundle, r.checksum, r.config, r.author, r.created_at, r.seal,
                    (SELECT json_group_array(json_array(s.pointer, hex(s.sealed)))
                     FROM secrets s WHERE s.block = r.block AND s.revision = r.revision)
             FROM blocks b JOIN revisions r ON r.block = b.id AND r.revision = coalesce(?3, b.newest)
             WHERE b.type = ?1 AND b.name = ?2",
        )
        .bind(address.type_slug.as_str())
        .bind(address.name.as_str())
        .bind(revision.map(number))
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| self.sort(error))?;
        row.map(|row| {
            Ok(BlockRecord {
                address: address.clone(),
                newest: revision_of(row.get(0)),
                data_key: row.get(1),
                deleted_at: row.get(2),
                revision: revision_of(row.get(3)),
                bundle: digest(row.get(4)),
                checksum: digest(row.get(5)),
                config: self.json(row.get(6))?,
                author: row.get(7),
                created_at: row.get(8),
                seal: row.get(9),
                secrets: self.sealed(row.get(10))?,
            })
        })
        .transpose()
    }

    /// Saves revision 1 of a new block.
    ///
    /// # Errors
    /// [`StoreError::Taken`], [`StoreError::TakenByDeleted`].
    pub async fn create_block(&self, new: &NewRevision<'_>, line: AuditLine, now: Millis) -> Result<(), StoreError> {
        let sort = |error| self.sort(error);
        let mut transaction = self.begin().await?;
        let inserted: Option<i64> = sqlx::query_scalar(
            "INSERT INTO blocks (type, name, newest, data_key, key_id, created_at) VALUES (?, ?, 1, ?, ?, ?)
             ON CONFLICT (type, name) DO NOTHING RETURNING id",
        )
        .bind(new.address.type_slug.as_str())
        .bind(new.address.name.as_str())
        .bind(new.data_key)
        .bind(new.key_id)
        .bind(now)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(sort)?;
        let Some(block) = inserted else {
            let deleted: Option<Millis> =
                sqlx::query_scalar("SELECT deleted_at FROM blocks WHERE type = ? AND name = ?")
                    .bind(new.address.type_slug.as_str())
                    .bind(new.address.name.as_str())
                    .fetch_one(&mut *transaction)
                    .await
                    .map_err(sort)?;
            let address = new.address.clone();
            return Err(match deleted {
                Some(_) => StoreError::TakenByDeleted(address),
                None => StoreError::Taken(address),
            });
        };
        insert_revision(&mut transaction, block, Revision::FIRST, new, now).await.map_err(sort)?;
        audit::append(&mut transaction, &line, now).await.map_err(sort)?;
        transaction.commit().await.map_err(sort)
    }

    /// Saves the revision after `from`, which must be the newest.
    ///
    /// # Errors
    /// [`StoreError::Moved`] where another save came first; [`StoreError::NoBlock`].
    pub async fn save_revision(
        &self,
        new: &NewRevision<'_>,
        from: Revision,
        line: AuditLine,
        now: Millis,
    ) -> Result<Revision, StoreError> {
        let sort = |error| self.sort(error);
        let mut transaction = self.begin().await?;
        let found: Option<(i64, i64)> =
            sqlx::query_as("SELECT id, newest FROM blocks WHERE type = ? AND name = ? AND deleted_at IS NULL")
                .bind(new.address.type_slug.as_str())
                .bind(new.address.name.as_str())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(sort)?;
        let Some((block, newest)) = found else {
            return Err(StoreError::NoBlock(new.address.clone()));
        };
        if newest != number(from) {
            return Err(StoreError::Moved { address: new.address.clone(), newest: revision_of(newest) });
        }
        let next = from.next();
        insert_revision(&mut transaction, block, next, new, now).await.map_err(sort)?;
        sqlx::query("UPDATE blocks SET newest = ?, data_key = ?, key_id = ? WHERE id = ?")
            .bind(number(next))
            .bind(new.data_key)
            .bind(new.key_id)
            .bind(block)
            .execute(&mut *transaction)
            .await
            .map_err(sort)?;
        audit::append(&mut transaction, &line, now).await.map_err(sort)?;
        transaction.commit().await.map_err(sort)?;
        Ok(next)
    }

    /// Blocks in the order of their addresses.
    ///
    /// # Errors
    /// What the database says.
    pub async fn blocks(&self, filter: &BlockFilter) -> Result<Vec<BlockSummary>, StoreError> {
        let types = filter.types.as_ref().map(|types| Value::from(types.clone()).to_string());
        let rows = sqlx::query(
            "SELECT b.type, b.name, b.newest, r.created_at, b.deleted_at
             FROM blocks b JOIN revisions r ON r.block = b.id AND r.revision = b.newest
             WHERE (?1 IS NULL OR b.type IN (SELECT value FROM json_each(?1)))
               AND (?2 IS NULL OR instr(b.type || '/' || b.name, ?2) > 0)
               AND (b.deleted_at IS NOT NULL) = ?3
               AND (?4 IS NULL OR (b.type, b.name) > (?4, ?5))
             ORDER BY b.type, b.name LIMIT ?6",
        )
        .bind(types)
        .bind(filter.word.as_deref())
        .bind(filter.deleted)
        .bind(filter.after.as_ref().map(|after| after.type_slug.as_str()))
        .bind(filter.after.as_ref().map(|after| after.name.as_str()))
        .bind(filter.limit.map_or(-1, i64::from))
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.sort(error))?;
        rows.iter()
            .map(|row| {
                Ok(BlockSummary {
                    address: self.address(row)?,
                    newest: revision_of(row.get(2)),
                    saved_at: row.get(3),
                    deleted_at: row.get(4),
                })
            })
            .collect()
    }

    /// The revisions of a block, newest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn history(&self, address: &Address) -> Result<Vec<RevisionSummary>, StoreError> {
        let rows = sqlx::query(
            "SELECT r.revision, r.bundle, n.version, r.author, r.created_at, r.config,
                    (SELECT json_group_array(s.pointer) FROM secrets s WHERE s.block = r.block AND s.revision = r.revision)
             FROM blocks b JOIN revisions r ON r.block = b.id JOIN bundles n ON n.digest = r.bundle
             WHERE b.type = ? AND b.name = ? ORDER BY r.revision DESC",
        )
        .bind(address.type_slug.as_str())
        .bind(address.name.as_str())
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.sort(error))?;
        rows.iter()
            .map(|row| {
                let places: Vec<String> = serde_json::from_str(row.get(6)).map_err(|error| self.broken(error))?;
                Ok(RevisionSummary {
                    revision: revision_of(row.get(0)),
                    bundle: digest(row.get(1)),
                    bundle_version: row.get(2),
                    author: row.get(3),
                    created_at: row.get(4),
                    config: self.json(row.get(5))?,
                    secrets: places.into_iter().map(Pointer::new).collect(),
                })
            })
            .collect()
    }

    fn address(&self, row: &SqliteRow) -> Result<Address, StoreError> {
        let (type_slug, name): (&str, &str) = (row.get(0), row.get(1));
        format!("{type_slug}/{name}").parse().map_err(|error| self.broken(error))
    }

    fn json(&self, text: &str) -> Result<Value, StoreError> {
        serde_json::from_str(text).map_err(|error| self.broken(error))
    }

    fn sealed(&self, text: &str) -> Result<Vec<(Pointer, Vec<u8>)>, StoreError> {
        let pairs: Vec<(String, String)> = serde_json::from_str(text).map_err(|error| self.broken(error))?;
        pairs
            .into_iter()
            .map(|(pointer, sealed)| {
                let bytes = hex::decode(sealed).map_err(|error| self.broken(error))?;
                Ok((Pointer::new(pointer), bytes))
            })
            .collect()
    }

    /// A row that holds what this crate never writes: somebody else was at the file.
    fn broken(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Corrupt(self.path().to_owned(), sqlx::Error::Decode(error.into()))
    }
}

async fn insert_revision(
    transaction: &mut Transaction<'_, Sqlite>,
    block: i64,
    revision: Revision,
    new: &NewRevision<'_>,
    now: Millis,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO revisions (block, revision, bundle, checksum, config, seal, author, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(block)
        .bind(number(revision))
        .bind(new.bundle.as_bytes().as_slice())
        .bind(new.checksum.as_bytes().as_slice())
        .bind(new.config.to_string())
    .bind(new.seal)
        .bind(new.author)
        .bind(now)
        .execute(&mut **transaction)
        .await?;
    for (pointer, sealed) in new.secrets {
        sqlx::query("INSERT INTO secrets (block, revision, pointer, sealed) VALUES (?, ?, ?, ?)")
            .bind(block)
            .bind(number(revision))
            .bind(pointer.as_str())
            .bind(sealed.as_slice())
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

fn number(revision: Revision) -> i64 {
    i64::try_from(revision.number()).unwrap_or(i64::MAX)
}

fn revision_of(number: i64) -> Revision {
    u64::try_from(number).ok().and_then(Revision::new).expect("the table holds revisions from 1")
}
