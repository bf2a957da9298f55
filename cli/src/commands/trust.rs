//! `blockyard trust`: manages the project files and yards that the user trusts.

use std::path::Path;

use blockyard::{Error, ErrorKind, TrustState, TrustTarget, Trusted, TrustedKind, yard_changeable_by_others};
use serde_json::json;

use crate::arguments::Trust;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: &Trust, context: &Context) -> Outcome {
    if arguments.list {
        list(context)
    } else if arguments.revoke {
        revoke(arguments, context)
    } else {
        trust(arguments, context).await
    }
}

async fn trust(arguments: &Trust, context: &Context) -> Outcome {
    let target = match &arguments.path {
        Some(path) => TrustTarget::at(path)?,
        None => TrustTarget::Project(Box::new(context.project()?.ok_or_else(no_project)?)),
    };
    let (trusted, decisions) = match &target {
        // The loaded content is both what is shown and what is recorded as trusted.
        TrustTarget::Project(project) => (context.trust()?.trust_project(project).await?, project.decisions()?),
        TrustTarget::Yard(path) => (context.trust()?.trust_yard(path).await?, yard_decisions(path)),
    };
    context.terminal.document(&json!({ "trusted": [trusted], "decides": decisions }), || {
        let mut text = match trusted.kind {
            TrustedKind::Project => format!("trusted the project file {}\n", trusted.path),
            TrustedKind::CreatedYard | TrustedKind::AdoptedYard => format!("took over the yard {}\n", trusted.path),
        };
        text.extend(decisions.iter().map(|decision| format!("  {decision}\n")));
        text
    })?;
    Ok(DONE)
}

fn list(context: &Context) -> Outcome {
    let trusted = context.trust()?.list()?;
    context.terminal.document(&json!({ "trusted": trusted }), || {
        if trusted.is_empty() {
            return "nothing is trusted; trust a project file or a yard with `blockyard trust PATH`".to_owned();
        }
        trusted.iter().map(line).collect()
    })?;
    Ok(DONE)
}

fn revoke(arguments: &Trust, context: &Context) -> Outcome {
    let path = match &arguments.path {
        Some(path) => path.clone(),
        None => context.project()?.ok_or_else(no_project)?.path().to_owned(),
    };
    let revoked = context.trust()?.revoke(&path)?;
    context.terminal.document(&json!({ "revoked": revoked }), || {
        revoked.iter().map(|revoked| format!("{} is no longer trusted\n", revoked.path)).collect()
    })?;
    Ok(DONE)
}

fn line(trusted: &Trusted) -> String {
    let kind = match trusted.kind {
        TrustedKind::Project => "project",
        TrustedKind::CreatedYard => "yard created",
        TrustedKind::AdoptedYard => "yard taken over",
    };
    let state = match trusted.state {
        TrustState::Trusted => "",
        TrustState::Changed => " (changed: no longer trusted)",
        TrustState::Missing => " (does not exist)",
        TrustState::Untrusted => " (not trusted)",
    };
    format!("{kind:15}  {}{state}\n", trusted.path)
}

fn yard_decisions(path: &Path) -> Vec<String> {
    let mut decisions =
        vec!["its blocks may use environment variables and files of this machine as secret sources".to_owned()];
    if let Some(reason) = yard_changeable_by_others(path) {
        decisions.push(format!("note: this is not permitted while {reason}"));
    }
    decisions
}

fn no_project() -> Error {
    Error::new(ErrorKind::NotFound, "no blockyard.toml in this folder or its parents")
        .hint("specify a project folder or a yard file: `blockyard trust PATH`")
}
