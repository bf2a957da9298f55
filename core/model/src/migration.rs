//! Moves the secrets of a block into the configuration that its bundle's `migrate` returned.
//!
//! The migrated configuration is guest-controlled. It refers to the secrets of the block by
//! handles, `{"$secret": "<JSON Pointer>"}`, with the locations before the migration. A handle is
//! accepted only where the new schema declares a secret, so that no secret becomes plain
//! configuration, and only for a secret of the block itself. The migration cannot write sources, so
//! that it cannot have a variable or a file of the user read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::document::SplitDocument;
use crate::marker::{SECRET_MARKER, SOURCE_MARKER, is_marker, secret_marker, secrets, source, visit};
use crate::pointer::Pointer;
use crate::schema::Schema;
use crate::violation::Violation;

/// A migrated document with its secrets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MigratedDocument {
    /// The document. It is not validated.
    pub document: SplitDocument,
    /// Location of each secret before the migration, by its new location.
    pub origins: BTreeMap<Pointer, Pointer>,
}

impl MigratedDocument {
    /// Inserts the secrets of a document into its migrated configuration.
    ///
    /// # Errors
    /// Returns all violations: handles that do not refer to a secret of the document, or that are
    /// not in a secret field of the new schema, and sources.
    pub fn new(before: &SplitDocument, schema: &Schema, migrated: Value) -> Result<Self, Vec<Violation>> {
        let known: BTreeSet<Pointer> = secrets(&before.config).into_iter().collect();
        let locations = schema.locations(&migrated);
        if locations.incomplete {
            let message = "the migrated configuration is too large or too deep to be searched for secrets";
            return Err(vec![Violation::new(Pointer::default(), message)]);
        }
        let permitted: BTreeSet<&Pointer> = locations.secrets.iter().map(|location| &location.pointer).collect();
        let (mut origins, mut violations) = (BTreeMap::new(), Vec::new());
        visit(&migrated, &Pointer::default(), &mut |pointer, value| match handle(value, &known) {
            None => {}
            Some(Ok(origin)) if permitted.contains(pointer) => {
                origins.insert(pointer.clone(), origin);
            }
            Some(Ok(origin)) => violations.push(Violation::new(
                pointer.clone(),
                format!("the secret `{}` would become plain configuration", origin.dotted()),
            )),
            Some(Err(message)) => violations.push(Violation::new(pointer.clone(), message)),
        });
        if !violations.is_empty() {
            return Err(violations);
        }
        let mut document = SplitDocument { config: migrated, ..SplitDocument::default() };
        for (pointer, origin) in &origins {
            let Some(slot) = document.config.pointer_mut(pointer.as_str()) else { continue };
            let stored = before.config.pointer(origin.as_str());
            *slot = stored.filter(|stored| source(stored).is_some()).cloned().unwrap_or_else(|| secret_marker(pointer));
            if let Some(secret) = before.secrets.get(origin) {
                document.secrets.insert(pointer.clone(), secret.clone());
            }
        }
        Ok(Self { document, origins })
    }

    /// Returns the secrets that are in another location than before, each with its old and its new
    /// location.
    #[must_use]
    pub fn moved(&self) -> Vec<(Pointer, Pointer)> {
        let moved = self.origins.iter().filter(|(pointer, origin)| pointer != origin);
        moved.map(|(pointer, origin)| (origin.clone(), pointer.clone())).collect()
    }
}

