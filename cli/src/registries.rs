//! The registries of a command with their origins, for commands that list them. The order is the one
//! in which [`Context::registries`] searches them.

use std::path::{Path, PathBuf};

use blockyard::{BundleView, Error, Registry, RemoteError, TrustState, UsedCredentials, Wanted, usable_registry};
use futures_util::future::join_all;

use crate::context::Context;
use crate::origin::Origin;
use crate::project::untrusted;
use crate::remote::{Configured, Network, shown};
use crate::settings::{Settings, shipped_registry};

/// A registry, and the setting that names it.
pub(crate) struct ListedRegistry {
    pub(crate) origin: Origin,
    /// Path or URL.
    pub(crate) address: String,
    /// The registry, or the reason why it is not used.
    pub(crate) registry: Result<Registry, Error>,
    /// The credentials that were sent. `None` if the registry is not on a server, or was not asked.
    pub(crate) credentials: Option<UsedCredentials>,
}

/// The registries to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only folders of this machine.
    Local,
    All,
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
        let settings = self.settings()?;
        let mut chosen: Vec<Chosen> = if named.is_empty() {
            self.chosen(&settings)?
        } else {
            named.iter().map(|path| Chosen::named(path, &settings)).collect()
        };
        chosen.retain(|chosen| reach == Reach::All || !matches!(chosen.registry, Ok(Configured::Remote(_))));
        let access = self.remote_access(Network::Permitted);
        let opened = chosen.into_iter().map(async |Chosen { origin, address, registry }| {
            let opened = match registry {
                Ok(configured) => configured.open(Wanted::All, &access).await,
                Err(error) => Err(error),
            };
            let credentials = opened.as_ref().ok().and_then(|registry| registry.credentials.clone());
            ListedRegistry { origin, address, registry: opened.and_then(available), credentials }
        });
        Ok(join_all(opened).await)
    }

    /// Returns the origin and the address of each configured registry, in the order in which they are
    /// searched, and the reason why it is not used, if there is one. Opens none.
    pub(crate) fn registry_addresses(
        &self,
        settings: &Settings,
    ) -> Result<Vec<(Origin, String, Option<Error>)>, Error> {
        let chosen = self.chosen(settings)?.into_iter();
        Ok(chosen.map(|Chosen { origin, address, registry }| (origin, address, registry.err())).collect())
    }

    /// Returns the configured registries, in the order in which they are searched.
    fn chosen(&self, settings: &Settings) -> Result<Vec<Chosen>, Error> {
        let mut chosen = Vec::new();
        if let Some(project) = self.project()?.filter(|project| !project.file().registries.is_empty()) {
            let state = self.trust()?.state(&project)?;
            chosen.extend(project.registries()?.iter().map(|registry| {
                let configured = Configured::of_project(registry, settings);
                let refused = (state != TrustState::Trusted).then(|| untrusted(&project, state));
                Chosen::new(Origin::Project, configured, refused)
            }));
        }
        let own = settings.configuration().registries.iter();
        chosen.extend(own.map(|registry| Chosen::new(Origin::Configuration, Configured::entry(registry), None)));
        chosen.extend(shipped_registry().map(|path| {
            let refused = usable_registry(&path).err();
            Chosen::new(Origin::Shipped, Configured::Local { path, unsigned: false }, refused)
        }));
        Ok(chosen)
    }

    /// Returns the installed bundles; none if there is no yard.
    pub(crate) async fn installed(&self) -> Result<Vec<BundleView>, Error> {
        match self.open_existing().await? {
            Some(yard) => yard.bundles().await,
            None => Ok(Vec::new()),
        }
    }
}

/// A registry that is not opened yet.
struct Chosen {
    origin: Origin,
    address: String,
    registry: Result<Configured, Error>,
}

impl Chosen {
    fn named(path: &Path, settings: &Settings) -> Self {
        let address = shown(path);
        Self { origin: Origin::Option("--registry"), address, registry: Configured::named(path, settings) }
    }

    /// Returns a registry of a configuration, which is not opened if it is `refused`.
    fn new(origin: Origin, configured: Configured, refused: Option<Error>) -> Self {
        let address = configured.address();
        Self { origin, address, registry: refused.map_or(Ok(configured), Err) }
    }
}

/// Returns a registry unless it cannot be read. One that cannot list its bundles can be read.
fn available(registry: Registry) -> Result<Registry, Error> {
    match &registry.unavailable {
        None | Some(RemoteError::NotListed { .. }) => Ok(registry),
        Some(error) => Err(error.clone().into()),
    }
}
