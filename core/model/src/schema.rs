//! JSON Schemas (2020-12) of configurations, arguments and results, with Blockyard's extension for
//! secret fields: `"writeOnly": true, "format": "password", "x-secret": {"audience": ...}`.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::cost::{self, Excess, Steps};
use crate::document::{Pointer, SecretLocation, Violation};
use crate::exact::{self, ExactError};
use crate::graph::{Budget, Graph, referenced};
pub use crate::places::Places;
use crate::places::{find, unknown_members};
use crate::reference::{REFERENCE_KEYWORD, Wanted, block_marker};
use crate::secret_use::SecretKeyword;
use crate::validation::ErrorConverter;
use crate::{Digest, limits};

/// A compiled schema. It validates documents and finds their secrets.
pub struct Schema {
    document: Value,
    validator: jsonschema::Validator,
    graph: Graph,
}

/// Error for a schema that cannot be compiled.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not a valid JSON Schema (2020-12): {0}")]
pub struct SchemaError(String);

impl Schema {
    /// Compiles a schema, which is guest-controlled. Regular expressions run in linear time. A
    /// `$ref` to a location outside of the schema is rejected, and so is a schema that exceeds the
    /// [limits].
    ///
    /// # Errors
    /// Returns [`SchemaError`] with the reason.
    pub fn compile(document: Value) -> Result<Self, SchemaError> {
        Self::compile_within(document, &mut Budget::default())
    }

    /// Compiles like [`compile`](Self::compile), for a schema that shares its limits with the other
    /// schemas of a bundle.
    pub(crate) fn compile_within(document: Value, budget: &mut Budget) -> Result<Self, SchemaError> {
        let graph = Graph::of(&document, budget).map_err(SchemaError)?;
        let build = || {
            jsonschema::options()
                .with_draft(jsonschema::Draft::Draft202012)
                .offline()
                .with_pattern_options(
                    jsonschema::PatternOptions::regex()
                        .size_limit(limits::PATTERN_BYTES)
                        .dfa_size_limit(limits::PATTERN_BYTES),
                )
                .should_validate_formats(true)
                // The built-in format would compile an expression that the document contains.
                .with_format("regex", |_: &str| true)
                .build(&with_bounds(&document, false))
                .map_err(|error| SchemaError(error.to_string()))
        };
        let validator = with_stack(graph.levels, build).unwrap_or_else(|| Err(SchemaError(NO_STACK.to_owned())))?;
        Ok(Self { document, validator, graph })
    }

    /// Returns the schema document.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Returns all violations of a document without secrets, ordered by location. As in JSON
    /// Schema, an object may have members that its schema does not name.
    #[must_use]
    pub fn check(&self, instance: &Value) -> Vec<Violation> {
        self.violations(instance, &[], &[], false)
    }

    /// Validates like [`check`](Self::check), but for user input: a member that the schema does not
    /// name is a violation, at every depth, unless the schema permits it explicitly.
    #[must_use]
    pub fn check_closed(&self, instance: &Value) -> Vec<Violation> {
        self.violations(instance, &[], &[], true)
    }

    /// Returns true if validating this document takes at most about a millisecond. Longer
    /// validations must not run on a thread that serves other requests.
    #[must_use]
    pub fn is_quick(&self, instance: &Value) -> bool {
        cost::count_within(&self.graph, instance, limits::QUICK_STEPS).is_ok()
    }

    /// Validates like [`check`](Self::check), with placeholders for secrets. For locations in
    /// `sealed` only type and length are validated; for locations in `unvalidated` (sources,
    /// references) nothing is.
    pub(crate) fn violations(
        &self,
        instance: &Value,
        sealed: &[Pointer],
        unvalidated: &[Pointer],
        closed: bool,
    ) -> Vec<Violation> {
        let whole = |message: &str| vec![Violation::new(Pointer::default(), message)];
        let steps = match cost::count(&self.graph, instance) {
            Ok(steps) => steps,
            Err(Excess::Depth) => {
                return whole(&format!("nests deeper than {} levels", limits::DOCUMENT_DEPTH));
            }
            Err(Excess::Steps) => return whole("is too large to be validated"),
        };
        let found = self.with_stack(instance, || {
            self.found(instance, &steps, &ErrorConverter { schema: self, sealed, unvalidated }, closed)
        });
        found.unwrap_or_else(|| whole(NO_STACK))
    }

