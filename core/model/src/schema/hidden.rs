//! Finds the parts of a schema that prevent finding all secrets and references in a document.

use serde_json::Value;

use crate::pointer::Pointer;
use crate::reference::{PermittedTarget, REFERENCE_KEYWORD};
use crate::secret_use::{SECRET_KEYWORD, SecretKeyword};

/// Keywords whose schemas test a value but do not describe its structure. Searches do not visit
/// them.
const NOT_WALKED: [&str; 5] = ["not", "if", "contains", "propertyNames", "contentSchema"];

/// Adds the problems of a subschema. `unseen` is true if searches do not visit it.
pub(crate) fn hidden(schema: &Value, pointer: &Pointer, unseen: bool, problems: &mut Vec<String>) {
    let Some(keywords) = schema.as_object() else { return };
    for keyword in ["$id", "$anchor", "$dynamicRef", "$dynamicAnchor"] {
        if keywords.contains_key(keyword) && !pointer.as_str().is_empty() {
            problems.push(format!("`{pointer}`: `{keyword}` is not supported; use `$ref` with a pointer"));
        }
    }
    if let Some(target) = keywords.get("$ref").and_then(Value::as_str)
        && target != "#"
        && !target.starts_with("#/")
    {
        problems.push(format!("`{pointer}`: `$ref` by name is not supported; use a pointer such as `#/$defs/name`"));
    }
    if unseen && (SecretKeyword::of(keywords).is_some() || keywords.contains_key(REFERENCE_KEYWORD)) {
        problems.push(format!("`{pointer}`: a secret or a reference cannot be declared here"));
    }
    let uses = keywords.get(SECRET_KEYWORD).map(SecretKeyword::problems).unwrap_or_default();
    problems.extend(uses.into_iter().map(|problem| format!("`{pointer}`: {problem}")));
    if let Some(keyword) = keywords.get(REFERENCE_KEYWORD)
        && let Err(problem) = PermittedTarget::parse(keyword)
    {
        problems.push(format!("`{pointer}`: {problem}"));
    }
    for (keyword, value) in keywords {
        let child = pointer.child(keyword);
        match keyword.as_str() {
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                for (name, subschema) in value.as_object().into_iter().flatten() {
                    hidden(subschema, &child.child(name), unseen, problems);
                }
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                for (index, subschema) in value.as_array().into_iter().flatten().enumerate() {
                    hidden(subschema, &child.child(&index.to_string()), unseen, problems);
                }
            }
            // These keywords contain values, not schemas.
            "const" | "enum" | "default" | "examples" => {}
            other => hidden(value, &child, unseen || NOT_WALKED.contains(&other), problems),
        }
    }
}
