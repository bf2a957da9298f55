//! Storage locations of a yard's key.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::key::{Key, KeyError};

const SERVICE: &str = "blockyard";

/// Default environment variable for the key.
pub const KEY_VARIABLE: &str = "BLOCKYARD_KEY";

/// Storage location of a yard's key. The yard records it, so that commands can find the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLocation {
    /// The caller supplies the key in this environment variable; nothing is stored. This crate does
    /// not read the environment: the caller reads the variable and passes the key.
    Environment(String),
    /// A file that only its owner can read.
    File(PathBuf),
    /// The operating system's keyring, service `blockyard`, under this account.
    Keyring(String),
}

/// Error when loading or storing a key.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// The caller supplied no key.
    #[error("the yard's key is not in the environment variable `{0}`")]
    NotGiven(String),
    /// The file does not exist.
    #[error("key file `{}` does not exist", .0.display())]
    NoFile(PathBuf),
    /// The file cannot be read or written.
    #[error("cannot access key file `{}`", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// Other users can read the file.
    #[error("key file `{}` can be read by others (mode {mode:o})", path.display())]
    Loose {
        /// Path of the file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
    /// The keyring did not respond or returned an error.
    #[error("the operating system's keyring failed: {0}")]
    Keyring(String),
    /// The keyring has no key under this account.
    #[error("the operating system's keyring has no key for this yard (service `{SERVICE}`, account `{0}`)")]
    NotInKeyring(String),
    /// The stored text is not a key.
    #[error("invalid key in {location}")]
    NotAKey {
        /// Storage location.
        location: String,
        /// Cause.
        source: KeyError,
    },
}

impl KeyLocation {
    /// Loads the key. May block on the keyring service or the disk.
    ///
    /// # Errors
    /// Returns [`LocationError`]; no other location is tried.
    pub fn load(&self) -> Result<Key, LocationError> {
        let text = match self {
            Self::Environment(name) => return Err(LocationError::NotGiven(name.clone())),
            Self::File(path) => read_private(path)?,
            Self::Keyring(account) => {
                let entry = entry(account)?;
                Zeroizing::new(entry.get_password().map_err(|error| match error {
                    keyring::Error::NoEntry => LocationError::NotInKeyring(account.clone()),
                    other => LocationError::Keyring(other.to_string()),
                })?)
            }
        };
        Key::from_base64(&text).map_err(|source| LocationError::NotAKey { location: self.to_string(), source })
    }

    /// Stores a new key. An existing file is not overwritten.
    ///
    /// # Errors
    /// Returns [`LocationError`] if the key cannot be stored.
    pub fn store(&self, key: &Key) -> Result<(), LocationError> {
        match self {
            Self::Environment(_) => Ok(()),
            Self::File(path) => write_private(path, &key.to_base64())
                .map_err(|source| LocationError::File { path: path.clone(), source }),
            Self::Keyring(account) => {
                let entry = entry(account)?;
                entry.set_password(&key.to_base64()).map_err(|error| LocationError::Keyring(error.to_string()))?;
                // Some keyring services accept a key and lose it: read it back before anything
                // depends on it.
                let kept = self.load()?;
                if kept.id() == key.id() {
                    Ok(())
                } else {
                    Err(LocationError::Keyring("it returned a different key than was stored".to_owned()))
                }
            }
        }
    }
}

fn entry(account: &str) -> Result<keyring::Entry, LocationError> {
    keyring::Entry::new(SERVICE, account).map_err(|error| LocationError::Keyring(error.to_string()))
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, LocationError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => LocationError::NoFile(path.to_owned()),
        _ => LocationError::File { path: path.to_owned(), source },
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(LocationError::Loose { path: path.to_owned(), mode });
        }
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
}

/// Writes the file atomically, and fails if it already exists.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // Temporary files are created with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map(drop).map_err(|error| error.error)
}

impl fmt::Display for KeyLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Keyring(account) => write!(f, "keyring:{account}"),
        }
    }
}

impl FromStr for KeyLocation {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            // The first yard format records the default variable without its name.
            None if text == "env" => Ok(Self::Environment(KEY_VARIABLE.to_owned())),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Environment(name.to_owned())),
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(("keyring", account)) => Ok(Self::Keyring(account.to_owned())),
            _ => Err(format!("`{text}` is not a key location; expected `env:NAME`, `file:PATH` or `keyring:ACCOUNT`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let location = KeyLocation::File(folder.path().join("yard.key"));
        let key = Key::generate();
        location.store(&key).expect("a new file");
        assert_eq!(location.load().expect("the key").id(), key.id());
        assert!(location.store(&Key::generate()).is_err());
        assert_eq!(location.load().expect("still the first key").id(), key.id());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("yard.key");
        let location = KeyLocation::File(path.clone());
        location.store(&Key::generate()).expect("a new file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        assert!(matches!(location.load(), Err(LocationError::Loose { mode: 0o640, .. })));
    }

    #[test]
    fn a_missing_file_is_its_own_error() {
        let location = KeyLocation::File("/nonexistent/yard.key".into());
        assert!(matches!(location.load(), Err(LocationError::NoFile(_))));
    }
}
