//! Text form of values in JSON, CSV and tables. Floats, dates, times and bytes have the same form
//! as in the results of operations.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Float16Type, Float32Type, Float64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow_cast::base64::{BASE64_STANDARD, Engine as _};
use arrow_json::writer::NullableEncoder;
use arrow_json::{Encoder, EncoderFactory, EncoderOptions};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, TimeUnit};
use blockyard::model::literal;

/// A value as text, with a flag for numbers in JSON.
struct Text {
    text: String,
    is_number: bool,
}

impl Text {
    fn string(text: String) -> Self {
        Self { text, is_number: false }
    }

    fn float(value: f64) -> Self {
        Self { text: literal::float_text(value), is_number: value.is_finite() }
    }

    /// Formats with single precision: 0.1, not 0.10000000149011612.
    fn single(value: f32) -> Self {
        match serde_json::to_string(&value) {
            Ok(text) if value.is_finite() => Self { text, is_number: true },
            _ => Self::float(value.into()),
        }
    }
}

/// Formats the value of a column at a row index.
type Printer<'a> = Box<dyn Fn(usize) -> Text + 'a>;

/// Returns the printer for a column, or `None` if Arrow's default format applies.
fn printer(array: &dyn Array) -> Option<Printer<'_>> {
    Some(match array.data_type() {
        DataType::Float16 => {
            let array = array.as_primitive::<Float16Type>();
            Box::new(|row| Text::single(array.value(row).to_f32()))
        }
        DataType::Float32 => {
            let array = array.as_primitive::<Float32Type>();
            Box::new(|row| Text::single(array.value(row)))
        }
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            Box::new(|row| Text::float(array.value(row)))
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Box::new(|row| Text::string(BASE64_STANDARD.encode(array.value(row))))
        }
        DataType::LargeBinary => {
            let array = array.as_binary::<i64>();
            Box::new(|row| Text::string(BASE64_STANDARD.encode(array.value(row))))
        }
        DataType::Date32 => {
            let array = array.as_primitive::<Date32Type>();
            Box::new(|row| Text::string(literal::date_text(array.value(row))))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let array = array.as_primitive::<Time64MicrosecondType>();
            Box::new(|row| Text::string(literal::time_text(array.value(row))))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) if zone.as_deref().is_none_or(|zone| zone == "UTC") => {
            let (array, instant) = (array.as_primitive::<TimestampMicrosecondType>(), zone.is_some());
            Box::new(move |row| Text::string(literal::timestamp_text(array.value(row), instant)))
        }
        _ => return None,
    })
}

/// Arrow's encoder factory for JSON values.
#[derive(Debug)]
pub(super) struct JsonValues;

struct JsonEncoder<'a>(Printer<'a>);

impl Encoder for JsonEncoder<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let Text { text, is_number } = (self.0)(row);
        // These texts contain no characters that JSON escapes.
        if !is_number {
            out.push(b'"');
        }
        out.extend_from_slice(text.as_bytes());
        if !is_number {
            out.push(b'"');
        }
    }
}

