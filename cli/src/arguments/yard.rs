//! Arguments of commands for yards.

use std::path::PathBuf;

use blockyard::Address;
use clap::{Args, Subcommand, ValueEnum};

/// Location of a new yard's key.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeyLocation {
    /// The operating system's keyring.
    Keyring,
    /// A file readable only by its owner: the one at BLOCKYARD_KEY_FILE, or one beside the yard.
    File,
    /// Not stored: every command reads the key from BLOCKYARD_KEY.
    Env,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Location of the key. Default: the keyring, or a file if no keyring is available.
    #[arg(long, value_name = "PLACE", env = "BLOCKYARD_INIT_KEY")]
    pub(crate) key: Option<KeyLocation>,
}

#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Show the location and availability of the yard's key, and the progress of a rotation.
    #[command(after_help = "Example:\n  blockyard key status")]
    Status,
    /// Replace the yard's key. An interrupted rotation can be resumed by running the command again.
    #[command(after_help = "Example:\n  blockyard key rotate")]
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Location of the new key: `keyring`, `file`, or `env:NAME`. The variable must already contain
    /// the key, and every later command requires it. Default: the location of the old key.
    #[arg(long, value_name = "PLACE")]
    pub(crate) to: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Show only entries about this block.
    #[arg(long, value_name = "TYPE/NAME")]
    pub(crate) block: Option<Address>,
    /// Show only entries since this time: a date, an RFC 3339 time, or a duration before now such
    /// as `2h` or `7d`.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Maximum number of entries, newest first.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Also check that the registries can be reached, and show the credentials that they receive.
    #[arg(long)]
    pub(crate) online: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Project folder, its blockyard.toml, or the file of a SQLite yard. Default: the nearest
    /// blockyard.toml, searching from the current folder upwards.
    pub(crate) path: Option<PathBuf>,
    /// List trusted project files and yards.
    #[arg(long, conflicts_with_all = ["path", "revoke"])]
    pub(crate) list: bool,
    /// Revoke the trust in PATH.
    #[arg(long)]
    pub(crate) revoke: bool,
}
