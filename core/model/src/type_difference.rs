//! Differences between the block types of two versions of a bundle: fields and operations, for
//! display before an upgrade. [`widening`](crate::widening) decides which changes need approval.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::manifest::{BlockType, Manifest};
use crate::operation::Operation;
use crate::pointer::Pointer;
use crate::schema::Schema;

/// Maximum number of levels of nested objects that are compared field by field.
const DEPTH: usize = 8;

/// Keywords that only affect the display.
const ANNOTATIONS: [&str; 5] = ["title", "description", "examples", "x-order", "$comment"];

/// Kind of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Differs {
    /// Only the new version defines it.
    Added,
    /// Only the old version defines it.
    Removed,
    /// Both versions define it, differently.
    Changed,
}

/// Differences of a block type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeDifference {
    /// Slug of the type.
    #[serde(rename = "type")]
    pub slug: String,
    /// Kind of the difference.
    pub change: Differs,
    /// Version of the type in the old bundle. `None` if the type is new.
    pub from_version: Option<u32>,
    /// Version of the type in the new bundle. `None` if the type is removed.
    pub version: Option<u32>,
    /// Fields that differ.
    pub fields: Vec<FieldDifference>,
    /// Operations that differ.
    pub operations: Vec<OperationDifference>,
}

/// Difference of a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDifference {
    /// Dotted path of the field; empty for the schema as a whole.
    pub field: String,
    /// Kind of the difference.
    pub change: Differs,
    /// True if the new version requires the field; for a removed field, if the old version did.
    pub required: bool,
    /// Keywords of the schema that differ, if the field is changed.
    pub keywords: Vec<String>,
}

/// Difference of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationDifference {
    /// Name of the operation.
    pub operation: String,
    /// Kind of the difference.
    pub change: Differs,
    /// Effect in the new version; for a removed operation, in the old version.
    pub effect: String,
    /// Parts that differ, if the operation is changed: `effect`, `arguments`, `result`, `input`,
    /// `output`, `safe`, `repeatable`.
    pub parts: Vec<String>,
}

/// Returns the differences between the types of two versions. Types that are equal except for
/// descriptions are omitted.
#[must_use]
pub fn type_differences(new: &Manifest, old: &Manifest) -> Vec<TypeDifference> {
    let mut found = Vec::new();
    for block_type in &new.types {
        match old.block_type(&block_type.slug) {
            None => found.push(whole(block_type, Differs::Added)),
            Some(before) if before.checksum == block_type.checksum && before.version == block_type.version => {}
            Some(before) => found.push(TypeDifference {
                slug: block_type.slug.to_string(),
                change: Differs::Changed,
                from_version: Some(before.version),
                version: Some(block_type.version),
                fields: fields(&block_type.schema, &before.schema),
                operations: operations(block_type, before),
            }),
        }
    }
    let removed = old.types.iter().filter(|before| new.block_type(&before.slug).is_none());
    found.extend(removed.map(|before| whole(before, Differs::Removed)));
    found
}

/// Returns the difference of a type that only one version defines.
fn whole(block_type: &BlockType, change: Differs) -> TypeDifference {
    let version = |wanted| (change == wanted).then_some(block_type.version);
    TypeDifference {
        slug: block_type.slug.to_string(),
        change,
        from_version: version(Differs::Removed),
        version: version(Differs::Added),
        fields: Vec::new(),
        operations: Vec::new(),
    }
}

fn fields(new: &Schema, old: &Schema) -> Vec<FieldDifference> {
    let mut comparison = Comparison { new, old, found: Vec::new() };
    let root = |schema: &Schema| schema.document().as_object().cloned().unwrap_or_default();
    comparison.object(&root(new), &root(old), &Pointer::default(), 0);
    let Comparison { mut found, .. } = comparison;
    let mut keywords = differing(&root(new), &root(old), &["properties", "required", "$defs"]);
    // A change inside a shared definition that no field shows by itself.
    if found.is_empty() && new.document().get("$defs") != old.document().get("$defs") {
        keywords.push("$defs".to_owned());
    }
    if !keywords.is_empty() {
        found.push(FieldDifference { field: String::new(), change: Differs::Changed, required: true, keywords });
    }
    found
}

struct Comparison<'a> {
    new: &'a Schema,
    old: &'a Schema,
    found: Vec<FieldDifference>,
}

impl Comparison<'_> {
    /// Compares the members of two object schemas.
    fn object(&mut self, new: &Map<String, Value>, old: &Map<String, Value>, at: &Pointer, depth: usize) {
        let names: BTreeSet<&String> = members(new).chain(members(old)).collect();
        for name in names {
            let field = at.child(name);
            let (now, before) = (member(new, name), member(old, name));
            let (change, required) = match (now, before) {
                (Some(now), Some(before)) => {
                    let (now, before) = (resolved(self.new, now), resolved(self.old, before));
                    let nested = now.contains_key("properties") && before.contains_key("properties") && depth < DEPTH;
                    let skipped: &[&str] = if nested { &["properties", "required"] } else { &[] };
                    let mut keywords = differing(&now, &before, skipped);
                    let required = is_required(new, name);
                    if required != is_required(old, name) {
                        keywords.push("required".to_owned());
                    }
                    if nested {
                        self.object(&now, &before, &field, depth + 1);
                    }
                    if !keywords.is_empty() {
                        let (field, change) = (field.dotted(), Differs::Changed);
                        self.found.push(FieldDifference { field, change, required, keywords });
                    }
                    continue;
                }
                (Some(_), None) => (Differs::Added, is_required(new, name)),
                _ => (Differs::Removed, is_required(old, name)),
            };
            self.found.push(FieldDifference { field: field.dotted(), change, required, keywords: Vec::new() });
        }
    }
}

