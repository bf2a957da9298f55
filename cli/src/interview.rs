//! Questions for the fields of a block, one after the other. Every answer is validated at once, and
//! retained: a wrong one is asked again with the typed text, also when only the save rejects it.

mod group;
mod reference;
mod review;
mod scalar;
mod structure;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

use blockyard::model::form::{Field, Form, Kind};
use blockyard::model::marker::is_secret;
use blockyard::model::{Address, PlainDocument, Pointer, Schema, SecretSource, SecretValue, visible};
use blockyard::{Error, Json, Patch, SecretInput, Yard};
use serde_json::json;

use crate::prompt::{width, wrapped};
use crate::terminal::{Failure, Terminal};

/// Result of a question, which may ask further ones.
type Asking<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// The questions for one block, and the answers so far.
pub(crate) struct Interview<'a> {
    terminal: &'a Terminal,
    yard: &'a Yard,
    form: &'a Form<'a>,
    schema: &'a Schema,
    address: &'a Address,
    /// All answers, including those that do not apply at present.
    typed: PlainDocument,
    /// Fields that were asked.
    asked: BTreeSet<Pointer>,
    /// Texts that are not valid, by field.
    rejected: BTreeMap<Pointer, String>,
    /// Files from which answers were read.
    files: BTreeMap<Pointer, String>,
    /// Chosen variants.
    variants: BTreeMap<Pointer, usize>,
    /// The remaining optional fields are not asked.
    skips_optional: bool,
    /// The yard validates each answer.
    validates: bool,
}

impl<'a> Interview<'a> {
    pub(crate) fn new(
        terminal: &'a Terminal,
        yard: &'a Yard,
        form: &'a Form<'a>,
        schema: &'a Schema,
        address: &'a Address,
    ) -> Self {
        Self {
            terminal,
            yard,
            form,
            schema,
            address,
            typed: PlainDocument(json!({})),
            asked: BTreeSet::new(),
            rejected: BTreeMap::new(),
            files: BTreeMap::new(),
            variants: BTreeMap::new(),
            skips_optional: false,
            validates: false,
        }
    }

    /// Asks for all fields of a new block.
    pub(crate) async fn fill(&mut self) -> Result<(), Failure> {
        self.validates = true;
        self.introduce().await?;
        let root = self.form.root();
        self.ask(&root).await
    }

