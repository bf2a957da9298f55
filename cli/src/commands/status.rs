//! `blockyard status`: the yard, key, project file and registries in use, and the setting that
//! chooses each.

use blockyard::{Error, ErrorKind, KeyStatus};
use serde::Serialize;
use serde_json::Value;

use crate::context::{Context, describe_key_location};
use crate::hints;
use crate::in_use::{YardInUse, trust_word};
use crate::outcome::{DONE, Outcome};
use crate::registries::Reach;

/// What is in use.
#[derive(Serialize)]
struct Status {
    yard: YardStatus,
    key: Option<KeyStatus>,
    project: Option<ProjectInUse>,
    configuration: ConfigurationInUse,
    registries: Vec<RegistryInUse>,
}

#[derive(Serialize)]
struct YardStatus {
    /// URL without a password. `None` if no yard is selected, or if it is not available.
    url: Option<String>,
    chosen_by: String,
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
    chosen_by: String,
    available: bool,
}

pub(super) async fn run(context: &Context) -> Outcome {
    let status = status(context).await?;
    context.terminal.document(&status, || text(&status))?;
    Ok(DONE)
}

async fn status(context: &Context) -> Result<Status, Error> {
    let settings = context.settings()?;
    let project = context.project_in_use()?;
    let (yard, key) = yard(context).await?;
    let registries = context.listed_registries(&[], Reach::Local).await?;
    Ok(Status {
        yard,
        key,
        project: project.map(|(project, state)| ProjectInUse {
            file: project.path().display().to_string(),
            trust: trust_word(state),
        }),
        configuration: ConfigurationInUse {
            file: settings.path().display().to_string(),
            exists: settings.path().exists(),
        },
        registries: registries
            .into_iter()
            .map(|listed| RegistryInUse {
                address: listed.address,
                chosen_by: listed.origin.to_string(),
                available: listed.registry.is_ok(),
            })
            .collect(),
    })
}

async fn yard(context: &Context) -> Result<(YardStatus, Option<KeyStatus>), Error> {
    let YardInUse { origin, url, key, problem } = context.yard_in_use().await?;
    let chosen_by = origin.to_string();
    match (key, problem) {
        (Some(key), _) => Ok((YardStatus { url, chosen_by, available: true, problem: None }, Some(key))),
        (None, Some(error)) if error.kind() == ErrorKind::Usage => Err(error),
        (None, problem) => {
            let problem = problem.map(|error| hints::to_json(&error)["error"].clone());
            Ok((YardStatus { url: None, chosen_by, available: false, problem }, None))
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
