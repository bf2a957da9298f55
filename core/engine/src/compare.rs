//! Compares two documents. For a secret, it reports only that the secret differs.

use std::collections::BTreeSet;

use blockyard_model::marker::{SOURCE_MARKER, is_secret, masked};
use blockyard_model::{Pointer, SplitDocument};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Dotted path of the field.
    pub field: String,
    /// Kind of difference.
    pub change: Change,
    /// `true` if the field is a secret. `before` and `after` then contain at most the name of its
    /// source.
    pub secret: bool,
    /// Value in the first document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Value in the second document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// The field was added.
    Added,
    /// The field was removed.
    Removed,
    /// The value was changed.
    Changed,
}

/// Returns the differences, sorted by field.
pub(crate) fn compare(before: &SplitDocument, after: &SplitDocument) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    let both = Both { before, after };
    both.walk(Some(&before.config), Some(&after.config), &Pointer::default(), &mut changes);
    changes
}

struct Both<'a> {
    before: &'a SplitDocument,
    after: &'a SplitDocument,
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
        // Sealed secrets have equal markers, so their values must be compared as well.
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
            if secret { value.get(SOURCE_MARKER).cloned() } else { Some(masked(value)) }
        };
        changes.push(FieldChange { field: at.dotted(), change, secret, before: shown(old), after: shown(new) });
    }
}
