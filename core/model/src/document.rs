//! Configuration documents: separating them from their secrets, and validating them.
//!
//! A stored document never contains a secret. The value of a secret field is
//! `{"$secret": "<JSON Pointer>"}` for a sealed secret, or `{"$source": "env:NAME"}` for one that
//! is read at call time. The validator receives a placeholder of the same length instead of the
//! secret, so that neither the validator nor its messages can disclose it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use zeroize::Zeroize as _;

use crate::reference::{self, Purpose, Reference, SECRET_STORE, Wanted};
use crate::schema::{Places, Schema};
use crate::secret::{MASK, SecretSource, SecretValue};
use crate::secret_use::SecretKeyword;

/// Marker key of a sealed secret in a stored document.
pub const SECRET_MARKER: &str = "$secret";
/// Marker key of a secret source in a stored document.
pub const SOURCE_MARKER: &str = "$source";

/// A JSON Pointer (RFC 6901) into a document. The empty pointer refers to the document itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pointer(String);

/// A validation error of a document. It never contains the value of a secret field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Location of the invalid value.
    pub pointer: Pointer,
    /// Description of the problem.
    pub message: String,
    /// Suggested correction, if there is one.
    pub hint: Option<String>,
}

/// Location in a document at which the schema declares a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretLocation {
    /// Location in the document.
    pub pointer: Pointer,
    /// Uses that the schema permits.
    pub audience: SecretKeyword,
}

/// A document without its secrets, and the secrets by their location.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SplitDocument {
    /// Configuration with markers in place of the secrets.
    pub config: Value,
    /// Secrets that the `$secret` markers refer to.
    pub secrets: BTreeMap<Pointer, SecretValue>,
}

