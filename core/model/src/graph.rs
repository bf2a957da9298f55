//! The graph of a schema's subschemas: `$ref` is resolved, each subschema occurs once, and limits
//! bound every traversal. A traversal visits pairs of a subschema and a value, never paths, so that
//! repeated `$ref`s to the same subschema add no cost.

use std::collections::{BTreeMap, HashMap, HashSet};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::limits;
use crate::name::printable;
use crate::reference::PermittedTarget;
use crate::secret_use::SecretKeyword;

/// Index of a subschema in its [`Graph`].
pub(crate) type Index = usize;

/// All subschemas that can apply to a document. The first one is the schema itself.
#[derive(Debug)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    /// Number of levels on the longest path through all definitions.
    pub(crate) levels: usize,
    /// True if the schema contains `anyOf` or `oneOf`.
    pub(crate) has_choices: bool,
    /// Maximum number of subschemas that apply to the same value, one inside another.
    pub(crate) depth: usize,
}

/// Remaining limits, which the schemas of one bundle share.
#[derive(Debug)]
pub(crate) struct Budget {
    patterns: usize,
    nodes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { patterns: limits::SCHEMA_PATTERNS, nodes: limits::SCHEMA_NODES }
    }
}

/// One subschema.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// Uses of the secret, if this is a secret.
    pub(crate) secret: Option<SecretKeyword>,
    /// Permitted target, if this is a reference to another block.
    pub(crate) reference_target: Option<PermittedTarget>,
    /// Accepts integers and no other numbers.
    pub(crate) integer: bool,
    /// Subschemas that apply to the same value.
    pub(crate) same: Vec<(Applied, Index)>,
    /// `properties`.
    pub(crate) properties: BTreeMap<String, Option<Index>>,
    /// Values of `const` and `enum` of each property. They distinguish the variants of an enum.
    pub(crate) tags: BTreeMap<String, Vec<Value>>,
    /// `patternProperties`.
    pub(crate) patterns: Vec<Index>,
    /// `additionalProperties` and `unevaluatedProperties`.
    pub(crate) rest: Vec<Index>,
    /// Has a keyword for the members that `properties` does not name.
    pub(crate) open: bool,
    /// Accepts only the named members.
    pub(crate) closed: bool,
    /// Has `unevaluatedProperties` or `unevaluatedItems`.
    pub(crate) unevaluated: bool,
    /// Has `properties`.
    pub(crate) names_members: bool,
    /// `prefixItems`.
    pub(crate) prefix: Vec<Option<Index>>,
    /// `items` and `unevaluatedItems`.
    pub(crate) items: Vec<Index>,
    /// `contains`: tests each element and describes none.
    pub(crate) contains: Option<Index>,
    /// `propertyNames`.
    pub(crate) property_names: Option<Index>,
    /// `uniqueItems`.
    pub(crate) unique: bool,
    /// Steps of this subschema's keywords on one value.
    pub(crate) own: u64,
    /// Steps of its regular expressions on 64 bytes of text.
    pub(crate) pattern: u64,
    /// Steps of the `patternProperties` expressions on 64 bytes of a member name.
    pub(crate) member_pattern: u64,
    /// `own`, summed over all subschemas that apply to the same value.
    pub(crate) own_in_all: u64,
    /// `pattern`, summed over all subschemas that apply to the same value.
    pub(crate) pattern_in_all: u64,
    /// More than one subschema refers to this one.
    pub(crate) shared: bool,
    /// Contains a secret, a reference or an integer, at any depth.
    pub(crate) has_locations: bool,
}

/// Keyword by which a subschema applies to the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// `$ref`, `allOf`.
    Always,
    /// `then`, `else`, `dependentSchemas`.
    Sometimes,
    /// `anyOf`, `oneOf`.
    Choice,
    /// `if`: tests the value, and names members.
    If,
    /// `not`: only tests the value.
    Not,
}

