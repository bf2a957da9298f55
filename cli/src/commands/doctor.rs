//! `blockyard doctor`: runs all offline checks of a yard, compares it with the lock file of the
//! project, and with `--online` reads the registries.

use std::process::ExitCode;

use blockyard::model::visible;
use blockyard::{Check, CheckStep, Error, ErrorKind, LockFinding, Project, TrustState, Yard, YardConfig};
use serde::Serialize;

use crate::arguments::Doctor;
use crate::context::Context;
use crate::hints;
use crate::outcome::{DONE, Outcome};
use crate::registries::{ListedRegistry, Reach};

/// Name of the step that reads the registries.
const REGISTRIES: &str = "registries";

/// A step with the command that fixes its finding.
#[derive(Serialize)]
struct Step<'a> {
    name: &'a str,
    status: &'a str,
    detail: Option<&'a str>,
    milliseconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
    /// The registries on servers.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    registries: &'a [Credentials],
}

/// The credentials with which a registry on a server was read.
#[derive(Serialize)]
struct Credentials {
    address: String,
    kind: &'static str,
    credentials: String,
}

#[derive(Serialize)]
struct Report<'a> {
    passed: bool,
    steps: Vec<Step<'a>>,
}

pub(super) async fn run(arguments: &Doctor, context: &Context) -> Outcome {
    let (url, config) = context.yard().await?;
    let progress = context.progress();
    let mut found = Yard::doctor(&url, config.clone(), &mut |what| {
        progress.count(|| format!("checking {what}"));
    })
    .await;
    let is_open = found.steps.first().is_some_and(|step| step.status == "passed");
    if let Some(project) = context.project()?.filter(|project| is_open && !project.file().bundles.is_empty()) {
        let step = check_lock(context, &project, &url, config).await?;
        found.passed &= step.status != "failed";
        found.steps.push(step);
    }
    let mut credentials = Vec::new();
    if arguments.online {
        progress.count(|| "checking the registries".to_owned());
        let (step, read) = registries(context).await;
        found.steps.push(step);
        credentials = read;
        found.passed &= found.steps.iter().all(|step| step.status != "failed");
    }
    drop(progress);
    let report = report(&found, &credentials);
    context.terminal.document(&report, || text(&report))?;
    Ok(if found.passed { DONE } else { ExitCode::from(hints::exit_code(ErrorKind::Remote)) })
}

fn report<'a>(found: &'a Check, credentials: &'a [Credentials]) -> Report<'a> {
    let steps = found.steps.iter().map(|step| Step {
        name: &step.name,
        status: &step.status,
        detail: step.detail.as_deref(),
        milliseconds: step.milliseconds,
        hint: (step.status != "passed").then(|| hint(&step.name)).flatten(),
        registries: if step.name == REGISTRIES { credentials } else { &[] },
    });
    Report { passed: found.passed, steps: steps.collect() }
}

fn text(report: &Report<'_>) -> String {
    let width = report.steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    let lines = report.steps.iter().map(|step| {
        let detail = visible::line(step.detail.unwrap_or_default());
        let credentials = step.registries.iter().map(|registry| {
            let used = format!("`{}`: credentials: {}", registry.address, registry.credentials);
            format!("{:7}  {:width$}  {}\n", "", "", visible::line(&used))
        });
        let credentials: String = credentials.collect();
        let hint = step.hint.map(|hint| format!("{:7}  {:width$}  hint: {hint}\n", "", "")).unwrap_or_default();
        format!("{:7}  {:width$}  {detail}\n{credentials}{hint}", step.status, step.name)
    });
    lines.collect()
}

/// Returns the command that fixes the finding of a step. `None` if its detail says what to do.
fn hint(step: &str) -> Option<&'static str> {
    Some(match step {
        "key" => "finish the rotation with `blockyard key rotate`",
        "bundles" => "list the problems with `blockyard verify`, and install the bundle again with `blockyard install`",
        "versions" => "show the changes of an upgrade with `blockyard upgrade --plan`",
        "grants" => "list them with `blockyard grants --unused`, and revoke with `blockyard revoke BUNDLE CAPABILITY`",
        REGISTRIES => "list them with `blockyard registries`",
        _ => return None,
    })
}

/// Reads each registry that an installation uses. Returns the credentials of those on servers, too.
async fn registries(context: &Context) -> (CheckStep, Vec<Credentials>) {
    match context.listed_registries(&[], Reach::All).await {
        Ok(listed) => (checked(&listed), listed.iter().filter_map(credentials).collect()),
        Err(error) => (registries_step("failed", error.to_string()), Vec::new()),
    }
}

fn credentials(listed: &ListedRegistry) -> Option<Credentials> {
    let used = listed.credentials.as_ref()?;
    Some(Credentials { address: listed.address.clone(), kind: used.kind(), credentials: used.to_string() })
}

fn registries_step(status: &str, detail: String) -> CheckStep {
    CheckStep { name: REGISTRIES.to_owned(), status: status.to_owned(), detail: Some(detail), milliseconds: None }
}

/// Returns the step for registries that were read.
fn checked(listed: &[ListedRegistry]) -> CheckStep {
    let mut failures = Vec::new();
    for listed in listed {
        match &listed.registry {
            Ok(registry) => {
                let name = &registry.name;
                failures.extend(registry.broken.iter().map(|broken| format!("registry `{name}`: {broken}")));
            }
            Err(error) => {
                let reasons: Vec<String> = std::iter::once(error.to_string()).chain(error.causes()).collect();
                failures.push(format!("`{}`: {}", listed.address, reasons.join(": ")));
            }
        }
    }
    match failures.as_slice() {
        [] => registries_step("passed", format!("{} can be read", listed.len())),
        failures => registries_step("failed", failures.join("; ")),
    }
}

/// Compares the lock file of a project with the yard. Names the command for each difference.
async fn check_lock(context: &Context, project: &Project, url: &str, config: YardConfig) -> Result<CheckStep, Error> {
    let step = |status: &str, detail: String| CheckStep {
        name: "lock".to_owned(),
        status: status.to_owned(),
        detail: Some(detail),
        milliseconds: None,
    };
    if context.trust()?.state(project)? != TrustState::Trusted {
        let path = project.path().display();
        let detail = format!("not compared, because the project file `{path}` is not trusted: run `blockyard trust`");
        return Ok(step("warning", detail));
    }
    let yard = Yard::open_with(url, config).await?;
    let compared = yard.compare_lock(project).await;
    yard.close().await;
    let (bundles, findings) = match compared {
        Ok(compared) => compared,
        Err(error) => {
            let hints = hints::hints(&error).into_iter();
            let parts: Vec<String> = [error.to_string()].into_iter().chain(error.causes()).chain(hints).collect();
            return Ok(step("failed", parts.join("; ")));
        }
    };
    if findings.is_empty() {
        return Ok(step("passed", format!("all {bundles} locked bundles are installed")));
    }
    let status = if findings.iter().any(LockFinding::is_failure) { "failed" } else { "warning" };
    let findings = findings.iter().map(|finding| format!("{finding}: run `{}`", hints::lock_command(finding)));
    Ok(step(status, findings.collect::<Vec<_>>().join("; ")))
}