impl EncoderFactory for JsonValues {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Option<Box<dyn Encoder + 'a>> = if array.data_type().is_decimal() {
            // Encoded as a string, because JSON parsers commonly read numbers as doubles.
            Some(Box::new(JsonEncoder(decimal(array)?)))
        } else {
            printer(array).map(|printer| Box::new(JsonEncoder(printer)) as Box<dyn Encoder + 'a>)
        };
        Ok(encoder.map(|encoder| NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

fn decimal(array: &dyn Array) -> Result<Printer<'_>, ArrowError> {
    let text = arrow_cast::cast(array, &DataType::Utf8)?;
    Ok(Box::new(move |row| Text::string(text.as_string::<i32>().value(row).to_owned())))
}

/// Returns the rows with columns of these types converted to text.
pub(super) fn with_texts(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns =
        batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| match printer(column) {
            None => (Arc::clone(field), Arc::clone(column)),
            Some(printer) => {
                let text = |row| (!column.is_null(row)).then(|| printer(row).text);
                let texts: ArrayRef = Arc::new((0..column.len()).map(text).collect::<StringArray>());
                (Arc::new(Field::new(field.name(), DataType::Utf8, true)), texts)
            }
        });
    let (fields, columns): (Vec<_>, Vec<_>) = columns.unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

/// Returns the first duplicate name among the fields, including fields of nested records.
pub(super) fn duplicate_name<'a>(fields: impl IntoIterator<Item = &'a FieldRef>) -> Option<&'a str> {
    let mut seen = std::collections::BTreeSet::new();
    fields.into_iter().find_map(|field| {
        if !seen.insert(field.name().as_str()) {
            return Some(field.name().as_str());
        }
        let mut inner = field.data_type();
        while let DataType::List(item) | DataType::LargeList(item) = inner {
            inner = item.data_type();
        }
        match inner {
            DataType::Struct(fields) => duplicate_name(fields),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Float64Type as F64;
    use arrow_array::{
        BinaryArray, Date32Array, Decimal128Array, Float32Array, Float64Array, ListArray, Time64MicrosecondArray,
        TimestampMicrosecondArray,
    };

    use super::*;

    fn batch() -> RecordBatch {
        let decimals = Decimal128Array::from(vec![Some(1_230), None]).with_precision_and_scale(10, 2);
        let zoned = TimestampMicrosecondArray::from(vec![Some(500_000), None]).with_timezone("UTC");
        let lists = ListArray::from_iter_primitive::<F64, _, _>([Some(vec![Some(f64::NAN), None, Some(0.5)]), None]);
        RecordBatch::try_from_iter([
            ("double", Arc::new(Float64Array::from(vec![Some(f64::NEG_INFINITY), None])) as ArrayRef),
            ("single", Arc::new(Float32Array::from(vec![Some(0.1), None]))),
            ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\xde\xad"), None]))),
            ("day", Arc::new(Date32Array::from(vec![Some(-735_160), None]))),
            ("far", Arc::new(Date32Array::from(vec![Some(2_000_000_000), None]))),
            ("time", Arc::new(Time64MicrosecondArray::from(vec![Some(3_600_000_000), None]))),
            ("at", Arc::new(zoned)),
            ("exact", Arc::new(decimals.expect("decimals"))),
            ("list", Arc::new(lists)),
        ])
        .expect("a batch")
    }

    #[test]
    fn values_are_formatted_as_json() {
        let mut out = Vec::new();
        let mut writer = arrow_json::WriterBuilder::new()
            .with_explicit_nulls(true)
            .with_encoder_factory(Arc::new(JsonValues))
            .build::<_, arrow_json::writer::LineDelimited>(&mut out);
        writer.write(&batch()).expect("JSON");
        writer.finish().expect("JSON");
        let text = String::from_utf8(out).expect("UTF-8");
        let first = text.lines().next().expect("a line");
        assert_eq!(
            first,
            r#"{"double":"-Infinity","single":0.1,"bytes":"3q0=","day":"-0043-03-15","far":"+5477784-01-06","time":"01:00:00","at":"1970-01-01T00:00:00.500000Z","exact":"12.30","list":["NaN",null,0.5]}"#
        );
        assert!(text.lines().nth(1).is_some_and(|line| line.starts_with(r#"{"double":null,"single":null"#)), "{text}");
    }

    #[test]
    fn values_are_formatted_as_csv() {
        let flat = batch().project(&[0, 1, 2, 3, 5, 6]).expect("columns");
        let mut out = Vec::new();
        crate::tabular::csv::write_rows(&with_texts(flat).expect("texts"), &mut out).expect("CSV");
        let expected = "-Infinity,0.1,3q0=,-0043-03-15,01:00:00,1970-01-01T00:00:00.500000Z\n,,,,,\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn duplicate_column_names_are_detected() {
        let number = |name: &str| Arc::new(Field::new(name, DataType::Int64, true));
        let fields = [number("a"), number("b"), number("a")];
        assert_eq!(duplicate_name(&fields), Some("a"));
        assert_eq!(duplicate_name(&fields[..2]), None);
        let record = Arc::new(Field::new("r", DataType::Struct(vec![number("x"), number("x")].into()), true));
        assert_eq!(duplicate_name(&[number("a"), record]), Some("x"));
    }
}
