//! Values in PostgreSQL's binary format
//! (https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES), read and
//! written here so that nothing is lost on the way: decimals keep their scale, timestamps their
//! microseconds, integers their 64 bit.

use std::borrow::Cow;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgRow, PgTypeInfo, PgTypeKind};
use sqlx::{Encode, Postgres, Row as _, Type, TypeInfo as _, ValueRef as _};

use super::foreign::TextForm;
use super::numeric;
use crate::bindings::blockyard::bundle::sql::Value;
use crate::capability::sql::cell::{Cell, ColumnKind};
use crate::capability::sql::literal::{self, DAY_MICROS};
use crate::problem::Problem;

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;
/// The last day, counted from 1970-01-01 in both directions, that others can read, too: it is in the
/// year 262,069. The extremes that stand for infinity are beyond it.
const LAST_DAY: i32 = 95_000_000;

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

/// How a type is read; none for types without a common form.
pub(super) fn kind(info: &PgTypeInfo) -> Option<ColumnKind> {
    // The names are those of the catalogue `pg_type`, as sqlx prints them.
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

/// How the values of a column are read.
pub(super) struct Reading {
    pub(super) kind: ColumnKind,
    /// The server's name of the type.
    type_name: String,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Binary,
    /// With a version byte before it.
    Jsonb,
    /// 32 bit without a sign.
    Oid,
    /// As text, by a cast.
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
        Self { kind, type_name: info.name().to_ascii_lowercase(), form }
    }
}

/// The type below a domain.
fn base(info: &PgTypeInfo) -> &PgTypeInfo {
    match info.kind() {
        PgTypeKind::Domain(inner) => base(inner),
        _ => info,
    }
}

pub(super) fn cell<'row>(row: &'row PgRow, index: usize, reading: &Reading) -> Result<Cell<'row>, Problem> {
    let raw = row.try_get_raw(index).map_err(|error| super::problem(&error))?;
    if raw.is_null() {
        return Ok(Cell::Null);
    }
    let bytes = raw.as_bytes().map_err(|error| Problem::new("failed", error.to_string()))?;
    decode(bytes, reading).ok_or_else(|| {
        Problem::new(
            "failed",
            format!("column {} has a value of type `{}` that cannot be read", index + 1, reading.type_name),
        )
        .hint("ask for its text, with `cast(… as text)`")
    })
}

/// A value from its binary format; none where the bytes are not of the type.
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
        ColumnKind::Float32 => Cell::Float(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        ColumnKind::Float64 => Cell::Float(f64::from_be_bytes(bytes.try_into().ok()?)),
        ColumnKind::Decimal => Cell::Decimal(numeric::decode(bytes)?.into()),
        ColumnKind::Text => Cell::Text(text(bytes)?),
        ColumnKind::Bytes => Cell::Bytes(bytes.into()),
        ColumnKind::Date => {
            let days = i32::from_be_bytes(bytes.try_into().ok()?).checked_add(EPOCH_DAYS)?;
            Cell::Date(Some(days).filter(|days| days.abs() < LAST_DAY)?)
        }
        // PostgreSQL has 24:00:00, which is no time of a day elsewhere.
        ColumnKind::Time => {
            Cell::Time(Some(i64::from_be_bytes(bytes.try_into().ok()?)).filter(|time| *time < DAY_MICROS)?)
        }
        ColumnKind::Timestamp => Cell::Timestamp(decode_micros(bytes)?),
        ColumnKind::Instant => Cell::Instant(decode_micros(bytes)?),
        ColumnKind::Uuid => Cell::Uuid(literal::uuid_text(bytes.try_into().ok()?).into()),
        ColumnKind::Json => Cell::Json(text(if reading.form == Form::Jsonb { bytes.get(1..)? } else { bytes })?),
        ColumnKind::Other => Cell::Other(reading.type_name.clone().into(), text(bytes)?),
        ColumnKind::UInt64 | ColumnKind::Dynamic => return None,
    })
}

fn decode_micros(bytes: &[u8]) -> Option<i64> {
    let micros = i64::from_be_bytes(bytes.try_into().ok()?).checked_add(EPOCH_MICROS)?;
    (micros.checked_abs()? < i64::from(LAST_DAY) * DAY_MICROS).then_some(micros)
}

