//! `blockyard info`: shows a bundle, installed or not, without running its code.

use blockyard::model::{BundleName, visible};
use blockyard::{BundleInfo, Error, Offer, Wanted};

use crate::arguments::Info;
use crate::context::Context;
use crate::definition::{Manifest, fact};
use crate::outcome::{DONE, Outcome};
use crate::remote::RegistryQuery;
use crate::signer::one_line;

pub(super) async fn run(arguments: &Info, context: &Context) -> Outcome {
    let name = BundleName::new(arguments.bundle.as_str()).map_err(Error::from)?;
    let wanted = Wanted::Bundles(std::slice::from_ref(&name));
    let registries = context.registries(RegistryQuery::permitted(&arguments.registries.registry, wanted)).await?;
    // Without a yard, the release is verified as for the first installation in a new one.
    let yard = context.open_or_in_memory().await?;
    let info = yard.bundle_info(&name, &registries).await?;
    context.terminal.document(&info, || text(&info))?;
    Ok(DONE)
}

fn text(info: &BundleInfo) -> String {
    let mut text = format!("{}: {}\n", info.name, visible::line(&info.description));
    let mut line = |name: &str, value: &str| text.push_str(&fact(name, value));
    line("installed", &if info.installed.is_empty() { "no".to_owned() } else { info.installed.join(", ") });
    if let Some(release) = &info.release {
        line("release", &format!("{} in the registry `{}` at {}", release.version, release.registry, release.location));
        line("signed by", release.signer.as_deref().unwrap_or("unsigned"));
        line("source code", if release.source_code { "built on installation" } else { "" });
    }
    line("problem", &info.problem.as_deref().map(one_line).unwrap_or_default());
    let BundleInfo { license, homepage, repository, capabilities, types, definitions, .. } = info;
    let manifest = Manifest {
        license: license.as_deref(),
        homepage: homepage.as_deref(),
        repository: repository.as_deref(),
        capabilities,
        types,
        definitions,
    };
    text.push_str(&manifest.text());
    if !info.releases.is_empty() {
        text.push_str("releases:\n");
        text.extend(info.releases.iter().map(release));
    }
    text
}

fn release(offer: &Offer) -> String {
    let wit = format!("requires interface version {}", offer.wit);
    let notes = [
        (offer.installed, "installed"),
        (offer.yanked, "withdrawn"),
        (offer.prerelease, "pre-release"),
        (offer.source_code, "source code"),
        (offer.signer.is_none(), "unsigned"),
        (!offer.supported, &wit),
    ];
    let notes: Vec<String> = notes.iter().filter(|(holds, _)| *holds).map(|(_, note)| format!(", {note}")).collect();
    format!("  {} in `{}`{}\n", offer.version, visible::line(&offer.registry), visible::line(&notes.concat()))
}
