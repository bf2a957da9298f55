//! `blockyard inspect`: shows the content of a component file or an installed bundle, without running its code, and
//! compares it with the bundle that its crate builds.

use std::path::Path;
use std::process::ExitCode;

use blockyard::model::visible;
use blockyard::{
    Error, ErrorKind, Inspection, InstalledState, Reproduction, SectionDifference, SectionSizes, SignatureState,
};
use blockyard_build::Profile;
use serde_json::json;

use crate::arguments::{BundleVersion, FileOrBundle, Inspect};
use crate::context::Context;
use crate::definition::{Manifest, fact};
use crate::hints;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: &Inspect, context: &Context) -> Outcome {
    let (inspection, bytes) = match &arguments.bundle {
        FileOrBundle::File(path) => {
            let bytes = blockyard::read_component(path)?;
            (blockyard::inspect(&bytes)?, bytes)
        }
        FileOrBundle::Bundle(BundleVersion { name, version }) => {
            let yard = context.open().await?;
            (yard.inspect(name, version.as_ref()).await?, yard.component(name, version.as_ref()).await?)
        }
    };
    let reproduction = match &arguments.reproduce {
        Some(folder) => Some(reproduce(folder, &bytes, context).await?),
        None => None,
    };
    let mut document = serde_json::to_value(&inspection).map_err(std::io::Error::from)?;
    document["reproduction"] = json!(reproduction);
    context.terminal.document(&document, || match &reproduction {
        Some(reproduction) => compared(&inspection, reproduction),
        None => text(&inspection),
    })?;
    Ok(match reproduction {
        Some(Reproduction { reproduced: false, .. }) => ExitCode::from(hints::exit_code(ErrorKind::Remote)),
        _ => DONE,
    })
}

async fn reproduce(folder: &Path, bytes: &[u8], context: &Context) -> Result<Reproduction, Error> {
    let progress = context.progress();
    let mut report = |text: &str| progress.keep(text, || context.terminal.note(text));
    report("note: RUSTFLAGS and `build.rustflags` of cargo's configuration are not used to build bundles");
    let built = blockyard_build::build(folder, Profile::Release, &mut report).await?;
    drop(progress);
    blockyard::compare_builds(bytes, &built.bytes)
}

/// Formats the result of a rebuild.
fn compared(inspection: &Inspection, reproduction: &Reproduction) -> String {
    let Inspection { name, version, sha256, tools, .. } = inspection;
    let (name, version) = (visible::line(name), visible::line(version));
    if reproduction.reproduced {
        return format!(
            "{name} {version} is reproduced: sha256 {sha256}, built with {}\n",
            visible::line(&tools.join(", "))
        );
    }
    let mut text = format!("{name} {version} is not reproduced\n");
    text.push_str(&fact("file", sha256));
    text.push_str(&fact("rebuilt", &reproduction.sha256));
    for SectionDifference { section, first, second } in &reproduction.differences {
        text.push_str(&fact("differs", &format!("{section} ({first} bytes, rebuilt {second} bytes)")));
    }
    text.extend(reproduction.reasons.iter().map(|reason| fact("reason", reason)));
    text
}

fn text(inspection: &Inspection) -> String {
    let Inspection { name, version, description, .. } = inspection;
    let mut text = format!("{} {}: {}\n", visible::line(name), visible::line(version), visible::line(description));
    let mut line = |name: &str, value: &str| text.push_str(&fact(name, value));
    line("sha256", &inspection.sha256);
    line("size", &size(&inspection.size));
    line("interface", &inspection.wit);
    line("built with", &inspection.tools.join(", "));
    match &inspection.installed {
        Some(InstalledState { source, signature, signer, at }) => {
            line("installed", &format!("{at} from {source}"));
            line("signature", &signed(*signature, signer.as_deref().unwrap_or_default()));
        }
        None => line("signature", "unknown; the signature of a release is in its registry"),
    }
    line("imports", &if inspection.imports.is_empty() { "none".to_owned() } else { inspection.imports.join(", ") });
    let Inspection { license, homepage, repository, capabilities, types, definitions, .. } = inspection;
    let manifest = Manifest {
        license: license.as_deref(),
        homepage: homepage.as_deref(),
        repository: repository.as_deref(),
        capabilities,
        types,
        definitions,
    };
    text + &manifest.text()
}

fn size(size: &SectionSizes) -> String {
    let SectionSizes { code, data, custom, other, total } = size;
    format!("{total} bytes: {code} code, {data} data, {custom} custom sections, {other} other")
}

fn signed(state: SignatureState, signer: &str) -> String {
    match state {
        SignatureState::Valid => format!("valid, by {signer}"),
        SignatureState::Unsigned => "unsigned".to_owned(),
        SignatureState::NotStored => format!("verified on installation, by {signer}; not stored"),
        SignatureState::Invalid => format!("not valid, by {signer}"),
    }
}
