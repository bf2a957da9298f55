//! `blockyard install`: stages each bundle, shows its review, and installs it when the user agrees.
//! A failed bundle does not prevent the installation of the others. Bundles of a project are installed
//! by its lock file. A yard that does not exist is created when the first bundle is ready to be
//! installed, so that a command that fails before creates nothing.

mod target;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use blockyard::{
    Agreement, BundleSource, Capability, Content, Error, ErrorKind, Found, Given, Installed, Json, LockedBundle,
    LockedRequest, Project, ProjectLock, Registry, Request, Staged, Wanted, Yard,
    model::{BundleName, visible},
};
use blockyard_build::Profile;
use semver::VersionReq;
use serde_json::json;
use tokio::sync::OnceCell;

use self::target::InstallTarget;

use crate::arguments::Install;
use crate::context::Context;
use crate::hints;
use crate::outcome::{DONE, Outcome};
use crate::remote::{Network, RegistryQuery};

/// State of one `install` command.
struct Installing<'a> {
    arguments: &'a Install,
    context: &'a Context,
    /// In memory until the yard is created.
    yard: Yard,
    given: Given,
    /// Bundles that a registry must have.
    names: Vec<BundleName>,
    /// Read when the first bundle requires them.
    registries: OnceCell<Vec<Registry>>,
    /// The lock file of the project, if one of the bundles belongs to it.
    lock: Option<ProjectLock>,
    /// Installed releases to lock.
    releases: BTreeMap<BundleName, LockedBundle>,
    /// Capabilities of `--grant` that no bundle has requested so far.
    unused: Vec<Capability>,
}

/// A bundle to install.
struct Prepared {
    staged: Staged,
    /// Its release, to be locked. `None` if it is locked already, or not from a registry.
    release: Option<LockedBundle>,
}

pub(super) async fn run(arguments: Install, context: &Context) -> Outcome {
    let given = given(&arguments)?;
    let unused = given.grants.clone();
    let project = match (arguments.bundles.is_empty(), arguments.locked) {
        (true, _) => Some(context.project_with_bundles("no bundle was named").await?),
        (false, true) => Some(context.project_with_bundles("`--locked` was given").await?),
        (false, false) => None,
    };
    let bundles = match &project {
        Some(project) if arguments.bundles.is_empty() => {
            project.file().bundles.keys().map(ToString::to_string).collect()
        }
        _ => arguments.bundles.clone(),
    };
    let names = names(&bundles);
    let (registries, unavailable) = registries(&arguments, &names, context).await;
    let lock = match &project {
        Some(project) => Some(context.reserve_lock(project, "install").await?),
        None => context.project_lock("install", |project| bundles.iter().any(|text| belongs(text, project))).await?,
    };
    match (unavailable, &lock) {
        // Bundles that are locked and installed already require no registry.
        (Some(error), None) if bundles.iter().all(|text| is_name(text)) => return Err(error.into()),
        (_, Some(lock)) if arguments.locked => require_locked(lock, &bundles)?,
        _ => {}
    }
    let yard = context.open_or_in_memory().await?;
    let releases = BTreeMap::new();
    let installing =
        Installing { arguments: &arguments, context, yard, given, names, registries, lock, releases, unused };
    if arguments.locked {
        // A difference to the lock file is found before anything is installed.
        for text in &bundles {
            installing.stage(&InstallTarget::parse(text)?, &mut |_| ()).await?;
        }
    }
    installing.install_all(&bundles).await
}

/// Returns the agreement expressed by the command-line options.
fn given(arguments: &Install) -> Result<Given, Error> {
    let grants = arguments.grant.iter().map(|text| text.parse()).collect::<Result<Vec<Capability>, _>>()?;
    Ok(Given { yes: arguments.yes, grants, replace: arguments.replace })
}

/// Returns the names of the bundles that a registry must have.
fn names(bundles: &[String]) -> Vec<BundleName> {
    let targets = bundles.iter().filter_map(|text| InstallTarget::parse(text).ok());
    let names = targets.filter_map(|target| match target {
        InstallTarget::Registry { name, .. } => Some(name),
        InstallTarget::File(_) | InstallTarget::Crate(_) => None,
    });
    names.collect()
}

/// Reads the registries for these bundles.
async fn read_registries(arguments: &Install, names: &[BundleName], context: &Context) -> Result<Vec<Registry>, Error> {
    let network = if arguments.offline { Network::CacheOnly } else { Network::Permitted };
    context.registries(RegistryQuery { named: &arguments.registry, wanted: Wanted::Bundles(names), network }).await
}

