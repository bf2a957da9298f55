//! What differs between two documents. Of a secret it says that it differs, never more.

use std::collections::BTreeSet;

use blockyard_model::document::{SECRET_MARKER, SOURCE_MARKER};
use blockyard_model::{Pointer, SealedDocument};
use serde::Serialize;
use serde_json::Value;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// The field, as on a command line.
    pub field: String,
    /// How it differs.
    pub change: Change,
    /// Whether it is a secret: then neither value is here, but a source's name is.
    pub secret: bool,
    /// What was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// How a field differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It was another one.
    Changed,
}

/// What differs, in the order of the fields.
pub(crate) fn compare(before: &SealedDocument, after: &SealedDocument) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    let both = Both { before, after };
    both.walk(Some(&before.config), Some(&after.config), &Pointer::default(), &mut changes);
    changes
}

struct Both<'a> {
    before: &'a SealedDocument,
    after: &'a SealedDocument,
}

impl Both<'_> {
    fn walk(&self, old: Option<&Value>, new: Option<&Value>, at: &Pointer, changes: &mut Vec<FieldChange>) {
        match (old, new) {
            (Some(Value::Object(old)), Some(Value::Object(new)))
                if !is_secret(&Value::Object(old.clone())) && !is_secret(&Value::Object(new.clone())) =>
            {
                let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                for key in keys {
                    self.walk(old.get(key), new.get(key), &at.child(key), changes);
                }
            }
            (Some(Value::Array(old)), Some(Value::Array(new))) => {
                for index in 0..old.len().max(new.len()) {
                    self.walk(old.get(index), new.get(index), &at.child(&index.to_string()), changes);
                }
            }
            _ => self.leaf(old, new, at, changes),
        }
    }

    fn leaf(&self, old: Option<&Value>, new: Option<&Value>, at: &Pointer, changes: &mut Vec<FieldChange>) {
        let secret = [old, new].into_iter().flatten().any(is_secret);
        // Two sealed secrets look alike; whether they are is in their values.
        if old == new && (!secret || self.before.secrets.get(at) == self.after.secrets.get(at)) {
            return;
        }
        let change = match (old, new) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Changed,
        };
        let shown = |value: Option<&Value>| {
            let value = value?;
            if secret { value.get(SOURCE_MARKER).cloned() } else { Some(blockyard_model::document::masked(value)) }
        };
        changes.push(FieldChange { field: at.dotted(), change, secret, before: shown(old), after: shown(new) });
    }
}

fn is_secret(value: &Value) -> bool {
    value.get(SECRET_MARKER).is_some() || value.get(SOURCE_MARKER).is_some()
}
