//! The lock file of a project: reads it, changes it while no other program does, and writes it
//! atomically.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use blockyard_host::limits::LOCK_BYTES;
use blockyard_model::BundleName;
use blockyard_registry::{LockFile, LockedBundle, StaleEntry};
use semver::VersionReq;

use crate::folder_lock::{FolderLock, Holder, NotLocked, described};
use crate::regular_file::{NotRead, read_regular};
use crate::{Code, Error, ErrorKind, Project};

/// The lock file of a project, which no other program changes in the meantime.
#[derive(Debug)]
pub struct ProjectLock {
    project: Project,
    file: Option<LockFile>,
    _exclusive: FolderLock,
}

impl ProjectLock {
    /// Reads the lock file of a project, and reserves it until the value is dropped. If another
    /// program has reserved it, waits for that program, and calls `report` once with its name.
    ///
    /// `records` is a folder of this user for the records of such programs, `program` the name of
    /// this one.
    ///
    /// # Errors
    /// Returns an error if the file is not a valid lock file, or if another program does not
    /// release it.
    pub async fn acquire(
        project: &Project,
        records: Option<&Path>,
        program: &str,
        report: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Self, Error> {
        let path = path_of(project);
        let mut waiting = |holder: Option<&Holder>| {
            report(&format!("waiting for {}, which is changing `{}`", described(holder), path.display()));
        };
        let exclusive = FolderLock::acquire(project.folder(), records, program, &mut waiting).await;
        let exclusive = exclusive.map_err(|error| match error {
            NotLocked::Held(holder) => {
                let message = format!("`{}` is in use by {}", path.display(), described(holder.as_ref()));
                Error::new(ErrorKind::Conflict, message).hint("try again when it has finished")
            }
            NotLocked::Failed(error) => {
                let message = format!("the folder `{}` cannot be locked", project.folder().display());
                Error::new(ErrorKind::Remote, message).because(error)
            }
        })?;
        Ok(Self { file: read_lock(project)?, project: project.clone(), _exclusive: exclusive })
    }

    /// Returns the project.
    #[must_use]
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// Returns the path of the lock file, which need not exist.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        path_of(&self.project)
    }

    /// Returns the content of the lock file. `None` if it does not exist.
    #[must_use]
    pub fn file(&self) -> Option<&LockFile> {
        self.file.as_ref()
    }

    /// Returns the project's requirement for a bundle. `None` if the project does not require it.
    #[must_use]
    pub fn requirement(&self, name: &BundleName) -> Option<&VersionReq> {
        self.project.file().bundles.get(name)
    }

    /// Checks whether the locked release of a bundle satisfies the project's requirement and
    /// another one.
    #[must_use]
    pub fn fits(&self, name: &BundleName, requirement: &VersionReq) -> bool {
        let own = self.requirement(name);
        let fits = |lock: &LockFile, requirement: &VersionReq| lock.fitting(name, requirement).is_some();
        self.file().is_some_and(|lock| fits(lock, requirement) && own.is_some_and(|own| fits(lock, own)))
    }

    /// Returns the locked release of a bundle.
    pub(crate) fn locked(&self, name: &BundleName) -> Result<&LockedBundle, Error> {
        let locked = self.file().and_then(|lock| lock.bundles().get(name));
        locked.ok_or_else(|| self.outdated(&[StaleEntry::Missing(name.clone())]))
    }

    /// Returns the position of a bundle in the lock file, for messages.
    pub(crate) fn position(&self, name: &BundleName) -> String {
        let line = self.file().and_then(|lock| lock.line_of(name));
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        format!("`{}`{line}", self.path().display())
    }

    /// Checks that the lock file exists, and that its bundles are those that the project requires.
    ///
    /// # Errors
    /// Returns an error that lists all differences.
    pub fn require_current(&self) -> Result<(), Error> {
        let Some(lock) = self.file() else {
            let message = format!("lock file `{}` does not exist", self.path().display());
            return Err(Error::new(ErrorKind::Conflict, message).code(Code::LockOutdated { differences: Vec::new() }));
        };
        match lock.outdated(&self.project.file().bundles).as_slice() {
            [] => Ok(()),
            outdated => Err(self.outdated(outdated)),
        }
    }