impl Graph {
    /// Reads a schema and checks it against its limits.
    ///
    /// # Errors
    /// Returns the reason as text.
    pub(crate) fn of(document: &Value, budget: &mut Budget) -> Result<Self, String> {
        if values(document, 0)? > limits::SCHEMA_VALUES {
            return Err(format!("it has more than {} values", limits::SCHEMA_VALUES));
        }
        let mut builder = Builder {
            document,
            nodes: Vec::new(),
            known: HashMap::new(),
            waiting: Vec::new(),
            targets: HashSet::new(),
            levels: 0,
            patterns: 0,
        };
        builder.read()?;
        let Builder { nodes, levels, patterns, .. } = builder;
        budget.patterns = budget
            .patterns
            .checked_sub(patterns)
            .ok_or_else(|| format!("there are more than {} regular expressions", limits::SCHEMA_PATTERNS))?;
        if levels > limits::SCHEMA_LEVELS {
            return Err(format!("its definitions have more than {} levels", limits::SCHEMA_LEVELS));
        }
        let has_choices = nodes.iter().flat_map(|node| &node.same).any(|(applied, _)| *applied == Applied::Choice);
        let mut graph = Self { nodes, levels, has_choices, depth: 0 };
        let compiled = graph.compute_weights()?;
        budget.nodes = budget
            .nodes
            .checked_sub(compiled)
            .ok_or_else(|| format!("there are more than {} subschemas", limits::SCHEMA_NODES))?;
        graph.mark_shared();
        graph.mark_locations();
        Ok(graph)
    }

