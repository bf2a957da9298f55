//! Values in MySQL's binary format
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html>). They
//! are decoded here so that no precision is lost: decimals keep their scale, unsigned integers
//! their 64 bits. Dates and times are sent as text, which the server converts to the type that the
//! statement expects.

use std::borrow::Cow;

use blockyard_call::Problem;
use sqlx::mysql::{MySqlArguments, MySqlRow, MySqlTypeInfo};
use sqlx::{Arguments as _, Decode, MySql, Row as _, Type, TypeInfo as _, ValueRef as _};

use super::error::problem;
use crate::bindings::blockyard::bundle::sql::Value;
use crate::cell::{Cell, ColumnKind};
use crate::literal::{self, DAY_MICROS};
use crate::number;

/// Description of how the values of a column are decoded.
pub(super) struct Reading {
    pub(super) kind: ColumnKind,
    /// The server's name of the type.
    pub(super) type_name: String,
    unsigned: bool,
    bits: bool,
}

impl Reading {
    pub(super) fn of(info: &MySqlTypeInfo) -> Self {
        let name = info.name();
        let text = <str as Type<MySql>>::compatible(info);
        let kind = match name {
            "BOOLEAN" => ColumnKind::Boolean,
            "TINYINT" | "TINYINT UNSIGNED" | "SMALLINT" | "YEAR" => ColumnKind::Int16,
            "SMALLINT UNSIGNED" | "MEDIUMINT" | "MEDIUMINT UNSIGNED" | "INT" => ColumnKind::Int32,
            "INT UNSIGNED" | "BIGINT" => ColumnKind::Int64,
            "BIGINT UNSIGNED" | "BIT" => ColumnKind::UInt64,
            "FLOAT" => ColumnKind::Float32,
            "DOUBLE" => ColumnKind::Float64,
            "DECIMAL" => ColumnKind::Decimal,
            "DATE" => ColumnKind::Date,
            "TIME" => ColumnKind::Time,
            "DATETIME" => ColumnKind::Timestamp,
            "TIMESTAMP" => ColumnKind::Instant,
            "JSON" => ColumnKind::Json,
            "ENUM" | "SET" | "NULL" => ColumnKind::Text,
            _ if text => ColumnKind::Text,
            _ => ColumnKind::Bytes,
        };
        // The driver reports text with a binary collation, such as MariaDB's JSON, as bytes.
        let type_name = match name {
            "TINYBLOB" if text => "tinytext",
            "BLOB" if text => "text",
            "MEDIUMBLOB" if text => "mediumtext",
            "LONGBLOB" if text => "longtext",
            "VARBINARY" if text => "varchar",
            "BINARY" if text => "char",
            "NULL" => "",
            name => name,
        };
        Self {
            kind,
            type_name: type_name.to_ascii_lowercase(),
            unsigned: name.ends_with("UNSIGNED") || name == "YEAR" || <u8 as Type<MySql>>::compatible(info),
            bits: name == "BIT",
        }
    }
}

pub(super) fn cell<'row>(row: &'row MySqlRow, index: usize, reading: &Reading) -> Result<Cell<'row>, Problem> {
    let raw = row.try_get_raw(index).map_err(|error| problem(&error))?;
    let null = raw.is_null();
    let Ok(bytes) = <&[u8] as Decode<'_, MySql>>::decode(raw) else {
        return Ok(Cell::Null);
    };
    // The driver reports `0000-00-00` as null, although it is not.
    let read = if null { None } else { decode(bytes, reading) };
    read.ok_or_else(|| {
        Problem::new(
            "failed",
            format!("column {} has a value of type `{}` that cannot be read", index + 1, reading.type_name),
        )
        .hint("read it as text, with `cast(… as char)`")
    })
}

