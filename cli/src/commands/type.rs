//! `blockyard type`: describes a block type.

use blockyard::model::argument::{IDEMPOTENCY_KEY_KEYWORD, LANGUAGE_KEYWORD};
use blockyard::model::form::{self, FieldKind};
use blockyard::model::{Pointer, Schema, visible};
use blockyard::{Error, ErrorKind, Json, TypeSlug, TypeView};

use crate::arguments::Type;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: &Type, context: &Context) -> Outcome {
    let slug = TypeSlug::new(arguments.slug.as_str()).map_err(Error::from)?;
    let yard = context.open().await?;
    let view = yard.block_type(&slug).await?;
    if arguments.schema {
        context.terminal.json(&view.schema)?;
    } else {
        let schema = Schema::compile(view.schema.clone()).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("the stored schema of `{slug}` is corrupt")).because(error)
        })?;
        context.terminal.document(&view, || describe(&view, &schema))?;
    }
    yard.close().await;
    Ok(DONE)
}

fn describe(view: &TypeView, schema: &Schema) -> String {
    let mut text = format!(
        "{} ({}), version {}, of bundle {} {}{}\n{}\n",
        view.slug,
        visible::line(&view.title),
        view.version,
        view.bundle,
        view.bundle_version,
        if view.uninstalled { ", which is uninstalled" } else { "" },
        visible::paragraph(&view.description)
    );
    if !view.interfaces.is_empty() {
        text.push_str(&format!("implements {}\n", view.interfaces.join(", ")));
    }
    let fields = form::fields(schema);
    text.push_str("\nfields\n");
    for field in &fields {
        let kind = match &field.kind {
            FieldKind::Text => "text".to_owned(),
            FieldKind::Integer => "integer".to_owned(),
            FieldKind::Number => "number".to_owned(),
            FieldKind::Boolean => "boolean".to_owned(),
            FieldKind::Choice(words) => visible::line(&words.join(" | ")),
            FieldKind::Secret => "SECRET".to_owned(),
            FieldKind::Json => "JSON".to_owned(),
        };
        let required = if field.required { ", required" } else { "" };
        text.push_str(&format!(
            "  {}  ({kind}{required})\n      {}\n",
            visible::line(&field.pointer.dotted()),
            visible::paragraph(&field.description)
        ));
    }
    text.push_str("\noperations\n");
    for operation in view.operations.as_array().into_iter().flatten() {
        text.push_str(&describe_operation(operation));
    }
    if view.uninstalled {
        return text;
    }
    let flags: Vec<String> = fields
        .iter()
        .filter(|field| field.required)
        .map(|field| match &field.kind {
            FieldKind::Secret => format!("--secret {}", field.pointer.dotted()),
            FieldKind::Choice(words) => {
                format!("--set {}={}", field.pointer.dotted(), words.first().map_or("…", String::as_str))
            }
            _ => format!("--set {}={}", field.pointer.dotted(), example(schema, &field.pointer)),
        })
        .collect();
    text.push_str(&format!("\nexample\n  blockyard create {}/NAME {}\n", view.slug, visible::line(&flags.join(" "))));
    text
}

fn describe_operation(operation: &Json) -> String {
    let word = |key: &str| visible::paragraph(operation[key].as_str().unwrap_or_default());
    let repeatable = if operation["repeatable"] == true { ", repeatable" } else { "" };
    let mut text = format!("  {}  ({}{repeatable})\n      {}\n", word("name"), word("effect"), word("description"));
    for (name, argument) in operation["arguments"]["properties"].as_object().into_iter().flatten() {
        let description = argument["description"].as_str().unwrap_or_default();
        let language = argument[LANGUAGE_KEYWORD].as_str().map(|language| format!("language: {language}"));
        let key = argument[IDEMPOTENCY_KEY_KEYWORD].as_bool().filter(|is_key| *is_key);
        let marks: Vec<String> = language.into_iter().chain(key.map(|_| "idempotency key".to_owned())).collect();
        let marks = if marks.is_empty() { String::new() } else { format!("({}) ", visible::line(&marks.join(", "))) };
        text.push_str(&format!("      --{}  {marks}{}\n", visible::line(name), visible::paragraph(description)));
    }
    text
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
        let operation = json!({
            "name": "execute", "effect": "write", "repeatable": true, "description": "Runs it.\n\n- once",
            "arguments": {"properties": {
                "job_id": {"type": "string", "x-idempotency-key": true, "description": "ID."},
                "statement": {"type": "string", "x-language": "sql", "description": "Text."},
                "wait": {"type": "integer", "description": "Seconds."},
            }},
        });
        assert_eq!(
            describe_operation(&operation),
            "  execute  (write, repeatable)\n      Runs it. - once\n      --job_id  (idempotency key) ID.\n      \
             --statement  (language: sql) Text.\n      --wait  Seconds.\n"
        );
    }
}
