//! `install`: stages each bundle, shows what it asks for, and installs it once that is agreed to.

use blockyard::{Error, ErrorKind, InstallTarget, Staged};
use serde_json::json;

use super::{DONE, Outcome};
use crate::arguments::Install;
use crate::context::Context;
use crate::terminal::Failure;

pub(super) async fn run(arguments: Install, context: &Context) -> Outcome {
    let targets = arguments.bundles.iter().map(|text| InstallTarget::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let from_registry = targets.iter().any(|target| matches!(target, InstallTarget::Registry { .. }));
    let registries = if from_registry { context.registries(&arguments.registry)? } else { Vec::new() };
    let yard = context.open_or_init().await?;
    let mut installed = Vec::new();
    for target in &targets {
        let progress = context.progress();
        let staged = yard.stage(target, &registries, &mut |text| progress.say(text)).await?;
        drop(progress);
        agree(&staged, arguments.yes, context)?;
        installed.push(yard.install(staged).await?);
    }
    context.terminal.document(&json!({ "installed": installed }), || {
        let mut text = String::new();
        for bundle in &installed {
            let done = if bundle.changed { "installed" } else { "already installed, nothing changed:" };
            text.push_str(&format!("{done} {} {} (sha256 {})\n", bundle.name, bundle.version, bundle.sha256));
            text.push_str(&format!("  block types: {}\n", bundle.types.join(", ")));
        }
        text
    })?;
    yard.close().await;
    Ok(DONE)
}

/// Shows what a bundle asks for, and asks whether it may.
fn agree(staged: &Staged, yes: bool, context: &Context) -> Result<(), Failure> {
    let asks = staged.asks();
    if asks.is_empty() {
        return Ok(());
    }
    context.terminal.note(&format!("{} {} asks for", staged.name(), staged.version()));
    for (capability, explanation) in &asks {
        context.terminal.note(&format!("  {:<14}  {explanation}", capability.to_string()));
    }
    for (block_type, operation, request) in staged.safe_requests() {
        context
            .terminal
            .note(&format!("  `{operation}` of {block_type} reads, and sends `{request}`, which it says is safe"));
    }
    if yes || context.terminal.can_ask() && context.terminal.agree("grant this?") {
        return Ok(());
    }
    let name = staged.name();
    Err(Error::new(ErrorKind::Denied, format!("nobody agreed to what bundle `{name}` asks for; it is not installed"))
        .hint("agree with `--yes` where there is no terminal")
        .into())
}
