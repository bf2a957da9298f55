//! `blockyard diff`: compares two revisions of a block, or two blocks of the same type.

use blockyard::model::visible;
use blockyard::{Change, FieldChange, Json, PinnedAddress};

use crate::arguments::Diff;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: &Diff, context: &Context) -> Outcome {
    let yard = context.open().await?;
    let Diff { before, after } = arguments;
    let newest = PinnedAddress { address: before.address.clone(), revision: None };
    let view = yard.diff(before, after.as_ref().unwrap_or(&newest)).await?;
    context.terminal.document(&view, || {
        if view.changes.is_empty() {
            return format!("{} and {} are identical", view.before, view.after);
        }
        format!("{} → {}\n{}", view.before, view.after, lines(&view.changes))
    })?;
    yard.close().await;
    Ok(DONE)
}

/// Formats one line per changed field.
pub(super) fn lines(changes: &[FieldChange]) -> String {
    changes.iter().map(line).collect()
}

fn line(change: &FieldChange) -> String {
    let FieldChange { field, change, secret, before, after } = change;
    let field = visible::line(field);
    let shown = |value: &Option<Json>| match value {
        Some(Json::String(text)) => visible::line(text),
        Some(value) => visible::line(&value.to_string()),
        None => "a secret".to_owned(),
    };
    match change {
        _ if *secret && before.is_none() && after.is_none() && *change == Change::Changed => {
            format!("  ~ {field}: the secret differs\n")
        }
        Change::Added => format!("  + {field}: {}\n", shown(after)),
        Change::Removed => format!("  - {field}: {}\n", shown(before)),
        Change::Changed => format!("  ~ {field}: {} → {}\n", shown(before), shown(after)),
    }
}
