//! Configuration of a program that opens a yard.

use std::path::PathBuf;

use blockyard_model::SourcePattern;

use crate::key_source::KeySource;
use crate::{Project, Trust};

/// Configuration of a program that opens a yard.
#[derive(Debug, Clone, Default)]
pub struct YardConfig {
    /// Source of the yard's key.
    pub key: KeySource,
    /// Folder on this machine for the key files of yards on servers. Key files of SQLite yards are
    /// stored beside the yard.
    pub keys: Option<PathBuf>,
    /// Folder that caches compiled code across processes. `None` caches it in memory only.
    pub cache: Option<PathBuf>,
    /// User and host for the audit trail, such as `ada@build-1`. Empty means unknown.
    pub actor: String,
    /// Trust decisions of this user on this machine. A SQLite yard that is created with it is
    /// recorded as this user's own. With `None`, no yard counts as this user's own.
    pub trust: Option<Trust>,
    /// Variables and files that blocks of any yard may use as secret sources. Other `env:` and
    /// `file:` sources are read only from a SQLite yard that is this user's own according to
    /// `trust`, and that no other user can write.
    pub sources: Vec<SourcePattern>,
    /// Project file that names the yard. A yard inside the project's folder is opened only if it is
    /// trusted in `trust`.
    pub project: Option<Project>,
    /// Bundles reach no server and no file, whatever is granted. For tests of bundles.
    pub isolated: bool,
}
