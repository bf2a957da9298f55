//! The user's configuration and the registries of this machine: where they are, and what they say.
//!
//! ```toml
//! # config.toml, in the folder `blockyard` of the platform's configuration folder
//! [yards.prod]
//! url = "postgres://loader@db.example.com/blockyard"
//!
//! [registries]
//! acme = "/srv/acme/registry"
//!
//! [sources]
//! allow = ["env:WAREHOUSE_*", "file:/run/secrets/*"]
//! ```

use std::path::{Path, PathBuf};

use blockyard::model::suggestion::did_you_mean;
use blockyard::{
    BlockName, Error, ErrorKind, NamedRegistry, Registry, RegistryAddress, UserConfiguration, read_configuration,
};

/// The variable that names the configuration file.
const VARIABLE: &str = "BLOCKYARD_CONFIG";

/// The user's configuration, and where it is or would be.
#[derive(Debug)]
pub(crate) struct Settings {
    path: PathBuf,
    configuration: UserConfiguration,
}

impl Settings {
    /// Reads the file that BLOCKYARD_CONFIG names, or else `blockyard/config.toml` of this folder, if it exists.
    pub(crate) fn read(folder: Option<&Path>) -> Result<Self, Error> {
        let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        if let Some(path) = &named
            && !path.exists()
        {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no configuration `{}`", path.display()))
                .hint(format!("{VARIABLE} names it: make the file, or unset the variable")));
        }
        let path = named.or_else(|| folder.map(|folder| folder.join("blockyard").join("config.toml")));
        match path {
            Some(path) => Ok(Self { configuration: read_configuration(&path)?, path }),
            // A machine without a home folder has no configuration.
            None => Ok(Self { path: PathBuf::from("config.toml"), configuration: UserConfiguration::default() }),
        }
    }

    pub(crate) fn configuration(&self) -> &UserConfiguration {
        &self.configuration
    }

    /// The address of a yard that the configuration names.
    pub(crate) fn yard(&self, name: &str) -> Result<String, Error> {
        let parsed = BlockName::new(name);
        if let Some(url) = parsed.as_ref().ok().and_then(|name| self.configuration.yard(name)) {
            return Ok(url.to_owned());
        }
        // What is no name may be an address gone wrong, with a password in it.
        let name = if parsed.is_ok() { name } else { "…" };
        let known = self.configuration.yards.iter().map(|(known, _)| known.as_str());
        Err(Error::new(ErrorKind::Usage, format!("`{name}` is neither the address of a yard nor the name of one"))
            .maybe_hint(did_you_mean(name, known))
            .hint(format!(
                "an address is `sqlite:PATH` or `postgres://USER@HOST/DATABASE`; a name has a table `[yards.{name}]` with a `url` in `{}`",
                self.path.display()
            )))
    }
}

/// The registry that came with this binary, `../share/blockyard/registry` from the binary's own folder.
pub(crate) fn shipped_registry() -> Option<PathBuf> {
    let binary = std::env::current_exe().ok()?.canonicalize().ok()?;
    let folder = binary.parent()?.parent()?.join("share").join("blockyard").join("registry");
    folder.join("registry.toml").exists().then_some(folder)
}

/// Reads a registry that a configuration names.
pub(crate) fn open_registry(registry: &NamedRegistry) -> Result<Registry, Error> {
    match &registry.address {
        RegistryAddress::Path(path) => Ok(Registry::read(path)?),
        RegistryAddress::Remote(url) => Err(not_read(url)),
    }
}

/// Reads a registry that `--registry` names.
pub(crate) fn named_registry(path: &Path) -> Result<Registry, Error> {
    match path.to_str() {
        Some(url) if url.contains("://") => Err(not_read(url)),
        _ => Ok(Registry::read(path)?),
    }
}

fn not_read(url: &str) -> Error {
    Error::new(ErrorKind::Usage, format!("this version of Blockyard does not read the registry `{url}`"))
        .hint("name a registry on this machine: `--registry PATH`, with its folder or its `registry.toml`")
}
