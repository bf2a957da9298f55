//! Formats upgrade plans and their results.

use blockyard::model::type_difference::{Differs, FieldDifference, OperationDifference, TypeDifference};
use blockyard::model::visible;
use blockyard::{ConversionProblem, PlannedUpgrade, UpgradeAction, UpgradePlan, Upgraded};

use super::super::diff;

/// Formats a plan: permissions, types, and what happens to each block.
pub(super) fn plan(plan: &UpgradePlan) -> String {
    let from = plan.from.iter().map(|from| format!("{} → ", visible::line(from))).collect::<String>();
    let mut text = format!("{} {from}{}\n", plan.bundle, plan.version);
    for line in &plan.permissions {
        let mark = if line.needs.is_some() { "!" } else { " " };
        text.push_str(&format!("{mark} {}\n", visible::line(&line.text)));
    }
    plan.types.iter().for_each(|difference| text.push_str(&type_lines(difference)));
    plan.blocks.iter().for_each(|block| text.push_str(&block_lines(block)));
    let count = |action: UpgradeAction| plan.blocks.iter().filter(|block| block.action == action).count();
    let failing = count(UpgradeAction::Fail) + count(UpgradeAction::Crash);
    let (moving, kept) = (count(UpgradeAction::Upgrade), count(UpgradeAction::Keep));
    text.push_str(&format!("{moving} blocks to upgrade, {failing} that cannot be converted, {kept} unaffected\n"));
    text
}

fn type_lines(difference: &TypeDifference) -> String {
    let slug = &difference.slug;
    match difference.change {
        Differs::Added => return format!("block type {slug}: new\n"),
        Differs::Removed => return format!("block type {slug}: removed\n"),
        Differs::Changed => {}
    }
    let versions = match (difference.from_version, difference.version) {
        (Some(from), Some(to)) if from != to => format!(", version {from} → {to}"),
        _ => String::new(),
    };
    let fields: String = difference.fields.iter().map(field_line).collect();
    let operations: String = difference.operations.iter().map(operation_line).collect();
    format!("block type {slug}{versions}:\n{fields}{operations}")
}

fn mark(change: Differs) -> char {
    match change {
        Differs::Added => '+',
        Differs::Removed => '-',
        Differs::Changed => '~',
    }
}

fn field_line(field: &FieldDifference) -> String {
    let name = if field.field.is_empty() { "the schema" } else { &field.field };
    let required = if field.change == Differs::Added && field.required { " (required)" } else { "" };
    format!("  {} {}{required}{}\n", mark(field.change), visible::line(name), parts(&field.keywords))
}

fn operation_line(operation: &OperationDifference) -> String {
    let OperationDifference { operation, change, effect, parts: changed } = operation;
    format!("  {} operation {} ({effect}){}\n", mark(*change), visible::line(operation), parts(changed))
}

fn parts(changed: &[String]) -> String {
    if changed.is_empty() { String::new() } else { format!(": {}", visible::line(&changed.join(", "))) }
}

fn block_lines(block: &PlannedUpgrade) -> String {
    let PlannedUpgrade { address, revision, from, action, report, .. } = block;
    let what = match action {
        UpgradeAction::Upgrade => "is upgraded",
        UpgradeAction::Keep => "keeps its version, because the new version does not define its type",
        UpgradeAction::Fail | UpgradeAction::Crash => "cannot be converted",
    };
    let mut text = format!("{address}@{revision}, of version {}, {what}\n", visible::line(from));
    text.push_str(&diff::lines(&report.changes));
    for moved in &report.moved {
        let (from, to) = (visible::line(&moved.from), visible::line(&moved.to));
        text.push_str(&format!("  ~ {from}: the secret moves to {to}\n"));
    }
    for note in &report.notes {
        text.push_str(&format!("  note by the bundle: {}\n", visible::line(note)));
    }
    for problem in &report.problems {
        text.push_str(&problem_line(problem));
    }
    text
}

fn problem_line(problem: &ConversionProblem) -> String {
    let ConversionProblem { pointer, message, hint } = problem;
    let place = if pointer.is_empty() { String::new() } else { format!("{}: ", visible::line(pointer)) };
    let hint = hint.iter().map(|hint| format!("; {}", visible::line(hint))).collect::<String>();
    format!("  ! {place}{}{hint}\n", visible::line(message))
}

/// Formats the result of an upgrade.
pub(super) fn upgraded(upgraded: &Upgraded) -> String {
    let installed = if upgraded.installed { "installed and " } else { "" };
    let blocks = upgraded.blocks.len();
    let plural = if blocks == 1 { "block" } else { "blocks" };
    let mut text = format!(
        "{installed}upgraded to {} {}: {blocks} {plural} (sha256 {})\n",
        upgraded.bundle, upgraded.version, upgraded.sha256
    );
    for block in &upgraded.blocks {
        text.push_str(&format!("  {}@{}, before {}\n", block.address, block.revision, visible::line(&block.from)));
    }
    for kept in &upgraded.kept {
        text.push_str(&format!("  {kept} keeps its version\n"));
    }
    text
}
