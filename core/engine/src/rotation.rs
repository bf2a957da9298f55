//! Moving a yard from one key to another.

use std::path::PathBuf;

use blockyard_store::{KeyRecord, Rewrap, StoreError, YardRecord};
use blockyard_vault::{Key, KeyLocation};
use serde::Serialize;
use serde_json::json;

use crate::audit::line;
use crate::key::{KeySource, blocking, from_variable, place, recorded};
use crate::{Code, Error, ErrorKind, Yard};

/// Data keys that a rotation moves in one transaction: short enough not to keep others waiting.
const BATCH: u32 = 200;

/// Where a rotation puts the new key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RotateTo {
    /// Where the old one is: a new entry of the keyring, a new file in the same folder.
    #[default]
    Same,
    /// Into the operating system's keyring.
    Keyring,
    /// Into a new file beside the yard.
    File,
    /// Nowhere: it is read from this environment variable, now and from then on.
    Environment(String),
}

/// A rotation that is under way.
#[derive(Debug, Clone, Serialize)]
pub struct RotationStatus {
    /// The id of the new key.
    pub key_id: String,
    /// Where it is kept.
    pub location: String,
    /// Blocks whose data keys it wraps already.
    pub moved: u64,
    /// Blocks that are still to move.
    pub left: u64,
}

/// What a rotation did.
#[derive(Debug, Clone, Serialize)]
pub struct Rotated {
    /// The id of the new key.
    pub key_id: String,
    /// Where it is kept.
    pub location: String,
    /// The id of the old one, which opens nothing here any more.
    pub old_key_id: String,
    /// Where the old one still is. Backups that were made before need it.
    pub old_location: String,
    /// Data keys that were moved.
    pub moved: u64,
    /// Whether a rotation that was left half done was taken up.
    pub resumed: bool,
}

impl Yard {
    /// Moves the yard to a new key: every data key is wrapped anew. It can be stopped at any time,
    /// and goes on where it was. `said` hears how many are moved, and of how many.
    ///
    /// The old key stays where it is, since backups need it; it opens nothing here any more.
    ///
    /// # Errors
    /// The new key cannot be put in its place; another rotation, to another place, is under way.
    pub async fn rotate_key(&self, to: &RotateTo, said: &mut (dyn FnMut(u64, u64) + Send)) -> Result<Rotated, Error> {
        let yard = self.store().read_yard().await?;
        // Both keys are needed until the last data key is moved.
        let old = match self.keys().get(&yard.key.id) {
            Some(key) => key,
            None => self.load_key(&yard.key, &yard.id).await?,
        };
        self.keys().learn(old, yard.next_key.is_none());
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
        self.learn_keys().await?;
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
            said(moved, total);
        }
        // Another process may have ended this rotation, and begun the next one.
        if self.store().read_yard().await?.key.id != next.id {
            return Err(StoreError::KeyMoved.into());
        }
        let shown = |record: &KeyRecord| place(self.store().location(), self.config(), record).map(|p| p.to_string());
        Ok(Rotated {
            location: shown(&next)?,
            key_id: next.id,
            old_location: shown(&yard.key)?,
            old_key_id: yard.key.id,
            moved,
            resumed,
        })
    }

    /// Whoever gave the key by hand has it elsewhere than the yard says: where a new one should go is
    /// not known, and a guess may leave the only copy on a machine that goes away.
    async fn old_key_is_where_it_should_be(&self, yard: &YardRecord) -> Result<(), Error> {
        if matches!(self.config().key, KeySource::Default) || self.load_key(&yard.key, &yard.id).await.is_ok() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Usage,
            "the yard's key was given by hand, and is not where the yard says; where does the new one go?",
        )
        .code(Code::KeyDestinationNeeded))
    }

    /// A rotation that was left half done goes on to the key that it began with.
    fn check_same_rotation(&self, next: &KeyRecord, to: &RotateTo) -> Result<(), Error> {
        let place: KeyLocation = recorded(next)?;
        let same = match (to, &place) {
            (RotateTo::Same, _)
            | (RotateTo::Keyring, KeyLocation::Keyring(_))
            | (RotateTo::File, KeyLocation::File(_)) => true,
            (RotateTo::Environment(name), KeyLocation::Environment(other)) => name == other,
            _ => false,
        };
        if same {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, format!("a rotation to the key in `{place}` is under way"))
            .code(Code::RotationUnderWay))
    }

    /// Makes or reads the new key and writes down that the yard moves to it.
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
                        "the yard's key is in the environment variable `{name}`, where Blockyard cannot put a new one"
                    ),
                )
                .code(Code::KeyVariableNeeded));
            }
        };
        if new.id().to_string() == yard.key.id {
            return Err(Error::new(ErrorKind::Usage, "that key is the yard's key already"));
        }
        let record =
            KeyRecord { id: new.id().to_string(), location: location.to_string(), canary: new.canary(&yard.id) };
        let place = place(self.store().location(), self.config(), &record)?;
        let stored = new.clone();
        blocking(move || place.store(&stored)).await?;
        self.keys().learn(new, true);
        let detail = json!({ "from": yard.key.id, "to": record.id, "location": record.location });
        let begun = line(self.actor(), "begin-rotate", &yard.id, &detail);
        self.store().begin_rotation(&yard.key.id, &record, begun).await?;
        Ok(record)
    }
}
