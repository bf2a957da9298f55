//! JSON and NDJSON: one object per row, whose keys are the names of the columns.

use std::io::Write;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, DataType, FieldRef};

use super::cell::{self, Cells};

/// Size in bytes of the text that is written at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Separators of rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// One array of objects.
    Array,
    /// One object per line.
    Lines,
}

/// Writes rows to a stream.
pub(super) struct Writer<W> {
    out: W,
    layout: Layout,
    text: String,
    is_first: bool,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, layout: Layout) -> Self {
        let text = if layout == Layout::Array { "[".to_owned() } else { String::new() };
        Self { out, layout, text, is_first: true }
    }

    /// Writes the rows of a batch.
    ///
    /// # Errors
    /// Returns an error for a column that has no JSON form, and if the stream cannot be written.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = batch.columns().iter();
        let columns = columns.map(|column| Cells::json(column.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let schema = batch.schema_ref();
        for row in 0..batch.num_rows() {
            if self.layout == Layout::Array && !std::mem::take(&mut self.is_first) {
                self.text.push(',');
            }
            let members = schema.fields().iter().map(|field| field.name()).zip(&columns);
            cell::push_object(&mut self.text, members, |out, column| column.write_json(row, out));
            if self.layout == Layout::Lines {
                self.text.push('\n');
            }
            if self.text.len() >= CHUNK_BYTES {
                self.flush()?;
            }
        }
        self.flush()?;
        Ok(())
    }

    /// Completes the output.
    pub(super) fn finish(mut self) -> std::io::Result<()> {
        if self.layout == Layout::Array {
            self.text.push_str("]\n");
        }
        self.flush()
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.write_all(self.text.as_bytes())?;
        self.text.clear();
        self.out.flush()
    }
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
    use std::sync::Arc;

    use arrow_array::builder::{Int32Builder, MapBuilder, StringBuilder};
    use arrow_array::types::{Float64Type as F64, Int8Type};
    use arrow_array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, DurationMillisecondArray,
        FixedSizeListArray, Float32Array, Float64Array, Int64Array, IntervalDayTimeArray, IntervalMonthDayNanoArray,
        ListArray, NullArray, StringArray, StructArray, Time32SecondArray, Time64MicrosecondArray,
        Time64NanosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
    };
    use arrow_buffer::{IntervalDayTime, IntervalMonthDayNano};
    use arrow_schema::Field;

    use super::*;

    fn json(layout: Layout, columns: Vec<(&str, ArrayRef)>) -> String {
        let columns = columns.into_iter().map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, layout);
        writer.write(&batch).expect("rows");
        writer.finish().expect("memory is written");
        let text = String::from_utf8(out).expect("UTF-8");
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        }
        text
    }

    fn lines(columns: Vec<(&str, ArrayRef)>) -> String {
        json(Layout::Lines, columns)
    }

    #[test]
    fn numbers_and_texts() {
        let decimals = Decimal128Array::from(vec![Some(1_230), None]).with_precision_and_scale(10, 2);
        let text = lines(vec![
            ("whole", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
            ("large", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
            ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("double", Arc::new(Float64Array::from(vec![Some(f64::NEG_INFINITY), Some(1e300)]))),
            ("single", Arc::new(Float32Array::from(vec![Some(0.1), None]))),
            ("exact", Arc::new(decimals.expect("decimals"))),
            ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\xde\xad"), None]))),
            ("text", Arc::new(StringArray::from(vec![Some("a\"b\\c\n\u{1}é"), Some("")]))),
            ("nothing", Arc::new(NullArray::new(2))),
        ]);
        let expected = concat!(
            r#"{"whole":-9223372036854775808,"large":18446744073709551615,"flag":true,"double":"-Infinity","#,
            r#""single":0.1,"exact":"12.30","bytes":"3q0=","text":"a\"b\\c\n\u0001é","nothing":null}"#,
            "\n",
            r#"{"whole":null,"large":null,"flag":null,"double":1e+300,"single":null,"exact":null,"bytes":null,"#,
            r#""text":"","nothing":null}"#,
            "\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn dates_times_and_intervals() {
        let instant = |micros| TimestampMicrosecondArray::from(vec![micros]).with_timezone("Europe/Berlin");
        let nanos = TimestampNanosecondArray::from(vec![-1]).with_timezone("UTC");
        let text = lines(vec![
            ("day", Arc::new(Date32Array::from(vec![-735_160]))),
            ("far", Arc::new(Date32Array::from(vec![2_000_000_000]))),
            ("time", Arc::new(Time64MicrosecondArray::from(vec![3_600_000_000]))),
            ("second", Arc::new(Time32SecondArray::from(vec![61]))),
            ("nano", Arc::new(Time64NanosecondArray::from(vec![1]))),
            ("at", Arc::new(instant(500_000))),
            ("local", Arc::new(TimestampSecondArray::from(vec![0]))),
            ("before", Arc::new(nanos)),
            ("took", Arc::new(DurationMillisecondArray::from(vec![-1_500]))),
            ("span", Arc::new(IntervalDayTimeArray::from(vec![IntervalDayTime::new(-2, 1_000)]))),
            ("months", Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(14, 3, -1)]))),
        ]);
        let expected = concat!(
            r#"{"day":"-0043-03-15","far":"+5477784-01-06","time":"01:00:00","second":"00:01:01","#,
            r#""nano":"00:00:00.000000001","at":"1970-01-01T00:00:00.500000Z","local":"1970-01-01T00:00:00","#,
            r#""before":"1969-12-31T23:59:59.999999999Z","took":"PT-1.500S","span":"P-2DT1S","#,
            r#""months":"P14M3DT-0.000000001S"}"#,
            "\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn nested_values() {
        let lists = ListArray::from_iter_primitive::<F64, _, _>([Some(vec![Some(f64::NAN), None, Some(0.5)]), None]);
        let pairs = FixedSizeListArray::from_iter_primitive::<F64, _, _>([None, Some(vec![Some(1.0), None])], 2);
        let names = Arc::new(StringArray::from(vec![Some("x"), None])) as ArrayRef;
        let record = StructArray::from(vec![(Arc::new(Field::new("na\"me", DataType::Utf8, true)), names)]);
        let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        map.keys().append_value("k");
        map.values().append_value(1);
        map.append(true).expect("an entry");
        map.append(true).expect("an empty map");
        let words: DictionaryArray<Int8Type> = [Some("once"), None].into_iter().collect();
        let text = lines(vec![
            ("list", Arc::new(lists)),
            ("pair", Arc::new(pairs)),
            ("record", Arc::new(record)),
            ("map", Arc::new(map.finish())),
            ("word", Arc::new(words)),
        ]);
        let expected = concat!(
            r#"{"list":["NaN",null,0.5],"pair":null,"record":{"na\"me":"x"},"map":{"k":1},"word":"once"}"#,
            "\n",
            r#"{"list":null,"pair":[1.0,null],"record":{"na\"me":null},"map":{},"word":null}"#,
            "\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn an_array_of_rows_is_one_line() {
        let column = |values: Vec<i64>| vec![("a", Arc::new(Int64Array::from(values)) as ArrayRef)];
        assert_eq!(json(Layout::Array, column(vec![1, 2])), "[{\"a\":1},{\"a\":2}]\n");
        assert_eq!(json(Layout::Array, column(vec![])), "[]\n");
        assert_eq!(json(Layout::Lines, column(vec![])), "");
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
