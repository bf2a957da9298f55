//! References to other blocks, which this one builds on.

use std::borrow::Cow;

use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::{Block, Problem, Result};

/// The keyword that makes a field a reference.
const KEYWORD: &str = "x-block";

/// A field that names another block. At a call that block's configuration is here, its secrets by
/// handle, like this block's own; while a configuration is validated only its address is.
///
/// `BlockRef<Credentials>` wants a block of that type. A plain `BlockRef` takes whatever implements
/// the interface that its field names: `#[block(interface = "secret-store")]`.
#[derive(Clone, PartialEq, Eq)]
pub struct BlockRef<T = Value> {
    address: String,
    revision: Option<u64>,
    config: Option<Box<T>>,
}

/// What a reference may lead to: a block type of this bundle, or any, as JSON.
pub trait Referable: Sized {
    #[doc(hidden)]
    fn wanted() -> Value;
    #[doc(hidden)]
    fn read(config: Value) -> core::result::Result<Self, serde_json::Error>;
}

impl<T: Block> Referable for T {
    fn wanted() -> Value {
        T::TYPE.into()
    }

    fn read(config: Value) -> core::result::Result<Self, serde_json::Error> {
        T::from_config(config)
    }
}

impl Referable for Value {
    /// The field's attribute says it.
    fn wanted() -> Value {
        Value::Null
    }

    fn read(config: Value) -> core::result::Result<Self, serde_json::Error> {
        Ok(config)
    }
}

impl<T> BlockRef<T> {
    /// The address of the block: `TYPE/NAME`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The revision of it that this call sees.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// The block itself.
    ///
    /// # Errors
    /// While a configuration is validated: then only the address is known.
    pub fn get(&self) -> Result<&T> {
        self.config
            .as_deref()
            .ok_or_else(|| Problem::new("failed", format!("block `{}` is at hand only in a call", self.address)))
    }
}

impl<'de, T: Referable> Deserialize<'de> for BlockRef<T> {
    /// From `{"$block": "TYPE/NAME"}`, with `revision` and `config` at a call.
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
            KEYWORD: T::wanted(),
        })
    }
}

/// Writes the interface that a field names into the schemas of its references, also of those in a
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
