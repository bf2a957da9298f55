//! Field values from command-line options and files, and from prompts for secrets.

use std::path::Path;

use blockyard::model::{PlainDocument, Pointer, Schema, SecretSource, SecretValue, exact};
use blockyard::{Error, ErrorKind, Json, Patch, SecretInput};
use zeroize::Zeroizing;

use crate::arguments::Fields;
use crate::input::read;
use crate::prompt::secret;
use crate::terminal::{Failure, Terminal, Unchanged};

impl Fields {
    /// Returns whether no value is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.json_config.is_none() && self.secret.is_empty()
    }

    /// Reads all values: from files, from standard input, and from prompts for secrets. A value is parsed by the type that the schema
    /// gives its field.
    pub(crate) fn into_patch(self, schema: &Schema, terminal: &Terminal) -> Result<Patch, Failure> {
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
                return Err(exposed_secret(field).into());
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
                None => ask(field, terminal)?,
                Some("-") if stdin_taken => {
                    return Err(Error::new(ErrorKind::Usage, "standard input can be read only once").hint("use `--secret FIELD=@FILE` for one of them").into());
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

/// Splits `NAME=VALUE`.
pub(crate) fn pair<'a>(text: &'a str, flag: &str) -> Result<(&'a str, &'a str), Error> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        _ => Err(Error::new(ErrorKind::Usage, format!("`{flag} {text}` is not a NAME=VALUE pair"))
            .hint(format!("use `{flag} NAME=VALUE`"))),
    }
}

/// Prompts for a secret.
fn ask(field: &str, terminal: &Terminal) -> Result<SecretInput, Failure> {
    if !terminal.can_ask() {
        return Err(Error::new(ErrorKind::Usage, format!("cannot prompt for the secret `{field}` without a terminal"))
            .hint(format!("use `--secret {field}=-` for standard input, `{field}=@FILE`, `{field}=env:NAME` or `{field}=file:PATH`"))
            .into());
    }
    let _unchanged = Unchanged::begin();
    match secret::ask(field, "", terminal)? {
        Some(secret::Secret { input: SecretInput::Value(secret), .. }) => {
            Ok(SecretInput::Value(not_empty(field, secret)?))
        }
        Some(secret) => Ok(secret.input),
        None => Ok(SecretInput::Value(not_empty(field, SecretValue::new(String::new()))?)),
    }
}
