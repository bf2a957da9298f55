//! Bounds of the integer formats.

use serde_json::{Map, Value};

/// Adds the bounds of integer formats such as `uint32`, which the validator ignores: a bundle cannot
/// read a number outside of them. `names` is true if the members of `value` are field names.
pub(crate) fn with_bounds(value: &Value, names: bool) -> Value {
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
