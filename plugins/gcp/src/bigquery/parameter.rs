//! Typed query parameters ("Running parameterized queries", BigQuery).

use std::collections::BTreeMap;

use blockyard_sdk::prelude::*;
use blockyard_sdk::serde_json;
use blockyard_sdk::sql::{self, Value as SqlValue};

use super::statement::Statement;

/// Name of the only member of an object that represents bytes.
const BYTES: &str = "$bytes";

/// Type of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ParameterType {
    Scalar(String),
    Array(Box<ParameterType>),
    Struct(Vec<(String, ParameterType)>),
}

/// Returns the query parameters of a statement in the format of the API. `types` contains the types
/// that the JSON values do not imply.
pub(crate) fn parameters(
    statement: &Statement<'_>,
    arguments: &Map<String, Value>,
    types: &BTreeMap<String, String>,
) -> Result<Vec<Value>> {
    let names = statement.names();
    let missing: Vec<&str> = names.iter().copied().filter(|name| !arguments.contains_key(*name)).collect();
    if !missing.is_empty() {
        let names = missing.join("`, `:");
        return Err(Problem::invalid(format!("the statement has parameters without a value: `:{names}`")));
    }
    if let Some(unknown) = arguments.keys().chain(types.keys()).find(|name| !names.contains(name.as_str())) {
        return Err(Problem::invalid(format!("the statement has no parameter `:{unknown}`")));
    }
    names.into_iter().map(|name| parameter(name, &arguments[name], types.get(name))).collect()
}

fn parameter(name: &str, value: &Value, kind: Option<&String>) -> Result<Value> {
    let wrong = |problem: Problem| problem.context(format!("parameter `:{name}`"));
    let kind = match kind {
        Some(text) => ParameterType::parse(text).ok_or_else(|| {
            wrong(Problem::invalid(format!("`{text}` is not a type")))
                .hint("use a type such as `DATE`, `NUMERIC`, `ARRAY<INT64>` or `STRUCT<a INT64, b STRING>`")
        })?,
        None => ParameterType::of(value).map_err(wrong)?,
    };
    let value = kind.value(value).map_err(wrong)?;
    Ok(json!({ "name": name, "parameterType": kind.json(), "parameterValue": value }))
}

impl ParameterType {
    /// Returns the type that the value implies. A string is a STRING. BigQuery coerces only string
    /// literals to dates and times, not parameters, so date and time parameters require a type.
    fn of(value: &Value) -> Result<Self> {
        Ok(match value {
            Value::Null | Value::String(_) => Self::scalar("STRING"),
            Value::Bool(_) => Self::scalar("BOOL"),
            Value::Number(number) => match sql::from_json(value) {
                SqlValue::Integer(_) => Self::scalar("INT64"),
                SqlValue::Decimal(digits) if is_bignumeric(&digits) => Self::scalar("BIGNUMERIC"),
                SqlValue::Decimal(_) => {
                    return Err(Problem::invalid(format!("no numeric type can represent all digits of {number}"))
                        .hint("pass it as a string, and cast it in the statement"));
                }
                _ => Self::scalar("FLOAT64"),
            },
            Value::Object(parts) if parts.contains_key(BYTES) => Self::scalar("BYTES"),
            Value::Array(items) => {
                let mut kinds = items.iter().filter(|item| !item.is_null()).map(Self::of);
                let first = kinds.next().transpose()?.unwrap_or_else(|| Self::scalar("STRING"));
                let mut item = first;
                for kind in kinds {
                    item = item.common(kind?)?;
                }
                Self::Array(Box::new(item))
            }
            Value::Object(parts) => Self::Struct(
                parts.iter().map(|(name, part)| Ok((name.clone(), Self::of(part)?))).collect::<Result<_>>()?,
            ),
        })
    }

