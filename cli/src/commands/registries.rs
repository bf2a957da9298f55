//! `blockyard registries`: lists registries in the order in which they are searched.

use blockyard::RegistryView;
use blockyard::model::visible;
use serde::Serialize;
use serde_json::{Value, json};

use crate::arguments::Registries;
use crate::context::Context;
use crate::hints;
use crate::outcome::{DONE, Outcome};
use crate::registries::{ListedRegistry, Reach};
use crate::signer::short_signer;
use crate::tabular::plain_table;

/// A line of the list.
#[derive(Serialize)]
struct Line {
    /// Position in the order of the search. `None` if the registry is not used.
    position: Option<usize>,
    /// The setting that names the registry.
    chosen_by: String,
    address: String,
    registry: Option<RegistryView>,
    /// Reason why the registry is not used, in the form of an error.
    problem: Option<Value>,
}

pub(super) async fn run(arguments: &Registries, context: &Context) -> Outcome {
    let listed = context.listed_registries(&arguments.registry, Reach::All).await?;
    let mut used = 0;
    let lines: Vec<Line> = listed.iter().map(|listed| line(listed, &mut used)).collect();
    context.terminal.document(&json!({ "registries": lines }), || text(&lines))?;
    for listed in &listed {
        if let Err(error) = &listed.registry {
            let reasons: Vec<String> = std::iter::once(error.to_string()).chain(error.causes()).collect();
            context.terminal.note(&format!("`{}` is not used: {}", listed.address, reasons.join(": ")));
        }
    }
    Ok(DONE)
}

fn line(listed: &ListedRegistry, used: &mut usize) -> Line {
    let ListedRegistry { origin, address, registry, credentials: _ } = listed;
    let (registry, problem) = match registry {
        Ok(registry) => (Some(RegistryView::of(registry)), None),
        Err(error) => (None, Some(hints::to_json(error)["error"].clone())),
    };
    *used += usize::from(registry.is_some());
    let position = registry.is_some().then_some(*used);
    Line { position, chosen_by: origin.to_string(), address: address.clone(), registry, problem }
}

fn text(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "no registries; name one with `--registry PATH`, or in `[registries]` of your configuration".to_owned();
    }
    let mut table =
        plain_table(["order", "registry", "chosen by", "address", "signed by", "bundles"].map(str::to_owned));
    let mut broken = String::new();
    for line in lines {
        let registry = line.registry.as_ref();
        let signer = registry.map(|registry| match (&registry.key, registry.unsigned) {
            (None, false) => "no key: nothing is installed from it".to_owned(),
            (key, _) => short_signer(key.as_deref()),
        });
        table.add_row([
            line.position.map_or_else(|| "not used".to_owned(), |position| position.to_string()),
            registry.map(|registry| registry.name.clone()).unwrap_or_default(),
            line.chosen_by.clone(),
            line.address.clone(),
            signer.unwrap_or_default(),
            registry.map(|registry| registry.bundles.to_string()).unwrap_or_default(),
        ]);
        for reason in registry.into_iter().flat_map(|registry| &registry.broken) {
            let name = registry.map(|registry| registry.name.as_str()).unwrap_or_default();
            broken.push_str(&format!("broken: registry `{}`: {}\n", visible::line(name), visible::line(reason)));
        }
    }
    format!("{}\n{broken}", table.fitted())
}
