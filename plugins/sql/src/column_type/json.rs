//! Conversion of JSON values.

use blockyard_sdk::prelude::*;
use blockyard_sdk::serde_json;
use blockyard_sdk::serde_json::value::RawValue;
use blockyard_sdk::sql::Value as SqlValue;

use super::exact::{affinity, plain};
use super::{ColumnType, Converted, as_text};
use crate::Dialect;
use crate::ndjson::{Class, check_nested, class, string};
use crate::number::Digits;

impl ColumnType<'_> {
    pub(super) fn json(self, dialect: Dialect, json: String) -> Converted {
        Ok(match (class(&json), self) {
            (Class::Null, _) => SqlValue::Null,
            (_, Self::Json { parsed }) => checked(json, parsed)?,
            (Class::String, _) => {
                let text = string(&json).ok_or("the string is not valid")?;
                // An empty string is not null.
                if text.is_empty() && matches!(self, Self::Text { .. } | Self::Any | Self::Affinity { .. }) {
                    SqlValue::Text(text)
                } else {
                    self.string(dialect, text)?
                }
            }
            (Class::Boolean, _) => self.typed(dialect, SqlValue::Boolean(json == "true"))?,
            (Class::Number, _) => self.number(dialect, &json)?,
            (Class::Nested, Self::Text { .. }) => self.text(dialect, json)?,
            (Class::Nested, Self::Array { of }) if json.starts_with('[') => {
                list(Self::of(dialect, of), dialect, &json)?
            }
            (Class::Nested, Self::Any | Self::Affinity { .. }) => SqlValue::Json(json),
            (Class::Nested, _) => return Err(format!("a JSON list or object is not {}", self.singular())),
        })
    }

    /// Converts a number, given as text.
    pub(super) fn number(self, dialect: Dialect, text: &str) -> Converted {
        match self {
            Self::Text { .. } => self.text(dialect, text.to_owned()),
            Self::Affinity { real, boolean, .. } => affinity(text.to_owned(), real, boolean),
            Self::Any => Ok(match (text.parse(), Digits::of(text).and_then(|digits| digits.double(text))) {
                (Ok(integer), _) if text != "-0" => SqlValue::Integer(integer),
                (_, Some(float)) => SqlValue::Float(float),
                _ => SqlValue::Decimal(plain(text)),
            }),
            Self::Boolean if dialect == Dialect::Postgres => Err(format!("the number `{text}` is not a boolean")),
            Self::Bytes { .. } if dialect == Dialect::Sqlite => Self::Any.number(dialect, text),
            Self::Bytes { .. } | Self::Date | Self::Time { .. } | Self::Timestamp { .. } | Self::Instant { .. } => {
                Err(format!("the number `{text}` is not {}", self.singular()))
            }
            _ => self.text(dialect, text.to_owned()),
        }
    }
}

/// Maximum number of dimensions of a PostgreSQL array.
const DIMENSIONS: usize = 6;

/// Converts a JSON list to one whose elements are strings in the server's form, each checked like a
/// single value of the element type.
pub(super) fn list(element: ColumnType<'_>, dialect: Dialect, json: &str) -> Converted {
    fn elements(
        column_type: ColumnType<'_>,
        dialect: Dialect,
        json: &str,
        depth: usize,
    ) -> std::result::Result<Value, String> {
        if depth > DIMENSIONS {
            return Err(format!("the list has more than the {DIMENSIONS} dimensions of an array"));
        }
        let values: Vec<Box<RawValue>> = serde_json::from_str(json).map_err(|_| "the list is not valid".to_owned())?;
        let converted = values.iter().map(|value| match (class(value.get()), column_type) {
            (Class::Null, _) => Ok(Value::Null),
            (Class::Nested, _) if value.get().starts_with('[') => {
                elements(column_type, dialect, value.get(), depth + 1)
            }
            // The text of a number can have more digits than a number of JSON keeps.
            (Class::Number | Class::Nested, ColumnType::Any) => Ok(Value::String(value.get().to_owned())),
            _ => Ok(Value::String(match column_type.json(dialect, value.get().to_owned())? {
                SqlValue::Bytes(bytes) => hex(&bytes),
                converted => as_text(&converted),
            })),
        });
        converted.collect::<std::result::Result<Vec<_>, _>>().map(Value::Array)
    }
    Ok(SqlValue::Json(elements(element, dialect, json, 1)?.to_string()))
}

