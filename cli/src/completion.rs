//! Completion of words in a shell. The script of `blockyard completions` runs this program with the
//! words of the command line. Names come from the yard, which is read without its key.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use blockyard::model::{interface, visible};
use blockyard::{Address, Names, PinnedAddress, TypeView};
use clap::Arg;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;

use crate::arguments::{Cli, Global};
use crate::context::Context;
use crate::origin::GlobalOrigins;
use crate::terminal::Terminal;

/// Variable in which the script names the shell.
const VARIABLE: &str = "BLOCKYARD_COMPLETE";
/// Variable with the index of the word to complete. Some shells end the words with it instead.
const INDEX: &str = "_CLAP_COMPLETE_INDEX";
/// Time after which a yard that does not respond has no names.
const TIME: Duration = Duration::from_millis(500);
/// Maximum number of addresses. A yard with more offers its types first.
const MANY: u32 = 200;

/// Answers the request of a completion script and exits the process. Returns if there is none.
pub(crate) fn answer() {
    CompleteEnv::with_factory(|| attach(Cli::described())).var(VARIABLE).bin("blockyard").complete();
}

/// Returns the completion script for a shell.
pub(crate) fn script(shell: &str) -> std::io::Result<Vec<u8>> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell = shells.completer(shell).ok_or_else(|| std::io::Error::other("the shell is not known"))?;
    shell.write_registration(VARIABLE, "blockyard", "blockyard", "blockyard", &mut script)?;
    Ok(script)
}

/// What the value of an argument names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Address,
    /// The address of a block that does not exist yet.
    NewAddress,
    /// A path in object storage.
    Object,
    Type,
    Interface,
    Bundle,
    Yard,
    Field,
    /// `FIELD=`.
    Assignment,
    Secret,
    /// An operation, or one of its arguments.
    Operation,
}

/// Returns what the values of an argument name.
fn subject(command: &str, argument: &Arg) -> Option<Subject> {
    let values = argument.get_value_names().unwrap_or_default();
    Some(match (command, argument.get_id().as_str(), values.first().map_or("", |name| name.as_str())) {
        ("create", "address", _) | ("copy", "address", _) => Subject::NewAddress,
        ("reveal", "field", _) => Subject::Secret,
        ("call", "rest", _) => Subject::Operation,
        ("cp", "from" | "to", _) | (_, "path", "ADDRESS:PREFIX" | "ADDRESS:PATH") => Subject::Object,
        (_, "yard", _) => Subject::Yard,
        (_, "content_type" | "block_type", _) => return None,
        (_, "address" | "original" | "before" | "after" | "block" | "blocks" | "addresses", _)
        | ("transfer", "to", _) => Subject::Address,
        (_, _, "TYPE") => Subject::Type,
        (_, _, "INTERFACE") => Subject::Interface,
        ("install" | "info", ..) => return None,
        (_, "bundle", _) => Subject::Bundle,
        (_, _, "FIELD=VALUE") => Subject::Assignment,
        (_, _, "FIELD[=SOURCE]") => Subject::Secret,
        (_, _, "FIELD") => Subject::Field,
        _ => return None,
    })
}

/// Adds completion to the arguments of a command and its subcommands.
fn attach(command: clap::Command) -> clap::Command {
    let name = command.get_name().to_owned();
    let command = command.mut_args(|argument| match subject(&name, &argument) {
        Some(subject) => argument.add(ArgValueCompleter::new(move |current: &OsStr| complete(subject, current))),
        None => argument,
    });
    command.mut_subcommands(attach)
}

/// Returns the values that begin with the current word. A problem is a list without values: a shell
/// has no place for messages.
fn complete(subject: Subject, current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let words = Words::given();
    let terminal = Terminal { json: true, quiet: true, verbose: 0 };
    let yard = words.yard();
    let origins = GlobalOrigins::default();
    let global = Global { yard, json: true, quiet: true, verbose: 0, no_progress: true, otlp: None, origins };
    let Ok(context) = Context::new(&global, terminal, &runtime) else { return Vec::new() };
    let found = async { tokio::time::timeout(TIME, find(subject, current, &words, &context)).await };
    let found = runtime.block_on(found);
    let mut found = found.ok().flatten().unwrap_or_default();
    found.retain(|candidate| {
        let value = candidate.get_value().to_string_lossy();
        value.starts_with(current) && value.chars().all(is_plain)
    });
    found
}

/// Returns whether no shell gives this character a meaning. A bundle chooses the names of its fields
/// and arguments, and shells insert them into the command line as they are.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_./:@=".contains(character)
}

async fn find(subject: Subject, current: &str, words: &Words, context: &Context) -> Option<Vec<CompletionCandidate>> {
    match subject {
        Subject::Interface => return Some(interface::all().iter().map(|own| own.name.clone().into()).collect()),
        Subject::Yard => {
            let settings = context.settings().ok()?;
            return Some(settings.configuration().yards.iter().map(|(name, _)| name.to_string().into()).collect());
        }
        _ => {}
    }
    // A project file that is not trusted is an error here, and not a question.
    let names = Names::open(&context.yard().await.ok()?.0).await.ok()?;
    let found = from_yard(subject, current, words, &names).await;
    names.close().await;
    found
}

