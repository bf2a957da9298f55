//! Values in PostgreSQL's binary format
//! (<https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES>). They are
//! decoded and encoded here so that no precision is lost: decimals keep their scale, timestamps
//! their microseconds, integers their 64 bits.

use std::borrow::Cow;

use blockyard_call::Problem;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgRow, PgTypeInfo, PgTypeKind};
use sqlx::{Encode, Postgres, Row as _, Type, TypeInfo as _, ValueRef as _};

use super::error::problem;
use super::{array, numeric};
use crate::bindings::blockyard::bundle::sql::Value;
use crate::cell::{Cell, ColumnKind};
use crate::literal::{self, DAY_MICROS};
use crate::number;

/// Text form in which the server returns the values of a type without a common form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextForm {
    /// An array, as JSON.
    Json,
    /// Any other type, in the server's own text form.
    Words,
}

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const EPOCH_DAYS: i32 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;
/// Text forms of the infinite dates and timestamps (`src/include/datatype/timestamp.h`).
const INFINITY: &str = "infinity";
const NEGATIVE_INFINITY: &str = "-infinity";

/// A parameter in the binary format of its type.
pub(super) struct Argument {
    pub(super) info: PgTypeInfo,
    pub(super) bytes: Option<Vec<u8>>,
}

impl Type<Postgres> for Argument {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Argument {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(match &self.bytes {
            Some(bytes) => {
                buffer.extend_from_slice(bytes);
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.info.clone())
    }
}

/// Returns the kind of a type; `None` for types without a common form.
pub(super) fn kind(info: &PgTypeInfo) -> Option<ColumnKind> {
    // The names are those of the catalog `pg_type`, as sqlx prints them.
    Some(match info.name() {
        "BOOL" => ColumnKind::Boolean,
        "INT2" => ColumnKind::Int16,
        "INT4" => ColumnKind::Int32,
        "INT8" | "OID" => ColumnKind::Int64,
        "FLOAT4" => ColumnKind::Float32,
        "FLOAT8" => ColumnKind::Float64,
        "NUMERIC" => ColumnKind::Decimal,
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "CITEXT" | "citext" | "\"CHAR\"" => ColumnKind::Text,
        "BYTEA" => ColumnKind::Bytes,
        "DATE" => ColumnKind::Date,
        "TIME" => ColumnKind::Time,
        "TIMESTAMP" => ColumnKind::Timestamp,
        "TIMESTAMPTZ" => ColumnKind::Instant,
        "UUID" => ColumnKind::Uuid,
        "JSON" | "JSONB" => ColumnKind::Json,
        "VOID" => ColumnKind::Text,
        _ => match info.kind() {
            PgTypeKind::Enum(_) => ColumnKind::Text,
            PgTypeKind::Domain(base) => return kind(base),
            _ => return None,
        },
    })
}

/// Description of how the values of a column are decoded.
pub(super) struct Reading {
    pub(super) kind: ColumnKind,
    /// The server's name of the type.
    pub(super) type_name: String,
    form: Form,
    /// Kind of an array's elements, if they have a common form.
    element: Option<ColumnKind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Binary,
    /// The format of `jsonb`, with a version byte before the text.
    Jsonb,
    /// Unsigned 32-bit integer.
    Oid,
    /// Text, by a cast in the statement.
    Text,
}

impl Reading {
    pub(super) fn of(info: &PgTypeInfo, text: Option<TextForm>) -> Self {
        let base = base(info);
        let (kind, form) = match (text, base.name()) {
            (Some(TextForm::Json), _) => (ColumnKind::Json, Form::Text),
            (Some(TextForm::Words), _) => (ColumnKind::Other, Form::Text),
            (None, "JSONB") => (ColumnKind::Json, Form::Jsonb),
            (None, "OID") => (ColumnKind::Int64, Form::Oid),
            (None, _) => (kind(base).unwrap_or(ColumnKind::Other), Form::Binary),
        };
        let element = element(info);
        Self { kind, type_name: info.name().to_ascii_lowercase(), form, element }
    }

