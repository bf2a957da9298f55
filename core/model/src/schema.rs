//! JSON Schemas (2020-12) of configurations, arguments and results, with Blockyard's extension
//! for secret fields: `"writeOnly": true, "format": "password", "x-secret": {"audience": …}`.

use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use crate::Digest;
use crate::document::{Pointer, SecretPlace, Violation};
use crate::suggestion::did_you_mean;

/// How deep schemas and documents are followed together. A configuration that nests deeper is
/// refused by the JSON parser (128 levels) before it comes here.
const MAX_DEPTH: usize = 128;

/// A compiled schema: it can tell what is wrong with a document, and where its secrets stand.
pub struct Schema {
    document: Value,
    validator: jsonschema::Validator,
}

/// A schema that does not compile.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not a valid JSON Schema (2020-12): {0}")]
pub struct SchemaError(String);

impl Schema {
    /// Compiles a schema. Regular expressions run in linear time; a `$ref` that leads out of the
    /// schema is refused.
    ///
    /// # Errors
    /// [`SchemaError`] with the reason.
    pub fn compile(document: Value) -> Result<Self, SchemaError> {
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .offline()
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .should_validate_formats(true)
            .build(&document)
            .map_err(|error| SchemaError(error.to_string()))?;
        Ok(Self { document, validator })
    }

    /// The schema itself.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// All that is wrong with a document that has no secrets, at once, in the order of the places.
    #[must_use]
    pub fn check(&self, instance: &Value) -> Vec<Violation> {
        self.violations(instance, &[], &[])
    }

    /// As [`check`](Self::check), with placeholders at the secrets' places: of a sealed secret
    /// only type and length are judged, of a sourced one nothing.
    pub(crate) fn violations(&self, instance: &Value, sealed: &[Pointer], sourced: &[Pointer]) -> Vec<Violation> {
        let mut violations = Vec::new();
        for error in self.validator.iter_errors(instance) {
            let place = Pointer::new(error.instance_path().as_str());
            let unjudged = sourced.contains(&place)
                || sealed.contains(&place)
                    && matches!(
                        error.kind(),
                        ValidationErrorKind::Pattern { .. }
                            | ValidationErrorKind::Format { .. }
                            | ValidationErrorKind::Enum { .. }
                            | ValidationErrorKind::Constant { .. }
                    );
            if !unjudged {
                self.describe(&error, place, &mut violations);
            }
        }
        violations.sort_by(|a, b| a.pointer.cmp(&b.pointer).then(a.message.cmp(&b.message)));
        violations.dedup();
        violations
    }