/// Decodes a value; `None` if the bytes are not a value of the type, or are an invalid date.
fn decode<'row>(bytes: &'row [u8], reading: &Reading) -> Option<Cell<'row>> {
    fn text(bytes: &[u8]) -> Option<Cow<'_, str>> {
        str::from_utf8(bytes).ok().map(Cow::Borrowed)
    }
    Some(match reading.kind {
        // `boolean` is an alias of `tinyint(1)`, which can hold other numbers as well.
        ColumnKind::Boolean => match integer(bytes, reading.unsigned)? {
            0 => Cell::Boolean(false),
            1 => Cell::Boolean(true),
            other => Cell::Integer(other),
        },
        ColumnKind::Int16 | ColumnKind::Int32 | ColumnKind::Int64 => Cell::Integer(integer(bytes, reading.unsigned)?),
        ColumnKind::UInt64 if reading.bits => {
            Cell::Unsigned((bytes.len() <= 8).then(|| bytes.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte)))?)
        }
        ColumnKind::UInt64 => Cell::Unsigned(u64::from_le_bytes(bytes.try_into().ok()?)),
        ColumnKind::Float32 => Cell::Single(f32::from_le_bytes(bytes.try_into().ok()?)),
        ColumnKind::Float64 => Cell::Float(f64::from_le_bytes(bytes.try_into().ok()?)),
        ColumnKind::Decimal => Cell::Decimal(text(bytes)?),
        ColumnKind::Text | ColumnKind::Uuid => Cell::Text(text(bytes)?),
        ColumnKind::Json => Cell::Json(text(bytes)?),
        ColumnKind::Bytes => Cell::Bytes(bytes.into()),
        ColumnKind::Date => Cell::Date(date(bytes.get(1..)?)?),
        ColumnKind::Time => time(bytes.get(1..)?)?,
        ColumnKind::Timestamp => Cell::Timestamp(timestamp(bytes.get(1..)?)?),
        ColumnKind::Instant => Cell::Instant(timestamp(bytes.get(1..)?)?),
        ColumnKind::Other | ColumnKind::Dynamic => return None,
    })
}

fn integer(bytes: &[u8], unsigned: bool) -> Option<i64> {
    Some(match (bytes.len(), unsigned) {
        (1, false) => i8::from_le_bytes(bytes.try_into().ok()?).into(),
        (1, true) => bytes[0].into(),
        (2, false) => i16::from_le_bytes(bytes.try_into().ok()?).into(),
        (2, true) => u16::from_le_bytes(bytes.try_into().ok()?).into(),
        (4, false) => i32::from_le_bytes(bytes.try_into().ok()?).into(),
        (4, true) => u32::from_le_bytes(bytes.try_into().ok()?).into(),
        (8, false) => i64::from_le_bytes(bytes.try_into().ok()?),
        _ => return None,
    })
}

/// Decodes year, month and day; `None` for a date whose month or day is zero, which MySQL allows.
fn date(bytes: &[u8]) -> Option<i32> {
    let year = u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?);
    literal::days(year.into(), (*bytes.get(2)?).into(), (*bytes.get(3)?).into())
}

/// Decodes a time of day. MySQL uses the same type for durations of up to 838 hours in both
/// directions; a value that is not a time of day is returned in the server's text form.
fn time(bytes: &[u8]) -> Option<Cell<'static>> {
    if bytes.is_empty() {
        return Some(Cell::Time(0));
    }
    let (negative, days) = (*bytes.first()? != 0, u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?));
    let clock = clock(bytes.get(5..)?)?;
    if !negative && days == 0 {
        return Some(Cell::Time(clock));
    }
    let sign = if negative { "-" } else { "" };
    let (seconds, fraction) = (i64::from(days) * 86_400 + clock / 1_000_000, clock % 1_000_000);
    let text = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let text = if fraction == 0 { text } else { format!("{text}.{fraction:06}") };
    Some(Cell::Other("time".into(), text.into()))
}

fn timestamp(bytes: &[u8]) -> Option<i64> {
    let micros = if bytes.len() > 4 { clock(&bytes[4..])? } else { 0 };
    Some(i64::from(date(bytes)?) * DAY_MICROS + micros)
}

