//! The bundles of a project and their lock file, in commands.

use blockyard::{Error, ErrorKind, Project, ProjectLock, TrustState};

use crate::context::Context;
use crate::project::untrusted;

impl Context {
    /// Returns the nearest project file, which must list bundles and be trusted. `reason` states why
    /// it is required.
    pub(crate) async fn project_with_bundles(&self, reason: &str) -> Result<Project, Error> {
        let project = self.project()?.ok_or_else(|| {
            let message = format!("{reason}, and neither this folder nor its parents contain a blockyard.toml");
            Error::new(ErrorKind::Usage, message)
                .hint("name a bundle, as in `blockyard install sql`")
                .hint("or list the bundles of a project under `[bundles]` in a file blockyard.toml")
        })?;
        if project.file().bundles.is_empty() {
            let message = format!("{reason}, and `{}` lists no bundles", project.path().display());
            return Err(Error::new(ErrorKind::Usage, message)
                .hint("name a bundle, as in `blockyard install sql`")
                .hint("or list the bundles under `[bundles]`, as in `sql = \"^0.1\"`"));
        }
        self.require_trust(&project).await?;
        Ok(project)
    }

    /// Returns the nearest project that lists bundles. Returns `None` if there is none, or if
    /// `concerns` is `false` for it. A project file that is not trusted is not used, with a note.
    pub(crate) fn trusted_project(&self, concerns: impl FnOnce(&Project) -> bool) -> Result<Option<Project>, Error> {
        let Some(project) = self.project()?.filter(|project| !project.file().bundles.is_empty()) else {
            return Ok(None);
        };
        if !concerns(&project) {
            return Ok(None);
        }
        let state = self.trust()?.state(&project)?;
        if state != TrustState::Trusted {
            let error = untrusted(&project, state);
            self.terminal.note(&format!("warning: {error}; its bundles and its lock file are not used"));
            return Ok(None);
        }
        Ok(Some(project))
    }

    /// Returns the lock file of a project as in [`trusted_project`](Self::trusted_project), reserved for
    /// this command.
    pub(crate) async fn project_lock(
        &self,
        command: &str,
        concerns: impl FnOnce(&Project) -> bool,
    ) -> Result<Option<ProjectLock>, Error> {
        match self.trusted_project(concerns)? {
            Some(project) => self.reserve_lock(&project, command).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads the lock file of a trusted project, and reserves it for this command. If another program
    /// has reserved it, says so and waits.
    pub(crate) async fn reserve_lock(&self, project: &Project, command: &str) -> Result<ProjectLock, Error> {
        let program = format!("blockyard {command}");
        let mut report = |text: &str| self.terminal.note(text);
        ProjectLock::acquire(project, self.lock_records().as_deref(), &program, &mut report).await
    }
}
