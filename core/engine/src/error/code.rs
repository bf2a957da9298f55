//! Stable identifiers of the errors that a user can act on, with the values that the action needs. An interface
//! (command line, pages, tools) has its own words for the action; the core names none of its commands.

use std::path::PathBuf;

use blockyard_model::{Address, Capability};
use serde_json::{Value, json};

use crate::review::Need;

/// What a user can act on. In JSON it is its name in kebab case, and its fields are the error's details.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// There is no yard at the address.
    NoYard,
    /// A yard was to be created where one exists.
    YardExists,
    /// The file is not a yard.
    NotAYard,
    /// The connection was lost during the commit, so that the change may or may not have been saved.
    CommitUnknown,
    /// The yard's key cannot be read.
    KeyUnavailable,
    /// The key that was passed in is another yard's.
    WrongKey,
    /// The key of a yard that is being moved to another key cannot be read.
    RotationUnderWay,
    /// The new key has no destination: the current one was passed in, and is not where the yard expects it.
    KeyDestinationNeeded,
    /// The yard's key is in an environment variable, where a new one cannot be written.
    KeyVariableNeeded,
    /// A block with the address exists.
    NameTaken {
        /// The address.
        address: Address,
    },
    /// A deleted block has the address.
    NameTakenByDeleted {
        /// The address.
        address: Address,
    },
    /// The block is deleted.
    Deleted {
        /// The block to restore.
        address: Address,
    },
    /// The block has a newer revision than the one that was expected.
    RevisionMoved {
        /// The block.
        address: Address,
        /// Its newest revision.
        newest: u64,
    },
    /// Other blocks build on the block.
    InUse {
        /// Each block, with the field that names this one.
        used_by: Vec<Usage>,
    },
    /// The secret was destroyed by a purge.
    SecretDestroyed {
        /// The block that holds it.
        address: Address,
        /// The field, in dotted form.
        field: String,
    },
    /// No installed bundle has the block type.
    UnknownType {
        /// The type's slug.
        slug: String,
        /// False if the yard has no bundle at all.
        any_installed: bool,
    },
    /// A bundle needs capabilities that are not granted.
    NotGranted {
        /// The bundle.
        bundle: String,
        /// The capabilities, as they are granted.
        capabilities: Vec<Capability>,
    },
    /// A bundle needs an address in a private network to be granted by name.
    NetworkNotGranted {
        /// The bundle.
        bundle: String,
        /// The capability that would permit it.
        capability: Capability,
    },
    /// An installation needs agreement.
    ConsentNeeded {
        /// The bundle.
        bundle: String,
        /// Its version.
        version: String,
        /// Whether the general agreement is missing, too.
        agreement: bool,
        /// The changes that have to be accepted one by one.
        open: Vec<OpenChange>,
    },
    /// No registry is configured.
    NoRegistry {
        /// The bundle that was asked for.
        bundle: String,
    },
    /// The registry cannot be read.
    RegistryUnreadable,
    /// The signature of a registry's file cannot be checked.
    Unverified {
        /// The file.
        path: PathBuf,
    },
    /// The file is a WebAssembly module without a bundle's manifest.
    NotABundle,
    /// The folder of the project chooses a yard that its user has not trusted.
    ProjectYardUntrusted {
        /// The project's folder.
        folder: PathBuf,
    },
    /// The project file is a link or a device.
    ProjectFileIrregular,
    /// A decision that was to be revoked does not exist.
    NothingTrusted,
    /// A record of trust cannot be read.
    TrustUnreadable,
    /// The yard may have been written by another user, so that it must not choose what is read on this machine.
    SourceNotPermitted {
        /// The source, such as `env:NAME`.
        source: String,
        /// The yard's file, if trusting it would permit its sources.
        yard: Option<PathBuf>,
    },
}

/// A block that builds on another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The block.
    pub address: Address,
    /// The field that has the reference, in dotted form.
    pub field: String,
}

/// A change of an installation that is accepted by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenChange {
    /// The change.
    pub change: String,
    /// What accepts it.
    pub need: Option<Need>,
}

impl Code {
    /// The identifier, such as `not-granted`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.parts().0
    }

    /// The fields, as a JSON object; `None` if there are none.
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
            Self::SecretDestroyed { address, field } => {
                ("secret-destroyed", json!({ "address": address.to_string(), "field": field }))
            }
            Self::UnknownType { slug, any_installed } => {
                ("unknown-type", json!({ "type": slug, "any_installed": any_installed }))
            }
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
            Self::NoRegistry { bundle } => ("no-registry", json!({ "bundle": bundle })),
            Self::RegistryUnreadable => ("registry-unreadable", Value::Null),
            Self::Unverified { path } => ("unverified", json!({ "path": path })),
            Self::NotABundle => ("not-a-bundle", Value::Null),
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

fn need(need: &Need) -> Value {
    match need {
        Need::Grant(capability) => json!({ "grant": capability }),
        Need::Replace => json!("replace"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