/// Returns the location of the secret that a value refers to, or the reason why it refers to none.
/// `None` if the value is not a marker.
fn handle(value: &Value, known: &BTreeSet<Pointer>) -> Option<Result<Pointer, String>> {
    let object = value.as_object()?;
    if object.contains_key(SOURCE_MARKER) {
        return Some(Err("the migration returned a secret source, which only a user can set".to_owned()));
    }
    if !object.contains_key(SECRET_MARKER) {
        return None;
    }
    if !is_marker(object, SECRET_MARKER) {
        return Some(Err("the migration returned a malformed handle of a secret".to_owned()));
    }
    let origin = Pointer::new(object[SECRET_MARKER].as_str().unwrap_or_default());
    Some(if known.contains(&origin) {
        Ok(origin)
    } else {
        Err("the migration returned a handle of a secret that the block does not have".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::PlainDocument;

    fn schema(secret: &str, plain: &str) -> Schema {
        let token = json!({"type": "string", "writeOnly": true, "format": "password", "x-secret": {"audience": "sql"}});
        Schema::compile(json!({
            "type": "object", "additionalProperties": false,
            "properties": {secret: token.clone(), "tokens": {"type": "array", "items": token}, plain: true}
        }))
        .expect("a good schema")
    }

    fn before() -> SplitDocument {
        let config = json!({"password": "pw-secret", "tokens": [{"$source": "env:T"}, "t-secret"]});
        SplitDocument::split(&schema("password", "note"), PlainDocument(config)).expect("a good document")
    }

    fn migrated(config: Value) -> Result<MigratedDocument, Vec<String>> {
        let migrated = MigratedDocument::new(&before(), &schema("key", "note"), config);
        migrated.map_err(|all| all.iter().map(|own| format!("{}: {}", own.pointer, own.message)).collect())
    }

    #[test]
    fn secrets_and_sources_move_with_their_handles() {
        let config =
            json!({"key": {"$secret": "/password"}, "tokens": [{"$secret": "/tokens/1"}, {"$secret": "/tokens/0"}]});
        let migrated = migrated(config).expect("a document");
        let pointer = |text: &str| Pointer::new(text);
        assert_eq!(
            migrated.document.config,
            json!({"key": {"$secret": "/key"}, "tokens": [{"$secret": "/tokens/0"}, {"$source": "env:T"}]})
        );
        assert_eq!(migrated.document.secrets[&pointer("/key")].expose(), "pw-secret");
        assert_eq!(migrated.document.secrets[&pointer("/tokens/0")].expose(), "t-secret");
        assert_eq!(migrated.document.secrets.len(), 2);
        assert_eq!(
            migrated.moved(),
            [
                (pointer("/password"), pointer("/key")),
                (pointer("/tokens/1"), pointer("/tokens/0")),
                (pointer("/tokens/0"), pointer("/tokens/1")),
            ]
        );
    }

    #[test]
    fn a_handle_outside_of_a_secret_field_is_rejected() {
        let plain = migrated(json!({"note": {"$secret": "/password"}})).expect_err("it would be plain");
        assert_eq!(plain, ["/note: the secret `password` would become plain configuration"]);
        let nested = migrated(json!({"note": [{"a": {"$secret": "/tokens/1"}}]})).expect_err("it would be plain");
        assert_eq!(nested, ["/note/0/a: the secret `tokens.1` would become plain configuration"]);
    }

    #[test]
    fn forged_markers_are_rejected() {
        for config in [
            json!({"key": {"$source": "env:AWS_SECRET_ACCESS_KEY"}}),
            json!({"note": {"$source": "file:/etc/shadow"}}),
            json!({"key": {"$secret": "/other"}}),
            json!({"key": {"$secret": ""}}),
            json!({"key": {"$secret": 7}}),
            json!({"key": {"$secret": "/password", "more": 1}}),
            json!({"key": {"$secret": {"$secret": "/password"}}}),
        ] {
            assert!(migrated(config.clone()).is_err(), "{config}");
        }
    }

    #[test]
    fn a_destroyed_secret_stays_destroyed() {
        let mut purged = before();
        purged.secrets.clear();
        let config = json!({"key": {"$secret": "/password"}});
        let migrated = MigratedDocument::new(&purged, &schema("key", "note"), config).expect("a document");
        assert_eq!(migrated.document.missing_secrets(), [Pointer::new("/key")]);
    }
}
