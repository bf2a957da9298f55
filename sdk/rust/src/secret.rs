//! Secrets as a bundle has them: by handle.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error as _};

use crate::Result;
use crate::bindings::blockyard::bundle::secrets;

/// A secret field of the configuration. The bundle knows its place; the value stays in the host,
/// which uses it where the bundle says and the field's audience allows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T = String> {
    pointer: String,
    what: PhantomData<T>,
}

impl<T> Secret<T> {
    /// The handle, to pass to a function of the host.
    ///
    /// # Errors
    /// Where the block has no such secret.
    pub fn handle(&self) -> Result<secrets::Secret> {
        Ok(secrets::open(&self.pointer)?)
    }
}

impl<'de, T> Deserialize<'de> for Secret<T> {
    /// From `{"$secret": "<JSON Pointer>"}`, as the host writes it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut marker = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        match marker.remove("$secret") {
            Some(pointer) if marker.is_empty() => Ok(Self { pointer, what: PhantomData }),
            _ => Err(D::Error::custom("a secret is a handle")),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Secret<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        schema.insert("writeOnly".to_owned(), true.into());
        schema.insert("format".to_owned(), "password".into());
        schema
    }
}

impl<T> core::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("********")
    }
}
