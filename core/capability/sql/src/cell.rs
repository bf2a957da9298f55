//! One value of one row, borrowed from the driver. It is converted to a value for the guest or to
//! Arrow.

use std::borrow::Cow;

use super::number;
use crate::bindings::blockyard::bundle::sql::{Timestamp, Value};

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'row> {
    Null,
    Boolean(bool),
    Integer(i64),
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "only MySQL has unsigned integers"))]
    Unsigned(u64),
    Float(f64),
    /// A 32-bit float, which has a shorter decimal form than the same number with 64 bits.
    Single(f32),
    Decimal(Cow<'row, str>),
    Text(Cow<'row, str>),
    Bytes(Cow<'row, [u8]>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight, up to and including 24:00:00.
    Time(i64),
    /// Microseconds since 1970-01-01T00:00:00, local.
    Timestamp(i64),
    /// Microseconds since 1970-01-01T00:00:00 UTC.
    Instant(i64),
    Uuid(Cow<'row, str>),
    Json(Cow<'row, str>),
    /// The database's name of the type, and the value as text.
    Other(Cow<'row, str>, Cow<'row, str>),
}

/// The type of a column, as far as it is known before the first row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Boolean,
    Int16,
    Int32,
    Int64,
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "only MySQL has unsigned integers"))]
    UInt64,
    Float32,
    Float64,
    Decimal,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    Instant,
    Uuid,
    Json,
    /// A type that is specific to the database; its values are read as text.
    Other,
    /// Each value has its own type (SQLite).
    Dynamic,
}

impl Cell<'_> {
    /// Returns the approximate size in bytes, by which batches are limited.
    pub(super) fn size(&self) -> usize {
        8 + match self {
            Cell::Decimal(v) | Cell::Text(v) | Cell::Uuid(v) | Cell::Json(v) | Cell::Other(_, v) => v.len(),
            Cell::Bytes(v) => v.len(),
            _ => 0,
        }
    }

    pub(super) fn kind_label(&self) -> &'static str {
        match self {
            Cell::Null => "null",
            Cell::Boolean(_) => "a boolean",
            Cell::Integer(_) | Cell::Unsigned(_) => "an integer",
            Cell::Float(_) | Cell::Single(_) => "a float",
            Cell::Decimal(_) => "a decimal",
            Cell::Text(_) => "a string",
            Cell::Bytes(_) => "bytes",
            Cell::Date(_) => "a date",
            Cell::Time(_) => "a time",
            Cell::Timestamp(_) | Cell::Instant(_) => "a timestamp",
            Cell::Uuid(_) => "a uuid",
            Cell::Json(_) => "JSON",
            Cell::Other(..) => "a value of a database-specific type",
        }
    }

    /// Returns the value as one that outlives the row.
    pub(super) fn into_owned(self) -> Cell<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Cell::Null => Cell::Null,
            Cell::Boolean(v) => Cell::Boolean(v),
            Cell::Integer(v) => Cell::Integer(v),
            Cell::Unsigned(v) => Cell::Unsigned(v),
            Cell::Float(v) => Cell::Float(v),
            Cell::Single(v) => Cell::Single(v),
            Cell::Decimal(v) => Cell::Decimal(owned(v)),
            Cell::Text(v) => Cell::Text(owned(v)),
            Cell::Bytes(v) => Cell::Bytes(Cow::Owned(v.into_owned())),
            Cell::Date(v) => Cell::Date(v),
            Cell::Time(v) => Cell::Time(v),
            Cell::Timestamp(v) => Cell::Timestamp(v),
            Cell::Instant(v) => Cell::Instant(v),
            Cell::Uuid(v) => Cell::Uuid(owned(v)),
            Cell::Json(v) => Cell::Json(owned(v)),
            Cell::Other(name, v) => Cell::Other(owned(name), owned(v)),
        }
    }
}

impl From<Cell<'_>> for Value {
    fn from(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Boolean(v) => Self::Boolean(v),
            Cell::Integer(v) => Self::Integer(v),
            // An integer beyond the range of `i64` stays exact as a JSON number. As a decimal it would
            // become a string in JSON, beside other integers of the column that are numbers.
            Cell::Unsigned(v) => i64::try_from(v).map_or_else(|_| Self::Json(v.to_string()), Self::Integer),
            Cell::Float(v) => Self::Float(v),
            Cell::Single(v) => Self::Float(number::widened(v)),
            Cell::Decimal(v) => Self::Decimal(v.into_owned()),
            Cell::Text(v) => Self::Text(v.into_owned()),
            Cell::Bytes(v) => Self::Bytes(v.into_owned()),
            Cell::Date(v) => Self::Date(v),
            Cell::Time(v) => Self::Time(v),
            Cell::Timestamp(micros) => Self::Timestamp(Timestamp { micros, offset_minutes: None }),
            Cell::Instant(micros) => Self::Timestamp(Timestamp { micros, offset_minutes: Some(0) }),
            Cell::Uuid(v) => Self::Uuid(v.into_owned()),
            Cell::Json(v) => Self::Json(v.into_owned()),
            Cell::Other(name, v) => Self::Other((name.into_owned(), v.into_owned())),
        }
    }
}
