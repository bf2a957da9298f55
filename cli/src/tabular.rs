//! Output formats for rows. Rows arrive as an Arrow IPC stream and are converted batch by batch, so
//! memory use does not grow with the result.

mod cell;
mod csv;
mod json;

use std::io::Write;
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_schema::ArrowError;
use blockyard::model::visible;
use blockyard::{ByteStream, Error, ErrorKind};
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;

use cell::Cells;

use crate::output::{BlockingReader, Destination};
use crate::progress::Progress;
use crate::terminal::{self, Failure};

/// Maximum number of rows in a table. A table is held in memory, and a longer one is not readable.
const TABLE_ROWS: usize = 1_000;

/// Output formats for rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Table for reading, limited to the first 1000 rows.
    Table,
    /// One JSON array of objects.
    Json,
    /// One JSON object per line.
    Ndjson,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// Arrow IPC stream.
    Arrow,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// Returns whether the format is JSON, which has its own escapes.
    pub(crate) fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Ndjson)
    }

    /// Returns whether the format is binary and cannot be shown on a terminal.
    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::Arrow | Self::Parquet)
    }

    /// Returns the format for the extension of a file.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        Some(match path.extension()?.to_str()? {
            "json" => Self::Json,
            "ndjson" | "jsonl" => Self::Ndjson,
            "csv" => Self::Csv,
            "arrow" | "arrows" => Self::Arrow,
            "parquet" => Self::Parquet,
            _ => return None,
        })
    }
}

/// Converts a stream of rows. Returns the number of rows and whether the table was truncated.
pub(crate) async fn convert(
    stream: ByteStream,
    format: Format,
    destination: Destination,
    progress: Progress,
) -> Result<(u64, bool), Failure> {
    let (reader, problem) = BlockingReader::new(stream);
    let work = tokio::task::spawn_blocking(move || -> Result<(u64, bool), Failure> {
        let mut destination = destination;
        let converted = write_rows(reader, format, &mut destination, &progress)
            .map_err(|failure| if destination.is_closed() { Failure::ClosedPipe } else { failure })?;
        destination.finish()?;
        Ok(converted)
    });
    let outcome = work.await.map_err(|_| Error::new(ErrorKind::Internal, "the conversion of rows panicked"))?;
    // An error of the stream explains the failure better than the decoder's error.
    match (problem.lock().expect("nothing panics while it holds this lock").take(), outcome) {
        (Some(problem), Err(_)) => Err(Error::from(problem).into()),
        (_, outcome) => outcome,
    }
}

fn write_rows(
    reader: BlockingReader,
    format: Format,
    out: &mut Destination,
    progress: &Progress,
) -> Result<(u64, bool), Failure> {
    let batches = StreamReader::try_new(reader, None).map_err(broken)?;
    let schema = batches.schema();
    if !matches!(format, Format::Table | Format::Csv)
        && let Some(twice) = json::duplicate_name(schema.fields())
    {
        return Err(Error::new(ErrorKind::Invalid, format!("two columns are named `{twice}`"))
            .hint("give each a different name with `as`")
            .into());
    }
    let mut rows = 0;
    let counted = batches.inspect(|batch| {
        rows += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        progress.count(|| format!("{rows} rows"));
    });
    let mut cut = false;
    match format {
        Format::Table => cut = table(&schema, counted, out)?,
        Format::Json | Format::Ndjson => {
            let layout = if format == Format::Json { json::Layout::Array } else { json::Layout::Lines };
            let mut writer = json::Writer::new(&mut *out, layout);
            for batch in counted {
                writer.write(&batch.map_err(broken)?).map_err(broken)?;
            }
            writer.finish()?;
        }
        Format::Csv => {
            if let Some(nested) = schema.fields().iter().find(|field| field.data_type().is_nested()) {
                let message =
                    format!("column `{}` contains lists or records, which CSV cannot represent", nested.name());
                return Err(Error::new(ErrorKind::Usage, message)
                    .hint("use another `--format`, or convert the column to text in the statement")
                    .into());
            }
            // An empty result has a header, too.
            csv::write_header(&schema, out)?;
            for batch in counted {
                csv::write_rows(&batch.map_err(broken)?, out).map_err(broken)?;
            }
        }
        Format::Arrow => {
            let mut writer = arrow_ipc::writer::StreamWriter::try_new(&mut *out, &schema).map_err(broken)?;
            for batch in counted {
                writer.write(&batch.map_err(broken)?).map_err(broken)?;
            }
            writer.finish().map_err(broken)?;
        }
        Format::Parquet => {
            let properties = parquet::file::properties::WriterProperties::builder()
                .set_compression(parquet::basic::Compression::SNAPPY)
                .build();
            let parquet = |error: parquet::errors::ParquetError| {
                Failure::from(Error::new(ErrorKind::Remote, "the Parquet file cannot be written").because(error))
            };
            let mut writer = ArrowWriter::try_new(&mut *out, schema, Some(properties)).map_err(parquet)?;
            for batch in counted {
                writer.write(&batch.map_err(broken)?).map_err(parquet)?;
            }
            writer.close().map_err(parquet)?;
        }
    }
    Ok((rows, cut))
}

