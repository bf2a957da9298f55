//! Conversion of Arrow array values to column values, and of lists and records to JSON.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use blockyard_sdk::prelude::*;
use blockyard_sdk::serde_json;
use blockyard_sdk::sql::{self, Timestamp, Value as SqlValue};

use crate::kind::Kind;
use blockyard_sdk::calendar::DAY_MICROS;

/// Iterator over the rows of a batch.
#[derive(Default)]
pub(crate) struct BatchRows {
    columns: Vec<(Kind, String, Plain)>,
    at: usize,
    rows: usize,
}

/// A value, or the reason why it cannot be read.
type Read<T> = std::result::Result<T, String>;

impl BatchRows {
    pub(crate) fn of(batch: &RecordBatch, kinds: &[Kind]) -> Self {
        let columns = batch.schema_ref().fields().iter().zip(batch.columns()).zip(kinds);
        let columns = columns.map(|((field, column), kind)| (*kind, field.name().clone(), Plain::of(column)));
        Self { columns: columns.collect(), at: 0, rows: batch.num_rows() }
    }
}

impl Iterator for BatchRows {
    type Item = Read<Vec<SqlValue>>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        self.at += 1;
        let value = |(kind, name, plain): &(Kind, String, Plain)| {
            plain.value(at, *kind).map_err(|reason| format!("column `{name}`: {reason}"))
        };
        (at < self.rows).then(|| self.columns.iter().map(value).collect())
    }
}

/// A column with its dictionary, if any, resolved to one index into the values per row.
struct Plain {
    values: ArrayRef,
    keys: Option<Vec<Option<usize>>>,
}

impl Plain {
    fn of(column: &ArrayRef) -> Self {
        match column.as_any_dictionary_opt() {
            // A dictionary without values contains only nulls.
            Some(dictionary) if dictionary.values().is_empty() => {
                Self { values: dictionary.values().clone(), keys: Some(vec![None; column.len()]) }
            }
            Some(dictionary) => {
                let keys = dictionary.normalized_keys().into_iter().enumerate();
                let keys = keys.map(|(row, key)| (!column.is_null(row)).then_some(key)).collect();
                Self { values: dictionary.values().clone(), keys: Some(keys) }
            }
            None => Self { values: column.clone(), keys: None },
        }
    }

    fn value(&self, row: usize, kind: Kind) -> Read<SqlValue> {
        let at = self.keys.as_ref().map_or(Some(row), |keys| keys[row]);
        match at.filter(|at| !self.values.is_null(*at)) {
            None => Ok(SqlValue::Null),
            Some(at) if kind == Kind::Json && self.values.data_type().is_nested() => {
                Ok(SqlValue::Json(json(&self.values, at)?.to_string()))
            }
            Some(at) => scalar(&self.values, at, kind),
        }
    }
}

fn scalar(array: &ArrayRef, at: usize, kind: Kind) -> Read<SqlValue> {
    Ok(match array.data_type() {
        DataType::Null => SqlValue::Null,
        DataType::Boolean => SqlValue::Boolean(array.as_boolean().value(at)),
        DataType::Int8 => SqlValue::Integer(array.as_primitive::<Int8Type>().value(at).into()),
        DataType::Int16 => SqlValue::Integer(array.as_primitive::<Int16Type>().value(at).into()),
        DataType::Int32 => SqlValue::Integer(array.as_primitive::<Int32Type>().value(at).into()),
        DataType::Int64 => SqlValue::Integer(array.as_primitive::<Int64Type>().value(at)),
        DataType::UInt8 => SqlValue::Integer(array.as_primitive::<UInt8Type>().value(at).into()),
        DataType::UInt16 => SqlValue::Integer(array.as_primitive::<UInt16Type>().value(at).into()),
        DataType::UInt32 => SqlValue::Integer(array.as_primitive::<UInt32Type>().value(at).into()),
        DataType::UInt64 => SqlValue::Decimal(array.as_primitive::<UInt64Type>().value(at).to_string()),
        DataType::Float16 => SqlValue::Float(array.as_primitive::<Float16Type>().value(at).into()),
        DataType::Float32 => SqlValue::Float(array.as_primitive::<Float32Type>().value(at).into()),
        DataType::Float64 => SqlValue::Float(array.as_primitive::<Float64Type>().value(at)),
        DataType::Decimal32(..) => decimal(&array.as_primitive::<Decimal32Type>().value_as_string(at)),
        DataType::Decimal64(..) => decimal(&array.as_primitive::<Decimal64Type>().value_as_string(at)),
        DataType::Decimal128(..) => decimal(&array.as_primitive::<Decimal128Type>().value_as_string(at)),
        DataType::Decimal256(..) => decimal(&array.as_primitive::<Decimal256Type>().value_as_string(at)),
        DataType::Utf8 => text(array.as_string::<i32>().value(at), kind),
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(at), kind),
        DataType::Utf8View => text(array.as_string_view().value(at), kind),
        DataType::Binary => bytes(array.as_binary::<i32>().value(at), kind),
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(at), kind),
        DataType::BinaryView => bytes(array.as_binary_view().value(at), kind),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().value(at), kind),
        DataType::Date32 => SqlValue::Date(array.as_primitive::<Date32Type>().value(at)),
        DataType::Date64 => date(array.as_primitive::<Date64Type>().value(at))?,
        DataType::Time32(TimeUnit::Second) => {
            time(i64::from(array.as_primitive::<Time32SecondType>().value(at)) * 1_000_000)?
        }
        DataType::Time32(_) => time(i64::from(array.as_primitive::<Time32MillisecondType>().value(at)) * 1_000)?,
        DataType::Time64(TimeUnit::Microsecond) => time(array.as_primitive::<Time64MicrosecondType>().value(at))?,
        DataType::Time64(_) => time(micros_of_nanos(array.as_primitive::<Time64NanosecondType>().value(at))?)?,
        DataType::Timestamp(unit, zone) => {
            let micros = match unit {
                TimeUnit::Second => scaled(array.as_primitive::<TimestampSecondType>().value(at), 1_000_000)?,
                TimeUnit::Millisecond => scaled(array.as_primitive::<TimestampMillisecondType>().value(at), 1_000)?,
                TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(at),
                TimeUnit::Nanosecond => micros_of_nanos(array.as_primitive::<TimestampNanosecondType>().value(at))?,
            };
            SqlValue::Timestamp(Timestamp { micros, offset_minutes: zone.is_some().then_some(0) })
        }
        other => return Err(format!("values of type {other} are not supported")),
    })
}

