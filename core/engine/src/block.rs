//! Blocks: opening, showing, listing.

use std::collections::BTreeSet;
use std::sync::Arc;

use blockyard_host::Bundle;
use blockyard_model::document::{masked, secret_markers};
use blockyard_model::secret::MASK;
use blockyard_model::{Address, PinnedAddress, Pointer, Revision, SealedDocument, interface};
use blockyard_store::BlockFilter;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::timestamp;
use crate::bundle::BundleUse;
use crate::reference::{Whole, type_of};
use crate::revision::deleted;
use crate::{Error, ErrorKind, Yard};

/// A block at one revision, opened: its secrets can be used and not seen.
#[derive(Clone)]
pub struct Block {
    pub(crate) yard: Yard,
    pub(crate) address: Address,
    pub(crate) revision: Revision,
    pub(crate) bundle: Bundle,
    pub(crate) document: Arc<SealedDocument>,
    /// With all that it builds on.
    pub(crate) whole: Arc<Whole>,
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
    /// Its secrets that were destroyed by `purge`, as on a command line.
    pub destroyed: Vec<String>,
    /// The blocks that build on this one, and through which field: `TYPE/NAME` to `field`.
    pub used_by: Vec<Use>,
    /// sha256 of the bundle that validated it.
    pub bundle_sha256: String,
    /// Name and version of that bundle, and whether a newer version is installed.
    pub bundle: Option<BundleUse>,
    /// Who saved it.
    pub author: String,
    /// When it was saved.
    pub saved_at: Timestamp,
    /// Whether the block is deleted.
    pub deleted: bool,
}

/// A block that builds on another one.
#[derive(Debug, Clone, Serialize)]
pub struct Use {
    /// `TYPE/NAME`.
    pub address: String,
    /// The field with the reference.
    pub field: String,
}

/// A block in a list.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    /// `TYPE/NAME`.
    pub address: String,
    /// Its newest revision.
    pub revision: u64,
    /// When that was saved.
    pub saved_at: Timestamp,
    /// The bundle that validated it, and whether a newer version is installed.
    pub bundle: Option<BundleUse>,
    /// When the block was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
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
        let found = self.store().block_with_parts(&address.address, address.revision).await?;
        let Some((record, parts)) = found else {
            return Err(self.missing(&address.address, address.revision).await);
        };
        let document = self.unseal(&record).await?;
        if record.deleted_at.is_some() {
            return Err(deleted(&address.address));
        }
        let whole = self.assemble_whole(&record, &document, parts).await?;
        let bundle = self.bundle(&record.bundle).await?;
        Ok(Block {
            yard: self.clone(),
            address: record.address,
            revision: record.revision,
            bundle,
            document: Arc::new(document),
            whole: Arc::new(whole),
        })
    }

    /// A block as people see it.
    ///
    /// # Errors
    /// There is no such type, block or revision.
    pub async fn show(&self, address: &PinnedAddress) -> Result<BlockView, Error> {
        let record = self.live_record(&address.address, address.revision).await?;
        let users = self.store().users_of(&address.address).await?;
        let sealed: BTreeSet<&Pointer> = record.secrets.iter().map(|(pointer, _)| pointer).collect();
        let destroyed = secret_markers(&record.config).into_iter().filter(|pointer| !sealed.contains(pointer));
        let bundle = self.bundle_use(&self.versions().await?, &record.bundle, &address.address.type_slug).await?;
        Ok(BlockView {
            bundle,
            destroyed: destroyed.map(|pointer| pointer.dotted()).collect(),
            used_by: users
                .into_iter()
                .map(|(address, pointer)| Use { address: address.to_string(), field: pointer.dotted() })
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

    /// Blocks in the order of their addresses; with an interface, those whose type implements it.
    ///
    /// # Errors
    /// There is no such interface or type.
    pub async fn list(&self, mut filter: BlockFilter, interface_name: Option<&str>) -> Result<Vec<Listing>, Error> {
        self.narrow(&mut filter, interface_name).await?;
        let versions = self.versions().await?;
        let mut listed = Vec::new();
        for block in self.store().blocks(&filter).await? {
            let bundle = match &block.bundle {
                Some(digest) => self.bundle_use(&versions, digest, &block.address.type_slug).await?,
                None => None,
            };
            listed.push(Listing {
                address: block.address.to_string(),
                revision: block.newest.number(),
                saved_at: timestamp(block.saved_at),
                bundle,
                deleted_at: block.deleted_at.map(timestamp),
            });
        }
        Ok(listed)
    }

    /// How many blocks [`list`](Self::list) would give on all its pages.
    ///
    /// # Errors
    /// As `list`.
    pub async fn count(&self, mut filter: BlockFilter, interface_name: Option<&str>) -> Result<u64, Error> {
        self.narrow(&mut filter, interface_name).await?;
        Ok(self.store().count_blocks(&filter).await?)
    }

    /// Types that are asked for must be there; an interface means those that implement it.
    async fn narrow(&self, filter: &mut BlockFilter, interface_name: Option<&str>) -> Result<(), Error> {
        let Some(name) = interface_name else { return Ok(()) };
        let implementing: Vec<String> = self.types(Some(name)).await?.into_iter().map(|view| view.slug).collect();
        filter.types = Some(match filter.types.take() {
            Some(types) => types.into_iter().filter(|slug| implementing.contains(slug)).collect(),
            None => implementing,
        });
        Ok(())
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
        let block_type = type_of(self.bundle.manifest(), &self.address)?;
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
