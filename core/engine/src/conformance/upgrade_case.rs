//! Stored configurations of earlier versions of a block type, with which `migrate` is tested.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Error, ErrorKind};

/// A configuration of an earlier version of a block type.
#[derive(Debug, Clone, PartialEq)]
pub struct UpgradeCase {
    /// Name of the case: that of its file.
    pub name: String,
    /// Slug of the block type.
    pub block_type: String,
    /// Version of the type that the configuration has.
    pub version: u32,
    /// The configuration. A secret is `{"$secret": "/FIELD"}`, with the location of its field.
    pub config: Value,
    /// The expected result of `migrate`. `None` if any valid configuration is accepted.
    pub expected: Option<Value>,
    /// Values of fields that the migration leaves to the user.
    pub supplied: Map<String, Value>,
}

/// The format of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(rename = "type")]
    block_type: String,
    version: u32,
    config: Value,
    #[serde(default)]
    expected: Option<Value>,
    #[serde(default)]
    supplied: Map<String, Value>,
}

impl UpgradeCase {
    /// Parses a file: `{"type": "acme", "version": 1, "config": {…}, "expected": {…}}`.
    ///
    /// # Errors
    /// Returns an error that names the file and its problem.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let invalid = |reason: String| {
            Error::new(ErrorKind::Invalid, format!("`{name}` is not a stored configuration"))
                .because(reason)
                .hint("write `{\"type\": \"TYPE\", \"version\": 1, \"config\": {…}}`, optionally with `expected` and `supplied`")
        };
        let CaseFile { block_type, version, config, expected, supplied } =
            serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
        if !config.is_object() {
            return Err(invalid("`config` must be an object".to_owned()));
        }
        if version == 0 {
            return Err(invalid("the version of a type must be at least 1".to_owned()));
        }
        Ok(Self { name: name.to_owned(), block_type, version, config, expected, supplied })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_files_are_rejected() {
        let good = r#"{"type": "acme", "version": 1, "config": {}}"#;
        assert_eq!(UpgradeCase::parse("a.json", good).expect("a case").version, 1);
        for text in [
            "",
            "[]",
            r#"{"type": "acme", "version": 1}"#,
            r#"{"type": "acme", "version": 0, "config": {}}"#,
            r#"{"type": "acme", "version": -1, "config": {}}"#,
            r#"{"type": "acme", "version": 1, "config": []}"#,
            r#"{"type": "acme", "version": 1, "config": {}, "expect": {}}"#,
            r#"{"type": "acme", "version": 1, "config": {}, "supplied": []}"#,
        ] {
            let error = UpgradeCase::parse("a.json", text).expect_err(text);
            assert!(error.to_string().contains("`a.json`") && !error.causes().is_empty(), "{text}");
        }
    }
}
