//! Project files in commands: the prompt for trust, and the configured registries.

use blockyard::model::visible;
use blockyard::{Error, ErrorKind, Project, Registry, TrustState, Wanted, usable_registry};

use crate::context::Context;
use crate::remote::{Configured, RegistryQuery};
use crate::settings::shipped_registry;

impl Context {
    /// Checks that the user trusts a project file, by a recorded decision or by confirming on a
    /// terminal.
    pub(crate) async fn require_trust(&self, project: &Project) -> Result<(), Error> {
        let state = self.trust()?.state(project)?;
        if state == TrustState::Trusted || self.prompt_for_trust(project, state).await? {
            return Ok(());
        }
        Err(untrusted(project, state))
    }

    /// Prompts for trust on a terminal that can show what the file decides. Records a positive
    /// answer.
    async fn prompt_for_trust(&self, project: &Project, state: TrustState) -> Result<bool, Error> {
        if !self.terminal.can_ask() || self.terminal.quiet || self.terminal.json {
            return Ok(false);
        }
        self.terminal.note(&format!("{}. It configures:", described(project, state)));
        for decision in project.decisions()? {
            self.terminal.note(&format!("  {decision}"));
        }
        if !self.terminal.confirm("trust this file?") {
            return Ok(false);
        }
        self.trust()?.trust_project(project).await?;
        Ok(true)
    }

    /// Returns the registries of `--registry`; by default, those of a trusted project file,
    /// then those of the user's configuration, then the one shipped with this binary.
    ///
    /// A registry on a server that cannot be read is in the list, too: with
    /// [`unavailable`](Registry::unavailable), and without entries.
    pub(crate) async fn registries(&self, query: RegistryQuery<'_>) -> Result<Vec<Registry>, Error> {
        let configured = if query.named.is_empty() {
            self.configured_registries().await?
        } else {
            let settings = self.settings()?;
            query.named.iter().map(|path| Configured::named(path, &settings)).collect::<Result<_, _>>()?
        };
        let registries = self.open_registries(&configured, query.wanted, query.network).await?;
        for registry in &registries {
            // A bundle that is named reports it, if it would be looked up there.
            if let (Wanted::All, Some(error)) = (query.wanted, &registry.unavailable) {
                let reason = error.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
                let (name, error) = (visible::line(&registry.name), visible::line(&format!("{error}{reason}")));
                self.terminal.note(&format!("warning: registry `{name}` is left out: {error}"));
            }
            for broken in &registry.broken {
                let (name, broken) = (visible::line(&registry.name), visible::line(&broken.to_string()));
                self.terminal.note(&format!("warning: registry `{name}`: {broken}"));
            }
        }
        Ok(registries)
    }

    async fn configured_registries(&self) -> Result<Vec<Configured>, Error> {
        let (mut registries, refused) = match self.project_registries().await {
            Ok(registries) => (registries, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        registries.extend(self.settings()?.configuration().registries.iter().map(Configured::entry));
        if let Some(folder) = shipped_registry() {
            match usable_registry(&folder) {
                Ok(()) => registries.push(Configured::Local { path: folder, unsigned: false }),
                Err(error) => self.terminal.note(&format!("warning: {error}: {}", error.causes().join(": "))),
            }
        }
        match refused {
            // There is no other registry to find the bundle in, so the untrusted project file is an
            // error.
            Some(error) if registries.is_empty() => Err(error),
            Some(error) => {
                self.terminal.note(&format!("warning: {error}; its registries are not used"));
                Ok(registries)
            }
            None => Ok(registries),
        }
    }

    /// Returns the registries of the project file. Does not prompt for trust if the command line
    /// specifies the yard, because the project file is then not required.
    async fn project_registries(&self) -> Result<Vec<Configured>, Error> {
        let Some(project) = self.project()?.filter(|project| !project.file().registries.is_empty()) else {
            return Ok(Vec::new());
        };
        let state = self.trust()?.state(&project)?;
        if state != TrustState::Trusted && self.names_the_yard() {
            return Err(untrusted(&project, state));
        }
        self.require_trust(&project).await?;
        let settings = self.settings()?;
        Ok(project.registries()?.iter().map(|registry| Configured::of_project(registry, &settings)).collect())
    }
}

fn described(project: &Project, state: TrustState) -> String {
    let path = project.path().display();
    match state {
        TrustState::Changed => format!("the project file `{path}` changed since it was trusted"),
        _ => format!("the project file `{path}` is not trusted"),
    }
}

/// Returns the error for a project file that is not trusted.
pub(crate) fn untrusted(project: &Project, state: TrustState) -> Error {
    let error = Error::new(ErrorKind::Denied, described(project, state))
        .hint(format!("review it, then run `blockyard trust {}` to trust it", project.folder().display()))
        .hint("to run without it, specify the yard with `--yard` or BLOCKYARD_YARD, and registries with `--registry`");
    match project.decisions() {
        Ok(decisions) if !decisions.is_empty() => error.because(format!("it configures: {}", decisions.join("; "))),
        _ => error,
    }
}
