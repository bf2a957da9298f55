//! Standard interfaces: sets of operations that many block types implement in the same way, so that
//! a program can use any database without knowing its product. They are defined in
//! `schemas/interfaces`.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::manifest::{Effect, Operation};
use crate::suggestion::did_you_mean;

/// A standard interface.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Name, as in `types --interface NAME`.
    pub name: String,
    /// Version, from 1. A change that breaks implementations results in a new version.
    pub version: u32,
    /// Purpose of the interface.
    pub description: String,
    /// Operations that an implementation must have.
    pub operations: Vec<InterfaceOperation>,
}

/// An operation of an interface.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceOperation {
    /// Name of the operation.
    pub name: String,
    /// Description of the operation.
    pub description: String,
    /// Effect, which an implementation must share.
    pub effect: Effect,
    /// Arguments that an implementation must accept: names with JSON Schemas.
    pub arguments: serde_json::Map<String, Value>,
    /// True if the operation reads a stream of bytes.
    #[serde(default)]
    pub input: bool,
    /// True if the operation returns a stream of bytes.
    #[serde(default)]
    pub output: bool,
}

static INTERFACES: LazyLock<Vec<Interface>> = LazyLock::new(|| {
    [
        include_str!("../../../schemas/interfaces/credentials.json"),
        include_str!("../../../schemas/interfaces/database.json"),
        include_str!("../../../schemas/interfaces/job.json"),
        include_str!("../../../schemas/interfaces/notification.json"),
        include_str!("../../../schemas/interfaces/object-storage.json"),
        include_str!("../../../schemas/interfaces/secret-store.json"),
    ]
    .into_iter()
    .map(|text| serde_json::from_str(text).expect("the interface files of this repository are valid"))
    .collect()
});

/// Returns all standard interfaces.
#[must_use]
pub fn all() -> &'static [Interface] {
    &INTERFACES
}

/// Returns the differences that prevent these operations from implementing the interface; empty if
/// they implement it.
#[must_use]
pub fn shortfalls(name: &str, operations: &[Operation]) -> Vec<String> {
    let Some(interface) = all().iter().find(|interface| interface.name == name) else {
        let hint = did_you_mean(name, all().iter().map(|i| i.name.as_str()));
        let hint = hint.map(|hint| format!(", {hint}")).unwrap_or_default();
        return vec![format!("interface `{name}` is not known{hint}")];
    };
    interface.operations.iter().filter_map(|wanted| wanted.shortfall(name, operations)).collect()
}

impl InterfaceOperation {
    fn shortfall(&self, interface: &str, operations: &[Operation]) -> Option<String> {
        let name = &self.name;
        let Some(found) = operations.iter().find(|operation| operation.name == *name) else {
            return Some(format!("interface `{interface}` has an operation `{name}`, which the type lacks"));
        };
        let wrong = |what: String| Some(format!("operation `{name}` of interface `{interface}` {what}"));
        if found.effect != self.effect {
            return wrong(format!("has the effect {:?}, not {:?}", self.effect, found.effect));
        }
        if found.output != self.output {
            return wrong(format!("{} a stream of bytes", if self.output { "gives" } else { "does not give" }));
        }
        if found.input != self.input {
            return wrong(format!("{} a stream of bytes", if self.input { "reads" } else { "does not read" }));
        }
        let taken = found.arguments.document().get("properties").and_then(Value::as_object);
        let missing = self.arguments.keys().find(|argument| taken.is_none_or(|t| !t.contains_key(*argument)));
        if let Some(argument) = missing {
            return wrong(format!("takes an argument `{argument}`"));
        }
        let required = found.arguments.document().get("required").and_then(Value::as_array);
        let extra = required
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .find(|argument| !self.arguments.contains_key(*argument));
        extra.and_then(|argument| wrong(format!("does not require an argument `{argument}`")))
    }
}
