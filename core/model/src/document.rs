//! Configuration documents: separating them from their secrets, and validating them.
//!
//! A stored document never contains a secret. The value of a secret field is
//! `{"$secret": "<JSON Pointer>"}` for a sealed secret, or `{"$source": "env:NAME"}` for one that
//! is read at call time. The validator receives a placeholder of the same length instead of the
//! secret, so that neither the validator nor its messages can disclose it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use zeroize::Zeroize as _;

use crate::locations::{Locations, SecretLocation};
use crate::marker::{SECRET_MARKER, SOURCE_MARKER, is_marker, sealed_secrets, secret_marker, source, visit};
use crate::pointer::Pointer;
use crate::reference::{self, PermittedTarget, Purpose, Reference, SECRET_STORE};
use crate::schema::Schema;
use crate::secret::{MASK, SecretSource, SecretValue};
use crate::violation::Violation;

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
        let locations = schema.locations(config);
        if locations.incomplete {
            return Err(vec![Violation::new(
                Pointer::default(),
                "is too large or too deep to be searched for secrets",
            )]);
        }
        for secret in locations.secrets {
            let Some(slot) = config.pointer_mut(secret.pointer.as_str()) else {
                continue;
            };
            match slot {
                Value::Null => {}
                Value::String(text) if text == MASK => violations.push(Violation {
                    pointer: secret.pointer,
                    message: format!("`{MASK}` is what `show` prints in place of a secret, not a secret"),
                    hint: Some("omit the field to keep the stored secret".to_owned()),
                }),
                Value::String(text) => {
                    secrets.insert(secret.pointer.clone(), SecretValue::new(std::mem::take(text)));
                    *slot = secret_marker(&secret.pointer);
                }
                other if source(other).is_some() => {}
                Value::Object(object) if is_marker(object, SECRET_MARKER) => {
                    violations.push(unsealed_marker(secret.pointer));
                }
                _ => violations.push(Violation::new(secret.pointer, "must be a string or a secret source")),
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
        let Locations { secrets, references, .. } = schema.locations(&self.config);
        wrong.extend(self.misplaced_sources(&secrets));
        for secret_location in secrets {
            let Some(slot) = instance.pointer_mut(secret_location.pointer.as_str()) else {
                continue;
            };
            if source(slot).is_some() {
                *slot = Value::from(MASK);
                unvalidated.push(secret_location.pointer);
            } else if let Some(secret) = self.secrets.get(&secret_location.pointer) {
                *slot = Value::from("x".repeat(secret.expose().chars().count()));
                sealed.push(secret_location.pointer);
            } else if slot.as_object().is_some_and(|object| is_marker(object, SECRET_MARKER)) {
                wrong.push(unsealed_marker(secret_location.pointer.clone()));
                unvalidated.push(secret_location.pointer);
            }
        }
        for reference in references {
            if let Some(value) = instance.pointer(reference.pointer.as_str())
                && let Err(message) = reference::target(value)
            {
                wrong.push(Violation::new(reference.pointer.clone(), message));
            }
            unvalidated.push(reference.pointer);
        }
        let mut violations = schema.violations(&instance, &sealed, &unvalidated, true);
        let is_reported = |pointer: &Pointer| wrong.iter().any(|violation| violation.pointer == *pointer);
        violations.extend(self.misplaced_markers().into_iter().filter(|violation| !is_reported(&violation.pointer)));
        violations.extend(wrong);
        violations
    }

    /// Returns the locations of `$secret` markers that have no sealed secret.
    #[must_use]
    pub fn missing_secrets(&self) -> Vec<Pointer> {
        let mut missing = sealed_secrets(&self.config);
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
            if value.get(SOURCE_MARKER).is_some() && !secrets.iter().any(|secret| secret.pointer == *pointer) {
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
        let locations = schema.locations(&self.config).references.into_iter();
        let mut references: Vec<Reference> = locations
            .filter_map(|location| {
                let target = reference::target(self.config.pointer(location.pointer.as_str())?).ok()?;
                Some(Reference {
                    pointer: location.pointer,
                    permitted: location.permitted,
                    target,
                    purpose: Purpose::Configuration,
                })
            })
            .collect();
        references.extend(self.sources().into_iter().filter_map(|(pointer, source)| match source {
            SecretSource::Block(target) => Some(Reference {
                pointer,
                permitted: vec![PermittedTarget::Interface(SECRET_STORE.to_owned())],
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
fn unsealed_marker(pointer: Pointer) -> Violation {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker::{handles, masked};
    use serde_json::json;

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
    fn secrets_are_extracted_at_any_depth() {
        let document = SplitDocument::split(
            &schema(),
            PlainDocument(json!({
                "user": "u", "password": "pw1-secret", "tokens": ["pw2-secret"],
                "either": {"key": "pw3-secret"}, "named": {"a/b": "pw4-secret"}
            })),
        )
        .expect("all secrets are text");
        assert!(!document.config.to_string().contains("-secret"), "{}", document.config);
        let locations: Vec<&str> = document.secrets.keys().map(Pointer::as_str).collect();
        assert_eq!(locations, ["/either/key", "/named/a~1b", "/password", "/tokens/0"]);
        assert_eq!(document.violations(&schema()), []);
        assert_eq!(masked(&document.config)["named"]["a/b"], MASK);
        assert!(!format!("{document:?}").contains("-secret"));
    }

    #[test]
    fn all_violations_are_reported_and_none_quotes_the_secret() {
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
    fn a_source_stays_in_the_document_and_is_passed_as_a_handle() {
        let document = split(json!({"user": "u", "password": {"$source": "env:PW"}})).expect("a source");
        assert_eq!(document.violations(&schema()), []);
        assert_eq!(document.sources().len(), 1);
        assert_eq!(handles(&document.config)["password"], json!({"$secret": "/password"}));
    }
}
