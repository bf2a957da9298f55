//! `blockyard upgrade`: plans the upgrade of each bundle, shows the plan, and executes it when the
//! user agrees. A bundle that cannot be upgraded does not affect the others.

mod answers;
mod show;

use std::process::ExitCode;

use blockyard::model::form::Form;
use blockyard::model::{BundleName, Digest, Pointer, visible};
use blockyard::{
    Address, Agreement, Answers, Content, Error, ErrorKind, Found, Given, Project, ProjectLock, Registry, Request,
    Staged, UpgradePlan, UpgradeTarget, Upgraded, Wanted, Yard,
};
use semver::{Version, VersionReq};
use serde_json::json;

use self::answers::Supplied;

use crate::arguments::Upgrade;
use crate::context::Context;
use crate::hints;
use crate::interview::Interview;
use crate::outcome::{DONE, Outcome, WOULD_CHANGE};
use crate::remote::RegistryQuery;
use crate::terminal::Failure;

/// State of one `upgrade` command.
struct Upgrading<'a> {
    arguments: &'a Upgrade,
    context: &'a Context,
    yard: Yard,
    given: Given,
    registries: Vec<Registry>,
    supplied: Supplied,
}

/// A bundle to upgrade.
struct Target {
    name: BundleName,
    requirement: Option<VersionReq>,
}

/// A finished step for one bundle.
enum Step {
    /// A plan with changes, for `--plan`.
    Planned(Box<UpgradePlan>),
    Upgraded(Upgraded),
    /// All blocks use the target version.
    Nothing,
}

pub(super) async fn run(arguments: Upgrade, context: &Context) -> Outcome {
    let grants = arguments.grant.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>().map_err(Error::from)?;
    let given = Given { yes: arguments.yes, grants, replace: arguments.replace };
    let supplied = Supplied::read(&arguments.set, arguments.answers.as_deref())?;
    let named = arguments.bundle.as_deref().map(target).transpose()?;
    let reason = arguments.message.reason()?;
    let belongs =
        |project: &Project| named.as_ref().is_none_or(|target| project.file().bundles.contains_key(&target.name));
    let project = context.trusted_project(belongs)?;
    let mut lock = match &project {
        Some(project) if !arguments.plan => Some(context.reserve_lock(project, "upgrade").await?),
        _ => None,
    };
    let yard = context.open().await?.with_reason(reason);
    let mut targets = match named {
        Some(target) => vec![target],
        None => {
            let names = yard.installed_names().await?.into_iter();
            names.map(|name| Target { name, requirement: None }).collect()
        }
    };
    let names: Vec<BundleName> = targets.iter().map(|target| target.name.clone()).collect();
    let registries = context.registries(RegistryQuery::permitted(&arguments.registry, Wanted::Bundles(&names))).await?;
    // Without a version, the project decides which versions fit.
    for target in targets.iter_mut().filter(|target| target.requirement.is_none()) {
        target.requirement = project.as_ref().and_then(|project| project.file().bundles.get(&target.name)).cloned();
    }
    let mut upgrading = Upgrading { arguments: &arguments, context, yard, given, registries, supplied };
    let (mut steps, mut failed) = (Vec::new(), Vec::new());
    for target in &targets {
        match upgrading.upgrade(target).await {
            Ok(step) => steps.push(step),
            Err(Failure::Error(error)) => failed.push((&target.name, error)),
            Err(stopped) => return Err(stopped),
        }
    }
    let Upgrading { yard, supplied, .. } = upgrading;
    let locked = match &mut lock {
        Some(lock) => relock(&yard, lock, &steps, context).await,
        None => Ok(()),
    };
    yard.close().await;
    for address in supplied.unused() {
        context.terminal.note(&format!("warning: no upgraded bundle defines the type of `{address}`"));
    }
    if targets.len() == 1
        && let Some((_, error)) = failed.pop()
    {
        return Err(error.into());
    }
    print(&steps, &failed, context)?;
    locked?;
    match failed.first() {
        None => Ok(exit_code(&steps)),
        Some((_, error)) => {
            let code = hints::exit_code(error.kind());
            for (_, error) in &failed {
                context.terminal.fail(error);
            }
            Ok(ExitCode::from(code))
        }
    }
}

