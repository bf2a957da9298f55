//! `blockyard reveal`: prints one secret in plain text after confirmation.

use std::io::Write as _;

use serde_json::json;

use crate::arguments::Reveal;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::output::Destination;

pub(super) async fn run(arguments: &Reveal, context: &Context) -> Outcome {
    let address = &arguments.address;
    let field = &arguments.field;
    let yard = context.open().await?;
    let question = format!("print the secret `{field}` of `{address}` in plain text?");
    let why = format!("revealing `{field}` of `{address}` prints a secret");
    context.terminal.require_confirmation(arguments.yes, &question, &why)?;
    let secret = yard.reveal(address, field).await?;
    if context.terminal.json {
        let document = json!({ "address": address.to_string(), "field": field, "value": secret.expose() });
        context.terminal.json(&document)?;
    } else {
        // The output is exact on a pipe or in a file. On a terminal it is escaped and followed by a
        // newline.
        let mut destination = Destination::new(None)?;
        destination.write_all(secret.expose().as_bytes())?;
        if destination.is_terminal() {
            destination.write_all(b"\n")?;
        }
        destination.finish()?;
    }
    yard.close().await;
    Ok(DONE)
}
