//! `blockyard uninstall`: uninstalls a bundle, or one version of it.

use blockyard::BundleVersion;
use serde_json::json;

use crate::arguments::Uninstall;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: &Uninstall, context: &Context) -> Outcome {
    let yard = context.open().await?;
    let plan = yard.plan_uninstall(&arguments.bundle.name, arguments.bundle.version.as_ref()).await?;
    let name = plan.name.clone();
    let versions = list(&plan.versions);
    for capability in &plan.revoked {
        context.terminal.note(&format!("the grant `{capability}` is removed"));
    }
    let question = format!("uninstall bundle `{name}` {versions}?");
    let why = format!("uninstalling `{name}` {versions} changes what new blocks use");
    context.terminal.require_confirmation(arguments.yes, &question, &why)?;
    let done = yard.uninstall(plan).await?;
    context.terminal.document(&json!({ "uninstalled": done }), || {
        let remaining = match done.remaining.as_slice() {
            [] => String::new(),
            remaining => format!("; {} remains installed", list(remaining)),
        };
        format!("uninstalled {name} {versions}{remaining}")
    })?;
    yard.close().await;
    Ok(DONE)
}

fn list(versions: &[BundleVersion]) -> String {
    versions.iter().map(|version| version.version.as_str()).collect::<Vec<_>>().join(", ")
}
