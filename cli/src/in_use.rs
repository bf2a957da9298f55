//! The yard and the project file that a command would use, for the commands that show settings.

use blockyard::{Error, KeyStatus, Project, TrustState, Yard};

use crate::context::Context;
use crate::origin::Origin;

/// The yard that a command would use.
pub(crate) struct YardInUse {
    pub(crate) origin: Origin,
    /// URL without a password. `None` if the setting is not valid, or is in a project file that is not
    /// trusted.
    pub(crate) url: Option<String>,
    /// Status of the key. `None` if the yard is not available.
    pub(crate) key: Option<KeyStatus>,
    /// Reason why the yard is not available.
    pub(crate) problem: Option<Error>,
}

impl Context {
    /// Returns the nearest project file, and whether it is trusted. Does not prompt for trust.
    pub(crate) fn project_in_use(&self) -> Result<Option<(Project, TrustState)>, Error> {
        let Some(project) = self.project()? else { return Ok(None) };
        let state = self.trust()?.state(&project)?;
        Ok(Some((project, state)))
    }

    /// Returns the yard that a command would use. An untrusted project file selects none, and is not
    /// an error. Does not prompt for trust.
    pub(crate) async fn yard_in_use(&self) -> Result<YardInUse, Error> {
        let project = self.project_in_use()?.filter(|(project, _)| project.file().yard.is_some());
        let origin = match &project {
            _ if self.names_the_yard() => self.origins.yard,
            Some(_) => Origin::Project,
            None => Origin::Default,
        };
        let unknown = |problem| Ok(YardInUse { origin, url: None, key: None, problem });
        if origin == Origin::Project && project.is_some_and(|(_, state)| state != TrustState::Trusted) {
            return unknown(None);
        }
        let (url, config) = match self.yard().await {
            Ok(selected) => selected,
            Err(error) => return unknown(Some(error)),
        };
        let shown = match Yard::shown_url(&url) {
            Ok(shown) => shown,
            Err(error) => return unknown(Some(error)),
        };
        Ok(match Yard::key_status(&url, &config).await {
            Ok(key) => YardInUse { origin, url: Some(shown), key: Some(key), problem: None },
            Err(error) => YardInUse { origin, url: Some(shown), key: None, problem: Some(error) },
        })
    }
}

/// Returns the word for a state of trust.
pub(crate) fn trust_word(state: TrustState) -> &'static str {
    match state {
        TrustState::Trusted => "trusted",
        TrustState::Changed => "changed",
        _ => "untrusted",
    }
}
