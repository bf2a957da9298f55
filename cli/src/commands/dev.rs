//! `blockyard dev`: builds the crate of a bundle after each change and installs it in a scratch yard.

mod hint;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use blockyard::model::visible;
use blockyard::{Agreement, Answers, BlockFilter, Built, BundleSource, Error, Inspection, Staged, UpgradePlan, Yard};
use blockyard_build::{Profile, Watch, WatchMethod};

use self::hint::first_steps;
use crate::arguments::Dev;
use crate::context::Context;
use crate::outcome::Outcome;

/// Folder of the scratch yard in the folder of the crate. `cargo clean` removes it.
const SCRATCH: &str = "target/blockyard-dev";

/// A running session.
struct Session<'a> {
    context: &'a Context,
    folder: PathBuf,
    yard: Yard,
    /// Version and digest of the bundle that the yard uses.
    installed: Option<String>,
}

pub(super) async fn run(arguments: &Dev, context: &Context) -> Outcome {
    blockyard_build::require_crate(&arguments.path)?;
    let folder = blockyard_build::resolved(&arguments.path)?;
    let method = if arguments.poll { WatchMethod::Polling } else { WatchMethod::Automatic };
    // Before the first build, so that no change is missed.
    let mut watch = Watch::start(&folder, method)?;
    let yard = context.scratch_yard(&folder.join(SCRATCH)).await?;
    let shown = visible::line(&folder.display().to_string());
    let found = match (watch.is_polling(), arguments.poll) {
        (false, _) => "",
        (true, true) => " by comparing files each second",
        (true, false) => " by comparing files each second, because the system reports no changes",
    };
    context.terminal.note(&format!("watching `src` and Cargo.toml of {shown}{found}; Ctrl-C ends"));
    context.terminal.note(&format!("scratch yard: {}", visible::line(&yard.info().yard)));
    let mut session = Session { context, folder, yard, installed: None };
    loop {
        if let Err(error) = session.rebuild().await {
            context.terminal.fail(&error);
            let state = match &session.installed {
                Some(installed) => format!("{installed} remains installed"),
                None => "no version was installed in this session".to_owned(),
            };
            context.terminal.note(&state);
        }
        context.terminal.note("waiting for changes");
        watch.changed().await;
    }
}

impl Session<'_> {
    /// Builds the crate, installs the bundle in the scratch yard, moves the blocks to it and checks them.
    async fn rebuild(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        let progress = self.context.progress();
        let mut report = |text: &str| progress.keep(text, || self.context.terminal.note(text));
        let Built { bytes, digest, name, version } =
            blockyard_build::build(&self.folder, Profile::Development, &mut report).await?;
        drop(progress);
        let compiled = started.elapsed();
        let inspection = blockyard::inspect(&bytes)?;
        let staged = self.yard.stage(bytes, BundleSource::krate(&self.folder)).await?;
        let is_first = self.installed.is_none();
        let label = format!("{name} {version} (sha256 {:.12})", digest.to_string().trim_start_matches("sha256:"));
        if staged.is_installed() {
            self.context.terminal.note(&format!("{label} is installed already"));
        } else {
            self.show_permissions(&staged);
            self.swap(staged).await?;
            let took = [("compiled", compiled), ("installed", started.elapsed().saturating_sub(compiled))];
            let took: Vec<String> = took.iter().map(|(step, time)| format!("{step} in {}", seconds(*time))).collect();
            self.context.terminal.note(&format!(
                "installed {label} after {}: {}",
                seconds(started.elapsed()),
                took.join(", ")
            ));
        }
        self.installed = Some(label);
        let blocks = self.check(&inspection).await?;
        if is_first || blocks == 0 {
            self.context.terminal.note(&first_steps(&inspection, &self.yard.info().yard, blocks));
        }
        Ok(())
    }

    /// Shows the permissions of a new bundle, or those that a rebuilt one adds. The scratch yard grants them.
    fn show_permissions(&self, staged: &Staged) {
        let review = staged.review();
        let lines = review.lines.iter().filter(|line| !review.replaces || line.needs.is_some());
        let lines: String = lines.map(|line| format!("\n  {}", visible::line(&line.text))).collect();
        if !lines.is_empty() {
            let title = if review.replaces { "the new build requires more than before" } else { "permissions" };
            self.context.terminal.note(&format!("{title}, granted in the scratch yard only:{lines}"));
        }
    }

    /// Installs a bundle and moves the blocks to it. Blocks that cannot be converted stay on their version, with all
    /// others.
    async fn swap(&self, staged: Staged) -> Result<(), Error> {
        let answers = Answers::default();
        let plan = self.yard.plan_upgrade(&staged, &answers, &mut |_, _| ()).await?;
        if plan.blocks.is_empty() {
            self.yard.install(staged, &Agreement::Everything).await?;
        } else if plan.failed().next().is_some() {
            self.context.terminal.note(&not_moved(&plan));
            self.yard.install(staged, &Agreement::Everything).await?;
        } else {
            self.yard.upgrade(&staged, &plan, &answers, &Agreement::Everything, &mut |_, _| ()).await?;
        }
        Ok(())
    }

    /// Checks the blocks of the bundle. Returns their number.
    async fn check(&self, inspection: &Inspection) -> Result<usize, Error> {
        let filter = BlockFilter { types: Some(inspection.types.clone()), ..BlockFilter::default() };
        let entries = self.yard.list(filter, None).await?;
        for entry in &entries {
            let address = visible::line(&entry.address);
            let checked = match self.yard.block(&entry.address).await {
                Ok(block) => block.check().await,
                Err(error) => Err(error),
            };
            match checked {
                Ok(check) => {
                    for step in &check.steps {
                        let detail = step.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
                        let text = format!("check {address}: {:<7}  {}{detail}", step.status, step.name);
                        self.context.terminal.note(&visible::line(&text));
                    }
                    for line in &check.log {
                        let text = format!("log {address}: {:?}: {}", line.level, line.message);
                        self.context.terminal.note(&visible::line(&text));
                    }
                }
                Err(error) => {
                    self.context.terminal.note(&format!("check {address}: cannot run"));
                    self.context.terminal.fail(&error);
                }
            }
        }
        Ok(entries.len())
    }
}

/// Lists the blocks that cannot be converted to a new build, each with the reasons.
fn not_moved(plan: &UpgradePlan) -> String {
    let mut text = "blocks that keep the previous build, because they cannot be converted:".to_owned();
    for block in plan.failed() {
        for problem in &block.report.problems {
            let (pointer, message) = (visible::line(&problem.pointer), visible::line(&problem.message));
            text.push_str(&format!("\n  {}: {pointer}: {message}", visible::line(&block.address)));
        }
    }
    text
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
