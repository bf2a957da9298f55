//! Rows of files: CSV, NDJSON, Arrow and Parquet as values for a database.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{DataType, TimeUnit};
use blockyard_sdk::prelude::*;
use blockyard_sdk::serde_json;
use blockyard_sdk::sql::{self, Timestamp, Value as SqlValue};
use bytes::Bytes;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field as ParquetField;
use parquet::record::reader::RowIter;

use crate::kind::{Kind, nested};
use crate::reader::{Reader, problem};

/// The forms of rows in files.
#[data]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Comma-separated values with a line of names (RFC 4180).
    Csv,
    /// JSON, one object a line.
    Ndjson,
    /// An Arrow IPC stream.
    Arrow,
    /// Apache Parquet.
    Parquet,
}

/// A column of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Told by the file, or found out from its first rows.
    pub(crate) kind: Kind,
}

/// A batch of rows.
pub(crate) type Batch = Vec<Vec<SqlValue>>;

/// The rows of a file, batch by batch. The first one is read when it is opened.
pub(crate) struct Rows {
    pub(crate) columns: Vec<Column>,
    first: Option<Batch>,
    source: Source,
}

enum Source {
    Csv(Box<csv::StringRecordsIntoIter<Reader>>),
    Ndjson(Lines),
    /// Batches, and what is left of the last one.
    Arrow(Box<StreamReader<Reader>>, ArrowRows),
    Parquet(RowIter<'static>, Vec<Kind>),
}

/// Lines of JSON.
struct Lines {
    objects: Box<dyn Iterator<Item = serde_json::Result<Map<String, Value>>>>,
    names: Vec<String>,
    read: usize,
}

/// Largest Parquet file: it is read from its end, so all of it is in memory, and a row group beside it.
const PARQUET_BYTES: usize = 64 << 20;
/// Bytes of a batch's values, roughly; the last row may go beyond.
const BATCH_BYTES: usize = 4 << 20;

impl Rows {
    /// Opens a file; reads its first rows, at most so many.
    pub(crate) fn open(body: Body, format: Format, most: usize) -> Result<Self> {
        match format {
            Format::Csv => Self::csv(body, most),
            Format::Ndjson => Self::ndjson(body, most),
            Format::Arrow => Self::arrow(body),
            Format::Parquet => Self::parquet(&body),
        }
    }

    /// The next rows, at most so many; empty at the end.
    pub(crate) fn next(&mut self, most: usize) -> Result<Batch> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        self.source.next(most)
    }

    fn csv(body: Body, most: usize) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new().from_reader(Reader::new(body));
        let header = reader.headers().map_err(|error| problem(&error, "the CSV"))?;
        let names: Vec<String> = header.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
        unique(&names)?;
        let mut source = Source::Csv(Box::new(reader.into_records()));
        let first = source.next(most)?;
        let columns = names.into_iter().enumerate().map(|(at, name)| {
            let texts = first.iter().filter_map(|row| match &row[at] {
                SqlValue::Text(text) => Some(text.as_str()),
                _ => None,
            });
            Column { name, kind: Kind::of_texts(texts, true) }
        });
        Ok(Self { columns: columns.collect(), first: Some(first), source })
    }

    fn ndjson(body: Body, most: usize) -> Result<Self> {
        let reader = std::io::BufReader::new(Reader::new(body));
        let mut objects = serde_json::Deserializer::from_reader(reader).into_iter::<Map<String, Value>>();
        let (mut head, mut bytes) = (Vec::new(), 0);
        let mut names: Vec<String> = Vec::new();
        while head.len() < most
            && bytes < BATCH_BYTES
            && let Some(object) = objects.next()
        {
            let object = object.map_err(|error| problem(&error, &format!("row {}", head.len() + 1)))?;
            bytes += object.values().map(|value| value.as_str().map_or(16, str::len)).sum::<usize>();
            names.extend(object.keys().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
            head.push(object);
        }
        let columns = names.iter().map(|name| {
            let values: Vec<&Value> = head.iter().filter_map(|object| object.get(name)).collect();
            Column { name: name.clone(), kind: Kind::of_values(&values) }
        });
        let columns = columns.collect();
        let mut lines = Lines { objects: Box::new(objects), names, read: 0 };
        let first = head.into_iter().map(|object| lines.row(object)).collect::<Result<Batch>>()?;
        Ok(Self { columns, first: Some(first), source: Source::Ndjson(lines) })
    }

    fn arrow(body: Body) -> Result<Self> {
        let reader = StreamReader::try_new(Reader::new(body), None);
        let reader = reader.map_err(|error| problem(&error, "not an Arrow IPC stream"))?;
        let fields = reader.schema();
        let columns = fields
            .fields()
            .iter()
            .map(|field| Ok(Column { name: field.name().clone(), kind: Kind::of_field(field)? }))
            .collect::<Result<Vec<_>>>()?;
        Self::typed(columns, Source::Arrow(Box::new(reader), ArrowRows::default()))
    }

    fn parquet(body: &Body) -> Result<Self> {
        let reader = SerializedFileReader::new(Bytes::from(whole(body)?));
        let reader = reader.map_err(|error| problem(&error, "not a Parquet file"))?;
        let fields = reader.metadata().file_metadata().schema().get_fields();
        let columns = fields
            .iter()
            .map(|field| Ok(Column { name: field.name().to_owned(), kind: Kind::of_parquet(field)? }))
            .collect::<Result<Vec<_>>>()?;
        let kinds = columns.iter().map(|column| column.kind).collect();
        Self::typed(columns, Source::Parquet(RowIter::from_file_into(Box::new(reader)), kinds))
    }

    /// A file that tells what its columns are.
    fn typed(columns: Vec<Column>, source: Source) -> Result<Self> {
        unique(&columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>())?;
        Ok(Self { columns, first: None, source })
    }
}

