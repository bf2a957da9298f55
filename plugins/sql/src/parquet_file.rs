//! A Parquet file of rows (https://parquet.apache.org/docs/file-format/): a column has the type of its first
//! value, row groups are written as they fill.

use std::io::Write;
use std::sync::{Arc, Mutex};

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::Value as SqlValue;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use crate::load::as_text;
use crate::rows::size;

/// Rows of one group.
const GROUP_ROWS: usize = 64 << 10;
/// Bytes of one group's values, roughly: it is in memory until it is written.
const GROUP_BYTES: usize = 16 << 20;

/// A file that is being written.
pub(crate) struct ParquetFile {
    names: Vec<String>,
    /// Rows of the group that is not full yet.
    rows: Vec<Vec<SqlValue>>,
    bytes: usize,
    /// Made with the first group.
    open: Option<(SerializedFileWriter<Sink>, Vec<Kind>)>,
    sink: Sink,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Integer,
    Float,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    Instant,
    Json,
}

/// Bytes on their way out.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().map_err(|_| std::io::ErrorKind::Other)?.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl ParquetFile {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self { names, rows: Vec::new(), bytes: 0, open: None, sink: Sink::default() }
    }

    /// Takes rows; gives the bytes of the file that are done.
    pub(crate) fn write(&mut self, rows: Vec<Vec<SqlValue>>) -> Result<Vec<u8>> {
        self.bytes += rows.iter().flatten().map(size).sum::<usize>();
        self.rows.extend(rows);
        if self.rows.len() >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.group()?;
        }
        self.taken()
    }

    /// The rest of the file.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.group()?;
        if let Some((writer, _)) = self.open.take() {
            writer.close().map_err(broken)?;
        }
        self.taken()
    }

    fn taken(&mut self) -> Result<Vec<u8>> {
        if let Some((writer, _)) = &mut self.open {
            writer.inner_mut().flush().map_err(|error| broken(error.into()))?;
        }
        Ok(self.sink.0.lock().map(|mut bytes| std::mem::take(&mut *bytes)).unwrap_or_default())
    }

    fn group(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if self.open.is_none() {
            let kinds: Vec<Kind> = (0..self.names.len())
                .map(|at| rows.iter().find_map(|row| Kind::of(&row[at])).unwrap_or(Kind::Text))
                .collect();
            let fields = self.names.iter().zip(&kinds).map(|(name, kind)| kind.field(name).map(Arc::new));
            let fields = fields.collect::<Result<Vec<_>, _>>().map_err(broken)?;
            let schema = Type::group_type_builder("schema").with_fields(fields).build().map_err(broken)?;
            let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
            let writer = SerializedFileWriter::new(self.sink.clone(), Arc::new(schema), Arc::new(properties));
            self.open = Some((writer.map_err(broken)?, kinds));
        }
        let Some((writer, kinds)) = &mut self.open else { return Ok(()) };
        if rows.is_empty() {
            return Ok(());
        }
        let mut group = writer.next_row_group().map_err(broken)?;
        for (at, (name, kind)) in self.names.iter().zip(kinds.iter()).enumerate() {
            let column = rows.iter().map(|row| &row[at]);
            match kind {
                Kind::Boolean => write::<BoolType>(&mut group, name, column, |value| match value {
                    SqlValue::Boolean(value) => Some(*value),
                    _ => None,
                }),
                Kind::Integer => write::<Int64Type>(&mut group, name, column, |value| match value {
                    SqlValue::Integer(value) => Some(*value),
                    _ => None,
                }),
                Kind::Float => write::<DoubleType>(&mut group, name, column, |value| match value {
                    SqlValue::Float(value) => Some(*value),
                    _ => None,
                }),
                Kind::Date => write::<Int32Type>(&mut group, name, column, |value| match value {
                    SqlValue::Date(days) => Some(*days),
                    _ => None,
                }),
                Kind::Time => write::<Int64Type>(&mut group, name, column, |value| match value {
                    SqlValue::Time(micros) => Some(*micros),
                    _ => None,
                }),
                Kind::Timestamp | Kind::Instant => write::<Int64Type>(&mut group, name, column, |value| match value {
                    SqlValue::Timestamp(at) if at.offset_minutes.is_some() == (*kind == Kind::Instant) => {
                        Some(at.micros)
                    }
                    _ => None,
                }),
                Kind::Bytes => write::<ByteArrayType>(&mut group, name, column, |value| match value {
                    SqlValue::Bytes(bytes) => Some(ByteArray::from(bytes.clone())),
                    _ => None,
                }),
                // Whatever there is has a text.
                Kind::Text => {
                    write::<ByteArrayType>(&mut group, name, column, |value| Some(as_text(value).as_str().into()))
                }
                Kind::Json => write::<ByteArrayType>(&mut group, name, column, |value| match value {
                    SqlValue::Json(json) => Some(json.as_str().into()),
                    _ => None,
                }),
            }?;
        }
        group.close().map(drop).map_err(broken)
    }
}

