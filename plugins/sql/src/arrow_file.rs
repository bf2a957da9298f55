//! Arrow IPC streams and files (<https://arrow.apache.org/docs/format/Columnar.html#format-ipc>). A
//! file is a stream between two magic strings, followed by a footer. It is read as a stream if a
//! stream message follows the first one. A stream must have its end marker and a file its footer:
//! without them, a file that is cut off between two batches would be loaded in part.

use std::io::{self, BufRead as _, Read};
use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, StreamReader, read_footer_length};
use arrow_ipc::{
    Block, CompressionType, KeyValue, Message, MessageHeader, RecordBatch, root_as_footer, root_as_message,
};
use arrow_schema::{ArrowError, SchemaRef};
use blockyard_sdk::prelude::*;

use crate::codec;
use crate::reader::{Reader, problem};

/// Magic string of a file, with its padding.
const MAGIC: &[u8; 8] = b"ARROW1\0\0";
/// Continuation marker at the start of a message.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Magic string of Feather version 1, an older format.
const FEATHER: &[u8] = b"FEA1";
/// Maximum size of a message in bytes, because a batch and its decoded values are held in memory.
const MESSAGE_BYTES: usize = 96 << 20;

/// Maximum size in bytes of a file whose batches are located by its footer, because it is held in
/// memory.
const FILE_BYTES: usize = 64 << 20;

/// Batches of a stream or file.
pub(crate) enum Batches {
    Stream(StreamReader<Unpacked<Reader>>),
    File(InFile),
}

/// Opens a stream or file.
pub(crate) fn open(mut reader: Reader) -> Result<Batches> {
    const FIRST_BYTES: usize = MAGIC.len() + CONTINUATION.len();
    let beginning = reader.beginning(FIRST_BYTES)?;
    let is_file = beginning.starts_with(MAGIC);
    let is_stream = beginning.get(MAGIC.len()..FIRST_BYTES) == Some(&CONTINUATION);
    let other = if beginning.starts_with(b"PAR1") {
        Some("the file is a Parquet file; use `--format parquet`")
    } else if beginning.starts_with(FEATHER) {
        Some("the file is Feather version 1; convert it to Feather version 2, which is Arrow")
    } else {
        None
    };
    let refused = |error: &(dyn std::error::Error + 'static)| {
        let problem = problem(error, "not an Arrow file or stream");
        problem.hint(other.unwrap_or("use an Arrow file (Feather version 2) or an Arrow IPC stream"))
    };
    if is_file && !is_stream {
        let content = reader.read_all(FILE_BYTES)?.ok_or_else(|| {
            Problem::invalid(format!("the Arrow file is larger than {} MiB", FILE_BYTES >> 20))
                .hint("split the file, or convert it to an Arrow stream, which has no size limit")
        })?;
        return InFile::open(content).map(Batches::File).map_err(|error| refused(&error));
    }
    if is_file {
        reader.consume(MAGIC.len());
    }
    let stream = Unpacked { has_footer: is_file, ..Unpacked::new(reader) };
    StreamReader::try_new(stream, None).map(Batches::Stream).map_err(|error| refused(&error))
}

impl Batches {
    pub(crate) fn schema(&self) -> SchemaRef {
        match self {
            Self::Stream(stream) => stream.schema(),
            Self::File(file) => file.schema.clone(),
        }
    }
}

impl Iterator for Batches {
    type Item = std::result::Result<arrow_array::RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Stream(stream) => stream.next(),
            Self::File(file) => file.next().transpose(),
        }
    }
}

/// A file whose messages can only be located by its footer, as written by Polars.
pub(crate) struct InFile {
    bytes: Vec<u8>,
    schema: SchemaRef,
    decoder: FileDecoder,
    batches: std::vec::IntoIter<Block>,
}