    /// Returns the type of an array that contains elements of both types.
    fn common(self, other: Self) -> Result<Self> {
        let widest = |kind: &Self| match kind {
            Self::Scalar(name) => ["INT64", "FLOAT64", "BIGNUMERIC"].iter().position(|number| number == name),
            _ => None,
        };
        if self == other {
            Ok(self)
        } else if let (Some(one), Some(other)) = (widest(&self), widest(&other)) {
            Ok(Self::scalar(["INT64", "FLOAT64", "BIGNUMERIC"][one.max(other)]))
        } else {
            Err(Problem::invalid("the list has elements of different types").hint("set its type in `types`"))
        }
    }

    fn scalar(name: &str) -> Self {
        Self::Scalar(name.to_owned())
    }

    /// Parses a type in GoogleSQL syntax.
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = Self::parse_first(text)?;
        rest.trim().is_empty().then_some(kind)
    }

    fn parse_first(text: &str) -> Option<(Self, &str)> {
        let text = text.trim_start();
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let inner = rest.trim_start().strip_prefix('<');
        match (name.to_ascii_uppercase().as_str(), inner) {
            ("ARRAY", Some(inner)) => {
                let (item, rest) = Self::parse_first(inner)?;
                Some((Self::Array(Box::new(item)), rest.trim_start().strip_prefix('>')?))
            }
            ("STRUCT", Some(inner)) => {
                let (mut parts, mut rest) = (Vec::new(), inner);
                loop {
                    let part = rest.trim_start();
                    let end = part.find(char::is_whitespace)?;
                    let (kind, after) = Self::parse_first(&part[end..])?;
                    parts.push((part[..end].to_owned(), kind));
                    match after.trim_start().split_at_checked(1)? {
                        (">", after) => return Some((Self::Struct(parts), after)),
                        (",", after) => rest = after,
                        _ => return None,
                    }
                }
            }
            ("ARRAY" | "STRUCT" | "", _) => None,
            (name, None) => Some((Self::scalar(name), rest)),
            (_, Some(_)) => None,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Scalar(name) => json!({ "type": name }),
            Self::Array(item) => json!({ "type": "ARRAY", "arrayType": item.json() }),
            Self::Struct(parts) => {
                let parts: Vec<Value> =
                    parts.iter().map(|(name, kind)| json!({ "name": name, "type": kind.json() })).collect();
                json!({ "type": "STRUCT", "structTypes": parts })
            }
        }
    }

    fn value(&self, value: &Value) -> Result<Value> {
        match (self, value) {
            // BigQuery has no null arrays.
            (Self::Array(_), Value::Null) => Ok(json!({ "arrayValues": [] })),
            (Self::Array(item), Value::Array(items)) => {
                let items = items.iter().map(|value| item.value(value)).collect::<Result<Vec<_>>>()?;
                Ok(json!({ "arrayValues": items }))
            }
            (Self::Struct(parts), Value::Object(values)) => {
                if let Some(unknown) = values.keys().find(|name| parts.iter().all(|(part, _)| part != *name)) {
                    return Err(Problem::invalid(format!("the STRUCT type has no field `{unknown}`")));
                }
                let values = parts
                    .iter()
                    .map(|(name, kind)| Ok((name.clone(), kind.value(values.get(name).unwrap_or(&Value::Null))?)))
                    .collect::<Result<Map<_, _>>>()?;
                Ok(json!({ "structValues": values }))
            }
            (Self::Scalar(_) | Self::Struct(_), Value::Null) => Ok(json!({ "value": null })),
            (Self::Scalar(name), Value::Object(_) | Value::String(_)) if name == "BYTES" => {
                Ok(json!({ "value": sql::bytes_to_base64(&bytes(value)?) }))
            }
            (Self::Scalar(name), Value::Number(number)) => Ok(json!({ "value": digits(name, number, value)? })),
            (Self::Scalar(_), Value::String(text)) => Ok(json!({ "value": text })),
            (Self::Scalar(_), Value::Bool(_)) => Ok(json!({ "value": value.to_string() })),
            (Self::Scalar(name), _) if name == "JSON" => Ok(json!({ "value": value.to_string() })),
            _ => Err(Problem::invalid("the value does not match its type")),
        }
    }
}

