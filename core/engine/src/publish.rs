//! Publishes bundles in registry folders.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use blockyard_model::widening::{Change, capability_differences};
use blockyard_model::{Capability, Digest, Manifest};
use blockyard_registry::{NewRelease, PublishError, Release, SigningError, SigningKey, component, publish as write};
use serde::Serialize;

use crate::error::need_as_json;
use crate::{Code, Error, ErrorKind, Need, PermissionChange};

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
    /// Changed permissions. `None` if the version was already published, or is the first one.
    pub permissions: Option<ReleasePermissions>,
}

/// The permissions of a new release, compared with the preceding one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReleasePermissions {
    /// Bundle name.
    pub bundle: String,
    /// Version of the new release.
    pub version: String,
    /// Version of the preceding release in the registry.
    pub compared_with: String,
    /// Capabilities that the new release adds, narrows or drops, with the agreement that an upgrade
    /// requires.
    pub changes: Vec<PermissionChange>,
}

/// Receives the changed permissions of a release before it is written to the registry.
pub type OnPermissions<'a> = &'a (dyn Fn(&ReleasePermissions) + Send + Sync);

/// Signs a component file and adds it to a registry folder, which is created with the name
/// `registry` if it has no index. A release that is already published is never replaced. No code of
/// the component runs. `report` receives the changed permissions before anything is written.
///
/// # Errors
/// Returns an error if the file is not a bundle, if the registry has another key, if it has other
/// bytes under this version, or if it cannot be written.
pub fn publish(
    folder: &Path,
    registry: &str,
    bytes: &[u8],
    key: &SigningKey,
    report: OnPermissions<'_>,
) -> Result<Published, Error> {
    let manifest = Manifest::parse(component::manifest(bytes)?)
        .map_err(|error| Error::new(ErrorKind::Invalid, "the file is not a valid bundle").because(error))?;
    let permissions = Comparison::new(&manifest, report);
    let on_preceding = |release: &Release| permissions.with(release);
    let written = write(folder, registry, &NewRelease { manifest: &manifest, bytes }, key, &on_preceding)?;
    debug_assert_eq!(written.digest, Digest::of(bytes));
    Ok(Published {
        name: manifest.name.to_string(),
        version: manifest.version.to_string(),
        sha256: written.digest.to_string(),
        key: key.public().to_string(),
        file: written.file.display().to_string(),
        changed: written.changed,
        permissions: permissions.found(),
    })
}

/// The comparison of a new release with the preceding one, which is made while it is published.
pub(crate) struct Comparison<'a> {
    new: &'a Manifest,
    report: OnPermissions<'a>,
    found: OnceLock<ReleasePermissions>,
}

impl<'a> Comparison<'a> {
    pub(crate) fn new(new: &'a Manifest, report: OnPermissions<'a>) -> Self {
        Self { new, report, found: OnceLock::new() }
    }

    /// Compares the release with the preceding one, and reports the result.
    pub(crate) fn with(&self, preceding: &Release) {
        let found = ReleasePermissions::of(self.new, preceding);
        (self.report)(&found);
        self.found.get_or_init(|| found);
    }

    pub(crate) fn found(self) -> Option<ReleasePermissions> {
        self.found.into_inner()
    }
}

impl ReleasePermissions {
    fn of(new: &Manifest, preceding: &Release) -> Self {
        // A capability that this version does not know is not among those of the new release.
        let before: BTreeSet<Capability> =
            preceding.capabilities.iter().filter_map(|capability| capability.parse().ok()).collect();
        let changes = capability_differences(new, &before).into_iter().map(|difference| {
            let needs = match &difference.change {
                Change::CapabilityAdded(capability) => Some(need_as_json(&Need::Grant(capability.clone()))),
                _ => None,
            };
            PermissionChange { text: difference.change.to_string(), needs }
        });
        Self {
            bundle: new.name.to_string(),
            version: new.version.to_string(),
            compared_with: preceding.version.to_string(),
            changes: changes.collect(),
        }
    }

    /// Returns true if the release requests a capability that the preceding one does not. An upgrade
    /// to it then requires the agreement of the user.
    #[must_use]
    pub fn is_wider(&self) -> bool {
        self.changes.iter().any(|change| change.needs.is_some())
    }
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