impl InFile {
    fn open(bytes: Vec<u8>) -> std::result::Result<Self, ArrowError> {
        let invalid = |error: String| ArrowError::ParseError(error);
        let end = *bytes.last_chunk::<10>().ok_or_else(|| invalid("the file has no footer".to_owned()))?;
        let length = read_footer_length(end)?;
        let start =
            bytes.len().checked_sub(10 + length).ok_or_else(|| invalid("the footer is truncated".to_owned()))?;
        let footer = root_as_footer(&bytes[start..start + length]).map_err(|error| invalid(error.to_string()))?;
        let schema = footer.schema().ok_or_else(|| invalid("the footer has no schema".to_owned()))?;
        let schema: SchemaRef = Arc::new(try_fb_to_schema(schema)?);
        let mut decoder = FileDecoder::new(schema.clone(), footer.version());
        if let Some(dictionaries) = footer.dictionaries() {
            for block in dictionaries.iter() {
                let (block, message) = message_of(&bytes, block)?;
                decoder.read_dictionary(&block, &message)?;
            }
        }
        let batches = footer.recordBatches();
        let batches: Vec<Block> = batches.map(|blocks| blocks.iter().copied().collect()).unwrap_or_default();
        Ok(Self { schema, decoder, batches: batches.into_iter(), bytes })
    }

    fn next(&mut self) -> std::result::Result<Option<arrow_array::RecordBatch>, ArrowError> {
        let Some(block) = self.batches.next() else { return Ok(None) };
        let (block, message) = message_of(&self.bytes, &block)?;
        let batch = self.decoder.read_record_batch(&block, &message)?;
        // The decoder returns nothing for an empty message, which would end the file early.
        batch.map(Some).ok_or_else(|| ArrowError::ParseError("a message has no batch".to_owned()))
    }
}

/// Returns a message of a file, decompressed.
fn message_of(bytes: &[u8], block: &Block) -> io::Result<(Block, Buffer)> {
    let range = |from: i64, length: i64| {
        let (from, length) = (usize::try_from(from).ok()?, usize::try_from(length).ok()?);
        bytes.get(from..from.checked_add(length)?)
    };
    let cut = || broken("a message extends beyond the end of the file");
    let length = i64::from(block.metaDataLength());
    let mut metadata = range(block.offset(), length).ok_or_else(cut)?.to_vec();
    let body_at = block.offset().checked_add(length).ok_or_else(cut)?;
    let mut body = range(body_at, block.bodyLength()).ok_or_else(cut)?.to_vec();
    let prefix = if metadata.starts_with(&CONTINUATION) { 8 } else { 4 };
    let message = metadata.get_mut(prefix..).ok_or_else(cut)?;
    if is_packed_with_zstd(message)? {
        unpack(message, &mut body)?;
    }
    let body_length = i64::try_from(body.len()).map_err(|_| cut())?;
    metadata.append(&mut body);
    Ok((Block::new(0, block.metaDataLength(), body_length), Buffer::from(metadata)))
}

/// A stream whose zstd-compressed buffers are decompressed before they are parsed.
pub(crate) struct Unpacked<R> {
    input: R,
    /// The current decompressed message; `at` is the number of its bytes that have been read.
    ready: Vec<u8>,
    at: usize,
    ended: bool,
    /// `true` if the stream is in a file, whose footer follows the end marker.
    has_footer: bool,
}

impl<R: Read> Unpacked<R> {
    fn new(input: R) -> Self {
        Self { input, ready: Vec::new(), at: 0, ended: false, has_footer: false }
    }

    /// Reads the next message: a continuation marker, the length of its metadata, the metadata, the
    /// body.
    fn message(&mut self) -> io::Result<()> {
        (self.ready, self.at) = (Vec::new(), 0);
        let mut word = self.word()?;
        if word == CONTINUATION {
            self.ready.extend(word);
            word = self.word()?;
        }
        self.ready.extend(word);
        let length = usize::try_from(i32::from_le_bytes(word)).map_err(|_| broken("a length is negative"))?;
        if length == 0 {
            if self.has_footer {
                self.check_footer()?;
            }
            self.ended = true;
            return Ok(());
        }
        let mut metadata = self.bytes(length)?;
        let message = root_as_message(&metadata).map_err(|error| broken(&error.to_string()))?;
        let body = usize::try_from(message.bodyLength()).map_err(|_| broken("a length is negative"))?;
        let packed = is_packed_with_zstd(&metadata)?;
        let mut body = self.bytes(body)?;
        if packed {
            unpack(&mut metadata, &mut body)?;
        }
        self.ready.append(&mut metadata);
        self.ready.append(&mut body);
        Ok(())
    }

