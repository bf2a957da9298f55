//! The registries of a command with their origins, for commands that list them. The order is the one
//! in which [`Context::registries`] searches them.

use std::path::{Path, PathBuf};

use blockyard::{BundleView, Error, NamedRegistry, Registry, RegistryAddress, TrustState, usable_registry};

use crate::context::Context;
use crate::project::untrusted;
use crate::settings::{named_registry, open_registry, shipped_registry};

/// A registry, and the setting that names it.
pub(crate) struct ListedRegistry {
    pub(crate) origin: Origin,
    /// Path or URL.
    pub(crate) address: String,
    /// The registry, or the reason why it is not used.
    pub(crate) registry: Result<Registry, Error>,
}

/// The setting that names a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Option,
    Project,
    Configuration,
    Shipped,
}

/// The registries to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only folders of this machine.
    Local,
    All,
}

impl Origin {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Option => "--registry",
            Self::Project => "project file",
            Self::Configuration => "configuration",
            Self::Shipped => "shipped",
        }
    }
}

impl Context {
    /// Lists the registries of `--registry`; by default, those of the project file, those of the
    /// user's configuration, and the one shipped with this binary. A registry that cannot be used is
    /// listed with the reason. Does not prompt for trust.
    pub(crate) async fn listed_registries(
        &self,
        named: &[PathBuf],
        reach: Reach,
    ) -> Result<Vec<ListedRegistry>, Error> {
        if !named.is_empty() {
            let each = named.iter().map(|path| ListedRegistry {
                origin: Origin::Option,
                address: path.display().to_string(),
                registry: named_registry(path),
            });
            return Ok(each.collect());
        }
        let mut listed = self.listed_in_project(reach)?;
        for registry in &self.settings()?.configuration().registries {
            listed.extend(listed_registry(Origin::Configuration, registry, reach, None));
        }
        listed.extend(shipped_registry().map(|folder| shipped(&folder)));
        Ok(listed)
    }

    fn listed_in_project(&self, reach: Reach) -> Result<Vec<ListedRegistry>, Error> {
        let Some(project) = self.project()?.filter(|project| !project.file().registries.is_empty()) else {
            return Ok(Vec::new());
        };
        let state = self.trust()?.state(&project)?;
        let refused = || (state != TrustState::Trusted).then(|| untrusted(&project, state));
        let registries = project.registries()?;
        let listed =
            registries.iter().filter_map(|registry| listed_registry(Origin::Project, registry, reach, refused()));
        Ok(listed.collect())
    }

    /// Returns the installed bundles; none if there is no yard.
    pub(crate) async fn installed(&self) -> Result<Vec<BundleView>, Error> {
        match self.open_existing().await? {
            Some(yard) => yard.bundles().await,
            None => Ok(Vec::new()),
        }
    }
}

/// Reads a registry of a configuration unless it is `refused`. Returns `None` if it is out of reach.
fn listed_registry(
    origin: Origin,
    registry: &NamedRegistry,
    reach: Reach,
    refused: Option<Error>,
) -> Option<ListedRegistry> {
    let address = match &registry.address {
        RegistryAddress::Path(path) => path.display().to_string(),
        RegistryAddress::Remote(_) if reach == Reach::Local => return None,
        RegistryAddress::Remote(url) => url.clone(),
    };
    Some(ListedRegistry { origin, address, registry: refused.map_or_else(|| open_registry(registry), Err) })
}

fn shipped(folder: &Path) -> ListedRegistry {
    let registry = usable_registry(folder).and_then(|()| Ok(Registry::read(folder)?));
    ListedRegistry { origin: Origin::Shipped, address: folder.display().to_string(), registry }
}