/// Decodes base64 from a string or from `{"$bytes": …}`.
fn bytes(value: &Value) -> Result<Vec<u8>> {
    let bytes = match value {
        Value::String(text) => sql::bytes_from_base64(text),
        other => match sql::parameter(other)? {
            SqlValue::Bytes(bytes) => Some(bytes),
            _ => None,
        },
    };
    bytes.ok_or_else(|| Problem::invalid("the value is not base64"))
}

/// Returns the digits of a number for a parameter of type `kind`.
fn digits(kind: &str, number: &serde_json::Number, value: &Value) -> Result<String> {
    let narrowed = || {
        Problem::invalid(format!("FLOAT64 cannot represent all digits of {number}"))
            .hint("set `NUMERIC` or `BIGNUMERIC` in `types`")
    };
    Ok(match sql::from_json(value) {
        SqlValue::Decimal(_) if kind == "FLOAT64" => return Err(narrowed()),
        SqlValue::Integer(integer) if kind == "FLOAT64" && !is_double(integer) => return Err(narrowed()),
        SqlValue::Decimal(digits) => digits,
        _ => number.to_string(),
    })
}

fn is_double(integer: i64) -> bool {
    #[allow(clippy::cast_precision_loss, reason = "a loss of precision is detected below")]
    let double = integer as f64;
    #[allow(clippy::cast_possible_truncation, reason = "every double of this magnitude fits 128 bits")]
    let truncated = double as i128;
    truncated == i128::from(integer)
}

