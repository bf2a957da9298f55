//! Conversion of rows to an Arrow IPC stream
//! (<https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format>). The types are those
//! of the BigQuery Storage Read API ("Arrow schema details").

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Decimal256Type, DecimalType, Float64Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, ListArray, PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray,
    StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_cast::parse::parse_decimal;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field as ArrowField, FieldRef, Fields, Schema, TimeUnit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_sdk::calendar;
use blockyard_sdk::prelude::*;

use super::cell::{Cell, mismatch};
use super::field::{Field, Kind};
use super::job::Pages;

/// Key of the field metadata that names a type which Arrow does not have.
const EXTENSION: &str = "ARROW:extension:name";
/// Media type of an IPC stream.
const MEDIA_TYPE: &str = "application/vnd.apache.arrow.stream";
/// Precision and scale of NUMERIC and BIGNUMERIC.
const NUMERIC: (u8, i8) = (38, 9);
const BIGNUMERIC: (u8, i8) = (76, 38);

/// An IPC stream that is written page by page.
struct Stream {
    fields: Vec<Field>,
    schema: Arc<Schema>,
    writer: StreamWriter<Vec<u8>>,
}

impl Stream {
    fn new(fields: Vec<Field>) -> Result<Self> {
        let schema = Arc::new(Schema::new(fields.iter().map(|field| arrow_field(field, false)).collect::<Fields>()));
        let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(broken)?;
        Ok(Self { fields, schema, writer })
    }

    /// Encodes rows as a chunk of the stream. The first chunk begins with the schema.
    fn write(&mut self, rows: &[Vec<Cell>]) -> Result<Vec<u8>> {
        if !rows.is_empty() {
            let columns = columns(&self.fields, &rows.iter().map(Vec::as_slice).map(Some).collect::<Vec<_>>())?;
            let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            let batch =
                RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(broken)?;
            self.writer.write(&batch).map_err(broken)?;
        }
        Ok(std::mem::take(self.writer.get_mut()))
    }

    /// Returns the end of the stream.
    fn finish(&mut self) -> Result<Vec<u8>> {
        self.writer.finish().map_err(broken)?;
        Ok(std::mem::take(self.writer.get_mut()))
    }
}

/// Returns the chunks of the stream, one for each page of a query result.
pub(crate) fn parts(mut pages: Pages) -> Result<Parts> {
    let mut stream = Some(Stream::new(pages.fields.clone())?);
    Ok(Parts::new(move || {
        let Some(open) = &mut stream else { return Ok(None) };
        let bytes = match pages.next()? {
            Some(rows) => open.write(&rows)?,
            None => {
                let end = open.finish()?;
                stream = None;
                end
            }
        };
        Ok(Some(Body::from_bytes(MEDIA_TYPE, &bytes)))
    }))
}

fn broken(error: ArrowError) -> Problem {
    Problem::new("failed", format!("Arrow: {error}"))
}

/// Converts a column to an Arrow field. The element field of a list is named `item`.
fn arrow_field(field: &Field, is_item: bool) -> ArrowField {
    if field.is_repeated() && !is_item {
        // A BigQuery array is never null.
        return ArrowField::new(&field.name, DataType::List(item(field)), false);
    }
    let data_type = match field.kind() {
        Kind::Integer => DataType::Int64,
        Kind::Float => DataType::Float64,
        Kind::Boolean => DataType::Boolean,
        Kind::Bytes => DataType::Binary,
        Kind::Date => DataType::Date32,
        Kind::Time => DataType::Time64(TimeUnit::Microsecond),
        Kind::Datetime => DataType::Timestamp(TimeUnit::Microsecond, None),
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Numeric => DataType::Decimal128(NUMERIC.0, NUMERIC.1),
        Kind::BigNumeric => DataType::Decimal256(BIGNUMERIC.0, BIGNUMERIC.1),
        Kind::Struct => DataType::Struct(field.fields.iter().map(|part| arrow_field(part, false)).collect()),
        Kind::String | Kind::Geography | Kind::Json | Kind::Other => DataType::Utf8,
    };
    let nullable = is_item || field.mode.as_deref() != Some("REQUIRED");
    let arrow = ArrowField::new(if is_item { "item" } else { &field.name }, data_type, nullable);
    match field.kind() {
        Kind::Geography | Kind::Json | Kind::Other => {
            let name = format!("google:sqlType:{}", field.kind.to_ascii_lowercase());
            arrow.with_metadata(HashMap::from([(EXTENSION.to_owned(), name)]))
        }
        _ => arrow,
    }
}

fn item(field: &Field) -> FieldRef {
    Arc::new(arrow_field(field, true))
}

/// Converts rows to columns, or records to their fields. `None` represents a null record.
fn columns(fields: &[Field], rows: &[Option<&[Cell]>]) -> Result<Vec<ArrayRef>> {
    fields
        .iter()
        .enumerate()
        .map(|(at, field)| {
            let cells: Vec<&Cell> =
                rows.iter().map(|row| row.and_then(|row| row.get(at)).unwrap_or(&Cell::Null)).collect();
            if field.is_repeated() { list(field, &cells) } else { array(field, &cells) }
        })
        .collect()
}

