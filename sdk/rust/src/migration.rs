//! Migrations: conversion of configurations of older versions of a block type.
//!
//! When the configuration of a type changes incompatibly, its version is incremented. The previous
//! struct stays in the source under another name, and is named by `previous`. A conversion in plain
//! Rust leads from it to the new struct. Each struct names the one before it, so that a
//! configuration of any older version is converted step by step.
//!
//! ```
//! use blockyard_sdk::prelude::*;
//!
//! /// A web hook.
//! #[derive(Block)]
//! #[block(type = "acme-webhook", version = 1)]
//! pub struct WebhookV1 {
//!     /// Host and port, separated by a colon.
//!     address: String,
//!     /// Access token.
//!     #[block(audience = "https://hooks.acme.example")]
//!     token: Secret,
//! }
//!
//! /// A web hook.
//! #[derive(Block)]
//! #[block(type = "acme-webhook", version = 2, previous = WebhookV1)]
//! pub struct Webhook {
//!     /// Host name.
//!     host: String,
//!     /// Port.
//!     port: u16,
//!     /// Name of the team that receives alerts. Earlier versions have no such field, so an upgrade
//!     /// asks the user for it.
//!     team: Supplied<String>,
//!     /// Access token.
//!     #[block(audience = "https://hooks.acme.example")]
//!     access_token: Secret,
//! }
//!
//! impl TryFrom<WebhookV1> for Webhook {
//!     type Error = Problem;
//!
//!     fn try_from(old: WebhookV1) -> Result<Self> {
//!         let (host, port) = old.address.split_once(':').unwrap_or((old.address.as_str(), "443"));
//!         let port = port.parse().map_err(|_| Problem::invalid(format!("`{port}` is not a port")))?;
//!         Ok(Self { host: host.to_owned(), port, team: Supplied::missing(), access_token: old.token })
//!     }
//! }
//! ```
//!
//! - A conversion that cannot fail implements `From` instead of `TryFrom`. An error of the
//!   conversion is shown for the block, and the upgrade changes nothing.
//! - A secret is a handle. It can be assigned to another field, but not read. The host checks that
//!   the new field sends it to no additional destination; otherwise the user is asked.
//! - The host lists every field that the conversion removes. A line that the conversion writes with
//!   [`log::info`](crate::log::info) is shown with the block, e.g. to explain what happens to the
//!   value of a removed field.
//! - A conversion has no capabilities except `log`, and must return the same result on each run.
//! - A type whose new version only adds optional fields keeps its version, and needs no conversion.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::block::open_version;
use crate::{Block, Problem, Result};

/// Value that only the user can supply in a migration.
///
/// In the schema it is a required `T`. A migration from a version without the field assigns
/// [`missing`](Self::missing); the upgrade then asks the user for the value. In a block that can be
/// called, the value is always present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supplied<T>(Option<T>);

impl<T> Supplied<T> {
    /// Returns the absent value, for migrations.
    #[must_use]
    pub fn missing() -> Self {
        Self(None)
    }

    #[doc(hidden)]
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.0.is_none()
    }
}

