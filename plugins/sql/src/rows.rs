//! Batches of rows from CSV, NDJSON, Arrow and Parquet files.

use arrow_array::RecordBatchReader as _;
use arrow_schema::Schema;
use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::Value as SqlValue;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use crate::Dialect;
use crate::array::BatchRows;
use crate::arrow_file;
use crate::column_type::Datum;
use crate::csv_file::{Field, Records};
use crate::kind::{Check, Kind};
use crate::ndjson::{Object, Objects};
use crate::parquet_file;
use crate::reader::{self, Reader, Text, problem};
use crate::style;

/// File format of rows.
#[data]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Comma-separated values with a header line (RFC 4180).
    Csv,
    /// Newline-delimited JSON, one object per line.
    Ndjson,
    /// Arrow IPC file (Feather version 2) or stream.
    Arrow,
    /// Apache Parquet.
    Parquet,
}

/// A column of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Declared by the file, or inferred from its first rows.
    pub(crate) kind: Kind,
    /// Check for the rows after the first ones if the table is created from the file.
    pub(crate) check: Check,
    /// Number of digits after the decimal point, if the first rows or the file's type define it.
    pub(crate) places: Option<u32>,
}

/// A batch of rows.
pub(crate) type Batch = Vec<Vec<Datum>>;

/// Rows of a file, in batches. For a file without types, the first batch is read when the file is
/// opened.
pub(crate) struct Rows {
    pub(crate) columns: Vec<Column>,
    first: Option<Batch>,
    source: Source,
    /// Number of rows read.
    read: u64,
    /// Columns of the table, which later rows of an NDJSON file may add.
    known: Vec<String>,
    /// A row with additional columns, which starts the next batch.
    pending: Option<Object>,
}

enum Source {
    Csv(Records<Text>, usize),
    Ndjson(Objects<Text>, Vec<String>),
    /// Batches, and the remaining rows of the last one.
    Arrow(Box<arrow_file::Batches>, Vec<Kind>, BatchRows),
    Parquet(Box<ParquetRecordBatchReader>, Vec<Kind>, BatchRows),
}

/// Parameters for reading a file.
pub(crate) struct Reading<'a> {
    pub(crate) format: Format,
    pub(crate) dialect: Dialect,
    /// Separator of CSV fields.
    pub(crate) delimiter: u8,
    /// Columns of the existing table. Rows of an NDJSON file may contain them even if the first
    /// rows do not.
    pub(crate) known: &'a [String],
}

/// Approximate size of a batch in bytes; its last row may exceed it.
const BATCH_BYTES: usize = 4 << 20;

impl Rows {
    /// Opens a file. For a file without types, reads at most `most` rows to infer them.
    pub(crate) fn open(body: Body, reading: &Reading<'_>, most: usize) -> Result<Self> {
        let reader = Reader::new(body);
        match reading.format {
            Format::Csv => Self::csv(reader::text(reader, "CSV")?, reading, most),
            Format::Ndjson => Self::ndjson(reader::text(reader, "NDJSON")?, reading, most),
            Format::Arrow => Self::arrow(reader),
            Format::Parquet => Self::parquet(reader),
        }
    }