    fn outdated(&self, outdated: &[StaleEntry]) -> Error {
        let differences: Vec<String> = outdated.iter().map(ToString::to_string).collect();
        let message = format!("`{}` is outdated", self.path().display());
        Error::new(ErrorKind::Conflict, message)
            .because(differences.join("; "))
            .code(Code::LockOutdated { differences })
    }

    /// Locks these releases, and removes the bundles that the project does not require. A release
    /// that does not satisfy the project's requirement is not locked. Returns `false` if this
    /// changes nothing.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written. It is then unchanged.
    pub fn update(&mut self, releases: BTreeMap<BundleName, LockedBundle>) -> Result<bool, Error> {
        let required = &self.project.file().bundles;
        let mut file = self.file.clone().unwrap_or_default();
        file.retain(required);
        for (name, release) in releases {
            if required.get(&name).is_some_and(|requirement| requirement.matches(&release.version)) {
                file.insert(name, release);
            }
        }
        let path = self.path();
        let nothing_to_lock = self.file.is_none() && file.bundles().is_empty();
        if nothing_to_lock || self.file.as_ref() == Some(&file) {
            return Ok(false);
        }
        write(&path, file.to_string().as_bytes()).map_err(|error| {
            Error::new(ErrorKind::Remote, format!("`{}` cannot be written", path.display()))
                .because(error)
                .hint("the bundles are installed, but not locked")
        })?;
        self.file = Some(file);
        Ok(true)
    }
}

fn path_of(project: &Project) -> PathBuf {
    project.folder().join(LockFile::NAME)
}

