//! Blocks: opening, showing, listing, history.

use std::collections::BTreeMap;
use std::sync::Arc;

use blockyard_host::Bundle;
use blockyard_model::document::masked;
use blockyard_model::secret::MASK;
use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{Address, PinnedAddress, Revision, SealedDocument, interface};
use blockyard_store::{BlockFilter, BlockRecord};
use blockyard_vault::{DataKey, Place};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::save::{content_digest, type_of};
use crate::{Error, ErrorKind, Yard};

/// A block at one revision, opened: its secrets can be used and not seen.
#[derive(Clone)]
pub struct Block {
    pub(crate) yard: Yard,
    pub(crate) address: Address,
    pub(crate) revision: Revision,
    pub(crate) bundle: Bundle,
    pub(crate) document: Arc<SealedDocument>,
}

/// A secret in a typed configuration: it is there, and cannot be seen.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Sealed;

/// A block as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct BlockView {
    /// `TYPE/NAME`.
    pub address: String,
    /// The revision that this is.
    pub revision: u64,
    /// The newest one.
    pub newest: u64,
    /// The configuration, secrets as `********`.
    pub config: Value,
    /// sha256 of the bundle that validated it.
    pub bundle_sha256: String,
    /// Who saved it.
    pub author: String,
    /// When: milliseconds since 1970-01-01 UTC.
    pub saved_at: i64,
    /// Whether the block is deleted.
    pub deleted: bool,
}

/// A block in a list.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    /// `TYPE/NAME`.
    pub address: String,
    /// Its newest revision.
    pub revision: u64,
    /// When that was saved: milliseconds since 1970-01-01 UTC.
    pub saved_at: i64,
}

/// A revision in a history.
#[derive(Debug, Clone, Serialize)]
pub struct RevisionView {
    /// Its number.
    pub revision: u64,
    /// When it was saved: milliseconds since 1970-01-01 UTC.
    pub saved_at: i64,
    /// Who saved it.
    pub author: String,
    /// The version of the bundle that validated it.
    pub bundle_version: String,
    /// The fields that differ from the revision before.
    pub changed: Vec<String>,
}

impl Yard {
    /// A block, at its newest revision (`TYPE/NAME`) or at a given one (`TYPE/NAME@N`).
    ///
    /// # Errors
    /// The address is malformed; there is no such type, block or revision.
    pub async fn block(&self, address: &str) -> Result<Block, Error> {
        self.open_block(&address.parse()?).await
    }

    /// As [`block`](Self::block), by a parsed address.
    ///
    /// # Errors
    /// There is no such type, block or revision.
    pub async fn open_block(&self, address: &PinnedAddress) -> Result<Block, Error> {
        let record = self.live_record(&address.address, address.revision).await?;
        let document = Arc::new(self.unseal(&record)?);
        let bundle = self.bundle(&record.bundle).await?;
        Ok(Block { yard: self.clone(), address: record.address, revision: record.revision, bundle, document })
    }

    /// A block as people see it.
    ///
    /// # Errors
    /// There is no such type, block or revision.
    pub async fn show(&self, address: &PinnedAddress) -> Result<BlockView, Error> {
        let record = self.live_record(&address.address, address.revision).await?;
        Ok(BlockView {
            address: record.address.to_string(),
            revision: record.revision.number(),
            newest: record.newest.number(),
            config: masked(&record.config),
            bundle_sha256: record.bundle.to_string(),
            author: record.author,
            saved_at: record.created_at,
            deleted: record.deleted_at.is_some(),
        })
    }

    /// Blocks in the order of their addresses; with an interface, those whose type implements it.
    ///
    /// # Errors
    /// There is no such interface or type.
    pub async fn list(&self, mut filter: BlockFilter, interface_name: Option<&str>) -> Result<Vec<Listing>, Error> {
        if let Some(name) = interface_name {
            let implementing: Vec<String> = self.types(Some(name)).await?.into_iter().map(|view| view.slug).collect();
            filter.types = Some(match filter.types {
                Some(types) => types.into_iter().filter(|slug| implementing.contains(slug)).collect(),
                None => implementing,
            });
        }
        let blocks = self.store().blocks(&filter).await?;
        Ok(blocks
            .into_iter()
            .map(|block| Listing {
                address: block.address.to_string(),
                revision: block.newest.number(),
                saved_at: block.saved_at,
            })
            .collect())
    }

    /// The revisions of a block, the newest first. Of a secret it says that it was saved anew,
    /// never more.
    ///
    /// # Errors
    /// There is no such type or block.
    pub async fn history(&self, address: &Address) -> Result<Vec<RevisionView>, Error> {
        let newest = self.record(address, None).await?;
        let revisions = self.store().history(address).await?;
        let mut views = Vec::new();
        for (index, revision) in revisions.iter().enumerate() {
            let mut changed = Vec::new();
            if let Some(before) = revisions.get(index + 1) {
                differences(&before.config, &revision.config, "", &mut changed);
                changed.extend(self.changed_secrets(&newest, before.revision, revision.revision).await?);
                changed.sort();
                changed.dedup();
            }
            views.push(RevisionView {
                revision: revision.revision.number(),
                saved_at: revision.created_at,
                author: revision.author.clone(),
                bundle_version: revision.bundle_version.clone(),
                changed,
            });
        }
        Ok(views)
    }

