//! `blockyard history`: lists the revisions of a block.

use blockyard::RevisionOrigin;
use serde_json::json;

use crate::arguments::BlockArgument;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::tabular::plain_table;
use crate::time::time;

pub(super) async fn run(arguments: &BlockArgument, context: &Context) -> Outcome {
    let address = &arguments.address;
    let yard = context.open().await?;
    let revisions = yard.history(address).await?;
    context.terminal.document(&json!({ "address": address.to_string(), "revisions": revisions }), || {
        let with_reasons = revisions.iter().any(|revision| revision.reason.is_some());
        let mut columns = vec!["revision", "saved", "by", "action", "bundle", "changed"];
        columns.extend(with_reasons.then_some("reason"));
        let mut table = plain_table(columns.into_iter().map(str::to_owned));
        for revision in &revisions {
            let mut row = vec![
                revision.revision.to_string(),
                time(revision.saved_at),
                revision.author.clone(),
                revision.origin.as_ref().map(RevisionOrigin::description).unwrap_or_default(),
                revision.bundle_version.clone(),
                revision.changed.join(", "),
            ];
            row.extend(with_reasons.then(|| revision.reason.clone().unwrap_or_default()));
            table.add_row(row);
        }
        table.fitted().to_string()
    })?;
    yard.close().await;
    Ok(DONE)
}
