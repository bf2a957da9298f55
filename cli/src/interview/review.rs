//! The end of the questions: a summary, corrections, and the equivalent command.

use std::collections::BTreeSet;

use blockyard::model::form::Field;
use blockyard::model::marker::{is_secret, masked};
use blockyard::model::{Pointer, SplitDocument, visible};
use blockyard::{Error, Json};

use super::{Interview, violations};
use crate::command_line::{EquivalentCommand, equivalent};
use crate::prompt::{self, Row, width, wrapped};
use crate::terminal::Failure;

/// Maximum length of a value in the summary, in characters.
const SUMMARY: usize = 200;

impl Interview<'_> {
    /// Shows the answers and asks for agreement. The user may change answers first.
    pub(crate) async fn review(&mut self, action: &str) -> Result<(), Failure> {
        loop {
            self.terminal.prompt("");
            self.terminal.prompt(&format!("{}:", visible::line(&self.address.to_string())));
            for (field, value) in self.summary() {
                let line = format!("{}: {}", visible::line(&field), visible::line(&value));
                self.terminal.prompt(&wrapped(&line, "  ", width()));
            }
            self.terminal.prompt("");
            let rows =
                [Row::new(action, ""), Row::new("change", "change an answer"), Row::new("stop", "nothing is saved")];
            match prompt::choose("next: ", &rows, 0)? {
                Some(0) => return Ok(()),
                Some(1) => self.change().await?,
                _ => return Err(Failure::Canceled),
            }
        }
    }

    /// Asks again for the fields that a save has rejected. Returns false if the error lists none.
    pub(crate) async fn correct(&mut self, error: &Error) -> Result<bool, Failure> {
        let wrong = violations(error);
        if wrong.is_empty() {
            return Ok(false);
        }
        self.terminal.prompt("");
        for (pointer, message) in &wrong {
            let name =
                if pointer.as_str().is_empty() { "the block".to_owned() } else { format!("`{}`", pointer.dotted()) };
            self.complain(&format!("{name}: {message}"));
        }
        let mut again: Vec<Field<'_>> = Vec::new();
        for field in wrong.iter().filter_map(|(pointer, _)| self.field_at(pointer)) {
            if again.iter().all(|known| !field.pointer.is_within(&known.pointer)) {
                again.push(field);
            }
        }
        if again.is_empty() {
            self.change().await?;
        }
        for field in &again {
            self.ask_again(field).await?;
        }
        Ok(true)
    }

    /// Asks for a field and for the fields that apply because of its new answer.
    async fn ask_again(&mut self, field: &Field<'_>) -> Result<(), Failure> {
        let skips = std::mem::take(&mut self.skips_optional);
        self.asked.retain(|pointer| !pointer.is_within(&field.pointer));
        self.ask(field).await?;
        let root = self.form.root();
        self.ask(&root).await?;
        self.skips_optional |= skips;
        Ok(())
    }

    /// Asks which answer to change.
    async fn change(&mut self) -> Result<(), Failure> {
        let summary = self.summary();
        let members = self.form.root().members(&self.document().0);
        let row = |member: &Field<'_>| {
            let inside = |name: &str| name == member.name || name.starts_with(&format!("{}.", member.name));
            let values: Vec<&str> =
                summary.iter().filter(|(name, _)| inside(name)).map(|(_, value)| value.as_str()).collect();
            Row::new(member.name.clone(), values.join(", "))
        };
        let rows: Vec<Row> = members.iter().map(row).collect();
        match prompt::choose("change: ", &rows, 0)? {
            Some(index) => self.ask_again(&members[index]).await,
            None => Ok(()),
        }
    }

    /// Returns the command with the same answers.
    pub(crate) fn command(&self, before: &[String]) -> EquivalentCommand {
        equivalent(self.schema, self.address, &self.config(), &self.files, before)
    }

    /// Returns the answers with markers in place of secrets.
    fn config(&self) -> Json {
        match SplitDocument::split(self.schema, self.document()) {
            Ok(document) => document.config,
            // Without the values that may be secrets.
            Err(violations) => {
                let wrong: BTreeSet<Pointer> = violations.into_iter().map(|violation| violation.pointer).collect();
                let mut document = self.document();
                for pointer in wrong {
                    pointer.remove(&mut document.0);
                }
                SplitDocument::split(self.schema, document).map(|document| document.config).unwrap_or_default()
            }
        }
    }

    /// Returns the answers as text, each with the name of its field, without secrets.
    fn summary(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        list(&self.config(), &Pointer::default(), &mut lines);
        for (_, value) in &mut lines {
            if value.chars().count() > SUMMARY {
                *value = value.chars().take(SUMMARY).chain(['…']).collect();
            }
        }
        lines
    }
}

fn list(value: &Json, pointer: &Pointer, lines: &mut Vec<(String, String)>) {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        marker if is_secret(marker) => {
            let shown = marker.get("$source").map_or_else(|| text(&masked(marker)), text);
            lines.push((pointer.dotted(), shown));
        }
        Json::Object(members) if members.len() == 1 && members.contains_key("$block") => {
            lines.push((pointer.dotted(), text(&members["$block"])));
        }
        Json::Object(members) if !members.is_empty() || pointer.as_str().is_empty() => {
            members.iter().for_each(|(name, member)| list(member, &pointer.child(name), lines));
        }
        Json::Array(elements) if !elements.is_empty() => {
            let elements = elements.iter().enumerate();
            elements.for_each(|(index, element)| list(element, &pointer.child(&index.to_string()), lines));
        }
        other => lines.push((pointer.dotted(), text(other))),
    }
}
