//! Values of Arrow columns as text and as JSON. Floats, dates, times and bytes have the same form as
//! in the results of operations. Nested values are JSON.

use std::fmt::Write as _;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType,
    IntervalMonthDayNanoType, IntervalYearMonthType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, OffsetSizeTrait};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, IntervalUnit, TimeUnit};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use blockyard::model::literal;

/// Formats the values of one column.
pub(super) struct Cells<'a> {
    nulls: Option<NullBuffer>,
    write: Writer<'a>,
}

/// Appends the value at an index to the text.
type Writer<'a> = Box<dyn Fn(usize, &mut String) + 'a>;

/// Form of a scalar in JSON.
#[derive(Clone, Copy)]
enum Form {
    /// A number or a boolean.
    Bare,
    /// A number if the text is one; `NaN` and the infinities are strings.
    Float,
    /// A string without characters that JSON escapes.
    Quoted,
    /// Any string.
    Escaped,
}

impl<'a> Cells<'a> {
    /// Formats values as text: strings without quotes, nested values as JSON.
    ///
    /// # Errors
    /// Returns an error for a data type that has no text form.
    pub(super) fn text(array: &'a dyn Array) -> Result<Self, ArrowError> {
        let write = match (array.data_type(), scalar(array)) {
            (_, Some((_, write))) => write,
            (DataType::Dictionary(..), None) => dictionary(array, Cells::text)?,
            (_, None) => nested(array)?,
        };
        Ok(Self { nulls: array.logical_nulls(), write })
    }

    /// Formats values as JSON.
    ///
    /// # Errors
    /// Returns an error for a data type that has no text form.
    pub(super) fn json(array: &'a dyn Array) -> Result<Self, ArrowError> {
        let write: Writer<'a> = match scalar(array) {
            Some((Form::Bare, write)) => write,
            Some((form, write)) => Box::new(move |row, out| {
                let start = out.len();
                write(row, out);
                quote(out, start, form);
            }),
            None => nested(array)?,
        };
        Ok(Self { nulls: array.logical_nulls(), write })
    }

    /// Appends the value in a row. Returns `false`, and appends nothing, if it is null.
    pub(super) fn write(&self, row: usize, out: &mut String) -> bool {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return false;
        }
        (self.write)(row, out);
        true
    }

    /// Appends the value in a row, or `null`.
    pub(super) fn write_json(&self, row: usize, out: &mut String) {
        if !self.write(row, out) {
            out.push_str("null");
        }
    }
}

/// Appends a string as JSON.
pub(super) fn push_json_string(out: &mut String, text: &str) {
    let start = out.len();
    out.push_str(text);
    quote(out, start, Form::Escaped);
}

/// Converts the text that begins at `start` to a JSON string if its form requires it.
fn quote(out: &mut String, start: usize, form: Form) {
    let text = &out[start..];
    let is_number = matches!(form, Form::Bare)
        || (matches!(form, Form::Float) && text.ends_with(|last: char| last.is_ascii_digit()));
    if is_number {
        return;
    }
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if matches!(form, Form::Escaped) && text.bytes().any(is_special) {
        let escaped = serde_json::Value::String(out.split_off(start)).to_string();
        out.push_str(&escaped);
    } else {
        out.insert(start, '"');
        out.push('"');
    }
}

/// Returns the form and the writer of a scalar column, or `None` for a nested or unsupported type.
fn scalar(array: &dyn Array) -> Option<(Form, Writer<'_>)> {
    Some(match array.data_type() {
        // All values of this type are null.
        DataType::Null => (Form::Bare, Box::new(|_, _| {})),
        DataType::Boolean => {
            let array = array.as_boolean();
            (Form::Bare, Box::new(|row, out| push(out, array.value(row))))
        }
        DataType::Float16 => float::<Float16Type>(array, |value, out| push_single(out, value.to_f32())),
        DataType::Float32 => float::<Float32Type>(array, |value, out| push_single(out, value)),
        DataType::Float64 => float::<Float64Type>(array, |value, out| out.push_str(&literal::float_text(value))),
        DataType::Utf8 => string(array.as_string::<i32>(), |array, row| array.value(row)),
        DataType::LargeUtf8 => string(array.as_string::<i64>(), |array, row| array.value(row)),
        DataType::Utf8View => string(array.as_string_view(), |array, row| array.value(row)),
        DataType::Binary => bytes(array.as_binary::<i32>(), |array, row| array.value(row)),
        DataType::LargeBinary => bytes(array.as_binary::<i64>(), |array, row| array.value(row)),
        DataType::BinaryView => bytes(array.as_binary_view(), |array, row| array.value(row)),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary(), |array, row| array.value(row)),
        _ => return integer(array).map(|write| (Form::Bare, write)).or_else(|| Some((Form::Quoted, quoted(array)?))),
    })
}

