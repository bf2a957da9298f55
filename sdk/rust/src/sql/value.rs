//! Conversion between SQL values and JSON.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde_json::{Number, Value as Json};

use super::wit::Value;
use super::{json, text};
use crate::{Problem, Result, calendar};

/// Name of the only member of an object that represents bytes.
const BYTES: &str = "$bytes";

/// Standard base64 (RFC 4648), with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Converts JSON to an SQL value. A number becomes an integer or a float if that has the same
/// digits, otherwise a decimal. Lists and objects become JSON values.
#[must_use]
pub fn from_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => from_number(number),
        Json::String(text) => Value::Text(text.clone()),
        nested => Value::Json(nested.to_string()),
    }
}

/// Converts JSON to a parameter. Like [`from_json`], but `{"$bytes": "3q0="}` becomes the bytes
/// decoded from base64.
///
/// # Errors
/// The value of `$bytes` is not valid base64.
pub fn parameter(value: &Json) -> Result<Value> {
    match value.as_object().filter(|object| object.contains_key(BYTES)) {
        None => Ok(from_json(value)),
        Some(object) => {
            let encoded = object[BYTES].as_str().filter(|_| object.len() == 1);
            encoded.and_then(bytes_from_base64).map(Value::Bytes).ok_or_else(|| {
                Problem::invalid(format!("an object with `{BYTES}` must have only this member, a base64 string")).hint(format!(
                    "write bytes as `{{\"{BYTES}\": \"3q0=\"}}`; pass a JSON document that contains this name as a string"
                ))
            })
        }
    }
}

/// Decodes standard base64, with or without padding. Returns `None` if the text is not base64.
#[must_use]
pub fn bytes_from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Encodes bytes as standard base64, with padding.
#[must_use]
pub fn bytes_to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Converts an SQL value to JSON. Decimals, dates and times become strings (ISO 8601), and bytes
/// become base64. Floats that are not finite become `NaN`, `Infinity` and `-Infinity`. JSON that
/// cannot be parsed becomes a string.
#[must_use]
pub fn to_json(value: Value) -> Json {
    match value {
        Value::Json(text) => json::parse(&text).unwrap_or(Json::String(text)),
        other => without_json(other),
    }
}

/// Converts an SQL value to JSON like [`to_json`], but rejects JSON that cannot be represented.
///
/// # Errors
/// The value is JSON that has a duplicate name in an object or is nested too deeply.
pub fn try_to_json(value: Value) -> Result<Json> {
    match value {
        Value::Json(text) => json::parse(&text).map_err(|error| {
            Problem::invalid(format!("cannot represent the JSON value: {error}"))
                .hint("select it as text, with `cast(… as text)`")
        }),
        other => Ok(without_json(other)),
    }
}

fn without_json(value: Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => value.into(),
        Value::Integer(value) => value.into(),
        Value::Float(value) => Number::from_f64(value).map_or_else(|| text::float_text(value).into(), Json::Number),
        Value::Decimal(text) | Value::Text(text) | Value::Uuid(text) | Value::Json(text) | Value::Other((_, text)) => {
            text.into()
        }
        Value::Bytes(bytes) => bytes_to_base64(&bytes).into(),
        Value::Date(days) => calendar::date_text(days.into()).into(),
        Value::Time(micros) => calendar::time_text(micros).into(),
        Value::Timestamp(timestamp) => {
            calendar::timestamp_text(timestamp.micros, timestamp.offset_minutes.is_some()).into()
        }
    }
}

fn from_number(number: &Number) -> Value {
    if let Some(integer) = number.as_i64() {
        return Value::Integer(integer);
    }
    let written = number.to_string();
    let float = number.as_f64().filter(|float| {
        let read = Number::from_f64(*float).map(|read| read.to_string());
        read.is_some_and(|read| significant(&read) == significant(&written))
    });
    float.map_or_else(|| Value::Decimal(plain(&written)), Value::Float)
}

/// Components of a decimal number: the sign, the digits, and the power of ten of the last digit.
struct Parts {
    negative: bool,
    digits: String,
    power: i64,
}

fn parts(number: &str) -> Option<Parts> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (number, 0),
    };
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let power = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    Some(Parts { negative, digits: format!("{integer}{fraction}"), power })
}

/// Returns a normalized form that is equal for all spellings of a number.
fn significant(number: &str) -> Option<(bool, String, i64)> {
    let Parts { negative, digits, power } = parts(number)?;
    let trimmed = digits.trim_end_matches('0');
    let zeros = i64::try_from(digits.len() - trimmed.len()).ok()?;
    let significant = trimmed.trim_start_matches('0');
    Some(match significant {
        "" => (negative, String::new(), 0),
        _ => (negative, significant.to_owned(), power.checked_add(zeros)?),
    })
}

