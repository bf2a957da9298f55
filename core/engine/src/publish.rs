//! Publishes bundles in registry folders.

use std::path::Path;

use blockyard_model::{Digest, Manifest};
use blockyard_registry::{NewRelease, PublishError, SigningError, SigningKey, component, publish as write};
use serde::Serialize;

use crate::{Code, Error, ErrorKind};

/// Result of [`publish`].
#[derive(Debug, Clone, Serialize)]
pub struct Published {
    /// Bundle name.
    pub name: String,
    /// Bundle version.
    pub version: String,
    /// sha256 of the component file.
    pub sha256: String,
    /// Public key that verifies the signature.
    pub key: String,
    /// Path of the component file in the registry.
    pub file: String,
    /// `false` if the registry already had this release with the same bytes.
    pub changed: bool,
}

/// Signs a component file and adds it to a registry folder, which is created with the name
/// `registry` if it has no index. A release that is already published is never replaced. No code of
/// the component runs.
///
/// # Errors
/// Returns an error if the file is not a bundle, if the registry has another key, if it has other
/// bytes under this version, or if it cannot be written.
pub fn publish(folder: &Path, registry: &str, bytes: &[u8], key: &SigningKey) -> Result<Published, Error> {
    let manifest = Manifest::parse(component::manifest(bytes)?)
        .map_err(|error| Error::new(ErrorKind::Invalid, "the file is not a valid bundle").because(error))?;
    let written = write(folder, registry, &NewRelease { manifest: &manifest, bytes }, key)?;
    debug_assert_eq!(written.digest, Digest::of(bytes));
    Ok(Published {
        name: manifest.name.to_string(),
        version: manifest.version.to_string(),
        sha256: written.digest.to_string(),
        key: key.public().to_string(),
        file: written.file.display().to_string(),
        changed: written.changed,
    })
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        let message = error.to_string();
        match error {
            PublishError::Registry(error) => error.into(),
            PublishError::Signing(error) => error.into(),
            PublishError::Remote(error) => error.into(),
            PublishError::ReadOnly(_) => Self::new(ErrorKind::Usage, message)
                .hint("publish in a folder that the server serves, or in an OCI registry: `oci://HOST/NAMESPACE`"),
            PublishError::Broken { .. } => {
                Self::new(ErrorKind::Invalid, message).hint("correct the entry in the registry's `registry.toml`")
            }
            PublishError::OtherSigner { .. } => Self::new(ErrorKind::Denied, message)
                .hint("sign it with the registry's key, or publish it in another registry"),
            PublishError::Exists { published, new, .. } => Self::new(ErrorKind::Conflict, message)
                .because(format!("the registry has {published}, the new file has sha256 {new}"))
                .hint("a published release is never replaced; publish the change under a new version"),
            PublishError::BuildMetadata(_) => {
                Self::new(ErrorKind::Invalid, message).hint("build it with a version without `+…`")
            }
            PublishError::Locked(_) => Self::new(ErrorKind::Conflict, message).hint("try again when it has finished"),
            PublishError::Write { source, .. } => Self::new(ErrorKind::Remote, message).because(source),
            PublishError::NotResolved(_) => Self::new(ErrorKind::Remote, message)
                .hint("another program changed the registry at the same time; inspect it before you publish again"),
        }
    }
}

impl From<SigningError> for Error {
    fn from(error: SigningError) -> Self {
        let message = error.to_string();
        match error {
            SigningError::Malformed(_) => Self::new(ErrorKind::Invalid, message),
            SigningError::PasswordNeeded => Self::new(ErrorKind::Denied, message).code(Code::SigningPasswordNeeded),
            SigningError::Unusable(_) => Self::new(ErrorKind::Denied, message),
        }
    }
}