    pub(crate) fn node(&self, index: Index) -> &Node {
        &self.nodes[index]
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Sums up the subschemas that apply to the same value, and rejects cycles and too many of
    /// them. Returns the number of subschemas that are compiled.
    fn compute_weights(&mut self) -> Result<u64, String> {
        let mut weights: Vec<Option<Weight>> = vec![None; self.nodes.len()];
        let mut open = vec![false; self.nodes.len()];
        for index in 0..self.nodes.len() {
            let weight = self.weight(index, 1, &mut weights, &mut open)?;
            self.depth = self.depth.max(weight.depth);
        }
        let mut compiled = 0_u64;
        for (node, weight) in self.nodes.iter_mut().zip(weights) {
            let weight = weight.unwrap_or_default();
            compiled = compiled.saturating_add(if node.unevaluated { weight.branches } else { 1 });
            (node.own_in_all, node.pattern_in_all) = (weight.own, weight.pattern);
        }
        Ok(compiled)
    }

    fn weight(
        &self,
        index: Index,
        depth: usize,
        weights: &mut [Option<Weight>],
        open: &mut [bool],
    ) -> Result<Weight, String> {
        if let Some(weight) = weights[index] {
            return Ok(weight);
        }
        if open[index] {
            return Err("a `$ref` refers to its own schema for the same value".to_owned());
        }
        if depth > limits::SCHEMA_DEPTH {
            return Err(too_deep());
        }
        open[index] = true;
        let node = &self.nodes[index];
        let mut sum = Weight { branches: 1, own: node.own, pattern: node.pattern, depth: 1 };
        for (_, applied) in &node.same {
            let inner = self.weight(*applied, depth + 1, weights, open)?;
            sum.branches = sum.branches.saturating_add(inner.branches);
            sum.own = sum.own.saturating_add(inner.own);
            sum.pattern = sum.pattern.saturating_add(inner.pattern);
            sum.depth = sum.depth.max(inner.depth + 1);
        }
        // The validator evaluates the subschemas a second time to find unevaluated members and
        // elements.
        if node.unevaluated {
            sum.branches = sum.branches.saturating_mul(2);
        }
        if sum.depth > limits::SCHEMA_DEPTH {
            return Err(too_deep());
        }
        if sum.branches > limits::SCHEMA_BRANCHES {
            return Err(format!("more than {} subschemas apply to the same value", limits::SCHEMA_BRANCHES));
        }
        open[index] = false;
        weights[index] = Some(sum);
        Ok(sum)
    }

    /// Marks the subschemas that are reached in more than one way. A traversal only has to remember
    /// visits of these.
    fn mark_shared(&mut self) {
        let mut leading = vec![0_usize; self.nodes.len()];
        for node in &self.nodes {
            let testing = node.same.iter().filter(|(applied, _)| !applied.describes()).map(|(_, index)| *index);
            for inner in node.inner().chain(testing).chain(node.contains) {
                leading[inner] += 1;
            }
        }
        for (node, leading) in self.nodes.iter_mut().zip(leading) {
            node.shared = leading > 1;
        }
    }

    /// Marks the subschemas from which a secret, a reference or an integer is reached. Searches
    /// skip the others.
    fn mark_locations(&mut self) {
        let mut users: Vec<Vec<Index>> = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for inner in node.inner() {
                users[inner].push(index);
            }
        }
        let marked = |node: &Node| node.secret.is_some() || node.reference_target.is_some() || node.integer;
        let mut found: Vec<Index> = (0..self.nodes.len()).filter(|index| marked(&self.nodes[*index])).collect();
        while let Some(index) = found.pop() {
            if !std::mem::replace(&mut self.nodes[index].has_locations, true) {
                found.extend(&users[index]);
            }
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    branches: u64,
    own: u64,
    pattern: u64,
    depth: usize,
}

fn too_deep() -> String {
    format!("more than {} subschemas apply to the same value, one inside another", limits::SCHEMA_DEPTH)
}

impl Node {
    /// Returns the subschemas that describe the value or its members and elements.
    fn inner(&self) -> impl Iterator<Item = Index> {
        let described = self.same.iter().filter(|(applied, _)| applied.describes()).map(|(_, index)| *index);
        described
            .chain(self.properties.values().flatten().copied())
            .chain(self.patterns.iter().chain(&self.rest).copied())
            .chain(self.prefix.iter().flatten().chain(&self.items).copied())
    }

    /// Returns the subschemas that describe an object's member.
    pub(crate) fn member(&self, name: &str) -> impl Iterator<Item = Index> {
        let named = self.properties.get(name);
        // Patterns are not matched against the name: an extra subschema is harmless, but a missing
        // one would disclose a secret.
        let rest = if named.is_none() && self.patterns.is_empty() { self.rest.as_slice() } else { &[] };
        named.copied().flatten().into_iter().chain(self.patterns.iter().chain(rest).copied())
    }

    /// Returns the subschemas that describe an array's element.
    pub(crate) fn element(&self, position: usize) -> impl Iterator<Item = Index> {
        let own = self.prefix.get(position);
        let items = if own.is_none() { self.items.as_slice() } else { &[] };
        own.copied().flatten().into_iter().chain(items.iter().copied())
    }

    /// Returns the subschemas that describe the same value.
    pub(crate) fn alternatives(&self) -> impl Iterator<Item = Index> {
        self.same.iter().filter(|(applied, _)| applied.describes()).map(|(_, index)| *index)
    }

    /// Returns true if the value may be this variant of an enum: its tag is equal or missing.
    pub(crate) fn may_be(&self, value: &Value) -> bool {
        self.tags.iter().all(|(name, allowed)| value.get(name).is_none_or(|tag| allowed.contains(tag)))
    }
}

impl Applied {
    /// Returns true if the subschema describes the value instead of only testing it.
    fn describes(self) -> bool {
        !matches!(self, Self::If | Self::Not)
    }
}

/// Returns the number of JSON values in a schema.
fn values(value: &Value, depth: usize) -> Result<usize, String> {
    if depth > limits::DOCUMENT_DEPTH {
        return Err(format!("it nests deeper than {} levels", limits::DOCUMENT_DEPTH));
    }
    let mut sum = 1;
    match value {
        Value::Object(members) => {
            for member in members.values() {
                sum += values(member, depth + 1)?;
            }
        }
        Value::Array(elements) => {
            for element in elements {
                sum += values(element, depth + 1)?;
            }
        }
        _ => {}
    }
    Ok(sum)
}

struct Builder<'a> {
    document: &'a Value,
    nodes: Vec<Node>,
    /// Subschemas by their address in the document, which does not move during reading.
    known: HashMap<*const Value, Index>,
    /// Subschemas that have not been read yet.
    waiting: Vec<(Index, &'a Map<String, Value>)>,
    /// Targets of all `$ref`s.
    targets: HashSet<*const Value>,
    levels: usize,
    patterns: usize,
}

impl<'a> Builder<'a> {
    fn read(&mut self) -> Result<(), String> {
        self.add(self.document);
        self.levels = levels(self.document);
        while let Some((index, keywords)) = self.waiting.pop() {
            let node = self.node(index, keywords)?;
            self.nodes[index] = node;
        }
        // A boolean schema has no keywords.
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        Ok(())
    }

    /// Returns the index of a subschema, which is read now or later; `None` for `true` and `false`.
    fn add(&mut self, schema: &'a Value) -> Option<Index> {
        let keywords = schema.as_object()?;
        let next = self.nodes.len();
        let index = *self.known.entry(std::ptr::from_ref(schema)).or_insert(next);
        if index == next {
            self.nodes.push(Node::default());
            self.waiting.push((index, keywords));
        }
        Some(index)
    }

    fn node(&mut self, index: Index, keywords: &'a Map<String, Value>) -> Result<Node, String> {
        let mut node = Node {
            secret: SecretKeyword::of(keywords),
            reference_target: PermittedTarget::of(keywords),
            integer: wants_integer(keywords),
            own: 1 + keywords.len() as u64,
            ..Node::default()
        };
        for (keyword, value) in keywords {
            self.keyword(index, &mut node, keyword, value)?;
        }
        if let Some(target) = self.target(keywords)? {
            node.same.extend(self.add(target).map(|target| (Applied::Always, target)));
        }
        Ok(node)
    }

    fn keyword(&mut self, index: Index, node: &mut Node, keyword: &str, value: &'a Value) -> Result<(), String> {
        match keyword {
            "$id" | "$anchor" | "$dynamicRef" | "$dynamicAnchor" | "$recursiveRef" | "$recursiveAnchor"
                if index != 0 =>
            {
                return Err(format!("`{keyword}` is not supported; use `$ref` with a pointer such as `#/$defs/name`"));
            }
            "$dynamicRef" | "$recursiveRef" => {
                return Err(format!("`{keyword}` is not supported; use `$ref` with a pointer such as `#/$defs/name`"));
            }
            "allOf" => self.same(node, Applied::Always, elements(value)),
            "anyOf" | "oneOf" => self.same(node, Applied::Choice, elements(value)),
            "then" | "else" => self.same(node, Applied::Sometimes, [value]),
            "if" => self.same(node, Applied::If, [value]),
            "not" => self.same(node, Applied::Not, [value]),
            "dependentSchemas" => self.same(node, Applied::Sometimes, members(value).map(|(_, schema)| schema)),
            "properties" => {
                node.names_members = true;
                for (name, schema) in members(value) {
                    let described = self.add(schema);
                    node.properties.insert(name.clone(), described);
                    node.own += 1;
                    let tag = schema.get("const").map(|one| vec![one.clone()]);
                    let tags = tag.or_else(|| schema.get("enum").and_then(Value::as_array).cloned());
                    node.tags.extend(tags.map(|tags| (name.clone(), tags)));
                }
            }
            "patternProperties" => {
                node.open = true;
                for (pattern, schema) in members(value) {
                    self.patterns += 1;
                    node.member_pattern = node.member_pattern.saturating_add(pattern_steps(pattern));
                    node.patterns.extend(self.add(schema));
                }
            }
            "additionalProperties" | "unevaluatedProperties" => {
                node.unevaluated |= keyword == "unevaluatedProperties";
                node.closed |= *value == Value::Bool(false);
                node.open = true;
                node.rest.extend(self.add(value));
            }
            "prefixItems" => node.prefix = elements(value).map(|schema| self.add(schema)).collect(),
            "items" | "unevaluatedItems" => {
                node.unevaluated |= keyword == "unevaluatedItems";
                node.items.extend(self.add(value));
            }
            "contains" => node.contains = self.add(value),
            "propertyNames" => node.property_names = self.add(value),
            "uniqueItems" => node.unique = *value == Value::Bool(true),
            "pattern" => {
                self.patterns += 1;
                node.pattern = node.pattern.saturating_add(value.as_str().map_or(0, pattern_steps));
            }
            "required" => node.own += elements(value).count() as u64,
            "dependentRequired" => node.own += values(value, 0)? as u64,
            // Strings are looked up in a hash table.
            "enum" if elements(value).all(Value::is_string) => node.own += 10,
            "enum" | "const" => node.own += values(value, 0)? as u64,
            _ => {}
        }
        Ok(())
    }

    fn same(&mut self, node: &mut Node, applied: Applied, schemas: impl IntoIterator<Item = &'a Value>) {
        for schema in schemas {
            node.own += 1;
            node.same.extend(self.add(schema).map(|index| (applied, index)));
        }
    }

    /// Returns the schema that the `$ref` among these keywords refers to.
    fn target(&mut self, keywords: &'a Map<String, Value>) -> Result<Option<&'a Value>, String> {
        let Some(reference) = keywords.get("$ref") else { return Ok(None) };
        let text = reference.as_str().unwrap_or_default();
        let target = referenced(self.document, text).ok_or_else(|| {
            format!(
                "`$ref` `{}` does not refer to a part of the schema; use a pointer such as `#/$defs/name`",
                printable(text)
            )
        })?;
        if self.targets.insert(std::ptr::from_ref(target)) {
            self.levels = self.levels.saturating_add(levels(target));
        }
        Ok(Some(target))
    }
}

/// Returns true if these keywords accept integers and no other numbers.
fn wants_integer(keywords: &Map<String, Value>) -> bool {
    let permits = |kind: &str| match keywords.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(many)) => many.iter().any(|one| one == kind),
        _ => false,
    };
    permits("integer") && !permits("number")
}

/// Returns the part of a schema that a `$ref` refers to with a JSON Pointer in a URI fragment (RFC
/// 6901, section 6).
pub(crate) fn referenced<'a>(document: &'a Value, text: &str) -> Option<&'a Value> {
    document.pointer(&percent_decode_str(text.strip_prefix('#')?).decode_utf8().ok()?)
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Returns the nesting depth of a part of a schema.
fn levels(value: &Value) -> usize {
    let deepest = match value {
        Value::Object(members) => members.values().map(levels).max(),
        Value::Array(elements) => elements.iter().map(levels).max(),
        _ => None,
    };
    1 + deepest.unwrap_or(0)
}

