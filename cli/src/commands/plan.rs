//! `blockyard plan` and `blockyard apply`: shows the changes that a block file would make, and
//! makes them.

use std::process::ExitCode;

use blockyard::{BlockFile, PlanAction, PlannedBlock};
use serde_json::json;

use super::diff;
use crate::arguments::{Apply, PlanFile};
use crate::context::Context;
use crate::input::read;
use crate::outcome::{DONE, Outcome, WOULD_CHANGE};
use crate::terminal::Failure;

pub(super) async fn plan(arguments: &PlanFile, context: &Context) -> Outcome {
    let file = BlockFile::parse(&read(&arguments.file)?)?;
    let yard = context.open().await?;
    let plan = yard.plan(&file).await?;
    let blocks = plan.blocks();
    let changes = plan.changes_anything();
    context.terminal.document(&json!({ "changed": changes, "blocks": blocks }), || {
        let mut text: String = blocks.iter().map(|block| lines(block, ["would create", "would change"])).collect();
        text.push_str(&summary(&blocks, "to create", "to change"));
        text
    })?;
    yard.close().await;
    Ok(if changes { ExitCode::from(WOULD_CHANGE) } else { DONE })
}

pub(super) async fn apply(arguments: &Apply, context: &Context) -> Outcome {
    let reason = arguments.message.reason()?;
    let file = BlockFile::parse(&read(&arguments.file)?)?;
    let yard = context.open().await?.with_reason(reason);
    let plan = yard.plan(&file).await?;
    let changed = plan.changes_anything();
    let progress = context.progress();
    let blocks = yard.apply(plan, &mut |address| progress.count(|| format!("applying {address}"))).await?;
    drop(progress);
    print(&blocks, changed, context)?;
    yard.close().await;
    Ok(DONE)
}

pub(super) fn print(blocks: &[PlannedBlock], changed: bool, context: &Context) -> Result<(), Failure> {
    context.terminal.document(&json!({ "changed": changed, "blocks": blocks }), || {
        let mut text: String = blocks.iter().map(|block| lines(block, ["created", "changed"])).collect();
        text.push_str(&summary(&blocks.iter().collect::<Vec<_>>(), "created", "changed"));
        text
    })
}

fn lines(block: &PlannedBlock, [create, change]: [&str; 2]) -> String {
    let verb = match block.action {
        PlanAction::Create => create,
        PlanAction::Change => change,
        PlanAction::Unchanged => return String::new(),
    };
    let revision = block.revision.map(|revision| format!("@{revision}")).unwrap_or_default();
    format!("{verb} {}{revision}\n{}", block.address, diff::lines(&block.changes))
}

fn summary(blocks: &[&PlannedBlock], create: &str, change: &str) -> String {
    let count = |action: PlanAction| blocks.iter().filter(|block| block.action == action).count();
    format!(
        "{} {create}, {} {change}, {} unchanged",
        count(PlanAction::Create),
        count(PlanAction::Change),
        count(PlanAction::Unchanged)
    )
}
