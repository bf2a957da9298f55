//! The manifest of a bundle: its block types with their schemas and operations, and the
//! capabilities that it requests. The manifest is embedded in the bundle's component file.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::argument;
use crate::capability::Capability;
use crate::digest::Digest;
use crate::effect::Effect;
use crate::graph::Budget;
use crate::name::{BundleName, TypeSlug};
use crate::operation::{Operation, shortfalls};
use crate::origin::SafeRequest;
use crate::schema::{self, Schema, SchemaError};
use crate::sql;

/// Version of the manifest format.
pub const MANIFEST_FORMAT: u32 = 1;
/// Version of the interface between host and bundle (`schemas/wit/v0_1`).
pub const WIT_VERSION: &str = "0.1";

/// A validated manifest.
#[derive(Debug)]
pub struct Manifest {
    /// Name of the bundle.
    pub name: BundleName,
    /// Version of the bundle.
    pub version: Version,
    /// One-line description, for display.
    pub description: String,
    /// SPDX license expression.
    pub license: Option<String>,
    /// URL of the home page.
    pub homepage: Option<String>,
    /// URL of the source code.
    pub source: Option<String>,
    /// Capabilities that the bundle requests.
    pub capabilities: BTreeSet<Capability>,
    /// Block types that the bundle defines, at least one.
    pub types: Vec<BlockType>,
}

/// Definition of the contents and the operations of a block.
#[derive(Debug)]
pub struct BlockType {
    /// Slug, unique in a yard.
    pub slug: TypeSlug,
    /// Version of the type, from 1. The bundle's `migrate` converts configurations of older
    /// versions.
    pub version: u32,
    /// Title, for display: `SQL database`.
    pub title: String,
    /// Description of one paragraph, for display.
    pub description: String,
    /// Schema of a block's configuration.
    pub schema: Schema,
    /// Names of the standard interfaces that the type implements.
    pub interfaces: Vec<String>,
    /// Operations of a block.
    pub operations: Vec<Operation>,
    /// SHA-256 of schema, operations and interfaces without descriptions (canonical JSON, RFC
    /// 8785).
    pub checksum: Digest,
}

/// Error for an invalid manifest, with all its problems.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the manifest is not valid: {}", problems.join("; "))]
pub struct ManifestError {
    /// Description of each problem.
    pub problems: Vec<String>,
}

/// The serialized manifest, as stored in the component file and returned by `describe`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestFormat {
    manifest: u32,
    name: String,
    version: String,
    wit: String,
    #[serde(default)]
    description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    license: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    homepage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default)]
    capabilities: Vec<String>,
    types: Vec<TypeFormat>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeFormat {
    slug: String,
    version: u32,
    #[serde(default)]
    title: String,
    #[serde(default)]
    description: String,
    schema: Value,
    #[serde(default)]
    interfaces: Vec<String>,
    #[serde(default)]
    operations: Vec<OperationFormat>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationFormat {
    name: String,
    #[serde(default)]
    description: String,
    effect: Effect,
    arguments: Value,
    result: Value,
    #[serde(default)]
    input: bool,
    #[serde(default)]
    output: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    safe: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    repeatable: bool,
}

/// Creates a schema of a manifest.
type Compile = fn(Value, &mut Budget) -> Result<Schema, SchemaError>;

impl Manifest {
    /// Parses and validates a manifest, which is guest-controlled.
    ///
    /// # Errors
    /// Returns [`ManifestError`] with all problems.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        Self::parse_with(text, Schema::compile_within)
    }

    /// Parses the manifest of an installed bundle, which [`parse`](Self::parse) has validated. Its
    /// schemas are compiled on first use.
    ///
    /// # Errors
    /// Returns [`ManifestError`] with all problems, except those of schemas that do not compile.
    pub fn parse_installed(text: &str) -> Result<Self, ManifestError> {
        Self::parse_with(text, Schema::compile_on_use)
    }

    fn parse_with(text: &str, compile: Compile) -> Result<Self, ManifestError> {
        let format: ManifestFormat =
            serde_json::from_str(text).map_err(|error| ManifestError { problems: vec![error.to_string()] })?;
        let mut problems = Vec::new();
        if format.manifest != MANIFEST_FORMAT {
            problems.push(format!(
                "manifest format {} is not supported; this version of Blockyard supports format {MANIFEST_FORMAT}",
                format.manifest
            ));
        }
        if format.wit != WIT_VERSION {
            problems.push(format!(
                "the bundle was built for interface version {}; this version of Blockyard supports {WIT_VERSION}",
                format.wit
            ));
        }
        let name = keep(BundleName::new(format.name), &mut problems);
        let version = keep(
            Version::parse(&format.version).map_err(|e| format!("version `{}`: {e}", format.version)),
            &mut problems,
        );
        let capabilities = format.capabilities.iter().filter_map(|text| keep(text.parse(), &mut problems)).collect();
        if format.types.is_empty() {
            problems.push("it defines no block type".to_owned());
        }
        let mut types: Vec<BlockType> = Vec::new();
        let mut budget = Budget::default();
        for described in format.types {
            let slug = described.slug.clone();
            let mut own = Vec::new();
            if let Some(block_type) = BlockType::check(described, compile, &mut budget, &mut own) {
                if types.iter().any(|other| other.slug == block_type.slug) {
                    own.push("is defined twice".to_owned());
                }
                types.push(block_type);
            }
            problems.extend(own.into_iter().map(|problem| format!("type `{slug}`: {problem}")));
        }
        match (name, version) {
            (Some(name), Some(version)) if problems.is_empty() => Ok(Self {
                name,
                version,
                description: format.description,
                license: format.license,
                homepage: format.homepage,
                source: format.source,
                capabilities,
                types,
            }),
            _ => Err(ManifestError { problems }),
        }
    }

    /// Returns true if the bundle requests this capability, or one that covers it.
    #[must_use]
    pub fn requests(&self, capability: &Capability) -> bool {
        self.capabilities.iter().any(|requested| requested.covers(capability))
    }

    /// Returns the block type with this slug.
    #[must_use]
    pub fn block_type(&self, slug: &TypeSlug) -> Option<&BlockType> {
        self.types.iter().find(|block_type| block_type.slug == *slug)
    }
}

