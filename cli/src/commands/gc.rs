//! `blockyard gc`: drops the bytes of uninstalled bundles that no revision uses, and removes unused
//! files from the cache of registries.

use blockyard::model::visible;
use blockyard::{Error, Evicted, evict_downloads};
use serde_json::json;

use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(context: &Context) -> Outcome {
    let yard = context.open().await?;
    // The cache first: if it cannot be cleaned, the yard is unchanged, and the error is the complete
    // result.
    let cache = evicted(context)?;
    let dropped = yard.gc().await?;
    yard.close().await;
    let damaged: Vec<String> = cache.damaged.iter().map(|path| path.display().to_string()).collect();
    let bytes: u64 = dropped.iter().map(|bundle| bundle.bytes).sum();
    context.terminal.document(
        &json!({
            "dropped": dropped, "bytes": bytes,
            "cache": { "entries": cache.entries, "bytes": cache.bytes, "damaged": damaged },
        }),
        || {
            let lines = dropped.iter().map(|bundle| {
                format!(
                    "dropped {} {} (sha256 {}): {} bytes\n",
                    bundle.name, bundle.version, bundle.sha256, bundle.bytes
                )
            });
            let yard = if dropped.is_empty() {
                "nothing to drop: revisions use all bundles that are not installed".to_owned()
            } else {
                format!("{}{bytes} bytes dropped", lines.collect::<String>())
            };
            format!("{yard}\n{} unused cache entries removed: {} bytes", cache.entries, cache.bytes)
        },
    )?;
    Ok(DONE)
}

/// Removes the unused entries of the cache of registries, and names the damaged ones.
fn evicted(context: &Context) -> Result<Evicted, Error> {
    let Some(folder) = context.downloads_folder() else { return Ok(Evicted::default()) };
    let evicted = evict_downloads(&folder)?;
    for path in &evicted.damaged {
        let path = visible::line(&path.display().to_string());
        context.terminal.note(&format!("warning: the cache entry `{path}` is damaged, and is not removed"));
    }
    Ok(evicted)
}