    /// Returns the next batch of at most `most` rows; empty at the end. The rows have the current
    /// `columns`.
    pub(crate) fn next(&mut self, most: usize) -> Result<Batch> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < most
            && bytes < BATCH_BYTES
            && let Some(row) = self.row(rows.is_empty())?
        {
            self.read += 1;
            bytes += row.iter().map(size).sum::<usize>();
            rows.push(row);
        }
        Ok(rows)
    }

    /// Returns the next row. A row with additional columns is only returned as the first of a
    /// batch.
    fn row(&mut self, is_first: bool) -> Result<Option<Vec<Datum>>> {
        let number = self.read + 1;
        let Source::Ndjson(objects, names) = &mut self.source else { return self.source.row(number) };
        let object = match self.pending.take() {
            None => objects.next()?,
            pending => pending,
        };
        let Some(object) = object else { return Ok(None) };
        let is_later = |name: &&String| !names.contains(name) && self.known.contains(name);
        let later: Vec<String> = object.names().iter().filter(is_later).cloned().collect();
        if !later.is_empty() && !is_first {
            self.pending = Some(object);
            return Ok(None);
        }
        for name in later {
            let column = Column { name: name.clone(), kind: Kind::Text, check: Check::None, places: None };
            self.columns.push(column);
            names.push(name);
        }
        members(object, names, number).map(Some)
    }

    fn csv(text: Text, reading: &Reading<'_>, most: usize) -> Result<Self> {
        let mut records = Records::new(text, reading.delimiter);
        let header = records.next()?.unwrap_or_default();
        let names: Vec<String> = header.into_iter().map(|field| field.text).collect();
        if names.is_empty() || names == [""] {
            return Err(
                Problem::invalid("the file has no columns").hint("write the column names in the first line of the CSV")
            );
        }
        unique(&names)?;
        let source = Source::Csv(records, names.len());
        let mut rows = Self::of(Vec::new(), source);
        let first = rows.next(most)?;
        let columns = names.into_iter().enumerate().map(|(at, name)| {
            let texts = first.iter().filter_map(|row| match &row[at] {
                Datum::Text { text, .. } if !text.is_empty() => Some(text.as_str()),
                _ => None,
            });
            let places = texts.clone().filter_map(|text| Some(text.split_once('.')?.1.len())).max();
            let styles = style::of_texts(texts, reading.dialect);
            let places = places.and_then(|places| places.try_into().ok());
            Column { name, kind: styles.kind(), check: Check::Styles(styles), places: Some(places.unwrap_or(0)) }
        });
        rows.columns = columns.collect();
        rows.first = Some(first);
        Ok(rows)
    }

    fn ndjson(text: Text, reading: &Reading<'_>, most: usize) -> Result<Self> {
        let mut objects = Objects::new(text);
        let (mut head, mut bytes) = (Vec::new(), 0);
        let mut names: Vec<String> = Vec::new();
        while head.len() < most
            && bytes < BATCH_BYTES
            && let Some(object) = objects.next()?
        {
            bytes += object.size();
            names.extend(object.names().iter().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
            head.push(object);
        }
        // Rows without any column would be lost.
        if names.is_empty() && !head.is_empty() {
            return Err(Problem::invalid("the objects have no members"));
        }
        if names.iter().any(String::is_empty) {
            return Err(Problem::invalid("an object has an empty name").hint("give the column a name"));
        }
        without_nul(&names)?;
        let columns = names.iter().map(|name| {
            let values = head.iter().filter_map(|object| Some(object.0.get(name)?.get()));
            let kind = Kind::of_json(values.clone(), reading.dialect);
            let places = values.filter_map(crate::number::Digits::of).map(|digits| digits.scale()).max();
            let places = places.unwrap_or(0).try_into().ok();
            Column { name: name.clone(), kind, check: Check::Json(kind), places }
        });
        let columns = columns.collect();
        let first = (1..).zip(head).map(|(row, object)| members(object, &names, row)).collect::<Result<Batch>>()?;
        let read = first.len() as u64;
        let rows = Self::of(columns, Source::Ndjson(objects, names));
        Ok(Self { first: Some(first), read, known: reading.known.to_vec(), ..rows })
    }

    fn arrow(reader: Reader) -> Result<Self> {
        let reader = arrow_file::open(reader)?;
        let schema = reader.schema();
        let kinds = schema.fields().iter().map(|field| Kind::of_field(field)).collect::<Result<Vec<_>>>()?;
        let names = schema.fields().iter().map(|field| field.name().clone()).collect();
        Self::typed(names, &kinds.clone(), &schema, Source::Arrow(Box::new(reader), kinds, BatchRows::default()))
    }

    fn parquet(reader: Reader) -> Result<Self> {
        let parquet_file::Opened { names, kinds, batches } = parquet_file::open(reader)?;
        let schema = batches.schema();
        Self::typed(names, &kinds.clone(), &schema, Source::Parquet(Box::new(batches), kinds, BatchRows::default()))
    }

    /// Opens a file that declares types.
    fn typed(names: Vec<String>, kinds: &[Kind], schema: &Schema, source: Source) -> Result<Self> {
        if names.is_empty() {
            return Err(Problem::invalid("the file has no columns"));
        }
        unique(&names)?;
        let places = schema.fields().iter().map(|field| Kind::places_of(field.data_type()));
        let columns = names.into_iter().zip(kinds).zip(places);
        let columns = columns.map(|((name, kind), places)| Column { name, kind: *kind, check: Check::None, places });
        Ok(Self::of(columns.collect(), source))
    }

    fn of(columns: Vec<Column>, source: Source) -> Self {
        Self { columns, first: None, source, read: 0, known: Vec::new(), pending: None }
    }
}

