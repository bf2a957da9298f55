//! The affinity of columns (<https://www.sqlite.org/datatype3.html>): which values a column can store exactly, and
//! the kind of the values that are read from it.

use crate::bindings::blockyard::bundle::sql::Value;
use crate::cell::ColumnKind;
use crate::number;

/// Maximum number of digits of a number in an error message.
const SHOWN_DIGITS: usize = 40;

/// Returns the type of a column by its affinity (https://www.sqlite.org/datatype3.html#affname).
/// The type of expressions, and of declared types that SQLite does not enforce (`date`,
/// `timestamp`, `json`), is derived from their first values.
pub(super) fn kind(declared: &str) -> ColumnKind {
    match affinity(declared) {
        Affinity::Integer => ColumnKind::Int64,
        Affinity::Text => ColumnKind::Text,
        Affinity::Blob if declared.is_empty() => ColumnKind::Dynamic,
        Affinity::Blob => ColumnKind::Bytes,
        Affinity::Real => ColumnKind::Float64,
        Affinity::Numeric if declared.starts_with("bool") => ColumnKind::Int64,
        Affinity::Numeric if declared.starts_with("num") || declared.starts_with("dec") => ColumnKind::Float64,
        Affinity::Numeric => ColumnKind::Dynamic,
    }
}

/// Affinity of a column, which determines how SQLite converts the values that are stored in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

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

/// Returns the reason if a column of this affinity cannot store a value exactly: SQLite converts a
/// string that looks like a number to a double, with about sixteen digits.
pub(super) fn lost(affinity: Affinity, value: &Value) -> Option<String> {
    let number = match (affinity, value) {
        (Affinity::Text | Affinity::Blob, _) => return None,
        (Affinity::Real, Value::Integer(v)) if number::double_of_integer(*v).is_none() => v.to_string(),
        (_, Value::Text(text) | Value::Decimal(text) | Value::Json(text) | Value::Other((_, text))) => {
            let digits = text.trim();
            let is_integer = affinity != Affinity::Real && digits.parse::<i64>().is_ok();
            let finite = digits.parse::<f64>().is_ok() && digits.bytes().any(|byte| byte.is_ascii_digit());
            if is_integer || !finite || number::double_of_text(digits).is_some() {
                return None;
            }
            digits.to_owned()
        }
        _ => return None,
    };
    let shown: String = number.chars().take(SHOWN_DIGITS).collect();
    Some(format!("the column's type cannot hold all digits of `{shown}`; a column of type `text` can"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_the_type_of_its_declaration() {
        for (declared, expected) in [
            ("integer", ColumnKind::Int64),
            ("bigint unsigned", ColumnKind::Int64),
            ("varchar(20)", ColumnKind::Text),
            ("blob", ColumnKind::Bytes),
            ("double precision", ColumnKind::Float64),
            ("numeric", ColumnKind::Float64),
            ("decimal(10,2)", ColumnKind::Float64),
            ("boolean", ColumnKind::Int64),
            ("timestamp", ColumnKind::Dynamic),
            ("", ColumnKind::Dynamic),
        ] {
            assert_eq!(kind(declared), expected, "{declared}");
        }
    }

    #[test]
    fn digits_that_a_column_would_lose_are_found() {
        let text = |text: &str| Value::Text(text.to_owned());
        let json = |text: &str| Value::Json(text.to_owned());
        for (affinity, value) in [
            (Affinity::Real, Value::Integer(9_007_199_254_740_993)),
            (Affinity::Real, text("9007199254740993")),
            (Affinity::Integer, text("12345678901234567890123")),
            (Affinity::Numeric, Value::Decimal("0.12345678901234567890".to_owned())),
            (Affinity::Numeric, text(" 1e400")),
            (Affinity::Integer, json("18446744073709551615")),
            (Affinity::Real, json("18446744073709551615")),
        ] {
            assert!(lost(affinity, &value).is_some(), "{affinity:?} {value:?}");
        }
        for (affinity, value) in [
            (Affinity::Text, text("12345678901234567890123")),
            (Affinity::Blob, text("12345678901234567890123")),
            (Affinity::Integer, Value::Integer(9_007_199_254_740_993)),
            (Affinity::Integer, text("9007199254740993")),
            (Affinity::Numeric, text("0.10")),
            (Affinity::Numeric, text("Infinity")),
            (Affinity::Numeric, text("2013-02-08")),
            (Affinity::Integer, json("9223372036854775807")),
            (Affinity::Numeric, json("[18446744073709551615]")),
            (Affinity::Real, Value::Null),
        ] {
            assert!(lost(affinity, &value).is_none(), "{affinity:?} {value:?}");
        }
    }
}
