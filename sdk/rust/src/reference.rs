//! References to other blocks.

use std::borrow::Cow;

use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::{Block, Problem, Result};

/// Schema keyword of a reference field.
const KEYWORD: &str = "x-block";

/// Field that refers to another block. During a call it contains the configuration of that block,
/// with secrets as handles. During validation it contains only the address.
///
/// `BlockRef<Credentials>` refers to a block of that type. A plain `BlockRef` accepts any block
/// that implements the interface of its field: `#[block(interface = "secret-store")]`.
#[derive(Clone, PartialEq, Eq)]
pub struct BlockRef<T = Value> {
    address: String,
    revision: Option<u64>,
    config: Option<Box<T>>,
}

/// Target type of a reference: a block type of this bundle, or [`Value`] for any type.
pub trait Referable: Sized {
    #[doc(hidden)]
    fn expected() -> Value;
    #[doc(hidden)]
    fn read(config: Value) -> core::result::Result<Self, serde_json::Error>;
}

impl<T: Block> Referable for T {
    fn expected() -> Value {
        T::TYPE.into()
    }

    fn read(config: Value) -> core::result::Result<Self, serde_json::Error> {
        T::from_config(config)
    }
}

impl Referable for Value {
    /// The interface is set by the field's attribute.
    fn expected() -> Value {
        Value::Null
    }

    fn read(config: Value) -> core::result::Result<Self, serde_json::Error> {
        Ok(config)
    }
}

impl<T> BlockRef<T> {
    /// Returns the address of the block, `TYPE/NAME`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the revision of the block that this call uses.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// Returns the configuration of the block.
    ///
    /// # Errors
    /// The configuration is being validated, so only the address is available.
    pub fn get(&self) -> Result<&T> {
        self.config
            .as_deref()
            .ok_or_else(|| Problem::new("failed", format!("block `{}` is available only during a call", self.address)))
    }
}

impl<'de, T: Referable> Deserialize<'de> for BlockRef<T> {
    /// Deserializes `{"$block": "TYPE/NAME"}`, which during a call also has `revision` and
    /// `config`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Format {
            #[serde(rename = "$block")]
            address: String,
            revision: Option<u64>,
            config: Option<Value>,
        }
        let Format { address, revision, config } = Format::deserialize(deserializer)?;
        let config = config.map(T::read).transpose().map_err(D::Error::custom)?.map(Box::new);
        Ok(Self { address, revision, config })
    }
}

impl<T> Serialize for BlockRef<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        json!({ "$block": self.address }).serialize(serializer)
    }
}

impl<T: Referable> JsonSchema for BlockRef<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "BlockRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": { "$block": { "type": "string" } },
            "required": ["$block"],
            "additionalProperties": false,
            KEYWORD: T::expected(),
        })
    }
}

/// Schema transform that sets the interface of a field on its references, including those in a
/// list, a map or an option.
#[doc(hidden)]
#[derive(Clone)]
pub struct Interface(pub &'static str);

impl Transform for Interface {
    fn transform(&mut self, schema: &mut Schema) {
        if schema.get(KEYWORD).is_some() {
            schema.insert(KEYWORD.to_owned(), json!({ "interface": self.0 }));
        }
        transform_subschemas(self, schema);
    }
}

impl<T> core::fmt::Debug for BlockRef<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "BlockRef({})", self.address)
    }
}
