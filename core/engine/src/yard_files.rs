//! The files of a SQLite yard.

use std::path::{Path, PathBuf};

use crate::ownership::{Guard, writable_by_others};

/// Name suffixes of the files that together form one SQLite database.
const DATABASE_FILES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Returns the files that SQLite reads and writes for this database.
pub(crate) fn files_of(database: &Path) -> Vec<PathBuf> {
    let file = |ending: &str| {
        let mut name = database.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    DATABASE_FILES.into_iter().map(file).collect()
}

/// Returns the reason why another user could modify a SQLite yard: its file, or a file that SQLite
/// reads with it. Sources of such a yard are refused.
#[must_use]
pub fn yard_changeable_by_others(yard: &Path) -> Option<String> {
    // SQLite creates the companion files beside the target of a symbolic link.
    let resolved = yard.canonicalize().unwrap_or_else(|_| yard.to_owned());
    std::iter::once(yard.to_owned()).chain(files_of(&resolved)).filter(|file| file.symlink_metadata().is_ok()).find_map(
        |file| {
            // A file that cannot be inspected is treated as modifiable by others.
            writable_by_others(&file, Guard::Yard)
                .unwrap_or_else(|error| Some(format!("`{}`: {error}", file.display())))
        },
    )
}
