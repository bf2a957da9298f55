//! `audit`: who did what when.

use serde_json::json;

use super::{DONE, Outcome, time};
use crate::arguments::Audit;
use crate::context::Context;
use crate::tabular::plain_table;

pub(super) async fn run(arguments: &Audit, context: &Context) -> Outcome {
    let yard = context.open().await?;
    let lines = yard.audit(arguments.limit).await?;
    let documents: Vec<serde_json::Value> = lines
        .iter()
        .map(|line| {
            let detail: serde_json::Value = serde_json::from_str(&line.detail).unwrap_or_default();
            json!({ "at": line.at, "actor": line.actor, "action": line.action, "subject": line.subject, "detail": detail })
        })
        .collect();
    context.terminal.document(&json!({ "audit": documents }), || {
        let mut table = plain_table(["when", "who", "did", "to", "detail"].map(str::to_owned));
        for (line, document) in lines.iter().zip(&documents) {
            let detail: Vec<String> = document["detail"]
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(key, _)| !matches!(key.as_str(), "bundle" | "sha256"))
                .map(|(key, value)| {
                    format!("{key} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                })
                .collect();
            table.add_row([
                time(line.at),
                line.actor.clone(),
                line.action.clone(),
                line.subject.clone(),
                detail.join(", "),
            ]);
        }
        table.to_string()
    })?;
    yard.close().await;
    Ok(DONE)
}
