//! `blockyard create`: saves revision 1 of a new block.

use serde_json::json;

use crate::arguments::Create;
use crate::context::Context;
use crate::fields;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: Create, context: &Context) -> Outcome {
    let address = &arguments.address;
    let reason = arguments.message.reason()?;
    // A yard that does not exist has no block types: the command fails, and creates nothing.
    let yard = context.open_or_in_memory().await?.with_reason(reason);
    let schema = yard.schema_of_type(&address.type_slug).await?;
    let patch = if arguments.fields.is_empty() && context.terminal.can_ask() {
        fields::ask_all(&schema, &context.terminal)?
    } else {
        arguments.fields.into_patch(&schema, &context.terminal)?
    };
    if arguments.check {
        yard.check_new(address, patch).await?;
        context.terminal.document(&json!({ "address": address.to_string(), "valid": true }), || {
            format!("`{address}` is valid; nothing was saved")
        })?;
    } else {
        let revision = yard.create(address, patch).await?;
        context.terminal.document(&json!({ "address": address.to_string(), "revision": revision.number() }), || {
            format!("created {address}@{revision}")
        })?;
    }
    yard.close().await;
    Ok(DONE)
}
