//! Conversion of values of file formats with types.

use blockyard_sdk::sql::{Value as SqlValue, float_text};

use super::range::{LAST_DATE_YEAR, LAST_TIMESTAMP_YEAR, MYSQL_TIMESTAMPS, has_places, has_year};
use super::{ColumnType, Converted, as_text, json, shown, timestamp};
use crate::Dialect;
use crate::ndjson::{Class, class};
use blockyard_sdk::calendar::DAY_MICROS;

impl ColumnType<'_> {
    pub(super) fn typed(self, dialect: Dialect, value: SqlValue) -> Converted {
        Ok(match (self, value) {
            (_, SqlValue::Null) => SqlValue::Null,
            (Self::Json { parsed }, SqlValue::Text(text) | SqlValue::Json(text)) => json::checked(text, parsed)?,
            (_, SqlValue::Text(text)) if text.is_empty() => SqlValue::Text(text),
            (_, SqlValue::Text(text)) => self.string(dialect, text)?,
            (Self::Array { .. }, SqlValue::Json(json)) => match json.trim() {
                json if class(json) == Class::Null && json != "null" => {
                    return Err(format!("`{}` is not {}", shown(json), self.singular()));
                }
                json => self.json(dialect, json.to_owned())?,
            },
            (Self::Literal(_), value @ (SqlValue::Bytes(_) | SqlValue::Json(_))) => {
                return Err(self.type_mismatch(&value));
            }
            (Self::Literal(_), value) => self.text(dialect, as_text(&value))?,
            (Self::Member { .. }, SqlValue::Integer(integer)) => self.text(dialect, integer.to_string())?,
            (Self::Any, value) => value,
            (Self::Integer { .. } | Self::Affinity { .. }, SqlValue::Boolean(value)) => SqlValue::Boolean(value),
            (Self::Text { .. }, SqlValue::Float(float)) => self.text(dialect, float_text(float))?,
            (Self::Text { .. }, SqlValue::Bytes(bytes)) => SqlValue::Bytes(bytes),
            (Self::Text { .. }, value) => self.text(dialect, as_text(&value))?,
            (Self::Single | Self::Double, SqlValue::Float(float)) => {
                #[allow(clippy::cast_possible_truncation, reason = "compared with the value below")]
                let single = f64::from(float as f32);
                if self == Self::Single && float.is_finite() && single.to_bits() != float.to_bits() {
                    return self.float(&float.to_string(), &float.to_string());
                }
                SqlValue::Float(float)
            }
            (Self::FixedFloat { single: true, .. }, SqlValue::Float(float)) => {
                // The shortest digits of the 32-bit float, not those of the double.
                #[allow(clippy::cast_possible_truncation, reason = "compared with the value below")]
                let single = float as f32;
                let is_single = f64::from(single).to_bits() == float.to_bits();
                self.text(dialect, if is_single { single.to_string() } else { float_text(float) })?
            }
            (Self::FixedFloat { .. }, value @ (SqlValue::Integer(_) | SqlValue::Float(_) | SqlValue::Decimal(_))) => {
                self.number(dialect, &as_text(&value))?
            }
            (Self::Affinity { .. }, value @ (SqlValue::Float(_) | SqlValue::Bytes(_))) => value,
            (Self::Affinity { .. }, SqlValue::Json(text) | SqlValue::Uuid(text)) => self.string(dialect, text)?,
            (Self::Boolean | Self::Integer { .. } | Self::Single | Self::Double | Self::Decimal { .. }, value)
            | (Self::Affinity { .. }, value @ (SqlValue::Integer(_) | SqlValue::Decimal(_))) => match &value {
                SqlValue::Boolean(_) if self == Self::Boolean => value,
                SqlValue::Integer(_) | SqlValue::Float(_) | SqlValue::Decimal(_) => {
                    self.number(dialect, &as_text(&value))?
                }
                _ => return Err(self.type_mismatch(&value)),
            },
            (Self::Bytes { exactly }, SqlValue::Bytes(bytes)) => match exactly {
                Some(length) if length != bytes.len() => {
                    return Err(format!("the value has {} bytes, but the column requires {length}", bytes.len()));
                }
                _ => SqlValue::Bytes(bytes),
            },
            (Self::Date, SqlValue::Date(days)) => {
                has_year(dialect, days, LAST_DATE_YEAR)?;
                SqlValue::Date(days)
            }
            (Self::Date, SqlValue::Timestamp(at)) if at.offset_minutes.is_none() && at.micros % DAY_MICROS == 0 => {
                let days = i32::try_from(at.micros / DAY_MICROS).map_err(|_| "the day is out of range".to_owned())?;
                has_year(dialect, days, LAST_DATE_YEAR)?;
                SqlValue::Date(days)
            }
            (Self::Time { places }, SqlValue::Time(micros)) => {
                if !(0..=DAY_MICROS).contains(&micros) {
                    return Err("the time is not within a day".to_owned());
                }
                has_places(micros, places, &as_text(&SqlValue::Time(micros)))?;
                SqlValue::Time(micros)
            }
            (Self::Timestamp { places }, SqlValue::Date(days)) => {
                Self::Timestamp { places }.typed(dialect, timestamp(i64::from(days) * DAY_MICROS, false))?
            }
            (Self::Timestamp { places } | Self::Instant { places, .. }, SqlValue::Timestamp(at)) => {
                self.has_zone(dialect, at.offset_minutes.is_some())?;
                has_places(at.micros, places, &as_text(&SqlValue::Timestamp(at)))?;
                let days = i32::try_from(at.micros.div_euclid(DAY_MICROS));
                has_year(dialect, days.map_err(|_| "the timestamp is out of range".to_owned())?, LAST_TIMESTAMP_YEAR)?;
                if dialect == Dialect::Mysql
                    && matches!(self, Self::Instant { .. })
                    && !MYSQL_TIMESTAMPS.contains(&at.micros.div_euclid(1_000_000))
                {
                    let text = as_text(&SqlValue::Timestamp(at));
                    return Err(format!("`{text}` is outside of the range of `timestamp`; `datetime(6)` keeps it"));
                }
                timestamp(at.micros, matches!(self, Self::Instant { .. }))
            }
            (Self::Json { .. }, value @ (SqlValue::Integer(_) | SqlValue::Boolean(_))) => value,
            (Self::Json { parsed }, SqlValue::Float(float)) if float.is_finite() => {
                json::checked(float_text(float), parsed)?
            }
            // SQLite stores values of any type in any column.
            (_, value) if dialect == Dialect::Sqlite => value,
            (_, value) => return Err(self.type_mismatch(&value)),
        })
    }

    /// Checks that a timestamp has a zone exactly if the PostgreSQL column has one. MySQL's
    /// `datetime` stores timestamps with a zone as UTC, as documented in the book.
    fn has_zone(self, dialect: Dialect, zone: bool) -> std::result::Result<(), String> {
        match (self, zone) {
            (Self::Timestamp { .. }, true) if dialect == Dialect::Postgres => {
                Err("the timestamp has a zone, but the column has none; `timestamptz` keeps it".to_owned())
            }
            (Self::Instant { .. }, false) if dialect == Dialect::Postgres => {
                Err("the timestamp has no zone, but the column requires one; append `Z` or an offset".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn type_mismatch(self, value: &SqlValue) -> String {
        format!("{} is not {}", named(value), self.singular())
    }
}

fn named(value: &SqlValue) -> String {
    match value {
        SqlValue::Bytes(bytes) => format!("a value of {} bytes", bytes.len()),
        other => format!("`{}`", shown(&as_text(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column_type::tests::converted;
    use crate::column_type::{Datum, Empty};

    #[test]
    fn mysql_numbers_out_of_range_are_rejected() {
        let typed = |type_name: &'static str, value: SqlValue| {
            let converted =
                ColumnType::of(Dialect::Mysql, type_name).convert(Dialect::Mysql, Empty::Quoted, Datum::Typed(value));
            converted.map(|value| as_text(&value))
        };
        let single = SqlValue::Float(f64::from(1.05_f32));
        assert_eq!(typed("float(7,2)", single.clone()), Ok("1.05".to_owned()));
        assert!(typed("double(7,2)", single).is_err() && typed("double(7,2)", SqlValue::Float(1.05)).is_ok());
        assert!(converted(Dialect::Mysql, "float(10,2)", "16777217.25").is_err());
        assert!(converted(Dialect::Mysql, "float(7,2)", "99999.99").is_ok());
        let bits = |text: &str| {
            let datum = Datum::Json(text.to_owned());
            ColumnType::of(Dialect::Mysql, "bit(64)").convert(Dialect::Mysql, Empty::Quoted, datum)
        };
        assert!(matches!(bits("18446744073709551615"), Ok(SqlValue::Bytes(bytes)) if bytes == [0xff; 8]));
        assert!(matches!(bits("\"9\""), Ok(SqlValue::Integer(9))));
        assert!(bits("18446744073709551616").is_err() && bits("-1").is_err());
        assert!(
            converted(Dialect::Mysql, "bit(8)", "255").is_ok() && converted(Dialect::Mysql, "bit(8)", "256").is_err()
        );
    }
}
