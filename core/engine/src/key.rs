//! Loads the keys of an open yard, and returns their status.

use blockyard_store::{KeyRecord, StoreError};
use blockyard_vault::Key;
use serde::Serialize;

use crate::keys::{Keys, key_location, load};
use crate::yard::open_store;
use crate::{Code, Error, ErrorKind, Yard, YardConfig};

/// Status of a yard's key.
#[derive(Debug, Clone, Serialize)]
pub struct KeyStatus {
    /// Location of the yard, as a URL.
    pub yard: String,
    /// ID of the key that the yard requires.
    pub key_id: String,
    /// Location of the key: `keyring:…`, `file:…` or `env:NAME`.
    pub location: String,
    /// `true` if the key can be loaded on this machine and opens the yard.
    pub available: bool,
    /// Reason why the key is not available.
    pub reason: Option<String>,
    /// Number of blocks whose data key is wrapped by this key.
    pub blocks: u64,
    /// Rotation in progress, if any.
    pub rotation: Option<RotationStatus>,
}

/// A rotation in progress.
#[derive(Debug, Clone, Serialize)]
pub struct RotationStatus {
    /// ID of the new key.
    pub key_id: String,
    /// Location of the new key.
    pub location: String,
    /// Number of blocks whose data key is wrapped by the new key.
    pub moved: u64,
    /// Number of blocks whose data key is still to be moved.
    pub left: u64,
}

impl Yard {
    /// Returns the key with this ID. If it is not loaded, for example because another process
    /// started a rotation, it is loaded from the location recorded in the yard.
    pub(crate) async fn key(&self, id: &str) -> Result<Key, Error> {
        if let Some(key) = self.keys().get(id) {
            return Ok(key);
        }
        self.load_keys().await?;
        if let Some(key) = self.keys().get(id) {
            return Ok(key);
        }
        // The key belongs to the yard but could not be loaded; loading it again returns the error
        // with its location.
        let yard = self.store().read_yard().await?;
        let record = [Some(&yard.key), yard.next_key.as_ref()].into_iter().flatten().find(|record| record.id == id);
        if let Some(record) = record {
            return self.load_key(record, &yard.id).await;
        }
        Err({
            Error::new(ErrorKind::Denied, format!("the key with the ID {id} is not one of the yard's keys"))
                .hint("the yard was modified by a program other than Blockyard; restore it from a backup")
        })
    }

    /// Loads the yard's keys from their recorded locations. The newest key wraps new data keys: the
    /// key that a rotation moves to, or else the current one.
    pub(crate) async fn load_keys(&self) -> Result<(), Error> {
        let yard = self.store().read_yard().await?;
        let newest = yard.next_key.as_ref().unwrap_or(&yard.key);
        for record in [Some(&yard.key), yard.next_key.as_ref()].into_iter().flatten() {
            if let Some(known) = self.keys().get(&record.id) {
                self.keys().insert(known, record.id == newest.id);
                continue;
            }
            // The old key may already be missing here if no data key requires it any more.
            let loaded = self.load_key(record, &yard.id).await;
            match loaded {
                Ok(key) => self.keys().insert(key, record.id == newest.id),
                Err(error) if record.id == newest.id => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    pub(crate) async fn load_key(&self, record: &KeyRecord, yard: &str) -> Result<Key, Error> {
        let key_location = key_location(self.store().location(), self.config(), record)?;
        let key = load(key_location.clone()).await.map_err(|error| error.code(Code::RotationUnderWay))?;
        if key.opens_canary(yard, &record.canary) {
            return Ok(key);
        }
        Err(Error::new(ErrorKind::Denied, format!("the key in `{key_location}` is not this yard's key")).hint(format!(
            "the yard requires the key with the ID {}; this key has the ID {}",
            record.id,
            key.id()
        )))
    }

    /// Returns the status of the yard's key, even if the key is not available.
    ///
    /// # Errors
    /// Returns an error if the yard cannot be read.
    pub async fn key_status(url: &str, config: &YardConfig) -> Result<KeyStatus, Error> {
        let store = open_store(url, config).await?;
        let yard = store.yard().clone();
        let opened = Keys::open(store.location(), &yard, config).await;
        let uses = store.key_use().await?;
        let blocks = |id: &str| uses.iter().find(|key| key.key_id == id).map_or(0, |key| key.blocks);
        let shown = |record: &KeyRecord| match key_location(store.location(), config, record) {
            Ok(key_location) => key_location.to_string(),
            Err(_) => record.location.clone(),
        };
        let status = KeyStatus {
            yard: store.location().to_string(),
            key_id: yard.key.id.clone(),
            location: shown(&yard.key),
            available: opened.is_ok(),
            reason: opened.err().map(|error| error.to_string()),
            blocks: blocks(&yard.key.id),
            rotation: yard.next_key.as_ref().map(|next| RotationStatus {
                key_id: next.id.clone(),
                location: shown(next),
                moved: blocks(&next.id),
                left: uses.iter().filter(|key| key.key_id != next.id).map(|key| key.blocks).sum(),
            }),
        };
        store.close().await;
        Ok(status)
    }
}

/// Checks whether an error means that another process changed the yard's key concurrently.
pub(crate) fn is_moved(error: &StoreError) -> bool {
    matches!(error, StoreError::KeyMoved)
}
