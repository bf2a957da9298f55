//! Parquet files (<https://parquet.apache.org/docs/file-format/>), read and written as Arrow types,
//! which correspond to the logical types of the file. Pages are decompressed here if the codec of
//! the `parquet` crate cannot be used in guests.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Fields, SchemaRef, TimeUnit};
use blockyard_sdk::prelude::*;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader};
use parquet::arrow::{ArrowWriter, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::basic::{Compression, Type as Physical};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReader;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type as SchemaType;

use crate::codec;
use crate::footer;
use crate::kind::Kind;
use crate::reader::{Reader, problem};

/// Maximum size of a Parquet file in bytes. It is read from its end, so the file and a row group
/// are held in memory.
const PARQUET_BYTES: usize = 64 << 20;
/// Maximum size of a decompressed page in bytes; writers create pages of about 1 MiB.
const PAGE_BYTES: usize = 64 << 20;
/// Number of rows read at once.
const BATCH_ROWS: usize = 1_000;

/// An open file: its columns and batches.
pub(crate) struct Opened {
    pub(crate) names: Vec<String>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) batches: ParquetRecordBatchReader,
}

/// Opens a file.
pub(crate) fn open(mut reader: Reader) -> Result<Opened> {
    let beginning = reader.beginning(4)?;
    if beginning.starts_with(b"PARE") {
        return Err(encrypted());
    }
    let other = if beginning.starts_with(b"ARRO") { "; it is an Arrow file, use `--format arrow`" } else { "" };
    let Some(content) = reader.read_all(PARQUET_BYTES)? else {
        return Err(Problem::invalid(format!("the Parquet file is larger than {} MiB", PARQUET_BYTES >> 20))
            .hint("split the file, or convert it to Arrow or CSV, which have no size limit"));
    };
    let bytes = Bytes::from(content);
    if footer::is_encrypted(&bytes) {
        return Err(encrypted());
    }
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).map_err(|error| {
        let text = error.to_string();
        if text.to_ascii_lowercase().contains("encrypt") {
            encrypted()
        } else {
            problem(&error, &format!("not a Parquet file{other}"))
        }
    })?;
    check_codecs(&metadata)?;
    let file = Arc::new(File { metadata: Arc::new(metadata), bytes });
    let schema = schema_of(&file)?;
    let columns = file.metadata.file_metadata().schema().get_fields();
    if columns.len() != schema.fields().len() {
        return Err(Problem::invalid("the Parquet file has columns without a type"));
    }
    let kinds = columns.iter().zip(schema.fields()).map(|(column, field)| Kind::of_parquet(column, field));
    let kinds = kinds.collect::<Result<Vec<_>>>()?;
    check_int96(&file)?;
    let names = schema.fields().iter().map(|field| field.name().clone()).collect();
    let broken = |error: ParquetError| problem(&error, "the Parquet file");
    let descriptor = file.metadata.file_metadata().schema_descr();
    let levels =
        parquet_to_arrow_field_levels(descriptor, ProjectionMask::all(), Some(schema.fields())).map_err(broken)?;
    let reader: Arc<dyn FileReader> = file.clone();
    let batches =
        ParquetRecordBatchReader::try_new_with_row_groups(&levels, &reader, BATCH_ROWS, None).map_err(broken)?;
    Ok(Opened { names, kinds, batches })
}

fn encrypted() -> Problem {
    Problem::invalid("the Parquet file is encrypted").hint("write it without encryption, or load it as CSV or Arrow")
}

fn check_codecs(metadata: &ParquetMetaData) -> Result<()> {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    match columns.map(|column| column.compression()).find(|codec| *codec == Compression::LZO) {
        None => Ok(()),
        Some(_) => Err(Problem::invalid("the Parquet file is compressed with LZO")
            .hint("write it with snappy, zstd, gzip, lz4 or brotli, or without compression")),
    }
}

/// Returns the Arrow schema: the one embedded in the file, unless it contradicts the types of the
/// file.
fn schema_of(file: &File) -> Result<SchemaRef> {
    let read = |options| ArrowReaderMetadata::try_new(file.metadata.clone(), options);
    let plain = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let read = read(ArrowReaderOptions::new()).or_else(|_| read(plain()));
    let schema = read.map_err(|error| problem(&error, "the Parquet file"))?.schema().clone();
    if !has_int96(&file.metadata) {
        return Ok(schema);
    }
    // Nanoseconds cannot represent years after 2262.
    let fields = schema.fields().iter().map(in_micros).collect::<Fields>();
    Ok(Arc::new(arrow_schema::Schema::new_with_metadata(fields, schema.metadata().clone())))
}

