//! Opens, shows and lists blocks.

use std::collections::BTreeSet;
use std::sync::Arc;

use blockyard_host::Bundle;
use blockyard_model::marker::{masked, sealed_secrets};
use blockyard_model::secret::MASK;
use blockyard_model::{Address, PinnedAddress, Pointer, Revision, SplitDocument, interface};
use blockyard_store::BlockFilter;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bundle::BundleUse;
use crate::reference::{ResolvedBlock, type_of};
use crate::revision::deleted;
use crate::time::timestamp;
use crate::{Error, ErrorKind, Yard};

/// A block opened at one revision. Its secrets can be used, but not read.
#[derive(Clone)]
pub struct Block {
    pub(crate) yard: Yard,
    pub(crate) address: Address,
    pub(crate) revision: Revision,
    pub(crate) bundle: Bundle,
    pub(crate) document: Arc<SplitDocument>,
    /// The block with its dependencies.
    pub(crate) resolved: Arc<ResolvedBlock>,
}

/// A secret field in a typed configuration. It accepts any value and exposes none.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Redacted;

/// A block as shown to the user, with masked secrets.
#[derive(Debug, Clone, Serialize)]
pub struct BlockView {
    /// Block address, `TYPE/NAME`.
    pub address: String,
    /// Revision shown.
    pub revision: u64,
    /// Newest revision of the block.
    pub newest: u64,
    /// Configuration, with secrets as `********`.
    pub config: Value,
    /// Secrets that `purge` destroyed, as dotted field paths.
    pub destroyed: Vec<String>,
    /// Blocks that reference this block.
    pub used_by: Vec<Dependent>,
    /// sha256 of the bundle that validated the revision.
    pub bundle_sha256: String,
    /// Name and version of that bundle, and whether a newer version is installed.
    pub bundle: Option<BundleUse>,
    /// User who saved the revision.
    pub author: String,
    /// Time at which the revision was saved.
    pub saved_at: Timestamp,
    /// `true` if the block is deleted.
    pub deleted: bool,
}

/// A reference to a block from another block.
#[derive(Debug, Clone, Serialize)]
pub struct Dependent {
    /// Address of the referencing block, `TYPE/NAME`.
    pub address: String,
    /// Field that holds the reference, as a dotted path.
    pub field: String,
}

/// An entry in a list of blocks.
#[derive(Debug, Clone, Serialize)]
pub struct BlockEntry {
    /// Block address, `TYPE/NAME`.
    pub address: String,
    /// Newest revision of the block.
    pub revision: u64,
    /// Time at which the newest revision was saved.
    pub saved_at: Timestamp,
    /// Bundle that validated the newest revision, and whether a newer version is installed.
    pub bundle: Option<BundleUse>,
    /// Time at which the block was deleted. Omitted if it is not deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

impl Yard {
    /// Opens a block at its newest revision (`TYPE/NAME`) or at a given revision (`TYPE/NAME@N`).
    ///
    /// # Errors
    /// Returns an error if the address is malformed, or if the type, the block or the revision does
    /// not exist.
    pub async fn block(&self, address: &str) -> Result<Block, Error> {
        self.open_block(&address.parse()?).await
    }

    /// Like [`block`](Self::block), with a parsed address.
    ///
    /// # Errors
    /// Returns an error if the type, the block or the revision does not exist.
    pub async fn open_block(&self, address: &PinnedAddress) -> Result<Block, Error> {
        let found = self.store().block_with_dependencies(&address.address, address.revision).await?;
        let Some((record, parts)) = found else {
            return Err(self.missing(&address.address, address.revision).await);
        };
        let document = self.unseal(&record).await?;
        if record.deleted_at.is_some() {
            return Err(deleted(&address.address));
        }
        let resolved = self.resolve_block(&record, &document, parts).await?;
        let bundle = self.bundle(&record.bundle).await?;
        Ok(Block {
            yard: self.clone(),
            address: record.address,
            revision: record.revision,
            bundle,
            document: Arc::new(document),
            resolved: Arc::new(resolved),
        })
    }