    fn found(&self, instance: &Value, steps: &Steps, validation: &ErrorConverter<'_>, closed: bool) -> Vec<Violation> {
        let mut violations = Vec::new();
        if steps.listing <= limits::LISTED_STEPS {
            for error in self.validator.iter_errors(instance) {
                validation.describe(&error, &mut violations);
                if violations.len() >= limits::DOCUMENT_VIOLATIONS {
                    break;
                }
            }
        } else if !self.validator.is_valid(instance) {
            violations.push(Violation::new(
                Pointer::default(),
                "is not valid for its schema; it is too large to list the errors",
            ));
        }
        let places = find(&self.graph, instance);
        for pointer in places.fractions {
            violations.push(Violation::new(pointer, "must be an integer, written without a fraction"));
        }
        if places.incomplete {
            violations.push(Violation::new(Pointer::default(), "is too large to be searched for secrets"));
        }
        if closed {
            let unknown = unknown_members(&self.graph, instance);
            violations.extend(unknown.into_iter().filter(|own| !validation.is_unvalidated(&own.pointer)));
        }
        // Of two equal messages the one with a hint is retained.
        violations.sort_by(|a, b| {
            a.pointer.cmp(&b.pointer).then(a.message.cmp(&b.message)).then(b.hint.is_some().cmp(&a.hint.is_some()))
        });
        violations.dedup_by(|a, b| a.pointer == b.pointer && a.message == b.message);
        violations.truncate(limits::DOCUMENT_VIOLATIONS);
        violations
    }

    /// Runs a traversal of this schema and a document on a thread with sufficient stack.
    fn with_stack<T: Send>(&self, instance: &Value, walk: impl FnOnce() -> T + Send) -> Option<T> {
        with_stack(self.graph.depth * depth(instance, 0) / LEVELS_OF_A_WALK, walk)
    }

    /// Returns the part of the schema at the path of a validation error. The path passes through
    /// `$ref`s.
    pub(crate) fn at(&self, schema_path: &str) -> Option<&Value> {
        let mut here = &self.document;
        for token in Pointer::new(schema_path).tokens() {
            here = match token.as_str() {
                "$ref" => self.reference(here.as_object()?)?,
                _ => match here {
                    Value::Object(members) => members.get(&token)?,
                    Value::Array(elements) => elements.get(token.parse::<usize>().ok()?)?,
                    _ => return None,
                },
            };
        }
        Some(here)
    }

