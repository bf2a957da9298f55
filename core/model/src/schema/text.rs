//! Converts text into a value of the types that a field accepts.

use serde_json::Value;

use crate::exact::ExactError;

/// Returns the JSON that the text was parsed into, or `None` if the text is not JSON. `types` are
/// the types of the field; empty if its schema names none.
///
/// # Errors
/// Returns the parser's error if the field accepts no string, and the text begins like an array, an
/// object or, for a number field, a number.
pub(crate) fn json(types: &[&str], text: &str, parsed: Result<Value, ExactError>) -> Result<Option<Value>, ExactError> {
    let start = text.trim_start();
    let is_nested = start.starts_with(['[', '{']);
    let like_number = start.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.'));
    match parsed {
        Ok(value) => Ok(Some(value)),
        Err(_) if types.contains(&"string") => Ok(None),
        Err(error) if is_nested => Err(error),
        // The validator describes other numbers, such as those with too many digits.
        Err(error @ ExactError::NotJson(_)) if accepts_number(types) && like_number => Err(error),
        Err(_) => Ok(None),
    }
}

/// Returns the value of a field that is not a reference. Text that does not fit becomes a string.
///
/// # Errors
/// Returns an error as [`json`] does.
pub(crate) fn value(types: &[&str], text: &str, parsed: Result<Value, ExactError>) -> Result<Value, ExactError> {
    let parsed = json(types, text, parsed)?;
    let accepts = |name: &str| types.contains(&name);
    let fits = |value: &Value| match value {
        Value::Null => accepts("null"),
        Value::Bool(_) => accepts("boolean"),
        Value::Number(number) => accepts("number") || accepts("integer") && !number.is_f64(),
        Value::String(_) => false,
        Value::Array(_) => accepts("array"),
        Value::Object(_) => accepts("object"),
    };
    let accepts_text = accepts("string");
    Ok(match parsed {
        // Validation rejects a fraction in an integer field.
        Some(value @ Value::Number(_)) if !accepts_text && accepts_number(types) => value,
        Some(value) if !accepts_text && (fits(&value) || types.is_empty() && !value.is_string()) => value,
        Some(value) if accepts_text && !value.is_null() && fits(&value) && types.len() > 1 => value,
        _ => Value::from(text),
    })
}

fn accepts_number(types: &[&str]) -> bool {
    types.contains(&"number") || types.contains(&"integer")
}
