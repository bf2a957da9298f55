//! JSON Schemas (2020-12) of configurations, arguments and results, with Blockyard's extension for
//! secret fields: `"writeOnly": true, "format": "password", "x-secret": {"audience": ...}`.

mod bounds;
mod checksum;
mod hidden;
mod keywords;
mod part;
mod stack;
mod text;
mod validation;

use std::sync::OnceLock;

use serde_json::{Map, Value};

use self::bounds::with_bounds;
pub use self::checksum::checksum;
use self::hidden::hidden;
use self::stack::{LEVELS_OF_A_WALK, depth, with_stack};
use self::validation::ErrorConverter;
use crate::cost::{self, Exceeded, Steps};
use crate::exact::{self, ExactError};
use crate::graph::{Budget, Graph};
use crate::limits;
use crate::locations::{Locations, SecretLocation, find, unknown_members};
use crate::pointer::Pointer;
use crate::reference::{PermittedTarget, block_marker};
use crate::secret_use::SecretKeyword;
use crate::violation::Violation;

/// A schema. It validates documents and finds their secrets.
pub struct Schema {
    document: Value,
    /// Compiled by [`Schema::compile`], or on first use.
    validator: OnceLock<Result<jsonschema::Validator, SchemaError>>,
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
        let schema = Self::compile_on_use(document, budget)?;
        schema.validator().map_err(Clone::clone)?;
        Ok(schema)
    }

    /// Creates a schema that was compiled before, when its bundle was installed. It is compiled
    /// when it first validates a document, because a process uses few of the schemas of a bundle.
    pub(crate) fn compile_on_use(document: Value, budget: &mut Budget) -> Result<Self, SchemaError> {
        let graph = Graph::of(&document, budget).map_err(SchemaError)?;
        Ok(Self { document, validator: OnceLock::new(), graph })
    }

    /// Compiles parts of this schema, all of which apply to a value, as a schema. The limits apply to
    /// it as to any other schema.
    pub(crate) fn part(&self, sources: &[&Value]) -> Result<Self, SchemaError> {
        Self::compile(part::document(&self.document, sources))
    }

    fn validator(&self) -> Result<&jsonschema::Validator, &SchemaError> {
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
                .build(&with_bounds(&self.document, false))
                .map_err(|error| SchemaError(error.to_string()))
        };
        let compile = || with_stack(self.graph.levels, build).unwrap_or_else(|| Err(SchemaError(NO_STACK.to_owned())));
        self.validator.get_or_init(compile).as_ref()
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
        let document_violation = |message: &str| vec![Violation::new(Pointer::default(), message)];
        let steps = match cost::count(&self.graph, instance) {
            Ok(steps) => steps,
            Err(Exceeded::Depth) => {
                return document_violation(&format!("nests deeper than {} levels", limits::DOCUMENT_DEPTH));
            }
            Err(Exceeded::Steps) => return document_violation("is too large to be validated"),
        };
        let found = self.with_stack(instance, || {
            self.found(instance, &steps, &ErrorConverter { document: &self.document, sealed, unvalidated }, closed)
        });
        found.unwrap_or_else(|| document_violation(NO_STACK))
    }

    fn found(&self, instance: &Value, steps: &Steps, validation: &ErrorConverter<'_>, closed: bool) -> Vec<Violation> {
        let mut violations = Vec::new();
        let validator = match self.validator() {
            Ok(validator) => validator,
            Err(error) => return vec![Violation::new(Pointer::default(), format!("cannot be validated: {error}"))],
        };
        if steps.listing <= limits::LISTED_STEPS {
            for error in validator.iter_errors(instance) {
                validation.describe(&error, &mut violations);
                if violations.len() >= limits::DOCUMENT_VIOLATIONS {
                    break;
                }
            }
        } else if !validator.is_valid(instance) {
            violations.push(Violation::new(
                Pointer::default(),
                "is not valid for its schema; it is too large to list the errors",
            ));
        }
        let locations = find(&self.graph, instance);
        for pointer in locations.fractions {
            violations.push(Violation::new(pointer, "must be an integer, written without a fraction"));
        }
        if locations.incomplete {
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

    /// Returns the locations of the document's secrets and references, including possible ones. All
    /// branches of `oneOf`, `anyOf`, `allOf` and conditions are searched: a location that any of
    /// them declares secret is secret.
    #[must_use]
    pub fn locations(&self, instance: &Value) -> Locations {
        self.with_stack(instance, || find(&self.graph, instance))
            .unwrap_or_else(|| Locations { incomplete: true, ..Locations::default() })
    }

    /// Returns the secrets among the [`locations`](Self::locations).
    #[must_use]
    pub fn secrets(&self, instance: &Value) -> Vec<SecretLocation> {
        self.locations(instance).secrets
    }

    /// Returns the keywords that apply to the field at this pointer, with `$ref` resolved. Returns
    /// `None` if the schema does not declare the field.
    #[must_use]
    pub fn field(&self, pointer: &Pointer) -> Option<&Map<String, Value>> {
        keywords::fields(&self.document, pointer).into_iter().next()
    }

    /// Returns the types that the field at this pointer accepts; empty if the schema names none.
    pub(crate) fn types(&self, pointer: &Pointer) -> Vec<&str> {
        keywords::types(&self.document, pointer)
    }

    /// Resolves `$ref`, and an `anyOf` of one schema and `null`, which declares an optional value.
    #[must_use]
    pub fn resolve<'a>(&'a self, schema: &'a Value) -> Option<&'a Map<String, Value>> {
        keywords::resolve(&self.document, schema)
    }

    /// Returns true if the field at this pointer is, or may be, a secret.
    #[must_use]
    pub fn is_secret(&self, pointer: &Pointer) -> bool {
        is_secret(&self.document, pointer)
    }

    /// Returns true if the field at this pointer is, or may be, a reference to another block.
    #[must_use]
    pub fn is_reference(&self, pointer: &Pointer) -> bool {
        keywords::fields(&self.document, pointer).into_iter().any(|keywords| PermittedTarget::of(keywords).is_some())
    }

    /// Returns the parts of the schema that prevent finding all secrets and references: a `$ref` by
    /// name, or a secret or reference in a subschema that the search does not visit. For manifest
    /// validation.
    #[must_use]
    pub fn hidden_keywords(&self) -> Vec<String> {
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

    fn value_of(&self, pointer: &Pointer, text: &str, parsed: Result<Value, ExactError>) -> Result<Value, ExactError> {
        let types = keywords::types(&self.document, pointer);
        if self.is_reference(pointer) {
            let parsed = text::json(&types, text, parsed)?;
            return Ok(parsed.filter(Value::is_object).unwrap_or_else(|| block_marker(text)));
        }
        text::value(&types, text, parsed)
    }
}

/// Returns the secret fields at the top level of a schema, for display. The schema does not have to
/// be compiled.
#[must_use]
pub fn secret_fields(document: &Value) -> Vec<Pointer> {
    let fields = document.get("properties").and_then(Value::as_object);
    let pointers = fields.into_iter().flat_map(Map::keys).map(|field| Pointer::default().child(field));
    pointers.filter(|pointer| is_secret(document, pointer)).collect()
}

fn is_secret(document: &Value, pointer: &Pointer) -> bool {
    keywords::fields(document, pointer).into_iter().any(|keywords| SecretKeyword::of(keywords).is_some())
}

/// Message for a validation that could not run.
const NO_STACK: &str = "cannot be validated: out of memory";

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.document.fmt(f)
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
    fn text_is_parsed_by_schema_type() {
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
    fn malformed_json_is_an_error() {
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
    }

    #[test]
    fn errors_of_an_enum_list_its_values_and_the_nearest() {
        let violations = schema().check(&json!({"dialect": "postgre"}));
        assert_eq!(violations.len(), 1, "{violations:?}");
    }

    #[test]
    fn secret_fields_are_found_behind_references_and_in_optional_fields() {
        let schema = json!({
            "properties": {
                "user": {"type": "string"},
                "password": {"type": "string", "x-secret": {"audience": "sql"}},
                "token": {"anyOf": [{"$ref": "#/$defs/token"}, {"type": "null"}]},
                "nested": {"type": "object", "properties": {"key": {"$ref": "#/$defs/token"}}}
            },
            "$defs": {"token": {"type": "string", "writeOnly": true, "format": "password"}}
        });
        let names: Vec<String> = secret_fields(&schema).iter().map(Pointer::dotted).collect();
        assert_eq!(names, ["password", "token"]);
    }

    #[test]
    fn remote_references_and_bad_schemas_are_refused() {
        assert!(Schema::compile(json!({"$ref": "https://example.com/schema.json"})).is_err());
        assert!(Schema::compile(json!({"type": "strange"})).is_err());
    }
}
