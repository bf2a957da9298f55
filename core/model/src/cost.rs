//! Counts the steps of validating a document against a schema, before the document is validated.
//! The validator itself has no limit: recursive branches, repeated `$ref`s and
//! `unevaluatedProperties` can take exponential time. Counting visits each pair of a subschema and
//! a value once.

use std::collections::HashMap;

use serde_json::Value;

use crate::graph::{Applied, Graph, Index};
use crate::limits;

/// Limit that was exceeded while counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// More than [`limits::CHECK_STEPS`] steps.
    Steps,
    /// Nesting deeper than [`limits::DOCUMENT_DEPTH`].
    Depth,
}

/// Number of steps of one validation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Steps {
    /// Steps to determine whether the document is valid.
    pub(crate) validity: u64,
    /// Steps to list all errors. Each branch of a choice is listed after it was tried.
    pub(crate) listing: u64,
}

/// Counts the steps of validating a document.
///
/// # Errors
/// Returns the limit that is exceeded.
pub(crate) fn count(graph: &Graph, document: &Value) -> Result<Steps, Exceeded> {
    count_within(graph, document, limits::CHECK_STEPS)
}

/// Counts like [`count`], with another limit of steps.
pub(crate) fn count_within(graph: &Graph, document: &Value, limit: u64) -> Result<Steps, Exceeded> {
    let mut left = limit;
    let size = size(document, 0, &mut left)?;
    let mut counter = Counter { graph, limit, seen: HashMap::new(), visits: 0 };
    let steps = counter.steps(0, document)?;
    // An error within a choice contains a copy of its value.
    let copied = if graph.has_choices { size } else { 1 };
    let all = Steps {
        validity: steps.validity.saturating_add(size),
        listing: steps.listing.saturating_mul(copied.div_ceil(COPIED)),
    };
    if all.validity > limit { Err(Exceeded::Steps) } else { Ok(all) }
}

/// Number of values that are copied in the time and memory of one step.
const COPIED: u64 = 256;
/// Number of pairs whose result is cached. Further pairs are counted again, up to the limit of
/// steps.
const CACHED_PAIRS: usize = 1 << 20;

/// Returns the size of a document: the number of its values, plus one for each 64 bytes of text.
fn size(value: &Value, depth: usize, left: &mut u64) -> Result<u64, Exceeded> {
    *left = left.checked_sub(1).ok_or(Exceeded::Steps)?;
    if depth > limits::DOCUMENT_DEPTH {
        return Err(Exceeded::Depth);
    }
    let mut sum = 1;
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                sum += size(member, depth + 1, left)? + name.len() as u64 / 64;
            }
        }
        Value::Array(elements) => {
            for element in elements {
                sum += size(element, depth + 1, left)?;
            }
        }
        Value::String(text) => sum += text.len() as u64 / 64,
        _ => {}
    }
    Ok(sum)
}

struct Counter<'a> {
    graph: &'a Graph,
    limit: u64,
    seen: HashMap<(Index, *const Value), Steps>,
    visits: u64,
}

impl Steps {
    fn add(&mut self, other: Self) {
        self.validity = self.validity.saturating_add(other.validity);
        self.listing = self.listing.saturating_add(other.listing);
    }

    fn times(self, factor: u64) -> Self {
        Self { validity: self.validity.saturating_mul(factor), listing: self.listing.saturating_mul(factor) }
    }
}

