//! JSON Pointers: locations in documents.

use std::fmt;

use serde_json::{Map, Value};

/// A JSON Pointer (RFC 6901) into a document. The empty pointer refers to the document itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pointer(String);

impl Pointer {
    /// Creates a pointer from its text form (`/a/b`).
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Creates a pointer from the dotted form that is used on the command line: `a.b` for `/a/b`.
    #[must_use]
    pub fn from_dotted(path: &str) -> Self {
        path.split('.').fold(Self::default(), |pointer, token| pointer.child(token))
    }

    /// Returns the pointer of a member or element of this value.
    #[must_use]
    pub fn child(&self, token: &str) -> Self {
        Self(format!("{}/{}", self.0, token.replace('~', "~0").replace('/', "~1")))
    }

    /// Returns the text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the unescaped reference tokens, beginning at the root.
    #[must_use]
    pub fn tokens(&self) -> Vec<String> {
        self.0.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect()
    }

    /// Returns the dotted form that is used on the command line: `a.b` for `/a/b`.
    #[must_use]
    pub fn dotted(&self) -> String {
        self.tokens().join(".")
    }

    /// Sets the value at this location and creates missing objects on the path. The index after the
    /// last element of an array appends one.
    ///
    /// # Errors
    /// Returns the pointer of a value on the path that is neither an object nor an array with the
    /// index.
    pub fn set(&self, document: &mut Value, value: Value) -> Result<(), Pointer> {
        let mut target = document;
        let mut pointer = Self::default();
        for token in self.tokens() {
            if target.is_null() {
                *target = Value::Object(Map::new());
            }
            let at = pointer.clone();
            pointer = pointer.child(&token);
            target = match target {
                Value::Object(object) => object.entry(token).or_insert(Value::Null),
                Value::Array(array) => {
                    let index = token.parse::<usize>().ok().filter(|index| *index <= array.len()).ok_or(at)?;
                    if index == array.len() {
                        array.push(Value::Null);
                    }
                    &mut array[index]
                }
                _ => return Err(at),
            };
        }
        *target = value;
        Ok(())
    }

    /// Removes and returns the value at this location, or `None` if there is no value.
    pub fn remove(&self, document: &mut Value) -> Option<Value> {
        let mut tokens = self.tokens();
        let last = tokens.pop()?;
        let parent = tokens.iter().fold(Self::default(), |pointer, token| pointer.child(token));
        match document.pointer_mut(parent.as_str())? {
            Value::Object(object) => object.remove(&last),
            Value::Array(array) => {
                let index: usize = last.parse().ok()?;
                (index < array.len()).then(|| array.remove(index))
            }
            _ => None,
        }
    }

    /// Returns the location of `inner`, which is relative to this location, in the larger document.
    #[must_use]
    pub fn join(&self, inner: &Self) -> Self {
        Self(format!("{}{}", self.0, inner.0))
    }

    /// Returns true if this location is `other` or is nested in it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0 == other.0 || (self.0.starts_with(&other.0) && self.0[other.0.len()..].starts_with('/'))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    proptest::proptest! {
        #[test]
        fn a_set_value_is_found_by_its_pointer(tokens in proptest::collection::vec("[a-z/~.]{1,4}", 1..5)) {
            let pointer = tokens.iter().fold(Pointer::default(), |p, t| p.child(t));
            proptest::prop_assert_eq!(pointer.tokens(), tokens);
            let mut document = json!({});
            proptest::prop_assert!(pointer.set(&mut document, json!(1)).is_ok());
            proptest::prop_assert_eq!(document.pointer(pointer.as_str()), Some(&json!(1)));
            proptest::prop_assert_eq!(pointer.remove(&mut document), Some(json!(1)));
        }
    }
}