fn has_int96(metadata: &ParquetMetaData) -> bool {
    metadata.file_metadata().schema_descr().columns().iter().any(|column| column.physical_type() == Physical::INT96)
}

fn in_micros(field: &Arc<Field>) -> Arc<Field> {
    match field.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            Arc::new(field.as_ref().clone().with_data_type(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())))
        }
        _ => field.clone(),
    }
}

/// Rejects INT96 values that the conversion to microseconds would truncate.
fn check_int96(file: &File) -> Result<()> {
    let broken = |error: ParquetError| problem(&error, "the Parquet file");
    let mut before = 0;
    for (group, about) in file.metadata.row_groups().iter().enumerate() {
        for (at, column) in file.metadata.file_metadata().schema_descr().columns().iter().enumerate() {
            if column.physical_type() != Physical::INT96 {
                continue;
            }
            let name = column.path().string();
            if column.path().parts().len() > 1 {
                return Err(Problem::invalid(format!("column `{name}` has INT96 timestamps in a list or a record"))
                    .hint("write them as INT64 timestamps: `spark.sql.parquet.outputTimestampType=TIMESTAMP_MICROS`"));
            }
            let reader = file.get_row_group(group).and_then(|group| group.get_column_reader(at)).map_err(broken)?;
            let ColumnReader::Int96ColumnReader(mut reader) = reader else { continue };
            let (mut row, optional) = (before, column.max_def_level() > 0);
            loop {
                let (mut levels, mut values) = (Vec::new(), Vec::new());
                let definition_levels = if optional { Some(&mut levels) } else { None };
                let (records, read, _) =
                    reader.read_records(BATCH_ROWS, definition_levels, None, &mut values).map_err(broken)?;
                if records == 0 {
                    break;
                }
                let mut values = values.iter().take(read);
                for at in 0..records {
                    let is_present = !optional || levels.get(at).is_some_and(|level| *level > 0);
                    let nanos = values
                        .next_if_present(is_present)
                        .map_or(0, |value| u64::from(value.data()[1]) << 32 | u64::from(value.data()[0]));
                    if nanos % 1_000 != 0 {
                        return Err(Problem::invalid(format!(
                            "row {}: column `{name}` has a time with nanoseconds; databases store at most microseconds",
                            row + at + 1
                        )));
                    }
                }
                row += records;
            }
        }
        before += usize::try_from(about.num_rows()).unwrap_or(0);
    }
    Ok(())
}

/// Returns the next value of a column only if the row has one.
trait NextIfPresent: Iterator {
    fn next_if_present(&mut self, is_present: bool) -> Option<Self::Item>;
}

impl<I: Iterator> NextIfPresent for I {
    fn next_if_present(&mut self, is_present: bool) -> Option<Self::Item> {
        if is_present { self.next() } else { None }
    }
}

/// A file in memory.
struct File {
    metadata: Arc<ParquetMetaData>,
    bytes: Bytes,
}

struct Group {
    metadata: RowGroupMetaData,
    bytes: Bytes,
}

impl FileReader for File {
    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    fn num_row_groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    fn get_row_group(&self, i: usize) -> ParquetResult<Box<dyn RowGroupReader + '_>> {
        Ok(Box::new(Group { metadata: self.metadata.row_group(i).clone(), bytes: self.bytes.clone() }))
    }

    fn get_row_iter(&self, _: Option<SchemaType>) -> ParquetResult<RowIter<'_>> {
        Err(ParquetError::NYI("rows are read as batches".to_owned()))
    }
}

impl RowGroupReader for Group {
    fn metadata(&self) -> &RowGroupMetaData {
        &self.metadata
    }

    fn num_columns(&self) -> usize {
        self.metadata.num_columns()
    }

