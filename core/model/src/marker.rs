//! Markers in place of the secrets of a stored document: `{"$secret": "<JSON Pointer>"}` for a
//! sealed secret, `{"$source": "env:NAME"}` for one that is read at call time.

use serde_json::{Map, Value, json};

use crate::pointer::Pointer;
use crate::secret::{MASK, SecretSource};

/// Marker key of a sealed secret in a stored document.
pub const SECRET_MARKER: &str = "$secret";
/// Marker key of a secret source in a stored document.
pub const SOURCE_MARKER: &str = "$source";

/// Returns `{"$secret": pointer}`.
#[must_use]
pub fn secret_marker(pointer: &Pointer) -> Value {
    json!({ SECRET_MARKER: pointer.as_str() })
}

/// Returns `{"$source": source}`.
#[must_use]
pub fn source_marker(source: &SecretSource) -> Value {
    json!({ SOURCE_MARKER: source.to_string() })
}

/// Returns the document in the form that is displayed to users: sealed secrets are masked by
/// asterisks.
#[must_use]
pub fn masked(config: &Value) -> Value {
    match config {
        Value::Object(object) if is_marker(object, SECRET_MARKER) => Value::from(MASK),
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), masked(value))).collect(),
        Value::Array(array) => array.iter().map(masked).collect(),
        other => other.clone(),
    }
}

/// Returns the document in the form that a bundle receives: every secret, sealed or read from a
/// source, is replaced by `{"$secret": pointer}`.
#[must_use]
pub fn handles(config: &Value) -> Value {
    let mut document = config.clone();
    visit(config, &Pointer::default(), &mut |pointer, value| {
        if source(value).is_some()
            && let Some(slot) = document.pointer_mut(pointer.as_str())
        {
            *slot = secret_marker(pointer);
        }
    });
    document
}

pub(crate) fn is_marker(object: &Map<String, Value>, marker: &str) -> bool {
    object.len() == 1 && object.get(marker).is_some_and(Value::is_string)
}

/// Returns true if the value is the marker of a secret, sealed or read from a source.
#[must_use]
pub fn is_secret(value: &Value) -> bool {
    let marks = |object| is_marker(object, SECRET_MARKER) || is_marker(object, SOURCE_MARKER);
    value.as_object().is_some_and(marks)
}

/// Returns the locations of all secrets of a document, sealed or read from a source.
#[must_use]
pub fn secrets(config: &Value) -> Vec<Pointer> {
    located(config, is_secret)
}

/// Returns the locations of all sealed secrets of a document.
#[must_use]
pub fn sealed_secrets(config: &Value) -> Vec<Pointer> {
    located(config, |value| value.as_object().is_some_and(|object| is_marker(object, SECRET_MARKER)))
}

fn located(config: &Value, matches: impl Fn(&Value) -> bool) -> Vec<Pointer> {
    let mut found = Vec::new();
    visit(config, &Pointer::default(), &mut |pointer, value| {
        if matches(value) {
            found.push(pointer.clone());
        }
    });
    found
}

/// Returns the source in a `{"$source": …}` marker. `None` for any other value.
#[must_use]
pub fn source(value: &Value) -> Option<SecretSource> {
    let object = value.as_object()?;
    is_marker(object, SOURCE_MARKER)
        .then(|| object[SOURCE_MARKER].as_str())
        .flatten()
        .and_then(|text| text.parse().ok())
}

/// Calls `found` with each value of a document and its location, outer values first.
pub(crate) fn visit(value: &Value, pointer: &Pointer, found: &mut impl FnMut(&Pointer, &Value)) {
    found(pointer, value);
    match value {
        Value::Object(object) => {
            for (key, member) in object {
                visit(member, &pointer.child(key), found);
            }
        }
        Value::Array(array) => {
            for (index, element) in array.iter().enumerate() {
                visit(element, &pointer.child(&index.to_string()), found);
            }
        }
        _ => {}
    }
}
