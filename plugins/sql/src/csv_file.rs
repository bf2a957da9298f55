//! Strict CSV parser (RFC 4180): malformed quoting is an error that names the line.

use std::io::BufRead;

use blockyard_sdk::prelude::*;

use crate::reader::problem;
use crate::rows::Format;

/// Maximum size of a record in bytes. Without it, an unclosed quote would read the rest of the file
/// into memory.
const RECORD_BYTES: usize = 16 << 20;

/// Returns the separator of CSV fields.
pub(crate) fn delimiter(delimiter: Option<&str>, format: Format) -> Result<u8> {
    match (delimiter, format) {
        (None, _) => Ok(b','),
        (Some(_), Format::Ndjson | Format::Arrow | Format::Parquet) => {
            Err(Problem::invalid("`delimiter` applies to CSV only"))
        }
        (Some("\\t"), _) => Ok(b'\t'),
        (Some(text), _) => match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') && !byte.is_ascii_alphanumeric() => {
                Ok(*byte)
            }
            _ => Err(Problem::invalid(format!("`{text}` is not a delimiter"))
                .hint("use one character, such as `;`, `|` or `\\t` for a tab")),
        },
    }
}

/// A field, and whether it was quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) text: String,
    pub(crate) quoted: bool,
}

/// Iterator over the records of a CSV file.
pub(crate) struct Records<R> {
    input: R,
    delimiter: u8,
    /// Line number of the next byte, counted from 1.
    line: u64,
    /// Line number of the start of the last record.
    began: u64,
    /// `true` if the last byte was a carriage return that ended a line. A following line feed
    /// belongs to it.
    after_return: bool,
}

/// Parser state between two bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Unquoted,
    /// Inside quotes opened in this line.
    Quoted(u64),
    /// After a quote inside quotes: either the end of the field, or the first half of an escaped
    /// quote.
    QuoteInQuoted(u64),
}

/// The record being parsed.
#[derive(Default)]
struct Partial {
    fields: Vec<Field>,
    bytes: Vec<u8>,
    /// Number of bytes in the completed fields.
    length: usize,
}

impl<R: BufRead> Records<R> {
    pub(crate) fn new(input: R, delimiter: u8) -> Self {
        Self { input, delimiter, line: 1, began: 1, after_return: false }
    }

    /// Returns the line number of the start of the last record.
    pub(crate) fn first_line(&self) -> u64 {
        self.began
    }

    /// Returns the next record. An empty line is a record with one empty field.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<Field>>> {
        let (mut record, mut state, mut any) = (Partial::default(), State::FieldStart, false);
        self.began = self.line;
        loop {
            let chunk = self.input.fill_buf().map_err(|error| problem(&error, "the CSV"))?;
            if chunk.is_empty() {
                return self.last(record, state, any);
            }
            let (mut at, length) = (0, chunk.len());
            let mut ended = false;
            while at < length && !ended {
                let byte = chunk[at];
                if self.after_return {
                    self.after_return = false;
                    if byte == b'\n' && !any {
                        at += 1;
                        continue;
                    }
                }
                any = true;
                match state {
                    State::FieldStart if byte == b'"' => state = State::Quoted(self.line),
                    State::FieldStart | State::Unquoted | State::QuoteInQuoted(_) if byte == self.delimiter => {
                        record.end_field(state, self.line)?;
                        state = State::FieldStart;
                    }
                    State::FieldStart | State::Unquoted | State::QuoteInQuoted(_) if matches!(byte, b'\n' | b'\r') => {
                        record.end_field(state, self.line)?;
                        self.line += 1;
                        self.after_return = byte == b'\r';
                        ended = true;
                    }
                    State::FieldStart | State::Unquoted => {
                        let rest = &chunk[at..];
                        let special = |b: &u8| matches!(*b, b'"' | b'\n' | b'\r') || *b == self.delimiter;
                        let end = rest.iter().position(special).unwrap_or(rest.len());
                        if end == 0 {
                            return Err(bare_quote(self.line));
                        }
                        record.bytes.extend_from_slice(&rest[..end]);
                        at += end - 1;
                        state = State::Unquoted;
                    }
                    State::Quoted(opened) if byte == b'"' => state = State::QuoteInQuoted(opened),
                    State::Quoted(_) => {
                        let rest = &chunk[at..];
                        let end = rest.iter().position(|b| *b == b'"').unwrap_or(rest.len());
                        self.line += line_ends(&rest[..end], record.bytes.last().copied());
                        record.bytes.extend_from_slice(&rest[..end]);
                        at += end - 1;
                    }
                    State::QuoteInQuoted(opened) if byte == b'"' => {
                        record.bytes.push(b'"');
                        state = State::Quoted(opened);
                    }
                    State::QuoteInQuoted(_) => return Err(after_quote(self.line)),
                }
                at += 1;
                if record.length + record.bytes.len() > RECORD_BYTES {
                    return Err(too_long(self.began, state));
                }
            }
            self.input.consume(at);
            if ended {
                return Ok(Some(record.fields));
            }
        }
    }

    /// Returns the last record, which is not terminated by a line end.
    fn last(&self, mut record: Partial, state: State, any: bool) -> Result<Option<Vec<Field>>> {
        match state {
            State::Quoted(opened) => {
                Err(Problem::invalid(format!("line {opened} of the CSV opens a quote that is never closed"))
                    .hint("close the quote; write a literal quote as two quotes in a quoted field"))
            }
            _ if !any => Ok(None),
            _ => {
                record.end_field(state, self.line)?;
                Ok(Some(record.fields))
            }
        }
    }
}