/// Records the new versions in the lock file of the project. One that the project does not permit is
/// not recorded, with a note.
async fn relock(yard: &Yard, lock: &mut ProjectLock, steps: &[Step], context: &Context) -> Result<(), Error> {
    let mut digests = Vec::new();
    for step in steps {
        let Step::Upgraded(upgraded) = step else { continue };
        let (name, version) = (BundleName::new(upgraded.bundle.as_str())?, Version::parse(&upgraded.version));
        let Some(requirement) = lock.requirement(&name) else { continue };
        if version.is_ok_and(|version| requirement.matches(&version)) {
            digests.extend(upgraded.sha256.parse::<Digest>());
        } else {
            let version = &upgraded.version;
            let reason = format!("{version} does not fit `{requirement}` in blockyard.toml");
            context.terminal.note(&format!("note: `{name}` was upgraded, but not locked: {reason}"));
        }
    }
    if !digests.is_empty() {
        yard.lock_installed(lock, &digests).await?;
    }
    Ok(())
}

/// Parses `NAME`, `NAME@VERSION` or `NAME@REQUIREMENT`. A complete version means exactly that
/// version.
fn target(text: &str) -> Result<Target, Error> {
    let (name, requirement) = match text.split_once('@') {
        Some((name, requirement)) => (name, Some(requirement)),
        None => (text, None),
    };
    let exact =
        |version: &str| if Version::parse(version).is_ok() { format!("={version}") } else { version.to_owned() };
    let requirement = requirement.map(|text| {
        VersionReq::parse(&exact(text)).map_err(|error| {
            Error::new(ErrorKind::Usage, format!("`{}` is not a version", visible::line(text)))
                .because(error)
                .hint("write for example `sql@0.2.0`")
        })
    });
    Ok(Target { name: BundleName::new(name)?, requirement: requirement.transpose()? })
}

impl Upgrading<'_> {
    async fn upgrade(&mut self, target: &Target) -> Result<Step, Failure> {
        let Target { name, requirement } = target;
        let staged = match self.yard.upgrade_target(name, requirement.as_ref(), &self.registries).await? {
            UpgradeTarget::Installed(digest) => self.yard.stage_installed(&digest).await?,
            UpgradeTarget::Release(version) => self.stage(name, &version).await?,
        };
        let mut answers = self.supplied.take(|slug| staged.schema(slug), &self.context.terminal)?;
        let mut plan = self.plan(&staged, &answers).await?;
        if self.asks() && self.ask_for_values(&staged, &plan, &mut answers).await? {
            plan = self.plan(&staged, &answers).await?;
        }
        if !plan.changes_anything() {
            return Ok(Step::Nothing);
        }
        if self.arguments.plan {
            return Ok(Step::Planned(Box::new(plan)));
        }
        let agreement = self.agreement(&plan)?;
        let progress = self.context.progress();
        let mut report = |done, all| progress.count(|| format!("converting blocks of {name}: {done} of {all}"));
        let upgraded = self.yard.upgrade(&staged, &plan, &answers, &agreement, &mut report).await?;
        Ok(Step::Upgraded(upgraded))
    }

    /// Finds a release in the registries and stages it.
    async fn stage(&self, name: &BundleName, version: &Version) -> Result<Staged, Error> {
        let requirement = VersionReq::parse(&format!("={version}")).expect("a version is a requirement");
        let request = Request { name, requirement: &requirement, accepted_key: None };
        let progress = self.context.progress();
        let mut report = |text: &str| progress.keep(text, || self.context.terminal.note(text));
        let Found { content, release } = self.yard.find(&request, &self.registries, &mut report).await?;
        match content {
            Content::Component(bytes) => self.yard.stage_release(bytes, release).await,
            Content::Crate(_) => Err(Error::new(
                ErrorKind::Usage,
                format!("`{name}` {version} is source code, which an upgrade does not build"),
            )
            .hint(format!("run `blockyard install {name}@={version} --build`, then upgrade the blocks"))),
        }
    }

    async fn plan(&self, staged: &Staged, answers: &Answers) -> Result<UpgradePlan, Error> {
        let progress = self.context.progress();
        let mut report = |done, all| progress.count(|| format!("planning: {done} of {all} blocks"));
        let plan = self.yard.plan_upgrade(staged, answers, &mut report).await?;
        let unknown = answers.keys().map(ToString::to_string);
        let planned = |address: &String| plan.blocks.iter().any(|block| block.address == *address);
        match unknown.into_iter().find(|address| !planned(address)) {
            None => Ok(plan),
            Some(address) => Err(Error::new(
                ErrorKind::NotFound,
                format!("a value was given for `{address}`, which is not a block to upgrade"),
            )),
        }
    }

    /// Returns whether the user can be asked: for agreement, and for values.
    fn asks(&self) -> bool {
        !self.arguments.plan && !self.given.yes && self.context.terminal.can_ask()
    }

    /// Prompts for the fields that prevent the conversion of blocks. Returns whether there are any.
    async fn ask_for_values(
        &self,
        staged: &Staged,
        plan: &UpgradePlan,
        answers: &mut Answers,
    ) -> Result<bool, Failure> {
        let mut asked = false;
        for block in plan.failed() {
            let address: Address = block.address.parse().map_err(Error::from)?;
            let Some(schema) = staged.schema(&address.type_slug) else { continue };
            let form = Form::new(schema);
            let mut interview = Interview::new(&self.context.terminal, &self.yard, &form, schema, &address);
            for problem in &block.report.problems {
                let pointer = Pointer::new(problem.pointer.as_str());
                let Some(field) = interview.field_at(&pointer).filter(|field| field.pointer == pointer) else {
                    continue;
                };
                let (name, message) = (visible::line(&pointer.dotted()), visible::line(&problem.message));
                self.context.terminal.prompt(&format!("`{name}` of `{address}` {message}"));
                // Other bundles may have been upgraded already.
                let answered = interview.ask(&field).await;
                answered.map_err(
                    |stopped| if matches!(stopped, Failure::Canceled) { Failure::Interrupted } else { stopped },
                )?;
                asked = true;
            }
            let given = interview.values();
            let patch = answers.entry(address.clone()).or_default();
            patch.set.extend(given.set);
            patch.secrets.extend(given.secrets);
        }
        Ok(asked)
    }

    /// Shows the plan and asks for agreement on a terminal. Without a terminal, the command-line
    /// options decide.
    fn agreement(&self, plan: &UpgradePlan) -> Result<Agreement, Error> {
        let terminal = &self.context.terminal;
        let asks = self.asks();
        let print = |text: &str| if asks { terminal.prompt(text) } else { terminal.note(text) };
        print(show::plan(plan).trim_end());
        plan.require_success()?;
        if !asks {
            return Ok(Agreement::Given(self.given.clone()));
        }
        let question = if plan.is_wider() {
            "lines marked `!` permit more than before; upgrade and grant this?"
        } else {
            "upgrade?"
        };
        match terminal.confirm(question) {
            true => Ok(Agreement::Everything),
            false => Err(Error::new(
                ErrorKind::Denied,
                format!("bundle `{}` was not upgraded: the user declined", plan.bundle),
            )),
        }
    }
}

