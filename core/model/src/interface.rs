//! Standard interfaces: sets of operations that many block types implement in the same way, so that
//! a program can use any database without knowing its product. They are defined in
//! `schemas/interfaces`.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::effect::Effect;

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
