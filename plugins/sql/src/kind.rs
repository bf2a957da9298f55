//! Kinds of column values, declared by the file format or inferred from the first rows.

use arrow_schema::{DataType, Field};
use blockyard_sdk::prelude::*;
use parquet::basic::{ConvertedType, LogicalType};
use parquet::schema::types::Type as ParquetType;

use crate::Dialect;
use crate::ndjson::{Class, class, string};
use crate::number::Digits;
use crate::style::{self, Style, Styles};

/// Key of the field metadata in which the host stores the kind of a string column.
const KIND: &str = "blockyard:kind";

/// Kind of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Integer,
    /// 32-bit float.
    Single,
    Float,
    Decimal,
    Text,
    Bytes,
    Date,
    Time,
    /// Timestamp without a time zone.
    Timestamp,
    /// Timestamp with a time zone.
    Instant,
    Uuid,
    Json,
    /// JSON values of different kinds.
    Mixed,
}

impl Kind {
    /// Returns the plural for messages.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Boolean => "booleans",
            Self::Integer => "integers",
            Self::Single | Self::Float => "numbers in one format",
            Self::Decimal => "exact numbers in one format",
            Self::Text => "strings",
            Self::Bytes => "bytes",
            Self::Date => "dates",
            Self::Time => "times",
            Self::Timestamp => "timestamps without a time zone",
            Self::Instant => "timestamps with a time zone",
            Self::Uuid => "UUIDs",
            Self::Json => "JSON lists and objects",
            Self::Mixed => "JSON values",
        }
    }

    /// Infers the kind of JSON values, given as JSON text. Nulls are ignored.
    pub(crate) fn of_json<'json>(values: impl Iterator<Item = &'json str> + Clone, dialect: Dialect) -> Self {
        let mut classes: Vec<Class> = Vec::new();
        for value in values.clone() {
            let class = class(value);
            if class != Class::Null && !classes.contains(&class) {
                classes.push(class);
            }
        }
        let words = || values.clone().filter(|value| class(value) == Class::String).filter_map(string);
        match classes.as_slice() {
            [] => Self::Text,
            [Class::Boolean] => Self::Boolean,
            [Class::Number] => Self::of_numbers(values.filter(|value| class(value) == Class::Number)),
            [Class::String] => match of_strings(words(), dialect) {
                kind @ (Self::Date | Self::Timestamp | Self::Instant) => kind,
                _ => Self::Text,
            },
            // JSON numbers cannot be NaN or infinite, so columns of doubles contain strings for
            // them.
            [Class::String, Class::Number] | [Class::Number, Class::String]
                if words().all(|word| style::is_word(&word) && style::accepts_word(dialect, &word)) =>
            {
                Self::Float
            }
            [Class::Nested] => Self::Json,
            _ => Self::Mixed,
        }
    }

    fn of_numbers<'json>(numbers: impl Iterator<Item = &'json str>) -> Self {
        let (mut plain, mut integers, mut floats) = (true, true, true);
        for number in numbers {
            plain &= !number.contains(['.', 'e', 'E']) && number != "-0";
            integers &= number.parse::<i64>().is_ok();
            floats &= Digits::of(number).is_some_and(|digits| digits.double(number).is_some());
        }
        match (plain, integers, floats) {
            (true, true, _) => Self::Integer,
            (false, _, true) => Self::Float,
            _ => Self::Decimal,
        }
    }

    /// Returns the kind of an Arrow field.
    pub(crate) fn of_field(field: &Field) -> Result<Self> {
        Ok(match field.data_type() {
            DataType::Boolean => Self::Boolean,
            DataType::UInt64 => Self::Decimal,
            DataType::Float16 | DataType::Float32 => Self::Single,
            kind if kind.is_integer() => Self::Integer,
            kind if kind.is_floating() => Self::Float,
            kind if kind.is_decimal() => Self::Decimal,
            DataType::Dictionary(_, values) => {
                let values = field.clone().with_data_type(values.as_ref().clone());
                return Self::of_field(&values);
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                match (field.metadata().get(KIND).map(String::as_str), field.extension_type_name()) {
                    (Some("decimal"), _) => Self::Decimal,
                    (Some("uuid"), _) => Self::Uuid,
                    (Some("json"), _) | (_, Some("arrow.json")) => Self::Json,
                    _ => Self::Text,
                }
            }
            DataType::FixedSizeBinary(16) if field.extension_type_name() == Some("arrow.uuid") => Self::Uuid,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Bytes
            }
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::Instant,
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::FixedSizeList(..)
            | DataType::Struct(_)
            | DataType::Map(..) => Self::Json,
            DataType::Interval(_) => return Err(without_type(field.name(), "intervals")),
            DataType::Duration(_) => return Err(without_type(field.name(), "durations")),
            other => return Err(without_type(field.name(), &format!("values of type {other}"))),
        })
    }

    /// Returns the number of decimal places that an Arrow type declares.
    pub(crate) fn places_of(data_type: &DataType) -> Option<u32> {
        match data_type {
            DataType::UInt64 => Some(0),
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale)
            | DataType::Decimal256(_, scale) => Some(u32::try_from(*scale).unwrap_or(0)),
            DataType::Dictionary(_, values) => Self::places_of(values),
            _ => None,
        }
    }

    /// Returns the kind of a Parquet column, using the logical type if the Arrow type does not
    /// determine it.
    pub(crate) fn of_parquet(column: &ParquetType, field: &Field) -> Result<Self> {
        if column.is_primitive() {
            let about = column.get_basic_info();
            match (about.logical_type_ref(), about.converted_type()) {
                (Some(LogicalType::Json), _) | (_, ConvertedType::JSON) => return Ok(Self::Json),
                (Some(LogicalType::Uuid), _) => return Ok(Self::Uuid),
                (_, ConvertedType::INTERVAL) => return Err(without_type(column.name(), "intervals")),
                _ => {}
            }
        }
        Self::of_field(field)
    }
}

