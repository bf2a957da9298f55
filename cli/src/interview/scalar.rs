//! Questions for single values: text, numbers, choices and secrets.

use std::path::Path;

use blockyard::model::exact::{self, ExactError};
use blockyard::model::form::{Field, Kind, Word};
use blockyard::model::marker::source_marker;
use blockyard::model::visible;
use blockyard::{Json, SecretInput};
use zeroize::Zeroizing;

use super::{Interview, label};
use crate::input::read;
use crate::prompt::{self, Row, Typed};
use crate::terminal::Failure;

/// A value that was typed, or read from a file.
pub(super) struct Read {
    pub(super) value: Json,
    pub(super) file: Option<String>,
}

impl Interview<'_> {
    /// Asks for a line of text until it is valid.
    pub(super) async fn ask_text(&mut self, field: &Field<'_>) -> Result<(), Failure> {
        let several_lines = matches!(field.kind, Kind::Text { multi_line: true, .. });
        if several_lines {
            self.note("`@FILE` reads a file. Text may have several lines; an empty line ends it.");
        } else if field.kind == Kind::Json {
            self.note("JSON, on one or several lines, or `@FILE`.");
        }
        let mut initial = self.initial_text(field);
        // Text that only the yard rejected.
        let mut doubtful: Option<String> = None;
        loop {
            let text = match prompt::line(&self.prompt(field), &initial)? {
                Typed::Text(text) => self.completed(field, text.trim().to_owned())?,
                Typed::Escape if field.required => {
                    self.complain("a value is required");
                    continue;
                }
                Typed::Escape => {
                    self.skips_optional = true;
                    self.leave_out(field);
                    return Ok(());
                }
            };
            let problems = match read_text(field, &text) {
                Ok(None) if field.required => vec!["a value is required".to_owned()],
                Ok(None) => {
                    self.leave_out(field);
                    return Ok(());
                }
                Ok(Some(Read { value, file })) => {
                    let problems = field.problems(&value);
                    if problems.is_empty() {
                        self.put(field, value, file)?;
                        if doubtful.as_ref() == Some(&text) {
                            return Ok(());
                        }
                        let problems = self.problems(field).await;
                        if problems.is_empty() {
                            return Ok(());
                        }
                        doubtful = Some(text.clone());
                        problems
                    } else {
                        problems
                    }
                }
                Err(problem) => vec![problem],
            };
            problems.iter().for_each(|problem| self.complain(problem));
            if doubtful.as_ref() == Some(&text) {
                self.complain("change the answer, or press Enter to keep it for now");
            } else {
                self.rejected.insert(field.pointer.clone(), text.clone());
            }
            initial = text;
        }
    }

    /// Returns the text to edit: the last answer.
    fn initial_text(&self, field: &Field<'_>) -> String {
        let file = self.files.get(&field.pointer).map(|file| format!("@{file}"));
        let typed = self.rejected.get(&field.pointer).cloned();
        typed.or(file).or_else(|| field.text(self.value(field)?)).unwrap_or_default()
    }

    fn prompt(&self, field: &Field<'_>) -> String {
        let default = field.default.and_then(|default| field.text(default));
        let default = default.map(|default| format!(" [{}]", visible::line(&default))).unwrap_or_default();
        format!("{}{default}: ", label(field))
    }

    /// Reads further lines of JSON that is not complete, and of text that may have several lines.
    fn completed(&self, field: &Field<'_>, mut text: String) -> Result<String, Failure> {
        let is_file = text.starts_with('@');
        loop {
            let continues = match field.kind {
                Kind::Text { multi_line, .. } => multi_line && !text.is_empty() && !is_file,
                Kind::Json => matches!(exact::parse(&text), Err(ExactError::NotJson(error)) if error.is_eof()),
                _ => false,
            };
            if !continues || text.is_empty() {
                return Ok(text);
            }
            match prompt::line("... ", "")? {
                Typed::Text(line) if !line.is_empty() => {
                    text.push('\n');
                    text.push_str(&line);
                }
                Typed::Text(_) | Typed::Escape => return Ok(text),
            }
        }
    }

    /// Asks for one of the values of a field.
    pub(super) async fn ask_choice(&mut self, field: &Field<'_>) -> Result<(), Failure> {
        let mut options: Vec<(Row, Option<Json>)> = Vec::new();
        if !field.required {
            options.push((Row::new("-", "leave out"), None));
        }
        match &field.kind {
            Kind::Boolean => {
                options.push((Row::new("yes", ""), Some(true.into())));
                options.push((Row::new("no", ""), Some(false.into())));
            }
            Kind::Constant(value) if field.required => {
                return self.put(field, (*value).clone(), None);
            }
            Kind::Constant(value) => options.push((Row::new(plain(value), ""), Some((*value).clone()))),
            Kind::Choice(words) => {
                let option =
                    |word: &Word<'_>| (Row::new(plain(word.value), word.description.clone()), Some(word.value.clone()));
                options.extend(words.iter().map(option));
            }
            _ => {}
        }
        if field.nullable && field.required && !matches!(field.kind, Kind::Constant(_)) {
            options.push((Row::new("null", "no value"), Some(Json::Null)));
        }
        for (row, _) in options.iter_mut().filter(|(_, value)| value.as_ref() == field.default && value.is_some()) {
            row.description = format!("{} (default)", row.description).trim().to_owned();
        }
        let current = self.value(field).or(field.default);
        let selected = options.iter().position(|(_, value)| value.as_ref() == current).unwrap_or(0);
        match self.choose(field, options, selected)? {
            Some(value) => self.put(field, value, None)?,
            None => self.leave_out(field),
        }
        for problem in self.problems(field).await {
            self.complain(&problem);
        }
        Ok(())
    }

    /// Asks for one of the options of a field. Returns the chosen value; `None` leaves the field out.
    pub(super) fn choose(
        &mut self,
        field: &Field<'_>,
        options: Vec<(Row, Option<Json>)>,
        selected: usize,
    ) -> Result<Option<Json>, Failure> {
        let (rows, mut values): (Vec<Row>, Vec<Option<Json>>) = options.into_iter().unzip();
        loop {
            match prompt::choose(&format!("{}: ", label(field)), &rows, selected)? {
                Some(index) => return Ok(values.swap_remove(index)),
                None if field.required => self.complain("a value is required"),
                None => {
                    self.skips_optional = true;
                    return Ok(None);
                }
            }
        }
    }

    /// Asks for a secret until it is valid. An empty answer keeps an earlier one.
    pub(super) async fn ask_secret(&mut self, field: &Field<'_>) -> Result<(), Failure> {
        let mark = if field.required { " (required)" } else { " (optional)" };
        loop {
            let is_given = self.value(field).is_some();
            let mark = if is_given { " (Enter keeps it)" } else { mark };
            let Some(secret) = prompt::secret::ask(&field.pointer.dotted(), mark, self.terminal)? else {
                if is_given || !field.required {
                    return Ok(());
                }
                self.complain("a value is required");
                continue;
            };
            let value = match secret.input {
                SecretInput::Value(secret) => Json::from(secret.expose()),
                SecretInput::Source(source) => source_marker(&source),
            };
            self.put(field, value, secret.file)?;
            let problems = self.problems(field).await;
            if problems.is_empty() {
                return Ok(());
            }
            problems.iter().for_each(|problem| self.complain(problem));
        }
    }
}

