//! Conversion of file values to the types of table columns. Each value is converted exactly, or
//! rejected with the reason.

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::{self, Timestamp, Value as SqlValue, float_text};

use crate::Dialect;
use crate::style;
use blockyard_sdk::calendar;

mod exact;
mod json;
mod literal;
mod member;
mod range;
mod text;
mod type_name;
mod typed;

use literal::Literal;
pub(crate) use type_name::is_complete;

/// A value of a file, before the type of its column is known.
#[derive(Debug, Clone)]
pub(crate) enum Datum {
    /// CSV field.
    Text { text: String, quoted: bool },
    /// JSON text of a value.
    Json(String),
    /// Value of a file format with types.
    Typed(SqlValue),
}

/// Meaning of empty CSV fields.
#[data]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Empty {
    /// An unquoted empty field is null; `""` is an empty value in a string or binary column, and
    /// null in other columns.
    #[default]
    Quoted,
    /// Unquoted empty fields and `""` are null.
    Nulls,
    /// Unquoted empty fields and `""` are an empty value in a string or binary column, and null in
    /// other columns.
    Texts,
}

/// Values that a column accepts, derived from its database type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType<'a> {
    Boolean,
    Integer {
        low: i128,
        high: i128,
    },
    /// `bit` of MySQL, which takes a string as bytes.
    Bits {
        high: u64,
    },
    /// `year` of MySQL, which maps numbers of two digits to other years.
    Year,
    Single,
    Double,
    Decimal {
        precision: Option<i64>,
        scale: Option<i64>,
    },
    /// `float` or `double` of MySQL with a fixed number of decimal places.
    FixedFloat {
        single: bool,
        precision: Option<i64>,
        scale: Option<i64>,
    },
    Text {
        characters: Option<usize>,
        /// `true` for `char`, which does not keep trailing spaces.
        trims: bool,
    },
    Bytes {
        exactly: Option<usize>,
    },
    Date,
    Time {
        places: u32,
    },
    Timestamp {
        places: u32,
    },
    Instant {
        places: u32,
        /// `true` for MySQL's `timestamp not null`, which can store null as the current time.
        required: bool,
    },
    /// Member of an `enum` of MySQL, or members of a `set`, whose definition is the type name. The
    /// server would also accept the number of a member, and ignores case.
    Member {
        of: &'a str,
        is_set: bool,
    },
    Json {
        /// `true` if the database stores values instead of text: of two members with one name, it
        /// keeps one.
        parsed: bool,
    },
    /// A SQLite column that converts strings that look like numbers; with `real`, it converts all
    /// numbers to doubles.
    Affinity {
        real: bool,
        boolean: bool,
        /// `true` if the declared type names numbers. SQLite also converts strings in columns such
        /// as `date` and `string`.
        numeric: bool,
    },
    /// JSON list, or array in the syntax of the server, of elements of this type.
    Array {
        of: &'a str,
    },
    /// PostgreSQL type whose values pass as text.
    Literal(Literal<'a>),
    /// Any value; the database validates it.
    Any,
}

/// A database value, or the reason for the rejection.
type Converted = std::result::Result<SqlValue, String>;