/// Reads the registries if an argument is the name of a bundle. Returns the error separately: the
/// bundles that require no registry are installed, and the others report it.
async fn registries(
    arguments: &Install,
    names: &[BundleName],
    context: &Context,
) -> (OnceCell<Vec<Registry>>, Option<Error>) {
    if names.is_empty() {
        return (OnceCell::new(), None);
    }
    match read_registries(arguments, names, context).await {
        Ok(registries) => (OnceCell::new_with(Some(registries)), None),
        Err(error) => (OnceCell::new(), Some(error)),
    }
}

/// Checks whether an argument is the name of a bundle in a registry.
fn is_name(text: &str) -> bool {
    matches!(InstallTarget::parse(text), Ok(InstallTarget::Registry { .. }))
}

/// Checks whether an argument is the name of a bundle that a project requires.
fn belongs(text: &str, project: &Project) -> bool {
    match InstallTarget::parse(text) {
        Ok(InstallTarget::Registry { name, .. }) => project.file().bundles.contains_key(&name),
        _ => false,
    }
}

/// Checks that all bundles are locked, and that the lock file is not outdated.
fn require_locked(lock: &ProjectLock, bundles: &[String]) -> Result<(), Error> {
    lock.require_current()?;
    for text in bundles {
        let fits = match InstallTarget::parse(text)? {
            InstallTarget::Registry { name, requirement } => {
                lock.fits(&name, requirement.as_ref().unwrap_or(&VersionReq::STAR))
            }
            InstallTarget::File(_) | InstallTarget::Crate(_) => false,
        };
        if !fits {
            let message = format!("`{}` is not locked in `{}`", visible::line(text), lock.path().display());
            return Err(Error::new(ErrorKind::Conflict, message).hint("install it without `--locked`"));
        }
    }
    Ok(())
}