/// Converts the text of an answer. Returns `None` for an empty text.
pub(super) fn read_text(field: &Field<'_>, text: &str) -> Result<Option<Read>, String> {
    let is_text = matches!(field.kind, Kind::Text { .. });
    let typed = |value| Ok(Some(Read { value, file: None }));
    match text.strip_prefix('@') {
        None if text.is_empty() => Ok(None),
        None if is_text && text == "\"\"" => typed(Json::from("")),
        None => field.parse(text).and_then(typed),
        // Text that begins with `@`.
        Some(rest) if is_text && rest.starts_with('@') => typed(Json::from(rest)),
        Some(path) => read_file(field, path).map(Some),
    }
}

/// Reads the value of a field from a file.
pub(super) fn read_file(field: &Field<'_>, path: &str) -> Result<Read, String> {
    let content = read(Path::new(path)).map(Zeroizing::new).map_err(|error| {
        let causes = error.causes().into_iter().map(|cause| format!(": {cause}"));
        format!("{error}{}", causes.collect::<String>())
    })?;
    let is_text = matches!(field.kind, Kind::Text { .. });
    let value = field.parse(if is_text { &content } else { content.trim() });
    let value = value.map_err(|problem| format!("`{path}`: {problem}"))?;
    Ok(Read { value, file: Some(path.to_owned()) })
}

/// Returns a string as it is, and any other value as JSON.
fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
