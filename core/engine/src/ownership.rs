//! Checks that no other user can modify a file or folder. A file that another user can write must
//! not affect what the current user runs.

use std::io::{self, Write as _};
use std::path::Path;

/// Type of access that must not be available to other users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Modifying or replacing the file, or adding files beside it: SQLite reads `-journal` and
    /// `-wal` there.
    Yard,
    /// Modifying or replacing the file. Other users may have files beside it (sticky bit, as in
    /// `/tmp`).
    File,
    /// Like `File`, but group members count as the current user: source code is often shared within
    /// a group, and group-writable files are the default on many systems.
    Source,
}

impl Guard {
    /// Returns the permission bits that give write access to other users.
    fn bits(self) -> u32 {
        match self {
            Self::Yard | Self::File => 0o022,
            Self::Source => 0o002,
        }
    }
}

/// Returns the reason why another user could modify or replace a file or folder, or `None` if only
/// the current user and root can. Symbolic links are resolved first: the reason refers to the
/// target.
///
/// # Errors
/// Returns an error if the file or one of its folders cannot be inspected.
pub fn writable_by_others(path: &Path, guard: Guard) -> io::Result<Option<String>> {
    let resolved = path.canonicalize()?;
    if let Some(reason) = changeable(&resolved, false, guard)? {
        return Ok(Some(reason));
    }
    let mut folders: Vec<&Path> = resolved.parent().into_iter().collect();
    // A link in a folder that others can write could be replaced at any time.
    let linked = match path.symlink_metadata()?.is_symlink() {
        true => Some(folder_of(path).canonicalize()?),
        false => None,
    };
    folders.extend(linked.as_deref());
    for folder in folders {
        for (height, folder) in folder.ancestors().enumerate() {
            if let Some(reason) = changeable(folder, height > 0 || guard != Guard::Yard, guard)? {
                return Ok(Some(reason));
            }
        }
    }
    Ok(None)
}

/// Returns the folder of a file; `.` if the path is a bare file name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the reason why another user could modify this file, or the entries of this folder;
/// parent folders are not inspected. `sticky` accepts folders in which users can replace only their
/// own entries.
#[cfg(unix)]
fn changeable(path: &Path, sticky: bool, guard: Guard) -> io::Result<Option<String>> {
    use std::os::unix::fs::MetadataExt as _;
    const STICKY: u32 = 0o1000;
    let metadata = path.metadata()?;
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        return Ok(Some(format!("`{}` belongs to another user (uid {})", path.display(), metadata.uid())));
    }
    let mode = metadata.mode();
    let guarded = sticky && metadata.is_dir() && mode & STICKY != 0;
    if mode & guard.bits() != 0 && !guarded {
        return Ok(Some(format!("`{}` can be written by other users (mode {:03o})", path.display(), mode & 0o777)));
    }
    Ok(None)
}

/// Access control lists of other systems are not inspected; a user's profile folder is private
/// there.
#[cfg(not(unix))]
fn changeable(path: &Path, _sticky: bool, _guard: Guard) -> io::Result<Option<String>> {
    path.metadata().map(|_| None)
}

/// Returns the reason why this file or folder is a symbolic link or could be modified by another
/// user, or `None` if it belongs to the current user. Parent folders are not inspected.
///
/// # Errors
/// Returns an error if the path cannot be inspected.
pub(crate) fn not_own(path: &Path) -> io::Result<Option<String>> {
    if path.symlink_metadata()?.is_symlink() {
        return Ok(Some(format!("`{}` is a link", path.display())));
    }
    changeable(path, false, Guard::File)
}

/// Creates a folder that only the current user can access, with its parent folders.
pub(crate) fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Atomically writes a file that only the current user can read: readers see either the old or the
/// new content.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    // Temporary files are created with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder_of(path))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn reason(path: &Path, guard: Guard) -> String {
        writable_by_others(path, guard).expect("it is there").unwrap_or_default()
    }

    #[test]
    fn permissions_of_folders_and_links_are_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("inner");
        let file = inner.join("yard.db");
        create_dir(&inner).expect("a folder");
        write(&file, "x").expect("a file");
        set_permissions(&inner, Permissions::from_mode(0o755)).expect("chmod");
        set_permissions(&file, Permissions::from_mode(0o644)).expect("chmod");
        assert_eq!(reason(&file, Guard::Yard), "");
        for mode in [0o664, 0o646, 0o622] {
            set_permissions(&file, Permissions::from_mode(mode)).expect("chmod");
            assert!(reason(&file, Guard::File).contains(&format!("(mode {mode:o})")));
        }
        set_permissions(&file, Permissions::from_mode(0o600)).expect("chmod");
        for (mode, yard, alone, source) in
            [(0o775, false, false, true), (0o777, false, false, false), (0o1777, false, true, true)]
        {
            set_permissions(&inner, Permissions::from_mode(mode)).expect("chmod");
            assert_eq!(reason(&file, Guard::Yard).is_empty(), yard, "{mode:o}");
            assert_eq!(reason(&file, Guard::File).is_empty(), alone, "{mode:o}");
            assert_eq!(reason(&file, Guard::Source).is_empty(), source, "{mode:o}");
        }
        // Both the target of a link and the folder of the link are checked.
        let link = folder.path().join("link");
        symlink(&file, &link).expect("a link");
        assert!(!reason(&link, Guard::Yard).is_empty());
        set_permissions(&inner, Permissions::from_mode(0o755)).expect("chmod");
        assert_eq!(reason(&link, Guard::Yard), "");
        let other = folder.path().join("other");
        create_dir(&other).expect("a folder");
        set_permissions(&other, Permissions::from_mode(0o777)).expect("chmod");
        symlink(&file, other.join("link")).expect("a link");
        assert!(reason(&other.join("link"), Guard::Yard).contains("other"));
        assert!(writable_by_others(&folder.path().join("none"), Guard::File).is_err());
    }
}
