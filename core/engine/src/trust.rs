//! Stores the trust decisions of this user on this machine: project files that may make decisions
//! for the user, and yards that the user created or adopted.
//!
//! Each decision is stored in a separate file, so that concurrent processes do not overwrite each
//! other's decisions. The file name is the digest of the path that the decision concerns.

use std::io;
use std::path::{Path, PathBuf};

use blockyard_model::Digest;
use blockyard_registry::ProjectFile;
use blockyard_store::{Store, YardLocation};
use serde::{Deserialize, Serialize};

use crate::ownership::{folder_of, make_private_folder, not_own, write_private};
use crate::{Code, Error, ErrorKind, Project};

/// Format version of the decision files.
const FORMAT: u32 = 1;

/// Folder with the trust decisions of this user.
#[derive(Debug, Clone)]
pub struct Trust {
    folder: PathBuf,
}

/// A trust decision, as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trusted {
    /// Kind of the trusted item.
    pub kind: TrustedKind,
    /// Path of the project file or yard.
    pub path: String,
    /// sha256 of the project file when it was trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// ID of the yard, or of the yard inside the project's folder when it was trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yard: Option<String>,
    /// State of the file compared to the decision. Yards are compared only when they are opened.
    pub state: TrustState,
}

/// Kind of a trusted item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustedKind {
    /// A project file.
    Project,
    /// A SQLite yard that this user created on this machine.
    #[serde(rename = "made-yard")]
    CreatedYard,
    /// A SQLite yard that this user adopted.
    #[serde(rename = "taken-yard")]
    AdoptedYard,
}

/// State of a file compared to its trust decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustState {
    /// The file is unchanged since it was trusted.
    Trusted,
    /// The file changed since it was trusted, and is no longer trusted.
    Changed,
    /// The file does not exist.
    Missing,
    /// The file was never trusted.
    Untrusted,
}

/// Content of a decision file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    kind: TrustedKind,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    yard: Option<String>,
}

/// Item that a path refers to.
#[derive(Debug, Clone)]
pub enum TrustTarget {
    /// A project file.
    Project(Box<Project>),
    /// A SQLite yard.
    Yard(PathBuf),
}

impl TrustTarget {
    /// Resolves a path: the folder of a project, a project file, or a yard's file.
    ///
    /// # Errors
    /// Returns an error if the path does not exist, or if the project file is invalid.
    pub fn at(path: &Path) -> Result<Self, Error> {
        let is_folder = path.metadata().map_err(|error| missing(path, &error))?.is_dir();
        if is_folder {
            let file = path.join(ProjectFile::NAME);
            file.symlink_metadata().map_err(|error| missing(&file, &error))?;
            return Ok(Self::Project(Box::new(Project::read(&file)?)));
        }
        if path.file_name().is_some_and(|name| name == ProjectFile::NAME) {
            return Ok(Self::Project(Box::new(Project::read(path)?)));
        }
        path.canonicalize().map(Self::Yard).map_err(|error| missing(path, &error))
    }
}

impl Trust {
    /// Uses the decisions in this folder. The folder is created when the first decision is
    /// recorded.
    #[must_use]
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Returns whether a project file is trusted with the content that was read.
    ///
    /// # Errors
    /// Returns an error if another user could modify the decisions.
    pub fn state(&self, project: &Project) -> Result<TrustState, Error> {
        Ok(match self.read(Subject::Project, project.path())? {
            Some(record) if record.digest == Some(project.digest().to_string()) => TrustState::Trusted,
            Some(_) => TrustState::Changed,
            None => TrustState::Untrusted,
        })
    }

    /// Trusts a project file with the content that was read, and the yard inside its folder with
    /// its current ID.
    ///
    /// # Errors
    /// Returns an error if the yard cannot be opened, or if the decision cannot be recorded.
    pub async fn trust_project(&self, project: &Project) -> Result<Trusted, Error> {
        let yard = match project.yard_file()? {
            Some(path) if path.exists() => Some(yard_id(&path).await?),
            _ => None,
        };
        let record = Record {
            version: FORMAT,
            kind: TrustedKind::Project,
            path: shown(project.path()),
            digest: Some(project.digest().to_string()),
            yard,
        };
        self.write(Subject::Project, project.path(), &record)?;
        Ok(record.listed(TrustState::Trusted))
    }

