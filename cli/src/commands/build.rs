//! `blockyard build`: compiles the crate of a bundle into a single component file.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::json;

use crate::arguments::Build;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::output::Destination;

pub(super) async fn run(arguments: &Build, context: &Context) -> Outcome {
    let progress = context.progress();
    let built = blockyard_build::build(&arguments.path, &mut |text| {
        progress.keep(text, || context.terminal.note(text));
    })
    .await?;
    drop(progress);
    let path = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}-{}.wasm", built.name, built.version)));
    let mut destination = Destination::new(Some(&path))?;
    destination.write_all(&built.bytes)?;
    destination.finish()?;
    let document = json!({
        "file": path.display().to_string(), "name": built.name, "version": built.version,
        "sha256": built.digest.to_string(), "size": built.bytes.len(),
    });
    context.terminal.document(&document, || {
        format!(
            "{} {} in {} ({} bytes, sha256 {})",
            built.name,
            built.version,
            path.display(),
            built.bytes.len(),
            built.digest
        )
    })?;
    Ok(DONE)
}
