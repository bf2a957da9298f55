//! Stable codes of the errors that a user can act on, each with the values that the action
//! requires.
//!
//! User interfaces (command line, web pages, MCP tools) derive their hints from the codes; the core
//! names no commands.

use std::path::PathBuf;

use blockyard_model::{Address, Capability};
use serde_json::{Value, json};

/// Code of an error that a user can act on. In JSON, it is a name in kebab case, and its fields are
/// the error's details.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// No yard exists at the URL.
    NoYard,
    /// A yard to be created already exists.
    YardExists,
    /// The file is not a yard.
    NotAYard,
    /// The connection was lost during a commit. The change may or may not have been saved.
    CommitUnknown,
    /// The yard's key is not available.
    KeyUnavailable,
    /// The given key does not open this yard.
    WrongKey,
    /// A key rotation is in progress: it conflicts with the requested one, or one of its keys
    /// cannot be loaded.
    RotationUnderWay,
    /// The location for the new key of a rotation is unknown: the old key was given by the caller
    /// and is not in its recorded location.
    KeyDestinationNeeded,
    /// The yard's key is in an environment variable, where a new key cannot be stored.
    KeyVariableNeeded,
    /// A block with this address already exists.
    NameTaken {
        /// Address of the block.
        address: Address,
    },
    /// A deleted block has this address.
    NameTakenByDeleted {
        /// Address of the block.
        address: Address,
    },
    /// The block is deleted.
    Deleted {
        /// Address of the block to restore.
        address: Address,
    },
    /// The newest revision of the block is not the expected one.
    RevisionMoved {
        /// Address of the block.
        address: Address,
        /// Number of the newest revision.
        newest: u64,
    },
    /// Other blocks depend on the block.
    InUse {
        /// References to the block.
        used_by: Vec<Usage>,
    },
    /// The newest revisions of blocks use versions of a bundle that is to be uninstalled.
    BundleInUse {
        /// Name of the bundle.
        bundle: String,
        /// Blocks that use it.
        used_by: Vec<BundleUsage>,
    },
    /// The secret was destroyed by a purge.
    SecretDestroyed {
        /// Block that owns the secret.
        address: Address,
        /// Dotted path of the secret's field.
        field: String,
    },
    /// No installed bundle defines the block type.
    UnknownType {
        /// Slug of the type.
        slug: String,
        /// `false` if no bundle is installed in the yard.
        any_installed: bool,
    },
    /// The version of the bundle is uninstalled: its types are not available for new blocks, and its
    /// grants have ended.
    BundleUninstalled {
        /// Name of the bundle.
        bundle: String,
        /// Version of the bundle.
        version: String,
    },
    /// The yard has no version of the bundle.
    NotInstalled {
        /// Name of the bundle.
        bundle: String,
    },
    /// A bundle uses capabilities that are not granted.
    NotGranted {
        /// Name of the bundle.
        bundle: String,
        /// Missing capabilities.
        capabilities: Vec<Capability>,
    },
    /// A bundle uses an address in a private network, which requires a grant that names the origin.
    NetworkNotGranted {
        /// Name of the bundle.
        bundle: String,
        /// Capability that permits the address.
        capability: Capability,
    },
    /// An installation requires the user's agreement.
    ConsentNeeded {
        /// Name of the bundle.
        bundle: String,
        /// Version of the bundle.
        version: String,
        /// `true` if the general agreement is missing as well.
        agreement: bool,
        /// Changes that require separate agreement.
        open: Vec<OpenChange>,
    },
    /// Blocks cannot be converted to the new version of their bundle. Nothing was changed.
    UpgradeBlocked {
        /// Name of the bundle.
        bundle: String,
        /// New version of the bundle.
        version: String,
        /// Addresses of the blocks.
        blocks: Vec<String>,
    },
    /// No registry is configured.
    NoRegistry {
        /// Name of the requested bundle.
        bundle: String,
    },
    /// The registry cannot be read.
    RegistryUnreadable,
    /// The registry has no key, and no one has declared that it is unsigned.
    RegistryNotSigned {
        /// Name of the registry.
        registry: String,
    },
    /// A registry on a server requires credentials, or rejected those it received.
    RegistryCredentials {
        /// Host of the registry.
        host: String,
        /// Environment variable for a token. `None` if the registry has no name.
        variable: Option<String>,
        /// Origin of a token service that did not receive the stored credentials, because it is not the
        /// one that the user permits.
        token_service: Option<String>,
    },
    /// The network may not be used, and the cache does not contain a document or file.
    NotCached {
        /// URL of the document or file.
        url: String,
    },
    /// The signing key is protected by a password, and none was given.
    SigningPasswordNeeded,
    /// The registry's key is not the one that was pinned when the bundle was installed.
    SignerChanged {
        /// Name of the bundle.
        bundle: String,
        /// The pinned key.
        pinned: String,
        /// The key that the registry has now.
        offered: String,
    },
    /// The lock file of a project has a format error.
    LockInvalid {
        /// Path of the lock file.
        path: PathBuf,
    },
    /// The lock file is missing, or does not fit the bundles that the project requires.
    LockOutdated {
        /// The differences. Empty if the file is missing.
        differences: Vec<String>,
    },
    /// The registry of a locked release is not configured.
    LockSourceUnknown {
        /// Name of the bundle.
        bundle: String,
        /// The locked source.
        source: String,
    },
    /// A bundle is not the one that the lock file describes.
    LockMismatch {
        /// Name of the bundle.
        bundle: String,
        /// The differences.
        differences: Vec<String>,
    },
    /// The registry has other bytes for a locked release than when it was locked.
    ReleaseChanged {
        /// Name of the bundle.
        bundle: String,
        /// Version of the release.
        version: String,
        /// The locked digest.
        locked: String,
        /// The digest that the registry has now.
        offered: String,
    },
    /// A call reached its time limit.
    DeadlineExceeded,
    /// The file is a WebAssembly module without a bundle's manifest.
    NotABundle,
    /// A module or component imports functions that Blockyard does not provide.
    ForeignImports {
        /// The imports: `MODULE NAME` of a core module, the name of the interface of a component.
        imports: Vec<String>,
    },
    /// A project file selects a yard inside the project's folder that the user has not trusted.
    ProjectYardUntrusted {
        /// Folder of the project.
        folder: PathBuf,
    },
    /// The project file is not a regular file, for example a symbolic link or a device.
    ProjectFileIrregular,
    /// There is no trust decision to revoke.
    NothingTrusted,
    /// A trust decision cannot be read.
    TrustUnreadable,
    /// The source is not permitted, because another user may have written the yard.
    SourceNotPermitted {
        /// Secret source, such as `env:NAME`.
        source: String,
        /// File of the yard, if trusting the yard would permit its sources.
        yard: Option<PathBuf>,
    },
}