    /// Adopts the yard in a SQLite file: its `env:` and `file:` sources are read from now on,
    /// unless another user can write the yard.
    ///
    /// # Errors
    /// Returns an error if the file is not a yard, or if the decision cannot be recorded.
    pub async fn trust_yard(&self, path: &Path) -> Result<Trusted, Error> {
        let path = path.canonicalize().map_err(|error| missing(path, &error))?;
        let id = yard_id(&path).await?;
        self.record_yard(TrustedKind::AdoptedYard, &path, &id)
    }

    /// Records that this user created the yard in a SQLite file.
    pub(crate) fn record_created(&self, path: &Path, id: &str) -> Result<(), Error> {
        let path = path.canonicalize().map_err(|error| missing(path, &error))?;
        self.record_yard(TrustedKind::CreatedYard, &path, id).map(drop)
    }

    fn record_yard(&self, kind: TrustedKind, path: &Path, id: &str) -> Result<Trusted, Error> {
        let record = Record { version: FORMAT, kind, path: shown(path), digest: None, yard: Some(id.to_owned()) };
        self.write(Subject::Yard, path, &record)?;
        Ok(record.listed(TrustState::Trusted))
    }

    /// Checks whether this user created or adopted the yard in a SQLite file.
    pub(crate) fn is_own_yard(&self, path: &Path, id: &str) -> Result<bool, Error> {
        let path = path.canonicalize().map_err(|error| missing(path, &error))?;
        Ok(self.read(Subject::Yard, &path)?.is_some_and(|record| record.yard.as_deref() == Some(id)))
    }

    /// Rejects a yard inside a project's folder that this user neither created, nor adopted, nor
    /// trusted with the project.
    pub(crate) fn permit_yard(&self, project: &Project, path: &Path, id: &str) -> Result<(), Error> {
        if self.is_own_yard(path, id)? {
            return Ok(());
        }
        let record = self.read(Subject::Project, project.path())?;
        let known = record.and_then(|record| record.yard);
        if known.as_deref() == Some(id) {
            return Ok(());
        }
        let message =
            format!("the yard `{}` of the project `{}` is not trusted", path.display(), project.path().display());
        let reason = match known {
            Some(_) => "it is not the yard that existed when the project was trusted",
            None => "you did not create it, and it did not exist when the project was trusted",
        };
        let code = Code::ProjectYardUntrusted { folder: project.folder().to_owned() };
        Err(Error::new(ErrorKind::Denied, message).because(reason).code(code))
    }