fn members(schema: &Map<String, Value>) -> impl Iterator<Item = &String> {
    schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys)
}

fn member<'a>(schema: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

fn is_required(schema: &Map<String, Value>, name: &str) -> bool {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().any(|required| required == name)
}

/// Returns the keywords of a field, with `$ref` resolved.
fn resolved(schema: &Schema, field: &Value) -> Map<String, Value> {
    schema.resolve(field).cloned().unwrap_or_default()
}

/// Returns the names of the keywords that differ, except for annotations and those in `skipped`.
fn differing(new: &Map<String, Value>, old: &Map<String, Value>, skipped: &[&str]) -> Vec<String> {
    let names: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    let counts = |name: &&&String| !ANNOTATIONS.contains(&name.as_str()) && !skipped.contains(&name.as_str());
    names.iter().filter(counts).filter(|name| new.get(**name) != old.get(**name)).map(ToString::to_string).collect()
}

fn operations(new: &BlockType, old: &BlockType) -> Vec<OperationDifference> {
    let difference = |operation: &Operation, change, parts| OperationDifference {
        operation: operation.name.clone(),
        change,
        effect: operation.effect.to_string(),
        parts,
    };
    let mut found = Vec::new();
    for operation in &new.operations {
        match old.operation(&operation.name) {
            None => found.push(difference(operation, Differs::Added, Vec::new())),
            Some(before) => {
                let parts = parts(operation, before);
                if !parts.is_empty() {
                    found.push(difference(operation, Differs::Changed, parts));
                }
            }
        }
    }
    let removed = old.operations.iter().filter(|before| new.operation(&before.name).is_none());
    found.extend(removed.map(|before| difference(before, Differs::Removed, Vec::new())));
    found
}

fn parts(new: &Operation, old: &Operation) -> Vec<String> {
    let same_schema =
        |new: &Schema, old: &Schema| crate::schema::checksum(new.document()) == crate::schema::checksum(old.document());
    let all = [
        ("effect", new.effect == old.effect),
        ("arguments", same_schema(&new.arguments, &old.arguments)),
        ("result", same_schema(&new.result, &old.result)),
        ("input", new.input == old.input),
        ("output", new.output == old.output),
        ("safe", new.safe == old.safe),
        ("repeatable", new.repeatable == old.repeatable),
    ];
    all.into_iter().filter(|(_, same)| !same).map(|(part, _)| part.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn manifest(version: u32, schema: Value, operations: Value) -> Manifest {
        let text = json!({
            "manifest": 1, "name": "zoo", "version": format!("{version}.0.0"), "wit": "0.1", "capabilities": [],
            "types": [{"slug": "cage", "version": version, "schema": schema, "operations": operations}],
        });
        Manifest::parse(&text.to_string()).expect("a good manifest")
    }

    #[test]
    fn fields_and_operations_are_compared() {
        let place = json!({"type": "object", "properties": {"house": {"type": "string"}}});
        let old = manifest(
            1,
            json!({"type": "object", "additionalProperties": false, "required": ["animal"], "properties": {
                "animal": {"type": "string", "description": "Animal."},
                "address": {"type": "string"},
                "place": {"$ref": "#/$defs/place"},
            }, "$defs": {"place": place}}),
            json!([
                {"name": "look", "effect": "read", "arguments": {"type": "object"}, "result": {}},
                {"name": "open", "effect": "write", "arguments": {"type": "object"}, "result": {}},
            ]),
        );
        let place = json!({"type": "object", "required": ["code"], "properties": {
            "house": {"type": "string", "minLength": 1}, "code": {"type": "string"},
        }});
        let new = manifest(
            2,
            json!({"type": "object", "additionalProperties": false, "required": ["region"], "properties": {
                "animal": {"type": "string", "description": "Species."},
                "region": {"type": "string"},
                "place": {"$ref": "#/$defs/spot"},
            }, "$defs": {"spot": place}}),
            json!([
                {"name": "look", "effect": "write", "arguments": {"type": "object"}, "result": {"type": "string"}},
                {"name": "feed", "effect": "write", "arguments": {"type": "object"}, "result": {}},
            ]),
        );
        let differences = type_differences(&new, &old);
        let lines: Vec<String> = differences[0]
            .fields
            .iter()
            .map(|field| format!("{} {:?} {} {:?}", field.field, field.change, field.required, field.keywords))
            .chain(
                differences[0]
                    .operations
                    .iter()
                    .map(|operation| format!("{} {:?} {:?}", operation.operation, operation.change, operation.parts)),
            )
            .collect();
        expect![[r#"
            address Removed false []
            animal Changed false ["required"]
            place.code Added true []
            place.house Changed false ["minLength"]
            region Added true []
            look Changed ["effect", "result"]
            feed Added []
            open Removed []"#]]
        .assert_eq(&lines.join("\n"));
        assert_eq!(type_differences(&old, &old), []);
    }
}
