//! Arguments of commands for bundles and their types.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Bundle to install: NAME or NAME@REQUIREMENT from a registry, FILE.wasm, or PATH/TO/CRATE. An
    /// argument that contains `/`, ends in `.wasm` or is `.` is a path; any other is a name,
    /// regardless of the content of the current folder.
    #[arg(required = true, value_name = "BUNDLE")]
    pub(crate) bundles: Vec<String>,
    /// Folder or registry.toml of a registry. If repeated, the first registry that contains the
    /// bundle is used. Default: the registries of a trusted blockyard.toml, those of the user's
    /// configuration file, and the one shipped with this program.
    #[arg(long, value_name = "PATH")]
    pub(crate) registry: Vec<PathBuf>,
    /// Permit building bundles that a registry provides as source code. Building runs third-party
    /// code on this machine.
    #[arg(long)]
    pub(crate) build: bool,
    /// Grant a capability that a bundle requests, or a narrower one. Can be repeated.
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) grant: Vec<String>,
    /// Approve a different source, wider effects and additional safe requests than those of the
    /// installed bundle.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Approve a new bundle, or a new version that requires no additional permissions.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Grants {
    /// Show only this bundle.
    pub(crate) bundle: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GrantChange {
    /// Name of the bundle, e.g. `sql`.
    pub(crate) bundle: String,
    /// Capabilities, as listed by `blockyard grants`.
    #[arg(required = true, value_name = "CAPABILITY")]
    pub(crate) capabilities: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Types {
    /// List only types that implement this interface, e.g. `database`.
    #[arg(long, value_name = "INTERFACE")]
    pub(crate) interface: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Type {
    /// Block type, e.g. `sql-database`.
    #[arg(value_name = "TYPE")]
    pub(crate) slug: String,
    /// Print the JSON Schema of the configuration.
    #[arg(long)]
    pub(crate) schema: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// Folder of the crate.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Output file. Default: NAME-VERSION.wasm in the current folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