/// A reference to a block from another block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Address of the referencing block.
    pub address: Address,
    /// Dotted path of the field that holds the reference.
    pub field: String,
}

/// A block whose newest revision uses a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleUsage {
    /// Address of the block.
    pub address: Address,
    /// Version of the bundle.
    pub version: String,
}

/// A change that requires separate agreement before an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenChange {
    /// Description of the change.
    pub change: String,
    /// Required agreement.
    pub need: Option<Need>,
}

/// Agreement that a line of a review requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The capability is listed in [`Given::grants`](crate::Given::grants).
    Grant(Capability),
    /// [`Given::replace`](crate::Given::replace) accepts a replacement with wider permissions or from a different source.
    Replace,
}

impl Code {
    /// Returns the code in kebab case, such as `not-granted`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.parts().0
    }

    /// Returns the fields as a JSON object. `None` if the code has no fields.
    #[must_use]
    pub fn fields(&self) -> Option<Value> {
        Some(self.parts().1).filter(|fields| !fields.is_null())
    }

    fn parts(&self) -> (&'static str, Value) {
        let of = |address: &Address| json!({ "address": address.to_string() });
        match self {
            Self::NoYard => ("no-yard", Value::Null),
            Self::YardExists => ("yard-exists", Value::Null),
            Self::NotAYard => ("not-a-yard", Value::Null),
            Self::CommitUnknown => ("commit-unknown", Value::Null),
            Self::KeyUnavailable => ("key-unavailable", Value::Null),
            Self::WrongKey => ("wrong-key", Value::Null),
            Self::RotationUnderWay => ("rotation-under-way", Value::Null),
            Self::KeyDestinationNeeded => ("key-destination-needed", Value::Null),
            Self::KeyVariableNeeded => ("key-variable-needed", Value::Null),
            Self::NameTaken { address } => ("name-taken", of(address)),
            Self::NameTakenByDeleted { address } => ("name-taken-by-deleted", of(address)),
            Self::Deleted { address } => ("deleted", of(address)),
            Self::RevisionMoved { address, newest } => {
                ("revision-moved", json!({ "address": address.to_string(), "newest": newest }))
            }
            Self::InUse { used_by } => {
                let used_by = used_by
                    .iter()
                    .map(|usage| json!({ "address": usage.address.to_string(), "field": usage.field }))
                    .collect::<Vec<_>>();
                ("in-use", json!({ "used_by": used_by }))
            }
            Self::BundleInUse { bundle, used_by } => {
                let used_by = used_by
                    .iter()
                    .map(|usage| json!({ "address": usage.address.to_string(), "version": usage.version }))
                    .collect::<Vec<_>>();
                ("bundle-in-use", json!({ "bundle": bundle, "used_by": used_by }))
            }
            Self::SecretDestroyed { address, field } => {
                ("secret-destroyed", json!({ "address": address.to_string(), "field": field }))
            }
            Self::UnknownType { slug, any_installed } => {
                ("unknown-type", json!({ "type": slug, "any_installed": any_installed }))
            }
            Self::BundleUninstalled { bundle, version } => {
                ("bundle-uninstalled", json!({ "bundle": bundle, "version": version }))
            }
            Self::NotInstalled { bundle } => ("not-installed", json!({ "bundle": bundle })),
            Self::NotGranted { bundle, capabilities } => {
                ("not-granted", json!({ "bundle": bundle, "capabilities": capabilities }))
            }
            Self::NetworkNotGranted { bundle, capability } => {
                ("network-not-granted", json!({ "bundle": bundle, "capability": capability }))
            }
            Self::ConsentNeeded { bundle, version, agreement, open } => {
                let open = open
                    .iter()
                    .map(|change| json!({ "change": change.change, "need": change.need.as_ref().map(need) }))
                    .collect::<Vec<_>>();
                let fields = json!({ "bundle": bundle, "version": version, "agreement": agreement, "open": open });
                ("consent-needed", fields)
            }
            Self::UpgradeBlocked { bundle, version, blocks } => {
                ("upgrade-blocked", json!({ "bundle": bundle, "version": version, "blocks": blocks }))
            }
            Self::NoRegistry { bundle } => ("no-registry", json!({ "bundle": bundle })),
            Self::RegistryUnreadable => ("registry-unreadable", Value::Null),
            Self::RegistryNotSigned { registry } => ("registry-not-signed", json!({ "registry": registry })),
            Self::RegistryCredentials { host, variable, token_service } => {
                ("registry-credentials", json!({ "host": host, "variable": variable, "token_service": token_service }))
            }
            Self::NotCached { url } => ("not-cached", json!({ "url": url })),
            Self::SigningPasswordNeeded => ("signing-password-needed", Value::Null),
            Self::SignerChanged { bundle, pinned, offered } => {
                ("signer-changed", json!({ "bundle": bundle, "pinned": pinned, "offered": offered }))
            }
            Self::LockInvalid { path } => ("lock-invalid", json!({ "path": path })),
            Self::LockOutdated { differences } => ("lock-outdated", json!({ "differences": differences })),
            Self::LockSourceUnknown { bundle, source } => {
                ("lock-source-unknown", json!({ "bundle": bundle, "source": source }))
            }
            Self::LockMismatch { bundle, differences } => {
                ("lock-mismatch", json!({ "bundle": bundle, "differences": differences }))
            }
            Self::ReleaseChanged { bundle, version, locked, offered } => (
                "release-changed",
                json!({ "bundle": bundle, "version": version, "locked": locked, "offered": offered }),
            ),
            Self::DeadlineExceeded => ("deadline-exceeded", Value::Null),
            Self::NotABundle => ("not-a-bundle", Value::Null),
            Self::ForeignImports { imports } => ("foreign-imports", json!({ "imports": imports })),
            Self::ProjectYardUntrusted { folder } => ("project-yard-untrusted", json!({ "folder": folder })),
            Self::ProjectFileIrregular => ("project-file-irregular", Value::Null),
            Self::NothingTrusted => ("nothing-trusted", Value::Null),
            Self::TrustUnreadable => ("trust-unreadable", Value::Null),
            Self::SourceNotPermitted { source, yard } => {
                ("source-not-permitted", json!({ "source": source, "yard": yard }))
            }
        }
    }
}

