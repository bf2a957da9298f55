//! Forms: converts a schema into a list of fields, and the answers into a document. The command
//! line uses it for its prompts.
//!
//! A required object with named properties becomes one field for each property, also when it is
//! nested. Every other structured value (list, map, variant, optional object) is a single field
//! that is answered in JSON.

use serde_json::{Map, Value};

use crate::limits;
use crate::pointer::Pointer;
use crate::schema::Schema;
use crate::secret_use::SecretKeyword;

/// Maximum depth at which the properties of a nested object become separate fields; deeper objects
/// are answered in JSON.
const MAX_DEPTH: usize = 8;

/// A field of a form.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Location of the answer in the document.
    pub pointer: Pointer,
    /// Description of the field, from the schema.
    pub description: String,
    /// Type of the answer.
    pub kind: FieldKind,
    /// True if an answer is required.
    pub required: bool,
    /// Value that applies if the field is not answered.
    pub default: Option<Value>,
}

/// Type of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldKind {
    /// A string.
    Text,
    /// An integer.
    Integer,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// One of these values.
    Choice(Vec<String>),
    /// A string that is not displayed while it is typed.
    Secret,
    /// Any other value, as JSON.
    Json,
}

/// Returns the fields for a configuration of this schema, ordered by `x-order`. Fields without
/// `x-order` follow: first the required ones, then the optional ones, both in the order of the
/// schema.
#[must_use]
pub fn fields(schema: &Schema) -> Vec<Field> {
    let mut found = Vec::new();
    if let Some(root) = schema.document().as_object() {
        let mut remaining = limits::FORM_FIELDS;
        collect(schema, root, &Pointer::default(), true, 0, &mut remaining, &mut found);
    }
    found
}

fn collect(
    schema: &Schema,
    object: &Map<String, Value>,
    pointer: &Pointer,
    required_here: bool,
    depth: usize,
    remaining: &mut usize,
    found: &mut Vec<Field>,
) {
    let required: Vec<&str> =
        object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut members: Vec<(&String, &Value)> =
        object.get("properties").and_then(Value::as_object).into_iter().flatten().collect();
    // A connection URL replaces other fields, which are part of the form themselves.
    members.retain(|(_, member)| member.get("x-connection-url").is_none());
    members.sort_by_key(|(name, member)| {
        let order = member.get("x-order").and_then(Value::as_i64).unwrap_or(i64::MAX);
        (order, !required.contains(&name.as_str()))
    });
    for (name, member) in members {
        // Mutually required objects would result in an unbounded number of fields.
        let Some(left) = remaining.checked_sub(1) else { return };
        *remaining = left;
        let child = pointer.child(name);
        let Some(raw) = member.as_object() else { continue };
        let Some(keywords) = schema.resolve(member) else { continue };
        let needed = required_here && required.contains(&name.as_str());
        let nested = keywords.get("type").is_some_and(|t| t == "object")
            && keywords.contains_key("properties")
            && needed
            && depth < MAX_DEPTH;
        if nested {
            collect(schema, keywords, &child, needed, depth + 1, remaining, found);
            continue;
        }
        let described = raw.get("description").or_else(|| keywords.get("description"));
        found.push(Field {
            pointer: child,
            description: described
                .and_then(Value::as_str)
                .unwrap_or_default()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
            kind: if SecretKeyword::of(raw).is_some() { FieldKind::Secret } else { kind(keywords) },
            required: needed,
            default: raw.get("default").filter(|d| !d.is_null()).cloned(),
        });
    }
}

fn kind(keywords: &Map<String, Value>) -> FieldKind {
    if SecretKeyword::of(keywords).is_some() {
        return FieldKind::Secret;
    }
    if let Some(words) = keywords.get("enum").and_then(Value::as_array) {
        let words: Option<Vec<String>> =
            words.iter().filter(|w| !w.is_null()).map(|w| w.as_str().map(str::to_owned)).collect();
        return words.map_or(FieldKind::Json, FieldKind::Choice);
    }
    if let Some(words) = constants(keywords) {
        return FieldKind::Choice(words);
    }
    let real: Vec<&str> = match keywords.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
        _ => Vec::new(),
    };
    match real.as_slice() {
        ["string"] => FieldKind::Text,
        ["integer"] => FieldKind::Integer,
        ["number"] => FieldKind::Number,
        ["boolean"] => FieldKind::Boolean,
        _ => FieldKind::Json,
    }
}

/// Returns the values of a `oneOf` of constants: the form in which schemars writes an enum with
/// documented variants.
fn constants(keywords: &Map<String, Value>) -> Option<Vec<String>> {
    let branches = keywords.get("oneOf")?.as_array()?;
    branches.iter().map(|branch| branch.get("const")?.as_str().map(str::to_owned)).collect()
}