    /// Describes a column that the server casts to text.
    pub(super) fn of_text(type_name: &str, text: TextForm) -> Self {
        let kind = if text == TextForm::Json { ColumnKind::Json } else { ColumnKind::Other };
        Self { kind, type_name: type_name.to_owned(), form: Form::Text, element: None }
    }
}

/// Returns the kind of an array's elements.
pub(super) fn element(info: &PgTypeInfo) -> Option<ColumnKind> {
    match base(info).kind() {
        PgTypeKind::Array(element) => kind(element),
        _ => None,
    }
}

/// Returns the underlying type of a domain.
fn base(info: &PgTypeInfo) -> &PgTypeInfo {
    match info.kind() {
        PgTypeKind::Domain(inner) => base(inner),
        _ => info,
    }
}

pub(super) fn cell<'row>(row: &'row PgRow, index: usize, reading: &Reading) -> Result<Cell<'row>, Problem> {
    let raw = row.try_get_raw(index).map_err(|error| problem(&error))?;
    if raw.is_null() {
        return Ok(Cell::Null);
    }
    let bytes = raw.as_bytes().map_err(|error| Problem::new("failed", error.to_string()))?;
    decode(bytes, reading).ok_or_else(|| {
        Problem::new(
            "failed",
            format!("column {} has a value of type `{}` that cannot be read", index + 1, reading.type_name),
        )
        .hint("read it as text, with `cast(… as text)`")
    })
}

/// Decodes a value; `None` if the bytes are not a value of the type.
pub(super) fn decode<'row>(bytes: &'row [u8], reading: &Reading) -> Option<Cell<'row>> {
    fn text(bytes: &[u8]) -> Option<Cow<'_, str>> {
        str::from_utf8(bytes).ok().map(Cow::Borrowed)
    }
    Some(match reading.kind {
        ColumnKind::Boolean => Cell::Boolean(*bytes.first()? != 0),
        ColumnKind::Int16 => Cell::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        ColumnKind::Int32 => Cell::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        ColumnKind::Int64 if reading.form == Form::Oid => {
            Cell::Integer(u32::from_be_bytes(bytes.try_into().ok()?).into())
        }
        ColumnKind::Int64 => Cell::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
        ColumnKind::Float32 => Cell::Single(f32::from_be_bytes(bytes.try_into().ok()?)),
        ColumnKind::Float64 => Cell::Float(f64::from_be_bytes(bytes.try_into().ok()?)),
        ColumnKind::Decimal => Cell::Decimal(numeric::decode(bytes)?.into()),
        ColumnKind::Text => Cell::Text(text(bytes)?),
        ColumnKind::Bytes => Cell::Bytes(bytes.into()),
        ColumnKind::Date => match i32::from_be_bytes(bytes.try_into().ok()?) {
            i32::MAX => infinite(reading, INFINITY),
            i32::MIN => infinite(reading, NEGATIVE_INFINITY),
            days => Cell::Date(days.checked_add(EPOCH_DAYS)?),
        },
        ColumnKind::Time => {
            Cell::Time(Some(i64::from_be_bytes(bytes.try_into().ok()?)).filter(|time| (0..=DAY_MICROS).contains(time))?)
        }
        ColumnKind::Timestamp | ColumnKind::Instant => match i64::from_be_bytes(bytes.try_into().ok()?) {
            i64::MAX => infinite(reading, INFINITY),
            i64::MIN => infinite(reading, NEGATIVE_INFINITY),
            micros if reading.kind == ColumnKind::Instant => Cell::Instant(micros.checked_add(EPOCH_MICROS)?),
            micros => Cell::Timestamp(micros.checked_add(EPOCH_MICROS)?),
        },
        ColumnKind::Uuid => Cell::Uuid(literal::uuid_text(bytes.try_into().ok()?).into()),
        ColumnKind::Json if reading.form == Form::Text && array::is_converted(reading.element) => {
            Cell::Json(array::to_common_form(str::from_utf8(bytes).ok()?, reading.element)?.into())
        }
        ColumnKind::Json => Cell::Json(text(if reading.form == Form::Jsonb { bytes.get(1..)? } else { bytes })?),
        ColumnKind::Other => Cell::Other(reading.type_name.clone().into(), text(bytes)?),
        ColumnKind::UInt64 | ColumnKind::Dynamic => return None,
    })
}

fn infinite<'row>(reading: &Reading, word: &'static str) -> Cell<'row> {
    Cell::Other(reading.type_name.clone().into(), word.into())
}

