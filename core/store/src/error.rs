//! Errors of the store.

use blockyard_model::{Address, Pointer, Revision};

use crate::YardLocation;
use crate::bundle_user::BundleUser;

/// Maximum number of blocks that an error message lists.
const MAX_LISTED: usize = 20;

/// Error when reading or writing a yard. `String` fields contain the address of the yard, without a
/// password.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The location contains no yard.
    #[error("no yard found at `{0}`")]
    NoYard(String),
    /// The location already contains a yard.
    #[error("a yard already exists at `{0}`")]
    YardExists(String),
    /// The location is not a database, or is the database of another application.
    #[error("`{0}` is not a yard")]
    NotAYard(String),
    /// The database is corrupt.
    #[error("the yard `{0}` is damaged")]
    Corrupt(String, #[source] sqlx::Error),
    /// The yard was written by a later version of Blockyard.
    #[error("the yard `{yard}` has format {format}, which needs Blockyard {needs}")]
    Newer {
        /// Address of the yard.
        yard: String,
        /// Format of the yard.
        format: i64,
        /// Version of Blockyard that can read the format.
        needs: String,
    },
    /// The yard is read-only.
    #[error("the yard `{0}` cannot be written")]
    ReadOnly(String, #[source] sqlx::Error),
    /// No space is left for the database.
    #[error("no space left for the yard `{0}`; nothing was changed")]
    Full(String, #[source] sqlx::Error),
    /// The operation timed out or failed because of other connections. Nothing was changed.
    #[error("the yard `{0}` is busy: timed out waiting for other connections; nothing was changed")]
    Busy(String, #[source] sqlx::Error),
    /// The database server does not respond, or closed the connection. Nothing was changed.
    #[error("the database server for yard `{0}` cannot be reached")]
    Unreachable(String, #[source] sqlx::Error),
    /// The connection to the database server was lost during the commit.
    #[error(
        "lost the connection to the database server for yard `{0}` during commit; the change may or may not have been saved"
    )]
    CommitUnknown(String, #[source] sqlx::Error),
    /// The database server rejected the credentials, the database or the access.
    #[error("the database server for yard `{0}` rejected the connection")]
    Refused(String, #[source] sqlx::Error),
    /// The TLS connection that the address requires cannot be established.
    #[error("cannot establish a trusted TLS connection to the database server for yard `{0}`")]
    Untrusted(String, #[source] sqlx::Error),
    /// The address is used by an existing block.
    #[error("block `{0}` already exists")]
    Taken(Address),
    /// The address is used by a deleted block, which keeps it permanently.
    #[error("the name `{0}` belongs to a deleted block and cannot be reused")]
    TakenByDeleted(Address),
    /// Another write came first.
    #[error("block `{address}` was changed in the meantime and is now at revision {newest}")]
    Moved {
        /// Address of the block.
        address: Address,
        /// Newest revision of the block.
        newest: Revision,
    },
    /// The block to change does not exist.
    #[error("block `{0}` not found")]
    NoBlock(Address),
    /// The block is deleted and must not be, or is not deleted and must be.
    #[error("block `{address}` is {}", if *.deleted { "already deleted" } else { "not deleted" })]
    DeletedOrNot {
        /// Address of the block.
        address: Address,
        /// True if the block is deleted.
        deleted: bool,
    },
    /// A block that the new revision depends on was deleted at the same time.
    #[error("block `{0}`, which the block depends on, no longer exists")]
    TargetMissing(Address),
    /// The references would form a cycle. The path begins and ends with the same block.
    #[error("the references between the blocks would form a cycle: {}", cycle(.0))]
    Cycle(Vec<Address>),
    /// Other blocks depend on the block.
    #[error("block `{address}` is in use: {} on it", built_on(.users))]
    InUse {
        /// Address of the block.
        address: Address,
        /// Dependent blocks, each with the field that holds the reference.
        users: Vec<(Address, Pointer)>,
    },
    /// The yard's key was changed by another process.
    #[error("the yard's key was changed in the meantime")]
    KeyMoved,
    /// The secrets were destroyed, but the remains of their ciphertexts could not be overwritten.
    #[error(
        "the secrets were destroyed, but the remains of their ciphertexts in the yard's files could not be overwritten"
    )]
    NotScrubbed(#[source] Box<StoreError>),
    /// The block type belongs to another bundle.
    #[error("block type `{slug}` of bundle `{bundle}` already belongs to bundle `{owner}`")]
    SlugTaken {
        /// Slug of the block type.
        slug: String,
        /// Name of the bundle that owns the type.
        owner: String,
        /// Name of the bundle to install.
        bundle: String,
    },
    /// Another version of the bundle was installed since the user approved the installation.
    #[error("another version of bundle `{0}` was installed at the same time")]
    BundleMoved(String),
    /// Blocks use versions of a bundle that are to be uninstalled.
    #[error("bundle `{bundle}` is in use by {}", blocks(.users))]
    BundleInUse {
        /// Name of the bundle.
        bundle: String,
        /// Blocks whose newest revision uses one of the versions.
        users: Vec<BundleUser>,
    },
    /// The bundle that validated a new block was uninstalled before the block was saved.
    #[error("the bundle of block `{0}` was uninstalled at the same time")]
    BundleUninstalled(Address),
    /// A version of the bundle was installed or uninstalled since the uninstallation was planned.
    #[error("the installed versions of bundle `{0}` were changed at the same time")]
    VersionsMoved(String),
    /// Another key was pinned for the bundle since the user decided about its signer.
    #[error("the signer of bundle `{0}` was changed at the same time")]
    SignerMoved(String),
    /// Any other database error.
    #[error("the yard's database reported an error")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// Classifies a database error by what the user can do about it.
    pub(crate) fn classify(error: sqlx::Error, location: &YardLocation) -> Self {
        match location {
            YardLocation::Sqlite(_) => Self::classify_sqlite(error, location.to_string()),
            YardLocation::Postgres(_) => Self::classify_postgres(error, location.to_string()),
        }
    }

    fn classify_sqlite(error: sqlx::Error, yard: String) -> Self {
        if let sqlx::Error::Io(io) = &error {
            return match io.kind() {
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    Self::ReadOnly(yard, error)
                }
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full(yard, error),
                _ => Self::Database(error),
            };
        }
        let code = error.as_database_error().and_then(|e| e.code().map(|c| c.into_owned()));
        // The low byte is the primary result code: https://www.sqlite.org/rescode.html
        let code = code.and_then(|code| code.parse::<i64>().ok());
        // SQLITE_IOERR_SHMSIZE: no space for the index of the write-ahead log.
        if code == Some(4874) {
            return Self::Full(yard, error);
        }
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => Self::Busy(yard, error),
            // SQLITE_READONLY; SQLITE_CANTOPEN, for the journal or write-ahead log files.
            Some(8 | 14) => Self::ReadOnly(yard, error),
            Some(11) => Self::Corrupt(yard, error),
            Some(13) => Self::Full(yard, error),
            Some(26) => Self::NotAYard(yard),
            _ => match &error {
                sqlx::Error::PoolTimedOut => Self::Busy(yard, error),
                _ => Self::Database(error),
            },
        }
    }

    fn classify_postgres(error: sqlx::Error, yard: String) -> Self {
        // https://www.postgresql.org/docs/current/errcodes-appendix.html
        let code = error.as_database_error().and_then(|e| e.code().map(|c| c.into_owned()));
        match (code.as_deref(), &error) {
            (None, sqlx::Error::Tls(_)) => Self::Untrusted(yard, error),
            // The error kind that rustls uses for an invalid certificate.
            (None, sqlx::Error::Io(io)) if io.kind() == std::io::ErrorKind::InvalidData => Self::Untrusted(yard, error),
            (Some("53100"), _) => Self::Full(yard, error),
            (Some("25006"), _) => Self::ReadOnly(yard, error),
            (Some("57014" | "55P03" | "40001" | "40P01" | "53300"), _) => Self::Busy(yard, error),
            // The server was shut down, or an administrator terminated the connection.
            (Some(code), _) if code.starts_with("57P") || code.starts_with("08") => Self::Unreachable(yard, error),
            (Some(code), _) if code.starts_with("28") || matches!(code, "3D000" | "42501") => {
                Self::Refused(yard, error)
            }
            (Some("XX001" | "XX002"), _) => Self::Corrupt(yard, error),
            (None, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed) => {
                Self::Unreachable(yard, error)
            }
            // The connection was closed in the middle of a message.
            (None, sqlx::Error::Protocol(_)) => Self::Unreachable(yard, error),
            _ => Self::Database(error),
        }
    }
}

fn cycle(path: &[Address]) -> String {
    path.iter().map(|address| format!("`{address}`")).collect::<Vec<_>>().join(" → ")
}

fn blocks(users: &[BundleUser]) -> String {
    let mut shown: Vec<String> =
        users.iter().take(MAX_LISTED).map(|user| format!("`{}` ({})", user.address, user.version)).collect();
    if users.len() > MAX_LISTED {
        shown.push(format!("and {} more", users.len() - MAX_LISTED));
    }
    shown.join(", ")
}

fn built_on(users: &[(Address, Pointer)]) -> String {
    let shown: Vec<String> =
        users.iter().map(|(address, pointer)| format!("`{address}` (`{}`)", pointer.dotted())).collect();
    format!("{} depend{}", shown.join(", "), if users.len() == 1 { "s" } else { "" })
}