impl Source {
    /// The next rows, at most so many, and no more bytes than fit.
    fn next(&mut self, most: usize) -> Result<Batch> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < most
            && bytes < BATCH_BYTES
            && let Some(row) = self.row()?
        {
            bytes += row.iter().map(size).sum::<usize>();
            rows.push(row);
        }
        Ok(rows)
    }

    fn row(&mut self) -> Result<Option<Vec<SqlValue>>> {
        match self {
            Self::Csv(records) => {
                let record = records.next().transpose().map_err(|error| problem(&error, "the CSV"))?;
                Ok(record.map(|record| record.iter().map(csv_value).collect()))
            }
            Self::Ndjson(lines) => {
                let place = format!("row {}", lines.read + 1);
                let object = lines.objects.next().transpose().map_err(|error| problem(&error, &place))?;
                object.map(|object| lines.row(object)).transpose()
            }
            Self::Arrow(batches, left) => loop {
                if let Some(row) = left.next() {
                    return row.map(Some);
                }
                match batches.next().transpose().map_err(|error| problem(&error, "the Arrow stream"))? {
                    Some(batch) => *left = ArrowRows::of(&batch)?,
                    None => return Ok(None),
                }
            },
            Self::Parquet(rows, kinds) => {
                let row = rows.next().transpose().map_err(|error| problem(&error, "the Parquet file"))?;
                let values = |row: parquet::record::Row| {
                    let values = row.get_column_iter().zip(kinds.iter());
                    values.map(|((name, field), kind)| parquet_value(name, field, *kind)).collect()
                };
                row.map(values).transpose()
            }
        }
    }
}

impl Lines {
    fn row(&mut self, mut object: Map<String, Value>) -> Result<Vec<SqlValue>> {
        self.read += 1;
        let row =
            self.names.iter().map(|name| object.remove(name).map_or(SqlValue::Null, |value| sql::from_json(&value)));
        let row = row.collect();
        match object.keys().next() {
            None => Ok(row),
            Some(name) => Err(Problem::invalid(format!("row {} has `{name}`, which no row had before", self.read))
                .hint("let the first row have all columns, with null where there is nothing")),
        }
    }
}

/// An empty field is null.
fn csv_value(field: &str) -> SqlValue {
    if field.is_empty() { SqlValue::Null } else { SqlValue::Text(field.to_owned()) }
}

fn unique(names: &[String]) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    match names.iter().find(|name| name.is_empty() || !seen.insert(name.as_str())) {
        None => Ok(()),
        Some(name) if name.is_empty() => Err(Problem::invalid("a column has no name")),
        Some(name) => Err(Problem::invalid(format!("two columns are named `{name}`"))),
    }
}

