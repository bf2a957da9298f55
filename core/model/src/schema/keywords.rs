//! Finds the keywords of a schema that apply to a location in a document.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::graph::referenced;
use crate::limits;
use crate::pointer::Pointer;
use crate::reference::REFERENCE_KEYWORD;
use crate::secret_use::SecretKeyword;

/// Returns the part of the schema at the path of a validation error. The path passes through
/// `$ref`s.
pub(crate) fn at<'a>(document: &'a Value, schema_path: &str) -> Option<&'a Value> {
    let mut current = document;
    for token in Pointer::new(schema_path).tokens() {
        current = match token.as_str() {
            "$ref" => target(document, current.as_object()?)?,
            _ => match current {
                Value::Object(members) => members.get(&token)?,
                Value::Array(elements) => elements.get(token.parse::<usize>().ok()?)?,
                _ => return None,
            },
        };
    }
    Some(current)
}

/// Returns the properties of the object schema whose `additionalProperties` failed.
pub(crate) fn known_fields(document: &Value, schema_path: &str) -> Vec<String> {
    schema_path
        .rsplit_once('/')
        .and_then(|(parent, _)| at(document, parent))
        .and_then(|schema| schema.get("properties"))
        .and_then(Value::as_object)
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
}

/// Returns the schemas that apply, or may apply, to the same value as these keywords.
fn alternatives<'a>(document: &'a Value, keywords: &'a Map<String, Value>) -> Vec<&'a Value> {
    let mut found: Vec<&Value> = target(document, keywords).into_iter().collect();
    for keyword in ["allOf", "anyOf", "oneOf"] {
        found.extend(keywords.get(keyword).and_then(Value::as_array).into_iter().flatten());
    }
    found.extend(["then", "else"].into_iter().filter_map(|keyword| keywords.get(keyword)));
    found.extend(keywords.get("dependentSchemas").and_then(Value::as_object).into_iter().flat_map(Map::values));
    found
}

/// Returns the schema in the document that the `$ref` among these keywords refers to.
fn target<'a>(document: &'a Value, keywords: &Map<String, Value>) -> Option<&'a Value> {
    referenced(document, keywords.get("$ref")?.as_str()?)
}

/// Returns all keywords that may apply to the field at this pointer: one set for each branch
/// that declares the field, with `$ref` resolved.
pub(crate) fn fields<'a>(document: &'a Value, pointer: &Pointer) -> Vec<&'a Map<String, Value>> {
    let mut schemas = vec![document];
    for token in pointer.tokens() {
        let mut next = Vec::new();
        let mut seen = HashSet::new();
        for schema in schemas {
            step(document, schema, &token, &mut seen, &mut next);
        }
        // Several branches may refer to the same schema.
        let mut unique = HashSet::new();
        next.retain(|schema| unique.insert(std::ptr::from_ref(*schema)));
        schemas = next;
    }
    schemas.into_iter().filter_map(|schema| resolve(document, schema)).collect()
}

/// Returns the types that the field at this pointer accepts; empty if the schema names none.
pub(crate) fn types<'a>(document: &'a Value, pointer: &Pointer) -> Vec<&'a str> {
    fields(document, pointer)
        .into_iter()
        .flat_map(|keywords| match keywords.get("type") {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        })
        .collect()
}

fn step<'a>(
    document: &'a Value,
    schema: &'a Value,
    token: &str,
    seen: &mut HashSet<*const Value>,
    next: &mut Vec<&'a Value>,
) {
    let Some(keywords) = schema.as_object().filter(|_| seen.insert(std::ptr::from_ref(schema))) else { return };
    next.extend(members_of(keywords, token));
    if let Ok(index) = token.parse() {
        next.extend(elements_of(keywords, index));
    }
    for alternative in alternatives(document, keywords) {
        step(document, alternative, token, seen, next);
    }
}

/// Resolves `$ref`, and an `anyOf` of one schema and `null`, which declares an optional value.
pub(crate) fn resolve<'a>(document: &'a Value, schema: &'a Value) -> Option<&'a Map<String, Value>> {
    let mut keywords = schema.as_object()?;
    for _ in 0..=2 * limits::SCHEMA_DEPTH {
        // The keywords next to a `$ref` declare a secret or a reference, regardless of the
        // target.
        if SecretKeyword::of(keywords).is_some() || keywords.contains_key(REFERENCE_KEYWORD) {
            return Some(keywords);
        }
        if let Some(target) = target(document, keywords) {
            keywords = target.as_object()?;
            continue;
        }
        let branches = keywords.get("anyOf").and_then(Value::as_array);
        let mut real = branches.into_iter().flatten().filter(|branch| branch.get("type").is_none_or(|t| t != "null"));
        match (real.next(), real.next()) {
            (Some(only), None) => keywords = only.as_object()?,
            _ => return Some(keywords),
        }
    }
    None
}

/// Returns the schemas of an object's member that these keywords contain directly.
fn members_of<'a>(keywords: &'a Map<String, Value>, key: &str) -> Vec<&'a Value> {
    let mut found: Vec<&Value> = keywords.get("properties").and_then(|fields| fields.get(key)).into_iter().collect();
    // Patterns are not matched against the name: an extra schema is harmless, but a missing one
    // would disclose a secret.
    found.extend(keywords.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::values));
    if found.is_empty() {
        found.extend(["additionalProperties", "unevaluatedProperties"].into_iter().filter_map(|k| keywords.get(k)));
    }
    found
}

/// Returns the schemas of an array's element that these keywords contain directly.
fn elements_of(keywords: &Map<String, Value>, index: usize) -> Vec<&Value> {
    let prefix = keywords.get("prefixItems").and_then(Value::as_array).and_then(|items| items.get(index));
    match prefix {
        Some(own) => vec![own],
        None => ["items", "unevaluatedItems"].into_iter().filter_map(|keyword| keywords.get(keyword)).collect(),
    }
}
