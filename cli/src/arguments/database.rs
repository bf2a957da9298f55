//! Arguments of commands for databases.

use std::path::PathBuf;

use blockyard::PinnedAddress;
use clap::Args;

use crate::tabular::Format;

/// An SQL statement with its parameters, and the block that runs it.
#[derive(Debug, Args)]
pub(crate) struct Statement {
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: PinnedAddress,
    /// SQL statement, with parameters as `:name`; `@FILE` reads it from a file.
    #[arg(value_name = "SQL")]
    pub(crate) text: String,
    /// Parameter of the statement, e.g. `id=7`. Numbers, `true`, `false`, `null`, lists and objects
    /// are parsed as JSON. Other values are strings, and so are numbers that parsing would change,
    /// such as `1.10`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) param: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) statement: Statement,
    /// Output format. Default: derived from the extension of `--out`, else a table.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Output file, written atomically.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Transfer {
    #[command(flatten)]
    pub(crate) statement: Statement,
    /// Block that receives the rows, TYPE/NAME. Its type has an operation `load`.
    #[arg(value_name = "TO")]
    pub(crate) to: PinnedAddress,
    /// Table that receives the rows. Created if it does not exist.
    #[arg(long)]
    pub(crate) table: String,
    /// Schema of the table.
    #[arg(long)]
    pub(crate) schema: Option<String>,
    /// `append` requires that the table exists, `create` that it does not. By default, both are
    /// accepted.
    #[arg(long, value_parser = ["append", "create"])]
    pub(crate) mode: Option<String>,
}
