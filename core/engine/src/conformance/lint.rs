//! Lints the schemas of a manifest: descriptions, titles, and secrets that are not marked.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Names of fields that hold secrets. A field is compared as a whole, and by its last words.
const SECRET_NAMES: [&str; 8] =
    ["password", "passphrase", "passwd", "token", "secret", "api_key", "private_key", "access_key"];

/// Returns the findings about the description of a bundle.
pub(crate) fn bundle(manifest: &Value) -> Vec<String> {
    let described = !text(&manifest["description"]).is_empty();
    if described { Vec::new() } else { vec!["the bundle has no description".to_owned()] }
}

/// Returns the findings about a block type: its title, its fields and its operations.
pub(crate) fn block_type(described: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for (field, what) in [("title", "title"), ("description", "description")] {
        if text(&described[field]).is_empty() {
            findings.push(format!("the type has no {what}"));
        }
    }
    let schema = &described["schema"];
    let mut fields = Properties::of(schema);
    fields.visit(schema, "");
    for (name, keywords) in &fields.found {
        if fields.described(keywords).is_empty() {
            findings.push(format!("field `{name}` has no description"));
        }
        if is_secret_name(name) && fields.is_text(keywords) && !fields.is_secret(keywords) {
            findings.push(format!("field `{name}` is named like a secret, but is not declared as one"));
        }
    }
    for operation in described["operations"].as_array().into_iter().flatten() {
        let name = text(&operation["name"]);
        if text(&operation["description"]).is_empty() {
            findings.push(format!("operation `{name}` has no description"));
        }
        let mut arguments = Properties::of(&operation["arguments"]);
        arguments.visit(&operation["arguments"], "");
        let missing = arguments.found.iter().filter(|(_, keywords)| arguments.described(keywords).is_empty());
        findings.extend(missing.map(|(argument, _)| format!("argument `{argument}` of `{name}` has no description")));
    }
    findings
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default().trim()
}

/// Checks the last segment of a dotted name, with the words separated by `_`, `-` or upper case.
fn is_secret_name(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let mut words = String::new();
    for c in last.chars() {
        if c.is_uppercase() && !words.is_empty() && !words.ends_with('_') {
            words.push('_');
        }
        words.extend(if c == '-' { '_' } else { c }.to_lowercase());
    }
    SECRET_NAMES.iter().any(|secret| {
        let joined = secret.replace('_', "");
        [*secret, joined.as_str()].iter().any(|secret| words == **secret || words.ends_with(&format!("_{secret}")))
    })
}

/// The properties of a schema, at all depths.
struct Properties<'a> {
    root: &'a Value,
    /// Dotted name and schema of each property.
    found: Vec<(String, &'a Map<String, Value>)>,
    /// References that were followed.
    followed: BTreeSet<&'a str>,
}

impl<'a> Properties<'a> {
    fn of(root: &'a Value) -> Self {
        Self { root, found: Vec::new(), followed: BTreeSet::new() }
    }

    /// Collects the properties of a schema and of its subschemas. A definition is visited once.
    fn visit(&mut self, schema: &'a Value, prefix: &str) {
        let Some(keywords) = schema.as_object() else { return };
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str)
            && self.followed.insert(reference)
            && let Some(target) = self.target(reference)
        {
            self.visit(target, prefix);
        }
        for (name, member) in keywords.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            if let Some(member) = member.as_object()
                // The tag of a variant has one value, which describes itself.
                && !member.contains_key("const")
            {
                self.found.push((name.clone(), member));
            }
            self.visit(member, &name);
        }
        for keyword in ["items", "additionalProperties"] {
            if let Some(inner) = keywords.get(keyword) {
                self.visit(inner, prefix);
            }
        }
        for keyword in ["anyOf", "oneOf", "allOf", "prefixItems"] {
            for inner in keywords.get(keyword).and_then(Value::as_array).into_iter().flatten() {
                self.visit(inner, prefix);
            }
        }
    }

    fn target(&self, reference: &str) -> Option<&'a Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }

    /// Returns the schemas that apply to a property: its own, the one that it references, and its variants.
    fn applicable(&self, keywords: &'a Map<String, Value>) -> Vec<&'a Map<String, Value>> {
        let mut all = vec![keywords];
        let referenced = |keywords: &'a Map<String, Value>| {
            keywords.get("$ref").and_then(Value::as_str).and_then(|reference| self.target(reference)?.as_object())
        };
        all.extend(referenced(keywords));
        for keyword in ["anyOf", "oneOf", "allOf"] {
            for inner in keywords.get(keyword).and_then(Value::as_array).into_iter().flatten() {
                let inner = inner.as_object();
                all.extend(inner);
                all.extend(inner.and_then(referenced));
            }
        }
        all
    }

    fn described(&self, keywords: &'a Map<String, Value>) -> &'a str {
        let descriptions = self.applicable(keywords).into_iter().filter_map(|keywords| keywords.get("description"));
        descriptions.map(text).find(|text| !text.is_empty()).unwrap_or_default()
    }

    fn is_secret(&self, keywords: &'a Map<String, Value>) -> bool {
        let declares = |keywords: &&Map<String, Value>| {
            keywords.contains_key("x-secret") || keywords.get("format").is_some_and(|format| format == "password")
        };
        self.applicable(keywords).iter().any(declares)
    }

    fn is_text(&self, keywords: &'a Map<String, Value>) -> bool {
        let is_string = |value: &Value| match value {
            Value::String(one) => one == "string",
            Value::Array(many) => many.iter().any(|one| one == "string"),
            _ => false,
        };
        self.applicable(keywords).iter().any(|keywords| keywords.get("type").is_some_and(is_string))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_secrets_are_recognized() {
        for name in ["password", "db_password", "apiKey", "api_key", "apikey", "client-secret", "a.token", "authToken"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["token_url", "secret_name", "passwords_file", "keyring", "page", "tokens"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn each_gap_is_a_finding() {
        let described = json!({
            "title": "", "description": "A cage.",
            "schema": {
                "type": "object",
                "properties": {
                    "password": {"type": "string", "description": "Password."},
                    "token": {"type": ["string", "null"], "description": "Token.", "x-secret": {}},
                    "secret": {"anyOf": [{"$ref": "#/$defs/secret"}, {"type": "null"}]},
                    "owner": {"$ref": "#/$defs/owner"},
                    "token_url": {"type": "string", "description": "URL."}
                },
                "$defs": {
                    "secret": {"type": "string", "description": "Secret.", "x-secret": {}},
                    "owner": {"type": "object", "description": "Owner.", "properties": {"name": {"type": "string"}}}
                }
            },
            "operations": [{"name": "open", "arguments": {"type": "object", "properties": {"door": {"type": "integer"}}}}]
        });
        let mut findings = block_type(&described);
        findings.sort();
        assert_eq!(
            findings,
            [
                "argument `door` of `open` has no description",
                "field `owner.name` has no description",
                "field `password` is named like a secret, but is not declared as one",
                "operation `open` has no description",
                "the type has no title",
            ]
        );
        assert_eq!(bundle(&json!({"description": " "})), ["the bundle has no description"]);
    }
}
