//! `blockyard install`: stages each bundle, shows its review, and installs it when the user agrees.
//! A failed bundle does not prevent the installation of the others.

mod target;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use blockyard::{
    Agreement, BundleSource, Capability, Content, Error, ErrorKind, Found, Given, Installed, Json, Registry, Request,
    Staged, Yard,
    model::{BundleName, visible},
};
use serde_json::json;

use self::target::InstallTarget;

use crate::arguments::Install;
use crate::context::Context;
use crate::hints;
use crate::outcome::{DONE, Outcome};

/// State of one `install` command.
struct Installing<'a> {
    arguments: &'a Install,
    context: &'a Context,
    yard: Yard,
    given: Given,
    /// Read when the first bundle requires them.
    registries: Option<Vec<Registry>>,
    /// Capabilities of `--grant` that no bundle has requested so far.
    unused: Vec<Capability>,
}

pub(super) async fn run(arguments: Install, context: &Context) -> Outcome {
    let given = given(&arguments)?;
    let unused = given.grants.clone();
    let from_registry = |text: &String| matches!(InstallTarget::parse(text), Ok(InstallTarget::Registry { .. }));
    // Before a yard is created: the project file that names a registry may not be trusted.
    let registries = match arguments.bundles.iter().any(from_registry) {
        true => Some(context.registries(&arguments.registry).await),
        false => None,
    };
    let registries = match registries.transpose() {
        Ok(registries) => registries,
        Err(error) if arguments.bundles.iter().all(from_registry) => return Err(error.into()),
        // The bundles that need no registry are installed; the others report the error.
        Err(_) => None,
    };
    let yard = context.open_or_init().await?;
    let mut installing = Installing { arguments: &arguments, context, yard, given, registries, unused };
    let (mut installed, mut failed) = (Vec::new(), Vec::new());
    for text in &arguments.bundles {
        match installing.install(text).await {
            Ok(bundle) => installed.push(bundle),
            Err(error) => failed.push((text.as_str(), error)),
        }
    }
    let Installing { yard, unused, .. } = installing;
    yard.close().await;
    if failed.is_empty()
        && let Some(capability) = unused.first()
    {
        context.terminal.note(&format!("warning: no bundle requests `{capability}`, given with `--grant`"));
    }
    if installed.is_empty() {
        return Err(all_failed(failed, arguments.bundles.len()).into());
    }
    show(context, &installed, &failed)?;
    if failed.is_empty() {
        return Ok(DONE);
    }
    let error = all_failed(failed, arguments.bundles.len());
    context.terminal.fail(&error);
    Ok(ExitCode::from(hints::exit_code(error.kind())))
}

/// Returns the agreement expressed by the command-line options.
fn given(arguments: &Install) -> Result<Given, Error> {
    let grants = arguments.grant.iter().map(|text| text.parse()).collect::<Result<Vec<Capability>, _>>()?;
    Ok(Given { yes: arguments.yes, grants, replace: arguments.replace })
}

impl Installing<'_> {
    async fn install(&mut self, text: &str) -> Result<Installed, Error> {
        let target = InstallTarget::parse(text)?;
        if matches!(target, InstallTarget::Registry { .. }) && self.registries.is_none() {
            self.registries = Some(self.context.registries(&self.arguments.registry).await?);
        }
        let progress = self.context.progress();
        // Building runs untrusted code, so the path stays visible, even without a progress bar.
        let mut report = |text: &str| progress.keep(text, || self.context.terminal.note(text));
        let staged = self.stage(&target, &mut report).await?;
        drop(progress);
        self.unused.retain(|capability| !staged.review().requests(capability));
        let agreement = self.agreement(&staged)?;
        self.yard.install(staged, &agreement).await
    }

    /// Reads, finds or builds a bundle and stages it in the yard. A crate specified by path is
    /// built; one from a registry requires `--build`.
    async fn stage(&self, target: &InstallTarget, report: &mut (dyn FnMut(&str) + Send)) -> Result<Staged, Error> {
        match target {
            InstallTarget::File(path) => self.yard.stage(read(path)?, BundleSource::file(path)).await,
            InstallTarget::Crate(folder) => {
                let built = blockyard_build::build(folder, report).await?;
                self.yard.stage(built.bytes, BundleSource::krate(folder)).await
            }
            InstallTarget::Registry { name, requirement } => {
                let registries = self.registries.as_deref().unwrap_or_default();
                let request = Request { name, requirement, accepted_key: self.arguments.accept_key.as_ref() };
                let Found { content, release } = self.yard.find(&request, registries, report).await?;
                let bytes = match content {
                    Content::Component(bytes) => bytes,
                    Content::Crate(folder) if self.arguments.build => {
                        blockyard_build::build(&folder, report).await?.bytes
                    }
                    Content::Crate(folder) => return Err(needs_building(name, &blockyard_build::resolved(&folder)?)),
                };
                self.yard.stage_release(bytes, release).await
            }
        }
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
        for line in &review.lines {
            let mark = if line.needs.is_some() { "!" } else { " " };
            print(&format!("{mark} {}", visible::line(&line.text)));
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

fn show(context: &Context, installed: &[Installed], failed: &[(&str, Error)]) -> Result<(), crate::terminal::Failure> {
    let mut document = json!({ "installed": installed });
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
