//! Text of block types and manifests. All commands that describe a bundle or a type use it, so that they agree.

use blockyard::model::form::{self, FieldKind};
use blockyard::model::reference::PermittedTarget;
use blockyard::model::{Pointer, Schema, visible};
use blockyard::{CapabilityView, Json, TypeView};

pub(crate) mod outline;

/// The parts of a manifest that follow the facts about a bundle.
pub(crate) struct Manifest<'a> {
    pub(crate) license: Option<&'a str>,
    pub(crate) homepage: Option<&'a str>,
    pub(crate) repository: Option<&'a str>,
    pub(crate) capabilities: &'a [CapabilityView],
    /// Slugs of the block types, listed if their definitions are not known.
    pub(crate) types: &'a [String],
    pub(crate) definitions: &'a [TypeView],
}

impl Manifest<'_> {
    /// Returns the text of the manifest: a fact or a heading in each line, block types with their fields and
    /// operations.
    pub(crate) fn text(&self) -> String {
        let mut text = fact("license", self.license.unwrap_or_default());
        text.push_str(&fact("home page", self.homepage.unwrap_or_default()));
        text.push_str(&fact("repository", self.repository.unwrap_or_default()));
        text.push_str("capabilities:\n");
        for capability in self.capabilities {
            let (name, explanation) = (visible::line(&capability.capability), visible::line(&capability.explanation));
            text.push_str(&format!("  {name}: {explanation}\n"));
        }
        text.push_str("block types:\n");
        if self.definitions.is_empty() {
            text.extend(self.types.iter().map(|slug| format!("  {}\n", visible::line(slug))));
        }
        text.extend(self.definitions.iter().map(block_type));
        text
    }
}

/// Returns the line of a fact about a bundle. Empty if the value is empty.
pub(crate) fn fact(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("  {name:12}  {}\n", visible::line(value)) }
}

fn block_type(view: &TypeView) -> String {
    let mut text = format!(
        "  {} ({}), version {}: {}\n",
        view.slug,
        visible::line(&view.title),
        view.version,
        visible::paragraph(&view.description)
    );
    if !view.interfaces.is_empty() {
        text.push_str(&format!("    implements {}\n", visible::line(&view.interfaces.join(", "))));
    }
    let fields = outline::fields(&view.schema, "      ");
    text.push_str(if fields.is_empty() { "" } else { "    fields\n" });
    text.push_str(&fields);
    let operations = operations(&view.operations, "      ");
    text.push_str(if operations.is_empty() { "" } else { "    operations\n" });
    text + &operations
}

/// Returns the operations of a type, each with its effect, its description, its arguments, and the requests
/// that it declares safe.
pub(crate) fn operations(operations: &Json, indent: &str) -> String {
    let mut text = String::new();
    for operation in operations.as_array().into_iter().flatten() {
        let word = |key: &str| visible::paragraph(operation[key].as_str().unwrap_or_default());
        let repeatable = if operation["repeatable"] == true { ", repeatable" } else { "" };
        text.push_str(&format!(
            "{indent}{}  ({}{repeatable})\n{indent}    {}\n",
            word("name"),
            word("effect"),
            word("description")
        ));
        text.push_str(&outline::arguments(&operation["arguments"], &format!("{indent}    ")));
        for safe in operation["safe"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            text.push_str(&format!("{indent}    sends `{}`, declared safe\n", visible::line(safe)));
        }
    }
    text
}

/// Returns the options of `create` for the required fields of a configuration, with example values.
pub(crate) fn create_options(schema: &Schema) -> Vec<String> {
    let required = form::fields(schema).into_iter().filter(|field| field.required);
    let options = required.map(|field| match &field.kind {
        FieldKind::Secret => format!("--secret {}", field.pointer.dotted()),
        FieldKind::Choice(words) => {
            format!("--set {}={}", field.pointer.dotted(), words.first().map_or("…", String::as_str))
        }
        FieldKind::Reference(targets) => {
            let slug = targets.iter().find_map(|target| match target {
                PermittedTarget::Type(slug) => Some(slug.as_str()),
                PermittedTarget::Interface(_) => None,
            });
            format!("--set {}={}/NAME", field.pointer.dotted(), slug.unwrap_or("TYPE"))
        }
        _ => format!("--set {}={}", field.pointer.dotted(), example(schema, &field.pointer)),
    });
    options.collect()
}

/// Returns the first example value of a field in the schema.
fn example(schema: &Schema, pointer: &Pointer) -> String {
    let examples = schema.field(pointer).and_then(|keywords| keywords.get("examples")).and_then(Json::as_array);
    match examples.and_then(|examples| examples.first()) {
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_of_operations_and_arguments_are_shown() {
        let list = json!([{
            "name": "execute", "effect": "write", "repeatable": true, "description": "Runs it.\n\n- once",
            "arguments": {"properties": {
                "job_id": {"type": "string", "x-idempotency-key": true, "description": "ID."},
                "statement": {"type": "string", "x-language": "sql", "description": "Text."},
                "wait": {"type": "integer", "description": "Seconds."},
            }},
        }]);
        let text = operations(&list, "  ");
        assert!(text.starts_with("  execute  (write, repeatable)\n      Runs it. - once\n"), "{text}");
        assert!(text.contains("      --job_id  (text, idempotency key)\n          ID.\n"), "{text}");
    }
}
