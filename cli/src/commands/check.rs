//! `blockyard check`: runs the health check of a block.

use std::process::ExitCode;

use blockyard::ErrorKind;
use blockyard::model::visible;

use crate::arguments::PinnedArgument;
use crate::context::Context;
use crate::hints;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: &PinnedArgument, context: &Context) -> Outcome {
    let yard = context.open().await?;
    let block = yard.open_block(&arguments.address).await?;
    let check = block.check().await?;
    context.log(&check.log);
    context.terminal.document(&check, || {
        let mut text = String::new();
        for step in &check.steps {
            let time = step.milliseconds.map(|time| format!(" ({time} ms)")).unwrap_or_default();
            let detail = step.detail.as_ref().map(|detail| format!(": {}", visible::line(detail))).unwrap_or_default();
            text.push_str(&format!(
                "{:<7}  {}{time}{detail}\n",
                visible::line(&step.status),
                visible::line(&step.name)
            ));
        }
        text
    })?;
    yard.close().await;
    Ok(if check.passed { DONE } else { ExitCode::from(hints::exit_code(ErrorKind::Remote)) })
}
