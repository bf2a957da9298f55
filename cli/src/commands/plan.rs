//! `blockyard plan` and `blockyard apply`: shows the changes that a block file would make, and
//! makes them.

use std::process::ExitCode;

use blockyard::{BlockFile, Error, Plan, PlanAction, PlannedBlock, Yard};
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
    let plan = planned(&yard, &file, arguments.prune).await?;
    let changes = plan.changes_anything();
    context.terminal.document(&json!({ "changed": changes, "blocks": plan.blocks() }), || text(&plan))?;
    yard.close().await;
    Ok(if changes { ExitCode::from(WOULD_CHANGE) } else { DONE })
}

pub(super) async fn apply(arguments: &Apply, context: &Context) -> Outcome {
    let reason = arguments.message.reason()?;
    let file = BlockFile::parse(&read(&arguments.plan.file)?)?;
    let yard = context.open().await?.with_reason(reason);
    let plan = planned(&yard, &file, arguments.plan.prune).await?;
    let changed = plan.changes_anything();
    confirm(&plan, arguments.yes, context)?;
    let progress = context.progress();
    let blocks = yard.apply(plan, &mut |address| progress.count(|| format!("applying {address}"))).await?;
    drop(progress);
    print(&blocks, changed, context)?;
    yard.close().await;
    Ok(DONE)
}

async fn planned(yard: &Yard, file: &BlockFile, prune: bool) -> Result<Plan, Error> {
    if prune { yard.plan_with_deletions(file).await } else { yard.plan(file).await }
}

/// Shows the plan on a terminal and asks for confirmation. Without a terminal, only deletions require
/// it, by `--yes`.
fn confirm(plan: &Plan, yes: bool, context: &Context) -> Result<(), Error> {
    let blocks = plan.blocks();
    let count = |matches: fn(PlanAction) -> bool| blocks.iter().filter(|block| matches(block.action)).count();
    let changes = count(|action| action != PlanAction::Unchanged);
    let deletions = count(|action| action == PlanAction::Delete);
    let terminal = &context.terminal;
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    if terminal.can_ask() && !yes && changes > 0 {
        terminal.prompt(text(plan).trim_end());
        let why = format!("applying the file changes {changes} block{}", plural(changes));
        return terminal.require_confirmation(yes, "apply these changes?", &why);
    }
    if deletions > 0 {
        let why = format!("applying the file deletes {deletions} block{}", plural(deletions));
        return terminal.require_confirmation(yes, "apply these changes?", &why);
    }
    Ok(())
}

pub(super) fn print(blocks: &[PlannedBlock], changed: bool, context: &Context) -> Result<(), Failure> {
    context.terminal.document(&json!({ "changed": changed, "blocks": blocks }), || {
        let mut text: String = blocks.iter().map(|block| lines(block, ["created", "changed", "deleted"])).collect();
        text.push_str(&summary(&blocks.iter().collect::<Vec<_>>(), ["created", "changed", "deleted"]));
        text
    })
}

/// Returns a plan as text.
fn text(plan: &Plan) -> String {
    let blocks = plan.blocks();
    let verbs = ["would create", "would change", "would delete"];
    let mut text: String = blocks.iter().map(|block| lines(block, verbs)).collect();
    text.push_str(&summary(&blocks, ["to create", "to change", "to delete"]));
    text
}

fn lines(block: &PlannedBlock, [create, change, delete]: [&str; 3]) -> String {
    let verb = match block.action {
        PlanAction::Create => create,
        PlanAction::Change => change,
        PlanAction::Delete => delete,
        PlanAction::Unchanged => return String::new(),
    };
    let revision = block.revision.map(|revision| format!("@{revision}")).unwrap_or_default();
    format!("{verb} {}{revision}\n{}", block.address, diff::lines(&block.changes))
}

fn summary(blocks: &[&PlannedBlock], [create, change, delete]: [&str; 3]) -> String {
    let count = |action: PlanAction| blocks.iter().filter(|block| block.action == action).count();
    let deletions = match count(PlanAction::Delete) {
        0 => String::new(),
        deletions => format!(", {deletions} {delete}"),
    };
    format!(
        "{} {create}, {} {change}{deletions}, {} unchanged",
        count(PlanAction::Create),
        count(PlanAction::Change),
        count(PlanAction::Unchanged)
    )
}
