//! Creates and loads keys, and holds the loaded keys of a yard.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use blockyard_model::SecretValue;
use blockyard_store::{KeyRecord, YardLocation, YardRecord};
use blockyard_vault::{KEY_VARIABLE, Key, KeyError, KeyLocation, LocationError};

use crate::error::KEY_FORM;
use crate::key_source::{KeySource, NewKey};
use crate::yard_config::YardConfig;
use crate::{Code, Error, ErrorKind};

/// The yard's keys that this process has loaded: one, or two during a rotation.
pub(crate) struct Keys {
    known: Mutex<BTreeMap<String, Key>>,
    /// ID of the key that wraps new data keys.
    current: Mutex<String>,
}

impl Keys {
    /// Loads the yard's key and verifies it against the yard's canary.
    pub(crate) async fn open(location: &YardLocation, yard: &YardRecord, config: &YardConfig) -> Result<Self, Error> {
        let (key, from) = match &config.key {
            KeySource::Base64(text) => (
                Key::from_base64(text.expose()).map_err(|error| not_a_key(KEY_VARIABLE, error))?,
                KEY_VARIABLE.to_owned(),
            ),
            KeySource::File(path) => (load(KeyLocation::File(path.clone())).await?, format!("`{}`", path.display())),
            KeySource::Default => {
                let key_location = key_location(location, config, &yard.key)?;
                let from = format!("`{key_location}`");
                (load(key_location).await?, from)
            }
        };
        let opens = |record: &KeyRecord| key.opens_canary(&yard.id, &record.canary);
        if opens(&yard.key) || yard.next_key.as_ref().is_some_and(opens) {
            return Ok(Self::of(key));
        }
        let hint = format!("the yard requires the key with the ID {}; this key has the ID {}", yard.key.id, key.id());
        Err(Error::new(ErrorKind::Denied, format!("the key from {from} is not this yard's key"))
            .hint(hint)
            .code(Code::WrongKey))
    }

    pub(crate) fn of(key: Key) -> Self {
        let id = key.id().to_string();
        Self { known: Mutex::new(BTreeMap::from([(id.clone(), key)])), current: Mutex::new(id) }
    }

    /// Returns the key that wraps new data keys.
    pub(crate) fn current(&self) -> Key {
        let id = self.current.lock().expect(LOCK_NOT_POISONED).clone();
        self.get(&id).expect("the current key is known")
    }

    pub(crate) fn get(&self, id: &str) -> Option<Key> {
        self.known.lock().expect(LOCK_NOT_POISONED).get(id).cloned()
    }

    pub(crate) fn insert(&self, key: Key, current: bool) {
        let id = key.id().to_string();
        self.known.lock().expect(LOCK_NOT_POISONED).insert(id.clone(), key);
        if current {
            *self.current.lock().expect(LOCK_NOT_POISONED) = id;
        }
    }
}

const LOCK_NOT_POISONED: &str = "nothing panics while it holds this lock";

/// Creates the key of a new yard and stores it.
pub(crate) async fn make(
    location: &YardLocation,
    yard_id: &str,
    new: NewKey,
    config: &YardConfig,
) -> Result<(Key, KeyLocation), Error> {
    let keyring = || KeyLocation::Keyring(yard_id.to_owned());
    match new {
        NewKey::Given(text) => {
            let key = Key::from_base64(text.expose()).map_err(|error| not_a_key(KEY_VARIABLE, error))?;
            Ok((key, KeyLocation::Environment(KEY_VARIABLE.to_owned())))
        }
        NewKey::Keyring => generate(keyring()).await,
        NewKey::File(None) => in_own_file(location, yard_id, config).await,
        NewKey::File(Some(path)) => in_file(path).await,
        NewKey::Automatic => match generate(keyring()).await {
            Ok(made) => Ok(made),
            Err(_) => in_own_file(location, yard_id, config).await,
        },
    }
}

/// Creates a key file in the default location. The yard records only its file name, so that a
/// SQLite yard can be moved together with its key, and so that each machine can have its own folder
/// for the keys of yards on servers.
async fn in_own_file(location: &YardLocation, yard_id: &str, config: &YardConfig) -> Result<(Key, KeyLocation), Error> {
    let name = match location.file() {
        Some(path) => path.with_extension("key").file_name().map(PathBuf::from).unwrap_or_default(),
        None => PathBuf::from(format!("{yard_id}.key")),
    };
    let (key, _) = in_file(key_path(location, config, &name)?).await?;
    Ok((key, KeyLocation::File(name)))
}

/// Creates a key in a file, or loads the key that the file already contains: an interrupted or
/// concurrent `init` may have created it.
async fn in_file(path: PathBuf) -> Result<(Key, KeyLocation), Error> {
    let location = KeyLocation::File(path);
    match generate(location.clone()).await {
        Ok(made) => Ok(made),
        Err(error) => load(location.clone()).await.map(|key| (key, location)).map_err(|_| error),
    }
}

pub(crate) fn recorded(record: &KeyRecord) -> Result<KeyLocation, Error> {
    record.location.parse().map_err(|reason: String| Error::new(ErrorKind::Invalid, reason))
}

/// Returns the location of a recorded key on this machine.
pub(crate) fn key_location(
    location: &YardLocation,
    config: &YardConfig,
    record: &KeyRecord,
) -> Result<KeyLocation, Error> {
    Ok(match recorded(record)? {
        KeyLocation::File(path) => KeyLocation::File(key_path(location, config, &path)?),
        other => other,
    })
}

/// Returns the path of a recorded key file. A bare file name is relative to the folder of the
/// yard's file or, for a yard on a server, to this machine's folder for keys.
fn key_path(location: &YardLocation, config: &YardConfig, key: &Path) -> Result<PathBuf, Error> {
    let folder = match location.file() {
        Some(path) => path.parent().map(Path::to_owned).unwrap_or_default(),
        None if key.is_absolute() => PathBuf::new(),
        None => config.keys.clone().ok_or_else(|| {
            Error::new(ErrorKind::Usage, "no folder is configured for the keys of yards on servers")
                .code(Code::KeyUnavailable)
        })?,
    };
    Ok(folder.join(key))
}

async fn generate(location: KeyLocation) -> Result<(Key, KeyLocation), Error> {
    let key = Key::generate();
    let (stored, key_location) = (key.clone(), location.clone());
    blocking(move || key_location.store(&stored)).await?;
    Ok((key, location))
}

pub(crate) async fn load(location: KeyLocation) -> Result<Key, Error> {
    if let KeyLocation::Environment(name) = &location {
        return from_variable(name);
    }
    blocking(move || location.load()).await
}

pub(crate) fn from_variable(name: &str) -> Result<Key, Error> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            Key::from_base64(SecretValue::new(text).expose()).map_err(|error| not_a_key(name, error))
        }
        _ => Err(LocationError::NotGiven(name.to_owned()).into()),
    }
}

/// Runs a blocking operation outside of the async threads: keyrings use D-Bus, and key files are
/// read from disk.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocationError> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::new(ErrorKind::Internal, "the keyring's library panicked"))?
        .map_err(Error::from)
}

fn not_a_key(what: &str, error: KeyError) -> Error {
    Error::new(ErrorKind::Denied, format!("{what} is not a key")).because(error).hint(KEY_FORM)
}
