//! `blockyard delete`, `restore` and `purge`: deletes a block (leaving a tombstone), restores it,
//! and destroys its secrets.

use serde_json::json;

use crate::arguments::{ChangedBlock, Purge};
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) async fn delete(arguments: &ChangedBlock, context: &Context) -> Outcome {
    let address = &arguments.address;
    let reason = arguments.message.reason()?;
    let yard = context.open().await?.with_reason(reason);
    yard.delete(address).await?;
    context.terminal.document(&json!({ "address": address.to_string(), "deleted": true }), || {
        format!("deleted {address}; restore it with `blockyard restore {address}`")
    })?;
    yard.close().await;
    Ok(DONE)
}

pub(super) async fn restore(arguments: &ChangedBlock, context: &Context) -> Outcome {
    let address = &arguments.address;
    let reason = arguments.message.reason()?;
    let yard = context.open().await?.with_reason(reason);
    yard.restore(address).await?;
    context
        .terminal
        .document(&json!({ "address": address.to_string(), "deleted": false }), || format!("restored {address}"))?;
    yard.close().await;
    Ok(DONE)
}

pub(super) async fn purge(arguments: &Purge, context: &Context) -> Outcome {
    let address = &arguments.address;
    let reason = arguments.message.reason()?;
    let yard = context.open().await?.with_reason(reason);
    let question = format!("permanently destroy the secrets of all revisions of `{address}`?");
    context.terminal.require_confirmation(
        arguments.yes,
        &question,
        &format!("purging `{address}` destroys its secrets"),
    )?;
    let secrets = yard.purge(address).await?;
    context.terminal.document(&json!({ "address": address.to_string(), "secrets_destroyed": secrets }), || {
        format!("destroyed {secrets} secret value{} of {address}", if secrets == 1 { "" } else { "s" })
    })?;
    yard.close().await;
    Ok(DONE)
}
