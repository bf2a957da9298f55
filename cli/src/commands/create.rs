//! `create`: revision 1 of a new block.

use blockyard::model::Schema;
use blockyard::{Address, Error, ErrorKind};
use serde_json::json;

use super::{DONE, Outcome};
use crate::arguments::Create;
use crate::context::Context;
use crate::fields;

pub(super) async fn run(arguments: Create, context: &Context) -> Outcome {
    let address: Address = arguments.address.parse().map_err(Error::from)?;
    let yard = context.open_or_init().await?;
    let changes = if arguments.fields.is_empty() && context.terminal.can_ask() {
        let view = yard.block_type(&address.type_slug).await?;
        let schema = Schema::compile(view.schema).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("the schema of `{}` in the yard is damaged", view.slug))
                .because(error)
        })?;
        fields::ask_all(&schema, &context.terminal)?
    } else {
        arguments.fields.into_changes(&context.terminal)?
    };
    if arguments.check {
        yard.check_new(&address, changes).await?;
        context.terminal.document(&json!({ "address": address.to_string(), "valid": true }), || {
            format!("`{address}` would be valid; nothing was saved")
        })?;
    } else {
        let revision = yard.create(&address, changes).await?;
        context.terminal.document(&json!({ "address": address.to_string(), "revision": revision.number() }), || {
            format!("created {address}@{revision}")
        })?;
    }
    yard.close().await;
    Ok(DONE)
}
