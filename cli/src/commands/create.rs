//! `blockyard create`: saves revision 1 of a new block.

use blockyard::model::form::Form;
use blockyard::model::visible;
use blockyard::{Error, Patch, Revision, Yard};
use serde_json::json;

use crate::arguments::Create;
use crate::context::Context;
use crate::interview::Interview;
use crate::outcome::{DONE, Outcome};
use crate::prompt::{width, wrapped};
use crate::terminal::{Failure, Unchanged};

pub(super) async fn run(arguments: Create, context: &Context) -> Outcome {
    let reason = arguments.message.reason()?;
    // A yard that does not exist has no block types: the command fails, and creates nothing.
    let yard = context.open_or_in_memory().await?.with_reason(reason);
    let asks = arguments.fields.is_empty() && context.terminal.can_ask();
    let saved = if asks {
        Box::pin(ask(&arguments, &yard, context)).await?
    } else {
        let schema = yard.schema_of_type(&arguments.address.type_slug).await?;
        let Create { address, fields, check, .. } = &arguments;
        save(&yard, address, fields.clone().into_patch(&schema, &context.terminal)?, *check).await?
    };
    let address = &arguments.address;
    match saved {
        None => context.terminal.document(&json!({ "address": address.to_string(), "valid": true }), || {
            format!("`{address}` is valid; nothing was saved")
        })?,
        Some(revision) => context
            .terminal
            .document(&json!({ "address": address.to_string(), "revision": revision.number() }), || {
                format!("created {address}@{revision}")
            })?,
    }
    yard.close().await;
    Ok(DONE)
}

/// Saves the block. With `check`, only validates it and returns `None`.
async fn save(yard: &Yard, address: &blockyard::Address, patch: Patch, check: bool) -> Result<Option<Revision>, Error> {
    if check {
        yard.check_new(address, patch).await?;
        return Ok(None);
    }
    yard.create(address, patch).await.map(Some)
}

/// Asks for the fields, and saves the block when its answers are valid. An answer that the save rejects
/// is asked again; no other answer is lost.
async fn ask(arguments: &Create, yard: &Yard, context: &Context) -> Result<Option<Revision>, Failure> {
    let Create { address, check, .. } = arguments;
    let schema = yard.schema_of_type(&address.type_slug).await?;
    if !check {
        yard.check_free(address).await?;
    }
    let form = Form::new(&schema);
    let mut interview = Interview::new(&context.terminal, yard, &form, &schema, address);
    let unchanged = Unchanged::begin();
    interview.fill().await?;
    drop(unchanged);
    loop {
        let unchanged = Unchanged::begin();
        interview.review(if *check { "check" } else { "create" }).await?;
        drop(unchanged);
        let saved = save(yard, address, interview.patch(), *check).await;
        let unchanged = Unchanged::begin();
        let corrected = match &saved {
            Ok(_) => false,
            Err(error) => interview.correct(error).await?,
        };
        drop(unchanged);
        if corrected {
            continue;
        }
        show_command(&interview, context, arguments);
        return Ok(saved?);
    }
}

/// Shows the command with the same answers.
fn show_command(interview: &Interview<'_>, context: &Context, arguments: &Create) {
    let mut command = interview.command(&context.yard_option());
    if arguments.check {
        command.push("--check");
    }
    if let Some(reason) = &arguments.message.message {
        command.push("-m");
        command.push(reason);
    }
    let columns = width();
    context.terminal.note("");
    context.terminal.note("equivalent command:");
    context.terminal.note(&visible::lines(&command.text(columns)));
    if let Some(file) = &command.file {
        context.terminal.note(&wrapped("with this content of FILE.json, without its secrets:", "", columns));
        context.terminal.note(&visible::line(file));
    }
}