/// Decodes hours, minutes and seconds, and microseconds if there are any.
fn clock(bytes: &[u8]) -> Option<i64> {
    let [hours, minutes, seconds] = *bytes.first_chunk::<3>()?;
    let micros = match bytes.get(3..) {
        None | Some([]) => 0,
        Some(rest) => u32::from_le_bytes(rest.try_into().ok()?),
    };
    let seconds = (i64::from(hours) * 60 + i64::from(minutes)) * 60 + i64::from(seconds);
    Some(seconds * 1_000_000 + i64::from(micros)).filter(|time| *time < DAY_MICROS)
}

pub(super) fn arguments(parameters: &[Value]) -> Result<MySqlArguments, Problem> {
    let mut arguments = MySqlArguments::default();
    for (index, value) in parameters.iter().enumerate() {
        let refused = |reason: &str| Problem::new("invalid", format!("parameter {}: {reason}", index + 1));
        let added = match value {
            // Sent as text, which every type accepts; a number is not accepted for a `uuid` column.
            Value::Null => arguments.add(None::<&str>),
            Value::Boolean(v) => arguments.add(*v),
            Value::Integer(v) => arguments.add(*v),
            Value::Float(v) if !v.is_finite() => {
                return Err(refused(&format!("MySQL has no `{}`", number::float_text(*v))));
            }
            Value::Float(v) => arguments.add(*v),
            Value::Bytes(v) => arguments.add(v.as_slice()),
            Value::Decimal(v) | Value::Text(v) | Value::Uuid(v) | Value::Json(v) | Value::Other((_, v)) => {
                arguments.add(v.as_str())
            }
            Value::Date(days) => match in_calendar(literal::date_text(*days)) {
                Some(text) => arguments.add(text),
                None => return Err(refused(OUT_OF_CALENDAR)),
            },
            Value::Time(micros) if (0..=DAY_MICROS).contains(micros) => arguments.add(literal::time_text(*micros)),
            Value::Time(_) => return Err(refused("the time is not between 00:00:00 and 24:00:00")),
            Value::Timestamp(timestamp) => match in_calendar(literal::timestamp_text(timestamp.micros)) {
                Some(text) => arguments.add(text),
                None => return Err(refused(OUT_OF_CALENDAR)),
            },
        };
        added.map_err(|error| refused(&error.to_string()))?;
    }
    Ok(arguments)
}

const OUT_OF_CALENDAR: &str = "MySQL stores only dates of the years 0 to 9999";

/// Checks that a date or timestamp is in the range of four-digit years. The server would store
/// zeros for others, unless its mode is strict.
fn in_calendar(text: String) -> Option<String> {
    Some(text).filter(|text| !text.starts_with(['+', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_decoder_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..16), unsigned: bool, bits: bool) {
            for kind in [
                ColumnKind::Boolean, ColumnKind::Int16, ColumnKind::Int64, ColumnKind::UInt64, ColumnKind::Float32,
                ColumnKind::Float64, ColumnKind::Decimal, ColumnKind::Text, ColumnKind::Bytes, ColumnKind::Date,
                ColumnKind::Time, ColumnKind::Timestamp, ColumnKind::Instant, ColumnKind::Json,
            ] {
                let _ = decode(&bytes, &Reading { kind, type_name: String::new(), unsigned, bits });
            }
        }
    }

    #[test]
    fn durations_are_formatted_as_text() {
        let time =
            |negative: u8, days: u32, clock: [u8; 3]| time(&[&[negative][..], &days.to_le_bytes(), &clock].concat());
        assert_eq!(time(0, 0, [23, 59, 59]), Some(Cell::Time(86_399_000_000)));
        assert_eq!(time(1, 34, [22, 59, 59]), Some(Cell::Other("time".into(), "-838:59:59".into())));
        assert_eq!(time(0, 1, [0, 0, 0]), Some(Cell::Other("time".into(), "24:00:00".into())));
    }
}
