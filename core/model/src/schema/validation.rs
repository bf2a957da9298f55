//! Converts errors of the JSON Schema validator into violations: with their location, a suggestion,
//! and without the values of secrets.

use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::keywords;
use crate::limits;
use crate::name::printable;
use crate::pointer::Pointer;
use crate::suggestion::did_you_mean;
use crate::value::{kind, plain};
use crate::violation::Violation;

/// Maximum number of enum values that a message lists.
const WORDS: usize = 50;

/// Converts validation errors of a document that contains placeholders.
pub(crate) struct ErrorConverter<'a> {
    /// Schema of the document.
    pub(crate) document: &'a Value,
    /// Locations of placeholders with the length of a sealed secret.
    pub(crate) sealed: &'a [Pointer],
    /// Locations at which any value is accepted.
    pub(crate) unvalidated: &'a [Pointer],
}

impl ErrorConverter<'_> {
    /// Returns true if an error concerns the document rather than a placeholder.
    fn counts(&self, error: &jsonschema::ValidationError<'_>) -> bool {
        let location = Pointer::new(error.instance_path().as_str());
        // A placeholder has only the type and the length of its secret.
        let content = matches!(
            error.kind(),
            ValidationErrorKind::Pattern { .. }
                | ValidationErrorKind::Format { .. }
                | ValidationErrorKind::Enum { .. }
                | ValidationErrorKind::Constant { .. }
        );
        let of_placeholder = content && self.sealed.contains(&location);
        !of_placeholder && !self.is_unvalidated(&location)
    }

    /// Returns true if the value at this location is not validated.
    pub(crate) fn is_unvalidated(&self, location: &Pointer) -> bool {
        self.unvalidated.iter().any(|other| location.is_within(other))
    }

    pub(crate) fn describe(&self, error: &jsonschema::ValidationError<'_>, violations: &mut Vec<Violation>) {
        if !self.counts(error) {
            return;
        }
        let location = Pointer::new(error.instance_path().as_str());
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = keywords::known_fields(self.document, error.schema_path().as_str());
                for field in unexpected.iter().take(limits::DOCUMENT_VIOLATIONS) {
                    violations.push(Violation {
                        pointer: location.child(field),
                        message: format!("unknown field `{}`", printable(field)),
                        hint: did_you_mean(field, known.iter().map(String::as_str)),
                    });
                }
            }
            ValidationErrorKind::Required { property } => {
                let field = property.as_str().unwrap_or_default();
                violations.push(Violation::new(location.child(field), "is missing, and it is required"));
            }
            ValidationErrorKind::Enum { options } => {
                let options: Vec<String> = match options.as_ref() {
                    Value::Array(options) => options.iter().map(plain).collect(),
                    _ => Vec::new(),
                };
                violations.push(none_of(location, &options, error.instance()));
            }
            ValidationErrorKind::MinLength { limit } => {
                violations.push(Violation::new(location, format!("must have at least {limit} characters")));
            }
            ValidationErrorKind::MaxLength { limit } => {
                violations.push(Violation::new(location, format!("must have at most {limit} characters")));
            }
            ValidationErrorKind::Type { .. } => {
                let expected = keywords::at(self.document, error.schema_path().as_str())
                    .map(|types| match types {
                        Value::Array(types) => types.iter().map(plain).collect::<Vec<_>>().join("` or `"),
                        single => plain(single),
                    })
                    .unwrap_or_default();
                violations.push(Violation::new(
                    location,
                    format!("must be of type `{expected}`, not `{}`", kind(error.instance())),
                ));
            }
            ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
                self.describe_branches(error, location, context, violations);
            }
            // The library's message for all other errors, without the value, because it may contain
            // a secret.
            _ => violations.push(Violation::new(location, error.masked_with("the value").to_string())),
        }
    }

    /// Describes a value that matches no branch: reports the errors of the branch that was most
    /// likely intended.
    fn describe_branches(
        &self,
        error: &jsonschema::ValidationError<'_>,
        location: Pointer,
        context: &[Vec<jsonschema::ValidationError<'static>>],
        violations: &mut Vec<Violation>,
    ) {
        let branches: Vec<Vec<&jsonschema::ValidationError<'_>>> =
            context.iter().map(|branch| branch.iter().filter(|error| self.counts(error)).collect()).collect();
        // A branch with errors in placeholders only is a match.
        if branches.iter().any(Vec::is_empty) {
            return;
        }
        // A branch that requires another type, such as `null`, was not intended.
        let other_type = |error: &&jsonschema::ValidationError<'_>| {
            matches!(error.kind(), ValidationErrorKind::Type { .. })
                && error.instance_path().as_str() == location.as_str()
        };
        let close: Vec<_> = branches.iter().filter(|branch| !branch.iter().any(other_type)).collect();
        // Neither was a variant with another value in its tag.
        let word = |error: &&&jsonschema::ValidationError<'_>| match error.kind() {
            ValidationErrorKind::Constant { expected_value } => Some(plain(expected_value)),
            _ => None,
        };
        let meant: Vec<_> =
            close.iter().filter(|branch| branch.iter().find_map(|error| word(&error)).is_none()).collect();
        match (meant.as_slice(), close.as_slice()) {
            ([only], _) => only.iter().for_each(|error| self.describe(error, violations)),
            ([], [first, ..]) => {
                let tag = first.iter().find(|error| word(error).is_some());
                let words: Vec<String> =
                    close.iter().filter_map(|branch| branch.iter().find_map(|error| word(&error))).collect();
                let at = tag.map_or(location, |tag| Pointer::new(tag.instance_path().as_str()));
                let given = tag.map_or(error.instance(), |tag| tag.instance());
                violations.push(none_of(at, &words, given));
            }
            _ => violations.push(Violation::new(location, error.masked_with("the value").to_string())),
        }
    }
}

/// Violation for a value that is not one of the permitted words.
fn none_of(pointer: Pointer, words: &[String], given: &Value) -> Violation {
    let shown = &words[..words.len().min(WORDS)];
    let more = if words.len() > WORDS { format!(" or {} others", words.len() - WORDS) } else { String::new() };
    Violation {
        pointer,
        message: format!("must be one of `{}`{more}", shown.join("`, `")),
        hint: did_you_mean(&plain(given), words.iter().map(String::as_str)),
    }
}