    /// Asks for a field, and for the fields in it.
    pub(crate) fn ask<'f>(&'f mut self, field: &'f Field<'_>) -> Asking<'f> {
        Box::pin(async move {
            self.asked.insert(field.pointer.clone());
            if !field.pointer.as_str().is_empty() {
                self.terminal.note("");
                self.note(&field.description);
            }
            match &field.kind {
                Kind::Group => self.ask_group(field).await,
                Kind::List => self.ask_list(field).await,
                Kind::Map => self.ask_map(field).await,
                Kind::Variant(variants) => self.ask_variant(field, variants).await,
                Kind::Reference(targets) => self.ask_reference(field, targets).await,
                Kind::Constant(_) | Kind::Choice(_) | Kind::Boolean => self.ask_choice(field).await,
                Kind::Secret => self.ask_secret(field).await,
                Kind::Text { .. } | Kind::Integer | Kind::Number | Kind::Json => self.ask_text(field).await,
            }
        })
    }

    /// Returns the answers that apply.
    pub(crate) fn document(&self) -> PlainDocument {
        PlainDocument(self.form.root().applicable(&self.typed.0))
    }

    /// Returns the answers as changes to an empty block.
    pub(crate) fn patch(&self) -> Patch {
        Patch { document: Some(self.document()), ..Patch::default() }
    }

    /// Returns the asked values as changes to an existing block.
    pub(crate) fn values(&self) -> Patch {
        let mut patch = Patch::default();
        for pointer in &self.asked {
            let Some(value) = self.typed.0.pointer(pointer.as_str()) else { continue };
            match (self.schema.is_secret(pointer), value) {
                (true, Json::String(secret)) => {
                    let secret = SecretInput::Value(SecretValue::new(secret.clone()));
                    patch.secrets.push((pointer.clone(), secret));
                }
                (true, source) if is_secret(source) => {
                    let source = source["$source"].as_str().and_then(|text| text.parse::<SecretSource>().ok());
                    patch.secrets.extend(source.map(|source| (pointer.clone(), SecretInput::Source(source))));
                }
                (_, value) => patch.set.push((pointer.clone(), value.clone())),
            }
        }
        patch
    }

    /// Returns the innermost field that contains a location and has an answer or can be asked.
    pub(crate) fn field_at(&self, pointer: &Pointer) -> Option<Field<'a>> {
        let document = self.document();
        let mut field = self.form.root();
        for token in pointer.tokens() {
            let empty = json!({});
            let value = document.0.pointer(field.pointer.as_str()).unwrap_or(&empty);
            if let Kind::Variant(variants) = &field.kind {
                let chosen = self.variants.get(&field.pointer).copied();
                match chosen.or_else(|| field.variant_of(variants.len(), value)) {
                    Some(option) => field = field.variant(option),
                    None => break,
                }
            }
            let next = match &field.kind {
                Kind::Group => field.members(value).into_iter().find(|member| member.name == token),
                Kind::Map => Some(field.entry(&token)),
                Kind::List => {
                    let index = token.parse().ok().filter(|index| value.get(*index).is_some());
                    index.map(|index| field.element(index))
                }
                _ => None,
            };
            match next {
                Some(next) => field = next,
                None => break,
            }
        }
        (!field.pointer.as_str().is_empty()).then_some(field)
    }

    /// Returns the current value of a field.
    fn value(&self, field: &Field<'_>) -> Option<&Json> {
        self.typed.0.pointer(field.pointer.as_str())
    }

    fn put(&mut self, field: &Field<'_>, value: Json, file: Option<String>) -> Result<(), Failure> {
        self.rejected.remove(&field.pointer);
        self.files.retain(|pointer, _| !pointer.is_within(&field.pointer));
        self.files.extend(file.map(|file| (field.pointer.clone(), file)));
        let set = field.pointer.set(&mut self.typed.0, value);
        set.map_err(|ancestor| {
            let message = format!("`{}` cannot be set, because `{ancestor}` has no fields", field.pointer);
            Error::new(blockyard::ErrorKind::Internal, message).into()
        })
    }

    /// Leaves a field out.
    fn leave_out(&mut self, field: &Field<'_>) {
        self.rejected.remove(&field.pointer);
        self.files.retain(|pointer, _| !pointer.is_within(&field.pointer));
        field.pointer.remove(&mut self.typed.0);
    }

    /// Returns the problems that the yard finds in a field: by rules between fields, by references and
    /// by the code of the bundle. A problem that mentions a field that was not asked yet is omitted.
    async fn problems(&self, field: &Field<'_>) -> Vec<String> {
        if !self.validates {
            return Vec::new();
        }
        let Err(error) = self.yard.check_new(self.address, self.patch()).await else { return Vec::new() };
        let pending: Vec<String> = self.pending().map(|name| format!("`{name}`")).collect();
        let concerns = |(pointer, message): &(Pointer, String)| {
            pointer.is_within(&field.pointer) && !pending.iter().any(|name| message.contains(name))
        };
        violations(&error).into_iter().filter(concerns).map(|(_, message)| message).collect()
    }

    /// Returns the names of the fields that will be asked.
    fn pending(&self) -> impl Iterator<Item = String> {
        let members = self.form.root().members(&self.document().0);
        let pending = members.into_iter().filter(|member| !self.asked.contains(&member.pointer));
        pending.map(|member| member.name).collect::<Vec<_>>().into_iter()
    }

    /// Prints a text of the schema or of Blockyard, broken between words.
    fn note(&self, text: &str) {
        if !text.is_empty() {
            self.terminal.note(&wrapped(&visible::paragraph(text), "", width()));
        }
    }

    /// Prints what is wrong with an answer, also with `--quiet`.
    fn complain(&self, problem: &str) {
        self.terminal.prompt(&wrapped(&visible::paragraph(problem), "  ", width()));
    }
}

/// Returns the name of a field with a mark, for prompts.
fn label(field: &Field<'_>) -> String {
    let mark = if field.required { "required" } else { "optional" };
    format!("{} ({mark})", visible::line(&field.pointer.dotted()))
}

/// Returns the violations that an error lists, each with its location.
fn violations(error: &Error) -> Vec<(Pointer, String)> {
    let values = error.values();
    let listed = values.as_ref().and_then(Json::as_array).into_iter().flatten();
    let violation = |listed: &Json| {
        let hint = listed["hint"].as_str().map(|hint| format!("; {hint}")).unwrap_or_default();
        Some((Pointer::new(listed["pointer"].as_str()?), format!("{}{hint}", listed["message"].as_str()?)))
    };
    listed.filter_map(violation).collect()
}
