//! `blockyard new`: creates the crate of a new bundle.

use blockyard::model::visible;
use blockyard_build::{NewCrate, Sdk};
use serde_json::json;

use crate::arguments::New;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) fn run(arguments: New, context: &Context) -> Outcome {
    let New { path, block_type, sdk } = arguments;
    let shown = visible::line(&path.display().to_string());
    let sdk = match sdk {
        Some(requirement) => Sdk::Published(requirement),
        None => Sdk::UnpackedBelow(context.sdk_folder()?),
    };
    let created = blockyard_build::create(NewCrate { folder: path, block_type, sdk })?;
    if let Some(above) = &created.workspace_above {
        context.terminal.note(&format!(
            "the crate is in the folder of the workspace {}; if `members` of the workspace match it, add it to `exclude`",
            above.display()
        ));
    }
    let document = json!({
        "folder": created.folder.display().to_string(), "bundle": created.bundle.as_str(), "type": created.block_type.as_str(),
    });
    context.terminal.document(&document, || {
        format!(
            "created {shown} with the bundle `{}` and the block type `{}`\n\nnext:\n  cd {shown}\n  cargo test\n  blockyard install .\n",
            created.bundle, created.block_type
        )
    })?;
    Ok(DONE)
}