fn integer(array: &dyn Array) -> Option<Writer<'_>> {
    Some(match array.data_type() {
        DataType::Int8 => values::<Int8Type>(array, |value, out| push(out, value)),
        DataType::Int16 => values::<Int16Type>(array, |value, out| push(out, value)),
        DataType::Int32 => values::<Int32Type>(array, |value, out| push(out, value)),
        DataType::Int64 => values::<Int64Type>(array, |value, out| push(out, value)),
        DataType::UInt8 => values::<UInt8Type>(array, |value, out| push(out, value)),
        DataType::UInt16 => values::<UInt16Type>(array, |value, out| push(out, value)),
        DataType::UInt32 => values::<UInt32Type>(array, |value, out| push(out, value)),
        DataType::UInt64 => values::<UInt64Type>(array, |value, out| push(out, value)),
        _ => return None,
    })
}

/// Returns the writer of exact numbers, dates, times and intervals, which are strings in JSON.
/// Exact numbers are strings because JSON parsers commonly read numbers as doubles.
fn quoted(array: &dyn Array) -> Option<Writer<'_>> {
    Some(match array.data_type() {
        DataType::Decimal32(..) => decimal::<Decimal32Type>(array),
        DataType::Decimal64(..) => decimal::<Decimal64Type>(array),
        DataType::Decimal128(..) => decimal::<Decimal128Type>(array),
        DataType::Decimal256(..) => decimal::<Decimal256Type>(array),
        DataType::Date32 => values::<Date32Type>(array, |days, out| out.push_str(&literal::date_text(days))),
        DataType::Date64 => {
            values::<Date64Type>(array, |millis, out| out.push_str(&literal::timestamp_text(millis * 1_000, false)))
        }
        DataType::Time32(TimeUnit::Second) => {
            values::<Time32SecondType>(array, |value, out| push_time(out, i64::from(value) * 1_000_000_000))
        }
        DataType::Time32(_) => {
            values::<Time32MillisecondType>(array, |value, out| push_time(out, i64::from(value) * 1_000_000))
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            values::<Time64NanosecondType>(array, |value, out| push_time(out, value))
        }
        DataType::Time64(_) => {
            values::<Time64MicrosecondType>(array, |value, out| out.push_str(&literal::time_text(value)))
        }
        DataType::Timestamp(unit, zone) => timestamp(array, *unit, zone.is_some()),
        DataType::Duration(unit) => duration(array, *unit),
        DataType::Interval(unit) => interval(array, *unit),
        _ => return None,
    })
}

/// Instants are formatted in UTC, in any time zone of the column.
fn timestamp(array: &dyn Array, unit: TimeUnit, instant: bool) -> Writer<'_> {
    let text = move |micros| literal::timestamp_text(micros, instant);
    match unit {
        TimeUnit::Second => values::<TimestampSecondType>(array, move |value, out| {
            out.push_str(&text(value.saturating_mul(1_000_000)));
        }),
        TimeUnit::Millisecond => values::<TimestampMillisecondType>(array, move |value, out| {
            out.push_str(&text(value.saturating_mul(1_000)));
        }),
        TimeUnit::Microsecond => {
            values::<TimestampMicrosecondType>(array, move |value, out| out.push_str(&text(value)))
        }
        TimeUnit::Nanosecond => values::<TimestampNanosecondType>(array, move |value, out| {
            push_nanos(out, value, |micros| text(micros).trim_end_matches('Z').to_owned());
            if instant {
                out.push('Z');
            }
        }),
    }
}

