//! Questions for the members of a group.

use blockyard::model::form::{Field, Kind};
use blockyard::model::{PlainDocument, visible};
use serde_json::json;

use super::scalar::read_file;
use super::{Interview, label};
use crate::prompt::{self, Row, Typed};
use crate::terminal::Failure;

/// Number of members from which a file is offered for a required group.
const MANY_MEMBERS: usize = 4;

impl Interview<'_> {
    /// Prints what is created, the number of fields, and the keys.
    pub(super) async fn introduce(&self) -> Result<(), Failure> {
        let slug = &self.address.type_slug;
        let title = self.yard.block_type(slug).await?.title;
        self.note(&format!("New block `{}` of type `{slug}` ({title}).", self.address));
        let members = self.form.root().members(&json!({}));
        let required = members.iter().filter(|member| member.required).count();
        let fields = if required == 1 { "field" } else { "fields" };
        self.note(&format!(
            "{required} required {fields}, {} optional; an answer may add or remove others.",
            members.len() - required
        ));
        self.note("Enter leaves out an optional field, Esc leaves out all that follow. `@FILE` reads an answer from a file. Ctrl-C ends without a change.");
        Ok(())
    }

    /// Asks for the members that apply, one after the other.
    pub(super) async fn ask_group(&mut self, group: &Field<'_>) -> Result<(), Failure> {
        if !group.pointer.as_str().is_empty() && !self.begin_group(group)? {
            return Ok(());
        }
        if !self.value(group).is_some_and(serde_json::Value::is_object) {
            self.put(group, json!({}), None)?;
        }
        loop {
            let applicable = PlainDocument(group.applicable(self.value(group).unwrap_or(&json!({}))));
            let next = group.members(&applicable.0).into_iter().find(|member| !self.asked.contains(&member.pointer));
            match next {
                None => return Ok(()),
                Some(member) if !member.required && self.skips_optional => {
                    self.asked.insert(member.pointer);
                }
                Some(member) => self.ask(&member).await?,
            }
        }
    }

    /// Asks how to answer a group. Returns true if its members are to be asked.
    fn begin_group(&mut self, group: &Field<'_>) -> Result<bool, Failure> {
        let count = group.members(&json!({})).len();
        if group.required && (count < MANY_MEMBERS || group.pointer.tokens().len() > 1) {
            return Ok(true);
        }
        let mut rows = Vec::new();
        if !group.required {
            rows.push(Row::new("-", "leave out"));
        }
        rows.push(Row::new("fields", "answer field by field"));
        rows.push(Row::new("file", "read a JSON file"));
        let chosen = loop {
            match prompt::choose(&format!("{}: ", label(group)), &rows, 0)? {
                Some(index) => break rows[index].label.as_str(),
                None if group.required => self.complain("a value is required"),
                None => {
                    self.skips_optional = true;
                    break "-";
                }
            }
        };
        match chosen {
            "-" => {
                self.leave_out(group);
                Ok(false)
            }
            "file" => self.read_group(group),
            _ => Ok(true),
        }
    }

    /// Reads a group from a file. Returns true if its members are to be asked instead.
    fn read_group(&mut self, group: &Field<'_>) -> Result<bool, Failure> {
        let mut initial = self.files.get(&group.pointer).cloned().unwrap_or_default();
        loop {
            let prompt = format!("file of `{}`: ", visible::line(&group.pointer.dotted()));
            let path = match prompt::line(&prompt, &initial)? {
                Typed::Text(path) => path.trim().trim_start_matches('@').to_owned(),
                Typed::Escape => return Ok(true),
            };
            let read = read_file(group, &path);
            let problems = match read {
                Ok(read) if matches!(group.kind, Kind::Group) && !read.value.is_object() => {
                    vec![format!("`{path}` does not contain a JSON object")]
                }
                Ok(read) => {
                    self.put(group, read.value, read.file)?;
                    Vec::new()
                }
                Err(problem) => vec![problem],
            };
            if problems.is_empty() {
                return Ok(false);
            }
            problems.iter().for_each(|problem| self.complain(problem));
            initial = path;
        }
    }
}
