//! What columns hold: told by a file's own types, or found out from the values of its first rows.

use arrow_schema::{DataType, Field};
use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::Value as SqlValue;
use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::schema::types::Type as ParquetType;

/// The key of the field metadata in which the host says what a text is.
const KIND: &str = "blockyard:kind";

/// What the values of a column are, as far as a table has a type for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Integer,
    Float,
    Decimal,
    Text,
    Bytes,
    Date,
    Time,
    /// Without a zone.
    Timestamp,
    /// With one.
    Instant,
    Uuid,
    Json,
}

impl Kind {
    /// What all of these texts are; `plain` where nothing else tells numbers and booleans from texts.
    pub(crate) fn of_texts<'text>(texts: impl Iterator<Item = &'text str>, plain: bool) -> Self {
        let plain_kinds = [Self::Integer, Self::Float, Self::Decimal, Self::Boolean].into_iter().filter(|_| plain);
        let mut left: Vec<Self> = plain_kinds.chain([Self::Date, Self::Timestamp, Self::Instant]).collect();
        let mut any = false;
        for text in texts {
            any = true;
            left.retain(|kind| kind.is_kind_of(text));
        }
        left.first().filter(|_| any).copied().unwrap_or(Self::Text)
    }

    /// Whether a column that was made for this kind takes the value as what it is.
    pub(crate) fn takes(self, value: &SqlValue) -> bool {
        match (self, value) {
            (_, SqlValue::Null) => true,
            (Self::Float, SqlValue::Text(text)) => is_decimal(text) || is_float(text),
            (kind, SqlValue::Text(text)) => kind.is_kind_of(text),
            (Self::Integer, SqlValue::Float(_) | SqlValue::Decimal(_) | SqlValue::Boolean(_)) => false,
            (Self::Float | Self::Decimal | Self::Text | Self::Date, SqlValue::Boolean(_)) => false,
            (
                Self::Boolean | Self::Text | Self::Date,
                SqlValue::Integer(_) | SqlValue::Float(_) | SqlValue::Decimal(_),
            ) => false,
            (
                Self::Boolean | Self::Integer | Self::Float | Self::Decimal | Self::Text | Self::Date,
                SqlValue::Json(_),
            ) => false,
            _ => true,
        }
    }

    /// For people.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Boolean => "booleans",
            Self::Integer => "whole numbers",
            Self::Float => "numbers",
            Self::Decimal => "exact numbers",
            Self::Text => "texts",
            Self::Bytes => "bytes",
            Self::Date => "dates",
            Self::Time => "times",
            Self::Timestamp | Self::Instant => "timestamps",
            Self::Uuid => "UUIDs",
            Self::Json => "JSON",
        }
    }

    fn is_kind_of(self, text: &str) -> bool {
        match self {
            Self::Integer => is_integer(text),
            Self::Float => is_float(text),
            Self::Decimal => is_decimal(text),
            Self::Boolean => is_boolean(text),
            Self::Date => is_date(text),
            Self::Timestamp => is_timestamp(text),
            Self::Instant => is_instant(text),
            _ => true,
        }
    }

    pub(crate) fn of_values(values: &[&Value]) -> Self {
        let mut kinds = values.iter().filter(|value| !value.is_null()).map(|value| match value {
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_i64() => Self::Integer,
            Value::Number(number) if number.is_u64() => Self::Decimal,
            Value::Number(_) => Self::Float,
            Value::String(_) => Self::Text,
            _ => Self::Json,
        });
        let first = kinds.next().unwrap_or(Self::Text);
        let common = kinds.fold(first, |common, kind| match (common, kind) {
            (common, kind) if common == kind => common,
            (Self::Integer, Self::Float) | (Self::Float, Self::Integer) => Self::Float,
            (Self::Decimal, Self::Integer | Self::Float) | (Self::Integer | Self::Float, Self::Decimal) => {
                Self::Decimal
            }
            _ => Self::Json,
        });
        match common {
            Self::Text => Self::of_texts(values.iter().filter_map(|value| value.as_str()), false),
            common => common,
        }
    }

    pub(crate) fn of_field(field: &Field) -> Result<Self> {
        Ok(match field.data_type() {
            DataType::Boolean => Self::Boolean,
            DataType::UInt64 => Self::Decimal,
            kind if kind.is_integer() => Self::Integer,
            kind if kind.is_floating() => Self::Float,
            kind if kind.is_decimal() => Self::Decimal,
            DataType::Dictionary(_, values) => {
                let values = field.clone().with_data_type(values.as_ref().clone());
                return Self::of_field(&values);
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                match field.metadata().get(KIND).map(String::as_str) {
                    Some("decimal") => Self::Decimal,
                    Some("uuid") => Self::Uuid,
                    Some("json") => Self::Json,
                    _ => Self::Text,
                }
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Bytes
            }
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::Instant,
            other => return Err(nested(field.name(), &format!("values of the type {other}"))),
        })
    }

    pub(crate) fn of_parquet(field: &ParquetType) -> Result<Self> {
        let about = field.get_basic_info();
        if !field.is_primitive() || about.repetition() == Repetition::REPEATED {
            return Err(nested(field.name(), "lists or records"));
        }
        Ok(match (about.logical_type_ref(), about.converted_type(), field.get_physical_type()) {
            (Some(LogicalType::Timestamp(timestamp)), ..) if timestamp.is_adjusted_to_u_t_c => Self::Instant,
            (Some(LogicalType::Timestamp(_)), ..) => Self::Timestamp,
            (_, ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS, _) => Self::Instant,
            (_, _, Physical::INT96) => {
                return Err(nested(field.name(), "times as INT96, which are read without their microseconds").hint(
                    "have them written as timestamps: `spark.sql.parquet.outputTimestampType=TIMESTAMP_MICROS`",
                ));
            }
            (_, ConvertedType::INTERVAL, _) => return Err(nested(field.name(), "intervals")),
            (Some(LogicalType::Uuid), ..) => Self::Uuid,
            (Some(LogicalType::Time(_)), ..) | (_, ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS, _) => {
                Self::Time
            }
            (_, ConvertedType::DATE, _) => Self::Date,
            (_, ConvertedType::DECIMAL | ConvertedType::UINT_64, _) => Self::Decimal,
            (_, ConvertedType::JSON, _) => Self::Json,
            (Some(LogicalType::Float16), ..) => Self::Float,
            (_, ConvertedType::UTF8 | ConvertedType::ENUM, _) => Self::Text,
            (_, _, Physical::BOOLEAN) => Self::Boolean,
            (_, _, Physical::INT32 | Physical::INT64) => Self::Integer,
            (_, _, Physical::FLOAT | Physical::DOUBLE) => Self::Float,
            (_, _, Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY) => Self::Bytes,
        })
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit()) && !is_code(digits) && text.parse::<i64>().is_ok()
}

