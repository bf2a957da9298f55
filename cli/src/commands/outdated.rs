//! `blockyard outdated`: compares the installed bundles with the releases of registries.

use blockyard::{Wanted, outdated};

use crate::arguments::Registries;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::remote::RegistryQuery;
use crate::signer::{one_line, short_signer};
use crate::tabular::plain_table;

pub(super) async fn run(arguments: &Registries, context: &Context) -> Outcome {
    let yard = context.open().await?;
    let names = yard.installed_names().await?;
    let registries = context.registries(RegistryQuery::permitted(&arguments.registry, Wanted::Bundles(&names))).await?;
    let found = outdated(&registries, &yard.bundles().await?);
    context.terminal.document(&found, || {
        if found.outdated.is_empty() {
            return "no newer release in the registries".to_owned();
        }
        let mut table =
            plain_table(["bundle", "installed", "newer", "registry", "signed by", "blocks", "note"].map(str::to_owned));
        for bundle in &found.outdated {
            let newer = bundle.newer.as_ref();
            table.add_row([
                bundle.name.clone(),
                bundle.installed.clone(),
                newer.map_or_else(|| "none".to_owned(), |offer| offer.version.clone()),
                newer.map(|offer| offer.registry.clone()).unwrap_or_default(),
                newer.map(|offer| short_signer(offer.signer.as_deref())).unwrap_or_default(),
                bundle.blocks.to_string(),
                if bundle.yanked { "the installed version is withdrawn" } else { "" }.to_owned(),
            ]);
        }
        table.fitted().to_string()
    })?;
    for bundle in &found.unknown {
        context.terminal.note(&format!("`{}` was not compared: {}", bundle.name, one_line(&bundle.reason)));
    }
    if !found.outdated.is_empty() {
        context.terminal.note("show the changes of an upgrade with `blockyard upgrade --plan`");
    }
    yard.close().await;
    Ok(DONE)
}