impl BlockType {
    fn check(format: TypeFormat, compile: Compile, budget: &mut Budget, problems: &mut Vec<String>) -> Option<Self> {
        let checksum = checksum(&format);
        let slug = keep(TypeSlug::new(format.slug), problems);
        if format.version == 0 {
            problems.push("the version of a type must be at least 1".to_owned());
        }
        if format.schema.get("type").is_none_or(|t| t != "object")
            || format.schema.get("additionalProperties") != Some(&Value::Bool(false))
        {
            problems.push(
                "the schema must be of `\"type\": \"object\"` with `\"additionalProperties\": false`, so that unknown fields are refused".to_owned(),
            );
        }
        let schema = keep(compile(format.schema, budget), problems);
        problems.extend(schema.iter().flat_map(Schema::hidden_keywords));
        problems.extend(schema.iter().flat_map(sql::problems));
        let mut operations: Vec<Operation> = Vec::new();
        for described in format.operations {
            if TypeSlug::new(described.name.as_str()).is_err() {
                problems.push(format!("`{}` is not a valid operation name", described.name));
            }
            if operations.iter().any(|other| other.name == described.name) {
                problems.push(format!("operation `{}` is defined twice", described.name));
            }
            operations.extend(operation(described, compile, budget, problems));
        }
        for claimed in &format.interfaces {
            problems.extend(shortfalls(claimed, &operations));
        }
        Some(Self {
            slug: slug?,
            version: format.version,
            title: format.title,
            description: format.description,
            schema: schema?,
            interfaces: format.interfaces,
            operations,
            checksum,
        })
    }

    /// Returns the operation with this name.
    #[must_use]
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.name == name)
    }
}

/// Checks an operation, except for its name.
fn operation(
    format: OperationFormat,
    compile: Compile,
    budget: &mut Budget,
    problems: &mut Vec<String>,
) -> Option<Operation> {
    let OperationFormat { name, description, effect, arguments, result, input, output, safe, repeatable } = format;
    let mut schema_of = |part: &str, document: Value| {
        keep(compile(document, budget).map_err(|e| format!("operation `{name}`, {part}: {e}")), problems)
    };
    let arguments = schema_of("arguments", arguments);
    let result = schema_of("result", result);
    let of_arguments = arguments.iter().flat_map(argument::problems);
    problems.extend(of_arguments.map(|problem| format!("operation `{name}`: {problem}")));
    if effect != Effect::Read && !safe.is_empty() {
        problems.push(format!("operation `{name}` declares safe requests, but its effect is not `read`"));
    }
    if effect == Effect::Read && repeatable {
        problems.push(format!(
            "operation `{name}` is declared as repeatable, but its effect is `read`, which always is; remove `repeatable`"
        ));
    }
    let safe = safe
        .iter()
        .filter_map(|text| {
            let parsed: Result<SafeRequest, _> = text.parse();
            keep(parsed.map_err(|error| format!("operation `{name}`, safe request: {error}")), problems)
        })
        .collect();
    Some(Operation {
        arguments: arguments?,
        result: result?,
        name,
        description,
        effect,
        input,
        output,
        safe,
        repeatable,
    })
}

fn checksum(format: &TypeFormat) -> Digest {
    let operations: Vec<Value> = format
        .operations
        .iter()
        .map(|o| {
            let mut operation = json!({
                "name": o.name, "effect": o.effect, "arguments": o.arguments, "result": o.result,
                "input": o.input, "output": o.output,
            });
            if !o.safe.is_empty() {
                operation["safe"] = json!(o.safe);
            }
            if o.repeatable {
                operation["repeatable"] = json!(true);
            }
            operation
        })
        .collect();
    schema::checksum(&json!({
        "schema": format.schema, "operations": operations, "interfaces": format.interfaces,
    }))
}