/// Infers the kind of JSON strings.
fn of_strings(strings: impl Iterator<Item = String>, dialect: Dialect) -> Kind {
    let strings: Vec<String> = strings.collect();
    style::of_texts(strings.iter().map(String::as_str), dialect).kind()
}

/// Check for the rows after the first ones, for file formats without types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    /// No check, because the file declares types.
    None,
    /// Formats of CSV fields.
    Styles(Styles),
    /// Kind of NDJSON values.
    Json(Kind),
}

impl Check {
    /// Checks a CSV field, and requires the following ones to have the same format.
    pub(crate) fn accepts_text(&mut self, text: &str) -> bool {
        match self {
            Self::Styles(styles) => styles.narrow(text),
            Self::None | Self::Json(_) => true,
        }
    }

    pub(crate) fn accepts_json(&self, json: &str) -> bool {
        let Self::Json(kind) = self else { return true };
        match (*kind, class(json)) {
            (_, Class::Null) | (Kind::Mixed, _) | (Kind::Boolean, Class::Boolean) => true,
            (Kind::Integer, Class::Number) => json.parse::<i64>().is_ok() && json != "-0",
            (Kind::Float | Kind::Decimal, Class::Number) | (Kind::Text, Class::String) => true,
            (Kind::Json, class) => class == Class::Nested,
            (Kind::Float, Class::String) => string(json).is_some_and(|word| style::is_word(&word)),
            (Kind::Date | Kind::Timestamp | Kind::Instant, Class::String) => string(json).is_some_and(|text| {
                let style = match kind {
                    Kind::Date => Style::Date,
                    Kind::Timestamp => Style::Timestamp,
                    _ => Style::Instant,
                };
                style.is_of(&text)
            }),
            _ => false,
        }
    }
}

/// Returns the error for a column without a corresponding database type.
fn without_type(name: &str, values: &str) -> Problem {
    Problem::invalid(format!("column `{name}` has {values}, which have no database type"))
        .hint("convert the column to strings or numbers, or omit it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_values_have_a_lossless_kind() {
        for (values, kind) in [
            (&["1", "null", "-5"][..], Kind::Integer),
            (&["1", "0.5"], Kind::Float),
            (&["9007199254740993", "0.5"], Kind::Decimal),
            (&["12345678901234567890123"], Kind::Decimal),
            (&["0.1234567890123456789"], Kind::Decimal),
            (&["1e400"], Kind::Decimal),
            (&["-0"], Kind::Float),
            (&["\"1\""], Kind::Text),
            (&["\"abc\"", "5"], Kind::Mixed),
            (&["\"NaN\"", "0.5"], Kind::Float),
            (&["\"NaN\""], Kind::Text),
            (&["true", "false"], Kind::Boolean),
            (&["true", "1"], Kind::Mixed),
            (&["[1]", "{}"], Kind::Json),
            (&["[1]", "1"], Kind::Mixed),
            (&["\"2013-02-08\""], Kind::Date),
            (&["null"], Kind::Text),
        ] {
            assert_eq!(Kind::of_json(values.iter().copied(), Dialect::Postgres), kind, "{values:?}");
        }
        assert_eq!(Kind::of_json(["\"NaN\"", "0.5"].into_iter(), Dialect::Sqlite), Kind::Mixed);
    }

    #[test]
    fn decimal_columns_declare_their_scale() {
        let places = |data_type: DataType| Kind::places_of(&data_type);
        assert_eq!((places(DataType::Decimal128(38, 2)), places(DataType::Decimal128(38, -2))), (Some(2), Some(0)));
        assert_eq!((places(DataType::UInt64), places(DataType::Utf8)), (Some(0), None));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Decimal32(5, 1)));
        assert_eq!(places(dictionary), Some(1));
    }

    #[test]
    fn later_rows_must_match_the_kind_of_the_column() {
        let json = Check::Json;
        assert!(json(Kind::Integer).accepts_json("5") && !json(Kind::Integer).accepts_json("5.5"));
        assert!(!json(Kind::Text).accepts_json("5") && json(Kind::Mixed).accepts_json("[5]"));
        assert!(json(Kind::Date).accepts_json("\"2013-02-08\"") && !json(Kind::Date).accepts_json("\"x\""));
        let mut integers = Check::Styles(style::of_texts(["1"].into_iter(), Dialect::Sqlite));
        assert!(integers.accepts_text("5") && !integers.accepts_text("05"));
    }
}