pub(crate) fn need(need: &Need) -> Value {
    match need {
        Need::Grant(capability) => json!({ "grant": capability }),
        Need::Replace => json!("replace"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Cases of `tests/yard/code.rs`, one function for each code.
    const CASES: &str = include_str!("../../tests/yard/code.rs");

    /// Defines the names of all codes. A code that is not in the list does not compile.
    macro_rules! codes {
        ($($code:ident),* $(,)?) => {
            const CODES: &[&str] = &[$(stringify!($code)),*];

            #[expect(dead_code, reason = "compiled, but not called")]
            fn is_listed(code: &Code) {
                match code {
                    $(Code::$code { .. } => {})*
                }
            }
        };
    }

    codes!(
        NoYard,
        YardExists,
        NotAYard,
        CommitUnknown,
        KeyUnavailable,
        WrongKey,
        RotationUnderWay,
        KeyDestinationNeeded,
        KeyVariableNeeded,
        NameTaken,
        NameTakenByDeleted,
        Deleted,
        RevisionMoved,
        InUse,
        BundleInUse,
        SecretDestroyed,
        UnknownType,
        BundleUninstalled,
        NotInstalled,
        NotGranted,
        NetworkNotGranted,
        ConsentNeeded,
        UpgradeBlocked,
        NoRegistry,
        RegistryUnreadable,
        RegistryNotSigned,
        RegistryCredentials,
        NotCached,
        SigningPasswordNeeded,
        SignerChanged,
        LockInvalid,
        LockOutdated,
        LockSourceUnknown,
        LockMismatch,
        ReleaseChanged,
        DeadlineExceeded,
        NotABundle,
        ForeignImports,
        ProjectYardUntrusted,
        ProjectFileIrregular,
        NothingTrusted,
        TrustUnreadable,
        SourceNotPermitted,
    );

    #[test]
    fn each_code_has_a_case() {
        // They require a server.
        let elsewhere = ["CommitUnknown", "NetworkNotGranted"];
        for code in CODES.iter().filter(|code| !elsewhere.contains(code)) {
            let mut name = String::new();
            for c in code.chars() {
                if c.is_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.extend(c.to_lowercase());
            }
            assert!(CASES.contains(&format!("fn {name}(")), "tests/yard/code.rs has no case `{name}`");
            let kebab = format!("\"{}\"", name.replace('_', "-"));
            assert!(CASES.contains(&kebab), "the case `{name}` does not compare {kebab}");
        }
    }

    #[test]
    fn a_code_has_a_name_and_fields() {
        let address: Address = "gcs-bucket/zoo".parse().expect("an address");
        let code = Code::RevisionMoved { address, newest: 7 };
        assert_eq!(code.as_str(), "revision-moved");
        assert_eq!(code.fields(), Some(json!({"address": "gcs-bucket/zoo", "newest": 7})));
        assert_eq!((Code::NoYard.as_str(), Code::NoYard.fields()), ("no-yard", None));
        let capabilities = vec!["http https://api.example.com".parse().expect("a capability")];
        let code = Code::NotGranted { bundle: "http".to_owned(), capabilities };
        assert_eq!(code.fields(), Some(json!({"bundle": "http", "capabilities": ["http https://api.example.com"]})));
    }
}