    /// Returns a block for display, with masked secrets.
    ///
    /// # Errors
    /// Returns an error if the type, the block or the revision does not exist, or if the block is
    /// deleted.
    pub async fn show(&self, address: &PinnedAddress) -> Result<BlockView, Error> {
        let record = self.live_record(&address.address, address.revision).await?;
        let users = self.store().users_of(&address.address).await?;
        let sealed: BTreeSet<&Pointer> = record.secrets.iter().map(|(pointer, _)| pointer).collect();
        let destroyed = sealed_secrets(&record.config).into_iter().filter(|pointer| !sealed.contains(pointer));
        let bundle = self.bundle_use(&self.versions().await?, &record.bundle, &address.address.type_slug).await?;
        Ok(BlockView {
            bundle,
            destroyed: destroyed.map(|pointer| pointer.dotted()).collect(),
            used_by: users
                .into_iter()
                .map(|(address, pointer)| Dependent { address: address.to_string(), field: pointer.dotted() })
                .collect(),
            address: record.address.to_string(),
            revision: record.revision.number(),
            newest: record.newest.number(),
            config: masked(&record.config),
            bundle_sha256: record.bundle.to_string(),
            author: record.author,
            saved_at: timestamp(record.created_at),
            deleted: record.deleted_at.is_some(),
        })
    }

    /// Lists blocks, sorted by address. With `interface_name`, lists the blocks whose type
    /// implements that interface.
    ///
    /// # Errors
    /// Returns an error if the interface or the type does not exist.
    pub async fn list(&self, mut filter: BlockFilter, interface_name: Option<&str>) -> Result<Vec<BlockEntry>, Error> {
        self.narrow(&mut filter, interface_name).await?;
        let versions = self.versions().await?;
        let mut listed = Vec::new();
        for block in self.store().blocks(&filter).await? {
            let bundle = match &block.bundle {
                Some(digest) => self.bundle_use(&versions, digest, &block.address.type_slug).await?,
                None => None,
            };
            listed.push(BlockEntry {
                address: block.address.to_string(),
                revision: block.newest.number(),
                saved_at: timestamp(block.saved_at),
                bundle,
                deleted_at: block.deleted_at.map(timestamp),
            });
        }
        Ok(listed)
    }

    /// Returns the number of blocks that [`list`](Self::list) would return on all its pages.
    ///
    /// # Errors
    /// Same as [`list`](Self::list).
    pub async fn count(&self, mut filter: BlockFilter, interface_name: Option<&str>) -> Result<u64, Error> {
        self.narrow(&mut filter, interface_name).await?;
        Ok(self.store().count_blocks(&filter).await?)
    }

    /// Restricts the filter to block types that implement the interface.
    async fn narrow(&self, filter: &mut BlockFilter, interface_name: Option<&str>) -> Result<(), Error> {
        let Some(name) = interface_name else { return Ok(()) };
        // Reports an unknown interface.
        self.types(Some(name)).await?;
        let mut implementing = self.stored_types().await?;
        implementing.retain(|view| view.interfaces.iter().any(|own| own == name));
        let implementing: Vec<String> = implementing.into_iter().map(|view| view.slug).collect();
        filter.types = Some(match filter.types.take() {
            Some(types) => types.into_iter().filter(|slug| implementing.contains(slug)).collect(),
            None => implementing,
        });
        Ok(())
    }
}

impl Block {
    /// Returns the address, `TYPE/NAME`.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the revision at which the block is open.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Opens the same block at another revision.
    ///
    /// # Errors
    /// Returns an error if the block has no such revision.
    pub async fn at(&self, revision: u64) -> Result<Self, Error> {
        let revision =
            Revision::new(revision).ok_or_else(|| Error::new(ErrorKind::Usage, "revisions are numbers from 1"))?;
        self.yard.open_block(&PinnedAddress { address: self.address.clone(), revision: Some(revision) }).await
    }

    /// Deserializes the configuration into `T`. Declare secret fields as [`Redacted`].
    ///
    /// # Errors
    /// Returns an error if the configuration does not match `T`.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_value(masked(&self.document.config)).map_err(|error| {
            Error::new(
                ErrorKind::Invalid,
                format!("the configuration of block `{}` does not match the program's type", self.address),
            )
            .because(error)
        })
    }

    /// Checks that the block's type implements a standard interface.
    pub(crate) fn need_interface(&self, name: &str) -> Result<(), Error> {
        let block_type = type_of(self.bundle.manifest(), &self.address)?;
        if block_type.interfaces.iter().any(|own| own == name) {
            return Ok(());
        }
        let own = match block_type.interfaces.as_slice() {
            [] => "it implements no standard interface".to_owned(),
            interfaces => format!("it implements `{}`", interfaces.join("`, `")),
        };
        debug_assert!(interface::all().iter().any(|known| known.name == name), "callers name standard interfaces");
        Err(Error::new(
            ErrorKind::Usage,
            format!("block `{}` does not implement the interface `{name}`: {own}", self.address),
        ))
    }
}

impl<'de> Deserialize<'de> for Redacted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl std::fmt::Debug for Redacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({}@{})", self.address, self.revision)
    }
}