/// Converts the text of an answer into a value for the field; `None` if the text is empty.
///
/// # Errors
/// Returns a description of the expected answer.
pub fn answer(field: &Field, text: &str) -> Result<Option<Value>, String> {
    if text.is_empty() && field.kind != FieldKind::Text {
        return Ok(None);
    }
    let value = match &field.kind {
        FieldKind::Text if text.is_empty() => return Ok(None),
        FieldKind::Text | FieldKind::Secret => Value::from(text),
        FieldKind::Integer => text
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| text.parse::<u64>().map(Value::from))
            .map_err(|_| "expected an integer".to_owned())?,
        FieldKind::Number => crate::exact::parse(text)
            .ok()
            .filter(Value::is_number)
            .ok_or_else(|| "expected a number of at most 17 digits".to_owned())?,
        FieldKind::Boolean => match text {
            "yes" | "y" | "true" => Value::from(true),
            "no" | "n" | "false" => Value::from(false),
            _ => return Err("expected `yes` or `no`".to_owned()),
        },
        FieldKind::Choice(words) => words
            .iter()
            .find(|word| *word == text)
            .map(|word| Value::from(word.as_str()))
            .ok_or_else(|| format!("expected one of {}", words.join(", ")))?,
        FieldKind::Json => crate::exact::parse(text).map_err(|error| format!("expected JSON: {error}"))?,
    };
    Ok(Some(value))
}

/// Builds a document from answers.
#[must_use]
pub fn assemble(answers: impl IntoIterator<Item = (Pointer, Value)>) -> Value {
    let mut document = Value::Object(Map::new());
    for (pointer, value) in answers {
        pointer.set(&mut document, value).expect("fields of one form do not overlap");
    }
    document
}

/// Returns the value of a field in a document as the text that [`answer`] converts back.
#[must_use]
pub fn answer_text(field: &Field, document: &Value) -> Option<String> {
    let value = document.pointer(field.pointer.as_str())?;
    Some(match (&field.kind, value) {
        (FieldKind::Json, value) => value.to_string(),
        (_, Value::String(text)) => text.clone(),
        (_, value) => value.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn schema() -> Schema {
        Schema::compile(json!({
            "type": "object", "additionalProperties": false, "required": ["dialect", "pool"],
            "properties": {
                "port": {"type": ["integer", "null"], "x-order": 3},
                "dialect": {"$ref": "#/$defs/dialect", "description": "Which kind.", "x-order": 1},
                "pool": {"type": "object", "required": ["size"], "properties": {
                    "size": {"type": "integer"}, "fair": {"type": "boolean", "default": true}, "load": {"type": "number"}}},
                "password": {"type": "string", "writeOnly": true, "format": "password", "x-secret": {"audience": "sql"}},
                "options": {"type": "object", "additionalProperties": {"type": "string"}}
            },
            "$defs": {"dialect": {"oneOf": [{"const": "sqlite"}, {"const": "postgres"}]}}
        }))
        .expect("a good schema")
    }

    #[test]
    fn forms_of_nested_schemas_are_bounded() {
        let mut defs = Map::new();
        for level in 0..9 {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            let members: Map<String, Value> = (0..30).map(|n| (format!("f{n}"), next.clone())).collect();
            let names: Vec<&String> = members.keys().collect();
            defs.insert(format!("d{level}"), json!({"type": "object", "required": names, "properties": members}));
        }
        defs.insert("d9".to_owned(), json!({"type": "object", "properties": {}}));
        let schema = Schema::compile(json!({
            "type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": defs
        }))
        .expect("a good schema");
        assert!(fields(&schema).len() <= limits::FORM_FIELDS);
    }

    #[test]
    fn fields_are_listed_in_order_with_their_kinds() {
        let fields: Vec<String> = fields(&schema())
            .iter()
            .map(|f| format!("{} {:?} required={} default={:?}", f.pointer, f.kind, f.required, f.default))
            .collect();
        expect_test::expect![[r#"
            [
                "/dialect Choice([\"sqlite\", \"postgres\"]) required=true default=None",
                "/port Integer required=false default=None",
                "/pool/size Integer required=true default=None",
                "/pool/fair Boolean required=false default=Some(Bool(true))",
                "/pool/load Number required=false default=None",
                "/options Json required=false default=None",
                "/password Secret required=false default=None",
            ]
        "#]]
        .assert_debug_eq(&fields);
    }

    proptest! {
        /// Schema -> form -> value -> document is lossless.
        #[test]
        fn documents_round_trip_through_forms(
            dialect in prop_oneof![Just("sqlite"), Just("postgres")],
            port in proptest::option::of(any::<i64>()),
            size in any::<u64>(),
            fair in proptest::option::of(any::<bool>()),
            load in proptest::option::of(-1e300f64..1e300),
            password in proptest::option::of(".{1,20}"),
            options in proptest::option::of(proptest::collection::btree_map("[a-z]{1,3}", ".{0,5}", 0..3)),
        ) {
            let mut document = json!({"dialect": dialect, "pool": {"size": size}});
            if let Some(port) = port { document["port"] = json!(port); }
            if let Some(fair) = fair { document["pool"]["fair"] = json!(fair); }
            if let Some(load) = load { document["pool"]["load"] = json!(load); }
            if let Some(password) = password { document["password"] = json!(password); }
            if let Some(options) = options { document["options"] = json!(options); }

            let answers = fields(&schema()).into_iter().filter_map(|field| {
                let text = answer_text(&field, &document)?;
                let value = answer(&field, &text).expect("its own text").expect("an answer");
                Some((field.pointer, value))
            });
            prop_assert_eq!(assemble(answers), document);
        }
    }
}
