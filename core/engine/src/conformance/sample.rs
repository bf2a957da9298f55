//! Builds a sample document from a schema: its defaults and examples, and the simplest values of required fields.
//! Secrets are canaries, which are searched for in everything that a bundle returns.

use std::collections::BTreeSet;

use blockyard_model::Schema;
use serde_json::{Map, Value};

/// Beginning of each canary. It contains no character that JSON or a URL encodes.
pub(crate) const CANARY: &str = "canary0secret0value";
/// URL of a server that does not exist (RFC 6761).
const URL: &str = "https://sample.invalid";
/// Maximum depth of a sample. A schema that refers to itself may require an infinite document.
const DEPTH: usize = 16;

/// Builds sample documents of a schema.
pub(crate) struct Sampler<'a> {
    schema: &'a Schema,
    /// Fields that an origin or a URL of the manifest refers to.
    urls: BTreeSet<String>,
    canaries: usize,
}

impl<'a> Sampler<'a> {
    /// Creates a sampler. `manifest` is the text of the manifest, which refers to fields with URLs by
    /// `{config.FIELD}`.
    pub(crate) fn new(schema: &'a Schema, manifest: &str) -> Self {
        let fields = manifest.split("{config.").skip(1).filter_map(|rest| rest.split_once('}'));
        Self { schema, urls: fields.map(|(field, _)| field.to_owned()).collect(), canaries: 0 }
    }

    /// Returns a sample document, with the secrets as text.
    ///
    /// # Errors
    /// Returns the reason why there is no sample, e.g. a required reference to another block.
    pub(crate) fn document(&mut self) -> Result<Value, String> {
        let schema = self.schema;
        self.value(schema.document(), "", 0)
    }

    fn value(&mut self, schema: &Value, path: &str, depth: usize) -> Result<Value, String> {
        let Some(keywords) = self.schema.resolve(schema) else { return Ok(Value::Null) };
        if depth > DEPTH {
            return Err(format!("`{path}` is nested too deeply"));
        }
        let own = schema.as_object().unwrap_or(keywords);
        if [own, keywords].iter().any(|keywords| is_secret(keywords)) {
            self.canaries += 1;
            return Ok(format!("{CANARY}{}", self.canaries).into());
        }
        if keywords.contains_key("x-block") {
            return Err(format!("`{path}` requires another block"));
        }
        if let Some(value) = [own, keywords].iter().find_map(|keywords| given(keywords)) {
            return Ok(value);
        }
        for keyword in ["anyOf", "oneOf"] {
            let branches = keywords.get(keyword).and_then(Value::as_array).into_iter().flatten();
            let mut reasons = Vec::new();
            for branch in branches.filter(|branch| branch.get("type").is_none_or(|kind| kind != "null")) {
                match self.value(branch, path, depth + 1) {
                    Ok(value) => return Ok(self.with_properties(value, keywords, path, depth)),
                    Err(reason) => reasons.push(reason),
                }
            }
            if let Some(reason) = reasons.into_iter().next() {
                return Err(reason);
            }
        }
        match kind(keywords) {
            "string" => Ok(self.text(keywords, path).into()),
            "integer" | "number" => Ok(number(keywords)),
            "boolean" => Ok(false.into()),
            "array" => self.array(keywords, path, depth),
            "object" => self.object(keywords, path, depth),
            _ => Ok(Value::Null),
        }
    }

    /// Adds the required properties beside the variants of an object.
    fn with_properties(&mut self, value: Value, keywords: &Map<String, Value>, path: &str, depth: usize) -> Value {
        match (value, self.object(keywords, path, depth)) {
            (Value::Object(mut variant), Ok(Value::Object(common))) => {
                variant.extend(common);
                variant.into()
            }
            (value, _) => value,
        }
    }

