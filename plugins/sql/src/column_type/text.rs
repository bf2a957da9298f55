//! Conversion of strings.

use blockyard_sdk::serde_json;
use blockyard_sdk::sql::{Timestamp, Value as SqlValue, float_text};
use serde::de::IgnoredAny;

use super::exact::{affinity, decimal};
use super::range::{has_places, is_endless, is_long_time};
use super::{ColumnType, Converted, boolean, json, literal, member, shown, timestamp};
use crate::Dialect;
use crate::bytes_text;
use crate::ndjson::string;
use crate::number::Digits;
use crate::style;
use blockyard_sdk::calendar::{self, DAY_MICROS};

impl ColumnType<'_> {
    pub(super) fn text(self, dialect: Dialect, text: String) -> Converted {
        let refused = |text: &str| format!("`{}` is not {}", shown(text), self.singular());
        let trimmed = text.trim();
        Ok(match self {
            Self::Boolean => match boolean(trimmed) {
                Some(boolean) => SqlValue::Boolean(boolean),
                None if dialect == Dialect::Mysql => {
                    Self::Integer { low: -128, high: 127 }.text(dialect, text.clone()).map_err(|_| refused(&text))?
                }
                None => return Err(refused(&text)),
            },
            Self::Year => return Self::Integer { low: 0, high: 2155 }.text(dialect, text),
            Self::Bits { high } => return Self::Integer { low: 0, high: high.into() }.text(dialect, text),
            Self::Integer { low, high } => {
                if let Some(integer) =
                    trimmed.parse().ok().filter(|integer| (low..=high).contains(&i128::from(*integer)))
                {
                    return Ok(SqlValue::Integer(integer));
                }
                let integer = Digits::of(trimmed).and_then(|digits| digits.integer()).ok_or_else(|| refused(&text))?;
                if !(low..=high).contains(&integer) {
                    return Err(format!("`{}` is not between {low} and {high}", shown(&text)));
                }
                i64::try_from(integer).map_or_else(|_| SqlValue::Decimal(integer.to_string()), SqlValue::Integer)
            }
            Self::Single | Self::Double => self.float(trimmed, &text)?,
            Self::Decimal { precision, scale } => decimal(dialect, trimmed, precision, scale)?,
            Self::FixedFloat { single, precision, scale } => {
                let converted = decimal(dialect, trimmed, precision, scale)?;
                let float = if single { Self::Single } else { Self::Double };
                float.float(trimmed, &text)?;
                converted
            }
            Self::Text { characters, trims } => {
                let length = text.chars().count();
                if let Some(most) = characters.filter(|most| length > *most) {
                    return Err(format!("the string has {length} characters, more than the {most} of the column"));
                }
                // PostgreSQL fills `char` with spaces, so they do not change a value of full length.
                let is_full = dialect == Dialect::Postgres && Some(length) == characters;
                if trims && !is_full && text.ends_with(' ') {
                    return Err("the string ends in a space, which `char` drops; `varchar` keeps it".to_owned());
                }
                SqlValue::Text(text)
            }
            Self::Bytes { .. } => {
                let bytes = bytes_text::decode(&text).ok_or_else(|| refused(&text))?;
                self.typed(dialect, SqlValue::Bytes(bytes))?
            }
            // Only the server can interpret `infinity` and `-infinity`.
            Self::Date | Self::Timestamp { .. } | Self::Instant { .. } if is_endless(dialect, trimmed) => {
                SqlValue::Text(trimmed.to_owned())
            }
            Self::Date => match (calendar::date(trimmed), calendar::timestamp(trimmed)) {
                (Some(days), _) => self.typed(dialect, SqlValue::Date(days))?,
                (None, Some(Timestamp { micros, offset_minutes: None })) => {
                    self.typed(dialect, timestamp(micros, false))?
                }
                _ => return Err(refused(&text)),
            },
            Self::Time { places } => match calendar::time(trimmed) {
                Some(micros) => {
                    has_places(micros, places, &text)?;
                    SqlValue::Time(micros)
                }
                None if dialect == Dialect::Mysql && is_long_time(trimmed, places) => {
                    SqlValue::Text(trimmed.to_owned())
                }
                None => return Err(refused(&text)),
            },
            Self::Timestamp { .. } | Self::Instant { .. } => {
                let moment = match (calendar::timestamp(trimmed), calendar::date(trimmed), self) {
                    (Some(moment), ..) => moment,
                    (None, Some(days), Self::Timestamp { .. }) => {
                        Timestamp { micros: i64::from(days) * DAY_MICROS, offset_minutes: None }
                    }
                    _ => return Err(refused(&text)),
                };
                self.typed(dialect, timestamp(moment.micros, moment.offset_minutes.is_some()))?
            }
            Self::Member { of, is_set } => {
                member::check(of, is_set, &text)?;
                SqlValue::Text(text)
            }
            Self::Json { parsed } => json::checked(text, parsed)?,
            Self::Affinity { numeric: false, .. } => return self.string(dialect, text),
            Self::Affinity { real, boolean, .. } => affinity(text, real, boolean)?,
            Self::Array { of } if text.starts_with('[') && serde_json::from_str::<IgnoredAny>(&text).is_ok() => {
                json::list(Self::of(dialect, of), dialect, &text)?
            }
            Self::Array { of } => {
                // `unload` writes an array whose subscripts do not begin at 1 as a JSON string.
                let text = if text.starts_with('"') { string(&text).unwrap_or(text) } else { text };
                literal::check_array(Self::of(dialect, of), &text)?;
                SqlValue::Text(text)
            }
            Self::Literal(literal) => {
                literal.check(&text)?;
                SqlValue::Text(text)
            }
            Self::Any => SqlValue::Text(text),
        })
    }

    /// Converts a string, which is not the text of a number: SQLite must not convert it to a number
    /// with another text.
    pub(super) fn string(self, dialect: Dialect, text: String) -> Converted {
        let Self::Affinity { real, boolean, .. } = self else { return self.text(dialect, text) };
        let converted = affinity(text.clone(), real, boolean)?;
        let is_same = match &converted {
            SqlValue::Integer(integer) => integer.to_string() == text,
            // The sign of zero is lost, and a column of integers stores `1.0` as `1`.
            SqlValue::Float(float) if float.is_finite() => {
                let is_float = real || float.fract() != 0.0;
                let is_printed = float.to_string() == text || float_text(*float) == text;
                is_float && is_printed && !style::is_minus_zero(&text)
            }
            _ => true,
        };
        if is_same {
            return Ok(converted);
        }
        Err(format!("SQLite converts the string `{}` to a number; a column of type `text` keeps it", shown(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column_type::tests::converted;
    use crate::column_type::{Datum, Empty};

    #[test]
    fn strings_that_sqlite_would_convert_are_rejected() {
        let string = |type_name: &str, text: &str| {
            let datum = Datum::Typed(SqlValue::Text(text.to_owned()));
            ColumnType::of(Dialect::Sqlite, type_name).convert(Dialect::Sqlite, Empty::Quoted, datum).is_ok()
        };
        let field = |type_name: &str, text: &str| converted(Dialect::Sqlite, type_name, text).is_ok();
        for text in ["00501", "1e5", " +5", "5 ", ".5", "1.10", "-0"] {
            for type_name in ["string", "date", "json", "numeric", "integer", "real"] {
                assert!(!string(type_name, text), "{type_name} {text}");
            }
            assert!(!field("string", text) && string("text", text) && string("", text), "{text}");
        }
        assert!(field("numeric", "00501") && field("integer", "1e5") && field("real", "1.10"));
        for text in ["501", "-5", "2.5", "2013-02-08", "x", "0x10"] {
            assert!(string("string", text) && field("date", text) && string("numeric", text), "{text}");
        }
        assert!(string("real", "1") && string("real", "1.0") && !string("numeric", "1.0"));
    }
}
