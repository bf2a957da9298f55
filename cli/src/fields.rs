//! Field values from command-line options, files and interactive questions.

use std::path::Path;

use blockyard::model::form::{self, FieldKind};
use blockyard::model::visible;
use blockyard::model::{PlainDocument, Pointer, Schema, SecretSource, SecretValue, exact};
use blockyard::{Error, ErrorKind, Json, Patch, SecretInput};
use zeroize::Zeroizing;

use crate::arguments::Fields;
use crate::input::read;
use crate::terminal::Terminal;

impl Fields {
    /// Returns whether no value is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.json_config.is_none() && self.secret.is_empty()
    }

    /// Reads all values: from files, from standard input, and from prompts for secrets. A value is parsed by the type that the schema
    /// gives its field.
    pub(crate) fn into_patch(self, schema: &Schema, terminal: &Terminal) -> Result<Patch, Error> {
        let mut patch = Patch::default();
        let mut stdin_taken = false;
        if let Some(path) = &self.json_config {
            stdin_taken = path.as_os_str() == "-";
            let text = Zeroizing::new(read(path)?);
            let document = exact::parse(&text).map_err(|error| not_read(&format!("`{}`", path.display()), error))?;
            patch.document = Some(PlainDocument(document));
        }
        for assignment in self.set {
            let (field, value) = pair(&assignment, "--set")?;
            let pointer = Pointer::from_dotted(field);
            if schema.is_secret(&pointer) {
                return Err(exposed_secret(field));
            }
            let parse = |text: &str| {
                schema
                    .parse_value(&pointer, text)
                    .map_err(|error| not_read(&format!("the value of field `{field}`"), error))
            };
            let value = match value.strip_prefix('@') {
                Some(path) => parse(&read(Path::new(path))?)?,
                None => {
                    let value = parse(value)?;
                    not_exposed(schema, field, &pointer, &value)?;
                    value
                }
            };
            patch.set.push((pointer, value));
        }
        for secret in self.secret {
            let (field, source) = match secret.split_once('=') {
                Some((field, source)) => (field, Some(source)),
                None => (secret.as_str(), None),
            };
            let input = match source {
                None => SecretInput::Value(not_empty(field, ask(field, terminal)?)?),
                Some("-") if stdin_taken => {
                    return Err(Error::new(ErrorKind::Usage, "standard input can be read only once").hint("use `--secret FIELD=@FILE` for one of them"));
                }
                Some("-") => {
                    stdin_taken = true;
                    SecretInput::Value(not_empty(field, SecretValue::from_file(read(Path::new("-"))?))?)
                }
                Some(source) if source.starts_with('@') => SecretInput::Value(not_empty(field, SecretValue::from_file(read(Path::new(&source[1..]))?))?),
                Some(source) => SecretInput::Source(source.parse::<SecretSource>().map_err(|_| {
                    Error::new(ErrorKind::Usage, format!("the value after `--secret {field}=` is not a secret source"))
                        .hint("do not pass a secret on the command line, because the shell records it in its history")
                        .hint(format!("use `--secret {field}` to be prompted, `{field}=-` for standard input, `{field}=@FILE`, `{field}=env:NAME` or `{field}=file:PATH`"))
                })?),
            };
            patch.secrets.push((Pointer::from_dotted(field), input));
        }
        Ok(patch)
    }
}

/// Error for a document or a value that cannot be read. `what` names it.
fn not_read(what: &str, error: exact::ExactError) -> Error {
    let wrong = match error {
        exact::ExactError::NotJson(_) => "is not JSON",
        exact::ExactError::Inexact { .. } => "contains a number that a block cannot represent exactly",
    };
    Error::new(ErrorKind::Invalid, format!("{what} {wrong}")).because(error)
}

/// Refuses an empty secret: the file or the input has no content, or only a line break.
fn not_empty(field: &str, secret: SecretValue) -> Result<SecretValue, Error> {
    if secret.expose().is_empty() {
        return Err(Error::new(ErrorKind::Invalid, format!("the value of secret `{field}` is empty"))
            .hint(format!("give it a value, or leave out `--secret {field}`")));
    }
    Ok(secret)
}

/// Refuses a value of the command line with a secret in it.
fn not_exposed(schema: &Schema, field: &str, pointer: &Pointer, value: &Json) -> Result<(), Error> {
    if let Some(secret) = secret_inside(schema, pointer, value) {
        return Err(exposed_secret(&secret.dotted()));
    }
    if blockyard::has_password(schema, pointer, value) {
        let message =
            format!("field `{field}` has a password in it; on a command line it would stay in the shell's history");
        return Err(Error::new(ErrorKind::Usage, message).hint(format!(
            "use `--set {field}=@FILE` to read a file, or leave the password out of it and add `--secret password=-`"
        )));
    }
    Ok(())
}

