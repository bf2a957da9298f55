//! References between blocks.
//!
//! A field with the keyword `x-block` contains `{"$block": "TYPE/NAME"}`. The keyword names the
//! permitted target: a block type (`"x-block": "gcp-credentials"`), or an interface that the target
//! implements (`"x-block": {"interface": "secret-store"}`). A secret that is read from a block
//! (`{"$source": "block:TYPE/NAME"}`) is also a dependency on that block.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::address::{Address, AddressError};
use crate::interface;
use crate::name::TypeSlug;
use crate::pointer::Pointer;

/// Schema keyword that declares a reference.
pub const REFERENCE_KEYWORD: &str = "x-block";
/// Marker key of a reference in a document.
pub const BLOCK_MARKER: &str = "$block";
/// Interface that blocks implement to supply secrets to other blocks.
pub const SECRET_STORE: &str = "secret-store";

/// Permitted target of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PermittedTarget {
    /// A block of this type.
    Type(TypeSlug),
    /// A block whose type implements this standard interface.
    Interface(String),
}

/// Location in a document at which the schema declares a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceLocation {
    /// Location in the document.
    pub pointer: Pointer,
    /// Permitted targets, of which one must match. Several if branches of the schema differ.
    pub permitted: Vec<PermittedTarget>,
}

/// A dependency of a block on another block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Field that contains the reference.
    pub pointer: Pointer,
    /// Permitted targets, of which one must match.
    pub permitted: Vec<PermittedTarget>,
    /// Address of the referenced block.
    pub target: Address,
    /// Use of the referenced block.
    pub purpose: Purpose,
}

/// Use of a referenced block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// At a call, the configuration of the referenced block is inserted into the dependent one.
    Configuration,
    /// At a call, a secret is read from the referenced block.
    Secret,
}

impl PermittedTarget {
    /// Parses the value of `x-block`.
    ///
    /// # Errors
    /// Returns a description of the problem.
    pub fn parse(keyword: &Value) -> Result<Self, String> {
        match keyword {
            Value::String(slug) => TypeSlug::new(slug.as_str()).map(Self::Type).map_err(|error| error.to_string()),
            Value::Object(object) if object.len() == 1 => match object.get("interface").and_then(Value::as_str) {
                Some(name) if interface::all().iter().any(|known| known.name == name) => {
                    Ok(Self::Interface(name.to_owned()))
                }
                Some(name) => Err(format!("interface `{name}` is not known")),
                None => Err("`x-block` must be a block type or `{\"interface\": …}`".to_owned()),
            },
            _ => Err("`x-block` must be a block type or `{\"interface\": …}`".to_owned()),
        }
    }

    /// Returns the permitted target of a field with these keywords, or `None` if it is not a
    /// reference. Invalid values of `x-block` were rejected together with their manifest.
    pub(crate) fn of(keywords: &Map<String, Value>) -> Option<Self> {
        Self::parse(keywords.get(REFERENCE_KEYWORD)?).ok()
    }
}

impl fmt::Display for PermittedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(slug) => write!(f, "a block of type `{slug}`"),
            Self::Interface(name) => write!(f, "a block that implements `{name}`"),
        }
    }
}

impl Purpose {
    /// Returns the name that is stored in the yard.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Secret => "secret",
        }
    }
}

/// Returns `{"$block": "TYPE/NAME"}`.
#[must_use]
pub fn block_marker(target: &str) -> Value {
    json!({ BLOCK_MARKER: target })
}