/// Appends the time of day, given in nanoseconds since midnight.
fn push_time(out: &mut String, nanos: i64) {
    push_nanos(out, nanos, literal::time_text);
}

/// Appends a time with nanoseconds. `text` formats microseconds. The text has nine fractional digits
/// only if six do not suffice.
fn push_nanos(out: &mut String, nanos: i64, text: impl Fn(i64) -> String) {
    if nanos % 1_000 == 0 {
        out.push_str(&text(nanos / 1_000));
    } else {
        out.push_str(&text(nanos.div_euclid(1_000_000_000) * 1_000_000));
        let _ = write!(out, ".{:09}", nanos.rem_euclid(1_000_000_000));
    }
}

/// Durations are formatted as seconds in ISO 8601, e.g. `PT1.5S`.
fn duration(array: &dyn Array, unit: TimeUnit) -> Writer<'_> {
    let push = |out: &mut String, value, per_second, digits| {
        out.push_str("PT");
        push_seconds(out, value, per_second, digits);
    };
    match unit {
        TimeUnit::Second => values::<DurationSecondType>(array, move |value, out| push(out, value, 1, 0)),
        TimeUnit::Millisecond => values::<DurationMillisecondType>(array, move |value, out| push(out, value, 1_000, 3)),
        TimeUnit::Microsecond => {
            values::<DurationMicrosecondType>(array, move |value, out| push(out, value, 1_000_000, 6))
        }
        TimeUnit::Nanosecond => {
            values::<DurationNanosecondType>(array, move |value, out| push(out, value, 1_000_000_000, 9))
        }
    }
}

/// Intervals are formatted in ISO 8601 with signs per unit, as PostgreSQL's `intervalstyle`
/// `iso_8601` does, e.g. `P1M-2DT3S`.
fn interval(array: &dyn Array, unit: IntervalUnit) -> Writer<'_> {
    match unit {
        IntervalUnit::YearMonth => values::<IntervalYearMonthType>(array, |months, out| {
            let _ = write!(out, "P{months}M");
        }),
        IntervalUnit::DayTime => values::<IntervalDayTimeType>(array, |value, out| {
            let _ = write!(out, "P{}DT", value.days);
            push_seconds(out, value.milliseconds.into(), 1_000, 3);
        }),
        IntervalUnit::MonthDayNano => values::<IntervalMonthDayNanoType>(array, |value, out| {
            let _ = write!(out, "P{}M{}DT", value.months, value.days);
            push_seconds(out, value.nanoseconds, 1_000_000_000, 9);
        }),
    }
}

/// Appends seconds and `S`. The value is given in units of which a second has `per_second`, a power of
/// ten with this number of digits.
fn push_seconds(out: &mut String, value: i64, per_second: u64, digits: usize) {
    let (sign, value) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
    let (seconds, fraction) = (value / per_second, value % per_second);
    let _ = if fraction == 0 {
        write!(out, "{sign}{seconds}S")
    } else {
        write!(out, "{sign}{seconds}.{fraction:0digits$}S")
    };
}

fn decimal<T: DecimalType>(array: &dyn Array) -> Writer<'_> {
    let array = array.as_primitive::<T>();
    Box::new(|row, out| out.push_str(&array.value_as_string(row)))
}

fn float<'a, T: ArrowPrimitiveType>(array: &'a dyn Array, push: fn(T::Native, &mut String)) -> (Form, Writer<'a>) {
    (Form::Float, values::<T>(array, push))
}

fn values<'a, T: ArrowPrimitiveType>(array: &'a dyn Array, push: impl Fn(T::Native, &mut String) + 'a) -> Writer<'a> {
    let array = array.as_primitive::<T>();
    Box::new(move |row, out| push(array.value(row), out))
}

fn string<A>(array: &A, value: fn(&A, usize) -> &str) -> (Form, Writer<'_>) {
    (Form::Escaped, Box::new(move |row, out| out.push_str(value(array, row))))
}

