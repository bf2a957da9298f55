//! `blockyard rm`: removes an object.

use serde_json::json;

use super::objects::Stored;
use crate::arguments::Rm;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: &Rm, context: &Context) -> Outcome {
    let place = Stored::parse(&arguments.place)?;
    let yard = context.open().await?;
    let storage = place.open(&yard).await?;
    let question = format!("remove `{place}`?");
    context.terminal.require_confirmation(arguments.yes, &question, &format!("removing `{place}` cannot be undone"))?;
    storage.delete(&place.path).await?;
    context.terminal.document(&json!({ "removed": place.to_string() }), || format!("removed {place}"))?;
    yard.close().await;
    Ok(DONE)
}