fn list(field: &Field, cells: &[&Cell]) -> Result<ArrayRef> {
    let mut lengths = Vec::with_capacity(cells.len());
    let mut items = Vec::new();
    for cell in cells {
        match cell {
            Cell::List(list) => {
                lengths.push(list.len());
                items.extend(list);
            }
            Cell::Null => lengths.push(0),
            _ => return Err(mismatch(field, "not a list")),
        }
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    let values = array(field, &items)?;
    Ok(Arc::new(ListArray::try_new(item(field), offsets, values, None).map_err(broken)?))
}

fn array(field: &Field, cells: &[&Cell]) -> Result<ArrayRef> {
    Ok(match field.kind() {
        Kind::Integer => primitive::<Int64Type>(field, cells, |text| text.parse().ok())?,
        Kind::Float => primitive::<Float64Type>(field, cells, |text| text.parse().ok())?,
        Kind::Date => primitive::<Date32Type>(field, cells, calendar::date)?,
        Kind::Time => primitive::<Time64MicrosecondType>(field, cells, calendar::time)?,
        Kind::Datetime => primitive::<TimestampMicrosecondType>(field, cells, local_micros)?,
        // The API returns timestamps as integers here (`useInt64Timestamp`).
        Kind::Timestamp => {
            let micros = values(field, cells, |text| text.parse().ok())?;
            Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from(micros).with_timezone("UTC"))
        }
        Kind::Numeric => decimal::<Decimal128Type>(field, cells, NUMERIC)?,
        Kind::BigNumeric => decimal::<Decimal256Type>(field, cells, BIGNUMERIC)?,
        Kind::Boolean => Arc::new(BooleanArray::from(values(field, cells, |text| text.parse().ok())?)),
        Kind::Bytes => {
            let bytes = values(field, cells, |text| STANDARD.decode(text).ok())?;
            Arc::new(bytes.into_iter().collect::<BinaryArray>())
        }
        Kind::Struct => record(field, cells)?,
        Kind::String | Kind::Geography | Kind::Json | Kind::Other => {
            let texts = cells.iter().map(|cell| text(field, cell)).collect::<Result<Vec<_>>>()?;
            Arc::new(StringArray::from(texts))
        }
    })
}

/// Parses a time without a time zone to microseconds since 1970-01-01.
fn local_micros(text: &str) -> Option<i64> {
    calendar::timestamp(text).filter(|at| at.offset_minutes.is_none()).map(|at| at.micros)
}

fn record(field: &Field, cells: &[&Cell]) -> Result<ArrayRef> {
    let rows = cells
        .iter()
        .map(|cell| match cell {
            Cell::Record(parts) => Ok(Some(parts.as_slice())),
            Cell::Null => Ok(None),
            _ => Err(mismatch(field, "not a record")),
        })
        .collect::<Result<Vec<_>>>()?;
    let nulls = NullBuffer::from(rows.iter().map(Option::is_some).collect::<Vec<_>>());
    let parts = columns(&field.fields, &rows)?;
    // A REQUIRED field is null if its record is null.
    let fields: Fields = field.fields.iter().map(|part| arrow_field(part, false)).collect();
    Ok(Arc::new(StructArray::try_new_with_length(fields, parts, Some(nulls), cells.len()).map_err(broken)?))
}

fn primitive<T: ArrowPrimitiveType>(
    field: &Field,
    cells: &[&Cell],
    parse: impl Fn(&str) -> Option<T::Native>,
) -> Result<ArrayRef>
where
    PrimitiveArray<T>: From<Vec<Option<T::Native>>>,
{
    Ok(Arc::new(PrimitiveArray::<T>::from(values(field, cells, parse)?)))
}

fn decimal<T: DecimalType>(field: &Field, cells: &[&Cell], (precision, scale): (u8, i8)) -> Result<ArrayRef>
where
    PrimitiveArray<T>: From<Vec<Option<T::Native>>>,
{
    let values = values(field, cells, |text| parse_decimal::<T>(text, precision, scale).ok())?;
    let array = PrimitiveArray::<T>::from(values).with_precision_and_scale(precision, scale);
    Ok(Arc::new(array.map_err(broken)?))
}

fn values<T>(field: &Field, cells: &[&Cell], parse: impl Fn(&str) -> Option<T>) -> Result<Vec<Option<T>>> {
    cells
        .iter()
        .map(|cell| text(field, cell)?.map(|text| parse(text).ok_or_else(|| mismatch(field, text))).transpose())
        .collect()
}

