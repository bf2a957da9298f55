//! The keywords of a schema that apply to one value of a form.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value};

use crate::graph::referenced;
use crate::limits;
use crate::schema::Schema;

/// Remaining steps of one operation on a form. Schemas are guest-controlled.
#[derive(Debug, Default)]
pub(super) struct Steps(AtomicUsize);

impl Steps {
    pub(super) fn refill(&self) {
        self.0.store(limits::FORM_STEPS, Ordering::Relaxed);
    }

    /// Takes a step. Returns false if none is left.
    pub(super) fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// One of the values of a choice.
#[derive(Debug, Clone, PartialEq)]
pub struct Word<'a> {
    /// The value.
    pub value: &'a Value,
    /// Description of the value. Empty if the schema has none.
    pub description: String,
}

/// The subschemas that apply to one value: `$ref` and `allOf` are followed, and so is an `anyOf` of
/// one schema and `null`.
#[derive(Debug, Clone, Default)]
pub(super) struct View<'a> {
    /// Subschemas of the field, before any of them is followed.
    pub(super) sources: Vec<&'a Value>,
    /// Keywords that apply.
    pub(super) layers: Vec<&'a Map<String, Value>>,
    /// Branches of each `oneOf` and `anyOf` that was not decided.
    pub(super) choices: Vec<Vec<&'a Value>>,
    /// Constants of a `oneOf`: the form in which schemars writes an enum with documented variants.
    pub(super) words: Option<Vec<Word<'a>>>,
    /// Accepts `null` by a branch.
    pub(super) nullable: bool,
    /// Accepts no value: the schema is `false`.
    pub(super) forbidden: bool,
    /// Branches of the decided choices.
    chosen: Vec<&'a Value>,
    /// Decided choices: the address of the list of branches, and the index of a branch.
    decided: Vec<(usize, usize)>,
    seen: HashSet<usize>,
}

impl<'a> View<'a> {
    pub(super) fn of(schema: &'a Schema, sources: Vec<&'a Value>, decided: &[(usize, usize)], steps: &Steps) -> Self {
        let mut view = Self { sources: sources.clone(), decided: decided.to_vec(), ..Self::default() };
        for source in sources {
            view.add(schema, source, steps);
        }
        view
    }

    /// Adds a subschema that applies to the same value.
    pub(super) fn add(&mut self, schema: &'a Schema, source: &'a Value, steps: &Steps) {
        self.forbidden |= *source == Value::Bool(false);
        let Some(keywords) = source.as_object() else { return };
        if self.layers.len() >= limits::FORM_FIELDS || !steps.take() || !self.seen.insert(address(source)) {
            return;
        }
        self.layers.push(keywords);
        if let Some(name) = keywords.get("$ref").and_then(Value::as_str)
            && let Some(target) = referenced(schema.document(), name)
        {
            self.add(schema, target, steps);
        }
        for branch in list(keywords, "allOf") {
            self.add(schema, branch, steps);
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(branches) = keywords.get(keyword) {
                self.add_choice(schema, branches, steps);
            }
        }
    }

    fn add_choice(&mut self, schema: &'a Schema, branches: &'a Value, steps: &Steps) {
        let all = branches.as_array().map(Vec::as_slice).unwrap_or_default();
        let decided = self.decided.iter().find(|(choice, _)| *choice == address(branches)).map(|(_, index)| *index);
        if let Some(branch) = decided.and_then(|index| all.get(index)) {
            self.chosen.push(branch);
            self.add(schema, branch, steps);
            return;
        }
        let real: Vec<&Value> = all.iter().filter(|branch| !is_null(branch)).collect();
        self.nullable |= real.len() < all.len();
        if let Some(words) = words(&real) {
            self.words.get_or_insert(words);
        } else if let [only] = real.as_slice() {
            self.add(schema, only, steps);
        } else if real.iter().any(|branch| describes(branch)) {
            // Branches that only require other fields are rules for the values, not other forms.
            self.choices.push(all.iter().collect());
        }
    }