/// Checks a JSON text for a column that stores parsed values, which have one member per name and no
/// negative zero.
pub(super) fn checked(text: String, parsed: bool) -> Converted {
    if parsed {
        check_nested(&text)?;
        if has_minus_zero(&text) {
            return Err("the column stores `-0` as `0`; a column of type `json` or `text` keeps it".to_owned());
        }
    }
    Ok(SqlValue::Json(text))
}

/// Checks for a negative zero among the numbers of a JSON text.
fn has_minus_zero(json: &str) -> bool {
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    let bytes = json.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while bytes.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            byte if is_of_number(&byte) => {
                let length = bytes[at..].iter().take_while(|byte| is_of_number(byte)).count();
                let number = &bytes[at..at + length];
                let digits = number.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
                if byte == b'-' && digits.iter().all(|byte| matches!(byte, b'-' | b'.' | b'0')) {
                    return true;
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    false
}

/// Formats bytes in the form of PostgreSQL, which an array literal can contain.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column_type::tests::converted;
    use crate::column_type::{Datum, Empty};

    #[test]
    fn list_elements_are_validated() {
        let typed = |type_name: &'static str, json: &str| {
            let datum = Datum::Typed(SqlValue::Json(json.to_owned()));
            let converted =
                ColumnType::of(Dialect::Postgres, type_name).convert(Dialect::Postgres, Empty::Quoted, datum);
            converted.map(|value| as_text(&value))
        };
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(typed("numeric(5,2)[]", " [1.50, null, [\"2\"]]"), ok("[\"1.50\",null,[\"2\"]]"));
        assert_eq!(typed("bytea[]", "[\"3q0=\"]"), ok("[\"\\\\xdead\"]"));
        assert_eq!(typed("numeric[]", "[12345678901234567890.10]"), ok("[\"12345678901234567890.10\"]"));
        assert_eq!(typed("integer[]", "\"[0:1]={1,2}\""), ok("[0:1]={1,2}"));
        assert_eq!(typed("integer[]", "null"), ok("null"));
        assert_eq!(typed("list\nrange\ndate", "[\"[2013-02-08,)\"]"), ok("[\"[2013-02-08,)\"]"));
        for (type_name, json) in [
            ("real[]", "[16777217]"),
            ("integer[]", "nul"),
            ("integer[]", "7"),
            ("list\nlist\nnumeric(5,2)", "[[1.005]]"),
            ("list\nrange\ndate", "[\"[2013-02-08 11:00:00,)\"]"),
            ("list\nrecord\nnumeric(5,2)", "[\"(1.005)\"]"),
            ("integer[]", "[[[[[[[1]]]]]]]"),
        ] {
            assert!(typed(type_name, json).is_err(), "{type_name} {json}");
        }
    }

    #[test]
    fn duplicate_names_in_json_are_rejected() {
        for json in ["{\"a\":1,\"a\":2}", "[[{\"a\":1,\"a\":2}]]", "-0", "[1,-0.00e5]"] {
            assert!(converted(Dialect::Postgres, "jsonb", json).is_err(), "{json}");
            assert_eq!(converted(Dialect::Postgres, "json", json), Ok(json.to_owned()));
        }
        for json in ["{\"a\":{\"a\":-0.5}}", "[\"-0\",1e-0,-10]", "\"\\\"-0\"", "null"] {
            assert_eq!(converted(Dialect::Postgres, "jsonb", json), Ok(json.to_owned()));
        }
    }
}
