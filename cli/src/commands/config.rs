//! `blockyard config`: each setting with its value and its origin. Keys, tokens and passwords are not
//! shown.

use std::collections::BTreeMap;

use blockyard::{Error, KeySource, RegistryAddress, TrustState, Yard};
use serde::Serialize;
use serde_json::{Value, json};

use super::edit;
use crate::arguments::Cli;
use crate::context::Context;
use crate::in_use::{YardInUse, trust_word};
use crate::origin::Origin;
use crate::outcome::{DONE, Outcome};
use crate::remote;
use crate::settings::Settings;
use crate::tabular::plain_table;
use crate::terminal;

/// Value of a setting whose value is a secret.
const HIDDEN: &str = "is set; its value is not shown";
/// Start of the names of the environment variables.
const PREFIX: &str = "BLOCKYARD_";
/// Variables that are not options.
const VARIABLES: [&str; 4] = ["BLOCKYARD_CONFIG", "BLOCKYARD_KEY", "BLOCKYARD_KEY_FILE", "BLOCKYARD_SIGNING_PASSWORD"];

/// All settings.
#[derive(Serialize)]
struct Configuration {
    settings: Vec<Setting>,
    variables: Vec<Variable>,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    /// `None` if there is none, or if it is a secret.
    value: Option<Value>,
    origin: &'static str,
    /// Name of the option or of the variable, or path of the file.
    from: Option<String>,
    /// State of the value, such as the trust in a project file.
    note: Option<String>,
}

/// An environment variable that is set. Its value is not shown, because it may be a secret.
#[derive(Serialize)]
struct Variable {
    name: String,
    /// Option that the variable sets. `None` if it is not an option.
    option: Option<String>,
    /// `false` if no command reads the variable.
    known: bool,
}

pub(super) async fn run(context: &Context) -> Outcome {
    let mut list = List { context, settings: context.settings()?, added: Vec::new() };
    list.yard().await?;
    list.files()?;
    list.registries()?;
    list.output();
    let configuration = Configuration { settings: list.added, variables: variables() };
    context.terminal.document(&configuration, || text(&configuration))?;
    Ok(DONE)
}

/// A list of settings that grows.
struct List<'a> {
    context: &'a Context,
    settings: Settings,
    added: Vec<Setting>,
}

