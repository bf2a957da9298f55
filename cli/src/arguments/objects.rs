//! Arguments of commands for the objects of a storage service.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Cp {
    /// Source: a file, a folder, `-` for standard input, or TYPE/NAME:PATH.
    pub(crate) from: String,
    /// Destination: a file, a folder, `-` for standard output, or TYPE/NAME:PATH. Existing files
    /// and objects are replaced.
    pub(crate) to: String,
    /// Copy all files or objects below a folder or path.
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Fail if the destination already exists.
    #[arg(long)]
    pub(crate) if_absent: bool,
    /// With `-r`, skip objects whose names are not valid file names on this machine. The command
    /// lists them at the end and fails.
    #[arg(long, requires = "recursive")]
    pub(crate) skip_bad_names: bool,
    /// Media type of the stored object, e.g. `text/csv`.
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Object path prefix, TYPE/NAME:PREFIX. An empty prefix lists all objects.
    #[arg(value_name = "ADDRESS:PREFIX")]
    pub(crate) path: String,
    /// List all objects instead of one level of folders.
    #[arg(short, long)]
    pub(crate) recursive: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// Object path, TYPE/NAME:PATH.
    #[arg(value_name = "ADDRESS:PATH")]
    pub(crate) path: String,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Object path, TYPE/NAME:PATH.
    #[arg(value_name = "ADDRESS:PATH")]
    pub(crate) path: String,
    /// Skip the confirmation prompt. A removed object cannot be restored.
    #[arg(short, long)]
    pub(crate) yes: bool,
}
