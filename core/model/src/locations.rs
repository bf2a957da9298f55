//! Finds the secrets, references and unknown members of a document with its schema.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value};

use crate::graph::{Applied, Graph, Index, Node};
use crate::limits;
use crate::name::printable;
use crate::pointer::Pointer;
use crate::reference::ReferenceLocation;
use crate::secret_use::SecretKeyword;
use crate::suggestion::did_you_mean;
use crate::violation::Violation;

/// Locations in a document that are more than plain configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locations {
    /// Secrets, ordered by pointer.
    pub secrets: Vec<SecretLocation>,
    /// References to other blocks, ordered by pointer.
    pub references: Vec<ReferenceLocation>,
    /// Numbers with a fraction, even `.0`, in integer fields. JSON Schema accepts `5.0` as an
    /// integer, but programs that deserialize it into an integer type do not. At most
    /// [`limits::DOCUMENT_VIOLATIONS`].
    pub fractions: Vec<Pointer>,
    /// The document is too large or too deep for its schema and was not searched completely: it
    /// must not be stored.
    pub incomplete: bool,
}

/// Location in a document at which the schema declares a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretLocation {
    /// Location in the document.
    pub pointer: Pointer,
    /// Uses that the schema permits.
    pub uses: SecretKeyword,
}

/// Searches a document. Visits each pair of a subschema and a value once.
pub(crate) fn find(graph: &Graph, document: &Value) -> Locations {
    let mut search =
        Search { graph, seen: HashSet::new(), visits: 0, found: Locations::default(), fractions: BTreeSet::new() };
    search.visit(0, document, &Pointer::default(), 0);
    let mut locations = search.found;
    locations.fractions = search.fractions.into_iter().collect();
    locations.secrets.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    locations.secrets.dedup_by(|a, b| a.pointer == b.pointer);
    locations.references.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    merge_references(&mut locations.references);
    locations
}

/// Merges references with the same location: several branches may declare one, with different
/// targets.
fn merge_references(references: &mut Vec<ReferenceLocation>) {
    let mut merged: Vec<ReferenceLocation> = Vec::with_capacity(references.len());
    for mut reference in references.drain(..) {
        match merged.last_mut().filter(|last| last.pointer == reference.pointer) {
            Some(last) => {
                reference.permitted.retain(|permitted| !last.permitted.contains(permitted));
                last.permitted.append(&mut reference.permitted);
            }
            None => merged.push(reference),
        }
    }
    *references = merged;
}

struct Search<'a> {
    graph: &'a Graph,
    seen: HashSet<(Index, *const Value)>,
    visits: usize,
    found: Locations,
    fractions: BTreeSet<Pointer>,
}

