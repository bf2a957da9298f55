//! Descriptions of JSON values, for messages.

use serde_json::Value;

/// Returns the text of a string, and the JSON of any other value.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns the JSON Schema type of a value.
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

    #[test]
    fn a_number_with_many_digits_has_the_kind_of_its_notation() {
        let number = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        assert_eq!(kind(&number("1e400")), "number");
        assert_eq!(kind(&number("18446744073709551617")), "integer");
    }
}
