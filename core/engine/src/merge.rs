//! Merges a change into a document.
//!
//! All saves follow the same rule: a secret that the change does not name is retained, and so is
//! every object member that `set` does not name. A block file states the complete non-secret
//! configuration of a block; secrets that it does not name are retained together with the objects
//! that contain them.
//!
//! - Objects are merged member by member, at every depth. `null` is a value; `--unset` removes a
//!   member.
//! - Lists are replaced. If an element of the new list omits its secrets, they are taken from the
//!   element of the old list that is equal apart from secrets, or else, if both lists have the same
//!   length, from the element at the same index.
//! - If a value changes to another variant of an enum, stored members that do not fit the new
//!   variant are removed.

use blockyard_model::marker::{SECRET_MARKER, SOURCE_MARKER, is_secret, secret_marker, secrets};
use blockyard_model::reference::BLOCK_MARKER;
use blockyard_model::{Pointer, Schema, SplitDocument, Violation};
use serde_json::{Map, Value};

/// Tracks how a change was merged into a document.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    /// Stored members of changed objects that the change does not name.
    unnamed: Vec<Pointer>,
    /// Lists that were replaced by other lists.
    lists: Vec<Pointer>,
}

impl Merge {
    /// Merges a value into the document at `at`.
    ///
    /// # Errors
    /// Returns the location of the value that blocks the path: it is neither an object nor a list
    /// with the index.
    pub(crate) fn put(&mut self, document: &mut Value, at: &Pointer, value: Value) -> Result<(), Pointer> {
        let old = document.pointer_mut(at.as_str()).map(Value::take).unwrap_or_default();
        let merged = self.merge_value(old, value, at);
        at.set(document, merged)
    }

    fn merge_value(&mut self, old: Value, new: Value, at: &Pointer) -> Value {
        match (old, new) {
            (Value::Object(old), Value::Object(new)) if !is_marker(&old) && !is_marker(&new) => {
                self.members(old, new, at).into()
            }
            (Value::Array(_), new @ Value::Array(_)) => {
                self.lists.push(at.clone());
                new
            }
            (_, new) => new,
        }
    }

    fn members(&mut self, mut old: Map<String, Value>, new: Map<String, Value>, at: &Pointer) -> Map<String, Value> {
        // Members at the top level are always retained.
        if !at.as_str().is_empty() {
            self.unnamed.extend(old.keys().filter(|name| !new.contains_key(*name)).map(|name| at.child(name)));
        }
        for (name, value) in new {
            let before = old.remove(&name).unwrap_or_default();
            let place = at.child(&name);
            let merged = self.merge_value(before, value, &place);
            old.insert(name, merged);
        }
        old
    }

    /// Copies the omitted secrets of replaced lists, and removes stored members that do not fit the
    /// new variant of an enum. The violations report lists whose secrets cannot be assigned to
    /// elements.
    pub(crate) fn finish(
        &self,
        mut document: SplitDocument,
        before: &SplitDocument,
        schema: &Schema,
    ) -> (SplitDocument, Vec<Violation>) {
        let mut lost = Vec::new();
        for pointer in secrets(&before.config) {
            if self.lists.iter().any(|list| pointer.is_within(list)) {
                lost.extend(copy_secret(&mut document, before, &pointer, schema));
            }
        }
        (self.without_old_variant(document, schema), lost)
    }

    fn without_old_variant(&self, document: SplitDocument, schema: &Schema) -> SplitDocument {
        // Each attempt validates the document, so this is limited to documents that validate
        // quickly.
        if self.unnamed.is_empty() || !schema.is_quick(&document.config) {
            return document;
        }
        let mut best = (document.violations(schema).len(), document);
        let one_by_one = self.unnamed.iter().map(|pointer| vec![pointer]);
        // If several members belong to the old variant, removing only one of them may not reduce
        // the number of violations, so siblings are also removed together.
        let together = self.unnamed.iter().map(|pointer| {
            let parent = parent(pointer);
            self.unnamed.iter().filter(|other| self::parent(other) == parent).collect::<Vec<_>>()
        });
        for group in one_by_one.chain(together) {
            if best.0 == 0 {
                break;
            }
            let mut without = best.1.clone();
            for pointer in group {
                remove(&mut without, pointer);
            }
            let violations = without.violations(schema).len();
            if violations < best.0 {
                best = (violations, without);
            }
        }
        best.1
    }
}

