//! Reads the user's configuration file, provided that no other user can write it.

use std::path::Path;

use blockyard_registry::{ConfigurationError, UserConfiguration};

use crate::ownership::{Guard, folder_of, writable_by_others};
use crate::{Error, ErrorKind};

/// Reads the user's configuration. If the file does not exist, returns an empty configuration.
///
/// # Errors
/// Returns an error if another user can write the file, if it cannot be read, or if it is not a
/// valid configuration.
pub fn read_configuration(path: &Path) -> Result<UserConfiguration, Error> {
    let unreadable = |error: std::io::Error| {
        Error::new(ErrorKind::Invalid, format!("the configuration `{}` cannot be read", path.display())).because(error)
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(UserConfiguration::default()),
        Err(error) => return Err(unreadable(error)),
    };
    if let Some(reason) = writable_by_others(path, Guard::File).map_err(unreadable)? {
        let message = format!("the configuration `{}` is not used: another user could change it", path.display());
        return Err(Error::new(ErrorKind::Denied, message).because(reason).hint(
            "remove other users' write access with `chmod go-w`, or move the file to a folder that only you can write",
        ));
    }
    let folder = folder_of(path).canonicalize().map_err(unreadable)?;
    UserConfiguration::parse(&text, &folder).map_err(|error| {
        let hint = match &error {
            ConfigurationError::Unknown { hint, .. } => Some(hint.clone()),
            ConfigurationError::Syntax { .. } | ConfigurationError::Value { .. } => None,
        };
        Error::new(ErrorKind::Invalid, format!("`{}`: {error}", path.display())).maybe_hint(hint)
    })
}
