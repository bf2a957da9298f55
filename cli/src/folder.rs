//! Destination folder for many downloaded objects. Object names come from a remote service, so
//! nothing is written through a symbolic link inside the folder: each path component is opened with
//! a flag that makes the operating system reject links.

#[cfg(not(unix))]
pub(crate) use portable::Folder;
#[cfg(unix)]
pub(crate) use unix::Folder;

use std::path::Path;

use blockyard::{Error, ErrorKind};

/// Returns the error for an existing entry that prevents a file from being written.
fn blocked_by(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("`{}` is {what}", path.display()))
        .hint("remove it, or copy into another folder")
}

fn cannot(path: &Path, error: impl Into<std::io::Error>) -> Error {
    Error::new(ErrorKind::Remote, format!("`{}` cannot be written", path.display())).because(error.into())
}

#[cfg(unix)]
mod unix {
    use std::collections::HashMap;
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::path::{Path, PathBuf};

    use blockyard::Error;
    use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, renameat, statat, unlinkat};
    use rustix::io::Errno;

    use super::{blocked_by, cannot};

    /// Mode of a new folder and file before the user's umask is applied.
    const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);
    const FILE_MODE: Mode = Mode::from_raw_mode(0o666);
    const DOWN: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::RDONLY).union(OFlags::CLOEXEC);

    /// An open destination folder.
    pub(crate) struct Folder {
        path: PathBuf,
        root: OwnedFd,
        /// Written files by device and inode, to detect a second object that maps to the same file.
        written: HashMap<(u64, u64), String>,
        /// Counter for the names of temporary files.
        count: u64,
    }

    /// A file that is written under a temporary name and renamed when it is complete.
    pub(crate) struct NewFile {
        file: File,
        folder: OwnedFd,
        temporary: String,
        name: String,
        path: PathBuf,
        /// Set after the rename, when the temporary file no longer exists.
        persisted: bool,
    }

    impl Folder {
        /// Opens a folder, creating it if it does not exist. The user specified it, so links on the
        /// path to it are followed.
        pub(crate) fn open(path: &Path) -> Result<Self, Error> {
            std::fs::create_dir_all(path).map_err(|error| cannot(path, error))?;
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
            let root = openat(CWD, path, flags, Mode::empty()).map_err(|error| cannot(path, error))?;
            Ok(Self { path: path.to_owned(), root, written: HashMap::new(), count: 0 })
        }

        /// Checks that a file can be written: that no link, folder or device occupies its path.
        pub(crate) fn check(&self, parts: &[String]) -> Result<(), Error> {
            let mut at = self.root.try_clone().map_err(|error| cannot(&self.path, error))?;
            let mut path = self.path.clone();
            for (index, part) in parts.iter().enumerate() {
                path.push(part);
                let is_file = index + 1 == parts.len();
                match statat(&at, part.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => return Ok(()),
                    Err(error) => return Err(cannot(&path, error)),
                    Ok(existing) => match (FileType::from_raw_mode(existing.st_mode), is_file) {
                        (FileType::RegularFile, true) | (FileType::Directory, false) => {}
                        (FileType::Symlink, _) => {
                            return Err(blocked_by(&path, "a link, which is not followed"));
                        }
                        (FileType::Directory, true) => {
                            return Err(blocked_by(&path, "a folder, but an object has the same name"));
                        }
                        _ => return Err(blocked_by(&path, "neither a folder nor a file")),
                    },
                }
                if !is_file {
                    at = openat(&at, part.as_str(), DOWN, Mode::empty()).map_err(|error| cannot(&path, error))?;
                }
            }
            Ok(())
        }

        /// Creates a file at a path below the folder.
        pub(crate) fn create(&mut self, parts: &[String]) -> Result<NewFile, Error> {
            self.check(parts)?;
            let mut at = self.root.try_clone().map_err(|error| cannot(&self.path, error))?;
            let mut path = self.path.clone();
            let (name, folders) = parts.split_last().ok_or_else(|| blocked_by(&self.path, "not a file name"))?;
            for part in folders {
                path.push(part);
                match mkdirat(&at, part.as_str(), FOLDER_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(cannot(&path, error)),
                }
                at = openat(&at, part.as_str(), DOWN, Mode::empty()).map_err(|error| cannot(&path, error))?;
            }
            path.push(name);
            self.count += 1;
            let temporary = format!(".blockyard-{}-{}", std::process::id(), self.count);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = openat(&at, temporary.as_str(), flags, FILE_MODE).map_err(|error| cannot(&path, error))?;
            Ok(NewFile { file: made.into(), folder: at, temporary, name: name.clone(), path, persisted: false })
        }

        /// Renames a complete file to its final name. An existing entry of that name is replaced,
        /// never written through.
        pub(crate) fn persist(&mut self, mut new: NewFile, object: &str) -> Result<(), Error> {
            let failed = |error: Errno| cannot(&new.path, error);
            if let Ok(existing) = statat(&new.folder, new.name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                if let Some(other) = self.written.get(&identity(&existing)) {
                    let what =
                        format!("already used by object `{other}`: on this disk, `{object}` has the same file name");
                    return Err(blocked_by(&new.path, &what));
                }
                // The new file keeps the permissions of the file that it replaces.
                if FileType::from_raw_mode(existing.st_mode) == FileType::RegularFile {
                    let mode = Mode::from_raw_mode(existing.st_mode & 0o777);
                    rustix::fs::fchmod(&new.file, mode).map_err(failed)?;
                }
            }
            new.file.sync_all().map_err(|error| cannot(&new.path, error))?;
            renameat(&new.folder, new.temporary.as_str(), &new.folder, new.name.as_str()).map_err(failed)?;
            let persisted = rustix::fs::fstat(&new.file).map_err(failed)?;
            self.written.insert(identity(&persisted), object.to_owned());
            new.persisted = true;
            Ok(())
        }
    }

    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss, reason = "the types differ by system")]
    fn identity(of: &rustix::fs::Stat) -> (u64, u64) {
        (of.st_dev as u64, of.st_ino as u64)
    }

    impl Write for NewFile {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.file.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            self.file.flush()
        }
    }

    impl Drop for NewFile {
        fn drop(&mut self) {
            if !self.persisted {
                // An incomplete file that cannot be removed is left behind.
                let _ = unlinkat(&self.folder, self.temporary.as_str(), AtFlags::empty());
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use std::os::unix::fs::symlink;

        use super::*;

        fn parts(path: &str) -> Vec<String> {
            path.split('/').map(str::to_owned).collect()
        }

        fn write(folder: &mut Folder, path: &str, text: &str) -> Result<(), Error> {
            let mut file = folder.create(&parts(path))?;
            file.write_all(text.as_bytes()).expect("written");
            folder.persist(file, path)
        }

        #[test]
        fn symbolic_links_are_not_followed_on_write() {
            let temporary = tempfile::tempdir().expect("a folder");
            let (inside, outside) = (temporary.path().join("in"), temporary.path().join("out"));
            std::fs::create_dir_all(inside.join("a")).expect("a folder");
            std::fs::create_dir(&outside).expect("a folder");
            std::fs::write(outside.join("file"), "as it was").expect("a file");
            symlink(&outside, inside.join("folder")).expect("a link");
            symlink(outside.join("file"), inside.join("a/file")).expect("a link");
            symlink(outside.join("nowhere"), inside.join("dangling")).expect("a link");
            let mut folder = Folder::open(&inside).expect("open");
            for path in ["folder/x", "folder/sub/x", "a/file", "dangling", "a/file/x"] {
                assert!(folder.check(&parts(path)).is_err(), "{path}");
                let refused = write(&mut folder, path, "new").expect_err(path);
                assert!(refused.to_string().contains("a link"), "{refused}");
            }
            assert_eq!(std::fs::read_to_string(outside.join("file")).expect("the file"), "as it was");
            assert_eq!(std::fs::read_dir(&outside).expect("the folder").count(), 1);
        }

        #[test]
        fn a_link_that_appears_while_a_file_is_written_is_replaced() {
            let temporary = tempfile::tempdir().expect("a folder");
            let outside = temporary.path().join("outside");
            std::fs::write(&outside, "as it was").expect("a file");
            let mut folder = Folder::open(&temporary.path().join("in")).expect("open");
            let mut file = folder.create(&parts("x")).expect("begun");
            file.write_all(b"new").expect("written");
            symlink(&outside, temporary.path().join("in/x")).expect("a link");
            folder.persist(file, "x").expect("placed");
            assert_eq!(std::fs::read_to_string(&outside).expect("the file"), "as it was");
            assert_eq!(std::fs::read_to_string(temporary.path().join("in/x")).expect("the file"), "new");
        }

        #[test]
        fn two_objects_are_not_written_to_the_same_file() {
            let temporary = tempfile::tempdir().expect("a folder");
            let mut folder = Folder::open(temporary.path()).expect("open");
            write(&mut folder, "a/x", "one").expect("written");
            // Simulates a case-insensitive file system: the second name leads to the first file.
            std::fs::hard_link(temporary.path().join("a/x"), temporary.path().join("a/X")).expect("a second name");
            assert!(write(&mut folder, "a/X", "two").is_err());
            assert_eq!(std::fs::read_to_string(temporary.path().join("a/x")).expect("the file"), "one");
            let left = std::fs::read_dir(temporary.path().join("a")).expect("the folder").count();
            assert_eq!(left, 2, "no temporary file is left");
        }

        #[test]
        fn a_file_is_replaced_atomically_and_keeps_its_permissions() {
            use std::os::unix::fs::PermissionsExt as _;
            let temporary = tempfile::tempdir().expect("a folder");
            let file = temporary.path().join("x");
            std::fs::write(&file, "old").expect("a file");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("permissions");
            let mut folder = Folder::open(temporary.path()).expect("open");
            drop(folder.create(&parts("x")).expect("begun"));
            assert_eq!(std::fs::read_to_string(&file).expect("the file"), "old");
            write(&mut folder, "x", "new").expect("written");
            assert_eq!(std::fs::read_to_string(&file).expect("the file"), "new");
            assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
        }
    }
}

#[cfg(not(unix))]
mod portable {
    use std::io::Write;
    use std::path::{Path, PathBuf};

    use blockyard::Error;
    use tempfile::NamedTempFile;

    use super::{blocked_by, cannot};

    /// A destination folder.
    pub(crate) struct Folder {
        path: PathBuf,
    }

    /// A file that is written under a temporary name and renamed when it is complete.
    pub(crate) struct NewFile {
        temporary: NamedTempFile,
        path: PathBuf,
    }

    impl Folder {
        /// Opens a folder, creating it if it does not exist.
        pub(crate) fn open(path: &Path) -> Result<Self, Error> {
            std::fs::create_dir_all(path).map_err(|error| cannot(path, error))?;
            Ok(Self { path: path.to_owned() })
        }

        /// Checks that a file can be written: that no link or folder occupies its path.
        pub(crate) fn check(&self, parts: &[String]) -> Result<(), Error> {
            let mut path = self.path.clone();
            for (index, part) in parts.iter().enumerate() {
                path.push(part);
                let Ok(existing) = std::fs::symlink_metadata(&path) else { return Ok(()) };
                let is_file = index + 1 == parts.len();
                if existing.is_symlink() || existing.is_dir() == is_file {
                    return Err(blocked_by(&path, "a link, or not of the type that the object name requires"));
                }
            }
            Ok(())
        }

        /// Creates a file at a path below the folder.
        pub(crate) fn create(&mut self, parts: &[String]) -> Result<NewFile, Error> {
            self.check(parts)?;
            let path = parts.iter().fold(self.path.clone(), |path, part| path.join(part));
            let folder = path.parent().unwrap_or(&self.path).to_owned();
            std::fs::create_dir_all(&folder).map_err(|error| cannot(&folder, error))?;
            let temporary = NamedTempFile::new_in(&folder).map_err(|error| cannot(&path, error))?;
            Ok(NewFile { temporary, path })
        }

        /// Renames a complete file to its final name.
        pub(crate) fn persist(&mut self, new: NewFile, _object: &str) -> Result<(), Error> {
            new.temporary.persist(&new.path).map_err(|error| cannot(&new.path, error.error)).map(drop)
        }
    }

    impl Write for NewFile {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.temporary.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            self.temporary.flush()
        }
    }
}