/// Copies the sealed secrets that a new document omits, each with the objects that contain it,
/// unless they violate the schema there. The violations report lists whose secrets cannot be
/// assigned to elements.
pub(crate) fn keep_secrets(document: &mut SplitDocument, stored: &SplitDocument, schema: &Schema) -> Vec<Violation> {
    let mut lost = Vec::new();
    for pointer in stored.secrets.keys() {
        lost.extend(copy_secret(document, stored, pointer, schema));
    }
    lost
}

/// Copies one secret of an old document into the new document, if the new document omits it.
fn copy_secret(
    document: &mut SplitDocument,
    before: &SplitDocument,
    pointer: &Pointer,
    schema: &Schema,
) -> Option<Violation> {
    let (mut old, mut new) = (&before.config, &document.config);
    let (mut from, mut to) = (Pointer::default(), Pointer::default());
    for token in pointer.tokens() {
        match (old, new) {
            (Value::Object(old_members), Value::Object(new_members)) if !is_marker(new_members) => {
                (from, to) = (from.child(&token), to.child(&token));
                old = old_members.get(&token)?;
                match new_members.get(&token) {
                    Some(there) => new = there,
                    None => {
                        let with = with_copy(document, before, &from, &to)?;
                        let quick = schema.is_quick(&with.config);
                        if !quick || with.violations(schema).len() <= document.violations(schema).len() {
                            *document = with;
                        }
                        return None;
                    }
                }
            }
            (Value::Array(old_elements), Value::Array(new_elements)) => {
                let position: usize = token.parse().ok()?;
                match partner(old_elements, new_elements, position) {
                    Partner::Element(other) => {
                        (from, to) = (from.child(&token), to.child(&other.to_string()));
                        (old, new) = (old_elements.get(position)?, new_elements.get(other)?);
                    }
                    Partner::None => return None,
                    Partner::Unclear(other) => {
                        return Some(ambiguous(&to.child(&other.to_string()), pointer));
                    }
                }
            }
            _ => return None,
        }
    }
    None
}

/// The element of a new list that corresponds to an element of the old list.
enum Partner {
    Element(usize),
    /// The element was removed.
    None,
    /// The new element at this index may correspond to this element or to another one.
    Unclear(usize),
}

fn partner(old: &[Value], new: &[Value], position: usize) -> Partner {
    // In a list of secrets, each element is itself a secret, so the new list names all of them.
    if old.get(position).and_then(Value::as_object).is_some_and(is_marker) {
        return Partner::None;
    }
    let bare = |elements: &[Value]| elements.iter().map(without_secrets).collect::<Vec<_>>();
    let (old_bare, new_bare) = (bare(old), bare(new));
    let mut partners: Vec<Option<usize>> = vec![None; old.len()];
    let mut taken = vec![false; new.len()];
    let same_place = |index: &usize| old_bare.get(*index).is_some_and(|own| new_bare.get(*index) == Some(own));
    for index in (0..old.len()).filter(same_place) {
        partners[index] = Some(index);
        taken[index] = true;
    }
    for index in 0..old.len() {
        let moved = (0..new.len()).find(|other| !taken[*other] && new_bare[*other] == old_bare[index]);
        if partners[index].is_none()
            && let Some(other) = moved
        {
            partners[index] = Some(other);
            taken[other] = true;
        }
    }
    if old.len() == new.len() {
        for index in 0..old.len() {
            if partners[index].is_none() && !taken[index] {
                partners[index] = Some(index);
                taken[index] = true;
            }
        }
    }
    match partners[position] {
        Some(other) => Partner::Element(other),
        None => match (0..new.len()).find(|other| !taken[*other] && leaves_out_secrets(&old[position], &new[*other])) {
            Some(other) => Partner::Unclear(other),
            None => Partner::None,
        },
    }
}

/// Checks whether a new element omits a secret that the old element has.
fn leaves_out_secrets(old: &Value, new: &Value) -> bool {
    new.is_object() && secrets(old).iter().any(|pointer| new.pointer(pointer.as_str()).is_none())
}

