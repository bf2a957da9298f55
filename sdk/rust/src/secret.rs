//! Secrets, which bundles access by handle.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::{Value, json};

use crate::Result;
use crate::bindings::blockyard::bundle::secrets;

/// Secret field of a configuration. The bundle has only its JSON Pointer. The value stays in the
/// host, which uses it on request if the field's audience permits.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T = String> {
    pointer: String,
    value_type: PhantomData<T>,
}

impl<T> Secret<T> {
    /// Opens a handle to the secret, for use in host functions.
    ///
    /// # Errors
    /// The block has no such secret.
    pub fn handle(&self) -> Result<secrets::Secret> {
        Ok(secrets::open(&self.pointer)?)
    }

    /// Returns the value of the secret in plain text. Requires the capability `reveal`, which must
    /// be approved explicitly during installation. Each use is recorded in the audit trail.
    ///
    /// # Errors
    /// The block has no such secret, or `reveal` is not granted.
    pub fn reveal(&self) -> Result<Vec<u8>> {
        Ok(crate::bindings::blockyard::bundle::reveal::reveal(&self.handle()?)?)
    }
}

impl<'de, T> Deserialize<'de> for Secret<T> {
    /// Deserializes `{"$secret": "<JSON Pointer>"}`, as written by the host.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut marker = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        match marker.remove("$secret") {
            Some(pointer) if marker.is_empty() => Ok(Self { pointer, value_type: PhantomData }),
            _ => Err(D::Error::custom("expected a secret handle")),
        }
    }
}

impl<T> serde::Serialize for Secret<T> {
    /// Serializes the JSON Pointer, never the value.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        json!({ "$secret": self.pointer }).serialize(serializer)
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

/// Schema transform that sets the permitted uses of a field on its secrets, including those in a
/// list, a map or an option. Lists are strings with space-separated items, because attributes of derive
/// macros do not accept lists.
#[doc(hidden)]
#[derive(Clone, Default)]
pub struct SecretUse {
    /// Databases and origins.
    pub audience: &'static str,
    /// Headers that may contain the secret; empty for the default.
    pub header: &'static str,
    /// URLs of token endpoints.
    pub token: &'static str,
    /// Forms of the strings that the secret may sign.
    pub sign: &'static str,
    /// Whether the secret is a URL to which requests are sent.
    pub url: bool,
    /// Members of the JSON object in a body that may contain the secret.
    pub member: &'static str,
}

impl Transform for SecretUse {
    fn transform(&mut self, schema: &mut Schema) {
        let is = |key: &str, value: Value| schema.get(key) == Some(&value);
        if is("writeOnly", true.into()) && is("format", "password".into()) {
            let mut keyword = json!({ "audience": self.audience.split_whitespace().collect::<Vec<_>>() });
            let lists = [("header", self.header), ("token", self.token), ("sign", self.sign), ("member", self.member)];
            for (name, items) in lists {
                if !items.is_empty() {
                    keyword[name] = json!(items.split_whitespace().collect::<Vec<_>>());
                }
            }
            if self.url {
                keyword["url"] = json!(true);
            }
            schema.insert("x-secret".to_owned(), keyword);
        }
        transform_subschemas(self, schema);
    }
}

impl<T> core::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("********")
    }
}
