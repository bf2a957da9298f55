//! The fields of a form as a list, for overviews.

use serde_json::{Value, json};

use super::field::{Field, Form, Kind};
use crate::limits;
use crate::pointer::Pointer;
use crate::reference::PermittedTarget;
use crate::schema::Schema;

/// Maximum depth at which the members of a group become separate fields.
const MAX_DEPTH: usize = 8;

/// A field of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct FlatField {
    /// Location of the value in the document.
    pub pointer: Pointer,
    /// Description of the field. Empty if the schema has none.
    pub description: String,
    /// Kind of the value.
    pub kind: FieldKind,
    /// True if the document must contain the field.
    pub required: bool,
    /// Value that applies if the document does not contain the field.
    pub default: Option<Value>,
}

/// Kind of a field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldKind {
    /// A string.
    Text,
    /// An integer.
    Integer,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// One of these values.
    Choice(Vec<String>),
    /// A string that is not displayed.
    Secret,
    /// A reference to a block, of which one of these targets must match.
    Reference(Vec<PermittedTarget>),
    /// Any other value, as JSON.
    Json,
}

/// Returns the fields of a configuration that apply before any of them is answered. A required group
/// is replaced by its members. Required fields precede optional ones, in the order of `x-order` and
/// of the schema.
#[must_use]
pub fn fields(schema: &Schema) -> Vec<FlatField> {
    let form = Form::new(schema);
    let mut found = Vec::new();
    collect(&form.root(), 0, &mut found);
    found
}

fn collect(group: &Field<'_>, depth: usize, found: &mut Vec<FlatField>) {
    for field in group.members_of(&json!({})) {
        if found.len() >= limits::FORM_FIELDS {
            return;
        }
        if field.required && field.kind == Kind::Group && depth < MAX_DEPTH {
            collect(&field, depth + 1, found);
            continue;
        }
        let words = |word: &super::view::Word<'_>| word.value.as_str().map(str::to_owned);
        found.push(FlatField {
            kind: match &field.kind {
                Kind::Text { .. } => FieldKind::Text,
                Kind::Integer => FieldKind::Integer,
                Kind::Number => FieldKind::Number,
                Kind::Boolean => FieldKind::Boolean,
                Kind::Secret => FieldKind::Secret,
                Kind::Reference(targets) => FieldKind::Reference(targets.clone()),
                Kind::Choice(choice) => {
                    choice.iter().map(words).collect::<Option<_>>().map_or(FieldKind::Json, FieldKind::Choice)
                }
                Kind::Group | Kind::List | Kind::Map | Kind::Variant(_) | Kind::Constant(_) | Kind::Json => {
                    FieldKind::Json
                }
            },
            pointer: field.pointer,
            description: field.description,
            required: field.required,
            default: field.default.cloned(),
        });
    }
}