fn ambiguous(element: &Pointer, secret: &Pointer) -> Violation {
    Violation {
        pointer: element.clone(),
        message: format!(
            "omits a secret and matches no element of the old list, so it is not clear whether the secret `{}` belongs to it",
            secret.dotted()
        ),
        hint: Some(format!("give the secret, or change or remove the one element at `{}`", element.dotted())),
    }
}

/// Returns the document with a value of another document inserted, including its secrets.
fn with_copy(document: &SplitDocument, before: &SplitDocument, from: &Pointer, to: &Pointer) -> Option<SplitDocument> {
    let mut with = document.clone();
    to.set(&mut with.config, before.config.pointer(from.as_str())?.clone()).ok()?;
    for (pointer, secret) in before.secrets.iter().filter(|(pointer, _)| pointer.is_within(from)) {
        let own = to.join(&Pointer::new(&pointer.as_str()[from.as_str().len()..]));
        *with.config.pointer_mut(own.as_str())? = secret_marker(&own);
        with.secrets.insert(own, secret.clone());
    }
    Some(with)
}

fn remove(document: &mut SplitDocument, pointer: &Pointer) {
    pointer.remove(&mut document.config);
    document.secrets.retain(|own, _| !own.is_within(pointer));
}

fn parent(pointer: &Pointer) -> Pointer {
    let text = pointer.as_str();
    Pointer::new(&text[..text.rfind('/').unwrap_or(0)])
}

/// Checks whether an object represents a secret or a reference.
fn is_marker(object: &Map<String, Value>) -> bool {
    object.len() == 1 && [SECRET_MARKER, SOURCE_MARKER, BLOCK_MARKER].iter().any(|marker| object.contains_key(*marker))
}