    fn describe(&self, error: &jsonschema::ValidationError<'_>, place: Pointer, violations: &mut Vec<Violation>) {
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = self.known_fields(error.schema_path().as_str());
                for field in unexpected {
                    violations.push(Violation {
                        pointer: place.child(field),
                        message: format!("unknown field `{}`", crate::name::printable(field)),
                        hint: did_you_mean(field, known.iter().map(String::as_str)),
                    });
                }
            }
            ValidationErrorKind::Required { property } => {
                let field = property.as_str().unwrap_or_default();
                violations.push(Violation::new(place.child(field), "is missing, and it is required"));
            }
            ValidationErrorKind::Enum { options } => {
                let options: Vec<String> = match options.as_ref() {
                    Value::Array(options) => options.iter().map(plain).collect(),
                    _ => Vec::new(),
                };
                let given = plain(error.instance());
                violations.push(Violation {
                    pointer: place,
                    message: format!("must be one of `{}`", options.join("`, `")),
                    hint: did_you_mean(&given, options.iter().map(String::as_str)),
                });
            }
            ValidationErrorKind::MinLength { limit } => {
                violations.push(Violation::new(place, format!("must have at least {limit} characters")))
            }
            ValidationErrorKind::MaxLength { limit } => {
                violations.push(Violation::new(place, format!("must have at most {limit} characters")))
            }
            ValidationErrorKind::Type { .. } => {
                let wanted = self
                    .document
                    .pointer(error.schema_path().as_str())
                    .map(|types| match types {
                        Value::Array(types) => types.iter().map(plain).collect::<Vec<_>>().join("` or `"),
                        single => plain(single),
                    })
                    .unwrap_or_default();
                violations.push(Violation::new(
                    place,
                    format!("must be of type `{wanted}`, not `{}`", kind(error.instance())),
                ));
            }
            // The library's own words for the rest, without the value: it may be a secret's neighbour.
            _ => violations.push(Violation::new(place, error.masked_with("the value").to_string())),
        }
    }

    /// The fields of the object schema whose `additionalProperties` failed.
    fn known_fields(&self, schema_path: &str) -> Vec<String> {
        schema_path
            .rsplit_once('/')
            .and_then(|(parent, _)| self.document.pointer(parent))
            .and_then(|schema| schema.get("properties"))
            .and_then(Value::as_object)
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Where this document has, or may have, a secret. Every branch of `oneOf`, `anyOf` and
    /// `allOf` counts: a place that any of them calls secret is secret.
    #[must_use]
    pub fn secrets(&self, instance: &Value) -> Vec<SecretPlace> {
        let mut places = Vec::new();
        self.walk(&self.document, instance, &Pointer::default(), 0, &mut places);
        places.sort_by(|a, b| a.pointer.cmp(&b.pointer));
        places.dedup_by(|a, b| a.pointer == b.pointer);
        places
    }

    fn walk(&self, schema: &Value, instance: &Value, pointer: &Pointer, depth: usize, places: &mut Vec<SecretPlace>) {
        let Some(keywords) = schema.as_object().filter(|_| depth < MAX_DEPTH) else {
            return;
        };
        if let Some(audience) = secret_audience(keywords) {
            places.push(SecretPlace { pointer: pointer.clone(), audience });
            return;
        }
        if let Some(target) = self.reference(keywords) {
            self.walk(target, instance, pointer, depth + 1, places);
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for branch in keywords.get(keyword).and_then(Value::as_array).into_iter().flatten() {
                self.walk(branch, instance, pointer, depth + 1, places);
            }
        }
        match instance {
            Value::Object(object) => {
                for (key, member) in object {
                    let place = pointer.child(key);
                    let own = keywords.get("properties").and_then(|fields| fields.get(key));
                    if let Some(subschema) = own.or_else(|| keywords.get("additionalProperties")) {
                        self.walk(subschema, member, &place, depth + 1, places);
                    }
                    for subschema in
                        keywords.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::values)
                    {
                        self.walk(subschema, member, &place, depth + 1, places);
                    }
                }
            }
            Value::Array(array) => {
                let prefix = keywords.get("prefixItems").and_then(Value::as_array);
                for (index, element) in array.iter().enumerate() {
                    let subschema = prefix.and_then(|items| items.get(index)).or_else(|| keywords.get("items"));
                    if let Some(subschema) = subschema {
                        let place = pointer.child(&index.to_string());
                        self.walk(subschema, element, &place, depth + 1, places);
                    }
                }
            }
            _ => {}
        }
    }

    /// The schema that a `$ref` of these keywords leads to, within this document.
    pub(crate) fn reference(&self, keywords: &Map<String, Value>) -> Option<&Value> {
        let pointer = keywords.get("$ref")?.as_str()?.strip_prefix('#')?;
        self.document.pointer(pointer)
    }

    /// The keywords that apply to the field at this pointer, through `$ref`; none where the
    /// schema does not name the field.
    #[must_use]
    pub fn field(&self, pointer: &Pointer) -> Option<&Map<String, Value>> {
        let mut schema = self.resolve(&self.document)?;
        for token in pointer.tokens() {
            let next = schema
                .get("properties")
                .and_then(|fields| fields.get(&token))
                .or_else(|| schema.get("additionalProperties").filter(|s| s.is_object()))
                .or_else(|| schema.get("items"))?;
            schema = self.resolve(next)?;
        }
        Some(schema)
    }

    /// Follows `$ref`, and the one branch of an `anyOf` with `null` that is not `null` (an option).
    pub(crate) fn resolve<'a>(&'a self, schema: &'a Value) -> Option<&'a Map<String, Value>> {
        let mut keywords = schema.as_object()?;
        for _ in 0..MAX_DEPTH {
            if let Some(target) = self.reference(keywords) {
                keywords = target.as_object()?;
                continue;
            }
            let branches = keywords.get("anyOf").and_then(Value::as_array);
            let mut real =
                branches.into_iter().flatten().filter(|branch| branch.get("type").is_none_or(|t| t != "null"));
            match (real.next(), real.next()) {
                (Some(only), None) => keywords = only.as_object()?,
                _ => return Some(keywords),
            }
        }
        None
    }

    /// Whether the field at this pointer is a secret.
    #[must_use]
    pub fn is_secret(&self, pointer: &Pointer) -> bool {
        self.field(pointer).is_some_and(|keywords| secret_audience(keywords).is_some())
            || self.raw_field(pointer).is_some_and(|keywords| secret_audience(keywords).is_some())
    }

    /// The field's own keywords, with its `$ref` not followed.
    fn raw_field(&self, pointer: &Pointer) -> Option<&Map<String, Value>> {
        let mut tokens = pointer.tokens();
        let last = tokens.pop()?;
        let parent = tokens.iter().fold(Pointer::default(), |p, t| p.child(t));
        self.field(&parent)?.get("properties")?.get(&last)?.as_object()
    }

    /// A value for the field at this pointer from text, by the type that the schema gives the
    /// field: `5432` is a number where the schema wants one, and a text where it wants a text.
    /// Objects and arrays are read as JSON. What does not fit stays text, for validation to refuse.
    #[must_use]
    pub fn parse_value(&self, pointer: &Pointer, text: &str) -> Value {
        let keywords = self.field(pointer);
        let types: Vec<&str> = match keywords.and_then(|k| k.get("type")) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let parsed = serde_json::from_str::<Value>(text).ok();
        let fits = |value: &Value| match value {
            Value::Null => types.contains(&"null"),
            Value::Bool(_) => types.contains(&"boolean"),
            Value::Number(number) => types.contains(&"number") || types.contains(&"integer") && !number.is_f64(),
            Value::String(_) => false,
            Value::Array(_) => types.contains(&"array"),
            Value::Object(_) => types.contains(&"object"),
        };
        let text_is_wanted = types.contains(&"string");
        match parsed {
            Some(value) if !text_is_wanted && (fits(&value) || types.is_empty() && !value.is_string()) => value,
            Some(value) if text_is_wanted && !value.is_null() && fits(&value) && types.len() > 1 => value,
            _ => Value::from(text),
        }
    }
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.document.fmt(f)
    }
}