    /// Returns an object with the required properties, the secrets, and the properties that have a default or an
    /// example.
    fn object(&mut self, keywords: &Map<String, Value>, path: &str, depth: usize) -> Result<Value, String> {
        let required: Vec<&str> = keywords
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut object = Map::new();
        for (name, member) in keywords.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let resolved = self.schema.resolve(member);
            let is_given = member
                .as_object()
                .into_iter()
                .chain(resolved)
                .any(|keywords| given(keywords).is_some() || is_secret(keywords));
            if required.contains(&name.as_str()) || is_given {
                object.insert(name.clone(), self.value(member, &inner, depth + 1)?);
            }
        }
        Ok(object.into())
    }

    fn array(&mut self, keywords: &Map<String, Value>, path: &str, depth: usize) -> Result<Value, String> {
        let count = keywords.get("minItems").and_then(Value::as_u64).unwrap_or_default().min(8);
        let items = keywords.get("items").cloned().unwrap_or(Value::Bool(true));
        (0..count).map(|_| self.value(&items, path, depth + 1)).collect::<Result<Vec<Value>, _>>().map(Value::from)
    }

    fn text(&self, keywords: &Map<String, Value>, path: &str) -> String {
        let format = keywords.get("format").and_then(Value::as_str).unwrap_or_default();
        let mut text = match format {
            "date" => "2024-01-31".to_owned(),
            "date-time" => "2024-01-31T12:00:00Z".to_owned(),
            "uuid" => "00000000-0000-4000-8000-000000000000".to_owned(),
            "uri" | "url" => URL.to_owned(),
            _ if self.urls.contains(path) => URL.to_owned(),
            _ => "sample".to_owned(),
        };
        let length = |keyword: &str| keywords.get(keyword).and_then(Value::as_u64).map(|length| length as usize);
        if let Some(minimum) = length("minLength").filter(|minimum| *minimum <= 1 << 16) {
            while text.len() < minimum {
                text.push('a');
            }
        }
        if let Some(maximum) = length("maxLength") {
            text.truncate(maximum);
        }
        text
    }
}

fn is_secret(keywords: &Map<String, Value>) -> bool {
    keywords.contains_key("x-secret") || keywords.get("format").is_some_and(|format| format == "password")
}

/// Returns the value that a schema names: its only value, its default, its first example or choice.
fn given(keywords: &Map<String, Value>) -> Option<Value> {
    let first = |keyword: &str| keywords.get(keyword)?.as_array()?.iter().find(|value| !value.is_null());
    let value = keywords.get("const").or_else(|| first("examples"));
    let value = value.or_else(|| keywords.get("default").filter(|value| !value.is_null()));
    value.or_else(|| first("enum")).cloned()
}

/// Returns the type of a schema other than `null`.
fn kind(keywords: &Map<String, Value>) -> &str {
    match keywords.get("type") {
        Some(Value::String(one)) => one,
        Some(Value::Array(many)) => {
            many.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("null")
        }
        _ if keywords.contains_key("properties") => "object",
        _ => "null",
    }
}

fn number(keywords: &Map<String, Value>) -> Value {
    let bound = |keyword: &str| keywords.get(keyword).and_then(Value::as_i64);
    let value = match (bound("minimum"), bound("exclusiveMinimum"), bound("maximum")) {
        (Some(minimum), _, _) => minimum.max(1),
        (None, Some(minimum), _) => minimum.saturating_add(1),
        (None, None, Some(maximum)) => maximum.min(1),
        (None, None, None) => 1,
    };
    value.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(schema: Value) -> Result<Value, String> {
        let schema = Schema::compile(schema).expect("a good schema");
        let document = Sampler::new(&schema, "[\"http {config.url}\"]").document()?;
        assert_eq!(schema.check(&document), [], "{document}");
        Ok(document)
    }

    #[test]
    fn a_sample_is_valid() {
        let document = sample(json!({
            "type": "object", "additionalProperties": false,
            "required": ["url", "port", "name", "kind", "mode", "inner", "tags"],
            "properties": {
                "url": {"type": "string"},
                "port": {"type": "integer", "minimum": 1024},
                "name": {"type": "string", "examples": ["Ada"], "minLength": 2},
                "kind": {"enum": ["lion", "zebra"]},
                "mode": {"oneOf": [{"const": "fast", "description": "Fast."}, {"const": "slow"}]},
                "inner": {"$ref": "#/$defs/inner"},
                "tags": {"type": "array", "minItems": 2, "items": {"type": "string", "minLength": 8}},
                "token": {"type": ["string", "null"], "x-secret": {"audience": []}},
                "limit": {"type": "integer", "default": 7},
                "note": {"type": "string"}
            },
            "$defs": {"inner": {"type": "object", "required": ["day"], "properties": {"day": {"type": "string", "format": "date"}}}}
        }));
        assert_eq!(
            document.expect("a sample"),
            json!({
                "url": URL, "port": 1024, "name": "Ada", "kind": "lion", "mode": "fast", "inner": {"day": "2024-01-31"},
                "tags": ["sampleaa", "sampleaa"], "token": "canary0secret0value1", "limit": 7
            })
        );
    }

    #[test]
    fn a_required_block_is_the_reason_for_no_sample() {
        let schema = json!({
            "type": "object", "required": ["account"], "properties": {"account": {"type": "object", "x-block": "keeper"}}
        });
        assert_eq!(sample(schema), Err("`account` requires another block".to_owned()));
    }
}