/// Removes the trailing point of decimals with scale 0.
fn decimal(text: &str) -> SqlValue {
    SqlValue::Decimal(text.strip_suffix('.').unwrap_or(text).to_owned())
}

fn date(millis: i64) -> Read<SqlValue> {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    match i32::try_from(days) {
        Ok(days) if rest == 0 => Ok(SqlValue::Date(days)),
        Ok(_) => Err("the date has a time of day".to_owned()),
        Err(_) => Err("the date is out of range".to_owned()),
    }
}

/// Checks that a time is within a day. Some writers store durations as times.
fn time(micros: i64) -> Read<SqlValue> {
    if (0..=DAY_MICROS).contains(&micros) {
        return Ok(SqlValue::Time(micros));
    }
    Err(format!("the time is {micros} microseconds after midnight, which is not within a day"))
}

fn scaled(value: i64, factor: i64) -> Read<i64> {
    value.checked_mul(factor).ok_or_else(|| "the timestamp is out of range".to_owned())
}

fn micros_of_nanos(nanos: i64) -> Read<i64> {
    if nanos % 1_000 == 0 {
        return Ok(nanos.div_euclid(1_000));
    }
    Err(format!(
        "a time with nanoseconds ({:09}); databases store at most microseconds",
        nanos.rem_euclid(1_000_000_000)
    ))
}

fn text(text: &str, kind: Kind) -> SqlValue {
    let text = text.to_owned();
    match kind {
        Kind::Decimal => SqlValue::Decimal(text),
        Kind::Uuid => SqlValue::Uuid(text),
        Kind::Json => SqlValue::Json(text),
        _ => SqlValue::Text(text),
    }
}

fn bytes(bytes: &[u8], kind: Kind) -> SqlValue {
    match (kind, bytes.len()) {
        (Kind::Uuid, 16) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
            let parts = [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)];
            SqlValue::Uuid(parts.join("-"))
        }
        (Kind::Json, _) => SqlValue::Json(String::from_utf8_lossy(bytes).into_owned()),
        _ => SqlValue::Bytes(bytes.to_vec()),
    }
}

/// Converts a value to JSON in the format of query results.
fn json(array: &ArrayRef, at: usize) -> Read<Value> {
    if array.is_null(at) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::List(_) => list(&array.as_list::<i32>().value(at))?,
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(at))?,
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(at))?,
        DataType::ListView(_) => list(&array.as_list_view::<i32>().value(at))?,
        DataType::LargeListView(_) => list(&array.as_list_view::<i64>().value(at))?,
        DataType::Struct(fields) => {
            let mut object = Map::new();
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                if object.insert(field.name().clone(), json(column, at)?).is_some() {
                    return Err(format!("a record has two fields named `{}`", field.name()));
                }
            }
            Value::Object(object)
        }
        DataType::Map(..) => map(&(std::sync::Arc::new(array.as_map().value(at)) as ArrayRef))?,
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            json(dictionary.values(), dictionary.normalized_keys()[at])?
        }
        // 32-bit and 16-bit floats have fewer digits than the double that they convert to.
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(at).to_string()),
        DataType::Float16 => float(f32::from(array.as_primitive::<Float16Type>().value(at)).to_string()),
        _ => match scalar(array, at, Kind::Text)? {
            SqlValue::Float(value) if !value.is_finite() => sql::float_text(value).into(),
            // Integers are JSON numbers regardless of their width.
            SqlValue::Decimal(digits) if *array.data_type() == DataType::UInt64 => {
                digits.parse::<u64>().map_or_else(|_| digits.clone().into(), Value::from)
            }
            value => sql::to_json(value),
        },
    })
}

