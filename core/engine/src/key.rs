//! Which key opens a yard.

use std::path::{Path, PathBuf};

use blockyard_model::SecretValue;
use blockyard_store::YardRecord;
use blockyard_vault::{Key, KeyError, KeyLocation, LocationError};

use crate::{Error, ErrorKind};

/// Where the key of a yard that exists is looked for.
#[derive(Debug, Clone, Default)]
pub enum KeySource {
    /// Where the yard says that it is kept.
    #[default]
    Default,
    /// This key: base64 of 32 bytes.
    Base64(SecretValue),
    /// In this file.
    File(PathBuf),
}

/// Where the key of a new yard goes.
#[derive(Debug, Clone)]
pub enum NewKey {
    /// Into the operating system's keyring, or, where none answers, into a file beside the yard.
    Automatic,
    /// Into the operating system's keyring.
    Keyring,
    /// Into this file; none means a file beside the yard.
    File(Option<PathBuf>),
    /// Nowhere: the caller gives this one (base64 of 32 bytes), and has to give it every time.
    Given(SecretValue),
}

impl KeySource {
    /// The source that the environment names: `BLOCKYARD_KEY`, then `BLOCKYARD_KEY_FILE`, else
    /// where the yard says.
    #[must_use]
    pub fn from_environment() -> Self {
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(key) = given("BLOCKYARD_KEY") {
            Self::Base64(SecretValue::new(key))
        } else if let Some(path) = given("BLOCKYARD_KEY_FILE") {
            Self::File(path.into())
        } else {
            Self::Default
        }
    }
}

/// Gets the key of a yard and makes sure that it is the right one.
pub(crate) async fn open(yard_path: &Path, yard: &YardRecord, source: &KeySource) -> Result<Key, Error> {
    let (key, from) = match source {
        KeySource::Base64(text) => (
            Key::from_base64(text.expose()).map_err(|error| not_a_key("BLOCKYARD_KEY", error))?,
            "BLOCKYARD_KEY".to_owned(),
        ),
        KeySource::File(path) => (load(KeyLocation::File(path.clone())).await?, format!("`{}`", path.display())),
        KeySource::Default => {
            let recorded: KeyLocation =
                yard.key_location.parse().map_err(|reason: String| Error::new(ErrorKind::Invalid, reason))?;
            let location = match recorded {
                KeyLocation::File(path) => KeyLocation::File(beside(yard_path, &path)),
                other => other,
            };
            let from = format!("`{location}`");
            (load(location).await?, from)
        }
    };
    if key.opens_canary(&yard.id, &yard.canary) {
        return Ok(key);
    }
    Err(Error::new(ErrorKind::Denied, format!("the key from {from} is not this yard's key"))
        .hint(format!("the yard needs the key with the id {}; that one has the id {}", yard.key_id, key.id()))
        .hint("give the yard's key with BLOCKYARD_KEY (base64) or BLOCKYARD_KEY_FILE"))
}

/// Makes the key of a new yard and puts it in its place.
pub(crate) async fn make(yard_path: &Path, yard_id: &str, new: NewKey) -> Result<(Key, KeyLocation), Error> {
    let keyring = || KeyLocation::Keyring(yard_id.to_owned());
    match new {
        NewKey::Given(text) => {
            let key = Key::from_base64(text.expose()).map_err(|error| not_a_key("BLOCKYARD_KEY", error))?;
            Ok((key, KeyLocation::Environment))
        }
        NewKey::Keyring => generate(keyring()).await,
        NewKey::File(None) => in_file_beside(yard_path).await,
        NewKey::File(Some(path)) => in_file(path).await,
        NewKey::Automatic => match generate(keyring()).await {
            Ok(made) => Ok(made),
            Err(_) => in_file_beside(yard_path).await,
        },
    }
}

/// A key file beside the yard. The yard remembers its bare name, so that the two can move together.
async fn in_file_beside(yard_path: &Path) -> Result<(Key, KeyLocation), Error> {
    let path = yard_path.with_extension("key");
    let name = path.file_name().map(PathBuf::from).unwrap_or_default();
    let (key, _) = in_file(path).await?;
    Ok((key, KeyLocation::File(name)))
}

/// A key in a file: a new one, or that which is there already. It may be left over from an `init`
/// that was stopped, or made by another one at this moment.
async fn in_file(path: PathBuf) -> Result<(Key, KeyLocation), Error> {
    let location = KeyLocation::File(path);
    match generate(location.clone()).await {
        Ok(made) => Ok(made),
        Err(error) => load(location.clone()).await.map(|key| (key, location)).map_err(|_| error),
    }
}

/// Where a key file is that the yard remembers: a bare name is beside the yard.
pub(crate) fn beside(yard_path: &Path, key: &Path) -> PathBuf {
    yard_path.parent().map_or_else(|| key.to_owned(), |folder| folder.join(key))
}

async fn generate(location: KeyLocation) -> Result<(Key, KeyLocation), Error> {
    let key = Key::generate();
    let (stored, place) = (key.clone(), location.clone());
    blocking(move || place.store(&stored)).await?;
    Ok((key, location))
}

async fn load(location: KeyLocation) -> Result<Key, Error> {
    blocking(move || location.load()).await
}

/// Keyrings answer over D-Bus, files from a disk: neither on an async thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocationError> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::new(ErrorKind::Internal, "the keyring's library panicked"))?
        .map_err(Error::from)
}

fn not_a_key(what: &str, error: KeyError) -> Error {
    Error::new(ErrorKind::Denied, format!("{what} is not a key"))
        .because(error)
        .hint("a key is the base64 of 32 bytes, as `openssl rand -base64 32` prints it")
}
