//! `blockyard grants`, `grant` and `revoke`: lists and changes the capabilities granted to bundles.

use blockyard::model::BundleName;
use blockyard::{Capability, Timestamp, UNUSED_DAYS, UnusedGrant, Yard};
use serde_json::json;

use crate::arguments::{GrantChange, Grants};
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::tabular::plain_table;
use crate::terminal::Failure;
use crate::time::time;

pub(super) async fn show(arguments: &Grants, context: &Context) -> Outcome {
    let bundle = arguments.bundle.as_deref().map(BundleName::new).transpose().map_err(blockyard::Error::from)?;
    let yard = context.open().await?;
    if arguments.unused {
        print_unused(&yard, bundle.as_ref(), context).await?;
    } else {
        print(&yard, bundle.as_ref(), context).await?;
    }
    yard.close().await;
    Ok(DONE)
}

pub(super) async fn grant(arguments: &GrantChange, context: &Context) -> Outcome {
    change(arguments, context, true).await
}

pub(super) async fn revoke(arguments: &GrantChange, context: &Context) -> Outcome {
    change(arguments, context, false).await
}

async fn change(arguments: &GrantChange, context: &Context, grant: bool) -> Outcome {
    let bundle = BundleName::new(arguments.bundle.as_str()).map_err(blockyard::Error::from)?;
    let capabilities = arguments
        .capabilities
        .iter()
        .map(|text| text.parse())
        .collect::<Result<Vec<Capability>, _>>()
        .map_err(blockyard::Error::from)?;
    let yard = context.open().await?;
    for capability in &capabilities {
        let changed =
            if grant { yard.grant(&bundle, capability).await? } else { yard.revoke(&bundle, capability).await? };
        if !changed {
            context.terminal.note(&format!(
                "`{capability}` was already {}; nothing changed",
                if grant { "granted" } else { "not granted" }
            ));
        }
    }
    print(&yard, Some(&bundle), context).await?;
    yard.close().await;
    Ok(DONE)
}

async fn print_unused(yard: &Yard, bundle: Option<&BundleName>, context: &Context) -> Result<(), Failure> {
    // The bundle must be installed.
    yard.grants(bundle).await?;
    let mut found = yard.unused_grants(Timestamp::now()).await?;
    found.unused.retain(|grant| bundle.is_none_or(|name| name.as_str() == grant.bundle));
    context.terminal.document(&found, || {
        if found.unused.is_empty() {
            return format!("no grant is known to be unused for {UNUSED_DAYS} days");
        }
        let mut table = plain_table(["bundle", "capability", "granted", "permits"].map(str::to_owned));
        for grant in &found.unused {
            let UnusedGrant { bundle, capability, explanation, granted_at } = grant.clone();
            table.add_row([bundle, capability, time(granted_at), explanation]);
        }
        table.fitted().to_string()
    })?;
    if found.recorded_since > found.since {
        context.terminal.note(&format!(
            "uses are recorded since {}; grants are listed {UNUSED_DAYS} days later at the earliest",
            time(found.recorded_since)
        ));
    }
    if let Some(first) = found.unused.first() {
        let UnusedGrant { bundle, capability, .. } = first;
        context.terminal.note(&format!("revoke a grant with `blockyard revoke {bundle} '{capability}'`"));
    }
    Ok(())
}

async fn print(yard: &Yard, bundle: Option<&BundleName>, context: &Context) -> Result<(), Failure> {
    let grants = yard.grants(bundle).await?;
    context.terminal.document(&json!({ "grants": grants }), || {
        if grants.is_empty() {
            return match bundle {
                Some(name) => format!("bundle `{name}` requests no capabilities"),
                None => "no bundle is installed; install one with `blockyard install NAME`".to_owned(),
            };
        }
        let mut table = plain_table(["bundle", "capability", "granted", "permits"].map(str::to_owned));
        for grant in &grants {
            let granted = if grant.granted { "yes" } else { "no" };
            table.add_row([
                grant.bundle.clone(),
                grant.capability.clone(),
                granted.to_owned(),
                grant.explanation.clone(),
            ]);
        }
        table.fitted().to_string()
    })
}