    /// Returns a view in which a choice is decided.
    pub(super) fn deciding(&self, schema: &'a Schema, choice: &[&'a Value], index: usize, steps: &Steps) -> Self {
        let Some(first) = choice.first() else { return self.clone() };
        // The list of branches begins at the address of its first element; both identify it.
        let list = self
            .lists()
            .find(|list| list.as_array().and_then(|l| l.first()).is_some_and(|f| address(f) == address(first)));
        let mut decided = self.decided.clone();
        decided.extend(list.map(|list| (address(list), index)));
        Self::of(schema, self.sources.clone(), &decided, steps)
    }

    /// Returns the branches of the decided choices.
    pub(super) fn chosen(&self) -> impl Iterator<Item = &'a Value> {
        self.chosen.iter().copied()
    }

    fn lists(&self) -> impl Iterator<Item = &'a Value> {
        self.layers.iter().flat_map(|layer| ["anyOf", "oneOf"].into_iter().filter_map(|keyword| layer.get(keyword)))
    }

    /// Returns the first value of a keyword.
    pub(super) fn keyword(&self, name: &str) -> Option<&'a Value> {
        self.layers.iter().find_map(|layer| layer.get(name))
    }

    /// Returns all values of a keyword.
    pub(super) fn keywords(&self, name: &'static str) -> impl Iterator<Item = &'a Value> {
        self.layers.iter().filter_map(move |layer| layer.get(name))
    }

    /// Returns the text of a keyword, with its words separated by single spaces.
    pub(super) fn text(&self, name: &str) -> String {
        text(self.keyword(name))
    }

    /// Returns the types that the value may have. Empty if the schema names none, or if its parts
    /// contradict each other.
    pub(super) fn types(&self) -> Vec<&'a str> {
        let lists = self.keywords("type").map(|types| match types {
            Value::String(one) => vec![one.as_str()],
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        });
        lists.reduce(|all, next| all.into_iter().filter(|name| next.contains(name)).collect()).unwrap_or_default()
    }
}

/// Returns the property that distinguishes the branches of a choice: each branch permits other
/// constants for it. Returns the words of each branch.
pub(super) fn tag<'a>(
    schema: &'a Schema,
    branches: &[&'a Value],
    steps: &Steps,
) -> Option<(&'a str, Vec<Vec<Word<'a>>>)> {
    let views: Vec<View<'a>> = branches.iter().map(|branch| View::of(schema, vec![branch], &[], steps)).collect();
    let candidates: Vec<&str> = views
        .first()?
        .keywords("properties")
        .filter_map(Value::as_object)
        .flat_map(Map::keys)
        .map(String::as_str)
        .collect();
    candidates.into_iter().find_map(|name| {
        let words: Vec<Vec<Word<'a>>> = views.iter().map(|view| constants(view, name)).collect::<Option<_>>()?;
        let mut seen = HashSet::new();
        let distinct = words.iter().flatten().all(|word| steps.take() && seen.insert(word.value.to_string()));
        distinct.then_some((name, words))
    })
}

/// Returns the constants of a property, described by their branch.
fn constants<'a>(view: &View<'a>, name: &str) -> Option<Vec<Word<'a>>> {
    let property = view.keywords("properties").find_map(|properties| properties.get(name))?.as_object()?;
    let values: Vec<&Value> = match property.get("const") {
        Some(only) => vec![only],
        None => property.get("enum")?.as_array()?.iter().collect(),
    };
    let own = text(property.get("description"));
    let of_branch = [view.text("description"), view.text("title")].into_iter().find(|text| !text.is_empty());
    let description = if own.is_empty() { of_branch.unwrap_or_default() } else { own };
    (!values.is_empty())
        .then(|| values.into_iter().map(|value| Word { value, description: description.clone() }).collect())
}

/// Returns the constants of branches that accept nothing else.
fn words<'a>(branches: &[&'a Value]) -> Option<Vec<Word<'a>>> {
    let mut words = Vec::new();
    for branch in branches {
        let description = text(branch.get("description").or_else(|| branch.get("title")));
        if let Some(value) = branch.get("const") {
            words.push(Word { value, description });
        } else {
            let values = branch.get("enum")?.as_array()?.iter();
            words.extend(values.map(|value| Word { value, description: description.clone() }));
        }
    }
    (!words.is_empty()).then_some(words)
}

/// Returns true if a branch describes the structure of a value instead of only testing it.
fn describes(branch: &Value) -> bool {
    let tests =
        ["required", "not", "dependentRequired", "minProperties", "maxProperties", "title", "description", "$comment"];
    branch.as_object().is_some_and(|keywords| keywords.keys().any(|keyword| !tests.contains(&keyword.as_str())))
}

fn is_null(branch: &Value) -> bool {
    branch.get("type").is_some_and(|name| name == "null") || branch.get("const").is_some_and(Value::is_null)
}

/// Returns the elements of a list keyword.
pub(super) fn list<'a>(keywords: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a Value> {
    keywords.get(name).and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn text(value: Option<&Value>) -> String {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn address(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}
