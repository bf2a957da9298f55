//! `blockyard history`: lists the revisions of a block.

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
        let mut table = plain_table(["revision", "saved", "by", "action", "bundle", "changed"].map(str::to_owned));
        for revision in &revisions {
            table.add_row([
                revision.revision.to_string(),
                time(revision.saved_at),
                revision.author.clone(),
                match (&revision.action, revision.rollback_of) {
                    (_, Some(old)) => format!("rollback to {old}"),
                    (action, None) => action.clone().unwrap_or_default(),
                },
                revision.bundle_version.clone(),
                revision.changed.join(", "),
            ]);
        }
        table.to_string()
    })?;
    yard.close().await;
    Ok(DONE)
}