/// A parameter in the binary format that the server expects for it; none is NULL.
pub(super) fn encode(value: &Value, info: &PgTypeInfo) -> Result<Option<Vec<u8>>, String> {
    let mismatch = || {
        format!("the statement wants `{}` here, and {} does not fit", info.name().to_ascii_lowercase(), in_words(value))
    };
    if matches!(value, Value::Null) {
        return Ok(None);
    }
    let kind = kind(info).ok_or_else(mismatch)?;
    let text = plain_text(value);
    let integer = || match value {
        Value::Integer(v) => Some(*v),
        Value::Float(v) if v.fract() == 0.0 && v.abs() < 9e15 =>
        {
            #[allow(clippy::cast_possible_truncation, reason = "it is whole and in range")]
            Some(*v as i64)
        }
        _ => text.as_deref().and_then(|text| text.trim().parse().ok()),
    };
    #[allow(clippy::cast_precision_loss, reason = "the statement wants a float")]
    let float = || match value {
        Value::Float(v) => Some(*v),
        Value::Integer(v) => Some(*v as f64),
        _ => text.as_deref().and_then(|text| text.trim().parse().ok()),
    };
    let encoded: Option<Vec<u8>> = match kind {
        ColumnKind::Boolean => match value {
            Value::Boolean(v) => Some(vec![u8::from(*v)]),
            _ => text.as_deref().and_then(boolean).map(|v| vec![u8::from(v)]),
        },
        ColumnKind::Int16 => integer().and_then(|v| i16::try_from(v).ok()).map(|v| v.to_be_bytes().into()),
        ColumnKind::Int32 => integer().and_then(|v| i32::try_from(v).ok()).map(|v| v.to_be_bytes().into()),
        ColumnKind::Int64 if base(info).name() == "OID" => {
            integer().and_then(|v| u32::try_from(v).ok()).map(|v| v.to_be_bytes().into())
        }
        ColumnKind::Int64 => integer().map(|v| v.to_be_bytes().into()),
        #[allow(clippy::cast_possible_truncation, reason = "the statement wants 32 bit")]
        ColumnKind::Float32 => float().map(|v| (v as f32).to_be_bytes().into()),
        ColumnKind::Float64 => float().map(|v| v.to_be_bytes().into()),
        ColumnKind::Decimal => match value {
            Value::Integer(v) => numeric::encode(&v.to_string()),
            Value::Float(v) => numeric::encode(&v.to_string()),
            _ => text.as_deref().and_then(|text| numeric::encode(text.trim())),
        },
        ColumnKind::Text => Some(match (value, text) {
            (_, Some(text)) => text.into_bytes(),
            (Value::Integer(v), _) => v.to_string().into_bytes(),
            (Value::Float(v), _) => v.to_string().into_bytes(),
            (Value::Boolean(v), _) => v.to_string().into_bytes(),
            _ => return Err(mismatch()),
        }),
        ColumnKind::Bytes => match value {
            Value::Bytes(v) => Some(v.clone()),
            _ => text.map(String::into_bytes),
        },
        ColumnKind::Date => match value {
            Value::Date(days) => days.checked_sub(EPOCH_DAYS),
            _ => text.as_deref().and_then(literal::parse_date).and_then(|days| days.checked_sub(EPOCH_DAYS)),
        }
        .map(|days| days.to_be_bytes().into()),
        ColumnKind::Time => match value {
            Value::Time(micros) => Some(*micros),
            _ => text.as_deref().and_then(literal::parse_time),
        }
        .map(|micros| micros.to_be_bytes().into()),
        ColumnKind::Timestamp | ColumnKind::Instant => match value {
            Value::Timestamp(timestamp) => Some(timestamp.micros),
            Value::Date(days) => Some(i64::from(*days) * 86_400_000_000),
            _ => text.as_deref().and_then(|text| literal::parse_timestamp(text, kind == ColumnKind::Instant)),
        }
        .and_then(|micros| micros.checked_sub(EPOCH_MICROS))
        .map(|micros| micros.to_be_bytes().into()),
        ColumnKind::Uuid => text.as_deref().and_then(literal::parse_uuid).map(|bytes| bytes.into()),
        ColumnKind::Json => {
            let json = match value {
                Value::Json(json) | Value::Text(json) => Some(json.clone()),
                Value::Integer(v) => Some(v.to_string()),
                Value::Float(v) => Some(v.to_string()),
                Value::Boolean(v) => Some(v.to_string()),
                _ => None,
            };
            let version: &[u8] = if base(info).name() == "JSONB" { &[1] } else { &[] };
            json.map(|json| [version, json.as_bytes()].concat())
        }
        ColumnKind::UInt64 | ColumnKind::Other | ColumnKind::Dynamic => None,
    };
    encoded.map(Some).ok_or_else(mismatch)
}

fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) | Value::Decimal(text) | Value::Uuid(text) | Value::Json(text) | Value::Other((_, text)) => {
            Some(text.clone())
        }
        _ => None,
    }
}

fn in_words(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) => "this integer",
        Value::Float(_) => "this float",
        Value::Decimal(_) => "this decimal",
        Value::Text(_) => "this text",
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