fn keep<T, E: ToString>(result: Result<T, E>, problems: &mut Vec<String>) -> Option<T> {
    result.map_err(|error| problems.push(error.to_string())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Value {
        json!({
            "manifest": 1, "name": "zoo", "version": "0.1.0", "wit": "0.1", "capabilities": ["log"],
            "types": [{
                "slug": "cage", "version": 1, "title": "Cage",
                "schema": {"type": "object", "additionalProperties": false, "properties": {"bars": {"type": "integer"}}},
                "operations": [{"name": "open", "effect": "write", "arguments": {"type": "object"}, "result": {"type": "null"}}]
            }]
        })
    }

    #[test]
    fn a_valid_manifest_is_accepted() {
        let read = Manifest::parse(&manifest().to_string()).expect("good");
        assert_eq!(read.types[0].operations[0].effect, Effect::Write);
    }

    #[test]
    fn all_problems_come_at_once() {
        let mut bad = manifest();
        bad["name"] = json!("Zoo");
        bad["version"] = json!("1");
        bad["capabilities"] = json!(["files"]);
        bad["types"][0]["interfaces"] = json!(["database", "zoo-keeper"]);
        bad["types"][0]["schema"]["additionalProperties"] = json!(true);
        let problems = Manifest::parse(&bad.to_string()).expect_err("must be refused").problems;
        let has = |words: &str| assert!(problems.iter().any(|p| p.contains(words)), "{words}: {problems:#?}");
        has("`Z`");
        has("version `1`");
        has("`files` is not a capability");
        has("interface `database` has an operation `query`");
        has("interface `zoo-keeper` is not known");
        has("additionalProperties");
    }

    #[test]
    fn repeatable_operations_write() {
        let mut repeatable = manifest();
        repeatable["types"][0]["operations"][0]["repeatable"] = json!(true);
        let read = |m: &Value| Manifest::parse(&m.to_string()).expect("good");
        let (before, after) = (read(&manifest()), read(&repeatable));
        assert!(!before.types[0].operations[0].is_repeatable() && after.types[0].operations[0].is_repeatable());
        assert_ne!(before.types[0].checksum, after.types[0].checksum);

        let mut explicit = manifest();
        explicit["types"][0]["operations"][0]["repeatable"] = json!(false);
        assert_eq!(read(&explicit).types[0].checksum, before.types[0].checksum);

        repeatable["types"][0]["operations"][0]["effect"] = json!("read");
        let problems = Manifest::parse(&repeatable.to_string()).expect_err("must be refused").problems;
        assert_eq!(
            problems,
            [
                "type `cage`: operation `open` is declared as repeatable, but its effect is `read`, which always is; remove `repeatable`"
            ]
        );
    }

    #[test]
    fn keywords_of_arguments_are_checked_and_part_of_the_checksum() {
        let with = |keyword: &str, value: Value| {
            let mut manifest = manifest();
            let mut argument = json!({"type": "string"});
            argument[keyword] = value;
            manifest["types"][0]["operations"][0]["arguments"] =
                json!({"type": "object", "properties": {"a": argument}});
            Manifest::parse(&manifest.to_string())
        };
        let sum = |manifest: Result<Manifest, ManifestError>| manifest.expect("good").types[0].checksum;
        let plain = sum(with("type", json!("string")));
        assert_ne!(plain, sum(with("x-language", json!("sql"))));
        assert_ne!(plain, sum(with("x-idempotency-key", json!(true))));
        let problems = with("x-language", json!("sqk")).expect_err("must be refused").problems;
        assert_eq!(
            problems,
            ["type `cage`: operation `open`: argument `a`, `x-language`: unknown language `sqk`; expected `sql`"]
        );
    }

    #[test]
    fn the_limits_apply_to_all_schemas_of_a_bundle() {
        let mut many = manifest();
        let one = many["types"][0]["operations"][0].clone();
        let operations: Vec<Value> = (0..200)
            .map(|number| {
                let mut operation = one.clone();
                operation["name"] = json!(format!("open-{number}"));
                operation["result"] = json!({"type": "string", "pattern": format!("^{number}$")});
                operation
            })
            .collect();
        many["types"][0]["operations"] = json!(operations);
        let problems = Manifest::parse(&many.to_string()).expect_err("must be refused").problems;
        assert!(problems.iter().any(|problem| problem.contains("128 regular expressions")), "{problems:#?}");
    }

    #[test]
    fn a_checksum_changes_with_an_effect_and_not_with_a_description() {
        let sum = |m: &Value| Manifest::parse(&m.to_string()).expect("good").types[0].checksum;
        let mut described = manifest();
        described["types"][0]["operations"][0]["description"] = json!("Opens it.");
        described["types"][0]["description"] = json!("A cage.");
        let mut changed = manifest();
        changed["types"][0]["operations"][0]["effect"] = json!("read");
        assert_eq!(sum(&manifest()), sum(&described));
        assert_ne!(sum(&manifest()), sum(&changed));
    }
}