/// Digits that a double keeps.
const FLOAT_DIGITS: usize = 15;

fn is_float(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let significant = digits.trim_start_matches(['0', '.']).bytes();
    let significant = significant.take_while(|byte| !matches!(byte, b'e' | b'E')).filter(u8::is_ascii_digit).count();
    let begins = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    begins && !is_code(digits) && significant <= FLOAT_DIGITS && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Digits, and a point among them.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    plain(whole) && plain(fraction) && !is_code(digits)
}

/// A code such as 00501 is no number.
fn is_code(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.")
}

fn is_boolean(text: &str) -> bool {
    matches!(text, "true" | "false" | "TRUE" | "FALSE" | "True" | "False")
}

fn is_date(text: &str) -> bool {
    chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok() && text.len() == 10
}

fn is_timestamp(text: &str) -> bool {
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .any(|form| chrono::NaiveDateTime::parse_from_str(text, form).is_ok())
}

fn is_instant(text: &str) -> bool {
    chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

/// A column for which tables have no type.
pub(crate) fn nested(name: &str, what: &str) -> Problem {
    Problem::invalid(format!("column `{name}` has {what}, for which tables have no type"))
        .hint("make a text of it before")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_tell_what_they_are() {
        let of_values = |values: &[Value]| Kind::of_values(&values.iter().collect::<Vec<_>>());
        for (texts, kind) in [
            (&["1", "-20", "0"][..], Kind::Integer),
            (&["1", "2.5", "1e3"], Kind::Float),
            (&["00501"], Kind::Text),
            (&["9223372036854775808"], Kind::Decimal),
            (&["1", "12345678.1234567890123"], Kind::Decimal),
            (&["1e400"], Kind::Text),
            (&["0.1", "-0.25"], Kind::Float),
            (&["1e3", "12345678901234567890"], Kind::Text),
            (&["true", "false"], Kind::Boolean),
            (&["2013-02-08"], Kind::Date),
            (&["2013-02-30"], Kind::Text),
            (&["2013-02-08 11:00:00", "2013-02-08T11:00:00.5"], Kind::Timestamp),
            (&["2013-02-08T11:00:00Z", "2013-02-08T11:00:00+01:00"], Kind::Instant),
            (&["1", "x"], Kind::Text),
            (&["inf"], Kind::Text),
            (&[], Kind::Text),
        ] {
            assert_eq!(Kind::of_texts(texts.iter().copied(), true), kind, "{texts:?}");
        }
        assert_eq!(of_values(&[json!(1), json!(0.5), Value::Null]), Kind::Float);
        assert_eq!(of_values(&[json!("1")]), Kind::Text);
        assert_eq!(of_values(&[json!(1), json!(u64::MAX)]), Kind::Decimal);
        assert_eq!(of_values(&[json!([1])]), Kind::Json);
        assert_eq!(of_values(&[json!("2013-02-08")]), Kind::Date);
    }
}