    /// Secrets whose values differ between two revisions.
    async fn changed_secrets(
        &self,
        block: &BlockRecord,
        before: Revision,
        after: Revision,
    ) -> Result<Vec<String>, Error> {
        let mut pair = Vec::new();
        for revision in [before, after] {
            let record = self.record(&block.address, Some(revision)).await?;
            pair.push(self.unseal(&record)?.secrets);
        }
        let (Some(after), Some(before)) = (pair.pop(), pair.pop()) else { return Ok(Vec::new()) };
        let changed = after.iter().filter(|(pointer, secret)| before.get(*pointer).is_some_and(|old| old != *secret));
        Ok(changed.map(|(pointer, _)| format!("{} (secret)", pointer.dotted())).collect())
    }

    /// A block's record; its absence is told apart: type, block, revision.
    async fn record(&self, address: &Address, revision: Option<Revision>) -> Result<BlockRecord, Error> {
        if let Some(record) = self.store().block(address, revision).await? {
            self.check_seal(&record)?;
            return Ok(record);
        }
        if let Some(revision) = revision
            && let Some(record) = self.store().block(address, None).await?
        {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("block `{address}` has no revision {revision}; its newest is {}", record.newest),
            ));
        }
        self.block_type(&address.type_slug).await?;
        let blocks = self.store().blocks(&BlockFilter::default()).await?;
        let known: Vec<String> = blocks.into_iter().map(|block| block.address.to_string()).collect();
        let text = address.to_string();
        Err(Error::new(ErrorKind::NotFound, format!("block `{address}` not found"))
            .maybe_hint(did_you_mean(&text, known.iter().map(String::as_str)))
            .details(json!({ "address": text })))
    }

    /// Makes sure that nobody but Blockyard wrote this revision: a changed host would have the
    /// password sent there.
    fn check_seal(&self, record: &BlockRecord) -> Result<(), Error> {
        let data_key = self.data_key(record)?;
        let content = content_digest(&record.bundle, &record.checksum, &record.config);
        let yard = &self.store().yard().id;
        data_key.check_content(yard, &record.address, record.revision, &content, &record.seal).map_err(|_| {
            let revision = record.revision;
            let message = format!("block `{}@{revision}` was changed by something else than Blockyard", record.address);
            Error::new(ErrorKind::Denied, message)
                .hint("restore the yard's file from a backup, and find out who writes to it")
        })
    }

    /// The key of a block's own.
    pub(crate) fn data_key(&self, record: &BlockRecord) -> Result<DataKey, Error> {
        let purged =
            || Error::new(ErrorKind::Denied, format!("the secrets of block `{}` were destroyed", record.address));
        let wrapped = record.data_key.as_deref().ok_or_else(purged)?;
        Ok(self.key().unwrap(&self.store().yard().id, &record.address, wrapped)?)
    }

    /// As [`record`](Self::record), and not deleted.
    pub(crate) async fn live_record(
        &self,
        address: &Address,
        revision: Option<Revision>,
    ) -> Result<BlockRecord, Error> {
        let record = self.record(address, revision).await?;
        if record.deleted_at.is_some() {
            return Err(Error::new(ErrorKind::NotFound, format!("block `{address}` is deleted")));
        }
        Ok(record)
    }

    /// Opens the sealed secrets of a revision.
    pub(crate) fn unseal(&self, record: &BlockRecord) -> Result<SealedDocument, Error> {
        let mut secrets = BTreeMap::new();
        if !record.secrets.is_empty() {
            let yard = &self.store().yard().id;
            let data_key = self.data_key(record)?;
            for (pointer, sealed) in &record.secrets {
                let place = Place { yard, address: &record.address, revision: record.revision, pointer };
                secrets.insert(pointer.clone(), data_key.open(&place, sealed)?);
            }
        }
        Ok(SealedDocument { config: record.config.clone(), secrets })
    }
}

impl Block {
    /// `TYPE/NAME`.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The revision that this is.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The same block at another revision.
    ///
    /// # Errors
    /// It has no such revision.
    pub async fn at(&self, revision: u64) -> Result<Self, Error> {
        let revision =
            Revision::new(revision).ok_or_else(|| Error::new(ErrorKind::Usage, "revisions are numbers from 1"))?;
        self.yard.open_block(&PinnedAddress { address: self.address.clone(), revision: Some(revision) }).await
    }

    /// The configuration as a type of the program's own; secrets are [`Sealed`].
    ///
    /// # Errors
    /// It does not fit that type.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_value(masked(&self.document.config)).map_err(|error| {
            Error::new(
                ErrorKind::Invalid,
                format!("the configuration of `{}` does not fit the program's type", self.address),
            )
            .because(error)
        })
    }

    /// Makes sure that the block's type implements a standard interface.
    pub(crate) fn need_interface(&self, name: &str) -> Result<(), Error> {
        let block_type = type_of(&self.bundle, &self.address)?;
        if block_type.interfaces.iter().any(|own| own == name) {
            return Ok(());
        }
        let own = match block_type.interfaces.as_slice() {
            [] => "it implements no standard interface".to_owned(),
            interfaces => format!("it implements `{}`", interfaces.join("`, `")),
        };
        debug_assert!(interface::all().iter().any(|known| known.name == name), "callers name standard interfaces");
        Err(Error::new(ErrorKind::Usage, format!("block `{}` is no `{name}`: {own}", self.address)))
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({}@{})", self.address, self.revision)
    }
}

/// The fields in which two documents differ, as on a command line.
fn differences(before: &Value, after: &Value, path: &str, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let null = Value::Null;
            for key in before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))) {
                let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                differences(before.get(key).unwrap_or(&null), after.get(key).unwrap_or(&null), &place, found);
            }
        }
        _ if before != after => found.push(path.to_owned()),
        _ => {}
    }
}