    /// Lists all decisions, sorted by path.
    ///
    /// # Errors
    /// Returns an error if another user could modify the decisions, or if one of them cannot be
    /// read.
    pub fn list(&self) -> Result<Vec<Trusted>, Error> {
        if !self.is_usable()? {
            return Ok(Vec::new());
        }
        let mut listed = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(|error| self.unreadable(&self.folder, error))? {
            let path = entry.map_err(|error| self.unreadable(&self.folder, error))?.path();
            if path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            if let Some(record) = self.record(&path)? {
                let state = state_now(&record);
                listed.push(record.listed(state));
            }
        }
        listed.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listed)
    }

    /// Revokes the trust in a project (given by its folder or file) or in a yard (given by its
    /// file). The path need not exist.
    ///
    /// # Errors
    /// Returns an error if nothing at the path is trusted.
    pub fn revoke(&self, path: &Path) -> Result<Vec<Trusted>, Error> {
        let path = std::path::absolute(path).map_err(|error| missing(path, &error))?;
        let in_folder = folder_of(&path).canonicalize().unwrap_or_else(|_| folder_of(&path).to_owned());
        let unresolved = in_folder.join(path.file_name().unwrap_or_default());
        let resolved = path.canonicalize().unwrap_or_else(|_| unresolved.clone());
        let subjects = [
            (Subject::Project, unresolved.clone()),
            (Subject::Project, resolved.join(ProjectFile::NAME)),
            (Subject::Yard, resolved),
            (Subject::Yard, unresolved),
        ];
        let mut revoked = Vec::new();
        for (subject, path) in subjects {
            let Some(record) = self.read(subject, &path)? else { continue };
            let file = self.file(subject, &path);
            std::fs::remove_file(&file).map_err(|error| self.unreadable(&file, error))?;
            revoked.push(record.listed(TrustState::Untrusted));
        }
        if revoked.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, format!("nothing at `{}` is trusted", path.display()))
                .code(Code::NothingTrusted));
        }
        Ok(revoked)
    }

    /// Checks that no other user could modify the decisions, before an operation depends on one.
    ///
    /// # Errors
    /// Returns an error if another user could modify them.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.is_usable().map(drop)
    }

    /// Returns `false` if the folder of decisions does not exist.
    fn is_usable(&self) -> Result<bool, Error> {
        match not_own(&self.folder) {
            Ok(None) => Ok(true),
            Ok(Some(reason)) => Err(self.changeable(reason)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.unreadable(&self.folder, error)),
        }
    }

    fn read(&self, subject: Subject, path: &Path) -> Result<Option<Record>, Error> {
        if !self.is_usable()? {
            return Ok(None);
        }
        let record = self.record(&self.file(subject, path))?;
        // The file name is only a digest, so the path and the kind in the content are compared as
        // well.
        Ok(record.filter(|record| record.path == shown(path) && record.subject() == subject))
    }

    fn record(&self, file: &Path) -> Result<Option<Record>, Error> {
        match not_own(file) {
            Ok(None) => {}
            Ok(Some(reason)) => return Err(self.changeable(reason)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unreadable(file, error)),
        }
        let text = std::fs::read(file).map_err(|error| self.unreadable(file, error))?;
        let record: Record = serde_json::from_slice(&text).map_err(|error| self.unreadable(file, error))?;
        if record.version != FORMAT {
            return Err(self.unreadable(file, format!("unknown format version {}", record.version)));
        }
        Ok(Some(record))
    }

    fn write(&self, subject: Subject, path: &Path, record: &Record) -> Result<(), Error> {
        make_private_folder(&self.folder).map_err(|error| self.unwritable(error))?;
        self.check()?;
        let text = serde_json::to_vec_pretty(record).expect("a record is JSON");
        write_private(&self.file(subject, path), &text).map_err(|error| self.unwritable(error))
    }

    fn file(&self, subject: Subject, path: &Path) -> PathBuf {
        let mut named = subject.name().as_bytes().to_vec();
        named.push(0);
        named.extend_from_slice(path.as_os_str().as_encoded_bytes());
        self.folder.join(format!("{}.json", Digest::of(&named)))
    }

    fn changeable(&self, reason: String) -> Error {
        Error::new(ErrorKind::Denied, format!("the trust decisions in `{}` are not used", self.folder.display()))
            .because(reason)
            .hint("another user could add decisions to this folder: review its content, and delete it")
    }

    fn unreadable(&self, file: &Path, reason: impl ToString) -> Error {
        Error::new(ErrorKind::Denied, format!("the trust decision `{}` cannot be read", file.display()))
            .because(reason.to_string())
            .code(Code::TrustUnreadable)
    }

    fn unwritable(&self, error: io::Error) -> Error {
        Error::new(ErrorKind::Remote, format!("cannot record a trust decision in `{}`", self.folder.display()))
            .because(error)
    }
}

/// Subject of a decision. The same path can be the subject of one decision of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Project,
    Yard,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Yard => "yard",
        }
    }
}

impl Record {
    fn subject(&self) -> Subject {
        match self.kind {
            TrustedKind::Project => Subject::Project,
            TrustedKind::CreatedYard | TrustedKind::AdoptedYard => Subject::Yard,
        }
    }

    fn listed(self, state: TrustState) -> Trusted {
        Trusted { kind: self.kind, path: self.path, digest: self.digest, yard: self.yard, state }
    }
}

