//! `blockyard build`: compiles the crate of a bundle into a single component file, or completes a file that another
//! tool built.

use std::io::Write as _;
use std::path::PathBuf;

use blockyard::model::visible;
use blockyard::{Built, Error, Inspection};
use blockyard_build::Profile;
use serde_json::json;

use crate::arguments::Build;
use crate::context::Context;
use crate::definition::fact;
use crate::outcome::{DONE, Outcome};
use crate::output::Destination;

pub(super) async fn run(arguments: &Build, context: &Context) -> Outcome {
    let built = built(arguments, context).await?;
    let inspection = blockyard::inspect(&built.bytes)?;
    let path = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}-{}.wasm", built.name, built.version)));
    let mut destination = Destination::new(Some(&path))?;
    destination.write_all(&built.bytes)?;
    destination.finish()?;
    let file = path.display().to_string();
    let document = json!({
        "file": file, "name": built.name, "version": built.version, "sha256": built.digest.to_string(),
        "size": built.bytes.len(), "types": inspection.types, "capabilities": capabilities(&inspection),
    });
    context.terminal.document(&document, || summary(&file, &inspection))?;
    Ok(DONE)
}

async fn built(arguments: &Build, context: &Context) -> Result<Built, Error> {
    if arguments.path.is_file() {
        return blockyard::assemble_file(&blockyard::read_component(&arguments.path)?).await;
    }
    let progress = context.progress();
    let mut report = |text: &str| progress.keep(text, || context.terminal.note(text));
    blockyard_build::build(&arguments.path, Profile::Release, &mut report).await
}

fn capabilities(inspection: &Inspection) -> Vec<&str> {
    inspection.capabilities.iter().map(|view| view.capability.as_str()).collect()
}

fn summary(file: &str, inspection: &Inspection) -> String {
    let Inspection { name, version, sha256, size, types, .. } = inspection;
    let mut text = format!("{name} {version} in {}\n", visible::line(file));
    text.push_str(&fact("size", &format!("{} bytes", size.total)));
    text.push_str(&fact("sha256", sha256));
    let capabilities = capabilities(inspection);
    text.push_str(&fact(
        "capabilities",
        &if capabilities.is_empty() { "none".into() } else { capabilities.join(", ") },
    ));
    text + &fact("block types", &types.join(", "))
}
