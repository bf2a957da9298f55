//! `blockyard rollback`: saves a new revision that restores an older revision.

use blockyard::{Error, ErrorKind, PinnedAddress};
use serde_json::json;

use crate::arguments::Rollback;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: &Rollback, context: &Context) -> Outcome {
    let PinnedAddress { address, revision } = &arguments.address;
    let revision = revision.ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("no revision specified for the rollback of `{address}`"))
            .hint(format!("use `{address}@N`; list the revisions with `blockyard history {address}`"))
    })?;
    let reason = arguments.message.reason()?;
    let yard = context.open().await?.with_reason(reason);
    match yard.rollback(address, revision).await? {
        Some(saved) => context.terminal.document(
            &json!({ "address": address.to_string(), "revision": saved.number(), "changed": true }),
            || format!("saved {address}@{saved}, equal to revision {revision}"),
        )?,
        None => context.terminal.document(&json!({ "address": address.to_string(), "changed": false }), || {
            format!("`{address}` already equals revision {revision}; nothing was saved")
        })?,
    }
    yard.close().await;
    Ok(DONE)
}
