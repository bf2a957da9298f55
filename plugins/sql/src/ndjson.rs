//! NDJSON parser: one object per line. Values are kept as JSON text, so that numbers keep all
//! digits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead, BufReader};

use blockyard_sdk::prelude::*;
use blockyard_sdk::serde_json::de::IoRead;
use blockyard_sdk::serde_json::value::RawValue;
use blockyard_sdk::serde_json::{self, Deserializer, StreamDeserializer};
use serde::de::{self, Deserialize, MapAccess, Visitor};

use crate::reader::problem;

/// Class of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Null,
    Boolean,
    Number,
    String,
    /// List or object.
    Nested,
}

/// Returns the class of a JSON value from its first character.
pub(crate) fn class(json: &str) -> Class {
    match json.as_bytes().first() {
        Some(b'"') => Class::String,
        Some(b't' | b'f') => Class::Boolean,
        Some(b'{' | b'[') => Class::Nested,
        Some(b'-' | b'0'..=b'9') => Class::Number,
        _ => Class::Null,
    }
}

/// Decodes a JSON string.
pub(crate) fn string(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

/// A JSON object whose values are the JSON text of the file.
#[derive(Debug)]
pub(crate) struct Object(pub(crate) BTreeMap<String, Box<RawValue>>, Vec<String>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("one JSON object per line")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Object, A::Error> {
                let (mut members, mut order) = (BTreeMap::new(), Vec::new());
                while let Some((name, value)) = access.next_entry::<String, Box<RawValue>>()? {
                    if class(value.get()) == Class::Nested {
                        check_nested(value.get()).map_err(de::Error::custom)?;
                    }
                    if members.insert(name.clone(), value).is_some() {
                        return Err(de::Error::custom(twice(&name)));
                    }
                    order.push(name);
                }
                Ok(Object(members, order))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Object {
    /// Returns the names in file order.
    pub(crate) fn names(&self) -> &[String] {
        &self.1
    }

    /// Returns the approximate size of the values in bytes.
    pub(crate) fn size(&self) -> usize {
        self.0.values().map(|value| 16 + value.get().len()).sum()
    }
}

fn twice(name: &str) -> String {
    format!("an object has the duplicate name `{name}`")
}

/// Maximum nesting of lists and objects: the limit of MySQL and `serde_json`; PostgreSQL and SQLite
/// support more.
const DEPTH: usize = 100;

/// Checks a list or object, which must be valid JSON, for duplicate names at any depth. Iterative,
/// because the input controls the depth.
pub(crate) fn check_nested(json: &str) -> std::result::Result<(), String> {
    let bytes = json.as_bytes();
    // For each open list or object: the names of the object.
    let mut open: Vec<Option<BTreeSet<String>>> = Vec::new();
    let (mut at, mut is_name) = (0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'{' => {
                open.push(Some(BTreeSet::new()));
                is_name = true;
            }
            b'[' => open.push(None),
            b'}' | b']' => drop(open.pop()),
            b',' => is_name = matches!(open.last(), Some(Some(_))),
            b'"' => {
                let start = at;
                at += 1;
                while bytes.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                if let (true, Some(Some(names))) = (is_name, open.last_mut()) {
                    let name = json.get(start..=at).and_then(string).unwrap_or_default();
                    if !names.insert(name.clone()) {
                        return Err(twice(&name));
                    }
                    is_name = false;
                }
            }
            _ => {}
        }
        if open.len() > DEPTH {
            return Err(format!("a value has more than {DEPTH} levels of nested lists and objects"));
        }
        at += 1;
    }
    Ok(())
}

/// Iterator over the objects of a file.
pub(crate) struct Objects<R: BufRead> {
    objects: StreamDeserializer<'static, IoRead<BufReader<R>>, Object>,
    read: u64,
}

impl<R: BufRead> Objects<R> {
    pub(crate) fn new(input: R) -> Self {
        // The deserializer reads single bytes, which is slow on an unbuffered trait object.
        Self { objects: Deserializer::from_reader(BufReader::new(input)).into_iter(), read: 0 }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Object>> {
        self.read += 1;
        let object = self.objects.next().transpose();
        object.map_err(|error| {
            let problem = problem(&error, &format!("row {}", self.read));
            if error.is_data() || error.is_syntax() {
                problem.hint("write one JSON object per line, for example with `jq -c '.[]'`")
            } else {
                problem
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<Vec<BTreeMap<String, String>>, String> {
        let mut objects = Objects::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(object) = objects.next().map_err(|problem| problem.message().to_owned())? {
            all.push(object.0.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect());
        }
        Ok(all)
    }

    #[test]
    fn numbers_preserve_all_digits() {
        let rows =
            read("{\"a\": 12345678901234567890123, \"b\": [1.10, {\"c\": 1e400}]}\n{\"a\": -0.0}\n").expect("rows");
        assert_eq!(
            (rows[0]["a"].as_str(), rows[0]["b"].as_str()),
            ("12345678901234567890123", "[1.10, {\"c\": 1e400}]")
        );
        assert_eq!(rows[1]["a"], "-0.0");
    }

    #[test]
    fn duplicate_member_names_are_rejected_at_every_depth() {
        for text in ["{\"a\":1,\"a\":2}", "{\"x\":{\"a\":1,\"a\":2}}", "{\"x\":[[{\"a\":1,\"\\u0061\":2}]]}"] {
            assert!(read(text).expect_err("twice").contains("an object has the duplicate name `a`"), "{text}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let refused = read(&deep).expect_err("too deep");
        assert!(refused.starts_with("row 1: "), "{refused}");
    }

    #[test]
    fn error_for_a_non_object_names_the_row() {
        for (text, row) in
            [("{}\n[2]", "row 2: "), ("{}\n{\"a\"", "row 2: "), ("{}\n\n{}\nx", "row 3: "), ("[{}]", "row 1: ")]
        {
            assert!(read(text).expect_err(text).starts_with(row), "{text}");
        }
    }
}