fn whole(body: &Body) -> Result<Vec<u8>> {
    let too_large = || {
        Problem::invalid(format!("the Parquet file is larger than {} MiB", PARQUET_BYTES >> 20))
            .hint("load it in parts, or as an Arrow stream or CSV, which have no limit")
    };
    let (mut chunks, mut length) = (Vec::new(), 0);
    while let Some(chunk) = body.read(1 << 20)? {
        length += chunk.len();
        if length > PARQUET_BYTES {
            return Err(too_large());
        }
        chunks.push(chunk);
    }
    // Piece by piece, so that it is not there twice.
    let mut all = Vec::with_capacity(length);
    for chunk in chunks {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// Bytes that a value takes, roughly.
pub(crate) fn size(value: &SqlValue) -> usize {
    16 + match value {
        SqlValue::Decimal(text) | SqlValue::Text(text) | SqlValue::Uuid(text) | SqlValue::Json(text) => text.len(),
        SqlValue::Bytes(bytes) => bytes.len(),
        SqlValue::Other((_, text)) => text.len(),
        _ => 0,
    }
}

/// The rows of a batch, one by one.
#[derive(Default)]
struct ArrowRows {
    columns: Vec<(Kind, String, Plain)>,
    at: usize,
    rows: usize,
}

impl ArrowRows {
    fn of(batch: &RecordBatch) -> Result<Self> {
        let columns = batch.schema_ref().fields().iter().zip(batch.columns());
        let columns = columns
            .map(|(field, column)| Ok((Kind::of_field(field)?, field.name().clone(), Plain::of(column))))
            .collect::<Result<_>>()?;
        Ok(Self { columns, at: 0, rows: batch.num_rows() })
    }
}

impl Iterator for ArrowRows {
    type Item = Result<Vec<SqlValue>>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        self.at += 1;
        let row = || self.columns.iter().map(|(kind, name, plain)| plain.value(at, *kind, name)).collect();
        (at < self.rows).then(row)
    }
}

/// A column without a dictionary: its values, and which of them each row has.
struct Plain {
    values: ArrayRef,
    keys: Option<Vec<Option<usize>>>,
}

impl Plain {
    fn of(column: &ArrayRef) -> Self {
        match column.as_any_dictionary_opt() {
            None => Self { values: column.clone(), keys: None },
            Some(dictionary) => {
                let keys = dictionary.normalized_keys().into_iter().enumerate();
                let keys = keys.map(|(row, key)| (!column.is_null(row)).then_some(key)).collect();
                Self { values: dictionary.values().clone(), keys: Some(keys) }
            }
        }
    }

    fn value(&self, row: usize, kind: Kind, name: &str) -> Result<SqlValue> {
        let Some(at) = self.keys.as_ref().map_or(Some(row), |keys| keys[row]) else { return Ok(SqlValue::Null) };
        if self.values.is_null(at) {
            return Ok(SqlValue::Null);
        }
        scalar(&self.values, at, kind).ok_or_else(|| {
            Problem::invalid(format!("column `{name}` has a value in row {} that no table takes", at + 1))
        })
    }
}

fn scalar(array: &ArrayRef, at: usize, kind: Kind) -> Option<SqlValue> {
    let scaled = |value: i64, factor: i64| value.checked_mul(factor);
    Some(match array.data_type() {
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
        DataType::Decimal32(..) => SqlValue::Decimal(array.as_primitive::<Decimal32Type>().value_as_string(at)),
        DataType::Decimal64(..) => SqlValue::Decimal(array.as_primitive::<Decimal64Type>().value_as_string(at)),
        DataType::Decimal128(..) => SqlValue::Decimal(array.as_primitive::<Decimal128Type>().value_as_string(at)),
        DataType::Decimal256(..) => SqlValue::Decimal(array.as_primitive::<Decimal256Type>().value_as_string(at)),
        DataType::Utf8 => text(array.as_string::<i32>().value(at), kind),
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(at), kind),
        DataType::Utf8View => text(array.as_string_view().value(at), kind),
        DataType::Binary => SqlValue::Bytes(array.as_binary::<i32>().value(at).to_vec()),
        DataType::LargeBinary => SqlValue::Bytes(array.as_binary::<i64>().value(at).to_vec()),
        DataType::BinaryView => SqlValue::Bytes(array.as_binary_view().value(at).to_vec()),
        DataType::FixedSizeBinary(_) => SqlValue::Bytes(array.as_fixed_size_binary().value(at).to_vec()),
        DataType::Date32 => SqlValue::Date(array.as_primitive::<Date32Type>().value(at)),
        DataType::Date64 => {
            let days = array.as_primitive::<Date64Type>().value(at).div_euclid(86_400_000);
            SqlValue::Date(days.try_into().ok()?)
        }
        DataType::Time32(TimeUnit::Second) => {
            SqlValue::Time(i64::from(array.as_primitive::<Time32SecondType>().value(at)) * 1_000_000)
        }
        DataType::Time32(_) => {
            SqlValue::Time(i64::from(array.as_primitive::<Time32MillisecondType>().value(at)) * 1_000)
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            SqlValue::Time(array.as_primitive::<Time64MicrosecondType>().value(at))
        }
        DataType::Time64(_) => SqlValue::Time(array.as_primitive::<Time64NanosecondType>().value(at) / 1_000),
        DataType::Timestamp(unit, _) => {
            let micros = match unit {
                TimeUnit::Second => scaled(array.as_primitive::<TimestampSecondType>().value(at), 1_000_000)?,
                TimeUnit::Millisecond => scaled(array.as_primitive::<TimestampMillisecondType>().value(at), 1_000)?,
                TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(at),
                TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(at).div_euclid(1_000),
            };
            timestamp(micros, kind)
        }
        _ => return None,
    })
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

fn timestamp(micros: i64, kind: Kind) -> SqlValue {
    SqlValue::Timestamp(Timestamp { micros, offset_minutes: (kind == Kind::Instant).then_some(0) })
}

fn parquet_value(name: &str, field: &ParquetField, kind: Kind) -> Result<SqlValue> {
    Ok(match field {
        ParquetField::Null => SqlValue::Null,
        ParquetField::Bool(value) => SqlValue::Boolean(*value),
        ParquetField::Byte(value) => SqlValue::Integer((*value).into()),
        ParquetField::Short(value) => SqlValue::Integer((*value).into()),
        ParquetField::Int(value) => SqlValue::Integer((*value).into()),
        ParquetField::Long(value) if kind == Kind::Time => SqlValue::Time(*value / 1_000),
        ParquetField::Long(value) if matches!(kind, Kind::Timestamp | Kind::Instant) => {
            timestamp(value.div_euclid(1_000), kind)
        }
        ParquetField::Long(value) => SqlValue::Integer(*value),
        ParquetField::UByte(value) => SqlValue::Integer((*value).into()),
        ParquetField::UShort(value) => SqlValue::Integer((*value).into()),
        ParquetField::UInt(value) => SqlValue::Integer((*value).into()),
        ParquetField::ULong(value) => SqlValue::Decimal(value.to_string()),
        ParquetField::Float16(value) => SqlValue::Float((*value).into()),
        ParquetField::Float(value) => SqlValue::Float((*value).into()),
        ParquetField::Double(value) => SqlValue::Float(*value),
        ParquetField::Decimal(_) => SqlValue::Decimal(field.to_string()),
        ParquetField::Str(value) => text(value, kind),
        ParquetField::Bytes(bytes) if kind == Kind::Uuid => {
            let hex: String = bytes.data().iter().map(|byte| format!("{byte:02x}")).collect();
            let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
            let parts = [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)];
            SqlValue::Uuid(parts.join("-"))
        }
        ParquetField::Bytes(bytes) => SqlValue::Bytes(bytes.data().to_vec()),
        ParquetField::Date(days) => SqlValue::Date(*days),
        ParquetField::TimeMillis(millis) => SqlValue::Time(i64::from(*millis) * 1_000),
        ParquetField::TimeMicros(micros) => SqlValue::Time(*micros),
        ParquetField::TimestampMillis(millis) => timestamp(millis.saturating_mul(1_000), kind),
        ParquetField::TimestampMicros(micros) => timestamp(*micros, kind),
        ParquetField::Group(_) | ParquetField::ListInternal(_) | ParquetField::MapInternal(_) => {
            return Err(nested(name, "lists or records"));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_there_once() {
        let names = |names: &[&str]| unique(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert!(names(&["a", "b"]).is_ok());
        assert!(names(&["a", "a"]).expect_err("twice").message().contains("two columns are named `a`"));
        assert!(names(&["a", ""]).is_err());
    }

    #[test]
    fn arrays_become_values() {
        use arrow_array::{Decimal128Array, TimestampMillisecondArray, UInt64Array};
        use std::sync::Arc;
        let decimals =
            Decimal128Array::from(vec![Some(1_234), None]).with_precision_and_scale(10, 2).expect("a decimal");
        let instants = TimestampMillisecondArray::from(vec![Some(1_500), None]).with_timezone("+01:00");
        let batch = RecordBatch::try_from_iter([
            ("d", Arc::new(decimals) as ArrayRef),
            ("t", Arc::new(instants) as ArrayRef),
            ("u", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])) as ArrayRef),
        ])
        .expect("a batch");
        let rows: Batch = ArrowRows::of(&batch).expect("columns").collect::<Result<_>>().expect("rows");
        assert!(matches!(&rows[0][0], SqlValue::Decimal(text) if text == "12.34"));
        assert!(
            matches!(&rows[0][1], SqlValue::Timestamp(at) if at.micros == 1_500_000 && at.offset_minutes == Some(0))
        );
        assert!(matches!(&rows[0][2], SqlValue::Decimal(text) if text == "18446744073709551615"));
        assert!(rows[1].iter().all(|value| matches!(value, SqlValue::Null)));
    }
}
