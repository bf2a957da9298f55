//! Byte streams to files and to standard output. A file is written atomically.

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use blockyard::model::visible;
use blockyard::{ByteStream, Error, ErrorKind, Problem};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tempfile::NamedTempFile;

use crate::terminal::Failure;

/// Destination of a byte stream.
pub(crate) enum Destination {
    /// Standard output. `closed` records that its reader has closed the pipe, because encoders
    /// convert that into different errors. Output to a terminal is escaped; output to a pipe or
    /// a file is exact.
    Stdout {
        closed: bool,
        terminal: Option<TerminalText>,
    },
    /// An existing pipe or device, which is written to directly.
    Device(std::fs::File),
    File {
        temporary: NamedTempFile,
        path: PathBuf,
    },
}

impl Destination {
    /// Opens a destination. `None` and `-` mean standard output.
    pub(crate) fn new(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            let terminal = std::io::stdout().is_terminal().then(TerminalText::default);
            return Ok(Self::Stdout { closed: false, terminal });
        };
        // The new file keeps the permissions of an existing one.
        #[cfg(unix)]
        let mode = {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::metadata(path)
                .ok()
                .filter(std::fs::Metadata::is_file)
                .map(|file| file.permissions().mode() & 0o777)
        };
        // A pipe or device is written to, not replaced. A link is resolved, so that its target is
        // replaced.
        let path = match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => path.canonicalize().map_err(|error| cannot_write(path, error))?,
            Ok(metadata) if metadata.is_dir() => {
                let error = std::io::Error::from(std::io::ErrorKind::IsADirectory);
                return Err(cannot_write(path, error));
            }
            Ok(_) => {
                let device = std::fs::File::options().write(true).open(path);
                return device.map(Self::Device).map_err(|error| cannot_write(path, error));
            }
            Err(_) => path.to_owned(),
        };
        let path = path.as_path();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        let builder = {
            use std::os::unix::fs::PermissionsExt as _;
            // Mode of a new file before the user's umask is applied.
            builder.permissions(std::fs::Permissions::from_mode(0o666))
        };
        let temporary = builder.prefix(".blockyard-").tempfile_in(folder).map_err(|error| cannot_write(path, error))?;
        #[cfg(unix)]
        if let Some(mode) = mode {
            use std::os::unix::fs::PermissionsExt as _;
            let same = std::fs::Permissions::from_mode(mode);
            temporary.as_file().set_permissions(same).map_err(|error| cannot_write(path, error))?;
        }
        Ok(Self::File { temporary, path: path.to_owned() })
    }

    /// Returns whether the bytes are printed on a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self, Self::Stdout { terminal: Some(_), .. })
    }

    /// Marks the bytes as JSON, so that a terminal shows JSON escapes.
    pub(crate) fn json(&mut self) {
        if let Self::Stdout { terminal: Some(terminal), .. } = self {
            terminal.json = true;
        }
    }

    /// Returns whether the reader has closed standard output.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Stdout { closed: true, .. })
    }

    /// Flushes all bytes. A file is moved to its path.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout { terminal, .. } => {
                let rest = terminal.map(|mut terminal| terminal.rest()).unwrap_or_default();
                std::io::stdout().write_all(rest.as_bytes())?;
                std::io::stdout().flush()?;
            }
            Self::Device(mut file) => file.flush()?,
            Self::File { temporary, path } => {
                temporary.as_file().sync_all().map_err(|error| cannot_write(&path, error))?;
                temporary.persist(&path).map_err(|error| cannot_write(&path, error.error))?;
            }
        }
        Ok(())
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Stdout { closed, terminal } => {
                let written = match terminal {
                    Some(terminal) => {
                        std::io::stdout().write_all(terminal.escape(bytes).as_bytes()).map(|()| bytes.len())
                    }
                    None => std::io::stdout().write(bytes),
                };
                written.inspect_err(|error| *closed |= error.kind() == std::io::ErrorKind::BrokenPipe)
            }
            Self::Device(file) => file.write(bytes),
            Self::File { temporary, .. } => temporary.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Stdout { .. } => std::io::stdout().flush(),
            Self::Device(file) => file.flush(),
            Self::File { temporary, .. } => temporary.flush(),
        }
    }
}

