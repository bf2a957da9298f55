//! Files that only this user can change. What another user can write must not decide for this one.

use std::io::{self, Write as _};
use std::path::Path;

/// What another user must not be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Change or replace the file, or add files beside it: SQLite reads `-journal` and `-wal` there.
    Yard,
    /// Change or replace the file. Others may have files beside it (the sticky bit, as of `/tmp`).
    File,
    /// The same, but the file's group counts as this user: source code is often shared by a group, and many
    /// systems make it so by default.
    Source,
}

impl Guard {
    /// The permission bits that let another user write.
    fn bits(self) -> u32 {
        match self {
            Self::Yard | Self::File => 0o022,
            Self::Source => 0o002,
        }
    }
}

/// The reason why another user could change or replace a file or folder; `None` if only this user and root
/// can. Links are followed first: the reason is about the file that they lead to.
///
/// # Errors
/// The file or one of its folders cannot be examined.
pub fn writable_by_others(path: &Path, guard: Guard) -> io::Result<Option<String>> {
    let resolved = path.canonicalize()?;
    if let Some(reason) = changeable(&resolved, false, guard)? {
        return Ok(Some(reason));
    }
    let mut folders: Vec<&Path> = resolved.parent().into_iter().collect();
    // A link in a folder of others can lead elsewhere tomorrow.
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

/// The folder of a file, also if the path is only a name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The reason why another user could change this very file, or the entries of this very folder. `sticky`
/// accepts folders in which each user can only replace their own entries.
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

/// Access lists of other systems are not examined; a user's profile is private there.
#[cfg(not(unix))]
fn changeable(path: &Path, _sticky: bool, _guard: Guard) -> io::Result<Option<String>> {
    path.metadata().map(|_| None)
}

/// The reason why this very file or folder is a link, or another user could change it; `None` if it is this
/// user's. The folders above it are not examined.
///
/// # Errors
/// It cannot be examined.
pub(crate) fn not_own(path: &Path) -> io::Result<Option<String>> {
    if path.symlink_metadata()?.is_symlink() {
        return Ok(Some(format!("`{}` is a link", path.display())));
    }
    changeable(path, false, Guard::File)
}

/// Makes a folder that only this user can use, and the folders above it.
pub(crate) fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes a file that only this user can read, in one step: readers see the old or the new content.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    // Temporary files are made with mode 0600.
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
    fn a_file_is_judged_with_its_folders_and_links() {
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
        // The file that a link leads to counts, and so does the folder of the link.
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
