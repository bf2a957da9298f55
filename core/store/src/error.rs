//! What can go wrong between a use case and its rows.

use std::path::PathBuf;

use blockyard_model::{Address, Revision};

/// Why the yard could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no yard there.
    #[error("there is no yard at `{}`", .0.display())]
    NoYard(PathBuf),
    /// There is one already.
    #[error("there is a yard at `{}` already", .0.display())]
    YardExists(PathBuf),
    /// The file is a database of something else, or no database.
    #[error("`{}` is not a yard", .0.display())]
    NotAYard(PathBuf),
    /// The file is damaged.
    #[error("the yard's file `{}` is damaged", .0.display())]
    Corrupt(PathBuf, #[source] sqlx::Error),
    /// A later Blockyard made it.
    #[error("the yard `{}` was written by a later version of Blockyard (format {format})", path.display())]
    Newer {
        /// The yard.
        path: PathBuf,
        /// The format that it has.
        format: i64,
    },
    /// The file can be read and not written.
    #[error("the yard's file `{}` cannot be written", .0.display())]
    ReadOnly(PathBuf, #[source] sqlx::Error),
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
    /// No such block to save to.
    #[error("block `{0}` not found")]
    NoBlock(Address),
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
    /// Anything else that the database says.
    #[error("the yard's database")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// Sorts an error of the database by what a person can do about it.
    pub(crate) fn sort(error: sqlx::Error, path: &std::path::Path) -> Self {
        let code = error.as_database_error().and_then(|e| e.code().map(|c| c.into_owned()));
        // The low byte is the primary result code: https://www.sqlite.org/rescode.html
        let primary = code.and_then(|code| code.parse::<i64>().ok()).map(|code| code & 0xff);
        match primary {
            Some(11) => Self::Corrupt(path.to_owned(), error),
            Some(26) => Self::NotAYard(path.to_owned()),
            Some(8) => Self::ReadOnly(path.to_owned(), error),
            _ => Self::Database(error),
        }
    }
}
