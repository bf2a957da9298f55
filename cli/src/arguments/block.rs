//! Arguments of commands for blocks.

use std::path::PathBuf;
use std::str::FromStr;

use blockyard::{Address, Error, PinnedAddress, Reason};
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

/// A block to change.
#[derive(Debug, Args)]
pub(crate) struct ChangedBlock {
    /// Block address, TYPE/NAME.
    pub(crate) address: Address,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// The reason of a change.
#[derive(Debug, Args)]
pub(crate) struct Message {
    /// Reason of the change, which `history` and `audit` show. One line of at most 1,000 characters,
    /// without secrets.
    #[arg(short, long = "message", value_name = "TEXT")]
    pub(crate) message: Option<String>,
}

impl Message {
    /// Returns the reason, if one is given.
    pub(crate) fn reason(&self) -> Result<Option<Reason>, Error> {
        Ok(self.message.as_deref().map(Reason::new).transpose()?)
    }
}

/// Field values.
#[derive(Debug, Clone, Args)]
pub(crate) struct Fields {
    /// Set a field, e.g. `port=5432`; `a.b=1` sets a nested field; `@FILE` as the value reads a
    /// file.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    /// Read the configuration as JSON from a file, or from standard input with `-`. `set` merges
    /// it: fields and secrets that it omits keep their values at every depth; lists are replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) json_config: Option<PathBuf>,
    /// Set a secret: `FIELD` prompts for it or its source, `FIELD=-` reads standard input, `FIELD=@FILE` stores
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
    #[command(flatten)]
    pub(crate) message: Message,
}

#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// Block to copy, TYPE/NAME or TYPE/NAME@REVISION.
    #[arg(value_name = "ORIGINAL")]
    pub(crate) original: PinnedAddress,
    /// Address of the copy, TYPE/NAME.
    pub(crate) address: Address,
    #[command(flatten)]
    pub(crate) fields: Fields,
    /// Remove a field.
    #[arg(long, value_name = "FIELD")]
    pub(crate) unset: Vec<String>,
    #[command(flatten)]
    pub(crate) message: Message,
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
    #[command(flatten)]
    pub(crate) message: Message,
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
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION. Default: the newest revision of the first block.
    pub(crate) after: Option<PinnedAddress>,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Block address with the revision to restore, TYPE/NAME@REVISION.
    pub(crate) address: PinnedAddress,
    #[command(flatten)]
    pub(crate) message: Message,
}

#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// Block address, TYPE/NAME.
    pub(crate) address: Address,
    /// Skip the confirmation prompt. Destroyed secrets cannot be recovered.
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) message: Message,
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
pub(crate) struct Exec {
    /// Environment variable and the field that it receives, e.g.
    /// `PGPASSWORD=sql-database/warehouse:password`. Repeat for each variable.
    #[arg(long, value_name = "NAME=TYPE/NAME:FIELD", required = true)]
    pub(crate) env: Vec<Variable>,
    /// Skip the confirmation prompt.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// An environment variable of a program, and the field that it receives.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) address: PinnedAddress,
    pub(crate) field: String,
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(name, value)| Some((name, value.split_once(':')?)));
        let Some((name, (address, field))) = parts else {
            return Err("expected `NAME=TYPE/NAME:FIELD`, e.g. `PGPASSWORD=sql-database/warehouse:password`".to_owned());
        };
        let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || !name.chars().all(is_name) {
            return Err(format!(
                "`{name}` is not the name of an environment variable: use letters, digits and `_`, and begin with a letter or `_`"
            ));
        }
        if field.is_empty() {
            return Err(format!("the field of `{address}` is missing: write `{name}={address}:FIELD`"));
        }
        let address = address.parse().map_err(|error: blockyard::model::AddressError| error.to_string())?;
        Ok(Self { name: name.to_owned(), address, field: field.to_owned() })
    }
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
    /// Include the deletion of the blocks that the set of the file created and that the file does not
    /// contain any more. The line `set = "NAME"` in the file names the set. Other blocks are never deleted.
    #[arg(long)]
    pub(crate) prune: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) plan: PlanFile,
    /// Skip the confirmation prompt. Without a terminal, only deletions require it.
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) message: Message,
}
