//! Arguments of commands for blocks.

use std::path::PathBuf;

use blockyard::{Address, PinnedAddress};
use clap::Args;

/// A block, in all its revisions.
#[derive(Debug, Args)]
pub(crate) struct BlockArgument {
    /// Block address, TYPE/NAME.
    pub(crate) address: Address,
}

/// A block, in its newest revision or another one.
#[derive(Debug, Args)]
pub(crate) struct PinnedArgument {
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: PinnedAddress,
}

/// Field values.
#[derive(Debug, Args)]
pub(crate) struct Fields {
    /// Set a field, e.g. `port=5432`; `a.b=1` sets a nested field; `@FILE` as the value reads a
    /// file.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    /// Read the configuration as JSON from a file, or from standard input with `-`. `set` merges
    /// it: fields and secrets that it omits keep their values at every depth; lists are replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) json_config: Option<PathBuf>,
    /// Set a secret: `FIELD` prompts for it, `FIELD=-` reads standard input, `FIELD=@FILE` stores
    /// the content of a file; `FIELD=env:NAME`, `FIELD=file:PATH` and `FIELD=block:TYPE/NAME` are
    /// sources that are read at each call. One trailing newline is removed from values of `-`,
    /// `@FILE`, `env:` and `file:`.
    #[arg(long, value_name = "FIELD[=SOURCE]")]
    pub(crate) secret: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Block address, TYPE/NAME.
    pub(crate) address: Address,
    #[command(flatten)]
    pub(crate) fields: Fields,
    /// Validate the block without saving it.
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Block address, TYPE/NAME.
    pub(crate) address: Address,
    #[command(flatten)]
    pub(crate) fields: Fields,
    /// Remove a field.
    #[arg(long, value_name = "FIELD")]
    pub(crate) unset: Vec<String>,
    /// Save only if this is the newest revision.
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// List only blocks whose address contains this text.
    pub(crate) word: Option<String>,
    /// List only blocks of this type.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) type_slug: Option<String>,
    /// List only blocks whose type implements this interface.
    #[arg(long, value_name = "INTERFACE")]
    pub(crate) interface: Option<String>,
    /// Maximum number of blocks.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
    /// List only blocks after this address: the next page.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) after: Option<Address>,
    /// List deleted blocks instead of live ones.
    #[arg(long)]
    pub(crate) deleted: bool,
    /// Print only the number of blocks on all pages.
    #[arg(long)]
    pub(crate) count: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) before: PinnedAddress,
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) after: PinnedAddress,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Block address with the revision to restore, TYPE/NAME@REVISION.
    pub(crate) address: PinnedAddress,
}

#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// Block address, TYPE/NAME.
    pub(crate) address: Address,
    /// Skip the confirmation prompt. Destroyed secrets cannot be recovered.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Reveal {
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: PinnedAddress,
    /// Secret field, e.g. `password`; `a.b` for a nested field.
    pub(crate) field: String,
    /// Skip the confirmation prompt.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Blocks to export. Default: all.
    #[arg(value_name = "TYPE/NAME")]
    pub(crate) addresses: Vec<Address>,
    /// Output file. An existing file keeps its comments, its order, and blocks that are not
    /// exported.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanFile {
    /// Block file in the format of `export`, or `-` for standard input.
    pub(crate) file: PathBuf,
}
