//! `blockyard doctor`: runs all offline checks of a yard.

use std::process::ExitCode;

use blockyard::model::visible;
use blockyard::{ErrorKind, Yard};

use crate::context::Context;
use crate::hints;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(context: &Context) -> Outcome {
    let (url, config) = context.yard().await?;
    let progress = context.progress();
    let found = Yard::doctor(&url, config, &mut |what| {
        progress.count(|| format!("checking {what}"));
    })
    .await;
    drop(progress);
    context.terminal.document(&found, || {
        let width = found.steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
        let lines = found.steps.iter().map(|step| {
            let detail = visible::line(step.detail.as_deref().unwrap_or_default());
            format!("{:7}  {:width$}  {detail}\n", step.status, step.name)
        });
        lines.collect()
    })?;
    Ok(if found.passed { DONE } else { ExitCode::from(hints::exit_code(ErrorKind::Remote)) })
}
