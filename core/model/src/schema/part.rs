//! A schema that consists of parts of another one.

use serde_json::{Map, Value, json};

/// Name of the definition that contains the other schema.
const WHOLE: &str = "whole";

/// Returns the document of a schema that requires all parts. Their references lead to a copy of the
/// schema from which they are taken.
pub(super) fn document(whole: &Value, parts: &[&Value]) -> Value {
    let moved: Vec<Value> = parts.iter().map(|part| moved(part)).collect();
    let refers = parts.iter().any(|part| has_references(part));
    let mut document = json!({ "allOf": moved });
    if refers {
        document["$defs"] = json!({ WHOLE: self::moved(whole) });
    }
    document
}

/// Returns true if a keyword contains values instead of schemas.
fn is_value(keyword: &str) -> bool {
    matches!(keyword, "const" | "enum" | "default" | "examples")
}

fn has_references(part: &Value) -> bool {
    match part {
        Value::Object(keywords) => keywords.iter().any(|(keyword, value)| {
            keyword == "$ref" && value.is_string() || !is_value(keyword) && has_references(value)
        }),
        Value::Array(elements) => elements.iter().any(has_references),
        _ => false,
    }
}

/// Returns a schema whose references to the root lead to the definition.
fn moved(schema: &Value) -> Value {
    match schema {
        Value::Object(keywords) => {
            let moved = keywords.iter().filter(|(keyword, value)| !(*keyword == "$id" && value.is_string()));
            moved.map(|(keyword, value)| (keyword.clone(), keyword_moved(keyword, value))).collect::<Map<_, _>>().into()
        }
        Value::Array(elements) => elements.iter().map(moved).collect(),
        other => other.clone(),
    }
}

fn keyword_moved(keyword: &str, value: &Value) -> Value {
    match (keyword, value.as_str().and_then(|target| target.strip_prefix('#'))) {
        ("$ref", Some(target)) => Value::from(format!("#/$defs/{WHOLE}{target}")),
        _ if is_value(keyword) => value.clone(),
        _ => moved(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::Schema;

    #[test]
    fn a_part_accepts_what_it_accepts_in_the_whole() {
        let whole = json!({
            "type": "object", "properties": {
                "next": {"$ref": "#"}, "kind": {"$ref": "#/$defs/kind"}, "word": {"const": {"$ref": "#/$defs/kind"}}
            },
            "$defs": {"kind": {"enum": ["a", "b"]}}
        });
        let schema = Schema::compile(whole.clone()).expect("a good schema");
        let part = |name: &str| schema.part(&[&whole["properties"][name]]).expect("a good part");
        assert!(part("kind").check(&json!("a")).is_empty());
        assert_eq!(part("kind").check(&json!("c")).len(), 1);
        assert!(part("next").check(&json!({"next": {"kind": "b"}})).is_empty());
        assert_eq!(part("next").check(&json!({"next": {"kind": "c"}}))[0].pointer.as_str(), "/next/kind");
        assert!(part("word").check(&json!({"$ref": "#/$defs/kind"})).is_empty());
        let both = schema.part(&[&whole["properties"]["kind"], &json!({"const": "a"})]).expect("a good part");
        assert_eq!(both.check(&json!("b")).len(), 1);
    }
}
