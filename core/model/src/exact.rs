//! Lossless JSON parsing. [`parse`] reads the document of a block and rejects numbers that bundles
//! cannot represent exactly. [`parse_value`] reads values for databases and keeps all digits of
//! numbers. Both reject objects with a duplicate name.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// Error for text that cannot be parsed.
#[derive(Debug, thiserror::Error)]
pub enum ExactError {
    /// The text is not valid JSON.
    #[error("{0}")]
    NotJson(serde_json::Error),
    /// A number has more digits than can be represented. The message does not contain the number,
    /// because it may be a secret.
    #[error(
        "the number at line {line}, column {column} would lose digits; write it as a string if the field accepts one"
    )]
    Inexact {
        /// Line number, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
}

/// Key of the map in which `serde_json` passes a number that is neither a 64-bit integer nor a
/// double. An object with this key would be read as a number.
const NUMBER_KEY: &str = "$serde_json::private::Number";

/// Parses the document of a block (RFC 8259). Accepts 64-bit integers and IEEE 754 doubles, and
/// normalizes their spelling, so that equal documents compare as equal.
///
/// # Errors
/// Returns [`ExactError`] if the text is not valid JSON, has a duplicate name in an object, or
/// contains a number that cannot be represented exactly.
pub fn parse(text: &str) -> Result<Value, ExactError> {
    let mut value = parse_value(text)?;
    match numbers(text).find(|number| !is_exact(number)) {
        Some(number) => {
            let before = &text[..number.as_ptr().addr() - text.as_ptr().addr()];
            let line = before.split('\n').next_back().unwrap_or_default();
            Err(ExactError::Inexact { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 })
        }
        None => {
            normalize(&mut value);
            Ok(value)
        }
    }
}

/// Parses values for a database (RFC 8259). Numbers keep all digits.
///
/// # Errors
/// Returns an error if the text is not valid JSON or has a duplicate name in an object.
pub fn parse_value(text: &str) -> Result<Value, ExactError> {
    if names_number_key(text) {
        let reserved = format!("names that begin with `{RESERVED}` are reserved");
        return Err(ExactError::NotJson(serde_json::Error::custom(reserved)));
    }
    let Unique(value) = serde_json::from_str(text).map_err(ExactError::NotJson)?;
    Ok(value)
}

/// Normalizes the spelling of each number that a document can represent: `1.50` becomes `1.5`.
pub fn normalize(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(same) = exact(number) {
                *number = same;
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(normalize),
        Value::Object(members) => members.values_mut().for_each(normalize),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Returns the number as a 64-bit integer or double, or `None` if it would lose digits.
fn exact(number: &Number) -> Option<Number> {
    let written = number.to_string();
    let integer = number.as_i64().map(Number::from).or_else(|| number.as_u64().map(Number::from));
    let exact = integer.or_else(|| Number::from_f64(number.as_f64()?))?;
    (decimal(&written) == decimal(&exact.to_string())).then_some(exact)
}

/// Prefix of the object keys that have a special meaning for `serde_json`.
const RESERVED: &str = "$serde_json::private::";

/// Returns true if a string in the text begins with [`RESERVED`], in any escaped form.
fn names_number_key(text: &str) -> bool {
    if text.contains(RESERVED) {
        return true;
    }
    // Escapes are rare in names: only strings with an escape are decoded.
    text.contains("\\u")
        && strings(text)
            .filter(|string| string.contains("\\u"))
            .any(|string| serde_json::from_str::<String>(string).is_ok_and(|read| read.starts_with(RESERVED)))
}

/// A value without duplicate names in its objects. JSON leaves open which of the duplicates a
/// parser uses.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Unique(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if name == NUMBER_KEY {
                let digits: String = members.next_value()?;
                return digits.parse::<Number>().map(Value::Number).map_err(A::Error::custom);
            }
            match object.entry(name) {
                Entry::Occupied(twice) => {
                    let name = crate::name::printable(twice.key());
                    return Err(A::Error::custom(format!("the name `{name}` appears twice in one object")));
                }
                Entry::Vacant(vacant) => {
                    let Unique(member) = members.next_value()?;
                    vacant.insert(member);
                }
            }
        }
        Ok(object.into())
    }
}

