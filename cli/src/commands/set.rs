//! `blockyard set`: saves a new revision with changed fields.

use blockyard::{Error, ErrorKind, Revision, model::Pointer};
use serde_json::json;

use crate::arguments::Set;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: Set, context: &Context) -> Outcome {
    let address = &arguments.address;
    if arguments.fields.is_empty() && arguments.unset.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "no changes specified")
            .hint("use `--set FIELD=VALUE`, `--secret FIELD`, `--json-config FILE` or `--unset FIELD`")
            .into());
    }
    let if_revision = match arguments.if_revision {
        None => None,
        Some(number) => {
            Some(Revision::new(number).ok_or_else(|| Error::new(ErrorKind::Usage, "revision numbers start at 1"))?)
        }
    };
    let reason = arguments.message.reason()?;
    let yard = context.open().await?.with_reason(reason);
    let schema = yard.schema_of_block(address).await?;
    let mut patch = arguments.fields.into_patch(&schema, &context.terminal)?;
    patch.unset = arguments.unset.iter().map(|field| Pointer::from_dotted(field)).collect();
    let saved = yard.set(address, patch, if_revision).await?;
    match saved {
        Some(revision) => context.terminal.document(
            &json!({ "address": address.to_string(), "revision": revision.number(), "changed": true }),
            || format!("saved {address}@{revision}"),
        )?,
        None => context.terminal.document(&json!({ "address": address.to_string(), "changed": false }), || {
            format!("`{address}` already has these values; nothing was saved")
        })?,
    }
    yard.close().await;
    Ok(DONE)
}
