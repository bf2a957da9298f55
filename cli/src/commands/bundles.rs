//! `blockyard bundles`: lists every installed version of each bundle.

use blockyard::{Json, Registry, outdated};
use serde_json::json;

use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::registries::Reach;
use crate::signer::short_signer;
use crate::tabular::plain_table;
use crate::time::time;

pub(super) async fn run(context: &Context) -> Outcome {
    let yard = context.open().await?;
    let bundles = yard.bundles().await?;
    // Only registries that need no connection, and no decision of the user.
    let listed = context.listed_registries(&[], Reach::Local).await.unwrap_or_default();
    let registries: Vec<Registry> = listed.into_iter().filter_map(|listed| listed.registry.ok()).collect();
    let newer = outdated(&registries, &bundles).outdated;
    let update = |name: &str| {
        let bundle = newer.iter().find(|bundle| bundle.name == name)?;
        bundle.newer.as_ref().map(|offer| offer.version.clone())
    };
    let documents: Vec<Json> = bundles
        .iter()
        .map(|bundle| {
            let mut document = json!(bundle);
            document["update"] = json!(update(&bundle.name));
            document
        })
        .collect();
    context.terminal.document(&json!({ "bundles": documents }), || {
        if bundles.is_empty() {
            return "no bundles installed; install one with `blockyard install NAME`".to_owned();
        }
        let mut table = plain_table(
            ["bundle", "version", "update", "blocks", "signed by", "types", "sha256", "installed"].map(str::to_owned),
        );
        for bundle in &bundles {
            table.add_row([
                bundle.name.clone(),
                bundle.version.clone(),
                update(&bundle.name).unwrap_or_default(),
                bundle.blocks.to_string(),
                short_signer(bundle.signer.as_deref()),
                bundle.types.join(", "),
                bundle.sha256[..12].to_owned(),
                time(bundle.installed_at),
            ]);
        }
        table.fitted().to_string()
    })?;
    yard.close().await;
    Ok(DONE)
}