impl Counter<'_> {
    fn steps(&mut self, index: Index, value: &Value) -> Result<Steps, Exceeded> {
        let node = self.graph.node(index);
        // Nothing within a scalar value can be reached twice.
        if !value.is_object() && !value.is_array() {
            let text = value.as_str().map_or(0, |text| text.len() as u64);
            let patterns = (text / 64 + 1).saturating_mul(node.pattern_in_all);
            let validity = node.own_in_all.saturating_add(patterns).saturating_add(text / 64);
            return Ok(Steps { validity, listing: validity.saturating_mul(self.graph.depth as u64) });
        }
        let pair = (index, std::ptr::from_ref(value));
        if node.shared
            && let Some(steps) = self.seen.get(&pair)
        {
            return Ok(*steps);
        }
        self.visits += 1;
        if self.visits > self.limit / 4 {
            return Err(Exceeded::Steps);
        }
        let steps = self.container(index, value)?;
        if node.shared && self.seen.len() < CACHED_PAIRS {
            self.seen.insert(pair, steps);
        }
        if steps.validity > self.limit { Err(Exceeded::Steps) } else { Ok(steps) }
    }

    fn container(&mut self, index: Index, value: &Value) -> Result<Steps, Exceeded> {
        let graph = self.graph;
        let node = graph.node(index);
        let mut sum = Steps { validity: node.own, listing: node.own };
        // For the unevaluated members and elements, the validator tries the branches a second time.
        let times = if node.unevaluated { 2 } else { 1 };
        for (applied, same) in &node.same {
            let inner = self.steps(*same, value)?.times(times);
            sum.add(match applied {
                Applied::Choice => Steps { listing: inner.listing.saturating_add(inner.validity), ..inner },
                Applied::If | Applied::Not => Steps { listing: inner.validity, ..inner },
                Applied::Always | Applied::Sometimes => inner,
            });
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let text = name.len() as u64 / 64 + 1;
                    let mut own = text.saturating_mul(node.member_pattern).saturating_add(1);
                    if let Some(names) = node.property_names {
                        let names = graph.node(names);
                        own = own.saturating_add(names.own_in_all);
                        own = own.saturating_add(text.saturating_mul(names.pattern_in_all));
                    }
                    sum.add(Steps { validity: own, listing: own });
                    for inner in node.member(name) {
                        sum.add(self.steps(inner, member)?);
                    }
                }
            }
            Value::Array(elements) => {
                if node.unique {
                    let compared = size(value, 0, &mut self.limit.clone())?.saturating_mul(16);
                    sum.add(Steps { validity: compared, listing: compared });
                }
                for (position, element) in elements.iter().enumerate() {
                    sum.add(Steps { validity: 1, listing: 1 });
                    for inner in node.element(position).chain(node.contains) {
                        sum.add(self.steps(inner, element)?);
                    }
                }
            }
            _ => {}
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Schema;
    use proptest::prelude::*;
    use serde_json::json;

    fn graph(schema: &Value) -> Graph {
        Graph::of(schema, &mut crate::graph::Budget::default()).expect("a good schema")
    }

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!(5), |inner, _| json!({"c": inner}))
    }

    /// Each level reaches the next one twice: the number of steps is 2 to the power of the depth.
    #[test]
    fn branches_that_multiply_with_the_depth_are_rejected() {
        let twice = json!({
            "allOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}],
            "$defs": {"n": {"properties": {"c": {"$ref": "#"}}}}
        });
        assert!(count(&graph(&twice), &nested(8)).is_ok());
        assert_eq!(count(&graph(&twice), &nested(120)).err(), Some(Exceeded::Steps));
        let leftover = json!({"anyOf": [{"properties": {"c": {"$ref": "#"}}}], "unevaluatedProperties": false});
        assert_eq!(count(&graph(&leftover), &nested(120)).err(), Some(Exceeded::Steps));
    }

    #[test]
    fn large_plain_documents_are_cheap() {
        let rows: Vec<Value> = (0..50_000).map(|n| json!({"id": n, "name": "x", "tags": ["a", "b"]})).collect();
        let schema = json!({"type": "array", "items": {"type": "object", "properties": {
            "id": {"type": "integer"}, "name": {"type": ["string", "null"]}, "tags": {"type": "array", "items": {"type": "string"}}
        }}});
        let steps = count(&graph(&schema), &Value::from(rows)).expect("cheap");
        assert!(steps.validity < 250_000 * 25, "{steps:?}");
    }

    #[test]
    fn deeply_nested_documents_are_rejected_before_traversal() {
        assert_eq!(count(&graph(&json!({})), &nested(200)).err(), Some(Exceeded::Depth));
    }

    /// Small schemas with all keywords that apply subschemas, including references.
    fn schemas() -> impl Strategy<Value = Value> {
        let reference = (0..4_u8).prop_map(|number| json!({"$ref": format!("#/$defs/d{number}")}));
        let leaf = prop_oneof![
            Just(json!({"type": "integer"})),
            Just(json!({"type": "string", "pattern": "^[a-c]{1,40}$"})),
            Just(json!({"enum": [1, "a", null]})),
            Just(json!(true)),
            reference,
        ];
        let schema = leaf.prop_recursive(4, 24, 3, |inner| {
            let list = prop::collection::vec(inner.clone(), 1..4);
            prop_oneof![
                (prop_oneof![Just("allOf"), Just("anyOf"), Just("oneOf")], list.clone())
                    .prop_map(|(keyword, list)| json!({keyword: list})),
                (prop_oneof![Just("not"), Just("contains"), Just("items"), Just("unevaluatedItems")], inner.clone())
                    .prop_map(|(keyword, one)| json!({keyword: one})),
                (inner.clone(), inner.clone(), inner.clone())
                    .prop_map(|(a, b, c)| json!({"if": a, "then": b, "else": c})),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"properties": {"a": a, "b": b}})),
                (inner.clone(), inner.clone())
                    .prop_map(|(a, b)| json!({"patternProperties": {"^a": a}, "unevaluatedProperties": b})),
                (inner.clone(), inner).prop_map(|(a, b)| json!({"additionalProperties": a, "properties": {"c": b}})),
            ]
        });
        (schema.clone(), prop::collection::vec(schema, 4)).prop_map(|(root, defs)| {
            let mut root = if root.is_object() { root } else { json!({}) };
            for (number, def) in defs.into_iter().enumerate() {
                root["$defs"][format!("d{number}")] = def;
            }
            root
        })
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!(1)), Just(json!(1.5)), Just(json!("aaab")), Just(json!(null))];
        leaf.prop_recursive(12, 40, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[abc]", inner, 0..3)
                    .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
        /// Every schema is either rejected, or validates every document in time.
        #[test]
        fn every_validation_is_bounded(schema in schemas(), document in documents()) {
            let began = std::time::Instant::now();
            if let Ok(schema) = Schema::compile(schema) {
                let _ = schema.check(&document);
                let _ = schema.locations(&document);
            }
            prop_assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
        }
    }
}