impl Installing<'_> {
    async fn install_all(mut self, bundles: &[String]) -> Outcome {
        let (mut installed, mut failed) = (Vec::new(), Vec::new());
        for text in bundles {
            match self.install(text).await {
                Ok(bundle) => installed.push(bundle),
                Err(error) => failed.push((text.as_str(), error)),
            }
        }
        let Self { arguments, context, yard, lock, releases, unused, .. } = self;
        yard.close().await;
        if failed.is_empty()
            && let Some(capability) = unused.first()
        {
            context.terminal.note(&format!("warning: no bundle requests `{capability}`, given with `--grant`"));
        }
        if installed.is_empty() {
            return Err(all_failed(failed, bundles.len()).into());
        }
        let locked = match lock {
            Some(mut lock) if !arguments.locked => {
                lock.update(releases).map(|changed| Some(json!({ "path": lock.path(), "changed": changed })))
            }
            _ => Ok(None),
        };
        show(context, &installed, &failed, locked.as_ref().ok().and_then(Option::as_ref))?;
        if let Err(error) = locked {
            context.terminal.fail(&error);
            return Ok(ExitCode::from(hints::exit_code(error.kind())));
        }
        if failed.is_empty() {
            return Ok(DONE);
        }
        let error = all_failed(failed, bundles.len());
        context.terminal.fail(&error);
        Ok(ExitCode::from(hints::exit_code(error.kind())))
    }

    async fn install(&mut self, text: &str) -> Result<Installed, Error> {
        let target = InstallTarget::parse(text)?;
        let progress = self.context.progress();
        // Building runs untrusted code, so the path stays visible, even without a progress bar.
        let mut report = |text: &str| progress.keep(text, || self.context.terminal.note(text));
        let Prepared { staged, release } = self.stage(&target, &mut report).await?;
        drop(progress);
        self.unused.retain(|capability| !staged.review().requests(capability));
        let name = staged.name().clone();
        let agreement = self.agreement(&staged)?;
        self.create_yard(&staged, &agreement).await?;
        let installed = self.yard.install(staged, &agreement).await?;
        self.note_lock(&target, &name, release.as_ref());
        self.releases.extend(release.map(|release| (name, release)));
        Ok(installed)
    }

    /// Creates the yard, unless it exists, for a bundle that the user agreed to install.
    async fn create_yard(&mut self, staged: &Staged, agreement: &Agreement) -> Result<(), Error> {
        if self.yard.is_in_memory() {
            staged.review().require(agreement)?;
            self.yard = self.context.create_yard().await?;
        }
        Ok(())
    }

    /// Reports that an installed bundle of the project is not locked.
    fn note_lock(&self, target: &InstallTarget, name: &BundleName, release: Option<&LockedBundle>) {
        let Some(requirement) = self.lock.as_ref().and_then(|lock| lock.requirement(name)) else { return };
        let reason = match (target, release) {
            (InstallTarget::File(_) | InstallTarget::Crate(_), _) => "it is not from a registry".to_owned(),
            (_, Some(release)) if !requirement.matches(&release.version) => {
                format!("{} does not fit `{requirement}` in blockyard.toml", release.version)
            }
            _ => return,
        };
        self.context.terminal.note(&format!("note: `{name}` was installed, but not locked: {reason}"));
    }

    /// Returns the registries, which are read once.
    async fn registries(&self) -> Result<&[Registry], Error> {
        let read = || read_registries(self.arguments, &self.names, self.context);
        Ok(self.registries.get_or_try_init(read).await?)
    }

    /// Reads, finds or builds a bundle and stages it in the yard. A crate specified by path is
    /// built; one from a registry requires `--build`.
    async fn stage(&self, target: &InstallTarget, report: &mut (dyn FnMut(&str) + Send)) -> Result<Prepared, Error> {
        let (name, requirement) = match target {
            InstallTarget::File(path) => {
                let staged = self.yard.stage(read(path)?, BundleSource::file(path)).await?;
                return Ok(Prepared { staged, release: None });
            }
            InstallTarget::Crate(folder) => {
                let built = blockyard_build::build(folder, Profile::Release, report).await?;
                let staged = self.yard.stage(built.bytes, BundleSource::krate(folder)).await?;
                return Ok(Prepared { staged, release: None });
            }
            InstallTarget::Registry { name, requirement } => (name, requirement.as_ref()),
        };
        let required = self.lock.as_ref().and_then(|lock| lock.requirement(name));
        let any = VersionReq::STAR;
        let requirement = requirement.or(required).unwrap_or(&any);
        if let Some(lock) = self.lock.as_ref().filter(|lock| lock.fits(name, requirement)) {
            return self.stage_locked(name, lock, report).await;
        }
        if let Some(locked) = self.lock.as_ref().and_then(|lock| lock.file()?.bundles().get(name)) {
            report(&format!("`{name}` is locked at {}: selecting a version that fits `{requirement}`", locked.version));
        }
        let request = Request { name, requirement, accepted_key: self.arguments.accept_key.as_ref() };
        let found = self.yard.find(&request, self.registries().await?, report).await?;
        let staged = self.stage_found(name, found, report).await?;
        let release = self.lock.as_ref().and_then(|lock| staged.lock_entry(lock.project()));
        Ok(Prepared { staged, release })
    }

    /// Stages the locked release of a bundle: the bytes that are in the yard, or else those of its
    /// registry.
    async fn stage_locked(
        &self,
        name: &BundleName,
        lock: &ProjectLock,
        report: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Prepared, Error> {
        let accepted_key = self.arguments.accept_key.as_ref();
        let request = LockedRequest { name, lock, accepted_key, exact: self.arguments.locked };
        if let Some(staged) = self.yard.stage_locked(&request).await? {
            let changed = self.registries.get().and_then(|registries| request.changed_release(registries));
            if let Some(error) = changed {
                let cause = error.causes().join(": ");
                report(&format!("warning: {error}: {cause}; the locked bytes, which are in the yard, are used"));
            }
            return Ok(Prepared { staged, release: None });
        }
        let found = self.yard.find_locked(&request, self.registries().await?, report).await?;
        let staged = self.stage_found(name, found, report).await?;
        staged.check_lock(&request)?;
        let locked = lock.file().and_then(|lock| lock.bundles().get(name));
        let is_new = |release: &LockedBundle| locked.is_none_or(|locked| !locked.differences(release).is_empty());
        let release = staged.lock_entry(lock.project()).filter(is_new);
        Ok(Prepared { staged, release })
    }

    /// Stages a bundle that was found in a registry.
    async fn stage_found(
        &self,
        name: &BundleName,
        found: Found,
        report: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Staged, Error> {
        let Found { content, release } = found;
        let bytes = match content {
            Content::Component(bytes) => bytes,
            Content::Crate(folder) if self.arguments.build => {
                blockyard_build::build(&folder, Profile::Release, report).await?.bytes
            }
            Content::Crate(folder) => return Err(needs_building(name, &blockyard_build::resolved(&folder)?)),
        };
        self.yard.stage_release(bytes, release).await
    }

    /// Shows the review and asks for agreement on a terminal. Without a terminal, the command-line
    /// options decide.
    fn agreement(&self, staged: &Staged) -> Result<Agreement, Error> {
        if staged.is_installed() {
            return Ok(Agreement::Given(self.given.clone()));
        }
        let terminal = &self.context.terminal;
        let asks = !self.given.yes && terminal.can_ask();
        let print = |text: &str| if asks { terminal.prompt(text) } else { terminal.note(text) };
        let review = staged.review();
        let title = if review.replaces { "replaces an installed version" } else { "is new in this yard" };
        print(&format!("{} {} {title}", staged.name(), staged.version()));
        let summarized = !review.replaces && terminal.verbose == 0;
        for line in review.lines.iter().filter(|line| !(summarized && line.is_detail)) {
            let mark = if line.needs.is_some() { "!" } else { " " };
            print(&format!("{mark} {}", visible::line(&line.text)));
        }
        if summarized {
            print(if review.permissions.is_empty() {
                "  it may do nothing outside of its sandbox"
            } else {
                "  it may:"
            });
            for permission in &review.permissions {
                let mark = if permission.is_unusual { "!" } else { " " };
                print(&format!("{mark}   {}", visible::line(&permission.text)));
            }
            for line in &review.types {
                print(&format!("  {}", visible::line(line)));
            }
            print("  `-v` lists each capability and operation");
        }
        if !asks {
            return Ok(Agreement::Given(self.given.clone()));
        }
        let question = match (review.is_wider(), review.replaces) {
            (true, _) => "lines marked `!` permit more than before; grant this?",
            (false, true) => "install this version?",
            (false, false) => "grant this?",
        };
        match terminal.confirm(question) {
            true => Ok(Agreement::Everything),
            false => {
                let message = format!("bundle `{}` was not installed: the user declined", staged.name());
                Err(Error::new(ErrorKind::Denied, message))
            }
        }
    }
}

/// Returns the error for a crate that must be built. Building runs build scripts and macros, so the
/// user must approve it and is shown the folder first.
fn needs_building(name: &BundleName, folder: &Path) -> Error {
    let folder = folder.display();
    Error::new(ErrorKind::Usage, format!("`{name}` is source code in `{folder}`, and is built only if you agree"))
        .because("building runs code of that folder, and of what it depends on, on this machine with your rights")
        .hint(format!("confirm with `--build`, or name the crate by its path: `blockyard install {folder}`"))
}

fn read(path: &PathBuf) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Remote };
        Error::new(kind, format!("`{}` cannot be read", path.display())).because(error)
    })
}