/// Escapes bytes for a terminal: control characters in text, and bytes that are not UTF-8 as
/// `\xNN`.
#[derive(Default)]
pub(crate) struct TerminalText {
    /// Incomplete UTF-8 sequence at the end of the previous chunk.
    incomplete: Vec<u8>,
    json: bool,
}

impl TerminalText {
    fn escape(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.incomplete);
        all.extend_from_slice(bytes);
        let mut out = String::new();
        let mut rest = all.as_slice();
        loop {
            let (valid, wrong) = match std::str::from_utf8(rest) {
                Ok(text) => (text, None),
                Err(error) => {
                    let (valid, wrong) = rest.split_at(error.valid_up_to());
                    (std::str::from_utf8(valid).unwrap_or_default(), Some((wrong, error.error_len())))
                }
            };
            let shown = valid.replace("\r\n", "\n");
            out.push_str(&if self.json { visible::json(&shown) } else { visible::lines(&shown) });
            match wrong {
                None => return out,
                Some((wrong, None)) => {
                    self.incomplete = wrong.to_owned();
                    return out;
                }
                Some((wrong, Some(length))) => {
                    out.push_str(&hexadecimal(&wrong[..length]));
                    rest = &wrong[length..];
                }
            }
        }
    }

    /// Returns the incomplete sequence at the end of the stream.
    fn rest(&mut self) -> String {
        hexadecimal(&std::mem::take(&mut self.incomplete))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Remote, format!("`{}` cannot be written", path.display())).because(error)
}

/// Copies a stream. Returns the number of bytes.
pub(crate) async fn copy(mut stream: ByteStream, destination: &mut Destination) -> Result<u64, Failure> {
    let mut bytes = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(Error::from)?;
        bytes += chunk.len() as u64;
        destination.write_all(&chunk)?;
    }
    Ok(bytes)
}

/// Blocking reader of a stream, for decoders. The first problem of the stream is retained, because
/// it explains a truncated stream better than the decoder's error.
pub(crate) struct BlockingReader {
    stream: ByteStream,
    runtime: tokio::runtime::Handle,
    chunk: Bytes,
    problem: std::sync::Arc<std::sync::Mutex<Option<Problem>>>,
}

impl BlockingReader {
    pub(crate) fn new(stream: ByteStream) -> (Self, std::sync::Arc<std::sync::Mutex<Option<Problem>>>) {
        let problem = std::sync::Arc::default();
        let reader = Self {
            stream,
            runtime: tokio::runtime::Handle::current(),
            chunk: Bytes::new(),
            problem: std::sync::Arc::clone(&problem),
        };
        (reader, problem)
    }
}

impl std::io::Read for BlockingReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.chunk.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(problem)) => {
                    *self.problem.lock().expect("nothing panics while it holds this lock") = Some(problem);
                    return Err(std::io::Error::other("the stream was interrupted"));
                }
                None => return Ok(0),
            }
        }
        let taken = self.chunk.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.chunk.split_to(taken));
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_are_escaped_across_chunk_boundaries() {
        let bytes = "a\u{1b}[2J\u{9b}1m é \u{202e}x\r\nb".as_bytes().iter().copied().chain([0xff, b'c', 0xc3]);
        let bytes: Vec<u8> = bytes.collect();
        let expected = "a\\u{1b}[2J\\u{9b}1m é \\u{202e}x\nb\\xffc\\xc3";
        for cut in 0..=bytes.len() {
            let mut text = TerminalText::default();
            let shown = text.escape(&bytes[..cut]) + &text.escape(&bytes[cut..]) + &text.rest();
            assert_eq!(shown.replace("\\r", ""), expected, "cut at {cut}");
        }
    }

    #[test]
    fn json_is_escaped_without_changing_its_value() {
        let mut text = TerminalText { json: true, ..TerminalText::default() };
        let shown = text.escape("{\"a\":\"\u{202e}\u{9b}\"}\n".as_bytes());
        assert_eq!(shown, "{\"a\":\"\\u202e\\u009b\"}\n");
    }
}