/// Checks whether BIGNUMERIC can represent all digits: 38 before and 38 after the decimal point.
fn is_bignumeric(digits: &str) -> bool {
    let (integer, fraction) =
        digits.trim_start_matches('-').split_once('.').unwrap_or((digits.trim_start_matches('-'), ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    plain(integer) && plain(fraction) && integer.len() <= 38 && fraction.trim_end_matches('0').len() <= 38
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: Value, kind: Option<&str>) -> Result<Value> {
        let statement = Statement::parse("select :p");
        let arguments = Map::from_iter([("p".to_owned(), value)]);
        let types = kind.map(|kind| ("p".to_owned(), kind.to_owned())).into_iter().collect();
        parameters(&statement, &arguments, &types).map(|all| all[0].clone())
    }

    #[test]
    fn parameter_types_are_inferred_from_values() {
        for (value, kind, written) in [
            (json!(1), json!({"type": "INT64"}), json!({"value": "1"})),
            (json!(u64::MAX), json!({"type": "BIGNUMERIC"}), json!({"value": "18446744073709551615"})),
            (json!(0.5), json!({"type": "FLOAT64"}), json!({"value": "0.5"})),
            (json!(true), json!({"type": "BOOL"}), json!({"value": "true"})),
            (json!(null), json!({"type": "STRING"}), json!({"value": null})),
            (
                json!([1, null, 0.5]),
                json!({"type": "ARRAY", "arrayType": {"type": "FLOAT64"}}),
                json!({"arrayValues": [{"value": "1"}, {"value": null}, {"value": "0.5"}]}),
            ),
            (
                json!({"a": "x"}),
                json!({"type": "STRUCT", "structTypes": [{"name": "a", "type": {"type": "STRING"}}]}),
                json!({"structValues": {"a": {"value": "x"}}}),
            ),
        ] {
            let parameter = one(value.clone(), None).expect("a parameter");
            assert_eq!((&parameter["parameterType"], &parameter["parameterValue"]), (&kind, &written), "{value}");
        }
        assert!(one(json!([1, "a"]), None).expect_err("two types").message().contains("different types"));
    }

    #[test]
    fn declared_parameter_types_override_inference() {
        assert_eq!(one(json!("2013-01-01"), Some("date")).expect("a date")["parameterType"]["type"], "DATE");
        let nested = one(json!([{"a": 1, "b": ["2013-01-01"]}]), Some("ARRAY<STRUCT<a INT64, b ARRAY<DATE>>>"));
        let nested = nested.expect("nested");
        assert_eq!(nested["parameterType"]["arrayType"]["structTypes"][1]["type"]["arrayType"]["type"], "DATE");
        assert_eq!(nested["parameterValue"]["arrayValues"][0]["structValues"]["a"]["value"], "1");
        for wrong in ["", "ARRAY", "ARRAY<", "STRUCT<a>", "INT64 x", "DATE<INT64>", "STRUCT<a INT64"] {
            assert!(one(json!(1), Some(wrong)).expect_err(wrong).message().contains("is not a type"), "{wrong}");
        }
        assert!(one(json!([1]), Some("INT64")).is_err());
        assert!(one(json!({"z": 1}), Some("STRUCT<a INT64>")).is_err());
        assert_eq!(one(json!({"a": [1]}), Some("JSON")).expect("JSON")["parameterValue"]["value"], r#"{"a":[1]}"#);
    }

    fn number(text: &str) -> Value {
        serde_json::from_str(text).expect("a number")
    }

    #[test]
    fn numbers_preserve_all_digits() {
        for (text, kind, written) in [
            ("12345678901234567890123", "BIGNUMERIC", "12345678901234567890123"),
            ("0.12345678901234567890123", "BIGNUMERIC", "0.12345678901234567890123"),
            ("9007199254740993", "INT64", "9007199254740993"),
            ("0.1", "FLOAT64", "0.1"),
        ] {
            let parameter = one(number(text), None).expect(text);
            assert_eq!(parameter["parameterType"]["type"], kind, "{text}");
            assert_eq!(parameter["parameterValue"]["value"], written, "{text}");
        }
        let list = one(json!([1, number("12345678901234567890123"), 0.5]), None).expect("a list");
        assert_eq!(list["parameterType"]["arrayType"]["type"], "BIGNUMERIC");
        assert!(one(number("1e-50"), None).is_ok(), "a double has its digits");
        assert!(one(number("0.1234567890123456789012345678901234567890123"), None).is_err());
        for text in ["9007199254740993", "0.12345678901234567890123"] {
            assert!(one(number(text), Some("FLOAT64")).is_err(), "{text}");
        }
        assert!(one(json!([0.5, number("9007199254740993")]), None).is_err());
        assert_eq!(one(number("1e30"), Some("NUMERIC")).expect("a number")["parameterValue"]["value"], "1e+30");
    }

    #[test]
    fn bytes_are_encoded_as_base64() {
        let bytes = |value, kind| one(value, kind).map(|parameter| parameter["parameterValue"]["value"].clone());
        assert_eq!(bytes(json!({"$bytes": "3q0"}), None).expect("bytes"), "3q0=");
        assert_eq!(bytes(json!("3q0="), Some("BYTES")).expect("bytes"), "3q0=");
        assert_eq!(one(json!({"$bytes": "3q0="}), None).expect("bytes")["parameterType"]["type"], "BYTES");
        for wrong in [json!("*"), json!({"$bytes": "*"}), json!({"$bytes": "3q0=", "a": 1})] {
            assert!(bytes(wrong.clone(), Some("BYTES")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn invalid_parameter_names_are_rejected() {
        let statement = Statement::parse("select :a, @b");
        let arguments = |value: Value| value.as_object().cloned().expect("an object");
        let missing = parameters(&statement, &arguments(json!({"a": 1})), &BTreeMap::new()).expect_err("no b");
        assert!(missing.message().contains("`:b`"));
        let unknown = parameters(&statement, &arguments(json!({"a": 1, "b": 2, "c": 3})), &BTreeMap::new());
        assert!(unknown.expect_err("c").message().contains("`:c`"));
    }
}