/// Returns the block that a reference in a document points to.
///
/// # Errors
/// Returns the expected form if the value is not a reference.
pub fn target(value: &Value) -> Result<Address, String> {
    let text = value
        .as_object()
        .filter(|object| object.len() == 1)
        .and_then(|object| object.get(BLOCK_MARKER)?.as_str())
        .ok_or_else(|| format!("must be a reference; write `{{\"{BLOCK_MARKER}\": \"TYPE/NAME\"}}`"))?;
    text.parse().map_err(|error: AddressError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PlainDocument, Schema, SplitDocument};
    use expect_test::expect;

    fn schema() -> Schema {
        Schema::compile(json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "base": {"anyOf": [{"$ref": "#/$defs/base"}, {"type": "null"}]},
                "many": {"type": "array", "items": {"$ref": "#/$defs/base"}},
                "named": {"type": "object", "additionalProperties": {"x-block": {"interface": "secret-store"}}},
                "choice": {"oneOf": [
                    {"type": "object", "properties": {"how": {"const": "by"}, "by": {"x-block": "keeper"}}},
                    {"type": "object", "properties": {"how": {"const": "with"}, "with": {"type": "string"}}}
                ]},
                "password": {"type": "string", "writeOnly": true, "format": "password"}
            },
            "$defs": {"base": {"type": "object", "x-block": "gcp-credentials"}}
        }))
        .expect("a good schema")
    }

    #[test]
    fn references_are_found_at_any_depth() {
        let document = SplitDocument::split(
            &schema(),
            PlainDocument(json!({
                "base": {"$block": "gcp-credentials/a"},
                "many": [{"$block": "gcp-credentials/b"}, {"$block": "gcp-credentials/c"}],
                "named": {"x": {"$block": "gcp-secret/d"}},
                "choice": {"how": "by", "by": {"$block": "keeper/e"}},
                "password": {"$source": "block:gcp-secret/f"}
            })),
        )
        .expect("no secrets in place");
        assert_eq!(document.violations(&schema()), []);
        let found: Vec<String> = document
            .references(&schema())
            .iter()
            .map(|r| format!("{} → {} wants {} for {}", r.pointer, r.target, r.permitted[0], r.purpose.as_str()))
            .collect();
        expect![[r#"
            [
                "/base → gcp-credentials/a wants a block of type `gcp-credentials` for configuration",
                "/choice/by → keeper/e wants a block of type `keeper` for configuration",
                "/many/0 → gcp-credentials/b wants a block of type `gcp-credentials` for configuration",
                "/many/1 → gcp-credentials/c wants a block of type `gcp-credentials` for configuration",
                "/named/x → gcp-secret/d wants a block that implements `secret-store` for configuration",
                "/password → gcp-secret/f wants a block that implements `secret-store` for secret",
            ]
        "#]]
        .assert_debug_eq(&found);
    }

    #[test]
    fn errors_of_invalid_references_describe_the_format() {
        let document = SplitDocument::split(
            &schema(),
            PlainDocument(json!({"base": {"$block": "gcp-credentials"}, "many": ["gcp-credentials/b"]})),
        )
        .expect("no secrets");
        let text: Vec<String> =
            document.violations(&schema()).iter().map(|v| format!("{} {}", v.pointer, v.message)).collect();
        expect![[r#"
            [
                "/base `gcp-credentials` is not an address; an address is `TYPE/NAME`, for example `sql-database/flights`",
                "/many/0 must be a reference; write `{\"$block\": \"TYPE/NAME\"}`",
            ]
        "#]]
        .assert_debug_eq(&text);
    }

    #[test]
    fn reference_fields_accept_addresses_as_text() {
        let parse =
            |field: &str, text: &str| schema().parse_value(&Pointer::from_dotted(field), text).expect("a value");
        assert_eq!(parse("base", "gcp-credentials/a"), json!({"$block": "gcp-credentials/a"}));
        assert_eq!(parse("many.0", "gcp-credentials/a"), json!({"$block": "gcp-credentials/a"}));
        assert_eq!(parse("choice.by", "keeper/e"), json!({"$block": "keeper/e"}));
        assert_eq!(parse("choice.with", "keeper/e"), json!("keeper/e"));
        assert!(schema().is_secret(&Pointer::new("/password")));
    }

    #[test]
    fn schemas_with_hidden_keywords_are_rejected() {
        let hidden = |schema: Value| Schema::compile(schema).expect("a schema").hidden_keywords();
        assert_eq!(hidden(schema().document().clone()), [""; 0]);
        for schema in [
            json!({"properties": {"a": {"not": {"x-secret": {}}}}}),
            json!({"properties": {"a": {"if": {"x-block": "b"}}}}),
            json!({"properties": {"a": {"x-block": "Not A Slug"}}}),
            json!({"properties": {"a": {"x-block": {"interface": "no-such-interface"}}}}),
        ] {
            assert_ne!(hidden(schema.clone()), [""; 0], "{schema}");
        }
        let named = json!({"properties": {"a": {"$ref": "#a"}}, "$defs": {"a": {"$anchor": "a", "x-secret": {}}}});
        assert!(Schema::compile(named).is_err());
        // A field may have the same name as a keyword.
        assert_eq!(hidden(json!({"properties": {"not": {"x-secret": {}}, "x-block": {"type": "string"}}})), [""; 0]);
    }
}