/// The audience of a secret field; none where the keywords describe no secret. A field that is
/// marked as a password without an audience is a secret that nothing may use.
pub(crate) fn secret_audience(keywords: &Map<String, Value>) -> Option<Vec<String>> {
    let marked = keywords.get("writeOnly") == Some(&Value::Bool(true))
        && keywords.get("format").is_some_and(|format| format == "password");
    let Some(secret) = keywords.get("x-secret") else {
        return marked.then(Vec::new);
    };
    Some(match secret.get("audience") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().map(plain).collect(),
        _ => Vec::new(),
    })
}

/// The checksum of a schema: sha256 of its canonical JSON (RFC 8785) without descriptions.
#[must_use]
pub fn checksum(document: &Value) -> Digest {
    let bare = without_descriptions(document, false);
    let canonical = serde_json_canonicalizer::to_vec(&bare).expect("JSON with text keys always has a canonical form");
    Digest::of(&canonical)
}

/// Drops the keywords that describe and do not decide. `names` says that the members are names
/// of fields, which stay, whatever they are called.
fn without_descriptions(value: &Value, names: bool) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .filter(|(key, _)| names || !matches!(key.as_str(), "description" | "title" | "examples" | "$comment"))
            .map(|(key, member)| {
                let names = !names && matches!(key.as_str(), "properties" | "$defs" | "patternProperties");
                (key.clone(), without_descriptions(member, names))
            })
            .collect(),
        Value::Array(array) => array.iter().map(|v| without_descriptions(v, false)).collect(),
        other => other.clone(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Schema {
        Schema::compile(json!({
            "type": "object",
            "properties": {
                "port": {"type": "integer"},
                "zip": {"type": "string"},
                "ratio": {"type": ["number", "null"]},
                "on": {"type": "boolean"},
                "options": {"type": "object", "additionalProperties": {"type": "string"}},
                "dialect": {"anyOf": [{"$ref": "#/$defs/dialect"}, {"type": "null"}]}
            },
            "$defs": {"dialect": {"type": "string", "enum": ["sqlite", "postgres"]}}
        }))
        .expect("a good schema")
    }

    #[test]
    fn text_becomes_what_the_schema_wants() {
        let parse = |field: &str, text: &str| schema().parse_value(&Pointer::from_dotted(field), text);
        assert_eq!(parse("port", "5432"), json!(5432));
        assert_eq!(parse("zip", "08540"), json!("08540"));
        assert_eq!(parse("zip", "8540"), json!("8540"));
        assert_eq!(parse("zip", "null"), json!("null"));
        assert_eq!(parse("ratio", "1.5"), json!(1.5));
        assert_eq!(parse("ratio", "null"), json!(null));
        assert_eq!(parse("on", "true"), json!(true));
        assert_eq!(parse("options.a", "7"), json!("7"));
        assert_eq!(parse("options", r#"{"a": "7"}"#), json!({"a": "7"}));
        assert_eq!(parse("port", "many"), json!("many"));
        assert_eq!(parse("dialect", "sqlite"), json!("sqlite"));
    }

    #[test]
    fn an_enum_names_its_words_and_the_nearest() {
        let violations = schema().check(&json!({"dialect": "postgre"}));
        assert_eq!(violations.len(), 1, "{violations:?}");
    }

    #[test]
    fn descriptions_do_not_change_the_checksum_and_fields_do() {
        let base = json!({"type": "object", "properties": {"title": {"type": "string"}}});
        let described =
            json!({"properties": {"title": {"description": "d", "type": "string"}}, "title": "T", "type": "object"});
        let renamed = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        assert_eq!(checksum(&base), checksum(&described));
        assert_ne!(checksum(&base), checksum(&renamed));
    }

    #[test]
    fn remote_references_and_bad_schemas_are_refused() {
        assert!(Schema::compile(json!({"$ref": "https://example.com/schema.json"})).is_err());
        assert!(Schema::compile(json!({"type": "strange"})).is_err());
    }
}