fn bytes<A>(array: &A, value: fn(&A, usize) -> &[u8]) -> (Form, Writer<'_>) {
    (Form::Quoted, Box::new(move |row, out| BASE64_STANDARD.encode_string(value(array, row), out)))
}

fn push(out: &mut String, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}");
}

/// Formats with single precision: 0.1, not 0.10000000149011612.
fn push_single(out: &mut String, value: f32) {
    match serde_json::to_string(&value) {
        Ok(text) if value.is_finite() => out.push_str(&text),
        _ => out.push_str(&literal::float_text(value.into())),
    }
}

/// Returns the writer of a nested column, as JSON.
fn nested(array: &dyn Array) -> Result<Writer<'_>, ArrowError> {
    match array.data_type() {
        DataType::List(_) => list::<i32>(array),
        DataType::LargeList(_) => list::<i64>(array),
        DataType::FixedSizeList(_, size) => {
            let items = Cells::json(array.as_fixed_size_list().values().as_ref())?;
            let size = usize::try_from(*size).unwrap_or_default();
            Ok(Box::new(move |row, out| push_list(out, &items, row * size..(row + 1) * size)))
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter();
            let columns = columns.map(|column| Cells::json(column.as_ref())).collect::<Result<Vec<_>, _>>()?;
            Ok(Box::new(move |row, out| {
                let members = fields.iter().map(|field| field.name().as_str()).zip(&columns);
                push_object(out, members, |out, column| column.write_json(row, out));
            }))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let (keys, values) = (Cells::text(map.keys().as_ref())?, Cells::json(map.values().as_ref())?);
            let offsets = map.value_offsets();
            Ok(Box::new(move |row, out| {
                let entries = offset(offsets[row])..offset(offsets[row + 1]);
                let members = entries.map(|entry| {
                    let mut key = String::new();
                    keys.write(entry, &mut key);
                    (key, entry)
                });
                push_object(out, members, |out, entry| values.write_json(entry, out));
            }))
        }
        DataType::Dictionary(..) => dictionary(array, Cells::json),
        other => Err(ArrowError::NotYetImplemented(format!("the Arrow data type {other} has no text form"))),
    }
}

fn list<O: OffsetSizeTrait>(array: &dyn Array) -> Result<Writer<'_>, ArrowError> {
    let array = array.as_list::<O>();
    let items = Cells::json(array.values().as_ref())?;
    let offsets = array.value_offsets();
    Ok(Box::new(move |row, out| push_list(out, &items, offset(offsets[row])..offset(offsets[row + 1]))))
}

/// Arrow has validated that offsets are not negative.
fn offset(value: impl OffsetSizeTrait) -> usize {
    value.as_usize()
}

fn push_list(out: &mut String, items: &Cells<'_>, range: std::ops::Range<usize>) {
    out.push('[');
    for (index, item) in range.enumerate() {
        if index > 0 {
            out.push(',');
        }
        items.write_json(item, out);
    }
    out.push(']');
}

/// Appends a JSON object.
pub(super) fn push_object<N: AsRef<str>, V>(
    out: &mut String,
    members: impl Iterator<Item = (N, V)>,
    push_value: impl Fn(&mut String, V),
) {
    out.push('{');
    for (index, (name, value)) in members.enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_json_string(out, name.as_ref());
        out.push(':');
        push_value(out, value);
    }
    out.push('}');
}

/// Returns the writer of a dictionary column, whose values have the given form.
fn dictionary<'a>(
    array: &'a dyn Array,
    form: fn(&'a dyn Array) -> Result<Cells<'a>, ArrowError>,
) -> Result<Writer<'a>, ArrowError> {
    let dictionary = array.as_any_dictionary();
    let values = form(dictionary.values().as_ref())?;
    if dictionary.values().is_empty() {
        // All keys are null.
        return Ok(Box::new(|_, _| {}));
    }
    let keys = dictionary.normalized_keys();
    Ok(Box::new(move |row, out| {
        values.write(keys[row], out);
    }))
}
