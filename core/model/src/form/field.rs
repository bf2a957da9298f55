//! Fields of a form, and the kinds of their values.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::view::{Steps, View, Word, tag};
use crate::limits;
use crate::pointer::Pointer;
use crate::reference::PermittedTarget;
use crate::schema::Schema;
use crate::secret_use::SecretKeyword;

/// The form of a schema.
#[derive(Debug)]
pub struct Form<'a> {
    pub(super) schema: &'a Schema,
    pub(super) steps: Steps,
    /// Compiled parts of the schema, by the addresses of their subschemas.
    parts: Mutex<HashMap<Vec<usize>, Option<Arc<Schema>>>>,
}

/// A field of a form.
#[derive(Debug, Clone)]
pub struct Field<'a> {
    pub(super) form: &'a Form<'a>,
    pub(super) view: View<'a>,
    /// Name in its group or map, or index in its list.
    pub name: String,
    /// Location of the value in the document.
    pub pointer: Pointer,
    /// Display name. Empty if the schema has none.
    pub title: String,
    /// Description of the field. Empty if the schema has none.
    pub description: String,
    /// True if the document must contain the field.
    pub required: bool,
    /// True if the value may be `null`.
    pub nullable: bool,
    /// Value that applies if the document does not contain the field.
    pub default: Option<&'a Value>,
    /// Examples of values.
    pub examples: Vec<&'a Value>,
    /// Kind of the value.
    pub kind: Kind<'a>,
}

/// Kind of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind<'a> {
    /// An object with named members: see [`Field::members`].
    Group,
    /// A list: see [`Field::element`].
    List,
    /// An object whose member names the user chooses: see [`Field::entry`].
    Map,
    /// One of several forms: see [`Field::variant`].
    Variant(Vec<Variant>),
    /// A reference to a block, of which one of these targets must match.
    Reference(Vec<PermittedTarget>),
    /// Always the same value.
    Constant(&'a Value),
    /// One of these values.
    Choice(Vec<Word<'a>>),
    /// A string.
    Text {
        /// The text usually has several lines.
        multi_line: bool,
        /// `format` of the schema, for example `uri`.
        format: Option<&'a str>,
    },
    /// A string that is not displayed.
    Secret,
    /// An integer.
    Integer,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// Any other value, as JSON.
    Json,
}

/// One of several forms of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Display name.
    pub title: String,
    /// Description. Empty if the schema has none.
    pub description: String,
}

impl<'a> Form<'a> {
    /// Creates the form of a schema.
    #[must_use]
    pub fn new(schema: &'a Schema) -> Self {
        Self { schema, steps: Steps::default(), parts: Mutex::default() }
    }

    /// Returns the field of the document itself, usually a group.
    #[must_use]
    pub fn root(&self) -> Field<'_> {
        self.steps.refill();
        self.root_field()
    }

    pub(super) fn root_field(&self) -> Field<'_> {
        let view = View::of(self.schema, vec![self.schema.document()], &[], &self.steps);
        Field::new(self, view, String::new(), Pointer::default(), true)
    }

    /// Returns the compiled schema that consists of these parts. Returns `None` if there are too many
    /// of them, or if they exceed the limits of a schema on their own.
    pub(super) fn part(&self, sources: &[&Value]) -> Option<Arc<Schema>> {
        let key: Vec<usize> = sources.iter().map(|source| std::ptr::from_ref(*source).addr()).collect();
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parts.get(&key) {
            return known.clone();
        }
        if parts.len() >= limits::FORM_PARTS {
            return None;
        }
        let compiled = self.schema.part(sources).ok().map(Arc::new);
        parts.insert(key, compiled.clone());
        compiled
    }
}