impl ColumnType<'_> {
    /// Converts a file value to a database value.
    pub(crate) fn convert(self, dialect: Dialect, empty: Empty, datum: Datum) -> Converted {
        if let Self::Bits { high } = self {
            let converted = Self::Integer { low: 0, high: high.into() }.convert(dialect, empty, datum)?;
            let SqlValue::Decimal(digits) = converted else { return Ok(converted) };
            // A number of more than 63 bits would be sent as a string.
            let bits: u64 = digits.parse().map_err(|_| format!("`{digits}` is not {}", self.singular()))?;
            return Ok(SqlValue::Bytes(bits.to_be_bytes().to_vec()));
        }
        if self == Self::Year {
            let converted = Self::Integer { low: 0, high: 2155 }.convert(dialect, empty, datum)?;
            return match converted {
                SqlValue::Integer(year @ 1..=1900) => Err(format!("the database does not support the year {year}")),
                converted => Ok(converted),
            };
        }
        let converted = match datum {
            Datum::Text { text, quoted } if text.is_empty() => self.empty(empty, quoted),
            Datum::Text { text, .. } => self.text(dialect, text)?,
            Datum::Json(json) => self.json(dialect, json)?,
            Datum::Typed(value) => self.typed(dialect, value)?,
        };
        if matches!((self, &converted), (Self::Instant { required: true, .. }, SqlValue::Null)) {
            return Err("the column is `not null`, and the database can store null as the current time".to_owned());
        }
        storable(dialect, converted)
    }

    fn empty(self, empty: Empty, quoted: bool) -> SqlValue {
        let is_text = match empty {
            Empty::Nulls => false,
            Empty::Quoted => quoted,
            Empty::Texts => true,
        };
        match self {
            Self::Text { .. } | Self::Member { .. } | Self::Any if is_text => SqlValue::Text(String::new()),
            Self::Literal(literal) if is_text && literal.has_empty() => SqlValue::Text(String::new()),
            Self::Bytes { exactly: None } if is_text => SqlValue::Bytes(Vec::new()),
            _ => SqlValue::Null,
        }
    }

    fn singular(self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Integer { .. } | Self::Bits { .. } => "an integer",
            Self::Year => "a year",
            Self::Single | Self::Double | Self::Decimal { .. } | Self::FixedFloat { .. } | Self::Affinity { .. } => {
                "a number"
            }
            Self::Text { .. } => "a string",
            Self::Bytes { .. } => "base64-encoded bytes",
            Self::Date => "a date (`YYYY-MM-DD`)",
            Self::Time { .. } => "a time of day (`HH:MM:SS`)",
            Self::Timestamp { .. } => "a timestamp (`YYYY-MM-DDTHH:MM:SS`, at most microseconds)",
            Self::Instant { .. } => "a timestamp with a zone (`YYYY-MM-DDTHH:MM:SSZ`, at most microseconds)",
            Self::Member { .. } => "a member of the column's type",
            Self::Json { .. } => "JSON",
            Self::Array { .. } => "a JSON list or an array",
            Self::Literal(_) | Self::Any => "a value of the column's type",
        }
    }
}

/// Converts the value to one that the database can store. Dates, times and exact numbers become
/// strings in SQLite, which has no types for them; ISO 8601 strings sort chronologically. Rejects
/// NaN and the infinities if the database does not support them.
fn storable(dialect: Dialect, value: SqlValue) -> Converted {
    Ok(match value {
        SqlValue::Float(float) if !float.is_finite() && !style::accepts_word(dialect, &float_text(float)) => {
            let database = if dialect == Dialect::Sqlite { "SQLite" } else { "MySQL" };
            return Err(format!("{database} does not support `{}`", float_text(float)));
        }
        SqlValue::Date(_)
        | SqlValue::Time(_)
        | SqlValue::Timestamp(_)
        | SqlValue::Uuid(_)
        | SqlValue::Json(_)
        | SqlValue::Decimal(_)
        | SqlValue::Other(_)
            if dialect == Dialect::Sqlite =>
        {
            SqlValue::Text(as_text(&value))
        }
        value => value,
    })
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn timestamp(micros: i64, zone: bool) -> SqlValue {
    SqlValue::Timestamp(Timestamp { micros, offset_minutes: zone.then_some(0) })
}

/// Maximum number of characters of a value shown in messages.
const SHOWN_CHARACTERS: usize = 40;

pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS).collect()
}

/// Formats a value as text.
pub(crate) fn as_text(value: &SqlValue) -> String {
    match value {
        SqlValue::Decimal(text)
        | SqlValue::Text(text)
        | SqlValue::Uuid(text)
        | SqlValue::Json(text)
        | SqlValue::Other((_, text)) => text.clone(),
        SqlValue::Float(float) => float_text(*float),
        SqlValue::Date(days) => calendar::date_text(i64::from(*days)),
        SqlValue::Time(micros) => calendar::time_text(*micros),
        SqlValue::Timestamp(at) => calendar::timestamp_text(at.micros, at.offset_minutes.is_some()),
        other => match sql::to_json(other.clone()) {
            Value::String(text) => text,
            json => json.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn converted(dialect: Dialect, type_name: &str, text: &str) -> std::result::Result<String, String> {
        let datum = Datum::Text { text: text.to_owned(), quoted: true };
        ColumnType::of(dialect, type_name).convert(dialect, Empty::Quoted, datum).map(|value| as_text(&value))
    }

    #[test]
    fn mysql_timestamps_outside_of_the_range_are_rejected() {
        let of = |type_name: &str, text: &str| converted(Dialect::Mysql, type_name, text).is_ok();
        assert!(of("timestamp", "1970-01-01T00:00:01Z") && of("datetime", "1960-01-01T00:00:00Z"));
        assert!(!of("timestamp", "1970-01-01T00:00:00Z") && !of("timestamp", "2150-01-01T00:00:00Z"));
        assert!(of("timestamp", "") && !of("timestamp not null", ""));
    }
}
