//! Streams of bytes to files and to standard output. A file appears when it is complete, or not
//! at all.

use std::io::Write;
use std::path::{Path, PathBuf};

use blockyard::{ByteStream, Error, ErrorKind, Problem};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tempfile::NamedTempFile;

use crate::terminal::Failure;

/// Where bytes go.
pub(crate) enum Destination {
    /// Standard output, and whether its reader went away: encoders turn that into errors of their own.
    Stdout {
        closed: bool,
    },
    /// What is there already and is no file: a pipe, a device.
    Device(std::fs::File),
    File {
        temporary: NamedTempFile,
        path: PathBuf,
    },
}

impl Destination {
    /// `-` and nothing are standard output.
    pub(crate) fn new(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            return Ok(Self::Stdout { closed: false });
        };
        // A file that is there keeps who may read it.
        #[cfg(unix)]
        let mode = {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::metadata(path)
                .ok()
                .filter(std::fs::Metadata::is_file)
                .map(|file| file.permissions().mode() & 0o777)
        };
        // A pipe or a device is written to, not replaced; a link leads to the file that is meant.
        let path = match std::fs::metadata(path) {
            Ok(there) if there.is_file() => path.canonicalize().map_err(|error| cannot_write(path, error))?,
            Ok(there) if there.is_dir() => {
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
            // What any new file has; the user's umask is taken off it.
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

    /// Whether nobody reads standard output any more.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Stdout { closed: true })
    }

    /// All is written: the file appears.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout { .. } => std::io::stdout().flush()?,
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
            Self::Stdout { closed } => std::io::stdout().write(bytes).inspect_err(|error| {
                *closed |= error.kind() == std::io::ErrorKind::BrokenPipe;
            }),
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

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Outside, format!("`{}` cannot be written", path.display())).because(error)
}

/// Copies a stream. Gives the number of bytes.
pub(crate) async fn copy(mut stream: ByteStream, destination: &mut Destination) -> Result<u64, Failure> {
    let mut bytes = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(Error::from)?;
        bytes += chunk.len() as u64;
        destination.write_all(&chunk)?;
    }
    Ok(bytes)
}

/// A stream as a blocking reader, for decoders. A problem in the stream is kept, to be told
/// instead of the decoder's complaint about a short file.
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
                    return Err(std::io::Error::other("the stream broke off"));
                }
                None => return Ok(0),
            }
        }
        let taken = self.chunk.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.chunk.split_to(taken));
        Ok(taken)
    }
}