impl<'a> Field<'a> {
    pub(super) fn new(form: &'a Form<'a>, view: View<'a>, name: String, pointer: Pointer, required: bool) -> Self {
        let kind = kind(form, &view);
        let in_words = |words: &[Word<'_>]| words.iter().any(|word| word.value.is_null());
        let nullable = view.nullable
            || view.types().contains(&"null")
            || view.keywords("enum").filter_map(Value::as_array).flatten().any(Value::is_null)
            || view.words.as_deref().is_some_and(in_words);
        let examples = view.keywords("examples").find_map(Value::as_array).map(|list| list.iter().collect());
        Self {
            form,
            name,
            pointer,
            title: view.text("title"),
            description: view.text("description"),
            required,
            nullable,
            default: view.keyword("default").filter(|default| !default.is_null()),
            examples: examples.unwrap_or_default(),
            kind,
            view,
        }
    }

    /// Returns true if the schema of this field, without the fields around it, accepts a value.
    pub(super) fn accepts(&self, value: &Value) -> bool {
        let mut sources = self.view.sources.clone();
        sources.extend(self.view.chosen());
        self.form.part(&sources).is_some_and(|part| part.check(value).is_empty())
    }

    /// Returns the rules of the schema that a value of this field violates. The value of a secret or
    /// of a reference is not validated here.
    #[must_use]
    pub fn problems(&self, value: &Value) -> Vec<String> {
        if matches!(self.kind, Kind::Secret | Kind::Reference(_)) {
            return Vec::new();
        }
        let mut sources = self.view.sources.clone();
        sources.extend(self.view.chosen());
        let Some(part) = self.form.part(&sources) else { return Vec::new() };
        let violations = part.check(value).into_iter().filter(|violation| violation.pointer.as_str().is_empty());
        let with_hint = |hint: Option<String>| hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        violations.map(|violation| format!("{}{}", violation.message, with_hint(violation.hint))).collect()
    }
}

fn kind<'a>(form: &'a Form<'a>, view: &View<'a>) -> Kind<'a> {
    if view.layers.iter().any(|layer| SecretKeyword::of(layer).is_some()) {
        return Kind::Secret;
    }
    let targets: Vec<PermittedTarget> = view.layers.iter().filter_map(|layer| PermittedTarget::of(layer)).collect();
    if !targets.is_empty() {
        return Kind::Reference(targets);
    }
    if let Some(value) = view.keyword("const") {
        return Kind::Constant(value);
    }
    let words = view.words.clone().or_else(|| {
        let values = view.keyword("enum")?.as_array()?.iter();
        Some(values.map(|value| Word { value, description: String::new() }).collect())
    });
    if let Some(mut words) = words {
        words.retain(|word| !word.value.is_null());
        return if words.is_empty() { Kind::Constant(&Value::Null) } else { Kind::Choice(words) };
    }
    if let Some(choice) = untagged(form, view) {
        return Kind::Variant(choice.iter().enumerate().map(|(index, branch)| variant(form, index, branch)).collect());
    }
    structure(view)
}

/// Returns the first choice whose branches have no tag.
pub(super) fn untagged<'v, 'a>(form: &'a Form<'a>, view: &'v View<'a>) -> Option<&'v Vec<&'a Value>> {
    view.choices.iter().find(|choice| tag(form.schema, choice, &form.steps).is_none())
}

/// Returns the kind by `type` and the keywords that describe members and elements.
fn structure<'a>(view: &View<'a>) -> Kind<'a> {
    let has =
        |keyword: &'static str| view.keywords(keyword).any(|value| value.as_object().is_some_and(|o| !o.is_empty()));
    let named = ["properties", "if", "dependentSchemas"].into_iter().any(has) || !view.choices.is_empty();
    let open = ["additionalProperties", "patternProperties", "unevaluatedProperties"]
        .into_iter()
        .any(|keyword| view.keywords(keyword).any(|value| value.is_object() || *value == Value::Bool(true)));
    let mut types = view.types();
    types.retain(|name| *name != "null");
    match types.as_slice() {
        [] if named => Kind::Group,
        ["object"] if named => Kind::Group,
        ["object"] if open => Kind::Map,
        ["array"] if view.keyword("items").or_else(|| view.keyword("prefixItems")).is_some() => Kind::List,
        ["string"] => {
            let format = view.keyword("format").and_then(Value::as_str);
            let hint = ["contentMediaType", "x-multi-line", "x-language"].into_iter();
            let multi_line =
                format == Some("multi-line") || hint.filter_map(|name| view.keyword(name)).next().is_some();
            Kind::Text { multi_line, format }
        }
        ["integer"] => Kind::Integer,
        ["number"] | ["integer", "number"] | ["number", "integer"] => Kind::Number,
        ["boolean"] => Kind::Boolean,
        [] if view.types() == ["null"] => Kind::Constant(&Value::Null),
        _ => Kind::Json,
    }
}

fn variant<'a>(form: &'a Form<'a>, index: usize, branch: &'a Value) -> Variant {
    let view = View::of(form.schema, vec![branch], &[], &form.steps);
    let required: Vec<&str> =
        view.keywords("required").filter_map(Value::as_array).flatten().filter_map(Value::as_str).collect();
    let type_name = match view.types().as_slice() {
        ["string"] => "text",
        ["array"] => "list",
        ["integer"] => "integer",
        ["number"] => "number",
        ["boolean"] => "yes or no",
        ["null"] => "null",
        _ => "",
    };
    let named = [view.text("title"), required.join(", "), type_name.to_owned()];
    let title = named.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| format!("variant {}", index + 1));
    Variant { title, description: view.text("description") }
}
