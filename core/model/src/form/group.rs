//! Members of a group: those that apply to the answers so far.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::field::{Field, Form, Kind};
use super::view::{View, Word, list, tag};
use crate::limits;

/// Keyword that sorts the fields of a group.
const ORDER: &str = "x-order";
/// Keyword of a field with a connection URL, which replaces other fields of the form.
const CONNECTION_URL: &str = "x-connection-url";

/// The view of a group with the branches that apply to a value.
struct Expanded<'a> {
    view: View<'a>,
    /// Tags of variants, each with its words, and whether every variant requires it.
    tags: Vec<(&'a str, Vec<Word<'a>>, bool)>,
}

impl<'a> Field<'a> {
    /// Returns the members of a group that apply to its value: first the tags of its variants, then
    /// the other required members, then the optional ones, each in the order of `x-order` and of the
    /// schema. A member that the schema forbids for this value is omitted.
    ///
    /// A condition is evaluated on the value as it is. The caller therefore asks for one member at a
    /// time, and calls this again after each answer.
    #[must_use]
    pub fn members(&self, value: &Value) -> Vec<Self> {
        self.form.steps.refill();
        self.members_of(value)
    }

    pub(super) fn members_of(&self, value: &Value) -> Vec<Self> {
        let Expanded { view, tags } = self.expanded(value);
        let declared = declared(&view, &tags);
        let own = if tags.is_empty() { Vec::new() } else { self::declared(&self.view, &[]) };
        let required = required(&view, value);
        let forbidden = forbidden(&view);
        let mut members: Vec<(bool, Self)> = Vec::new();
        for (name, sources) in declared {
            if members.len() >= limits::FORM_FIELDS || forbidden.contains(name) {
                continue;
            }
            let tag = tags.iter().find(|(tag, ..)| *tag == name);
            let needed = required.contains(name) || tag.is_some_and(|(.., needed)| *needed);
            // The constants of the branches are the words of a tag, of which each branch permits some.
            let base = || own.iter().find(|(own, _)| *own == name).map(|(_, sources)| sources.clone());
            let sources = if tag.is_some() { base().unwrap_or_default() } else { sources };
            let inner = View::of(self.form.schema, sources, &[], &self.form.steps);
            if inner.forbidden || inner.keyword(CONNECTION_URL).is_some() {
                continue;
            }
            let mut field = Self::new(self.form, inner, name.to_owned(), self.pointer.child(name), needed);
            if let Some((_, words, _)) = tag {
                field.kind = Kind::Choice(described(words, &field.kind));
            }
            members.push((tag.is_some(), field));
        }
        let order = |field: &Self| field.view.keyword(ORDER).and_then(Value::as_i64).unwrap_or(i64::MAX);
        members.sort_by_key(|(is_tag, field)| (!(*is_tag && field.required), !field.required, order(field)));
        members.into_iter().map(|(_, field)| field).collect()
    }

    /// Returns the field of a member that [`members`](Self::members) does not list, if the schema
    /// permits members with names that the user chooses.
    #[must_use]
    pub fn other_member(&self, name: &str, value: &Value) -> Option<Self> {
        let view = self.expanded(value).view;
        let sources = other_sources(&view);
        if sources.is_empty() {
            return None;
        }
        let inner = View::of(self.form.schema, sources, &[], &self.form.steps);
        (!inner.forbidden).then(|| Self::new(self.form, inner, name.to_owned(), self.pointer.child(name), false))
    }

    /// Adds the branches that apply to a value, until nothing changes.
    fn expanded(&self, value: &Value) -> Expanded<'a> {
        let form = self.form;
        let mut view = self.view.clone();
        let mut tags = Vec::new();
        let (mut layer, mut choice) = (0, 0);
        while (layer < view.layers.len() || choice < view.choices.len()) && form.steps.take() {
            if let Some(keywords) = view.layers.get(layer).copied() {
                layer += 1;
                for branch in applied(form, keywords, value) {
                    view.add(form.schema, branch, &form.steps);
                }
                continue;
            }
            let branches = view.choices[choice].clone();
            choice += 1;
            let Some((name, words)) = tag(form.schema, &branches, &form.steps) else { continue };
            let requires = |branch: &&&'a Value| list_of_branch(form, branch).contains(&name);
            let needed = branches.iter().filter(requires).count() == branches.len();
            let chosen = value
                .get(name)
                .and_then(|given| words.iter().position(|words| words.iter().any(|word| word.value == given)));
            if let Some(branch) = chosen.and_then(|index| branches.get(index)) {
                view.add(form.schema, branch, &form.steps);
            }
            tags.push((name, words.into_iter().flatten().collect(), needed));
        }
        Expanded { view, tags }
    }
}

