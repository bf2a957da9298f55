//! `blockyard search`: lists the bundles that registries offer.

use blockyard::{Wanted, catalog};
use serde_json::json;

use crate::arguments::Search;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::remote::RegistryQuery;
use crate::signer::{one_line, short_signer};
use crate::tabular::plain_table;

pub(super) async fn run(arguments: &Search, context: &Context) -> Outcome {
    let mut registries =
        context.registries(RegistryQuery::permitted(&arguments.registries.registry, Wanted::All)).await?;
    let is_configured = !registries.is_empty();
    registries.retain(|registry| registry.unavailable.is_none());
    let installed = context.installed().await?;
    let found = catalog(&registries, &installed, arguments.word.as_deref());
    context.terminal.document(&json!({ "bundles": found }), || {
        if !is_configured {
            return "no registry is configured; name one with `--registry PATH`, or in `[registries]` of your configuration"
                .to_owned();
        }
        if found.is_empty() {
            return "no matching bundles; `blockyard registries` lists the registries that were searched".to_owned();
        }
        let mut table = plain_table(
            ["bundle", "version", "installed", "registry", "signed by", "types", "description"].map(str::to_owned),
        );
        for entry in &found {
            let release = entry.release.as_ref();
            let problem = entry.problem.as_deref().map(one_line);
            table.add_row([
                entry.name.clone(),
                release.map_or_else(|| "none".to_owned(), |offer| offer.version.clone()),
                entry.installed.join(", "),
                release.map(|offer| offer.registry.clone()).unwrap_or_default(),
                release.map(|offer| short_signer(offer.signer.as_deref())).unwrap_or_default(),
                entry.types.join(", "),
                problem.unwrap_or_else(|| entry.description.clone()),
            ]);
        }
        table.fitted().to_string()
    })?;
    Ok(DONE)
}
