//! Reads files of folders that other users can write: only regular files, and only up to a limit.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;

/// The reason why a file was not read.
#[derive(Debug)]
pub(crate) enum NotRead {
    /// It is a symbolic link, a folder or a device.
    Irregular,
    /// It was replaced between the check and the read.
    Replaced,
    /// It is larger than the limit.
    TooLarge,
    /// The operating system reported an error.
    Failed(io::Error),
}

impl From<io::Error> for NotRead {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Reads a regular file of at most `limit` bytes. Rejects links and devices, and a file that was
/// replaced between the check and the read.
pub(crate) fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>, NotRead> {
    let examined = path.symlink_metadata()?;
    if !examined.is_file() {
        return Err(NotRead::Irregular);
    }
    let file = File::open(path)?;
    if !is_same(&examined, &file.metadata()?) {
        return Err(NotRead::Replaced);
    }
    let mut bytes = Vec::new();
    let read = file.take(limit + 1).read_to_end(&mut bytes)?;
    if read as u64 > limit { Err(NotRead::TooLarge) } else { Ok(bytes) }
}

/// Checks whether two sets of metadata describe the same file.
#[cfg(unix)]
pub(crate) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Compares the size only: the standard library does not expose file identity on other systems.
#[cfg(not(unix))]
pub(crate) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    one.is_file() && other.is_file() && one.len() == other.len()
}