/// Returns the names that a branch requires.
fn list_of_branch<'a>(form: &'a Form<'a>, branch: &'a Value) -> Vec<&'a str> {
    let view = View::of(form.schema, vec![branch], &[], &form.steps);
    view.layers.iter().flat_map(|layer| list(layer, "required")).filter_map(Value::as_str).collect()
}

/// Returns the subschemas of `if` and `dependentSchemas` that apply to a value. If a condition cannot
/// be evaluated, both of its branches are returned.
fn applied<'a>(form: &'a Form<'a>, keywords: &'a Map<String, Value>, value: &Value) -> Vec<&'a Value> {
    let mut found = Vec::new();
    if let Some(condition) = keywords.get("if") {
        let holds = form.part(&[condition]).map(|part| part.check(value).is_empty());
        found.extend(keywords.get("then").filter(|_| holds != Some(false)));
        found.extend(keywords.get("else").filter(|_| holds != Some(true)));
    }
    let dependent = keywords.get("dependentSchemas").and_then(Value::as_object);
    found.extend(
        dependent.into_iter().flatten().filter(|(name, _)| value.get(name).is_some()).map(|(_, branch)| branch),
    );
    found
}

/// Returns the declared members in the order of the schema, each with its subschemas.
fn declared<'a>(view: &View<'a>, tags: &[(&'a str, Vec<Word<'a>>, bool)]) -> Vec<(&'a str, Vec<&'a Value>)> {
    let mut names: Vec<(&'a str, Vec<&'a Value>)> = Vec::new();
    let mut positions: BTreeMap<&str, usize> = BTreeMap::new();
    let mut slot = |name: &'a str, names: &mut Vec<(&'a str, Vec<&'a Value>)>| {
        *positions.entry(name).or_insert_with(|| {
            names.push((name, Vec::new()));
            names.len() - 1
        })
    };
    for (name, member) in view.keywords("properties").filter_map(Value::as_object).flatten() {
        let position = slot(name, &mut names);
        names[position].1.push(member);
    }
    for (name, ..) in tags {
        slot(name, &mut names);
    }
    names
}

fn required<'a>(view: &View<'a>, value: &Value) -> HashSet<&'a str> {
    let mut names: HashSet<&str> =
        view.layers.iter().flat_map(|layer| list(layer, "required")).filter_map(Value::as_str).collect();
    for (name, others) in view.keywords("dependentRequired").filter_map(Value::as_object).flatten() {
        if value.get(name).is_some() {
            names.extend(others.as_array().into_iter().flatten().filter_map(Value::as_str));
        }
    }
    names
}

/// Returns the members that `not` with `required` excludes.
fn forbidden<'a>(view: &View<'a>) -> HashSet<&'a str> {
    let mut names = HashSet::new();
    for excluded in view.keywords("not").filter_map(Value::as_object) {
        let alternatives = list(excluded, "anyOf").filter_map(Value::as_object);
        for keywords in std::iter::once(excluded).chain(alternatives) {
            let mut required = list(keywords, "required").filter_map(Value::as_str);
            // With further keywords or names, a document may contain the member after all.
            if let (Some(only), None, 1) = (required.next(), required.next(), keywords.len()) {
                names.insert(only);
            }
        }
    }
    names
}

/// Returns the subschemas of members that `properties` does not name.
fn other_sources<'a>(view: &View<'a>) -> Vec<&'a Value> {
    let patterns = view.keywords("patternProperties").filter_map(Value::as_object).flat_map(Map::values);
    let patterns: Vec<&Value> = patterns.collect();
    // A pattern is not matched against the name here: the validator does.
    if let [only] = patterns.as_slice() {
        return vec![only];
    }
    let rest =
        ["additionalProperties", "unevaluatedProperties"].into_iter().filter_map(|keyword| view.keyword(keyword));
    rest.filter(|source| source.is_object() || **source == Value::Bool(true)).collect()
}

/// Adds the descriptions that the schema of the tag itself has.
fn described<'a>(words: &[Word<'a>], own: &Kind<'a>) -> Vec<Word<'a>> {
    let known = if let Kind::Choice(known) = own { known.as_slice() } else { &[] };
    let describe = |word: &Word<'a>| {
        let own = known.iter().find(|known| known.value == word.value).map(|known| known.description.clone());
        let description = own.filter(|text| !text.is_empty() && word.description.is_empty());
        Word { value: word.value, description: description.unwrap_or_else(|| word.description.clone()) }
    };
    words.iter().map(describe).collect()
}
