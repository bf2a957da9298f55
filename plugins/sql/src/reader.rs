//! Adapter from a body to the reader traits of the standard library, which parsers require.

use std::io::{self, BufRead, Read};

use blockyard_sdk::prelude::*;
use flate2::bufread::MultiGzDecoder;

/// Number of bytes requested at once.
const CHUNK_BYTES: u32 = 256 << 10;

/// Reads a body to its end.
pub(crate) struct Reader {
    body: Body,
    chunk: Vec<u8>,
    at: usize,
}

impl Reader {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, chunk: Vec::new(), at: 0 }
    }

    /// Returns the first bytes without consuming them: at least `length`, or all if the body is
    /// shorter.
    pub(crate) fn beginning(&mut self, length: usize) -> Result<&[u8]> {
        while self.chunk.len() - self.at < length {
            match self.body.read(CHUNK_BYTES)? {
                Some(chunk) => self.chunk.extend(chunk),
                None => break,
            }
        }
        Ok(&self.chunk[self.at..])
    }

    /// Returns all bytes, or `None` if there are more than `most`.
    pub(crate) fn read_all(&mut self, most: usize) -> Result<Option<Vec<u8>>> {
        let first = self.chunk.split_off(self.at);
        (self.chunk, self.at) = (Vec::new(), 0);
        let (mut length, mut chunks) = (first.len(), vec![first]);
        while let Some(chunk) = self.body.read(CHUNK_BYTES)? {
            length += chunk.len();
            if length > most {
                return Ok(None);
            }
            chunks.push(chunk);
        }
        // Chunks are freed one by one, so that the file is not in memory twice.
        let mut all = Vec::with_capacity(length);
        for chunk in chunks {
            all.extend_from_slice(&chunk);
        }
        Ok((all.len() <= most).then_some(all))
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.chunk.len() {
            match self.body.read(CHUNK_BYTES).map_err(|problem| io::Error::other(Problem::from(problem)))? {
                Some(chunk) => (self.chunk, self.at) = (chunk, 0),
                None => break,
            }
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.chunk.len());
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.fill_buf()?;
        let length = buffer.len().min(chunk.len());
        buffer[..length].copy_from_slice(&chunk[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// UTF-8 text of a file, without a byte order mark.
pub(crate) type Text = Box<dyn BufRead>;

/// Returns the text of a body without a byte order mark, decompressed if it is a gzip file.
pub(crate) fn text(mut reader: Reader, subject: &str) -> Result<Text> {
    let packed = reader.beginning(GZIP.len())?.starts_with(&GZIP);
    if !packed {
        let mark = check_text(reader.beginning(BEGINNING_BYTES)?, subject)?;
        reader.consume(mark);
        return Ok(Box::new(reader));
    }
    let mut text = io::BufReader::with_capacity(64 << 10, MultiGzDecoder::new(reader));
    let beginning = text.fill_buf().map_err(|error| problem(&error, "the gzip file"))?;
    let mark = check_text(beginning, subject)?;
    text.consume(mark);
    Ok(Box::new(text))
}

const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Number of bytes inspected to detect the file type.
const BEGINNING_BYTES: usize = 64;

/// Rejects UTF-16 and known binary formats. Returns the length of the byte order mark.
fn check_text(beginning: &[u8], subject: &str) -> Result<usize> {
    const UTF16: &str = "convert it, for example with `iconv -f UTF-16 -t UTF-8`";
    let head = &beginning[..beginning.len().min(BEGINNING_BYTES)];
    let zero_at = |odd: usize| head.iter().skip(odd).step_by(2).take(4).filter(|byte| **byte == 0).count();
    if head.starts_with(&[0xff, 0xfe])
        || head.starts_with(&[0xfe, 0xff])
        || head.len() >= 8 && zero_at(0).max(zero_at(1)) == 4
    {
        return Err(Problem::invalid(format!("the file is UTF-16, but {subject} must be UTF-8")).hint(UTF16));
    }
    let known: [(&[u8], &str, &str); 6] = [
        (b"PAR1", "a Parquet file", "use `--format parquet`"),
        (b"ARROW1", "an Arrow file", "use `--format arrow`"),
        (b"PK\x03\x04", "a ZIP file or a workbook (.xlsx)", "export the sheet as CSV, or extract the file"),
        (b"\xd0\xcf\x11\xe0", "an old workbook (.xls)", "export the sheet as CSV"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd", "decompress it with `zstd -d`; only gzip is supported"),
        (b"BZh", "compressed with bzip2", "decompress it with `bunzip2`; only gzip is supported"),
    ];
    if let Some((_, is, hint)) = known.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return Err(Problem::invalid(format!("the file is {is}, not {subject}")).hint(*hint));
    }
    Ok(if head.starts_with(&[0xef, 0xbb, 0xbf]) { 3 } else { 0 })
}

/// Converts a parser error. If reading the body failed, returns the error of the body.
pub(crate) fn problem(error: &(dyn std::error::Error + 'static), subject: &str) -> Problem {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(problem) = inner.and_then(|inner| inner.downcast_ref::<Problem>()) {
            return problem.clone();
        }
        cause = error.source();
    }
    Problem::invalid(format!("{subject}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_must_be_utf8() {
        assert_eq!(check_text(b"\xef\xbb\xbfa,b", "CSV").expect("text"), 3);
        assert_eq!(check_text(b"a,b\n1,2", "CSV").expect("text"), 0);
        assert_eq!(check_text(b"", "CSV").expect("text"), 0);
        for (bytes, wrong) in [
            (&b"\xff\xfea\0"[..], "UTF-16"),
            (b"a\0,\0b\0\n\0", "UTF-16"),
            (b"\0a\0,\0b\0\n", "UTF-16"),
            (b"PAR1....", "a Parquet file"),
            (b"PK\x03\x04....", ".xlsx"),
        ] {
            assert!(check_text(bytes, "CSV").expect_err(wrong).message().contains(wrong));
        }
    }
}
