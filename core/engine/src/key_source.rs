//! Sources of the key of a yard.

use std::path::PathBuf;

use blockyard_model::SecretValue;
use blockyard_vault::KEY_VARIABLE;

/// Source of the key of an existing yard.
#[derive(Debug, Clone, Default)]
pub enum KeySource {
    /// The location that is recorded in the yard.
    #[default]
    Default,
    /// A key given by the caller, as the base64 of 32 bytes.
    Base64(SecretValue),
    /// A file that contains the key.
    File(PathBuf),
}

/// Location for the key of a new yard.
#[derive(Debug, Clone)]
pub enum NewKey {
    /// The operating system's keyring or, if no keyring responds, a file.
    Automatic,
    /// The operating system's keyring.
    Keyring,
    /// The given file. `None` selects a file beside the yard or, for a yard on a server, a file in
    /// [`YardConfig::keys`](crate::YardConfig).
    File(Option<PathBuf>),
    /// A key given by the caller, as the base64 of 32 bytes. It is not stored: the caller must
    /// supply it each time the yard is opened.
    Given(SecretValue),
}

impl KeySource {
    /// Returns the source that the environment selects: `BLOCKYARD_KEY`, then `BLOCKYARD_KEY_FILE`,
    /// otherwise the location recorded in the yard.
    #[must_use]
    pub fn from_environment() -> Self {
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(key) = given(KEY_VARIABLE) {
            Self::Base64(SecretValue::new(key))
        } else if let Some(path) = given("BLOCKYARD_KEY_FILE") {
            Self::File(path.into())
        } else {
            Self::Default
        }
    }
}