    /// Returns the properties of the object schema whose `additionalProperties` failed.
    pub(crate) fn known_fields(&self, schema_path: &str) -> Vec<String> {
        schema_path
            .rsplit_once('/')
            .and_then(|(parent, _)| self.at(parent))
            .and_then(|schema| schema.get("properties"))
            .and_then(Value::as_object)
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Returns the locations of the document's secrets and references, including possible ones. All
    /// branches of `oneOf`, `anyOf`, `allOf` and conditions are searched: a location that any of
    /// them declares secret is secret.
    #[must_use]
    pub fn places(&self, instance: &Value) -> Places {
        self.with_stack(instance, || find(&self.graph, instance))
            .unwrap_or_else(|| Places { incomplete: true, ..Places::default() })
    }

    /// Returns the secrets among the [`places`](Self::places).
    #[must_use]
    pub fn secrets(&self, instance: &Value) -> Vec<SecretLocation> {
        self.places(instance).secrets
    }

    /// Returns the schemas that apply, or may apply, to the same value as these keywords.
    fn alternatives<'a>(&'a self, keywords: &'a Map<String, Value>) -> Vec<&'a Value> {
        let mut found: Vec<&Value> = self.reference(keywords).into_iter().collect();
        for keyword in ["allOf", "anyOf", "oneOf"] {
            found.extend(keywords.get(keyword).and_then(Value::as_array).into_iter().flatten());
        }
        found.extend(["then", "else"].into_iter().filter_map(|keyword| keywords.get(keyword)));
        found.extend(keywords.get("dependentSchemas").and_then(Value::as_object).into_iter().flat_map(Map::values));
        found
    }

    /// Returns the schema in this document that the `$ref` among these keywords refers to.
    pub(crate) fn reference(&self, keywords: &Map<String, Value>) -> Option<&Value> {
        referenced(&self.document, keywords.get("$ref")?.as_str()?)
    }

    /// Returns the keywords that apply to the field at this pointer, with `$ref` resolved. Returns
    /// `None` if the schema does not declare the field.
    #[must_use]
    pub fn field(&self, pointer: &Pointer) -> Option<&Map<String, Value>> {
        self.fields(pointer).into_iter().next()
    }

    /// Returns all keywords that may apply to the field at this pointer: one set for each branch
    /// that declares the field, with `$ref` resolved.
    fn fields(&self, pointer: &Pointer) -> Vec<&Map<String, Value>> {
        let mut schemas = vec![&self.document];
        for token in pointer.tokens() {
            let mut next = Vec::new();
            let mut seen = HashSet::new();
            for schema in schemas {
                self.step(schema, &token, &mut seen, &mut next);
            }
            // Several branches may refer to the same schema.
            let mut unique = HashSet::new();
            next.retain(|schema| unique.insert(std::ptr::from_ref(*schema)));
            schemas = next;
        }
        schemas.into_iter().filter_map(|schema| self.resolve(schema)).collect()
    }

    fn step<'a>(&'a self, schema: &'a Value, token: &str, seen: &mut HashSet<*const Value>, next: &mut Vec<&'a Value>) {
        let Some(keywords) = schema.as_object().filter(|_| seen.insert(std::ptr::from_ref(schema))) else { return };
        next.extend(members_of(keywords, token));
        if let Ok(index) = token.parse() {
            next.extend(elements_of(keywords, index));
        }
        for alternative in self.alternatives(keywords) {
            self.step(alternative, token, seen, next);
        }
    }

