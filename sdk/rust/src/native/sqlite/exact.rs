//! Values that SQLite can store exactly. It would store any other number as a rounded double.

use super::super::value::Value;

/// Maximum number of digits of a number in an error message.
const SHOWN_DIGITS: usize = 40;

const INEXACT: &str = "SQLite cannot store all digits of this number; pass it as a string, to a column of type `text`";

/// Affinity of a column, which determines how SQLite converts the values that are stored in it
/// (<https://www.sqlite.org/datatype3.html#affname>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

/// Returns the affinity of a declared type, in lower case.
pub(super) fn affinity(declared: &str) -> Affinity {
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    if has(&["int"]) {
        Affinity::Integer
    } else if has(&["char", "clob", "text"]) {
        Affinity::Text
    } else if declared.is_empty() || has(&["blob"]) {
        Affinity::Blob
    } else if has(&["real", "floa", "doub"]) {
        Affinity::Real
    } else {
        Affinity::Numeric
    }
}

/// Returns the reason if SQLite cannot represent a parameter.
pub(super) fn unknown_to_sqlite(value: &Value) -> Option<&'static str> {
    match value {
        Value::Float(v) if v.is_nan() => Some("SQLite has no `NaN`; pass it as a string, or null"),
        Value::Decimal(v) if is_inexact(v) => Some(INEXACT),
        Value::Json(v) if v.trim().parse::<f64>().is_ok() && is_inexact(v) => Some(INEXACT),
        Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => Some("SQLite has no date types; pass it as a string"),
        _ => None,
    }
}

/// Returns the reason if a column of this affinity cannot store a value exactly.
pub(super) fn lost(affinity: Affinity, value: &Value) -> Option<String> {
    let number = match (affinity, value) {
        (Affinity::Text | Affinity::Blob, _) => return None,
        (Affinity::Real, Value::Integer(v)) if !is_double(&v.to_string()) => v.to_string(),
        (_, Value::Text(text) | Value::Decimal(text) | Value::Json(text) | Value::Other((_, text))) => {
            let digits = text.trim();
            let is_integer = affinity != Affinity::Real && digits.parse::<i64>().is_ok();
            let is_number = digits.parse::<f64>().is_ok() && digits.bytes().any(|byte| byte.is_ascii_digit());
            if is_integer || !is_number || is_double(digits) {
                return None;
            }
            digits.to_owned()
        }
        _ => return None,
    };
    let shown: String = number.chars().take(SHOWN_DIGITS).collect();
    Some(format!("the column's type cannot hold all digits of `{shown}`; a column of type `text` can"))
}

/// Checks that a number is neither a 64-bit integer nor equal to a double.
fn is_inexact(number: &str) -> bool {
    let number = number.trim();
    let has_digits = number.bytes().any(|byte| byte.is_ascii_digit());
    number.parse::<i64>().is_err() && (number.parse::<f64>().is_err() || has_digits && !is_double(number))
}

/// Checks that the shortest decimal form of a double has the digits of a number.
fn is_double(number: &str) -> bool {
    let double: f64 = number.parse().unwrap_or(f64::NAN);
    double.is_finite() && significant(number) == significant(&format!("{double:e}"))
}

/// Returns the sign, the digits without zeros at their ends, and the decimal exponent of the last
/// digit. `None` if the exponent is not a number.
fn significant(number: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_negative = integer.starts_with('-');
    let digits = format!("{}{fraction}", integer.trim_start_matches(['-', '+']));
    let shortened = digits.trim_end_matches('0');
    let dropped = i64::try_from(digits.len() - shortened.len()).ok()?;
    let significant = shortened.trim_start_matches('0').to_owned();
    if significant.is_empty() {
        return Some((false, significant, 0));
    }
    let exponent = exponent.parse::<i64>().ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    Some((is_negative, significant, exponent.checked_add(dropped)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_would_be_rounded_is_refused() {
        let json = |text: &str| Value::Json(text.to_owned());
        let decimal = |text: &str| Value::Decimal(text.to_owned());
        for value in [
            json("18446744073709551615"),
            json(" 0.12345678901234567890 "),
            json("1e400"),
            decimal("18446744073709551615"),
            Value::Float(f64::NAN),
            Value::Date(1),
        ] {
            assert!(unknown_to_sqlite(&value).is_some(), "{value:?}");
        }
        for value in [
            json("9223372036854775807"),
            json("9007199254740992.0"),
            json("1.50"),
            json("\"18446744073709551615\""),
            json("[18446744073709551615]"),
            json("null"),
            decimal("-0.10"),
            decimal("1.5e-3"),
            decimal("0.00"),
            Value::Text("18446744073709551615".to_owned()),
        ] {
            assert!(unknown_to_sqlite(&value).is_none(), "{value:?}");
        }
    }

    #[test]
    fn digits_that_a_column_would_lose_are_found() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (affinity, value) in [
            (Affinity::Real, Value::Integer(9_007_199_254_740_993)),
            (Affinity::Real, text("9007199254740993")),
            (Affinity::Integer, text("12345678901234567890123")),
            (Affinity::Numeric, text(" 1e400")),
        ] {
            assert!(lost(affinity, &value).is_some(), "{affinity:?} {value:?}");
        }
        for (affinity, value) in [
            (Affinity::Text, text("12345678901234567890123")),
            (Affinity::Integer, Value::Integer(9_007_199_254_740_993)),
            (Affinity::Integer, text("9007199254740993")),
            (Affinity::Numeric, text("0.10")),
            (Affinity::Numeric, text("Infinity")),
            (Affinity::Numeric, text("2013-02-08")),
            (Affinity::Real, Value::Null),
        ] {
            assert!(lost(affinity, &value).is_none(), "{affinity:?} {value:?}");
        }
    }
}