impl List<'_> {
    fn add(&mut self, name: &str, value: Option<Value>, origin: Origin, note: Option<String>) {
        let (kind, from) = match origin {
            Origin::Option(name) => ("option", Some(name.to_owned())),
            Origin::Variable(name) => ("variable", Some(name.to_owned())),
            Origin::Project => {
                let project = self.context.project().ok().flatten();
                ("project", project.map(|project| project.path().display().to_string()))
            }
            Origin::Configuration => ("configuration", Some(self.settings.path().display().to_string())),
            Origin::Shipped => ("shipped", None),
            Origin::Yard => ("yard", None),
            Origin::Default => ("default", None),
        };
        self.added.push(Setting { name: name.to_owned(), value, origin: kind, from, note });
    }

    /// Adds the yard, its key, and the named yards.
    async fn yard(&mut self) -> Result<(), Error> {
        let YardInUse { origin, url, key, problem } = self.context.yard_in_use().await?;
        let note = match (&url, &problem) {
            (_, Some(problem)) => Some(format!("not available: {problem}")),
            (None, None) => Some("the project file is not trusted".to_owned()),
            (Some(_), None) => None,
        };
        self.add("yard", url.map(Value::from), origin, note);
        match KeySource::from_environment() {
            KeySource::Base64(_) => self.add("key", None, Origin::Variable("BLOCKYARD_KEY"), Some(HIDDEN.to_owned())),
            KeySource::File(path) => {
                let path = format!("file:{}", path.display());
                self.add("key", Some(json!(path)), Origin::Variable("BLOCKYARD_KEY_FILE"), None);
            }
            KeySource::Default => match key {
                Some(key) => {
                    let note = key.reason.map(|reason| format!("not available: {reason}"));
                    self.add("key", Some(json!(key.location)), Origin::Yard, note);
                }
                None => {
                    let note = "the yard, which records the location of its key, is not available";
                    self.add("key", None, Origin::Default, Some(note.to_owned()));
                }
            },
        }
        for (name, url) in self.settings.configuration().yards.clone() {
            let (value, note) = match Yard::shown_url(&url) {
                Ok(url) => (Some(json!(url)), None),
                Err(error) => (None, Some(error.to_string())),
            };
            self.add(&format!("yards.{name}"), value, Origin::Configuration, note);
        }
        Ok(())
    }

    /// Adds the files and folders that Blockyard reads.
    fn files(&mut self) -> Result<(), Error> {
        let (project, note) = match self.context.project_in_use()? {
            Some((project, TrustState::Trusted)) => (Some(json!(project.path().display().to_string())), None),
            Some((project, state)) => {
                (Some(json!(project.path().display().to_string())), Some(trust_word(state).to_owned()))
            }
            None => (None, None),
        };
        self.add("project", project, Origin::Default, note);
        let path = self.settings.path();
        let note = (!path.exists()).then(|| "does not exist".to_owned());
        let (path, origin) = (path.display().to_string(), self.settings.origin());
        self.add("configuration", Some(json!(path)), origin, note);
        if let Some((folder, origin)) = self.context.data_folder() {
            self.add("data-folder", Some(json!(folder.display().to_string())), origin, None);
        }
        if let Some(folder) = self.context.cache_folder() {
            self.add("cache-folder", Some(json!(folder.display().to_string())), self.context.cache_origin(), None);
        }
        let patterns: Vec<String> = self.settings.configuration().sources.iter().map(ToString::to_string).collect();
        let origin = if patterns.is_empty() { Origin::Default } else { Origin::Configuration };
        self.add("sources.allow", Some(json!(patterns)), origin, None);
        Ok(())
    }

    /// Adds the registries in the order in which they are searched, and their tokens.
    fn registries(&mut self) -> Result<(), Error> {
        for (origin, address, refused) in self.context.registry_addresses(&self.settings)? {
            self.add("registry", Some(json!(address)), origin, refused.map(|error| format!("not used: {error}")));
        }
        for registry in self.settings.configuration().registries.clone() {
            if let RegistryAddress::Remote(_) = registry.address
                && let Some(variable) = remote::token_variable(registry.name.as_str())
            {
                let name = format!("registries.{}.token", registry.name);
                self.add(&name, None, Origin::Default, Some(HIDDEN.to_owned()));
                if let Some(added) = self.added.last_mut() {
                    (added.origin, added.from) = ("variable", Some(variable));
                }
            }
        }
        Ok(())
    }

    /// Adds the settings of the output, of traces and of the editor.
    fn output(&mut self) {
        let Context { terminal, origins, collector, no_progress, .. } = self.context;
        let (color, origin) = terminal::color();
        self.add("color", Some(json!(color)), origin, None);
        self.add("progress", Some(json!(!no_progress)), origins.no_progress, None);
        self.add("json", Some(json!(terminal.json)), origins.json, None);
        self.add("quiet", Some(json!(terminal.quiet)), origins.quiet, None);
        self.add("verbose", Some(json!(terminal.verbose)), origins.verbose, None);
        self.add("otlp", collector.as_ref().map(|url| json!(url)), origins.otlp, None);
        let (editor, origin) = match edit::configured_editor() {
            Some((editor, variable)) => (Some(json!(editor.to_string_lossy())), Origin::Variable(variable)),
            None => (None, Origin::Default),
        };
        self.add("editor", editor, origin, None);
    }
}

/// Returns the variables of Blockyard that are set, sorted by name.
fn variables() -> Vec<Variable> {
    let mut options = BTreeMap::new();
    let mut waiting = vec![Cli::described()];
    while let Some(command) = waiting.pop() {
        for argument in command.get_arguments() {
            if let (Some(variable), Some(long)) = (argument.get_env(), argument.get_long()) {
                options.insert(variable.to_string_lossy().into_owned(), format!("--{long}"));
            }
        }
        waiting.extend(command.get_subcommands().cloned());
    }
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(PREFIX)).collect();
    names.sort();
    let variable = |name: String| {
        let option = options.get(&name).cloned();
        let known = option.is_some() || VARIABLES.contains(&name.as_str()) || name.starts_with(remote::TOKEN);
        Variable { option, known, name }
    };
    names.into_iter().map(variable).collect()
}

fn text(configuration: &Configuration) -> String {
    let mut table = plain_table(["setting", "value", "origin"].map(str::to_owned));
    for setting in &configuration.settings {
        let value = match &setting.value {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            Some(other) => other.to_string(),
        };
        let note = setting.note.as_ref().map(|note| format!("({note})"));
        let value = [Some(value).filter(|value| !value.is_empty()), note].into_iter().flatten().collect::<Vec<_>>();
        let origin = match (&setting.from, setting.origin) {
            (Some(name), "option") => name.clone(),
            (Some(from), kind) => format!("{kind} {from}"),
            (None, kind) => kind.to_owned(),
        };
        table.add_row([setting.name.clone(), value.join(" "), origin]);
    }
    let mut text = table.fitted().to_string();
    for Variable { name, option, known } in &configuration.variables {
        let meaning = match (option, known) {
            (Some(option), _) => format!("sets the option {option}"),
            (None, true) => "is used".to_owned(),
            (None, false) => "is not read by any command".to_owned(),
        };
        text.push_str(&format!("\nvariable {name} {meaning}"));
    }
    text
}
