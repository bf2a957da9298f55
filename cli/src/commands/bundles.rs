//! `blockyard bundles`: lists installed bundles.

use serde_json::json;

use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::tabular::plain_table;
use crate::time::time;

pub(super) async fn run(context: &Context) -> Outcome {
    let yard = context.open().await?;
    let bundles = yard.bundles().await?;
    context.terminal.document(&json!({ "bundles": bundles }), || {
        if bundles.is_empty() {
            return "no bundles installed; install one with `blockyard install NAME`".to_owned();
        }
        let mut table = plain_table(["bundle", "version", "types", "sha256", "installed"].map(str::to_owned));
        for bundle in &bundles {
            table.add_row([
                bundle.name.clone(),
                bundle.version.clone(),
                bundle.types.join(", "),
                bundle.sha256[..12].to_owned(),
                time(bundle.installed_at),
            ]);
        }
        table.to_string()
    })?;
    yard.close().await;
    Ok(DONE)
}
