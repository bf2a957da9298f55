//! Rotates the key of a yard.

use std::path::PathBuf;

use blockyard_store::{KeyRecord, Rewrap, StoreError, YardRecord};
use blockyard_vault::{Key, KeyLocation};
use serde::Serialize;
use serde_json::json;

use crate::audit_writer::line;
use crate::key_source::KeySource;
use crate::keys::{blocking, from_variable, key_location, recorded};
use crate::{Code, Error, ErrorKind, Yard};

/// Number of data keys that a rotation moves in one transaction. Small, so that other writers do
/// not wait long.
const BATCH: u32 = 200;

/// Location for the new key of a rotation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RotateTo {
    /// Same kind of location as the old key: a new keyring entry, or a new file in the same folder.
    #[default]
    Same,
    /// The operating system's keyring.
    Keyring,
    /// A new file beside the yard.
    File,
    /// An environment variable, from which the key is read now and in the future. The key is not
    /// stored.
    Environment(String),
}

/// Result of a rotation.
#[derive(Debug, Clone, Serialize)]
pub struct Rotated {
    /// ID of the new key.
    pub key_id: String,
    /// Location of the new key.
    pub location: String,
    /// ID of the old key, which no longer opens the yard.
    pub old_key_id: String,
    /// Location of the old key. It is needed for backups made before the rotation.
    pub old_location: String,
    /// Number of data keys that were moved.
    pub moved: u64,
    /// `true` if an interrupted rotation was resumed.
    pub resumed: bool,
}

impl Yard {
    /// Rotates the yard's key: every data key is rewrapped with a new key. An interrupted rotation
    /// resumes where it stopped. `progress` is called with the number of moved data keys and the total.
    ///
    /// The old key is not deleted, because backups require it. It no longer opens the yard.
    ///
    /// # Errors
    /// Returns an error if the new key cannot be stored, or if a rotation to a different location
    /// is in progress.
    pub async fn rotate_key(
        &self,
        to: &RotateTo,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Rotated, Error> {
        let yard = self.store().read_yard().await?;
        // Both keys are needed until the last data key is moved.
        let old = match self.keys().get(&yard.key.id) {
            Some(key) => key,
            None => self.load_key(&yard.key, &yard.id).await?,
        };
        self.keys().insert(old, yard.next_key.is_none());
        let resumed = yard.next_key.is_some();
        let next = match &yard.next_key {
            Some(next) => {
                self.check_same_rotation(next, to)?;
                next.clone()
            }
            None => {
                if *to == RotateTo::Same {
                    self.old_key_is_where_it_should_be(&yard).await?;
                }
                self.begin_rotation(&yard, to).await?
            }
        };
        self.load_keys().await?;
        let new = self.key(&next.id).await?;

        let total: u64 = self.store().key_use().await?.iter().map(|key| key.blocks).sum();
        let mut moved = 0;
        let detail = json!({ "from": yard.key.id, "to": next.id });
        loop {
            let batch = self.store().keys_to_move(&next.id, BATCH).await?;
            if batch.is_empty() {
                let done = line(self.actor(), "rotate", &yard.id, &detail);
                if self.store().finish_rotation(&next.id, done).await? {
                    break;
                }
                continue;
            }
            let mut rewrapped = Vec::with_capacity(batch.len());
            for (address, key_id, before) in batch {
                let data_key = self.key(&key_id).await?.unwrap(&yard.id, &address, &before)?;
                let after = new.wrap(&yard.id, &address, &data_key);
                rewrapped.push(Rewrap { address, before, after });
            }
            if !self.store().move_keys(&rewrapped, &next.id).await? {
                break;
            }
            moved += rewrapped.len() as u64;
            progress(moved, total);
        }
        // Another process may have completed this rotation and started the next one.
        if self.store().read_yard().await?.key.id != next.id {
            return Err(StoreError::KeyMoved.into());
        }
        let shown =
            |record: &KeyRecord| key_location(self.store().location(), self.config(), record).map(|p| p.to_string());
        Ok(Rotated {
            location: shown(&next)?,
            key_id: next.id,
            old_location: shown(&yard.key)?,
            old_key_id: yard.key.id,
            moved,
            resumed,
        })
    }

    /// Checks that the old key is in its recorded location. A key that the caller gave directly may
    /// be stored elsewhere. In that case, the location for the new key cannot be derived, and a
    /// guess could leave the only copy on a machine that is later deleted.
    async fn old_key_is_where_it_should_be(&self, yard: &YardRecord) -> Result<(), Error> {
        if matches!(self.config().key, KeySource::Default) || self.load_key(&yard.key, &yard.id).await.is_ok() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Usage,
            "the yard's key was given directly and is not in its recorded location, so the location for the new key is unknown",
        )
        .code(Code::KeyDestinationNeeded))
    }

    /// Checks that an interrupted rotation is resumed with the key that it began with.
    fn check_same_rotation(&self, next: &KeyRecord, to: &RotateTo) -> Result<(), Error> {
        let key_location: KeyLocation = recorded(next)?;
        let same = match (to, &key_location) {
            (RotateTo::Same, _)
            | (RotateTo::Keyring, KeyLocation::Keyring(_))
            | (RotateTo::File, KeyLocation::File(_)) => true,
            (RotateTo::Environment(name), KeyLocation::Environment(other)) => name == other,
            _ => false,
        };
        if same {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, format!("a rotation to the key in `{key_location}` is in progress"))
            .code(Code::RotationUnderWay))
    }

    /// Creates or reads the new key, and records in the yard that the rotation begins.
    async fn begin_rotation(&self, yard: &YardRecord, to: &RotateTo) -> Result<KeyRecord, Error> {
        let old = recorded(&yard.key)?;
        let new = match to {
            RotateTo::Environment(name) => from_variable(name)?,
            _ => Key::generate(),
        };
        let file = || match &old {
            KeyLocation::File(path) => path.with_file_name(format!("yard-{}.key", new.id())),
            _ => PathBuf::from(format!("yard-{}.key", new.id())),
        };
        let location = match (to, &old) {
            (RotateTo::Environment(name), _) => KeyLocation::Environment(name.clone()),
            (RotateTo::Keyring, _) | (RotateTo::Same, KeyLocation::Keyring(_)) => {
                KeyLocation::Keyring(format!("{}/{}", yard.id, new.id()))
            }
            (RotateTo::File, _) | (RotateTo::Same, KeyLocation::File(_)) => KeyLocation::File(file()),
            (RotateTo::Same, KeyLocation::Environment(name)) => {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!(
                        "the yard's key is in the environment variable `{name}`, where Blockyard cannot store a new key"
                    ),
                )
                .code(Code::KeyVariableNeeded));
            }
        };
        if new.id().to_string() == yard.key.id {
            return Err(Error::new(ErrorKind::Usage, "the new key is already the yard's key"));
        }
        let record =
            KeyRecord { id: new.id().to_string(), location: location.to_string(), canary: new.canary(&yard.id) };
        let key_location = key_location(self.store().location(), self.config(), &record)?;
        let stored = new.clone();
        blocking(move || key_location.store(&stored)).await?;
        self.keys().insert(new, true);
        let detail = json!({ "from": yard.key.id, "to": record.id, "location": record.location });
        let begun = line(self.actor(), "begin-rotate", &yard.id, &detail);
        self.store().begin_rotation(&yard.key.id, &record, begun).await?;
        Ok(record)
    }
}
