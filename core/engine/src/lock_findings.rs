//! Compares the lock file of a project with the bundles in a yard.

use std::fmt;

use blockyard_model::BundleName;
use blockyard_registry::{LockFile, StaleEntry};
use semver::Version;

use crate::lock::read_lock;
use crate::{Error, Project, Yard};

/// A difference between the lock file of a project, the project's requirements, and the bundles in
/// a yard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockFinding {
    /// The project requires bundles, but has no lock file.
    NoLock,
    /// The lock file does not fit the project's requirements.
    Stale(StaleEntry),
    /// The locked release is not installed.
    NotInstalled {
        /// Name of the bundle.
        name: BundleName,
        /// The locked version.
        version: Version,
    },
    /// Other bytes than the locked ones are installed under the locked version.
    OtherBytes {
        /// Name of the bundle.
        name: BundleName,
        /// The locked version.
        version: Version,
        /// The locked digest.
        locked: String,
        /// The digest of the installed bytes.
        installed: String,
    },
    /// The locked release is installed, but new blocks use a newer version.
    Newer {
        /// Name of the bundle.
        name: BundleName,
        /// The locked version.
        version: Version,
        /// The newest installed version.
        newest: Version,
    },
}

impl Yard {
    /// Compares the lock file of a project with the bundles in the yard. Returns the number of locked
    /// bundles, and the differences.
    ///
    /// # Errors
    /// Returns an error if the lock file is not valid, or if the yard cannot be read.
    pub async fn compare_lock(&self, project: &Project) -> Result<(usize, Vec<LockFinding>), Error> {
        let required = &project.file().bundles;
        let Some(lock) = read_lock(project)? else {
            return Ok((0, if required.is_empty() { Vec::new() } else { vec![LockFinding::NoLock] }));
        };
        let mut findings: Vec<LockFinding> = lock.outdated(required).into_iter().map(LockFinding::Stale).collect();
        let required = lock.bundles().keys().filter(|name| required.contains_key(*name));
        for name in required {
            findings.extend(self.compare_installed(&lock, name).await?);
        }
        Ok((lock.bundles().len(), findings))
    }

    /// Compares a locked release with the installed versions of the bundle.
    async fn compare_installed(&self, lock: &LockFile, name: &BundleName) -> Result<Option<LockFinding>, Error> {
        let Some(locked) = lock.bundles().get(name) else { return Ok(None) };
        let versions = self.store().bundle_versions().await?;
        let own: Vec<_> = versions.iter().filter(|(_, other, _)| other == name.as_str()).collect();
        let (name, version) = (name.clone(), locked.version.clone());
        // Of two files with the same version, new blocks use the one that was installed last.
        let last = own.iter().rfind(|(_, _, text)| *text == version.to_string());
        Ok(match last {
            None => Some(LockFinding::NotInstalled { name, version }),
            Some((digest, _, _)) if *digest != locked.sha256 => Some(LockFinding::OtherBytes {
                name,
                version,
                locked: locked.sha256.to_string(),
                installed: digest.to_string(),
            }),
            Some(_) => {
                let newest = own.iter().filter_map(|(_, _, text)| Version::parse(text).ok()).max();
                newest.filter(|newest| *newest > version).map(|newest| LockFinding::Newer { name, version, newest })
            }
        })
    }
}

impl LockFinding {
    /// Returns `true` if the yard does not have what the project requires.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::NoLock | Self::Newer { .. })
    }
}

impl fmt::Display for LockFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLock => write!(f, "`{}` does not exist", LockFile::NAME),
            Self::Stale(outdated) => outdated.fmt(f),
            Self::NotInstalled { name, version } => write!(f, "`{name}` {version} is locked, but not installed"),
            Self::OtherBytes { name, version, locked, installed } => {
                write!(f, "`{name}` {version} is locked with sha256 {locked}, but installed with sha256 {installed}")
            }
            Self::Newer { name, version, newest } => {
                write!(f, "`{name}` is locked at {version}, but new blocks use {newest}, which is installed, too")
            }
        }
    }
}