/// Largest exponent that is expanded to zeros.
const MAX_EXPONENT: i64 = 1_000;

/// Formats a number without an exponent, unless the exponent exceeds [`MAX_EXPONENT`].
fn plain(number: &str) -> String {
    let Some(Parts { negative, digits, power }) = parts(number).filter(|parts| parts.power.abs() <= MAX_EXPONENT)
    else {
        return number.to_owned();
    };
    let digits = digits.trim_start_matches('0');
    let mut text = if negative { "-".to_owned() } else { String::new() };
    match usize::try_from(power) {
        Ok(zeros) => {
            text.push_str(if digits.is_empty() { "0" } else { digits });
            text.extend(std::iter::repeat_n('0', if digits.is_empty() { 0 } else { zeros }));
        }
        Err(_) => {
            let places = usize::try_from(-power).unwrap_or_default();
            let padded = format!("{digits:0>width$}", width = places + 1);
            let (integer, fraction) = padded.split_at(padded.len() - places);
            text.push_str(integer);
            text.push('.');
            text.push_str(fraction);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sql::Timestamp;

    fn read(text: &str) -> Value {
        from_json(&serde_json::from_str(text).expect("JSON"))
    }

    #[test]
    fn values_have_a_canonical_json_form() {
        let at = |micros, offset_minutes| to_json(Value::Timestamp(Timestamp { micros, offset_minutes }));
        assert_eq!(at(1_360_321_200_000_000, Some(0)), json!("2013-02-08T11:00:00Z"));
        assert_eq!(at(-1, None), json!("1969-12-31T23:59:59.999999"));
        assert_eq!(to_json(Value::Date(11_016)), json!("2000-02-29"));
        assert_eq!(to_json(Value::Bytes(b"any carnal pleas".to_vec())), json!("YW55IGNhcm5hbCBwbGVhcw=="));
        assert_eq!(to_json(Value::Json("[1]".into())), json!([1]));
        assert_eq!(to_json(Value::Float(f64::NAN)), json!("NaN"));
        assert_eq!(to_json(Value::Float(f64::NEG_INFINITY)), json!("-Infinity"));
        assert_eq!(
            to_json(Value::Json("[1.10, 12345678901234567890123]".into())).to_string(),
            "[1.10,12345678901234567890123]"
        );
        assert!(try_to_json(Value::Json(r#"{"a": 1, "a": 2}"#.into())).is_err());
    }

    #[test]
    fn only_lossless_numbers_become_floats() {
        for text in ["0.5", "1e300", "1.10", "30000000.0", "0.30000000000000004"] {
            assert!(matches!(read(text), Value::Float(_)), "{text}");
        }
        for (text, digits) in [
            ("12345678901234567890123", "12345678901234567890123"),
            ("18446744073709551615", "18446744073709551615"),
            ("0.12345678901234567890123", "0.12345678901234567890123"),
            ("-0.000123456789012345678901e-2", "-0.00000123456789012345678901"),
            ("12345678901234567890.5e3", "12345678901234567890500"),
            ("9007199254740993.0", "9007199254740993.0"),
        ] {
            assert!(matches!(read(text), Value::Decimal(found) if found == digits), "{text}: {:?}", read(text));
        }
        assert!(matches!(read("1e400"), Value::Decimal(found) if found == format!("1{}", "0".repeat(400))));
        assert!(matches!(read("9223372036854775807"), Value::Integer(i64::MAX)));
        assert!(
            matches!(read(r#"{"id":12345678901234567890123}"#), Value::Json(text) if text == r#"{"id":12345678901234567890123}"#)
        );
    }

    #[test]
    fn bytes_have_an_explicit_form() {
        for text in ["3q0=", "3q0"] {
            let bytes = parameter(&json!({ "$bytes": text })).expect("base64");
            assert!(matches!(bytes, Value::Bytes(bytes) if bytes == [0xde, 0xad]), "{text}");
        }
        for invalid in
            [json!({"$bytes": "*"}), json!({"$bytes": 1}), json!({"$bytes": "3q0=", "a": 1}), json!({"$bytes": "3q1="})]
        {
            assert!(parameter(&invalid).is_err(), "{invalid}");
        }
        assert!(matches!(parameter(&json!({"bytes": "3q0="})), Ok(Value::Json(_))));
        assert!(matches!(parameter(&json!("3q0=")), Ok(Value::Text(_))));
    }
}