/// Returns a value without its secrets.
fn without_secrets(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, member)| !is_secret(member))
            .map(|(name, member)| (name.clone(), without_secrets(member)))
            .collect(),
        Value::Array(elements) => elements.iter().map(without_secrets).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blockyard_model::PlainDocument;
    use serde_json::json;

    fn schema() -> Schema {
        let secret = json!({"anyOf": [{"type": "string", "writeOnly": true, "format": "password"}, {"type": "null"}]});
        Schema::compile(json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "place": {"type": "object", "properties": {
                    "house": {"type": "string"}, "code": secret, "inner": {"type": "object", "properties": {"key": secret, "n": true}}
                }},
                "list": {"type": "array", "items": {"type": "object", "properties": {
                    "host": {"type": "string"}, "port": true, "auth": {"type": "object", "properties": {"user": true, "token": secret}}, "pw": secret
                }}},
                "keys": {"type": "array", "items": secret},
                "lock": {"oneOf": [
                    {"type": "object", "properties": {"how": {"const": "key"}, "pattern": secret}, "required": ["how"]},
                    {"type": "object", "properties": {"how": {"const": "open"}}, "required": ["how"]}
                ]},
                "either": {"oneOf": [
                    {"type": "object", "additionalProperties": false, "properties": {"token": secret}, "required": ["token"]},
                    {"type": "object", "additionalProperties": false, "properties": {"user": {"type": "string"}, "pw": secret}, "required": ["user", "pw"]}
                ]}
            }
        }))
        .expect("a good schema")
    }

    fn split(config: Value) -> SplitDocument {
        SplitDocument::split(&schema(), PlainDocument(config)).expect("a good document")
    }

    /// Applies the configuration as a save by JSON does, and returns the document with its secrets.
    fn saved(before: &Value, document: Value) -> Value {
        let before = split(before.clone());
        let mut plain = before.plain();
        let mut merge = Merge::default();
        merge.put(&mut plain.0, &Pointer::default(), document).expect("nothing in the way");
        let after = SplitDocument::split(&schema(), plain).expect("a good document");
        let (after, lost) = merge.finish(after, &before, &schema());
        assert_eq!(after.violations(&schema()), []);
        if let Some(lost) = lost.first() {
            return json!(lost.pointer.as_str());
        }
        after.plain().0.clone()
    }

    #[test]
    fn unnamed_fields_are_kept_at_every_depth() {
        let before = json!({"place": {"house": "h", "code": "c", "inner": {"key": "k", "n": 1}}});
        assert_eq!(
            saved(&before, json!({"place": {"house": "other", "inner": {"n": 2}}})),
            json!({"place": {"house": "other", "code": "c", "inner": {"key": "k", "n": 2}}})
        );
        assert_eq!(saved(&before, json!({})), before);
        assert_eq!(saved(&before, json!({"place": {"code": null}}))["place"]["code"], json!(null));
        assert_eq!(
            saved(&before, json!({"place": {"code": {"$source": "env:C"}}}))["place"]["code"],
            json!({"$source": "env:C"})
        );
    }

    #[test]
    fn fields_of_the_previous_variant_are_removed() {
        let before = json!({"lock": {"how": "key", "pattern": "p"}, "either": {"user": "u", "pw": "p"}});
        assert_eq!(saved(&before, json!({"lock": {"how": "open"}}))["lock"], json!({"how": "open"}));
        assert_eq!(saved(&before, json!({"lock": {"how": "key"}}))["lock"], json!({"how": "key", "pattern": "p"}));
        assert_eq!(saved(&before, json!({"either": {"token": "t"}}))["either"], json!({"token": "t"}));
        assert_eq!(saved(&before, json!({"either": {"user": "v"}}))["either"], json!({"user": "v", "pw": "p"}));
    }

    #[test]
    fn elements_of_a_list_keep_their_own_secrets() {
        let element = |host: &str, token: &str| json!({"host": host, "auth": {"user": 1, "token": token}});
        let bare = |host: &str| json!({"host": host, "auth": {"user": 1}});
        let before = json!({"list": [element("a", "ta"), element("b", "tb"), element("c", "tc")]});
        let list = |elements: Vec<Value>| saved(&before, json!({ "list": elements }));
        let all = |elements: Vec<Value>| json!({ "list": elements });
        // Moved, removed and added elements keep their secrets.
        assert_eq!(list(vec![bare("c"), bare("a")]), all(vec![element("c", "tc"), element("a", "ta")]));
        assert_eq!(
            list(vec![bare("b"), bare("c"), bare("a"), json!({"host": "d", "pw": "p"})])["list"][1]["auth"]["token"],
            json!("tc")
        );
        // An element that is changed in place keeps its secrets.
        assert_eq!(
            list(vec![bare("a"), json!({"host": "b", "port": 1}), bare("c")])["list"][1],
            json!({"host": "b", "port": 1, "auth": {"user": 1, "token": "tb"}})
        );
        // A list of a different length, with an element that matches no old element.
        assert_eq!(list(vec![bare("a"), bare("x")]), json!("/list/1"));
        assert_eq!(list(vec![]), all(vec![]));
        assert_eq!(list(vec![element("x", "tx")]), all(vec![element("x", "tx")]));
    }

    #[test]
    fn a_list_of_secrets_is_replaced() {
        assert_eq!(saved(&json!({"keys": ["a", "b"]}), json!({"keys": ["c"]})), json!({"keys": ["c"]}));
    }

    #[test]
    fn a_secret_is_kept_if_its_table_is_in_the_file() {
        let stored = split(
            json!({"place": {"house": "h", "inner": {"key": "k"}}, "keys": ["a"], "list": [{"host": "x", "port": 1, "pw": "p"}]}),
        );
        let kept = |config: Value| {
            let mut document = split(config);
            assert_eq!(keep_secrets(&mut document, &stored, &schema()), []);
            document.plain().0.clone()
        };
        assert_eq!(kept(json!({})), stored.plain().0);
        assert_eq!(
            kept(json!({"place": {}, "keys": [], "list": []})),
            json!({"place": {"inner": {"key": "k"}}, "keys": [], "list": []})
        );
        assert_eq!(
            kept(json!({"place": {"inner": {"n": 1}}, "keys": ["b"], "list": [{"host": "x"}]})),
            json!({"place": {"inner": {"n": 1, "key": "k"}}, "keys": ["b"], "list": [{"host": "x", "pw": "p"}]})
        );
    }
}