/// Encodes a parameter in the binary format that the server expects; `None` is NULL.
pub(super) fn encode(value: &Value, info: &PgTypeInfo) -> Result<Option<Vec<u8>>, String> {
    let expected = || info.name().to_ascii_lowercase();
    let mismatch = || format!("the statement expects `{}` here, and {} does not fit", expected(), kind_label(value));
    if matches!(value, Value::Null) {
        return Ok(None);
    }
    let kind = kind(info).ok_or_else(mismatch)?;
    let text = plain_text(value);
    let encoded: Option<Vec<u8>> = match kind {
        ColumnKind::Boolean => match value {
            Value::Boolean(v) => Some(vec![u8::from(*v)]),
            _ => text.and_then(boolean).map(|v| vec![u8::from(v)]),
        },
        ColumnKind::Int16 => integer(value).and_then(|v| i16::try_from(v).ok()).map(|v| v.to_be_bytes().into()),
        ColumnKind::Int32 => integer(value).and_then(|v| i32::try_from(v).ok()).map(|v| v.to_be_bytes().into()),
        ColumnKind::Int64 if base(info).name() == "OID" => {
            integer(value).and_then(|v| u32::try_from(v).ok()).map(|v| v.to_be_bytes().into())
        }
        ColumnKind::Int64 => integer(value).map(|v| v.to_be_bytes().into()),
        ColumnKind::Float32 => single(value).map(|v| v.to_be_bytes().into()),
        ColumnKind::Float64 => double(value).map(|v| v.to_be_bytes().into()),
        ColumnKind::Decimal => match value {
            Value::Integer(v) => numeric::encode(&v.to_string()),
            Value::Float(v) => numeric::encode(&number::float_text(*v)),
            _ => text.and_then(|text| numeric::encode(text.trim())),
        },
        ColumnKind::Text => Some(text_bytes(value).ok_or_else(mismatch)??),
        ColumnKind::Bytes => match value {
            Value::Bytes(v) => Some(v.clone()),
            _ => match text.map(literal::parse_bytes) {
                Some(None) => {
                    return Err(format!(
                        "the statement expects `{}` here, and this string is neither base64 nor `\\x` with hexadecimal digits",
                        expected()
                    ));
                }
                bytes => bytes.flatten(),
            },
        },
        ColumnKind::Date => match value {
            Value::Date(days) => Some(*days).and_then(postgres_days),
            _ => text.and_then(|text| {
                infinity(text, i32::MAX, i32::MIN, || literal::parse_date(text).and_then(postgres_days))
            }),
        }
        .map(|days| days.to_be_bytes().into()),
        ColumnKind::Time => match value {
            Value::Time(micros) => Some(*micros).filter(|micros| (0..=DAY_MICROS).contains(micros)),
            _ => text.and_then(literal::parse_time),
        }
        .map(|micros| micros.to_be_bytes().into()),
        ColumnKind::Timestamp => timestamp(value, &expected())?.map(|micros| micros.to_be_bytes().into()),
        ColumnKind::Instant => instant(value, &expected())?.map(|micros| micros.to_be_bytes().into()),
        ColumnKind::Uuid => text.and_then(literal::parse_uuid).map(|bytes| bytes.into()),
        ColumnKind::Json => {
            let json = match value {
                Value::Json(json) | Value::Text(json) | Value::Decimal(json) => Some(json.clone()),
                Value::Integer(v) => Some(v.to_string()),
                Value::Float(v) if v.is_finite() => Some(number::float_text(*v)),
                Value::Boolean(v) => Some(v.to_string()),
                _ => None,
            };
            let version: &[u8] = if base(info).name() == "JSONB" { &[1] } else { &[] };
            json.map(|json| [version, json.as_bytes()].concat())
        }
        ColumnKind::UInt64 | ColumnKind::Other | ColumnKind::Dynamic => None,
    };
    encoded.map(Some).ok_or_else(|| if is_narrowed(value, kind) { narrowed(&expected()) } else { mismatch() })
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(v) => Some(*v),
        Value::Float(v) if v.fract() == 0.0 && v.abs() < 9e15 =>
        {
            #[allow(clippy::cast_possible_truncation, reason = "it is an integer in range")]
            Some(*v as i64)
        }
        _ => plain_text(value).and_then(|text| text.trim().parse().ok()),
    }
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Float(v) => Some(*v),
        Value::Integer(v) => number::double_of_integer(*v),
        _ => plain_text(value).and_then(number::double_of_text),
    }
}

fn single(value: &Value) -> Option<f32> {
    match value {
        Value::Float(v) => number::single_of_double(*v),
        Value::Integer(v) => number::double_of_integer(*v).and_then(number::single_of_double),
        _ => plain_text(value).and_then(number::single_of_text),
    }
}