    /// Resolves `$ref`, and an `anyOf` of one schema and `null`, which declares an optional value.
    pub(crate) fn resolve<'a>(&'a self, schema: &'a Value) -> Option<&'a Map<String, Value>> {
        let mut keywords = schema.as_object()?;
        for _ in 0..=2 * limits::SCHEMA_DEPTH {
            // The keywords next to a `$ref` declare a secret or a reference, regardless of the
            // target.
            if secret_audience(keywords).is_some() || keywords.contains_key(REFERENCE_KEYWORD) {
                return Some(keywords);
            }
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

    /// Returns true if the field at this pointer is, or may be, a secret.
    #[must_use]
    pub fn is_secret(&self, pointer: &Pointer) -> bool {
        self.fields(pointer).into_iter().any(|keywords| secret_audience(keywords).is_some())
    }

    /// Returns true if the field at this pointer is, or may be, a reference to another block.
    #[must_use]
    pub fn is_reference(&self, pointer: &Pointer) -> bool {
        self.fields(pointer).into_iter().any(|keywords| Wanted::of(keywords).is_some())
    }

    /// Returns the parts of the schema that prevent finding all secrets and references: a `$ref` by
    /// name, or a secret or reference in a subschema that the search does not visit. For manifest
    /// validation.
    #[must_use]
    pub fn hidden_places(&self) -> Vec<String> {
        let mut problems = Vec::new();
        hidden(&self.document, &Pointer::default(), false, &mut problems);
        problems
    }

    /// Converts text into a value for the field at this pointer, according to the field's type:
    /// `5432` becomes a number for a number field, and a string for a string field. Objects and
    /// arrays are parsed as JSON. Text that does not fit becomes a string, which validation then
    /// rejects.
    ///
    /// # Errors
    /// Returns an error if the field accepts no string, and the text begins like an array, an
    /// object or, for a number field, a number, but is not valid JSON.
    pub fn parse_value(&self, pointer: &Pointer, text: &str) -> Result<Value, ExactError> {
        self.value_of(pointer, text, exact::parse(text))
    }

    /// Converts like [`parse_value`](Self::parse_value), for an argument of an operation: numbers
    /// keep all digits.
    ///
    /// # Errors
    /// Returns an error as [`parse_value`](Self::parse_value) does.
    pub fn parse_argument(&self, pointer: &Pointer, text: &str) -> Result<Value, ExactError> {
        self.value_of(pointer, text, exact::parse_value(text))
    }

    /// Returns the types that the field at this pointer accepts; empty if the schema names none.
    fn types(&self, pointer: &Pointer) -> Vec<&str> {
        let keywords = self.fields(pointer).into_iter();
        keywords
            .flat_map(|keywords| match keywords.get("type") {
                Some(Value::String(one)) => vec![one.as_str()],
                Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            })
            .collect()
    }

    fn value_of(&self, pointer: &Pointer, text: &str, parsed: Result<Value, ExactError>) -> Result<Value, ExactError> {
        let types = self.types(pointer);
        let takes = |name: &str| types.contains(&name);
        let text_is_wanted = takes("string");
        let number_is_wanted = takes("number") || takes("integer");
        let start = text.trim_start();
        let is_nested = start.starts_with(['[', '{']);
        // The validator describes other numbers, such as those with too many digits.
        let is_misspelled = |error: &ExactError| {
            let like_number =
                start.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.'));
            number_is_wanted && like_number && matches!(error, ExactError::NotJson(_))
        };
        let parsed = match parsed {
            Ok(value) => Some(value),
            Err(error) if !text_is_wanted && (is_nested || is_misspelled(&error)) => return Err(error),
            Err(_) => None,
        };
        if self.is_reference(pointer) {
            return Ok(parsed.filter(Value::is_object).unwrap_or_else(|| block_marker(text)));
        }
        let fits = |value: &Value| match value {
            Value::Null => takes("null"),
            Value::Bool(_) => takes("boolean"),
            Value::Number(number) => takes("number") || takes("integer") && !number.is_f64(),
            Value::String(_) => false,
            Value::Array(_) => takes("array"),
            Value::Object(_) => takes("object"),
        };
        Ok(match parsed {
            // Validation rejects a fraction in an integer field.
            Some(value @ Value::Number(_)) if !text_is_wanted && number_is_wanted => value,
            Some(value) if !text_is_wanted && (fits(&value) || types.is_empty() && !value.is_string()) => value,
            Some(value) if text_is_wanted && !value.is_null() && fits(&value) && types.len() > 1 => value,
            _ => Value::from(text),
        })
    }
}

/// Message for a validation that could not run.
const NO_STACK: &str = "cannot be validated: out of memory";
/// Number of levels for which the stack of every thread is sufficient.
const USUAL_LEVELS: usize = 48;
/// Stack size for one level of compiling a schema, in bytes, in a build without optimization.
const STACK_OF_A_LEVEL: usize = 32 << 10;
/// Number of levels of a traversal that take as much stack as one level of compiling.
const LEVELS_OF_A_WALK: usize = 8;

/// Runs `work`, which recurses to this depth, on a separate thread if the default stack is not
/// sufficient; `None` if no thread can be started.
fn with_stack<T: Send>(levels: usize, work: impl FnOnce() -> T + Send) -> Option<T> {
    if levels <= USUAL_LEVELS {
        return Some(work());
    }
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(levels * STACK_OF_A_LEVEL);
        let thread = builder.spawn_scoped(scope, work).ok()?;
        match thread.join() {
            Ok(done) => Some(done),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Returns the nesting depth of a document. Levels beyond the limit are not visited.
fn depth(value: &Value, above: usize) -> usize {
    let deepest = match value {
        _ if above > limits::DOCUMENT_DEPTH => None,
        Value::Object(members) => members.values().map(|member| depth(member, above + 1)).max(),
        Value::Array(elements) => elements.iter().map(|element| depth(element, above + 1)).max(),
        _ => None,
    };
    1 + deepest.unwrap_or(0)
}

/// Returns true if these keywords accept integers and no other numbers.
pub(crate) fn wants_integer(keywords: &Map<String, Value>) -> bool {
    let wants = |wanted: &str| match keywords.get("type") {
        Some(Value::String(one)) => one == wanted,
        Some(Value::Array(many)) => many.iter().any(|one| one == wanted),
        _ => false,
    };
    wants("integer") && !wants("number")
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

/// Keywords whose schemas test a value but do not describe its structure. Searches do not visit
/// them.
const NOT_WALKED: [&str; 5] = ["not", "if", "contains", "propertyNames", "contentSchema"];

fn hidden(schema: &Value, pointer: &Pointer, unseen: bool, problems: &mut Vec<String>) {
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
    if unseen && (secret_audience(keywords).is_some() || keywords.contains_key(REFERENCE_KEYWORD)) {
        problems.push(format!("`{pointer}`: a secret or a reference cannot be declared here"));
    }
    let uses = secret_audience(keywords).unwrap_or_default();
    problems.extend(uses.problems().into_iter().map(|problem| format!("`{pointer}`: {problem}")));
    if let Some(keyword) = keywords.get(REFERENCE_KEYWORD)
        && let Err(problem) = Wanted::parse(keyword)
    {
        problems.push(format!("`{pointer}`: {problem}"));
    }
    for (keyword, value) in keywords {
        let place = pointer.child(keyword);
        match keyword.as_str() {
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                for (name, subschema) in value.as_object().into_iter().flatten() {
                    hidden(subschema, &place.child(name), unseen, problems);
                }
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                for (index, subschema) in value.as_array().into_iter().flatten().enumerate() {
                    hidden(subschema, &place.child(&index.to_string()), unseen, problems);
                }
            }
            // These keywords contain values, not schemas.
            "const" | "enum" | "default" | "examples" => {}
            other => hidden(value, &place, unseen || NOT_WALKED.contains(&other), problems),
        }
    }
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.document.fmt(f)
    }
}

/// Returns the permitted uses of a secret field; `None` if the keywords do not declare a secret. A
/// password field without `x-secret` is a secret without permitted uses.
pub(crate) fn secret_audience(keywords: &Map<String, Value>) -> Option<SecretKeyword> {
    let marked = keywords.get("writeOnly") == Some(&Value::Bool(true))
        && keywords.get("format").is_some_and(|format| format == "password");
    match keywords.get("x-secret") {
        Some(secret) => Some(SecretKeyword::read(secret)),
        None => marked.then(SecretKeyword::default),
    }
}

/// Adds the bounds of integer formats such as `uint32`, which the validator ignores: a bundle cannot
/// read a number outside of them. `names` is true if the members of `value` are field names.
fn with_bounds(value: &Value, names: bool) -> Value {
    let keywords = match value {
        Value::Object(keywords) => keywords,
        Value::Array(elements) => return elements.iter().map(|element| with_bounds(element, false)).collect(),
        other => return other.clone(),
    };
    let member = |(key, member): (&String, &Value)| {
        let is_value = !names && matches!(key.as_str(), "const" | "enum" | "default" | "examples");
        let names = !names
            && matches!(
                key.as_str(),
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas"
            );
        (key.clone(), if is_value { member.clone() } else { with_bounds(member, names) })
    };
    let mut bounded: Map<String, Value> = keywords.iter().map(member).collect();
    if !names && let Some((least, most)) = integer_bounds(keywords) {
        if !keywords.contains_key("exclusiveMinimum") {
            bounded.entry("minimum").or_insert(least);
        }
        if !keywords.contains_key("exclusiveMaximum") {
            bounded.entry("maximum").or_insert(most);
        }
    }
    Value::Object(bounded)
}

/// Returns the bounds of the format of an integer field.
fn integer_bounds(keywords: &Map<String, Value>) -> Option<(Value, Value)> {
    let is_integer = match keywords.get("type")? {
        Value::Array(types) => types.iter().any(|name| name == "integer"),
        name => name == "integer",
    };
    let format = keywords.get("format")?.as_str().filter(|_| is_integer)?;
    Some(match format {
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "int64" => (i64::MIN.into(), i64::MAX.into()),
        "uint8" => (0.into(), u8::MAX.into()),
        "uint16" => (0.into(), u16::MAX.into()),
        "uint32" => (0.into(), u32::MAX.into()),
        "uint64" => (0.into(), u64::MAX.into()),
        _ => return None,
    })
}

/// Computes the checksum of a schema: SHA-256 of its canonical JSON (RFC 8785) without
/// descriptions.
#[must_use]
pub fn checksum(document: &Value) -> Digest {
    let bare = without_descriptions(document, false);
    let canonical = serde_json_canonicalizer::to_vec(&bare).expect("JSON with text keys always has a canonical form");
    Digest::of(&canonical)
}

/// Removes the keywords that only describe. `names` is true if the members of `value` are field
/// names, all of which are kept.
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

pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        // `1e400` is not a double.
        Value::Number(number) if number.to_string().contains(['.', 'e', 'E']) => "number",
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
        let parse =
            |field: &str, text: &str| schema().parse_value(&Pointer::from_dotted(field), text).expect("a value");
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
    fn text_that_is_almost_json_is_an_error() {
        let parse = |field: &str, text: &str| schema().parse_value(&Pointer::from_dotted(field), text);
        for (field, text) in [
            ("options", r#"{"a": "1", "a": "2"}"#),
            ("options", r#"{"a": 1e400}"#),
            ("options", "{"),
            ("port", "05432"),
            ("port", "+5432"),
        ] {
            assert!(parse(field, text).is_err(), "{field}={text}");
        }
        // Validation rejects a number with a fraction, and one with too many digits.
        assert_eq!(parse("port", "5432.0").expect("a number"), json!(5432.0));
        assert_eq!(parse("port", "18446744073709551616").expect("text"), json!("18446744073709551616"));
        assert_eq!(parse("zip", "{").expect("text"), json!("{"));
    }

    #[test]
    fn integer_formats_have_bounds() {
        let schema = Schema::compile(json!({
            "properties": {
                "size": {"type": "integer", "format": "uint32", "minimum": 0},
                "level": {"type": ["integer", "null"], "format": "int8"},
                "format": {"type": "string", "const": "uint32"},
                "type": {"type": "integer"}
            }
        }))
        .expect("a schema");
        let numbers = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        for ok in
            [r#"{"size": 4294967295, "level": -128, "format": "uint32", "type": 5000000000}"#, r#"{"level": null}"#]
        {
            assert_eq!(schema.check(&numbers(ok)).len(), 0, "{ok}");
        }
        for wrong in [r#"{"size": 4294967296}"#, r#"{"size": 18446744073709551617}"#, r#"{"level": 128}"#] {
            let violations = schema.check(&numbers(wrong));
            assert!(
                violations.iter().any(|violation| violation.message.contains("maximum")),
                "{wrong}: {violations:?}"
            );
        }
        assert_eq!(kind(&numbers("1e400")), "number");
        assert_eq!(kind(&numbers("18446744073709551617")), "integer");
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

    /// The checksum is that of the canonical form (RFC 8785), regardless of the enabled features of
    /// `serde_json`.
    #[test]
    fn a_checksum_is_that_of_the_canonical_form() {
        let schema: Value = serde_json::from_str(
            r#"{"enum": [1, 1.50, 1e3, 1E30, -0.0, "\u00e9", null], "const": {"b": true, "a": []}}"#,
        )
        .expect("JSON");
        let canonical = r#"{"const":{"a":[],"b":true},"enum":[1,1.5,1000,1e+30,0,"é",null]}"#;
        assert_eq!(checksum(&schema), Digest::of(canonical.as_bytes()));
    }

    #[test]
    fn remote_references_and_bad_schemas_are_refused() {
        assert!(Schema::compile(json!({"$ref": "https://example.com/schema.json"})).is_err());
        assert!(Schema::compile(json!({"type": "strange"})).is_err());
    }
}
