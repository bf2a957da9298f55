//! `blockyard show`: shows a block with its secrets masked.

use blockyard::Json;
use blockyard::model::visible;

use crate::arguments::PinnedArgument;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::time::time;

pub(super) async fn run(arguments: &PinnedArgument, context: &Context) -> Outcome {
    let yard = context.open().await?;
    let view = yard.show(&arguments.address).await?;
    context.terminal.document(&view, || {
        let newest =
            if view.revision == view.newest { String::new() } else { format!(" (the newest is {})", view.newest) };
        let older = view.bundle.iter().filter(|bundle| !bundle.is_current());
        let older: String = older.map(|bundle| format!("uses {bundle}\n")).collect();
        let mut text =
            format!("{}@{}{newest}\nsaved {} by {}\n", view.address, view.revision, time(view.saved_at), view.author);
        text.push_str(&older);
        let fields: Vec<(String, String)> = lines(&view.config, "");
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in fields {
            let value = if view.destroyed.contains(&name) { "destroyed by a purge".to_owned() } else { value };
            text.push_str(&format!("  {name:width$}  {value}\n"));
        }
        text
    })?;
    yard.close().await;
    Ok(DONE)
}

/// Returns one name and value per field. Nested fields have dotted names, such as `a.b`.
fn lines(value: &Json, path: &str) -> Vec<(String, String)> {
    match value {
        Json::Object(object) if !object.is_empty() => object
            .iter()
            .flat_map(|(key, member)| {
                {
                    // Map keys are data and are escaped like values.
                    let key = visible::line(key);
                    lines(member, &if path.is_empty() { key } else { format!("{path}.{key}") })
                }
            })
            .collect(),
        Json::String(text) => vec![(path.to_owned(), visible::line(text))],
        other => vec![(path.to_owned(), visible::line(&other.to_string()))],
    }
}