impl Source {
    /// Reads the row with this number.
    fn row(&mut self, number: u64) -> Result<Option<Vec<Datum>>> {
        match self {
            Self::Csv(records, width) => loop {
                let Some(record) = records.next()? else { return Ok(None) };
                // An empty line is skipped if the file has several columns.
                let is_empty = matches!(record.as_slice(), [Field { text, quoted: false }] if text.is_empty());
                if is_empty && *width > 1 {
                    continue;
                }
                if record.len() != *width {
                    return Err(ragged(records.first_line(), record.len(), *width));
                }
                let datum = |field: Field| Datum::Text { text: field.text, quoted: field.quoted };
                return Ok(Some(record.into_iter().map(datum).collect()));
            },
            Self::Ndjson(objects, names) => objects.next()?.map(|object| members(object, names, number)).transpose(),
            Self::Arrow(batches, kinds, left) => loop {
                if let Some(row) = left.next() {
                    return typed_row(row, number).map(Some);
                }
                match batches.next().transpose().map_err(|error| problem(&error, "the Arrow file"))? {
                    Some(batch) => *left = BatchRows::of(&batch, kinds),
                    None => return Ok(None),
                }
            },
            Self::Parquet(batches, kinds, left) => loop {
                if let Some(row) = left.next() {
                    return typed_row(row, number).map(Some);
                }
                match batches.next().transpose().map_err(|error| problem(&error, "the Parquet file"))? {
                    Some(batch) => *left = BatchRows::of(&batch, kinds),
                    None => return Ok(None),
                }
            },
        }
    }
}

fn typed_row(row: std::result::Result<Vec<SqlValue>, String>, number: u64) -> Result<Vec<Datum>> {
    let row = row.map_err(|reason| Problem::invalid(format!("row {number}: {reason}")))?;
    Ok(row.into_iter().map(Datum::Typed).collect())
}

/// Returns the values of an object in the order of the columns.
fn members(object: Object, names: &[String], row: u64) -> Result<Vec<Datum>> {
    let mut members = object.0;
    let datum = |name: &String| match members.remove(name) {
        Some(json) => Datum::Json(json.get().to_owned()),
        None => Datum::Typed(SqlValue::Null),
    };
    let values = names.iter().map(datum).collect();
    match members.keys().next() {
        None => Ok(values),
        Some(name) => Err(Problem::invalid(format!("row {row} has the column `{name}`, which no earlier row has"))
            .hint("include all columns in the first row, with null for missing values, or create the table first")),
    }
}

fn ragged(line: u64, found: usize, expected: usize) -> Problem {
    let fields = |count: usize| if count == 1 { "1 field".to_owned() } else { format!("{count} fields") };
    Problem::invalid(format!(
        "line {line} of the CSV has {}, but the first line has {}",
        fields(found),
        fields(expected)
    ))
    .hint("quote fields that contain the delimiter, or set another delimiter with `--delimiter`")
}

/// Rejects names with a NUL character, which no database supports.
fn without_nul(names: &[String]) -> Result<()> {
    match names.iter().find(|name| name.contains('\0')) {
        Some(name) => {
            Err(Problem::invalid(format!("the name of column `{}` has a NUL character", name.escape_debug()))
                .hint("rename the column in the file"))
        }
        None => Ok(()),
    }
}

fn unique(names: &[String]) -> Result<()> {
    without_nul(names)?;
    let mut seen = std::collections::BTreeSet::new();
    let Some(at) = names.iter().position(|name| name.is_empty() || !seen.insert(name.as_str())) else { return Ok(()) };
    if !names[at].is_empty() {
        return Err(Problem::invalid(format!("two columns are named `{}`", names[at])).hint("rename one of them"));
    }
    let hint = if at == 0 {
        "pandas writes its index without a name: omit it with `to_csv(…, index=False)`, or name it with `index_label=…`"
    } else {
        "give the column a name"
    };
    Err(Problem::invalid(format!("column {} has no name", at + 1)).hint(hint))
}

/// Returns the approximate size of a value in bytes.
fn size(datum: &Datum) -> usize {
    16 + match datum {
        Datum::Text { text, .. } | Datum::Json(text) => text.len(),
        Datum::Typed(value) => match value {
            SqlValue::Decimal(text) | SqlValue::Text(text) | SqlValue::Uuid(text) | SqlValue::Json(text) => text.len(),
            SqlValue::Bytes(bytes) => bytes.len(),
            SqlValue::Other((_, text)) => text.len(),
            _ => 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_names_must_be_unique_and_valid() {
        let names = |names: &[&str]| unique(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert!(names(&["a", "b"]).is_ok());
        assert!(names(&["a", "a"]).expect_err("twice").message().contains("two columns are named `a`"));
        assert!(names(&["a", "b\0c"]).expect_err("NUL").message().contains("column `b\\0c` has a NUL character"));
        assert!(names(&["a", ""]).expect_err("no name").message().contains("column 2 has no name"));
    }
}