fn exposed_secret(field: &str) -> Error {
    Error::new(
        ErrorKind::Usage,
        format!("field `{field}` is a secret; on a command line it would stay in the shell's history"),
    )
    .hint(format!(
        "use `--secret {field}` to be prompted, `--secret {field}=-` for standard input, or `--secret {field}=env:NAME`"
    ))
}

/// The path of a secret in plain text somewhere in the value of a field.
fn secret_inside(schema: &Schema, field: &Pointer, value: &Json) -> Option<Pointer> {
    let mut alone = PlainDocument(Json::Null);
    field.set(&mut alone.0, value.clone()).ok()?;
    let pointers = schema.secrets(&alone.0).into_iter().map(|secret| secret.pointer);
    pointers.into_iter().find(|pointer| alone.0.pointer(pointer.as_str()).is_some_and(Json::is_string))
}

/// Prompts for each field of a schema, in schema order.
pub(crate) fn ask_all(schema: &Schema, terminal: &Terminal) -> Result<Patch, Error> {
    ask_some(schema, terminal, |_| true)
}

/// Prompts for the selected fields of a schema, in schema order.
pub(crate) fn ask_some(
    schema: &Schema,
    terminal: &Terminal,
    selects: impl Fn(&Pointer) -> bool,
) -> Result<Patch, Error> {
    let mut patch = Patch::default();
    for field in form::fields(schema).into_iter().filter(|field| selects(&field.pointer)) {
        let name = field.pointer.dotted();
        terminal.note("");
        terminal.note(&visible::paragraph(&field.description));
        if field.kind == FieldKind::Secret {
            let secret = ask(&name, terminal)?;
            if !secret.expose().is_empty() {
                patch.secrets.push((field.pointer, SecretInput::Value(secret)));
            }
            continue;
        }
        let default = field
            .default
            .as_ref()
            .map(|default| form::answer_text(&field, default).unwrap_or_else(|| default.to_string()));
        let note = match (&field.kind, field.required) {
            (FieldKind::Choice(words), _) => format!(" ({})", visible::line(&words.join(", "))),
            (FieldKind::Json, _) => " (JSON)".to_owned(),
            (_, false) => " (optional)".to_owned(),
            _ => String::new(),
        };
        let answered = loop {
            // A schema may contain arbitrary text, so everything shown of it is escaped, including
            // the default.
            let shown = default.as_ref().map(|default| format!(" [{}]", visible::line(default))).unwrap_or_default();
            let prompt = format!("{}{note}{shown}", visible::line(&name));
            let question = dialoguer::Input::<String>::new().with_prompt(prompt).allow_empty(true);
            let mut text = question.interact_text().map_err(not_answered)?;
            if text.is_empty() {
                text = default.clone().unwrap_or_default();
            }
            match form::answer(&field, text.trim()) {
                Ok(None) if field.required => terminal.note("a value is required"),
                Ok(answer) => break answer,
                Err(expected) => terminal.note(&expected),
            }
        };
        if let Some(value) = answered {
            patch.set.push((field.pointer, value));
        }
    }
    Ok(patch)
}

/// Splits `NAME=VALUE`.
pub(crate) fn pair<'a>(text: &'a str, flag: &str) -> Result<(&'a str, &'a str), Error> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        _ => Err(Error::new(ErrorKind::Usage, format!("`{flag} {text}` is not a NAME=VALUE pair"))
            .hint(format!("use `{flag} NAME=VALUE`"))),
    }
}

fn ask(field: &str, terminal: &Terminal) -> Result<SecretValue, Error> {
    if !terminal.can_ask() {
        return Err(Error::new(ErrorKind::Usage, format!("cannot prompt for the secret `{field}` without a terminal"))
            .hint(format!("use `--secret {field}=-` for standard input, `{field}=@FILE`, `{field}=env:NAME` or `{field}=file:PATH`")));
    }
    let answer = dialoguer::Password::new()
        .with_prompt(format!("{} (not shown)", visible::line(field)))
        .allow_empty_password(true)
        .interact();
    answer.map(SecretValue::new).map_err(not_answered)
}

fn not_answered(error: dialoguer::Error) -> Error {
    Error::new(ErrorKind::Usage, "cannot read the answer from the terminal").because(error)
}