/// Estimates the steps of a regular expression on 64 bytes of text: about its number of states,
/// calculated from its length and its repetitions.
fn pattern_steps(pattern: &str) -> u64 {
    let repeated = pattern.split('{').skip(1).filter_map(|rest| {
        let bounds = rest.split('}').next().unwrap_or_default();
        bounds.split(',').filter_map(|bound| bound.trim().parse::<u64>().ok()).max()
    });
    let times = repeated.fold(1_u64, |product, times| product.saturating_mul(times.max(1)));
    // The size limit of a compiled expression also limits its number of states.
    (pattern.len() as u64).saturating_mul(times).min(limits::PATTERN_BYTES as u64 / 16).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn graph(schema: &Value) -> Result<Graph, String> {
        Graph::of(schema, &mut Budget::default())
    }

    fn refused(schema: &Value) -> String {
        graph(schema).err().unwrap_or_else(|| panic!("not refused: {schema}"))
    }

    #[test]
    fn shared_references_are_counted_once_and_rejected_above_the_limit() {
        let fan = |levels: usize| {
            let mut schema = json!({"allOf": [{"$ref": "#/$defs/d0"}, {"$ref": "#/$defs/d0"}], "$defs": {}});
            for level in 0..levels {
                let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
                schema["$defs"][format!("d{level}")] = json!({"allOf": [next, next]});
            }
            schema["$defs"][format!("d{levels}")] = json!({"type": "string"});
            schema
        };
        assert!(graph(&fan(3)).is_ok());
        for levels in [12, 15, 40, 1_000] {
            let reason = refused(&fan(levels));
            assert!(reason.contains("apply to the same value"), "{reason}");
        }
        let mut many = json!({"$ref": "#/$defs/d"});
        many["$defs"]["d"] = json!({"anyOf": vec![json!({"$ref": "#/$defs/e"}); 200]});
        many["$defs"]["e"] = json!({"oneOf": vec![json!({"type": "null"}); 200]});
        assert!(refused(&many).contains("20000 subschemas"));
    }

    #[test]
    fn only_cycles_at_the_same_value_are_rejected() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}),
            json!({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"anyOf": [{"not": {"$ref": "#/$defs/a"}}]}}}),
            json!({"if": {"$ref": "#/then"}, "then": {"dependentSchemas": {"x": {"$ref": "#"}}}}),
        ] {
            assert!(refused(&schema).contains("refers to its own schema"), "{schema}");
        }
        let list = json!({"properties": {"next": {"$ref": "#"}, "all": {"items": {"$ref": "#"}}}});
        assert_eq!(graph(&list).expect("a tree").len(), 4);
    }

    #[test]
    fn percent_encoded_references_are_resolved() {
        let schema = json!({"$defs": {"a b": {"type": "integer"}}, "items": {"$ref": "#/%24defs/a%20b"}});
        assert!(graph(&schema).expect("a good schema").node(0).has_locations);
        for lost in ["#/$defs/none", "#named", "other.json", "https://json-schema.org/draft/2020-12/schema", ""] {
            assert!(refused(&json!({"items": {"$ref": lost}})).contains("does not refer to a part"), "{lost}");
        }
    }

    #[test]
    fn references_by_name_are_rejected() {
        for keyword in ["$id", "$anchor", "$dynamicRef", "$dynamicAnchor"] {
            assert!(refused(&json!({"items": {keyword: "x"}})).contains("is not supported"), "{keyword}");
        }
    }
}
