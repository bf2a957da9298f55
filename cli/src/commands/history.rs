//! `blockyard history`: lists the revisions of a block.

use blockyard::{Address, Error};
use serde_json::json;

use super::{DONE, Outcome, time};
use crate::arguments::History;
use crate::context::Context;
use crate::tabular::plain_table;

pub(super) async fn run(arguments: &History, context: &Context) -> Outcome {
    let address: Address = arguments.address.parse().map_err(Error::from)?;
    let yard = context.open().await?;
    let revisions = yard.history(&address).await?;
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
