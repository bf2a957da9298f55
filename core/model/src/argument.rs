//! Keywords of the arguments of operations: `x-language` marks an argument as text in a language,
//! into which no values are inserted; `x-idempotency-key` marks the argument by which a remote
//! service recognizes a repeated call.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::pointer::Pointer;
use crate::schema::Schema;

/// Schema keyword of an argument in a language.
pub const LANGUAGE_KEYWORD: &str = "x-language";
/// Schema keyword of an idempotency key.
pub const IDEMPOTENCY_KEY_KEYWORD: &str = "x-idempotency-key";

/// Language of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// SQL, in the dialect of the block.
    Sql,
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sql" => Ok(Self::Sql),
            _ => Err(format!("unknown language `{text}`; expected `sql`")),
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql => f.write_str("sql"),
        }
    }
}

/// Returns the language of an argument. `None` if it has none.
#[must_use]
pub fn language(arguments: &Schema, name: &str) -> Option<Language> {
    arguments.document().get("properties")?.get(name)?.get(LANGUAGE_KEYWORD)?.as_str()?.parse().ok()
}

/// Returns the name of the argument that is the idempotency key. `None` if the operation has none.
#[must_use]
pub fn idempotency_key(arguments: &Schema) -> Option<&str> {
    let mut all = properties(arguments);
    all.find(|(_, keywords)| keywords.contains_key(IDEMPOTENCY_KEY_KEYWORD)).map(|(name, _)| name.as_str())
}

/// Returns the mistakes in the keywords of the arguments.
pub(crate) fn problems(arguments: &Schema) -> Vec<String> {
    let mut problems = Vec::new();
    let mut keys = 0;
    for (name, keywords) in properties(arguments) {
        if let Some(value) = keywords.get(LANGUAGE_KEYWORD) {
            match value.as_str().map(Language::from_str) {
                Some(Ok(_)) => {}
                Some(Err(problem)) => problems.push(format!("argument `{name}`, `{LANGUAGE_KEYWORD}`: {problem}")),
                None => {
                    problems.push(format!("argument `{name}`, `{LANGUAGE_KEYWORD}`: expected a string, such as `sql`"))
                }
            }
            if !is_string(arguments, name) {
                problems.push(format!("argument `{name}` has a language, but does not have the type `string`"));
            }
        }
        if let Some(value) = keywords.get(IDEMPOTENCY_KEY_KEYWORD) {
            keys += 1;
            if *value != Value::Bool(true) {
                problems.push(format!(
                    "argument `{name}`, `{IDEMPOTENCY_KEY_KEYWORD}`: expected `true`, or no such keyword"
                ));
            }
            if !is_string(arguments, name) {
                problems.push(format!("argument `{name}` is an idempotency key, but does not have the type `string`"));
            }
        }
    }
    if keys > 1 {
        problems.push(format!("{keys} arguments are idempotency keys; mark only one with `{IDEMPOTENCY_KEY_KEYWORD}`"));
    }
    problems
}

fn properties(arguments: &Schema) -> impl Iterator<Item = (&String, &Map<String, Value>)> {
    let all = arguments.document().get("properties").and_then(Value::as_object);
    all.into_iter().flatten().filter_map(|(name, keywords)| Some((name, keywords.as_object()?)))
}

/// Returns whether the argument is a string, which may be null.
fn is_string(arguments: &Schema, name: &str) -> bool {
    let types = arguments.types(&Pointer::default().child(name));
    types.contains(&"string") && types.iter().all(|of| matches!(*of, "string" | "null"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arguments(properties: Value) -> Schema {
        Schema::compile(json!({"type": "object", "additionalProperties": false, "properties": properties}))
            .expect("a schema")
    }

    fn check(properties: Value, expected: &[&str]) {
        assert_eq!(problems(&arguments(properties)), expected);
    }

    #[test]
    fn keywords_are_read() {
        let schema = arguments(json!({
            "statement": {"type": "string", "x-language": "sql"},
            "job_id": {"type": ["string", "null"], "x-idempotency-key": true},
            "x-language": {"type": "integer"},
        }));
        assert!(problems(&schema).is_empty());
        assert_eq!(language(&schema, "statement"), Some(Language::Sql));
        assert_eq!(language(&schema, "job_id"), None);
        assert_eq!(idempotency_key(&schema), Some("job_id"));
        assert_eq!(idempotency_key(&arguments(json!({"a": {"type": "string"}}))), None);
        assert_eq!(Language::Sql.to_string().parse(), Ok(Language::Sql));
    }

    #[test]
    fn unknown_values_are_rejected() {
        check(
            json!({"a": {"type": "string", "x-language": "sqk"}}),
            &["argument `a`, `x-language`: unknown language `sqk`; expected `sql`"],
        );
        check(
            json!({"a": {"type": "string", "x-language": true}}),
            &["argument `a`, `x-language`: expected a string, such as `sql`"],
        );
        check(
            json!({"a": {"type": "string", "x-idempotency-key": "yes"}}),
            &["argument `a`, `x-idempotency-key`: expected `true`, or no such keyword"],
        );
    }

    #[test]
    fn keywords_require_one_string() {
        check(
            json!({"a": {"type": "integer", "x-idempotency-key": true}, "b": {"type": "array", "x-language": "sql"}}),
            &[
                "argument `a` is an idempotency key, but does not have the type `string`",
                "argument `b` has a language, but does not have the type `string`",
            ],
        );
        check(
            json!({"a": {"x-idempotency-key": true}}),
            &["argument `a` is an idempotency key, but does not have the type `string`"],
        );
        let key = json!({"type": "string", "x-idempotency-key": true});
        check(
            json!({"a": key, "b": key}),
            &["2 arguments are idempotency keys; mark only one with `x-idempotency-key`"],
        );
    }
}