impl Search<'_> {
    fn visit(&mut self, index: Index, value: &Value, pointer: &Pointer, depth: usize) {
        let graph = self.graph;
        let node = graph.node(index);
        if !node.has_locations {
            return;
        }
        self.visits += 1;
        if depth > limits::DOCUMENT_DEPTH || self.visits > limits::LOCATION_STEPS {
            self.found.incomplete = true;
            return;
        }
        if node.shared && !self.seen.insert((index, std::ptr::from_ref(value))) {
            return;
        }
        if let Some(uses) = &node.secret {
            self.found.secrets.push(SecretLocation { pointer: pointer.clone(), uses: uses.clone() });
            return;
        }
        // An optional reference may be missing.
        if let Some(reference_target) = &node.reference_target {
            if !value.is_null() {
                self.found
                    .references
                    .push(ReferenceLocation { pointer: pointer.clone(), permitted: vec![reference_target.clone()] });
            }
            return;
        }
        if node.integer && value.is_f64() && self.fractions.len() < limits::DOCUMENT_VIOLATIONS {
            self.fractions.insert(pointer.clone());
        }
        for same in node.alternatives() {
            self.visit(same, value, pointer, depth);
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    for inner in node.member(name) {
                        self.visit(inner, member, &pointer.child(name), depth + 1);
                    }
                }
            }
            Value::Array(elements) => {
                for (position, element) in elements.iter().enumerate() {
                    for inner in node.element(position) {
                        self.visit(inner, element, &pointer.child(&position.to_string()), depth + 1);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Returns the members of a document that its schema does not declare, if the object's schema
/// declares any members. An undeclared member is probably a mistyped field; it would be stored and
/// displayed in plain text even if it is a secret. An object accepts other members only if its
/// schema has `additionalProperties`, `unevaluatedProperties` or `patternProperties`.
pub(crate) fn unknown_members(graph: &Graph, document: &Value) -> Vec<Violation> {
    let mut search = UnknownMembers { graph, unknown: Vec::new(), visits: 0 };
    search.check(&[0], document, &Pointer::default(), 0);
    search.unknown
}

struct UnknownMembers<'a> {
    graph: &'a Graph,
    unknown: Vec<Violation>,
    visits: usize,
}

impl<'a> UnknownMembers<'a> {
    /// Checks a value against all subschemas that apply to it.
    fn check(&mut self, indices: &[Index], value: &Value, pointer: &Pointer, depth: usize) {
        self.visits += 1;
        let stop = depth > limits::DOCUMENT_DEPTH || self.visits > limits::LOCATION_STEPS;
        if stop || self.unknown.len() >= limits::DOCUMENT_VIOLATIONS || !(value.is_object() || value.is_array()) {
            return;
        }
        let mut subschemas = Subschemas { graph: self.graph, value, applied: Vec::new(), seen: HashSet::new() };
        for index in indices {
            subschemas.add(*index, true);
        }
        let applied = subschemas.applied;
        // The value is a marker in place of a secret or reference.
        if applied.iter().any(|(node, _)| node.secret.is_some() || node.reference_target.is_some()) {
            return;
        }
        match value {
            Value::Object(members) => self.object(&applied, members, pointer, depth),
            Value::Array(elements) => {
                for (position, element) in elements.iter().enumerate() {
                    let inner = unique(applied.iter().flat_map(|(node, _)| node.element(position)));
                    self.check(&inner, element, &pointer.child(&position.to_string()), depth + 1);
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, applied: &[(&'a Node, bool)], members: &Map<String, Value>, pointer: &Pointer, depth: usize) {
        let describing = || applied.iter().filter(|(_, describes)| *describes).map(|(node, _)| *node);
        let closed = describing().any(|node| node.names_members) && !describing().any(|node| node.open && !node.closed);
        for (name, member) in members {
            let pointer = pointer.child(name);
            let named = applied.iter().any(|(node, _)| node.properties.contains_key(name));
            if closed && !named {
                let known = applied.iter().flat_map(|(node, _)| node.properties.keys());
                self.unknown.push(Violation {
                    pointer,
                    message: format!("unknown field `{}`", printable(name)),
                    hint: did_you_mean(name, known.map(String::as_str)),
                });
                continue;
            }
            let inner = unique(describing().flat_map(|node| node.member(name)));
            self.check(&inner, member, &pointer, depth + 1);
        }
    }
}

/// Collects the subschemas that apply to one value.
struct Subschemas<'a, 'v> {
    graph: &'a Graph,
    value: &'v Value,
    /// Subschemas; true if the subschema describes the value, false if it only tests it.
    applied: Vec<(&'a Node, bool)>,
    seen: HashSet<(Index, bool)>,
}

impl Subschemas<'_, '_> {
    fn add(&mut self, index: Index, describes: bool) {
        if !self.seen.insert((index, describes)) {
            return;
        }
        let graph = self.graph;
        let node = graph.node(index);
        self.applied.push((node, describes));
        for (how, same) in &node.same {
            match how {
                Applied::Not => {}
                Applied::If => self.add(*same, false),
                // Skip variants of an enum whose tag differs from that of the value.
                Applied::Choice if !may_be(graph, *same, self.value) => {}
                _ => self.add(*same, describes),
            }
        }
    }
}

/// Returns true if the value may be this variant of an enum: the tags are equal, or one of them has
/// none.
fn may_be(graph: &Graph, variant: Index, value: &Value) -> bool {
    let node = graph.node(variant);
    let always = node.same.iter().filter(|(how, _)| *how == Applied::Always);
    node.may_be(value) && always.into_iter().all(|(_, same)| may_be(graph, *same, value))
}

fn unique(indices: impl Iterator<Item = Index>) -> Vec<Index> {
    indices.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn unknown(schema: &Value, document: &Value) -> Vec<String> {
        let found =
            unknown_members(&Graph::of(schema, &mut crate::graph::Budget::default()).expect("a good schema"), document);
        found.into_iter().map(|violation| format!("{} {:?}", violation.pointer, violation.hint)).collect()
    }

    #[test]
    fn a_mistyped_field_is_found_at_every_depth() {
        let inner =
            json!({"type": "object", "properties": {"password": {"type": "string"}, "inner": {"$ref": "#/$defs/i"}}});
        let schema = json!({
            "properties": {
                "place": {"anyOf": [{"$ref": "#/$defs/i"}, {"type": "null"}]},
                "list": {"items": {"allOf": [{"$ref": "#/$defs/i"}, {"properties": {"more": true}}]}},
                "map": {"additionalProperties": {"$ref": "#/$defs/i"}},
                "pair": {"prefixItems": [true, {"$ref": "#/$defs/i"}]}
            },
            "$defs": {"i": inner}
        });
        let document = json!({
            "place": {"pasword": 1, "inner": {"inner": {"passwrd": 1}}},
            "list": [{"more": 1, "mor": 1}],
            "map": {"any": {"pass": 1}},
            "pair": [{"anything": 1}, {"password_": 1}]
        });
        expect_test::expect![[r#"
            [
                "/list/0/mor Some(\"did you mean `more`?\")",
                "/map/any/pass Some(\"did you mean `password`?\")",
                "/pair/1/password_ Some(\"did you mean `password`?\")",
                "/place/inner/inner/passwrd Some(\"did you mean `password`?\")",
                "/place/pasword Some(\"did you mean `password`?\")",
            ]
        "#]]
        .assert_debug_eq(&{
            let mut all = unknown(&schema, &document);
            all.sort();
            all
        });
    }

    #[test]
    fn unknown_fields_are_allowed_if_the_schema_permits_them() {
        for keyword in ["additionalProperties", "unevaluatedProperties"] {
            for open in [json!(true), json!({"type": "integer"})] {
                assert_eq!(unknown(&json!({"properties": {"a": true}, keyword: open}), &json!({"b": 1})), [""; 0]);
            }
            assert_eq!(unknown(&json!({"properties": {"a": true}, keyword: false}), &json!({"b": 1})).len(), 1);
        }
        assert_eq!(
            unknown(&json!({"properties": {"a": true}, "patternProperties": {"^x": true}}), &json!({"b": 1})),
            [""; 0]
        );
        assert_eq!(unknown(&json!({"type": "object"}), &json!({"b": {"c": 1}})), [""; 0]);
        assert_eq!(
            unknown(&json!({"if": {"properties": {"b": {"const": 1}}}, "properties": {"a": true}}), &json!({"b": 1})),
            [""; 0]
        );
    }

    #[test]
    fn a_field_of_another_variant_is_unknown() {
        let schema = json!({"oneOf": [
            {"$ref": "#/$defs/key"},
            {"properties": {"kind": {"const": "none"}}}
        ], "$defs": {"key": {"properties": {"kind": {"const": "key"}, "key": {"type": "string"}}}}});
        assert_eq!(unknown(&schema, &json!({"kind": "key", "key": "x"})), [""; 0]);
        assert_eq!(unknown(&schema, &json!({"kind": "none", "key": "x"})).len(), 1);
    }

    #[test]
    fn many_fractions_are_found_in_linear_time_and_truncated() {
        let schema = json!({"items": {"type": "integer"}});
        let graph = Graph::of(&schema, &mut crate::graph::Budget::default()).expect("a good schema");
        let began = std::time::Instant::now();
        let found = find(&graph, &Value::from(vec![5.0; 500_000]));
        assert_eq!(found.fractions.len(), limits::DOCUMENT_VIOLATIONS);
        assert!(!found.incomplete && began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
