//! `blockyard gc`: drops the bytes of uninstalled bundles that no revision uses.

use serde_json::json;

use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(context: &Context) -> Outcome {
    let yard = context.open().await?;
    let dropped = yard.gc().await?;
    let bytes: u64 = dropped.iter().map(|bundle| bundle.bytes).sum();
    context.terminal.document(&json!({ "dropped": dropped, "bytes": bytes }), || {
        if dropped.is_empty() {
            return "nothing to drop: revisions use all bundles that are not installed".to_owned();
        }
        let lines = dropped.iter().map(|bundle| {
            format!("dropped {} {} (sha256 {}): {} bytes\n", bundle.name, bundle.version, bundle.sha256, bundle.bytes)
        });
        let text: String = lines.collect();
        format!("{text}{bytes} bytes dropped")
    })?;
    yard.close().await;
    Ok(DONE)
}