/// Prints a table. Returns whether it was truncated.
fn table(
    schema: &arrow_schema::Schema,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    out: &mut Destination,
) -> Result<bool, Failure> {
    let mut table = self::plain_table(schema.fields().iter().map(|field| field.name().clone()));
    let (mut shown, mut cut) = (0, false);
    for batch in batches {
        let batch = batch.map_err(broken)?;
        let columns = batch.columns().iter();
        let columns =
            columns.map(|column| Cells::text(column.as_ref())).collect::<Result<Vec<_>, _>>().map_err(broken)?;
        for row in 0..batch.num_rows() {
            if shown == TABLE_ROWS {
                cut = true;
                break;
            }
            shown += 1;
            table.add_row(columns.iter().map(|column| {
                let mut cell = String::new();
                if !column.write(row, &mut cell) {
                    cell.push_str("NULL");
                }
                cell
            }));
        }
    }
    let numbers =
        schema.fields().iter().enumerate().filter(|(_, field)| field.data_type().is_numeric()).map(|(index, _)| index);
    for index in numbers {
        if let Some(column) = table.0.column_mut(index) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    if out.is_terminal() {
        table.cut();
    }
    writeln!(out, "{table}")?;
    Ok(cut)
}

/// A table with escaped cells.
pub(crate) struct PlainTable(comfy_table::Table);

impl PlainTable {
    pub(crate) fn add_row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(|cell| visible::line(&cell)));
    }

    /// Cuts cells that do not fit into the width of the terminal, with `…`.
    fn cut(&mut self) {
        for row in self.0.row_iter_mut() {
            row.max_height(1);
        }
        self.fitted();
    }

    /// Wraps long cells to the width of the terminal. A table in a pipe or a file is not wrapped.
    pub(crate) fn fitted(&mut self) -> &Self {
        if let Some(width) = terminal::width() {
            self.0.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(width);
        }
        self
    }
}

impl std::fmt::Display for PlainTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Creates a table without borders.
pub(crate) fn plain_table(header: impl IntoIterator<Item = String>) -> PlainTable {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY.row_separator(comfy_table::LineStyle::none()));
    table.set_header(header.into_iter().map(|name| visible::line(&name)));
    PlainTable(table)
}

fn broken(error: ArrowError) -> Failure {
    match error {
        ArrowError::IoError(_, error) => error.into(),
        ArrowError::NotYetImplemented(message) => Error::new(ErrorKind::Invalid, message)
            .hint("use `--format arrow` or `--format parquet`, or convert the column to text in the statement")
            .into(),
        other => Error::new(ErrorKind::Bundle, "the rows cannot be decoded").because(other).into(),
    }
}