fn float(text: String) -> Value {
    let float: f64 = text.parse().unwrap_or(f64::NAN);
    serde_json::Number::from_f64(float).map_or_else(|| sql::float_text(float).into(), Value::Number)
}

fn list(values: &ArrayRef) -> Read<Value> {
    (0..values.len()).map(|at| json(values, at)).collect::<Read<Vec<_>>>().map(Value::Array)
}

/// Converts a map to an object if its keys are strings, and to a list of pairs otherwise.
fn map(entries: &ArrayRef) -> Read<Value> {
    let entries = entries.as_struct();
    let (keys, values) = (entries.column(0), entries.column(1));
    let pairs = (0..entries.len()).map(|at| Ok((json(keys, at)?, json(values, at)?))).collect::<Read<Vec<_>>>()?;
    if !matches!(keys.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        return Ok(pairs.into_iter().map(|(key, value)| Value::Array(vec![key, value])).collect());
    }
    let mut object = Map::new();
    for (key, value) in pairs {
        let key = key.as_str().unwrap_or_default().to_owned();
        if object.insert(key.clone(), value).is_some() {
            return Err(format!("a map has the duplicate key `{key}`"));
        }
    }
    Ok(Value::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn rows(columns: Vec<(&str, ArrayRef)>) -> Vec<Read<Vec<SqlValue>>> {
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let fields = batch.schema_ref().fields();
        let kinds: Vec<Kind> = fields.iter().map(|field| Kind::of_field(field).expect("a kind")).collect();
        BatchRows::of(&batch, &kinds).collect()
    }

    #[test]
    fn arrow_arrays_convert_to_sql_values() {
        use arrow_array::{Decimal128Array, TimestampMillisecondArray, UInt64Array};
        let decimal = |places| {
            Arc::new(
                Decimal128Array::from(vec![Some(-1_234), None])
                    .with_precision_and_scale(10, places)
                    .expect("a decimal"),
            )
        };
        let instants = TimestampMillisecondArray::from(vec![Some(1_500), None]).with_timezone("+01:00");
        let rows = rows(vec![
            ("d", decimal(2) as ArrayRef),
            ("w", decimal(0)),
            ("t", Arc::new(instants) as ArrayRef),
            ("u", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])) as ArrayRef),
        ]);
        let row = rows[0].as_ref().expect("a row");
        assert!(matches!(&row[0], SqlValue::Decimal(text) if text == "-12.34"));
        assert!(matches!(&row[1], SqlValue::Decimal(text) if text == "-1234"));
        assert!(matches!(&row[2], SqlValue::Timestamp(at) if at.micros == 1_500_000 && at.offset_minutes == Some(0)));
        assert!(matches!(&row[3], SqlValue::Decimal(text) if text == "18446744073709551615"));
        assert!(rows[1].as_ref().expect("a row").iter().all(|value| matches!(value, SqlValue::Null)));
    }

    #[test]
    fn nanoseconds_are_not_truncated() {
        let times = arrow_array::TimestampNanosecondArray::from(vec![1_000, 1_001]);
        let rows = rows(vec![("t", Arc::new(times) as ArrayRef)]);
        assert!(rows[0].is_ok());
        assert!(rows[1].as_ref().expect_err("nanoseconds").contains("column `t`: a time with nanoseconds"));
    }

    #[test]
    fn times_outside_of_a_day_are_rejected() {
        use arrow_array::builder::{ListBuilder, Time64MicrosecondBuilder};
        let times = arrow_array::Time64MicrosecondArray::from(vec![0, DAY_MICROS, -1, DAY_MICROS + 1]);
        let read: Vec<bool> = rows(vec![("t", Arc::new(times) as ArrayRef)]).iter().map(|row| row.is_ok()).collect();
        assert_eq!(read, [true, true, false, false]);
        let mut lists = ListBuilder::new(Time64MicrosecondBuilder::new());
        lists.append_value([Some(DAY_MICROS + 1)]);
        assert!(rows(vec![("l", Arc::new(lists.finish()) as ArrayRef)])[0].is_err());
    }

    #[test]
    fn lists_and_structs_convert_to_json() {
        use arrow_array::builder::{Float32Builder, ListBuilder};
        let mut lists = ListBuilder::new(Float32Builder::new());
        lists.append_value([Some(0.1), None, Some(f32::NAN)]);
        let rows = rows(vec![("l", Arc::new(lists.finish()) as ArrayRef)]);
        let row = rows[0].as_ref().expect("a row");
        assert!(matches!(&row[0], SqlValue::Json(json) if json == "[0.1,null,\"NaN\"]"), "{row:?}");
    }
}