impl Partial {
    fn end_field(&mut self, state: State, line: u64) -> Result<()> {
        let quoted = matches!(state, State::QuoteInQuoted(_));
        self.length += self.bytes.len();
        let text = String::from_utf8(std::mem::take(&mut self.bytes)).map_err(|_| not_utf8(line))?;
        self.fields.push(Field { text, quoted });
        Ok(())
    }
}

/// Counts the line ends (LF, CR, or both) in `bytes`. `before` is the preceding byte.
fn line_ends(bytes: &[u8], before: Option<u8>) -> u64 {
    let previous = std::iter::once(before.unwrap_or_default()).chain(bytes.iter().copied());
    let ends = bytes.iter().zip(previous);
    ends.filter(|(byte, previous)| **byte == b'\r' || **byte == b'\n' && *previous != b'\r').count() as u64
}

fn bare_quote(line: u64) -> Problem {
    Problem::invalid(format!("line {line} of the CSV has a quote inside of a field that does not begin with one"))
        .hint("quote the field, and write each literal quote in it as two quotes (RFC 4180)")
}

fn after_quote(line: u64) -> Problem {
    Problem::invalid(format!("line {line} of the CSV has text after a closing quote"))
        .hint("write a literal quote in a quoted field as two quotes (RFC 4180)")
}

fn not_utf8(line: u64) -> Problem {
    Problem::invalid(format!("line {line} of the CSV is not UTF-8"))
        .hint("convert the file, for example with `iconv -f WINDOWS-1252 -t UTF-8`")
}