impl<T> From<T> for Supplied<T> {
    fn from(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T> core::ops::Deref for Supplied<T> {
    type Target = T;

    /// # Panics
    /// If the value is missing, which is possible in a migration only.
    fn deref(&self) -> &T {
        self.0.as_ref().expect("the value is missing, because the user must supply it")
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Supplied<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

impl<T: Serialize> Serialize for Supplied<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Supplied<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Checks at compile time that `P` is an older version of `T`.
#[doc(hidden)]
pub const fn check_previous<P: Block, T: Block>() {
    assert!(P::VERSION < T::VERSION, "`previous` must have a lower version than the type");
    let (previous, own) = (P::TYPE.as_bytes(), T::TYPE.as_bytes());
    let mut same = previous.len() == own.len();
    let mut at = 0;
    while same && at < own.len() {
        same = previous[at] == own[at];
        at += 1;
    }
    assert!(same, "`previous` must have the slug of the type");
}

/// Converts a configuration of an older version: to the previous version first, then to `T`.
#[doc(hidden)]
pub fn migrate_from<P, T>(from_version: u32, config: Value) -> Result<T>
where
    P: Block,
    T: Block + TryFrom<P>,
    Problem: From<T::Error>,
{
    if from_version >= T::VERSION {
        return open_version(from_version, config);
    }
    Ok(T::try_from(P::migrate(from_version, config)?)?)
}

/// Serializes a migrated configuration.
#[doc(hidden)]
pub fn to_config(config: &impl Serialize) -> Result<Value> {
    serde_json::to_value(config)
        .map_err(|error| Problem::new("failed", format!("the migrated configuration is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::prelude::*;

    /// A lamp.
    #[derive(Block)]
    #[block(type = "lamp", version = 1)]
    struct LampV1 {
        /// Address, `HOST:PORT`.
        address: String,
        /// Password.
        #[block(audience = "sql")]
        password: Option<Secret>,
    }

    /// A lamp.
    #[derive(Block)]
    #[block(type = "lamp", version = 2, previous = LampV1)]
    struct LampV2 {
        /// Host.
        host: String,
        /// Port.
        port: Option<u16>,
        /// Password.
        #[block(audience = "sql")]
        password: Option<Secret>,
    }

    /// A lamp.
    #[derive(Block)]
    #[block(type = "lamp", version = 3, previous = LampV2)]
    #[allow(dead_code, reason = "only its serialization is compared")]
    struct Lamp {
        /// Host.
        host: String,
        /// Port.
        port: Option<u16>,
        /// Room.
        room: Supplied<String>,
        /// Key.
        #[block(audience = "sql")]
        key: Option<Secret>,
    }

    impl TryFrom<LampV1> for LampV2 {
        type Error = Problem;

        fn try_from(old: LampV1) -> Result<Self> {
            let Some((host, port)) = old.address.split_once(':') else {
                return Ok(Self { host: old.address, port: None, password: old.password });
            };
            let port = port.parse().map_err(|_| Problem::invalid("the address has no valid port"))?;
            Ok(Self { host: host.to_owned(), port: Some(port), password: old.password })
        }
    }

    impl From<LampV2> for Lamp {
        fn from(old: LampV2) -> Self {
            Self { host: old.host, port: old.port, room: Supplied::missing(), key: old.password }
        }
    }

    #[operations]
    impl Lamp {}

    fn migrated(from_version: u32, config: Value) -> Result<Value> {
        Lamp::migrate(from_version, config)?.into_config()
    }

    #[test]
    fn versions_are_converted_step_by_step() {
        let old = json!({"address": "a.example:7", "password": {"$secret": "/password"}});
        let new = json!({"host": "a.example", "port": 7, "key": {"$secret": "/password"}});
        assert_eq!(migrated(1, old).expect("a configuration"), new);
        let second = json!({"host": "a.example", "password": {"$secret": "/password"}});
        let new = json!({"host": "a.example", "key": {"$secret": "/password"}});
        assert_eq!(migrated(2, second).expect("a configuration"), new);
        // A value that is not set stays absent, and one that the user must supply is absent.
        assert_eq!(migrated(1, json!({"address": "b"})).expect("a configuration"), json!({"host": "b"}));
    }

    #[test]
    fn errors_of_a_conversion_are_returned() {
        let message = |version, config| migrated(version, config).expect_err("an error").to_string();
        assert_eq!(message(1, json!({"address": "a:b"})), "the address has no valid port");
        assert_eq!(message(4, json!({})), "type `lamp` has no migration from version 4");
        assert_eq!(message(0, json!({})), "type `lamp` has no migration from version 0");
        let wrong = message(1, json!({"adress": "a"}));
        assert!(wrong.contains("does not match version 1 of the type `lamp`: unknown field `adress`"), "{wrong}");
    }

    #[test]
    fn a_supplied_value_is_required_and_keeps_the_schema_of_its_type() {
        let schema = Lamp::schema();
        assert_eq!(schema["properties"]["room"]["type"], "string");
        assert_eq!(schema["required"], json!(["host", "room"]));
        let lamp = Lamp::from_config(json!({"host": "a", "room": "hall"})).expect("a configuration");
        assert_eq!(lamp.room.len(), 4);
        assert!(Lamp::from_config(json!({"host": "a"})).is_err());
    }
}