/// Writes a column, whose values are of the type that `read` reads.
fn write<'value, T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Sink>,
    name: &str,
    column: impl Iterator<Item = &'value SqlValue>,
    read: impl Fn(&SqlValue) -> Option<T::T>,
) -> Result<()> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    for value in column {
        levels.push(i16::from(!matches!(value, SqlValue::Null)));
        if !matches!(value, SqlValue::Null) {
            values.push(read(value).ok_or_else(|| {
                Problem::invalid(format!("column `{name}` has values of several types"))
                    .hint("give the column one type, with `cast(… as …)` in the statement")
            })?);
        }
    }
    let mut writer = group.next_column().map_err(broken)?.ok_or_else(|| broken(ParquetError::EOF(name.to_owned())))?;
    writer.typed::<T>().write_batch(&values, Some(&levels), None).map_err(broken)?;
    writer.close().map_err(broken)
}

impl Kind {
    fn of(value: &SqlValue) -> Option<Self> {
        Some(match value {
            SqlValue::Null => return None,
            SqlValue::Boolean(_) => Self::Boolean,
            SqlValue::Integer(_) => Self::Integer,
            SqlValue::Float(_) => Self::Float,
            SqlValue::Bytes(_) => Self::Bytes,
            SqlValue::Date(_) => Self::Date,
            SqlValue::Time(_) => Self::Time,
            SqlValue::Timestamp(at) if at.offset_minutes.is_some() => Self::Instant,
            SqlValue::Timestamp(_) => Self::Timestamp,
            SqlValue::Json(_) => Self::Json,
            // Decimals have as many digits as they have: their text is exact.
            SqlValue::Decimal(_) | SqlValue::Text(_) | SqlValue::Uuid(_) | SqlValue::Other(_) => Self::Text,
        })
    }

    fn field(self, name: &str) -> Result<Type, ParquetError> {
        let micros = |utc| LogicalType::timestamp(utc, TimeUnit::MICROS);
        let (physical, logical) = match self {
            Self::Boolean => (Physical::BOOLEAN, None),
            Self::Integer => (Physical::INT64, None),
            Self::Float => (Physical::DOUBLE, None),
            Self::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Self::Bytes => (Physical::BYTE_ARRAY, None),
            Self::Date => (Physical::INT32, Some(LogicalType::Date)),
            Self::Time => (Physical::INT64, Some(LogicalType::time(false, TimeUnit::MICROS))),
            Self::Timestamp => (Physical::INT64, Some(micros(false))),
            Self::Instant => (Physical::INT64, Some(micros(true))),
            Self::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        };
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
    }
}

fn broken(error: ParquetError) -> Problem {
    Problem::new("failed", format!("Parquet: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use blockyard_sdk::sql::Timestamp;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};

    fn file(rows: Vec<Vec<SqlValue>>, names: &[&str]) -> Vec<u8> {
        let mut file = ParquetFile::new(names.iter().map(|name| (*name).to_owned()).collect());
        let mut bytes = file.write(rows).expect("rows");
        bytes.extend(file.finish().expect("an end"));
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let rows = vec![
            vec![
                SqlValue::Null,
                SqlValue::Integer(1),
                SqlValue::Date(15_744),
                SqlValue::Timestamp(Timestamp { micros: 5, offset_minutes: Some(0) }),
            ],
            vec![SqlValue::Text("ü".to_owned()), SqlValue::Integer(-2), SqlValue::Null, SqlValue::Null],
        ];
        let reader = SerializedFileReader::new(bytes::Bytes::from(file(rows, &["a", "b", "c", "d"]))).expect("a file");
        let read: Vec<String> =
            reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row").to_string()).collect();
        assert_eq!(read.len(), 2);
        assert!(read[0].contains("a: null, b: 1, c: 2013-02-08"), "{}", read[0]);
        assert!(read[1].contains("a: \"ü\", b: -2"), "{}", read[1]);
    }

    #[test]
    fn a_file_without_rows_is_one() {
        let reader = SerializedFileReader::new(bytes::Bytes::from(file(Vec::new(), &["a"]))).expect("a file");
        assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    }

    #[test]
    fn a_column_has_one_type() {
        let mut file = ParquetFile::new(vec!["a".to_owned()]);
        let rows = vec![vec![SqlValue::Integer(1)], vec![SqlValue::Text("x".to_owned())]];
        file.write(rows).expect("a group that is not full");
        assert!(file.finish().expect_err("two types").message().contains("values of several types"));
    }
}