/// A document that contains its secrets, for editing. Its strings are wiped from memory when it is
/// dropped; [`SplitDocument::split`] extracts the secrets.
#[derive(Clone, Default)]
pub struct PlainDocument(pub Value);

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
        let mut place = document;
        let mut here = Self::default();
        for token in self.tokens() {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let at = here.clone();
            here = here.child(&token);
            place = match place {
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
        *place = value;
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

impl Violation {
    /// Creates a violation without a hint.
    pub fn new(pointer: Pointer, message: impl Into<String>) -> Self {
        Self { pointer, message: message.into(), hint: None }
    }
}

impl SplitDocument {
    /// Extracts the secrets from a document that a user wrote. A string in a secret field becomes a
    /// secret to seal; `{"$source": "env:NAME"}` is left in place.
    ///
    /// # Errors
    /// Returns violations of secret fields only: the mask or a `$secret` marker instead of a secret,
    /// or a value that is neither a string nor a source. Also fails if the document is too large or
    /// too deep to be searched completely.
    pub fn split(schema: &Schema, mut plain: PlainDocument) -> Result<Self, Vec<Violation>> {
        let config = &mut plain.0;
        let mut secrets = BTreeMap::new();
        let mut violations = Vec::new();
        let places = schema.places(config);
        if places.incomplete {
            return Err(vec![Violation::new(
                Pointer::default(),
                "is too large or too deep to be searched for secrets",
            )]);
        }
        for place in places.secrets {
            let Some(slot) = config.pointer_mut(place.pointer.as_str()) else {
                continue;
            };
            match slot {
                Value::Null => {}
                Value::String(text) if text == MASK => violations.push(Violation {
                    pointer: place.pointer,
                    message: format!("`{MASK}` is what `show` prints in place of a secret, not a secret"),
                    hint: Some("omit the field to keep the stored secret".to_owned()),
                }),
                Value::String(text) => {
                    secrets.insert(place.pointer.clone(), SecretValue::new(std::mem::take(text)));
                    *slot = secret_marker(&place.pointer);
                }
                other if source(other).is_some() => {}
                Value::Object(object) if is_marker(object, SECRET_MARKER) => {
                    violations.push(nothing_behind(place.pointer));
                }
                _ => violations.push(Violation::new(place.pointer, "must be a string or a secret source")),
            }
        }
        if violations.is_empty() { Ok(Self { config: std::mem::take(&mut plain.0), secrets }) } else { Err(violations) }
    }

    /// Returns the document with its secrets inserted, for editing.
    #[must_use]
    pub fn plain(&self) -> PlainDocument {
        let mut config = self.config.clone();
        for (pointer, secret) in &self.secrets {
            if let Some(slot) = config.pointer_mut(pointer.as_str()) {
                *slot = Value::from(secret.expose());
            }
        }
        PlainDocument(config)
    }

    /// Returns all violations of this document at once. The caller checks the blocks that its
    /// references point to.
    #[must_use]
    pub fn violations(&self, schema: &Schema) -> Vec<Violation> {
        let mut instance = self.config.clone();
        let mut sealed = Vec::new();
        let mut unvalidated = Vec::new();
        let mut wrong = Vec::new();
        let Places { secrets, references, .. } = schema.places(&self.config);
        wrong.extend(self.misplaced_sources(&secrets));
        for place in secrets {
            let Some(slot) = instance.pointer_mut(place.pointer.as_str()) else {
                continue;
            };
            if source(slot).is_some() {
                *slot = Value::from(MASK);
                unvalidated.push(place.pointer);
            } else if let Some(secret) = self.secrets.get(&place.pointer) {
                *slot = Value::from("x".repeat(secret.expose().chars().count()));
                sealed.push(place.pointer);
            } else if slot.as_object().is_some_and(|object| is_marker(object, SECRET_MARKER)) {
                wrong.push(nothing_behind(place.pointer.clone()));
                unvalidated.push(place.pointer);
            }
        }
        for place in references {
            if let Some(value) = instance.pointer(place.pointer.as_str())
                && let Err(message) = reference::target(value)
            {
                wrong.push(Violation::new(place.pointer.clone(), message));
            }
            unvalidated.push(place.pointer);
        }
        let mut violations = schema.violations(&instance, &sealed, &unvalidated, true);
        let told = |pointer: &Pointer| wrong.iter().any(|violation| violation.pointer == *pointer);
        violations.extend(self.misplaced_markers().into_iter().filter(|violation| !told(&violation.pointer)));
        violations.extend(wrong);
        violations
    }

    /// Returns the locations of `$secret` markers that have no sealed secret.
    #[must_use]
    pub fn missing_secrets(&self) -> Vec<Pointer> {
        let mut missing = secret_markers(&self.config);
        missing.retain(|pointer| !self.secrets.contains_key(pointer));
        missing
    }

    /// Finds `$secret` markers that Blockyard did not write.
    fn misplaced_markers(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        visit(&self.config, &Pointer::default(), &mut |pointer, value| {
            if value.get(SECRET_MARKER).is_some() && !self.secrets.contains_key(pointer) {
                let message = format!("`{SECRET_MARKER}` refers to a sealed secret; enter the secret itself");
                found.push(Violation::new(pointer.clone(), message));
            }
        });
        found
    }

    /// Finds `$source` markers outside of secret fields, where no value would replace them.
    fn misplaced_sources(&self, secrets: &[SecretLocation]) -> Vec<Violation> {
        let mut found = Vec::new();
        visit(&self.config, &Pointer::default(), &mut |pointer, value| {
            if value.get(SOURCE_MARKER).is_some() && !secrets.iter().any(|place| place.pointer == *pointer) {
                let message = format!("`{SOURCE_MARKER}` is permitted in a secret field only");
                found.push(Violation::new(pointer.clone(), message));
            }
        });
        found
    }

    /// Returns the references to the blocks that this document depends on. Invalid references are
    /// omitted; they are [violations](Self::violations).
    #[must_use]
    pub fn references(&self, schema: &Schema) -> Vec<Reference> {
        let places = schema.places(&self.config).references.into_iter();
        let mut references: Vec<Reference> = places
            .filter_map(|place| {
                let target = reference::target(self.config.pointer(place.pointer.as_str())?).ok()?;
                Some(Reference {
                    pointer: place.pointer,
                    wanted: place.wanted,
                    target,
                    purpose: Purpose::Configuration,
                })
            })
            .collect();
        references.extend(self.sources().into_iter().filter_map(|(pointer, source)| match source {
            SecretSource::Block(target) => Some(Reference {
                pointer,
                wanted: vec![Wanted::Interface(SECRET_STORE.to_owned())],
                target,
                purpose: Purpose::Secret,
            }),
            _ => None,
        }));
        references
    }

    /// Returns the secret sources in this document with their locations.
    #[must_use]
    pub fn sources(&self) -> Vec<(Pointer, SecretSource)> {
        let mut found = Vec::new();
        visit(&self.config, &Pointer::default(), &mut |pointer, value| {
            if let Some(source) = source(value) {
                found.push((pointer.clone(), source));
            }
        });
        found
    }
}

/// Violation for a `$secret` marker without a sealed secret.
fn nothing_behind(pointer: Pointer) -> Violation {
    Violation {
        pointer,
        message: "has no secret behind it: it was destroyed by a purge, or the marker was written by hand".to_owned(),
        hint: Some("enter the secret, or remove the field".to_owned()),
    }
}

impl fmt::Debug for PlainDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Drop for PlainDocument {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(elements) => elements.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        _ => {}
    }
}

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

/// Returns the locations of all `{"$secret": pointer}` markers in a document.
#[must_use]
pub fn secret_markers(config: &Value) -> Vec<Pointer> {
    let mut found = Vec::new();
    visit(config, &Pointer::default(), &mut |pointer, value| {
        if value.as_object().is_some_and(|object| is_marker(object, SECRET_MARKER)) {
            found.push(pointer.clone());
        }
    });
    found
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

fn is_marker(object: &Map<String, Value>, marker: &str) -> bool {
    object.len() == 1 && object.get(marker).is_some_and(Value::is_string)
}

fn source(value: &Value) -> Option<SecretSource> {
    let object = value.as_object()?;
    is_marker(object, SOURCE_MARKER)
        .then(|| object[SOURCE_MARKER].as_str())
        .flatten()
        .and_then(|text| text.parse().ok())
}

fn visit(value: &Value, pointer: &Pointer, found: &mut impl FnMut(&Pointer, &Value)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::compile(json!({
            "type": "object", "additionalProperties": false, "required": ["user"],
            "properties": {
                "user": {"type": "string"},
                "password": {"type": "string", "minLength": 3, "writeOnly": true, "format": "password", "x-secret": {"audience": "sql"}},
                "tokens": {"type": "array", "items": {"$ref": "#/$defs/token"}},
                "either": {"oneOf": [{"type": "integer"}, {"type": "object", "properties": {"key": {"$ref": "#/$defs/token"}}}]},
                "named": {"type": "object", "additionalProperties": {"$ref": "#/$defs/token"}}
            },
            "$defs": {"token": {"type": "string", "writeOnly": true, "format": "password", "x-secret": {"audience": ["https://a.example"]}}}
        }))
        .expect("a good schema")
    }

    fn split(config: Value) -> Result<SplitDocument, Vec<Violation>> {
        SplitDocument::split(&schema(), PlainDocument(config))
    }

    #[test]
    fn secrets_are_found_at_any_depth_and_leave_the_document() {
        let document = SplitDocument::split(
            &schema(),
            PlainDocument(json!({
                "user": "u", "password": "pw1-secret", "tokens": ["pw2-secret"],
                "either": {"key": "pw3-secret"}, "named": {"a/b": "pw4-secret"}
            })),
        )
        .expect("all secrets are text");
        assert!(!document.config.to_string().contains("-secret"), "{}", document.config);
        let places: Vec<&str> = document.secrets.keys().map(Pointer::as_str).collect();
        assert_eq!(places, ["/either/key", "/named/a~1b", "/password", "/tokens/0"]);
        assert_eq!(document.violations(&schema()), []);
        assert_eq!(masked(&document.config)["named"]["a/b"], MASK);
        assert!(!format!("{document:?}").contains("-secret"));
    }

    #[test]
    fn all_problems_come_at_once_and_none_quotes_the_secret() {
        let document = split(json!({"usr": 7, "password": "s3"})).expect("text");
        let violations = document.violations(&schema());
        let text: Vec<String> =
            violations.iter().map(|v| format!("{} {} {:?}", v.pointer, v.message, v.hint)).collect();
        expect_test::expect![[r#"
            [
                "/password must have at least 3 characters None",
                "/user is missing, and it is required None",
                "/usr unknown field `usr` Some(\"did you mean `user`?\")",
            ]
        "#]]
        .assert_debug_eq(&text);
    }

    #[test]
    fn asterisks_are_not_a_secret() {
        let refused = split(json!({"user": "u", "password": MASK}));
        assert!(refused.expect_err("must be refused")[0].message.contains("not a secret"));
    }

    #[test]
    fn a_source_stays_in_the_document_and_reads_as_a_handle() {
        let document = split(json!({"user": "u", "password": {"$source": "env:PW"}})).expect("a source");
        assert_eq!(document.violations(&schema()), []);
        assert_eq!(document.sources().len(), 1);
        assert_eq!(handles(&document.config)["password"], json!({"$secret": "/password"}));
    }

    proptest::proptest! {
        #[test]
        fn pointers_find_what_they_set(tokens in proptest::collection::vec("[a-z/~.]{1,4}", 1..5)) {
            let pointer = tokens.iter().fold(Pointer::default(), |p, t| p.child(t));
            proptest::prop_assert_eq!(pointer.tokens(), tokens);
            let mut document = json!({});
            proptest::prop_assert!(pointer.set(&mut document, json!(1)).is_ok());
            proptest::prop_assert_eq!(document.pointer(pointer.as_str()), Some(&json!(1)));
            proptest::prop_assert_eq!(pointer.remove(&mut document), Some(json!(1)));
        }
    }
}
