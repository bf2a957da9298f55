//! `blockyard copy`: creates a block like another one.

use blockyard::model::Pointer;
use serde_json::json;

use crate::arguments::Copy;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: Copy, context: &Context) -> Outcome {
    let Copy { original, address, fields, unset, message } = arguments;
    let reason = message.reason()?;
    let yard = context.open().await?.with_reason(reason);
    let schema = yard.schema_of_block(&original.address).await?;
    let mut patch = fields.into_patch(&schema, &context.terminal)?;
    patch.unset = unset.iter().map(|field| Pointer::from_dotted(field)).collect();
    let revision = yard.copy(&original, &address, patch).await?;
    context.terminal.document(
        &json!({ "address": address.to_string(), "revision": revision.number(), "original": original.to_string() }),
        || format!("created {address}@{revision} from `{original}`"),
    )?;
    yard.close().await;
    Ok(DONE)
}