fn text<'cell>(field: &Field, cell: &'cell Cell) -> Result<Option<&'cell str>> {
    match cell {
        Cell::Text(text) => Ok(Some(text)),
        Cell::Null => Ok(None),
        _ => Err(mismatch(field, "a list or a record")),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_ipc::reader::StreamReader;

    use super::*;

    fn field(name: &str, kind: &str, mode: Option<&str>, fields: Vec<Field>) -> Field {
        Field { name: name.to_owned(), kind: kind.to_owned(), mode: mode.map(str::to_owned), description: None, fields }
    }

    fn stream(fields: Vec<Field>, pages: &[Vec<Vec<Cell>>]) -> Vec<RecordBatch> {
        let mut stream = Stream::new(fields).expect("a stream");
        let mut bytes: Vec<u8> = pages.iter().flat_map(|page| stream.write(page).expect("a page")).collect();
        bytes.extend(stream.finish().expect("an end"));
        StreamReader::try_new(bytes.as_slice(), None).expect("a stream").map(|batch| batch.expect("a batch")).collect()
    }

    fn texts(texts: &[Option<&str>]) -> Vec<Vec<Cell>> {
        texts.iter().map(|text| vec![text.map_or(Cell::Null, |text| Cell::Text(text.to_owned()))]).collect()
    }

    #[test]
    fn numeric_values_become_exact_decimals() {
        let most = "578960446186580977117854925043439539266.34992332820282019728792003956564819967";
        let least = "-99999999999999999999999999999.999999999";
        let batches = stream(vec![field("n", "NUMERIC", None, vec![])], &[texts(&[Some(least), None, Some("0.1")])]);
        let column = batches[0].column(0).as_primitive::<Decimal128Type>();
        assert_eq!(column.value_as_string(0), least);
        assert!(column.is_null(1));
        assert_eq!(column.value_as_string(2), "0.100000000");
        let fits = "12345678901234567890123456789012345678.12345678901234567890123456789012345678";
        let batches = stream(vec![field("n", "BIGNUMERIC", None, vec![])], &[texts(&[Some(fits)])]);
        assert_eq!(batches[0].column(0).as_primitive::<Decimal256Type>().value_as_string(0), fits);
        let mut stream = Stream::new(vec![field("n", "BIGNUMERIC", None, vec![])]).expect("a stream");
        let refused = stream.write(&texts(&[Some(most)])).expect_err("77 digits");
        assert!(refused.message().contains("in column `n` of type BIGNUMERIC"), "{refused}");
    }

    #[test]
    fn timestamps_preserve_microseconds() {
        let column = |kind: &str, text: &str| {
            let batches = stream(vec![field("t", kind, None, vec![])], &[texts(&[Some(text)])]);
            batches[0].column(0).clone()
        };
        let day = column("DATE", "0001-01-01");
        assert_eq!(day.as_primitive::<Date32Type>().value(0), -719_162);
        let time = column("TIME", "23:59:59.999999");
        assert_eq!(time.as_primitive::<Time64MicrosecondType>().value(0), 86_399_999_999);
        let local = column("DATETIME", "2013-02-08T11:00:00.123456");
        assert_eq!(local.as_primitive::<TimestampMicrosecondType>().value(0), 1_360_321_200_123_456);
        for (text, micros) in
            [("9999-12-31T23:59:59.999999", 253_402_300_799_999_999), ("0001-01-01T00:00:00", -62_135_596_800_000_000)]
        {
            assert_eq!(column("DATETIME", text).as_primitive::<TimestampMicrosecondType>().value(0), micros, "{text}");
        }
        let instant = column("TIMESTAMP", "253402300799999999");
        assert_eq!(
            instant.as_primitive::<TimestampMicrosecondType>().value_as_datetime(0).expect("a time").to_string(),
            "9999-12-31 23:59:59.999999"
        );
        assert_eq!(instant.data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    }

    #[test]
    fn lists_and_records_span_pages() {
        let tags = field("tags", "STRING", Some("REPEATED"), vec![]);
        let fields =
            vec![field("legs", "RECORD", Some("REPEATED"), vec![field("n", "INT64", Some("REQUIRED"), vec![]), tags])];
        let leg = |n: &str, tags: &[&str]| {
            let tags = tags.iter().map(|tag| Cell::Text((*tag).to_owned())).collect();
            Cell::Record(vec![Cell::Text(n.to_owned()), Cell::List(tags)])
        };
        let pages = [
            vec![vec![Cell::List(vec![leg("1", &["a", "b"]), leg("2", &[])])], vec![Cell::List(vec![])]],
            vec![vec![Cell::Null]],
        ];
        let batches = stream(fields, &pages);
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 1]);
        let legs = batches[0].column(0).as_list::<i32>();
        assert_eq!((legs.value_length(0), legs.value_length(1)), (2, 0));
        let first = legs.value(0);
        let tags = first.as_struct().column(1).as_list::<i32>().value(0);
        assert_eq!(tags.as_string::<i32>().value(1), "b");
        let empty = stream(vec![field("a", "JSON", None, vec![])], &[]);
        assert!(empty.is_empty());
    }
}