/// Checks whether the value is a number with more digits than the float type can hold.
fn is_narrowed(value: &Value, kind: ColumnKind) -> bool {
    matches!(kind, ColumnKind::Float32 | ColumnKind::Float64)
        && match value {
            Value::Integer(_) | Value::Float(_) => true,
            _ => plain_text(value).is_some_and(|text| text.trim().parse::<f64>().is_ok()),
        }
}

fn narrowed(expected: &str) -> String {
    format!(
        "the statement expects `{expected}` here, which cannot hold all digits of this number: round it, or cast the \
         parameter, with `cast(cast(:name as numeric) as {expected})`"
    )
}

/// Returns a value as text. The inner error reports a character that the server cannot store.
fn text_bytes(value: &Value) -> Option<Result<Vec<u8>, String>> {
    let text = match (value, plain_text(value)) {
        (_, Some(text)) => text.to_owned(),
        (Value::Integer(v), _) => v.to_string(),
        (Value::Float(v), _) => number::float_text(*v),
        (Value::Boolean(v), _) => v.to_string(),
        _ => return None,
    };
    Some(literal::without_nul(&text).map(|()| text.into_bytes()))
}

/// Converts days to PostgreSQL's epoch. Its minimum and maximum represent infinity.
fn postgres_days(days: i32) -> Option<i32> {
    days.checked_sub(EPOCH_DAYS).filter(|days| *days != i32::MIN)
}

/// Converts microseconds to PostgreSQL's epoch.
fn postgres_micros(micros: i64) -> Option<i64> {
    micros.checked_sub(EPOCH_MICROS).filter(|micros| *micros != i64::MIN)
}

/// Parses the words for infinity, or calls `else_` for other text.
fn infinity<T>(text: &str, positive: T, negative: T, else_: impl FnOnce() -> Option<T>) -> Option<T> {
    match text.trim() {
        INFINITY => Some(positive),
        NEGATIVE_INFINITY => Some(negative),
        _ => else_(),
    }
}

fn timestamp(value: &Value, expected: &str) -> Result<Option<i64>, String> {
    Ok(match value {
        Value::Timestamp(timestamp) => postgres_micros(timestamp.micros),
        Value::Date(days) => i64::from(*days).checked_mul(DAY_MICROS).and_then(postgres_micros),
        _ => match plain_text(value) {
            None => None,
            Some(text) => {
                let read = literal::parse_timestamp(text);
                if read.and_then(|read| read.offset).is_some_and(|offset| offset != 0) {
                    return Err(format!(
                        "the statement expects `{expected}` here, which has no time zone, and this string names one: \
                         leave it out, or cast the parameter, with `cast(:name as timestamptz)`"
                    ));
                }
                infinity(text, i64::MAX, i64::MIN, || read.and_then(|read| postgres_micros(read.local)))
            }
        },
    })
}

fn instant(value: &Value, expected: &str) -> Result<Option<i64>, String> {
    let no_zone = || {
        format!(
            "the statement expects `{expected}` here, and this timestamp has no time zone: add one, such as \
             `2013-02-08T11:00:00Z` or `2013-02-08T12:00:00+01:00`"
        )
    };
    Ok(match value {
        Value::Timestamp(timestamp) if timestamp.offset_minutes.is_none() => return Err(no_zone()),
        Value::Timestamp(timestamp) => postgres_micros(timestamp.micros),
        Value::Date(_) => return Err(no_zone()),
        _ => match plain_text(value) {
            None => None,
            Some(text) => match literal::parse_timestamp(text) {
                Some(read) if read.offset.is_none() => return Err(no_zone()),
                read => infinity(text, i64::MAX, i64::MIN, || {
                    read.and_then(literal::Read::instant).and_then(postgres_micros)
                }),
            },
        },
    })
}

fn plain_text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) | Value::Decimal(text) | Value::Uuid(text) | Value::Json(text) | Value::Other((_, text)) => {
            Some(text)
        }
        _ => None,
    }
}

fn kind_label(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) => "this integer",
        Value::Float(_) => "this float",
        Value::Decimal(_) => "this decimal",
        Value::Text(_) => "this string",
        Value::Bytes(_) => "bytes",
        Value::Date(_) => "a date",
        Value::Time(_) => "a time",
        Value::Timestamp(_) => "a timestamp",
        Value::Uuid(_) => "a uuid",
        Value::Json(_) => "JSON",
        Value::Other(_) => "this value",
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}