async fn from_yard(subject: Subject, current: &str, words: &Words, names: &Names) -> Option<Vec<CompletionCandidate>> {
    if subject == Subject::Bundle {
        return Some(names.bundles().await.ok()?.into_iter().map(Into::into).collect());
    }
    if subject == Subject::Address {
        let addresses = names.addresses(current, MANY + 1).await.ok()?;
        if addresses.len() <= MANY as usize || current.contains('/') {
            return Some(addresses.into_iter().map(Into::into).collect());
        }
    }
    let types = names.types().await.ok()?;
    let named = || types.iter().find(|view| words.type_slug() == Some(view.slug.as_str()));
    Some(match subject {
        Subject::Type => types.iter().map(|view| described(view.slug.clone(), &view.title)).collect(),
        Subject::Address | Subject::NewAddress => {
            types.iter().map(|view| described(format!("{}/", view.slug), &view.title)).collect()
        }
        Subject::Object => {
            let storage = |address: &String| {
                let slug = address.split('/').next();
                types.iter().any(|view| Some(view.slug.as_str()) == slug && is_storage(view))
            };
            let addresses = names.addresses(current, MANY).await.ok()?.into_iter().filter(storage);
            addresses.map(|address| format!("{address}:").into()).collect()
        }
        Subject::Secret => named()?.secrets.iter().map(|field| field.clone().into()).collect(),
        Subject::Field | Subject::Assignment => fields(named()?, subject == Subject::Assignment),
        Subject::Operation => operations(named()?, words),
        Subject::Bundle | Subject::Interface | Subject::Yard => Vec::new(),
    })
}

fn is_storage(view: &TypeView) -> bool {
    view.interfaces.iter().any(|own| own == "object-storage")
}

/// Returns the fields of a type; with `assigned`, those that `--set` accepts, which excludes secrets.
fn fields(view: &TypeView, assigned: bool) -> Vec<CompletionCandidate> {
    let properties = view.schema["properties"].as_object().into_iter().flatten();
    let shown = properties.filter(|(name, _)| !(assigned && view.secrets.contains(name)));
    let sign = if assigned { "=" } else { "" };
    shown.map(|(name, schema)| described(format!("{name}{sign}"), text(&schema["description"]))).collect()
}

/// Returns the operations of a type, or the arguments of the operation in the command line.
fn operations(view: &TypeView, words: &Words) -> Vec<CompletionCandidate> {
    let all = view.operations.as_array().into_iter().flatten();
    let operation = words.operation();
    match all.clone().find(|own| operation.is_some_and(|name| own["name"] == *name)) {
        Some(operation) => {
            let arguments = operation["arguments"]["properties"].as_object().into_iter().flatten();
            arguments.map(|(name, schema)| described(format!("--{name}"), text(&schema["description"]))).collect()
        }
        None => all.map(|own| described(text(&own["name"]).to_owned(), text(&own["description"]))).collect(),
    }
}

fn text(value: &blockyard::Json) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns a value with the first line of its description, which a bundle may have written.
fn described(value: String, description: &str) -> CompletionCandidate {
    let line = description.lines().next().unwrap_or_default();
    let help = (!line.is_empty()).then(|| visible::line(line).to_string().into());
    CompletionCandidate::new(value).help(help)
}

/// The words of the command line before the one to complete.
struct Words(Vec<String>);

impl Words {
    /// Returns the words that the script passes on, after `--`.
    fn given() -> Self {
        let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(2).collect();
        let index = std::env::var(INDEX).ok().and_then(|index| index.parse::<usize>().ok());
        let before = index.map_or(words.len().saturating_sub(1), |index| index.saturating_sub(1));
        Self(words.into_iter().take(before).map(|word| word.to_string_lossy().into_owned()).collect())
    }

    /// Returns the yard that the words name. bash separates words at `=`.
    fn yard(&self) -> Option<String> {
        let words = &self.0;
        let of_option = words.iter().enumerate().rev().find_map(|(at, word)| match word.strip_prefix("--yard")? {
            "" => words[at + 1..].iter().find(|next| *next != "=").cloned(),
            rest => rest.strip_prefix('=').map(str::to_owned),
        });
        of_option.or_else(|| std::env::var("BLOCKYARD_YARD").ok())
    }

    /// Returns the first address, and its position.
    fn address(&self) -> Option<(usize, &str)> {
        let is_address = |word: &str| word.parse::<PinnedAddress>().is_ok() || word.parse::<Address>().is_ok();
        self.0.iter().enumerate().skip(1).map(|(at, word)| (at, word.as_str())).find(|(_, word)| is_address(word))
    }

    fn type_slug(&self) -> Option<&str> {
        self.address()?.1.split('/').next()
    }

    /// Returns the operation of `call`: the word after the address.
    fn operation(&self) -> Option<&String> {
        let (at, _) = self.address()?;
        self.0.get(at + 1).filter(|word| !word.starts_with('-'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        Words(text.split(' ').map(str::to_owned).collect())
    }

    #[test]
    fn words_name_the_yard_the_type_and_the_operation() {
        let call = words("call --yard sqlite:a.db sql-database/flights@3 query --statement");
        assert_eq!(call.yard().as_deref(), Some("sqlite:a.db"));
        assert_eq!((call.type_slug(), call.operation().map(String::as_str)), (Some("sql-database"), Some("query")));
        assert_eq!(words("list --yard = prod").yard().as_deref(), Some("prod"));
        assert_eq!(words("list --yard=prod --yard other").yard().as_deref(), Some("other"));
        assert_eq!(words("call sql-database/flights").operation(), None);
        assert_eq!(words("set --set a=b").type_slug(), None);
    }

    #[test]
    fn each_command_with_an_address_completes_it() {
        let mut completed = Vec::new();
        for command in Cli::described().get_subcommands() {
            for argument in command.get_arguments() {
                if argument.is_positional() && subject(command.get_name(), argument) == Some(Subject::Address) {
                    completed.push(command.get_name().to_owned());
                }
            }
        }
        for command in ["show", "set", "edit", "history", "check", "call", "query", "delete", "rollback", "reveal"] {
            assert!(completed.iter().any(|own| own == command), "{command}: {completed:?}");
        }
    }
}
