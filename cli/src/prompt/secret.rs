//! Prompt for a secret: a value, a source, or the content of a file.

use std::path::Path;

use blockyard::SecretInput;
use blockyard::model::{SecretSource, SecretValue, visible};
use zeroize::Zeroizing;

use super::choice::{Row, choose};
use super::editor::hidden;
use super::keyboard::width;
use super::wrap::wrapped;
use crate::input::read;
use crate::terminal::{Failure, Terminal};

/// The answer to the prompt.
pub(crate) struct Secret {
    pub(crate) input: SecretInput,
    /// File from which the value was read.
    pub(crate) file: Option<String>,
}

/// Asks for a secret. `mark` is displayed after the name. Returns `None` for an empty answer. The user
/// decides about text that looks like a source or a file; the text is not displayed, because it may be
/// the secret itself.
pub(crate) fn ask(name: &str, mark: &str, terminal: &Terminal) -> Result<Option<Secret>, Failure> {
    let explained = "The text is not shown. For text such as `env:NAME`, `file:/PATH`, `block:TYPE/NAME` or `@FILE`, \
                     you choose next between the source and the text itself.";
    terminal.note(&wrapped(explained, "", width()));
    loop {
        let prompt = format!("{}{mark} (not shown): ", visible::line(name));
        let Some(text) = hidden(&prompt)? else { return Ok(None) };
        if text.is_empty() {
            return Ok(None);
        }
        match interpreted(&text)? {
            Ok(secret) => return Ok(Some(secret)),
            Err(problem) => terminal.prompt(&wrapped(&visible::line(&problem), "  ", width())),
        }
    }
}

/// Returns the secret that a text stands for, or a problem with its file.
fn interpreted(text: &Zeroizing<String>) -> Result<Result<Secret, String>, Failure> {
    let itself = || Secret { input: SecretInput::Value(SecretValue::new(text.to_string())), file: None };
    let source = text.parse::<SecretSource>().ok();
    let (label, description) = match (&source, text.strip_prefix('@')) {
        (Some(SecretSource::Environment(_)), _) => ("source", "read the environment variable at each call"),
        (Some(SecretSource::File(_)), _) => ("source", "read the file at each call"),
        (Some(SecretSource::Block(_)), _) => ("source", "read the secret of the block at each call"),
        (None, Some(path)) if !path.is_empty() => ("file", "store the content of the file, sealed"),
        _ => return Ok(Ok(itself())),
    };
    let rows = [Row::new(label, description), Row::new("text", "store the typed text itself, sealed")];
    match (choose("use it as ", &rows, 0)?, source) {
        (Some(0), Some(source)) => Ok(Ok(Secret { input: SecretInput::Source(source), file: None })),
        (Some(0), None) => {
            let path = &text[1..];
            Ok(match read(Path::new(path)) {
                Ok(content) => Ok(Secret {
                    input: SecretInput::Value(SecretValue::from_file(content)),
                    file: Some(path.to_owned()),
                }),
                // The message would quote the text, which may be the secret.
                Err(_) => Err("the file cannot be read".to_owned()),
            })
        }
        (Some(_), _) => Ok(Ok(itself())),
        (None, _) => Ok(Err("the text was not used; type it again".to_owned())),
    }
}