/// Returns true if two spellings denote the same number, such as `1.50` and `15e-1`.
#[must_use]
pub fn is_same_number(one: &str, other: &str) -> bool {
    decimal(one).is_some_and(|one| decimal(other) == Some(one))
}

/// Returns true if a 64-bit integer or a double can represent the number exactly.
pub fn is_exact(number: &str) -> bool {
    serde_json::from_str::<Number>(number).is_ok_and(|read| exact(&read).is_some())
}

/// Returns the strings in a valid JSON text, including their quotes.
fn strings(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = &rest[rest.find('"')?..];
        let (string, after) = rest.split_at(string_length(rest));
        rest = after;
        Some(string)
    })
}

/// Returns the length of the string at the beginning of the text, including its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let closes = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// Returns the numbers in a valid JSON text.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit())?;
            rest = &rest[start..];
            if !rest.starts_with('"') {
                let end = rest
                    .find(|c: char| !(c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E')))
                    .unwrap_or(rest.len());
                let number = &rest[..end];
                rest = &rest[end..];
                return Some(number);
            }
            rest = &rest[string_length(rest)..];
        }
    })
}

/// Returns sign, digits without leading and trailing zeros, and the power of ten of the last digit.
fn decimal(number: &str) -> Option<(bool, String, i64)> {
    let number = number.strip_prefix('+').unwrap_or(number);
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.trim_start_matches('+').parse::<i64>().ok()?),
        None => (number, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{integer}{fraction}");
    let trimmed = digits.trim_end_matches('0');
    let zeros = i64::try_from(digits.len() - trimmed.len()).ok()?;
    let power = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(zeros)?;
    let significant = trimmed.trim_start_matches('0');
    // Zero has no power of ten, and its sign is irrelevant in a document.
    if significant.is_empty() {
        return Some((false, String::new(), 0));
    }
    Some((negative, significant.to_owned(), power))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_without_an_exact_representation_are_rejected() {
        for text in [
            "18446744073709551615",
            "-9223372036854775808",
            "1.5e3",
            "0.1",
            "[1, {\"a\": 2.50}]",
            "\"1.23456789012345678901\"",
            "{\"a\\\"-9.99999999999999999999\": 0.0}",
            "1e300",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in ["18446744073709551616", "[0.12345678901234567890123]", "{\"a\": -1.00000000000000000001}", "1e400"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn duplicate_names_are_rejected() {
        let refused = parse(r#"{"a": 1, "b": {"c": 1, "c": 2}}"#).expect_err("refused").to_string();
        assert!(refused.contains("`c` appears twice in one object"), "{refused}");
        let text = r#"{"a":[null,true,-1,18446744073709551615,1.5,"x",{"a":{}}]}"#;
        assert_eq!(parse(text).expect("JSON").to_string(), text);
    }

    #[test]
    fn values_keep_all_digits() {
        for text in [
            "12345678901234567890123",
            "[0.12345678901234567890123, 1.10, -0.0]",
            r#"{"a": 1e+400, "b": [18446744073709551616]}"#,
        ] {
            let read = parse_value(text).expect("JSON").to_string();
            assert_eq!(read, text.replace(": ", ":").replace(", ", ","));
        }
        assert!(parse_value(r#"{"a": 1, "a": 2}"#).is_err());
    }

    #[test]
    fn an_object_is_not_read_as_a_number() {
        for name in [NUMBER_KEY, r"\u0024serde_json::private::Number"] {
            let refused = parse_value(&format!(r#"{{"a": {{"{name}": "1"}}}}"#)).expect_err("refused").to_string();
            assert!(refused.contains("are reserved"), "{refused}");
        }
    }

    #[test]
    fn numbers_have_a_canonical_spelling() {
        let read = |text: &str| parse(text).expect("JSON").to_string();
        assert_eq!(read("[1.50, 1E3, 1.0, 100, 1e300]"), "[1.5,1000.0,1.0,100,1e+300]");
        assert_eq!(parse("1.50").expect("JSON"), serde_json::json!(1.5));
    }

    proptest! {
        #[test]
        fn every_double_and_integer_is_accepted(double in any::<f64>().prop_filter("finite", |f| f.is_finite()), integer in any::<i64>()) {
            prop_assert!(is_exact(&serde_json::to_string(&double).expect("JSON")));
            prop_assert!(is_exact(&integer.to_string()));
        }
    }
}
