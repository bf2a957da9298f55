//! Conversion of rows to an Arrow IPC stream, batch by batch
//! (<https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format>).

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Float32Builder, Float64Builder, Int16Builder, Int32Builder,
    Int64Builder, StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use blockyard_call::{Problem, limits};
use bytes::Bytes;

use super::cell::{Cell, ColumnKind};
use super::literal::{self, DAY_MICROS};
use super::number;
use crate::bindings::blockyard::bundle::sql::Column;

/// Collects rows, and encodes them as chunks of one IPC stream.
pub(super) struct Batches {
    described: Vec<Column>,
    columns: Vec<ColumnBuilder>,
    rows: usize,
    bytes: usize,
    total_rows: u64,
    /// Created with the first chunk.
    stream: Option<(Arc<Schema>, StreamWriter<Vec<u8>>)>,
}

enum ColumnBuilder {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt64(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    /// The second field is the value of the column's [`KIND`] metadata; empty for plain text.
    Text(StringBuilder, &'static str),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Instant(TimestampMicrosecondBuilder),
    /// The first batch of a column whose type is derived from its values.
    Undecided(Vec<Cell<'static>>),
}

/// Key of the field metadata that describes a text column: `decimal`, `uuid`, `json` or `other`.
const KIND: &str = "blockyard:kind";
/// Key of the field metadata that contains the database's name of the type, for `other`.
const TYPE: &str = "blockyard:type";

/// A value that a column cannot hold.
enum Mismatch {
    /// The value has a different type than the column.
    Kind { found: &'static str, expected: &'static str },
    /// The value has the column's type, but is out of range for the Arrow type.
    OutOfRange { value: String, expected: &'static str },
}

impl Mismatch {
    fn problem(self, column: &str, row: u64) -> Problem {
        match self {
            Self::Kind { found, expected } => Problem::new(
                "invalid",
                format!("row {row}: column `{column}` has {found}, but is a column of {expected}"),
            )
            .hint("convert the column to one type, with `cast(… as …)` in the statement"),
            Self::OutOfRange { value, expected } => Problem::new(
                "invalid",
                format!("row {row}: column `{column}` has `{value}`, which {expected} cannot hold"),
            )
            .hint("read it as text, with `cast(… as text)` in the statement (`as char` in MySQL)"),
        }
    }
}

impl Batches {
    pub(super) fn new(described: Vec<Column>, kinds: Vec<ColumnKind>) -> Self {
        Self {
            described,
            columns: kinds.into_iter().map(ColumnBuilder::new).collect(),
            rows: 0,
            bytes: 0,
            total_rows: 0,
            stream: None,
        }
    }

    pub(super) fn row<'row>(
        &mut self,
        cells: impl Iterator<Item = Result<Cell<'row>, Problem>>,
    ) -> Result<(), Problem> {
        self.rows += 1;
        self.total_rows += 1;
        for ((column, cell), Column { name, .. }) in self.columns.iter_mut().zip(cells).zip(&self.described) {
            let cell = cell?;
            self.bytes += cell.size();
            column.push(cell).map_err(|mismatch| mismatch.problem(name, self.total_rows))?;
        }
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= limits::BATCH_ROWS || self.bytes >= limits::BATCH_BYTES
    }

    /// Encodes the collected rows as a chunk of the stream. The first chunk starts with the schema.
    pub(super) fn flush(&mut self) -> Result<Bytes, Problem> {
        for (column, Column { name, .. }) in self.columns.iter_mut().zip(&self.described) {
            let first = self.total_rows - self.rows as u64 + 1;
            column.decide().map_err(|(index, mismatch)| mismatch.problem(name, first + index as u64))?;
        }
        self.encode().map_err(|error| Problem::new("failed", format!("Arrow: {error}")))
    }

    fn encode(&mut self) -> Result<Bytes, ArrowError> {
        if self.stream.is_none() {
            let fields: Vec<Field> =
                self.described.iter().zip(&self.columns).map(|(described, column)| column.field(described)).collect();
            let schema = Arc::new(Schema::new(fields));
            let writer = StreamWriter::try_new(Vec::new(), &schema)?;
            self.stream = Some((schema, writer));
        }
        let (schema, writer) = self.stream.as_mut().expect("it was created above");
        if self.rows > 0 {
            let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
            let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(self.rows));
            writer.write(&RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)?;
        }
        self.rows = 0;
        self.bytes = 0;
        Ok(std::mem::take(writer.get_mut()).into())
    }

    /// Encodes the remaining rows and the end of the stream as the last chunk.
    pub(super) fn finish(mut self) -> Result<Bytes, Problem> {
        let mut last = Vec::from(self.flush()?);
        if let Some((_, mut writer)) = self.stream {
            writer.finish().map_err(|error| Problem::new("failed", format!("Arrow: {error}")))?;
            last.append(writer.get_mut());
        }
        Ok(last.into())
    }
}

fn out_of_range(value: String, expected: &'static str) -> Mismatch {
    Mismatch::OutOfRange { value, expected }
}

fn in_range<T: TryFrom<i64>>(value: i64, expected: &'static str) -> Result<T, Mismatch> {
    T::try_from(value).map_err(|_| out_of_range(value.to_string(), expected))
}

impl ColumnBuilder {
    fn new(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnKind::Int16 => Self::Int16(Int16Builder::new()),
            ColumnKind::Int32 => Self::Int32(Int32Builder::new()),
            ColumnKind::Int64 => Self::Int64(Int64Builder::new()),
            ColumnKind::UInt64 => Self::UInt64(UInt64Builder::new()),
            ColumnKind::Float32 => Self::Float32(Float32Builder::new()),
            ColumnKind::Float64 => Self::Float64(Float64Builder::new()),
            ColumnKind::Decimal => Self::Text(StringBuilder::new(), "decimal"),
            ColumnKind::Text => Self::Text(StringBuilder::new(), ""),
            ColumnKind::Uuid => Self::Text(StringBuilder::new(), "uuid"),
            ColumnKind::Json => Self::Text(StringBuilder::new(), "json"),
            ColumnKind::Other => Self::Text(StringBuilder::new(), "other"),
            ColumnKind::Bytes => Self::Bytes(BinaryBuilder::new()),
            ColumnKind::Date => Self::Date(Date32Builder::new()),
            ColumnKind::Time => Self::Time(Time64MicrosecondBuilder::new()),
            ColumnKind::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            ColumnKind::Instant => Self::Instant(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            ColumnKind::Dynamic => Self::Undecided(Vec::new()),
        }
    }

    /// Appends a value.
    fn push(&mut self, cell: Cell<'_>) -> Result<(), Mismatch> {
        let found = cell.kind_label();
        match (&mut *self, cell) {
            (Self::Undecided(cells), cell) => cells.push(cell.into_owned()),
            (Self::Boolean(b), Cell::Boolean(v)) => b.append_value(v),
            (Self::Int16(b), Cell::Integer(v)) => b.append_value(in_range(v, "a column of 16-bit integers")?),
            (Self::Int32(b), Cell::Integer(v)) => b.append_value(in_range(v, "a column of 32-bit integers")?),
            (Self::Int64(b), Cell::Integer(v)) => b.append_value(v),
            (Self::UInt64(b), Cell::Unsigned(v)) => b.append_value(v),
            (Self::Float32(b), Cell::Single(v)) => b.append_value(v),
            (Self::Float64(b), Cell::Float(v)) => b.append_value(v),
            (Self::Float64(b), Cell::Single(v)) => b.append_value(v.into()),
            // SQLite stores a float without a fraction as an integer.
            (Self::Float64(b), Cell::Integer(v)) => b.append_value(
                number::double_of_integer(v).ok_or_else(|| out_of_range(v.to_string(), "a column of doubles"))?,
            ),
            (
                Self::Text(b, _),
                Cell::Text(v) | Cell::Decimal(v) | Cell::Uuid(v) | Cell::Json(v) | Cell::Other(_, v),
            ) => b.append_value(v),
            (Self::Text(b, ""), Cell::Integer(v)) => b.append_value(v.to_string()),
            (Self::Text(b, ""), Cell::Float(v)) => b.append_value(number::float_text(v)),
            (Self::Bytes(b), Cell::Bytes(v)) => b.append_value(v),
            (Self::Date(b), Cell::Date(v)) => b.append_value(v),
            (Self::Time(b), Cell::Time(v)) if v < DAY_MICROS => b.append_value(v),
            (Self::Time(_), Cell::Time(v)) => return Err(out_of_range(literal::time_text(v), "an Arrow time")),
            (Self::Timestamp(b), Cell::Timestamp(v)) => b.append_value(v),
            (Self::Instant(b), Cell::Instant(v)) => b.append_value(v),
            (column, Cell::Null) => column.push_null(),
            // `infinity` in PostgreSQL, durations in MySQL.
            (Self::Date(_), Cell::Other(_, v)) => return Err(out_of_range(v.into_owned(), "an Arrow date")),
            (Self::Time(_), Cell::Other(_, v)) => return Err(out_of_range(v.into_owned(), "an Arrow time")),
            (Self::Timestamp(_) | Self::Instant(_), Cell::Other(_, v)) => {
                return Err(out_of_range(v.into_owned(), "an Arrow timestamp"));
            }
            (column, _) => return Err(Mismatch::Kind { found, expected: column.kind_label() }),
        }
        Ok(())
    }

    fn push_null(&mut self) {
        match self {
            Self::Boolean(b) => b.append_null(),
            Self::Int16(b) => b.append_null(),
            Self::Int32(b) => b.append_null(),
            Self::Int64(b) => b.append_null(),
            Self::UInt64(b) => b.append_null(),
            Self::Float32(b) => b.append_null(),
            Self::Float64(b) => b.append_null(),
            Self::Text(b, _) => b.append_null(),
            Self::Bytes(b) => b.append_null(),
            Self::Date(b) => b.append_null(),
            Self::Time(b) => b.append_null(),
            Self::Timestamp(b) | Self::Instant(b) => b.append_null(),
            Self::Undecided(cells) => cells.push(Cell::Null),
        }
    }

    /// Determines the type of a column from the values of its first batch: the narrowest type that
    /// holds all of them, or text if texts and numbers are mixed or all values are null. The error
    /// contains the index of the value that does not fit.
    fn decide(&mut self) -> Result<(), (usize, Mismatch)> {
        let Self::Undecided(cells) = self else { return Ok(()) };
        let cells = std::mem::take(cells);
        let mut kind = None;
        for cell in &cells {
            let cell_kind = match cell {
                Cell::Null => continue,
                Cell::Integer(_) => ColumnKind::Int64,
                Cell::Float(_) => ColumnKind::Float64,
                Cell::Bytes(_) => ColumnKind::Bytes,
                _ => ColumnKind::Text,
            };
            kind = Some(match (kind, cell_kind) {
                (None, cell_kind) => cell_kind,
                (Some(ColumnKind::Int64 | ColumnKind::Float64), ColumnKind::Float64)
                | (Some(ColumnKind::Float64), ColumnKind::Int64) => ColumnKind::Float64,
                (Some(ColumnKind::Bytes), _) | (_, ColumnKind::Bytes) => ColumnKind::Bytes,
                (Some(before), cell_kind) if before == cell_kind => before,
                _ => ColumnKind::Text,
            });
        }
        *self = Self::new(kind.unwrap_or(ColumnKind::Text));
        let mut cells = cells.into_iter().enumerate();
        cells.try_for_each(|(index, cell)| self.push(cell).map_err(|mismatch| (index, mismatch)))
    }

    fn field(&self, described: &Column) -> Field {
        let data_type = match self {
            Self::Boolean(_) => DataType::Boolean,
            Self::Int16(_) => DataType::Int16,
            Self::Int32(_) => DataType::Int32,
            Self::Int64(_) => DataType::Int64,
            Self::UInt64(_) => DataType::UInt64,
            Self::Float32(_) => DataType::Float32,
            Self::Float64(_) => DataType::Float64,
            Self::Text(..) | Self::Undecided(_) => DataType::Utf8,
            Self::Bytes(_) => DataType::Binary,
            Self::Date(_) => DataType::Date32,
            Self::Time(_) => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Instant(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        };
        let field = Field::new(&described.name, data_type, true);
        match self {
            Self::Text(_, kind) if !kind.is_empty() => {
                let mut metadata = HashMap::from([(KIND.to_owned(), (*kind).to_owned())]);
                if *kind == "other" {
                    metadata.insert(TYPE.to_owned(), described.type_name.clone());
                }
                field.with_metadata(metadata)
            }
            _ => field,
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(b) => Arc::new(b.finish()),
            Self::Int16(b) => Arc::new(b.finish()),
            Self::Int32(b) => Arc::new(b.finish()),
            Self::Int64(b) => Arc::new(b.finish()),
            Self::UInt64(b) => Arc::new(b.finish()),
            Self::Float32(b) => Arc::new(b.finish()),
            Self::Float64(b) => Arc::new(b.finish()),
            Self::Text(b, _) => Arc::new(b.finish()),
            Self::Bytes(b) => Arc::new(b.finish()),
            Self::Date(b) => Arc::new(b.finish()),
            Self::Time(b) => Arc::new(b.finish()),
            Self::Timestamp(b) | Self::Instant(b) => Arc::new(b.finish()),
            Self::Undecided(_) => unreachable!("columns are decided before they are finished"),
        }
    }

    fn kind_label(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "booleans",
            Self::Int16(_) | Self::Int32(_) | Self::Int64(_) | Self::UInt64(_) => "integers",
            Self::Float32(_) | Self::Float64(_) => "floats",
            Self::Text(..) | Self::Undecided(_) => "strings",
            Self::Bytes(_) => "bytes",
            Self::Date(_) => "dates",
            Self::Time(_) => "times",
            Self::Timestamp(_) | Self::Instant(_) => "timestamps",
        }
    }
}