fn state_now(record: &Record) -> TrustState {
    let path = Path::new(&record.path);
    match record.subject() {
        Subject::Project => match std::fs::read(path) {
            Ok(bytes) if record.digest == Some(Digest::of(&bytes).to_string()) => TrustState::Trusted,
            Ok(_) => TrustState::Changed,
            Err(_) => TrustState::Missing,
        },
        Subject::Yard if path.exists() => TrustState::Trusted,
        Subject::Yard => TrustState::Missing,
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Returns the ID of the yard in a SQLite file. This does not require the key.
async fn yard_id(path: &Path) -> Result<String, Error> {
    let store = Store::open(YardLocation::Sqlite(path.to_owned())).await?;
    let id = store.yard().id.clone();
    store.close().await;
    Ok(id)
}

fn missing(path: &Path, error: &io::Error) -> Error {
    let kind = if error.kind() == io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Remote };
    Error::new(kind, format!("`{}` cannot be read", path.display())).because(error.to_string())
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("it is there").permissions().mode() & 0o777
    }

    fn only_file(folder: &Path) -> PathBuf {
        let mut files = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
        let file = files.next().expect("a file");
        assert_eq!(files.next(), None, "nothing is left over");
        file
    }

    #[tokio::test]
    async fn trust_is_for_the_bytes_that_were_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let trust = Trust::in_folder(folder.path().join("data/trust"));
        let file = folder.path().join(ProjectFile::NAME);
        write(&file, "yard = \"prod\"").expect("a file");
        let read = Project::read(&file).expect("a good file");
        assert_eq!(trust.state(&read).expect("a state"), TrustState::Untrusted);
        // The file is replaced after it was read and shown: the content that was read is trusted,
        // the current content is not.
        write(&file, "yard = \"test\"").expect("a file");
        trust.trust_project(&read).await.expect("recorded");
        assert_eq!(trust.state(&read).expect("a state"), TrustState::Trusted);
        let replaced = Project::read(&file).expect("a good file");
        assert_eq!(trust.state(&replaced).expect("a state"), TrustState::Changed);
        assert_eq!(trust.list().expect("a list")[0].state, TrustState::Changed);
        assert_eq!(mode(&folder.path().join("data/trust")), 0o700);
        assert_eq!(mode(&only_file(&folder.path().join("data/trust"))), 0o600);
        trust.revoke(folder.path()).expect("revoked");
        assert_eq!(trust.state(&read).expect("a state"), TrustState::Untrusted);
        assert_eq!(trust.revoke(folder.path()).expect_err("nothing").kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn decisions_that_other_users_can_write_are_rejected() {
        let folder = tempfile::tempdir().expect("a folder");
        let decisions = folder.path().join("trust");
        let trust = Trust::in_folder(&decisions);
        let file = folder.path().join(ProjectFile::NAME);
        write(&file, "yard = \"prod\"").expect("a file");
        let project = Project::read(&file).expect("a good file");
        trust.trust_project(&project).await.expect("recorded");
        let record = only_file(&decisions);
        for (path, loose, tight) in [(&decisions, 0o770, 0o700), (&record, 0o620, 0o600), (&decisions, 0o702, 0o700)] {
            set_permissions(path, Permissions::from_mode(loose)).expect("chmod");
            assert_eq!(trust.state(&project).expect_err("refused").kind(), ErrorKind::Denied, "{loose:o}");
            assert_eq!(trust.list().expect_err("refused").kind(), ErrorKind::Denied, "{loose:o}");
            set_permissions(path, Permissions::from_mode(tight)).expect("chmod");
        }
        // A decision for a different path does not apply, even if its file name matches.
        let other = folder.path().join("other");
        create_dir(&other).expect("a folder");
        write(other.join(ProjectFile::NAME), "yard = \"prod\"").expect("a file");
        let copy = Project::read(&other.join(ProjectFile::NAME)).expect("a good file");
        std::fs::copy(&record, trust.file(Subject::Project, copy.path())).expect("copied");
        assert_eq!(trust.state(&copy).expect("a state"), TrustState::Untrusted);
        write(&record, "{}").expect("a file");
        assert_eq!(trust.state(&project).expect_err("refused").kind(), ErrorKind::Denied);
    }
}
