//! User configuration file and the registries of this machine.
//!
//! ```toml
//! # config.toml, in the folder `blockyard` of the platform's configuration folder
//! [yards.prod]
//! url = "postgres://loader@db.example.com/blockyard"
//!
//! [registries]
//! acme = "/srv/acme/registry"
//! zoo = { url = "oci://registry.example/zoo", ca = "zoo.pem" }
//! hub = { url = "oci://registry-1.docker.io/acme", token-service = "https://auth.docker.io" }
//!
//! [sources]
//! allow = ["env:WAREHOUSE_*", "file:/run/secrets/*"]
//! ```

use std::path::{Path, PathBuf};

use blockyard::model::suggestion::did_you_mean;
use blockyard::{BlockName, Error, ErrorKind, UserConfiguration, read_configuration};

use crate::origin::Origin;

/// Environment variable with the path of the configuration file.
const VARIABLE: &str = "BLOCKYARD_CONFIG";

/// The user's configuration and its path, which need not exist.
#[derive(Debug)]
pub(crate) struct Settings {
    path: PathBuf,
    origin: Origin,
    configuration: UserConfiguration,
}

impl Settings {
    /// Reads the file at the path in BLOCKYARD_CONFIG or, if it is not set, `blockyard/config.toml`
    /// in `folder`, if that exists.
    pub(crate) fn read(folder: Option<&Path>) -> Result<Self, Error> {
        let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        if let Some(path) = &named
            && !path.exists()
        {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("configuration file `{}` does not exist", path.display()),
            )
            .hint(format!("create the file or unset {VARIABLE}")));
        }
        let origin = if named.is_some() { Origin::Variable(VARIABLE) } else { Origin::Default };
        let path = named.or_else(|| folder.map(|folder| folder.join("blockyard").join("config.toml")));
        match path {
            Some(path) => Ok(Self { configuration: read_configuration(&path)?, origin, path }),
            // A machine without a home folder has no configuration.
            None => {
                Ok(Self { path: PathBuf::from("config.toml"), origin, configuration: UserConfiguration::default() })
            }
        }
    }

    /// Returns the path of the configuration file, which need not exist.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the origin of the path.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    pub(crate) fn configuration(&self) -> &UserConfiguration {
        &self.configuration
    }

    /// Returns the URL of a yard in the configuration.
    pub(crate) fn yard(&self, name: &str) -> Result<String, Error> {
        let parsed = BlockName::new(name);
        if let Some(url) = parsed.as_ref().ok().and_then(|name| self.configuration.yard(name)) {
            return Ok(url.to_owned());
        }
        // A value that is not a valid name may be a mistyped URL with a password, so it is not
        // shown.
        let name = if parsed.is_ok() { name } else { "…" };
        let known = self.configuration.yards.iter().map(|(known, _)| known.as_str());
        Err(Error::new(ErrorKind::Usage, format!("`{name}` is neither a yard URL nor the name of a yard"))
            .maybe_hint(did_you_mean(name, known))
            .hint(format!(
                "use a URL such as `sqlite:PATH` or `postgres://USER@HOST/DATABASE`, or define `[yards.{name}]` with a `url` in `{}`",
                self.path.display()
            )))
    }
}

/// Returns the registry shipped with this binary: `../share/blockyard/registry`, relative to the
/// folder of the binary.
pub(crate) fn shipped_registry() -> Option<PathBuf> {
    let binary = std::env::current_exe().ok()?.canonicalize().ok()?;
    let folder = binary.parent()?.parent()?.join("share").join("blockyard").join("registry");
    folder.join("registry.toml").exists().then_some(folder)
}