fn too_long(began: u64, state: State) -> Problem {
    let size = RECORD_BYTES >> 20;
    let problem = Problem::invalid(format!("the record in line {began} of the CSV is larger than {size} MiB"));
    match state {
        State::Quoted(opened) | State::QuoteInQuoted(opened) => {
            problem.hint(format!("check the quote opened in line {opened}: it is not closed up to here"))
        }
        _ => problem.hint("check the line ends and the delimiter"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blockyard_sdk::serde_json;
    use proptest::prelude::*;
    use std::io::BufReader;

    /// Returns all records, parsed with a buffer of `buffer` bytes, or the error message.
    fn read(csv: &[u8], buffer: usize) -> std::result::Result<Vec<Vec<String>>, String> {
        let mut records = Records::new(BufReader::with_capacity(buffer, csv), b',');
        let mut all = Vec::new();
        while let Some(record) = records.next().map_err(|problem| problem.message().to_owned())? {
            all.push(record.into_iter().map(|field| field.text).collect());
        }
        Ok(all)
    }

    #[test]
    fn malformed_quoting_error_names_the_line() {
        for (csv, wrong) in [
            ("id,name\n1,\"Owl\n2,Heron\n3,Swan\n", "line 2 of the CSV opens a quote that is never closed"),
            ("a\n\"x\ny\"\n\"", "line 4 of the CSV opens a quote that is never closed"),
            ("a\n\"x\r\ny\rz\"\n\"\"\"", "line 5 of the CSV opens a quote that is never closed"),
            ("a,b\n1,\"Owl\" x\n", "line 2 of the CSV has text after a closing quote"),
            ("a,b\n1,\"Owl\" \n", "line 2 of the CSV has text after a closing quote"),
            ("a,b\n\"x\ny\"z,1\n", "line 3 of the CSV has text after a closing quote"),
            ("a,b\r1,Owl \"x\"\r", "line 2 of the CSV has a quote inside of a field"),
            ("a,b\n1, \"x\"\n", "line 2 of the CSV has a quote inside of a field"),
        ] {
            for buffer in [1, 2, 3, 64] {
                let message = read(csv.as_bytes(), buffer).expect_err(csv);
                assert!(message.starts_with(wrong), "{csv:?}: {message}");
            }
        }
        assert_eq!(read(b"a\n\xff\n", 8).expect_err("not UTF-8"), "line 2 of the CSV is not UTF-8");
        let endless = format!("a\n\"{}", "x\n".repeat(RECORD_BYTES));
        assert!(read(endless.as_bytes(), 1 << 16).expect_err("too long").contains("larger than"));
    }

    #[test]
    fn all_line_endings_are_accepted() {
        let expected = vec![vec!["a", "b"], vec!["1", "x\r\ny"], vec![""], vec!["2", "\"\""]];
        for end in ["\n", "\r\n", "\r"] {
            for last in ["", end] {
                let csv = format!("a,b{end}1,\"x\r\ny\"{end}{end}2,\"\"\"\"\"\"{last}");
                for buffer in [1, 2, 3, 64] {
                    assert_eq!(read(csv.as_bytes(), buffer).expect("records"), expected, "{csv:?}");
                }
            }
        }
    }

    /// Every string of up to six significant characters is parsed like Python's strict mode, or
    /// rejected by both. Python accepts a quote in an unquoted field, which RFC 4180 does not
    /// allow.
    #[test]
    fn records_match_the_csv_module_of_python() {
        const LETTERS: [char; 5] = ['a', '"', ',', '\r', '\n'];
        const WITNESS: &str = "import csv, io, json, sys\n\
            def read(text):\n\
            \x20 try: return [row or [''] for row in csv.reader(io.StringIO(text, newline=''), strict=True)]\n\
            \x20 except csv.Error: return None\n\
            print(json.dumps([read(text) for text in json.load(sys.stdin)]))";
        if std::env::var_os("BLOCKYARD_TEST_PYARROW").is_none() {
            return;
        }
        let mut texts = vec![String::new()];
        let mut last = texts.clone();
        for _ in 0..6 {
            last = last.iter().flat_map(|text| LETTERS.map(|letter| format!("{text}{letter}"))).collect();
            texts.extend(last.clone());
        }
        let mut python = std::process::Command::new("python3");
        python.args(["-c", WITNESS]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut python = python.spawn().expect("python3");
        let input = serde_json::to_vec(&texts).expect("JSON");
        std::io::Write::write_all(&mut python.stdin.take().expect("its input"), &input).expect("python3 reads");
        let output = python.wait_with_output().expect("python3");
        let read_by_python: Vec<Option<Vec<Vec<String>>>> = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(read_by_python.len(), texts.len());
        for (text, by_python) in texts.iter().zip(read_by_python) {
            match read(text.as_bytes(), 3) {
                Ok(records) => assert_eq!(Some(records), by_python, "{text:?}"),
                Err(message) if message.contains("inside of a field") => {}
                Err(message) => assert_eq!(by_python, None, "{text:?}: {message}"),
            }
        }
    }

    proptest! {
        /// Records written according to RFC 4180 are read back, regardless of buffer boundaries.
        #[test]
        fn quoted_records_round_trip(
            rows in proptest::collection::vec(proptest::collection::vec("[a\",\r\nü ]{0,6}", 2), 0..6),
            buffer in 1usize..20,
        ) {
            let mut csv = String::new();
            for row in &rows {
                let fields: Vec<String> = row.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
                csv.push_str(&fields.join(","));
                csv.push('\n');
            }
            prop_assert_eq!(read(csv.as_bytes(), buffer), Ok(rows));
        }

        /// The result does not depend on the buffer size, and no input makes the parser panic.
        #[test]
        fn records_do_not_depend_on_the_buffer_size(csv in "[a\",\r\n]{0,40}", buffer in 1usize..20) {
            prop_assert_eq!(read(csv.as_bytes(), buffer), read(csv.as_bytes(), 1 << 10));
        }
    }
}