    /// Reads the next four bytes. The input cannot end here, because the end marker is the last
    /// message. The error kind is never `UnexpectedEof`, which the parser takes for the end of the
    /// stream.
    fn word(&mut self) -> io::Result<[u8; 4]> {
        let mut word = [0; 4];
        self.input.read_exact(&mut word).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut_off(),
            _ => error,
        })?;
        Ok(word)
    }

    /// Checks that the rest of the file is the footer, its length and the magic string.
    fn check_footer(&mut self) -> io::Result<()> {
        let mut rest = Vec::new();
        (&mut self.input).take(MESSAGE_BYTES as u64).read_to_end(&mut rest)?;
        let cut = || broken("the file is cut off: its footer is missing or incomplete");
        let end = *rest.last_chunk::<10>().ok_or_else(cut)?;
        let length = read_footer_length(end).map_err(|_| cut())?;
        let start = rest.len().checked_sub(10 + length).ok_or_else(cut)?;
        root_as_footer(&rest[start..start + length]).map(|_| ()).map_err(|_| cut())
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > MESSAGE_BYTES {
            let most = MESSAGE_BYTES >> 20;
            return Err(broken(&format!("a batch is larger than {most} MiB; write it in smaller batches")));
        }
        let mut bytes = Vec::new();
        (&mut self.input).take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() == length { Ok(bytes) } else { Err(cut_off()) }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.ready.len() && !self.ended {
            self.message()?;
        }
        let length = buffer.len().min(self.ready.len() - self.at);
        buffer[..length].copy_from_slice(&self.ready[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

fn broken(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn cut_off() -> io::Error {
    broken("the file is cut off: its end marker is missing; write the file again, and close its writer")
}

fn batch_of<'message>(message: &Message<'message>) -> Option<RecordBatch<'message>> {
    match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => message.header_as_dictionary_batch()?.data(),
        _ => None,
    }
}

/// Checks whether the buffers of a message are compressed with zstd. Rejects the compression of
/// Arrow versions before 1.0, which parsers would read as values.
fn is_packed_with_zstd(metadata: &[u8]) -> io::Result<bool> {
    const EXPERIMENTAL: &str = "ARROW:experimental_compression";
    let message = root_as_message(metadata).map_err(|error| broken(&error.to_string()))?;
    let experimental = |pair: KeyValue<'_>| pair.key() == Some(EXPERIMENTAL);
    if message.custom_metadata().is_some_and(|pairs| pairs.iter().any(experimental)) {
        return Err(broken("it uses the compression of Arrow before version 1.0; rewrite it with a newer version"));
    }
    let compression = batch_of(&message).and_then(|batch| batch.compression());
    Ok(compression.is_some_and(|compression| compression.codec() == CompressionType::ZSTD))
}

/// Decompresses the buffers of a message and updates their positions in its metadata. A buffer
/// begins with the length of its values; -1 marks uncompressed values, which every reader supports.
fn unpack(metadata: &mut [u8], body: &mut Vec<u8>) -> io::Result<()> {
    const UNCOMPRESSED: i64 = -1;
    let (positions, length_at) = {
        let message = root_as_message(metadata).map_err(|error| broken(&error.to_string()))?;
        let buffers =
            batch_of(&message).and_then(|batch| batch.buffers()).ok_or_else(|| broken("a batch has no buffers"))?;
        let positions: Vec<(usize, i64, i64)> =
            buffers.iter().map(|buffer| (position_of(metadata, &buffer.0), buffer.offset(), buffer.length())).collect();
        let field = message._tab.vtable().get(Message::VT_BODYLENGTH);
        (positions, message._tab.loc() + usize::from(field))
    };
    let mut unpacked = Vec::new();
    for (position, offset, length) in positions {
        let range = usize::try_from(offset).ok().zip(usize::try_from(length).ok());
        let range = range.and_then(|(offset, length)| Some(offset..offset.checked_add(length)?));
        let buffer = range
            .and_then(|range| body.get(range))
            .ok_or_else(|| broken("a buffer extends beyond the message body"))?;
        let begin = unpacked.len();
        if let Some((prefix, packed)) = buffer.split_first_chunk::<8>() {
            let values = i64::from_le_bytes(*prefix);
            unpacked.extend(UNCOMPRESSED.to_le_bytes());
            if values == UNCOMPRESSED {
                unpacked.extend_from_slice(packed);
            } else {
                let size = usize::try_from(values).map_err(|_| broken("a length is negative"))?;
                if unpacked.len().saturating_add(size) > MESSAGE_BYTES {
                    return Err(broken("a decompressed batch is too large; write it in smaller batches"));
                }
                let values = codec::unzstd(packed, size)?;
                if values.len() != size {
                    return Err(broken("a buffer does not have its declared length"));
                }
                unpacked.extend(values);
            }
        }
        let length = unpacked.len() - begin;
        // Buffers are aligned to eight bytes.
        unpacked.resize(unpacked.len().next_multiple_of(8), 0);
        put(metadata, position, begin)?;
        put(metadata, position + 8, length)?;
    }
    put(metadata, length_at, unpacked.len())?;
    *body = unpacked;
    Ok(())
}

/// Returns the offset of a part of the metadata.
fn position_of(metadata: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr() - metadata.as_ptr().addr()
}

fn put(metadata: &mut [u8], at: usize, number: usize) -> io::Result<()> {
    let number = i64::try_from(number).map_err(|_| broken("a length is too large"))?;
    let position = metadata.get_mut(at..at + 8).ok_or_else(|| broken("a length is outside of its message"))?;
    position.copy_from_slice(&number.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Int64Array};
    use arrow_ipc::writer::{FileWriter, StreamWriter};

    use super::*;

    fn rows() -> arrow_array::RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        arrow_array::RecordBatch::try_from_iter([("a", column)]).expect("a batch")
    }

    /// Returns the number of rows, or the error.
    fn read(bytes: &[u8], has_footer: bool) -> std::result::Result<usize, ArrowError> {
        let stream = StreamReader::try_new(Unpacked { has_footer, ..Unpacked::new(bytes) }, None)?;
        stream.map(|batch| batch.map(|batch| batch.num_rows())).sum()
    }

    #[test]
    fn truncated_stream_is_an_error() {
        let rows = rows();
        let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).expect("a writer");
        writer.write(&rows).expect("a batch");
        writer.write(&rows).expect("a batch");
        writer.finish().expect("a stream");
        let bytes = writer.into_inner().expect("a stream");
        assert_eq!(read(&bytes, false).expect("rows"), 6);
        for length in 0..bytes.len() {
            let error = read(&bytes[..length], false).expect_err("cut off").to_string();
            assert!(error.contains("the file is cut off"), "{length}: {error}");
        }
    }

    #[test]
    fn truncated_file_is_an_error() {
        let rows = rows();
        let mut writer = FileWriter::try_new(Vec::new(), &rows.schema()).expect("a writer");
        writer.write(&rows).expect("a batch");
        writer.finish().expect("a file");
        let bytes = writer.into_inner().expect("a file");
        let start = bytes.windows(4).position(|word| word == CONTINUATION).expect("a message");
        let stream = &bytes[start..];
        assert_eq!(read(stream, true).expect("rows"), 3);
        for length in 0..stream.len() {
            let error = read(&stream[..length], true).expect_err("cut off").to_string();
            assert!(error.contains("the file is cut off"), "{length}: {error}");
        }
    }
}