/// Returns the exit code of the plans: that of the first upgrade that would fail because a block
/// cannot be converted, or else the one for changes. A missing grant is not a failure.
fn exit_code(steps: &[Step]) -> ExitCode {
    let plans = || steps.iter().filter_map(|step| if let Step::Planned(plan) = step { Some(plan) } else { None });
    match plans().find_map(|plan| plan.require_success().err()) {
        Some(error) => ExitCode::from(hints::exit_code(error.kind())),
        None if plans().next().is_some() => ExitCode::from(WOULD_CHANGE),
        None => DONE,
    }
}

fn print(steps: &[Step], failed: &[(&BundleName, Error)], context: &Context) -> Result<(), Failure> {
    let (mut plans, mut upgraded) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Planned(plan) => plans.push(plan),
            Step::Upgraded(done) => upgraded.push(done),
            Step::Nothing => {}
        }
    }
    let mut document = json!({ "plans": plans, "upgraded": upgraded });
    if !failed.is_empty() {
        let failure = |(name, error): &(&BundleName, Error)| json!({ "bundle": name.as_str(), "error": hints::to_json(error)["error"] });
        document["failed"] = failed.iter().map(failure).collect();
    }
    context.terminal.document(&document, || {
        let mut text: String = plans.iter().map(|plan| show::plan(plan)).collect();
        text.extend(upgraded.iter().map(|done| show::upgraded(done)));
        if text.is_empty() && failed.is_empty() {
            text.push_str("nothing to upgrade: all blocks use the selected versions of their bundles\n");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_version_is_exact() {
        let requirement = |text: &str| {
            target(text).map(|target| target.requirement.map(|requirement| requirement.to_string())).expect(text)
        };
        assert_eq!(requirement("zoo"), None);
        assert_eq!(requirement("zoo@1.0.0").as_deref(), Some("=1.0.0"));
        assert_eq!(requirement("zoo@1.0").as_deref(), Some("^1.0"));
        assert_eq!(requirement("zoo@2.0.0-beta.1").as_deref(), Some("=2.0.0-beta.1"));
        for text in ["Zoo", "zoo@", "zoo@new", "./zoo.wasm"] {
            assert!(target(text).is_err(), "{text}");
        }
    }
}
