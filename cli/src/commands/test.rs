//! `blockyard test`: runs the tests of a crate and the conformance tests of its bundle.

use std::path::Path;
use std::process::ExitCode;

use blockyard::model::visible;
use blockyard::{ConformanceResult, ConformanceStatus, Error, ErrorKind, UpgradeCase};
use blockyard_build::{Profile, TestRun};
use serde_json::json;

use crate::arguments::Test;
use crate::context::Context;
use crate::hints;
use crate::outcome::{DONE, Outcome};

/// Folder of the stored configurations in the folder of a crate.
const UPGRADES: &str = "tests/upgrades";

pub(super) async fn run(arguments: &Test, context: &Context) -> Outcome {
    let folder = &arguments.path;
    blockyard_build::require_crate(folder)?;
    // A malformed file is reported before minutes of compilation.
    let cases = upgrade_cases(&folder.join(UPGRADES))?;
    let progress = context.progress();
    let mut report = |text: &str| progress.keep(text, || context.terminal.note(text));
    let mut results = vec![native(folder, context, &mut report)?];
    let built = blockyard_build::build(folder, Profile::Release, &mut report).await?;
    report("testing the conformance of the bundle");
    results.extend(blockyard::conformance(&built.bytes, &cases).await?);
    drop(progress);
    let passed = results.iter().all(|result| result.status != ConformanceStatus::Failed);
    let document = json!({
        "name": built.name, "version": built.version, "sha256": built.digest.to_string(), "passed": passed,
        "results": results,
    });
    context.terminal.document(&document, || results.iter().map(line).collect())?;
    Ok(if passed { DONE } else { ExitCode::from(hints::exit_code(ErrorKind::Remote)) })
}

/// Runs the tests of the crate, and shows their output if they fail.
fn native(folder: &Path, context: &Context, report: &mut (dyn FnMut(&str) + Send)) -> Result<ConformanceResult, Error> {
    let TestRun { passed, output } = blockyard_build::test(folder, report)?;
    let (status, reasons) = match passed {
        true => (ConformanceStatus::Ok, Vec::new()),
        false => {
            context.terminal.note(&visible::lines(output.trim_end()));
            (ConformanceStatus::Failed, vec!["see the output of cargo above".to_owned()])
        }
    };
    Ok(ConformanceResult { name: "`cargo test`".to_owned(), status, reasons })
}

/// Reads the stored configurations, ordered by the names of their files. The folder need not exist.
fn upgrade_cases(folder: &Path) -> Result<Vec<UpgradeCase>, Error> {
    let unreadable = |path: &Path, error: std::io::Error| {
        Error::new(ErrorKind::Remote, format!("`{}` cannot be read", path.display())).because(error)
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(folder, error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|error| unreadable(folder, error))?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        UpgradeCase::parse(&format!("{UPGRADES}/{name}"), &text)
    };
    paths.iter().map(read).collect()
}

fn line(result: &ConformanceResult) -> String {
    let status = match result.status {
        ConformanceStatus::Ok => "ok",
        ConformanceStatus::Failed => "failed",
        ConformanceStatus::Skipped => "skipped",
    };
    let reasons: Vec<String> = result.reasons.iter().map(|reason| visible::line(reason)).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
    format!("{status:<7}  {}{reasons}\n", visible::line(&result.name))
}