fn show(
    context: &Context,
    installed: &[Installed],
    failed: &[(&str, Error)],
    lock: Option<&Json>,
) -> Result<(), crate::terminal::Failure> {
    let mut document = json!({ "installed": installed });
    if let Some(lock) = lock {
        document["lock"] = lock.clone();
    }
    if !failed.is_empty() {
        document["failed"] = failed.iter().map(|(text, error)| failure(text, error)).collect();
    }
    context.terminal.document(&document, || {
        let mut text = String::new();
        for bundle in installed {
            let done = if bundle.changed { "installed" } else { "already installed, nothing changed:" };
            text.push_str(&format!("{done} {} {} (sha256 {})\n", bundle.name, bundle.version, bundle.sha256));
            text.push_str(&format!("  block types: {}\n", bundle.types.join(", ")));
        }
        if let Some(lock) = lock.filter(|lock| lock["changed"] == true) {
            text.push_str(&format!("updated {}\n", lock["path"].as_str().unwrap_or_default()));
        }
        text
    })
}

/// Returns the error of the command: for a single bundle its own error, otherwise one that lists
/// each failed bundle.
fn all_failed(mut failed: Vec<(&str, Error)>, count: usize) -> Error {
    if count == 1
        && let Some((_, error)) = failed.pop()
    {
        return error;
    }
    let kind = failed.first().map_or(ErrorKind::Internal, |(_, error)| error.kind());
    let mut message =
        format!("{} of {count} bundles {} not installed", failed.len(), if failed.len() == 1 { "was" } else { "were" });
    for (text, error) in &failed {
        let mut parts = vec![error.to_string()];
        parts.extend(error.causes());
        let parts: Vec<String> = parts.iter().map(|part| one_line(part, error.is_multi_line())).collect();
        message.push_str(&format!("\n  `{}`: {}", visible::line(text), parts.join(": ")));
        for hint in hints::hints(error) {
            message.push_str(&format!("\n    hint: {}", visible::line(&hint)));
        }
    }
    Error::new(kind, message).multi_line().details(failed.iter().map(|(text, error)| failure(text, error)).collect())
}

/// Joins a message into one line.
fn one_line(message: &str, multi_line: bool) -> String {
    let joined = if multi_line { message.replace("\n  ", "; ") } else { message.to_owned() };
    visible::line(&joined)
}

fn failure(text: &str, error: &Error) -> Json {
    json!({ "bundle": text, "error": hints::to_json(error)["error"] })
}
