//! Checksums of schemas.

use serde_json::Value;

use crate::digest::Digest;

/// Computes the checksum of a schema: SHA-256 of its canonical JSON (RFC 8785) without
/// descriptions.
#[must_use]
pub fn checksum(document: &Value) -> Digest {
    let bare = without_descriptions(document, false);
    let canonical = serde_json_canonicalizer::to_vec(&bare).expect("JSON with text keys always has a canonical form");
    Digest::of(&canonical)
}

/// Removes the keywords that only describe. `names` is true if the members of `value` are field
/// names, all of which are kept.
fn without_descriptions(value: &Value, names: bool) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .filter(|(key, _)| names || !matches!(key.as_str(), "description" | "title" | "examples" | "$comment"))
            .map(|(key, member)| {
                let names = !names && matches!(key.as_str(), "properties" | "$defs" | "patternProperties");
                (key.clone(), without_descriptions(member, names))
            })
            .collect(),
        Value::Array(array) => array.iter().map(|v| without_descriptions(v, false)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn descriptions_do_not_change_the_checksum_and_fields_do() {
        let base = json!({"type": "object", "properties": {"title": {"type": "string"}}});
        let described =
            json!({"properties": {"title": {"description": "d", "type": "string"}}, "title": "T", "type": "object"});
        let renamed = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        assert_eq!(checksum(&base), checksum(&described));
        assert_ne!(checksum(&base), checksum(&renamed));
    }

    /// The checksum is that of the canonical form (RFC 8785), regardless of the enabled features of
    /// `serde_json`.
    #[test]
    fn a_checksum_is_that_of_the_canonical_form() {
        let schema: Value = serde_json::from_str(
            r#"{"enum": [1, 1.50, 1e3, 1E30, -0.0, "\u00e9", null], "const": {"b": true, "a": []}}"#,
        )
        .expect("JSON");
        let canonical = r#"{"const":{"a":[],"b":true},"enum":[1,1.5,1000,1e+30,0,"é",null]}"#;
        assert_eq!(checksum(&schema), Digest::of(canonical.as_bytes()));
    }
}