    fn get_column_page_reader(&self, i: usize) -> ParquetResult<Box<dyn PageReader>> {
        let column = self.metadata.column(i);
        let rows = usize::try_from(self.metadata.num_rows())?;
        let bytes = Arc::new(self.bytes.clone());
        let unpack: Unpack = match column.compression() {
            Compression::ZSTD(_) => codec::unzstd,
            Compression::BROTLI(_) => codec::unbrotli,
            _ => return Ok(Box::new(SerializedPageReader::new(bytes, column, rows, None)?)),
        };
        // Without a codec, the pages are returned compressed.
        let plain = column.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        Ok(Box::new(Pages { packed: SerializedPageReader::new(bytes, &plain, rows, None)?, unpack }))
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, _: Option<SchemaType>) -> ParquetResult<RowIter<'_>> {
        Err(ParquetError::NYI("rows are read as batches".to_owned()))
    }
}

/// Decompresses data to at most this number of bytes.
type Unpack = fn(&[u8], usize) -> std::io::Result<Vec<u8>>;

/// Decompressed pages of a column.
struct Pages {
    packed: SerializedPageReader<Bytes>,
    unpack: Unpack,
}

impl Pages {
    /// Decompresses a page. The levels of a page of version 2 are never compressed.
    fn unpacked(&self, page: Page) -> ParquetResult<Page> {
        let decompressed = |buf: &Bytes, levels: usize| -> ParquetResult<Bytes> {
            let (levels, packed) =
                buf.split_at_checked(levels).ok_or_else(|| broken_page("its levels are too long"))?;
            let values = (self.unpack)(packed, PAGE_BYTES).map_err(|error| broken_page(&error.to_string()))?;
            Ok(if levels.is_empty() { values.into() } else { [levels, &values].concat().into() })
        };
        Ok(match page {
            Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics } => {
                let buf = decompressed(&buf, 0)?;
                Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics }
            }
            Page::DictionaryPage { buf, num_values, encoding, is_sorted } => {
                Page::DictionaryPage { buf: decompressed(&buf, 0)?, num_values, encoding, is_sorted }
            }
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls,
                num_rows,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                statistics,
            } => {
                let levels = usize::try_from(u64::from(def_levels_byte_len) + u64::from(rep_levels_byte_len))?;
                // A page with only nulls has no values, not even compressed ones.
                let packed = is_compressed && buf.len() > levels;
                Page::DataPageV2 {
                    buf: if packed { decompressed(&buf, levels)? } else { buf },
                    num_values,
                    encoding,
                    num_nulls,
                    num_rows,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    is_compressed: false,
                    statistics,
                }
            }
        })
    }
}

fn broken_page(why: &str) -> ParquetError {
    ParquetError::General(format!("cannot decompress a page: {why}"))
}

impl Iterator for Pages {
    type Item = ParquetResult<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> ParquetResult<Option<Page>> {
        let page = self.packed.get_next_page()?;
        page.map(|page| self.unpacked(page)).transpose()
    }

    fn peek_next_page(&mut self) -> ParquetResult<Option<PageMetadata>> {
        self.packed.peek_next_page()
    }

    fn skip_next_page(&mut self) -> ParquetResult<()> {
        self.packed.skip_next_page()
    }
}

/// Maximum number of rows per row group.
const GROUP_ROWS: usize = 1 << 20;
/// Maximum size of a row group in bytes; it is held in memory until it is written.
const GROUP_BYTES: usize = 16 << 20;

/// Writer of a Parquet file.
pub(crate) struct Writer(ArrowWriter<Vec<u8>>);

impl Writer {
    /// Starts a file with this schema.
    pub(crate) fn new(schema: SchemaRef) -> Result<Self> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
        let properties = properties.set_max_row_group_row_count(Some(GROUP_ROWS)).build();
        Ok(Self(ArrowWriter::try_new(Vec::new(), schema, Some(properties)).map_err(not_written)?))
    }

    /// Adds rows and returns the completed bytes of the file.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        self.0.write(batch).map_err(not_written)?;
        if self.0.in_progress_size() >= GROUP_BYTES {
            self.0.flush().map_err(not_written)?;
        }
        Ok(std::mem::take(self.0.inner_mut()))
    }

    /// Returns the rest of the file.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        self.0.into_inner().map_err(not_written)
    }
}

fn not_written(error: ParquetError) -> Problem {
    Problem::new("failed", format!("cannot write the Parquet file: {error}"))
}
