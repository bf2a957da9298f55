//! `blockyard types`: lists the available block types.

use blockyard::model::visible;
use serde_json::json;

use crate::arguments::Types;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::tabular::plain_table;

pub(super) async fn run(arguments: &Types, context: &Context) -> Outcome {
    let yard = context.open().await?;
    let types = yard.types(arguments.interface.as_deref()).await?;
    context.terminal.document(&json!({ "types": types }), || {
        if types.is_empty() {
            return "no matching block types; install a bundle with `blockyard install NAME`".to_owned();
        }
        let mut table = plain_table(["type", "interfaces", "bundle", "description"].map(str::to_owned));
        for view in &types {
            table.add_row([
                view.slug.clone(),
                view.interfaces.join(", "),
                format!("{} {}", view.bundle, view.bundle_version),
                visible::paragraph(&view.description),
            ]);
        }
        table.fitted().to_string()
    })?;
    yard.close().await;
    Ok(DONE)
}
