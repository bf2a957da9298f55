//! What can go wrong between a use case and its rows.

use blockyard_model::{Address, Pointer, Revision};

use crate::YardLocation;

/// Why the yard could not be read or written. Places are addresses of yards, without passwords.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no yard there.
    #[error("there is no yard at `{0}`")]
    NoYard(String),
    /// There is one already.
    #[error("there is a yard at `{0}` already")]
    YardExists(String),
    /// A database of something else, or no database.
    #[error("`{0}` is not a yard")]
    NotAYard(String),
    /// The database is damaged.
    #[error("the yard `{0}` is damaged")]
    Corrupt(String, #[source] sqlx::Error),
    /// A later Blockyard made it.
    #[error("the yard `{place}` has format {format}, which needs Blockyard {needs}")]
    Newer {
        /// The yard.
        place: String,
        /// The format that it has.
        format: i64,
        /// The version of Blockyard that reads it.
        needs: String,
    },
    /// It can be read and not written.
    #[error("the yard `{0}` cannot be written")]
    ReadOnly(String, #[source] sqlx::Error),
    /// There is no room for it.
    #[error("there is no room left where the yard `{0}` is; nothing was changed")]
    Full(String, #[source] sqlx::Error),
    /// Others write to it, and no turn came.
    #[error("the yard `{0}` is busy: no turn to write came in time; nothing was changed")]
    Busy(String, #[source] sqlx::Error),
    /// The server does not answer, or went away. Nothing was changed.
    #[error("the server of the yard `{0}` cannot be reached")]
    Unreachable(String, #[source] sqlx::Error),
    /// The server went away while it was told to commit.
    #[error("the server of the yard `{0}` went away while it saved; whether it did is not known")]
    Unsure(String, #[source] sqlx::Error),
    /// The server does not let us in.
    #[error("the server of the yard `{0}` refuses")]
    Refused(String, #[source] sqlx::Error),
    /// TLS does not come about as the address wants it.
    #[error("the server of the yard `{0}` cannot be trusted")]
    Untrusted(String, #[source] sqlx::Error),
    /// The name is in use.
    #[error("block `{0}` exists already")]
    Taken(Address),
    /// The name was in use, and stays taken.
    #[error("the name `{0}` belongs to a deleted block and is never given away again")]
    TakenByDeleted(Address),
    /// Another save came first.
    #[error("block `{address}` is at revision {newest} by now")]
    Moved {
        /// The block.
        address: Address,
        /// Its newest revision.
        newest: Revision,
    },
    /// No such block to change.
    #[error("block `{0}` not found")]
    NoBlock(Address),
    /// It is deleted, or it is not, and should be otherwise.
    #[error("block `{address}` is {}", if *.deleted { "deleted already" } else { "not deleted" })]
    DeletedOrNot {
        /// The block.
        address: Address,
        /// What it is.
        deleted: bool,
    },
    /// A block that a new revision builds on went away at this moment.
    #[error("block `{0}`, which it builds on, is not there any more")]
    TargetGone(Address),
    /// The references would lead in a circle.
    #[error("the blocks would build on each other in a circle: {}", circle(.0))]
    Circle(Vec<Address>),
    /// Other blocks build on it.
    #[error("block `{address}` is in use: {} on it", built_on(.users))]
    InUse {
        /// The block.
        address: Address,
        /// Who builds on it, and through which field.
        users: Vec<(Address, Pointer)>,
    },
    /// The yard's key is another one by now.
    #[error("the yard's key was changed in the meantime")]
    KeyMoved,
    /// Secrets were destroyed, and what is left of their ciphertexts could not be overwritten.
    #[error(
        "the secrets are destroyed, but what is left of their ciphertexts in the yard's files could not be overwritten"
    )]
    NotScrubbed(#[source] Box<StoreError>),
    /// The slug is another bundle's.
    #[error("block type `{slug}` of bundle `{newcomer}` is already that of bundle `{owner}`")]
    SlugTaken {
        /// The type.
        slug: String,
        /// Whose it is.
        owner: String,
        /// Who wants it.
        newcomer: String,
    },
    /// Another version of the bundle was installed since the user agreed.
    #[error("another version of bundle `{0}` was installed at the same time")]
    BundleMoved(String),
    /// Anything else that the database says.
    #[error("the yard's database")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// Sorts an error of the database by what a person can do about it.
    pub(crate) fn sort(error: sqlx::Error, location: &YardLocation) -> Self {
        match location {
            YardLocation::Sqlite(_) => Self::sort_sqlite(error, location.to_string()),
            YardLocation::Postgres(_) => Self::sort_postgres(error, location.to_string()),
        }
    }

    fn sort_sqlite(error: sqlx::Error, place: String) -> Self {
        if let sqlx::Error::Io(io) = &error {
            return match io.kind() {
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    Self::ReadOnly(place, error)
                }
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full(place, error),
                _ => Self::Database(error),
            };
        }
        let code = error.as_database_error().and_then(|e| e.code().map(|c| c.into_owned()));
        // The low byte is the primary result code: https://www.sqlite.org/rescode.html
        let code = code.and_then(|code| code.parse::<i64>().ok());
        // SQLITE_IOERR_SHMSIZE: no room for the index of the write-ahead log.
        if code == Some(4874) {
            return Self::Full(place, error);
        }
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => Self::Busy(place, error),
            // SQLITE_READONLY; SQLITE_CANTOPEN, of the files beside it
            Some(8 | 14) => Self::ReadOnly(place, error),
            Some(11) => Self::Corrupt(place, error),
            Some(13) => Self::Full(place, error),
            Some(26) => Self::NotAYard(place),
            _ => match &error {
                sqlx::Error::PoolTimedOut => Self::Busy(place, error),
                _ => Self::Database(error),
            },
        }
    }

    fn sort_postgres(error: sqlx::Error, place: String) -> Self {
        // https://www.postgresql.org/docs/current/errcodes-appendix.html
        let code = error.as_database_error().and_then(|e| e.code().map(|c| c.into_owned()));
        match (code.as_deref(), &error) {
            (None, sqlx::Error::Tls(_)) => Self::Untrusted(place, error),
            // How rustls says that a certificate is not good.
            (None, sqlx::Error::Io(io)) if io.kind() == std::io::ErrorKind::InvalidData => {
                Self::Untrusted(place, error)
            }
            (Some("53100"), _) => Self::Full(place, error),
            (Some("25006"), _) => Self::ReadOnly(place, error),
            (Some("57014" | "55P03" | "40001" | "40P01" | "53300"), _) => Self::Busy(place, error),
            // Shut down, or ended by its administrator.
            (Some(code), _) if code.starts_with("57P") || code.starts_with("08") => Self::Unreachable(place, error),
            (Some(code), _) if code.starts_with("28") || matches!(code, "3D000" | "42501") => {
                Self::Refused(place, error)
            }
            (Some("XX001" | "XX002"), _) => Self::Corrupt(place, error),
            (None, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed) => {
                Self::Unreachable(place, error)
            }
            // Half a message, where the connection broke.
            (None, sqlx::Error::Protocol(_)) => Self::Unreachable(place, error),
            _ => Self::Database(error),
        }
    }
}

fn circle(path: &[Address]) -> String {
    path.iter().map(|address| format!("`{address}`")).collect::<Vec<_>>().join(" → ")
}

fn built_on(users: &[(Address, Pointer)]) -> String {
    let shown: Vec<String> =
        users.iter().map(|(address, pointer)| format!("`{address}` (`{}`)", pointer.dotted())).collect();
    format!("{} build{}", shown.join(", "), if users.len() == 1 { "s" } else { "" })
}
