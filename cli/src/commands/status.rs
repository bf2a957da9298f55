//! `blockyard status`: the yard, key, project file and registries in use, and the setting that
//! chooses each.

use blockyard::{ErrorKind, KeyStatus, TrustState, Yard};
use serde::Serialize;
use serde_json::Value;

use crate::context::{Context, describe_key_location};
use crate::hints;
use crate::outcome::{DONE, Outcome};
use crate::registries::Reach;

/// What is in use.
#[derive(Serialize)]
struct Status {
    yard: YardInUse,
    key: Option<KeyStatus>,
    project: Option<ProjectInUse>,
    configuration: ConfigurationInUse,
    registries: Vec<RegistryInUse>,
}

#[derive(Serialize)]
struct YardInUse {
    /// URL without a password. `None` if no yard is selected.
    url: Option<String>,
    chosen_by: &'static str,
    /// `true` if the yard exists and can be read.
    available: bool,
    /// Reason why the yard is not available, in the form of an error.
    problem: Option<Value>,
}

#[derive(Serialize)]
struct ProjectInUse {
    file: String,
    trust: &'static str,
}

#[derive(Serialize)]
struct ConfigurationInUse {
    file: String,
    exists: bool,
}

#[derive(Serialize)]
struct RegistryInUse {
    address: String,
    chosen_by: &'static str,
    available: bool,
}

pub(super) async fn run(context: &Context) -> Outcome {
    let status = status(context).await?;
    context.terminal.document(&status, || text(&status))?;
    Ok(DONE)
}

async fn status(context: &Context) -> Result<Status, blockyard::Error> {
    let settings = context.settings()?;
    let project = context.project()?;
    let trust = match &project {
        Some(project) => Some(context.trust()?.state(project)?),
        None => None,
    };
    let chosen_by = match &project {
        _ if context.names_the_yard() => context.yard_setting(),
        Some(project) if project.file().yard.is_some() => "project file",
        _ => "default",
    };
    // An untrusted project file selects nothing, and a status does not ask for trust.
    let untrusted = chosen_by == "project file" && trust != Some(TrustState::Trusted);
    let (yard, key) = if untrusted {
        (YardInUse { url: None, chosen_by, available: false, problem: None }, None)
    } else {
        yard(context, chosen_by).await?
    };
    let registries = context.listed_registries(&[], Reach::Local).await?;
    Ok(Status {
        yard,
        key,
        project: project.map(|project| ProjectInUse {
            file: project.path().display().to_string(),
            trust: match trust {
                Some(TrustState::Trusted) => "trusted",
                Some(TrustState::Changed) => "changed",
                _ => "untrusted",
            },
        }),
        configuration: ConfigurationInUse {
            file: settings.path().display().to_string(),
            exists: settings.path().exists(),
        },
        registries: registries
            .into_iter()
            .map(|listed| RegistryInUse {
                address: listed.address,
                chosen_by: listed.origin.as_str(),
                available: listed.registry.is_ok(),
            })
            .collect(),
    })
}

async fn yard(context: &Context, chosen_by: &'static str) -> Result<(YardInUse, Option<KeyStatus>), blockyard::Error> {
    let (url, config) = context.yard().await?;
    match Yard::key_status(&url, &config).await {
        Ok(key) => {
            Ok((YardInUse { url: Some(key.yard.clone()), chosen_by, available: true, problem: None }, Some(key)))
        }
        // The URL of a yard that is not readable may contain a password, and is named in the error.
        Err(error) if error.kind() == ErrorKind::Usage => Err(error),
        Err(error) => {
            let problem = Some(hints::to_json(&error)["error"].clone());
            Ok((YardInUse { url: None, chosen_by, available: false, problem }, None))
        }
    }
}

fn text(status: &Status) -> String {
    let Status { yard, key, project, configuration, registries } = status;
    let mut text = match (&yard.url, &yard.problem) {
        (Some(url), _) => format!("yard           {url} ({})\n", yard.chosen_by),
        (None, Some(problem)) => format!(
            "yard           not available ({}): {}\n",
            yard.chosen_by,
            problem["message"].as_str().unwrap_or_default()
        ),
        (None, None) => format!("yard           none ({}, which is not trusted)\n", yard.chosen_by),
    };
    for hint in yard.problem.iter().flat_map(|problem| problem["hints"].as_array()).flatten() {
        text.push_str(&format!("               {}\n", hint.as_str().unwrap_or_default()));
    }
    if let Some(key) = key {
        text.push_str(&format!("key            {} in {}\n", key.key_id, describe_key_location(&key.location)));
        if let Some(reason) = &key.reason {
            text.push_str(&format!("               not available: {reason}\n"));
        }
    }
    match project {
        Some(project) => text.push_str(&format!("project file   {} ({})\n", project.file, project.trust)),
        None => text.push_str("project file   none\n"),
    }
    let missing = if configuration.exists { "" } else { " (does not exist)" };
    text.push_str(&format!("configuration  {}{missing}\n", configuration.file));
    if registries.is_empty() {
        text.push_str("registries     none\n");
    }
    for (index, registry) in registries.iter().enumerate() {
        let label = if index == 0 { "registries" } else { "" };
        let state = if registry.available { "" } else { "; not available" };
        text.push_str(&format!("{label:13}  {} ({}{state})\n", registry.address, registry.chosen_by));
    }
    text
}
