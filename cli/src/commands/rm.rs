//! `blockyard rm`: removes an object.

use serde_json::json;

use super::objects::Stored;
use crate::arguments::Rm;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: &Rm, context: &Context) -> Outcome {
    let object = Stored::parse(&arguments.path)?;
    let yard = context.open().await?;
    let storage = object.open(&yard).await?;
    let question = format!("remove `{object}`?");
    context.terminal.require_confirmation(
        arguments.yes,
        &question,
        &format!("removing `{object}` cannot be undone"),
    )?;
    storage.delete(&object.path).await?;
    context.terminal.document(&json!({ "removed": object.to_string() }), || format!("removed {object}"))?;
    yard.close().await;
    Ok(DONE)
}