/// Reads the lock file of a project. Returns `None` if it does not exist.
pub(crate) fn read_lock(project: &Project) -> Result<Option<LockFile>, Error> {
    let path = path_of(project);
    let named = |kind, reason: &str| Error::new(kind, format!("`{}` {reason}", path.display()));
    let unreadable = |reason: String| named(ErrorKind::Invalid, "cannot be read").because(reason);
    let bytes = match read_regular(&path, LOCK_BYTES) {
        Ok(bytes) => bytes,
        Err(NotRead::Failed(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(NotRead::Failed(error)) => return Err(unreadable(error.to_string())),
        Err(NotRead::Replaced) => return Err(unreadable("it was replaced while it was read".to_owned())),
        Err(NotRead::TooLarge) => return Err(unreadable(format!("it has more than {LOCK_BYTES} bytes"))),
        Err(NotRead::Irregular) => {
            return Err(named(ErrorKind::Denied, "is not a regular file, and was not used")
                .hint("replace it with a regular file, or delete it"));
        }
    };
    let text = String::from_utf8(bytes).map_err(|error| unreadable(error.utf8_error().to_string()))?;
    LockFile::parse(&text).map(Some).map_err(|error| {
        Error::new(ErrorKind::Invalid, format!("`{}`: {error}", path.display()))
            .code(Code::LockInvalid { path: path.clone() })
    })
}

/// Writes a file atomically. Keeps the permissions of the file that it replaces; a new file is
/// readable by everyone whom the umask permits.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
    let mut file = builder.prefix(".blockyard-").tempfile_in(folder)?;
    if let Some(permissions) = permissions(path)? {
        file.as_file().set_permissions(permissions)?;
    }
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The name of the file is on disk, too. Folders of some file systems cannot be synchronized.
    let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Returns the permissions of a file. `None` if it does not exist.
fn permissions(path: &Path) -> io::Result<Option<Permissions>> {
    match path.symlink_metadata() {
        Ok(metadata) => Ok(Some(metadata.permissions())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{read_to_string, set_permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use blockyard_model::{Digest, WIT_VERSION};
    use blockyard_registry::{LockedSource, ProjectFile};
    use semver::Version;

    use super::*;

    fn project(folder: &Path, bundles: &str) -> Project {
        let path = folder.join(ProjectFile::NAME);
        std::fs::write(&path, format!("[bundles]\n{bundles}")).expect("a file");
        Project::read(&path).expect("a good file")
    }

    fn releases(name: &str, version: Version) -> BTreeMap<BundleName, LockedBundle> {
        let release = LockedBundle {
            sha256: Digest::of(version.to_string().as_bytes()),
            version,
            source: LockedSource::new("acme", None),
            signer: None,
            wit: WIT_VERSION.to_owned(),
            capabilities: ["log".parse().expect("a capability")].into(),
        };
        [(BundleName::new(name).expect("a name"), release)].into()
    }

    async fn acquire(project: &Project) -> Result<ProjectLock, Error> {
        ProjectLock::acquire(project, None, "test", &mut |_| ()).await
    }

    #[tokio::test]
    async fn releases_are_locked_within_the_requirements() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = project(folder.path(), "zoo = \"^1\"\n");
        let mut lock = acquire(&own).await.expect("no file");
        assert!(lock.require_current().is_err() && lock.file().is_none());
        assert!(!lock.update(releases("zoo", Version::new(2, 0, 0))).expect("nothing to lock"));
        assert!(!lock.update(releases("other", Version::new(1, 0, 0))).expect("nothing to lock"));
        assert!(!lock.path().exists());
        assert!(lock.update(releases("zoo", Version::new(1, 2, 0))).expect("written"));
        assert!(!lock.update(releases("zoo", Version::new(1, 2, 0))).expect("the same"));
        lock.require_current().expect("it is current");
        let name = BundleName::new("zoo").expect("a name");
        assert!(lock.fits(&name, &VersionReq::STAR) && !lock.fits(&name, &"^1.3".parse().expect("a requirement")));
        drop(lock);
        let changed = project(folder.path(), "ark = \"^1\"\n");
        let mut lock = acquire(&changed).await.expect("a good file");
        let outdated = lock.require_current().expect_err("another bundle");
        assert_eq!(outdated.kind(), ErrorKind::Conflict);
        assert_eq!(outdated.causes(), ["`ark` is not locked; `zoo` is locked, but the project does not require it"]);
        assert!(lock.update(BTreeMap::new()).expect("written"), "bundles that are not required are removed");
        assert!(!read_to_string(lock.path()).expect("a file").contains("zoo"));
    }

    #[tokio::test]
    async fn permissions_of_the_file_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = project(folder.path(), "zoo = \"^1\"\n");
        let mut lock = acquire(&own).await.expect("no file");
        lock.update(releases("zoo", Version::new(1, 0, 0))).expect("written");
        let mode = || lock_mode(&folder.path().join(LockFile::NAME));
        for expected in [0o640, 0o600, 0o664] {
            set_permissions(lock.path(), Permissions::from_mode(expected)).expect("chmod");
            lock.update(releases("zoo", Version::new(1, 0, expected.into()))).expect("written");
            assert_eq!(mode(), expected);
        }
        let names: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").flatten().collect();
        assert_eq!(names.len(), 2, "no temporary file is left over: {names:?}");
    }

    fn lock_mode(path: &Path) -> u32 {
        path.metadata().expect("a file").permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn irregular_and_large_files_are_rejected() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = project(folder.path(), "zoo = \"^1\"\n");
        let path = folder.path().join(LockFile::NAME);
        symlink(folder.path().join("other"), &path).expect("a link");
        let refused = acquire(&own).await.expect_err("a link");
        assert_eq!(refused.kind(), ErrorKind::Denied);
        assert!(refused.to_string().contains("blockyard.lock` is not a regular file"), "{refused}");
        std::fs::remove_file(&path).expect("gone");
        std::fs::create_dir(&path).expect("a folder");
        assert_eq!(acquire(&own).await.expect_err("a folder").kind(), ErrorKind::Denied);
        std::fs::remove_dir(&path).expect("gone");
        for content in [&b"#".repeat((1 << 20) + 1)[..], b"\xff"] {
            std::fs::write(&path, content).expect("a file");
            let refused = acquire(&own).await.expect_err("not readable");
            assert_eq!(refused.kind(), ErrorKind::Invalid);
        }
        std::fs::write(&path, "version = 1\n<<<<<<< ours\n").expect("a file");
        let refused = acquire(&own).await.expect_err("a conflict");
        assert!(refused.to_string().ends_with("blockyard.lock`: line 2: contains the marker of a merge conflict"));
    }
}
