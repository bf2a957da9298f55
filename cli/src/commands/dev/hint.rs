//! The commands with which the user tries a bundle in the scratch yard from a second terminal.

use blockyard::model::{Schema, visible};
use blockyard::{Inspection, Json, TypeView};

use crate::definition::create_options;

/// Returns the commands that create and call a block of each type. `blocks` is the number of blocks of the bundle.
pub(super) fn first_steps(inspection: &Inspection, yard: &str, blocks: usize) -> String {
    let yard = quoted(yard);
    let mut text = "in a second terminal:".to_owned();
    for view in &inspection.definitions {
        if blocks == 0 {
            let options =
                Schema::compile(view.schema.clone()).map(|schema| create_options(&schema)).unwrap_or_default();
            let options: String = options.iter().map(|option| format!(" {}", visible::line(option))).collect();
            text.push_str(&format!("\n  blockyard create {}/NAME{options} --yard {yard}", view.slug));
        }
        if let Some(call) = call(view) {
            text.push_str(&format!("\n  blockyard call {}/NAME {call} --yard {yard}", view.slug));
        }
    }
    text
}

/// Returns the first operation of a type with its required arguments.
fn call(view: &TypeView) -> Option<String> {
    let operation = view.operations.as_array()?.first()?;
    let mut text = visible::line(operation["name"].as_str()?);
    for required in operation["arguments"]["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
        text.push_str(&format!(" --{} …", visible::line(required)));
    }
    Some(text)
}

/// Quotes a word for a shell if necessary.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/:._-=@,+".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell_are_quoted() {
        assert_eq!(quoted("sqlite:/a/b-1.db"), "sqlite:/a/b-1.db");
        assert_eq!(quoted("sqlite:/a b/it's"), r"'sqlite:/a b/it'\''s'");
    }
}
