//! Arguments of commands for bundles and their types.

use std::path::PathBuf;
use std::str::FromStr;

use blockyard::PublicKey;
use blockyard::model::{BundleName, TypeSlug};
use clap::Args;
use semver::{Version, VersionReq};

use super::block::Message;

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Bundle to install: NAME or NAME@REQUIREMENT from a registry, FILE.wasm, or PATH/TO/CRATE. An
    /// argument that contains `/`, ends in `.wasm` or is `.` is a path; any other is a name,
    /// regardless of the content of the current folder. Default: the bundles of a trusted
    /// blockyard.toml, by the blockyard.lock beside it.
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundles: Vec<String>,
    /// Registry: a folder or its registry.toml, `https://…` or `oci://HOST/NAMESPACE`. If repeated,
    /// the first registry that contains the bundle is used. Default: the registries of a trusted
    /// blockyard.toml, those of the user's configuration file, and the one shipped with this program.
    #[arg(long, value_name = "REGISTRY")]
    pub(crate) registry: Vec<PathBuf>,
    /// Use only local registries, and what was downloaded before from others. No connection is
    /// opened.
    #[arg(long)]
    pub(crate) offline: bool,
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
    /// Accept this key of a registry, a minisign public key, in place of the pinned one.
    #[arg(long, value_name = "KEY")]
    pub(crate) accept_key: Option<PublicKey>,
    /// Approve a new bundle, or a new version that requires no additional permissions.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Install exactly what blockyard.lock names. A missing or outdated lock file is an error, and
    /// the file is not changed.
    #[arg(long, conflicts_with = "accept_key")]
    pub(crate) locked: bool,
}

/// Selection of registries.
#[derive(Debug, Args)]
pub(crate) struct Registries {
    /// Folder or registry.toml of a registry. If given, no others are used. Can be repeated.
    #[arg(long, value_name = "PATH")]
    pub(crate) registry: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Show only bundles whose name, description or types contain this word.
    pub(crate) word: Option<String>,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

#[derive(Debug, Args)]
pub(crate) struct Info {
    /// Name of the bundle, e.g. `sql`.
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: String,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// Bundle to uninstall: NAME for all its versions, or NAME@VERSION.
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: BundleVersion,
    /// Skip the confirmation prompt.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// A bundle, or one version of it: NAME or NAME@VERSION.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BundleVersion {
    pub(crate) name: BundleName,
    pub(crate) version: Option<Version>,
}

impl FromStr for BundleVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => {
                let parsed = Version::parse(version);
                let wrong = |_| format!("`{version}` is not a version; write for example `sql@0.1.2`");
                (name, Some(parsed.map_err(wrong)?))
            }
            None => (text, None),
        };
        let name = BundleName::new(name).map_err(|error| error.to_string())?;
        Ok(Self { name, version })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// Bundle to upgrade: NAME for its newest version, or NAME@VERSION for a given version, which may
    /// be older. Default: all installed bundles.
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: Option<String>,
    /// Show what the upgrade would change, and change nothing. The exit code is 8 if it would change
    /// something, 4 or 7 if a block cannot be converted, and 0 otherwise. Missing agreement is not an
    /// error.
    #[arg(long)]
    pub(crate) plan: bool,
    /// Approve a new version that requires no additional permissions.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Grant a capability that the new version requests, or a narrower one. Can be repeated.
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) grant: Vec<String>,
    /// Approve a different source, wider effects, and additional uses of secrets.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Set a field of a block in its new version, e.g. one that the new version requires. Can be
    /// repeated.
    #[arg(long, value_name = "TYPE/NAME:FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    /// Read fields of blocks from a TOML or JSON file: a table for each block, named by its address.
    /// The value of a secret field is the secret, or `{"$source": "env:NAME"}`.
    #[arg(long, value_name = "FILE")]
    pub(crate) answers: Option<PathBuf>,
    /// Folder or registry.toml of a registry. Can be repeated. Default: as for `install`.
    #[arg(long, value_name = "PATH")]
    pub(crate) registry: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) message: Message,
}

#[derive(Debug, Args)]
pub(crate) struct Grants {
    /// Show only this bundle.
    pub(crate) bundle: Option<String>,
    /// List grants that no call has used in the last 30 days.
    #[arg(long)]
    pub(crate) unused: bool,
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
pub(crate) struct New {
    /// Folder to create. It must not exist, or be empty.
    pub(crate) path: PathBuf,
    /// Slug of the block type. Default: the name of the bundle.
    #[arg(long = "type", value_name = "SLUG")]
    pub(crate) block_type: Option<TypeSlug>,
    /// Depend on a published version of the SDK that matches a requirement, instead of on the SDK that
    /// this program contains.
    #[arg(long, value_name = "REQ")]
    pub(crate) sdk: Option<VersionReq>,
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// Folder of the crate; or a component or core module that another tool built, which is completed
    /// with its manifest.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Output file. Default: NAME-VERSION.wasm in the current folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Folder of the crate.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Compare files each second, for file systems that do not report changes.
    #[arg(long)]
    pub(crate) poll: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Folder of the crate.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Component file, or installed bundle: FILE.wasm, NAME for its newest version, or NAME@VERSION. An
    /// argument that contains `/` or ends in `.wasm` is a path.
    #[arg(value_name = "FILE.wasm|BUNDLE")]
    pub(crate) bundle: FileOrBundle,
    /// Rebuild the bundle from the folder of its crate, by default the current folder, and compare the
    /// digests. The exit code is 1 if they differ. The build runs code of the crate and of its dependencies.
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = ".")]
    pub(crate) reproduce: Option<PathBuf>,
}

/// A component file, or an installed bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileOrBundle {
    File(PathBuf),
    Bundle(BundleVersion),
}

impl FromStr for FileOrBundle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_path =
            text.ends_with(".wasm") || text == "." || text.contains('/') || cfg!(windows) && text.contains('\\');
        if is_path {
            return Ok(Self::File(PathBuf::from(text)));
        }
        text.parse().map(Self::Bundle)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// Component files of the bundles.
    #[arg(required = true, value_name = "FILE.wasm")]
    pub(crate) files: Vec<PathBuf>,
    /// Registry: a folder, which is created if it does not exist, or `oci://HOST/NAMESPACE`.
    #[arg(long, value_name = "REGISTRY")]
    pub(crate) registry: PathBuf,
    /// Name of a new registry. Default: the name of its folder.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// File of the minisign secret key that signs the releases. Its password, if any, is read from
    /// BLOCKYARD_SIGNING_PASSWORD.
    #[arg(long, value_name = "FILE", env = "BLOCKYARD_SIGNING_KEY")]
    pub(crate) signing_key: Option<PathBuf>,
    /// Create a signing key without a password in this file, or use the key in it.
    #[arg(long, value_name = "FILE", conflicts_with = "signing_key")]
    pub(crate) new_signing_key: Option<PathBuf>,
}
