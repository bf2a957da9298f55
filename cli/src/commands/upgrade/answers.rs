//! Values that the user supplies for blocks: `--set TYPE/NAME:FIELD=VALUE` and `--answers FILE`.

use std::collections::BTreeMap;
use std::path::Path;

use blockyard::model::{PlainDocument, Pointer, Schema, TypeSlug, exact};
use blockyard::{Address, Answers, Error, ErrorKind, Json, Patch};

use crate::arguments::Fields;
use crate::fields::pair;
use crate::input::read;
use crate::terminal::{Failure, Terminal};

/// Values by block, as the user wrote them. They are parsed by the schema of the new version.
#[derive(Debug, Default)]
pub(super) struct Supplied(BTreeMap<Address, Values>);

#[derive(Debug, Default)]
struct Values {
    /// Fields of the file.
    document: Option<PlainDocument>,
    /// `FIELD=VALUE` of the command line.
    set: Vec<String>,
}

impl Supplied {
    /// Reads the values of the command line and of the file.
    pub(super) fn read(set: &[String], file: Option<&Path>) -> Result<Self, Error> {
        let mut supplied = Self::default();
        for (address, document) in file.map(read_file).transpose()?.unwrap_or_default() {
            supplied.0.entry(address).or_default().document = Some(document);
        }
        for text in set {
            let (address, field) =
                text.split_once(':').filter(|(address, _)| address.contains('/')).ok_or_else(|| {
                    Error::new(ErrorKind::Usage, "a value of `--set` does not begin with the address of a block")
                        .hint("use `--set TYPE/NAME:FIELD=VALUE`")
                })?;
            pair(field, "--set")?;
            supplied.0.entry(address.parse()?).or_default().set.push(field.to_owned());
        }
        Ok(supplied)
    }

    /// Removes and returns the values for the block types that `schema` knows.
    pub(super) fn take<'a>(
        &mut self,
        schema: impl Fn(&TypeSlug) -> Option<&'a Schema>,
        terminal: &Terminal,
    ) -> Result<Answers, Failure> {
        let mut answers = Answers::new();
        let (known, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.0).into_iter().partition(|(address, _)| schema(&address.type_slug).is_some());
        self.0 = rest;
        for (address, Values { document, set }) in known {
            let Some(schema) = schema(&address.type_slug) else { continue };
            let secret = set
                .iter()
                .filter_map(|text| text.split_once('='))
                .find(|(field, _)| schema.is_secret(&Pointer::from_dotted(field)));
            if let Some((field, _)) = secret {
                return Err(exposed_secret(&address, field).into());
            }
            let fields = Fields { set, json_config: None, secret: Vec::new() };
            let patch = fields.into_patch(schema, terminal)?;
            answers.insert(address, Patch { document, ..patch });
        }
        Ok(answers)
    }

    /// Returns the blocks whose values were not used.
    pub(super) fn unused(&self) -> impl Iterator<Item = &Address> {
        self.0.keys()
    }
}

fn exposed_secret(address: &Address, field: &str) -> Error {
    let message =
        format!("field `{field}` of `{address}` is a secret; on a command line it would stay in the shell's history");
    Error::new(ErrorKind::Usage, message)
        .hint(format!("put `{field}` into a file and name it with `--answers FILE`"))
        .hint(format!("the file may name a source: `{field} = {{ \"$source\" = \"env:NAME\" }}`"))
}

/// Reads a file with a table for each block.
fn read_file(path: &Path) -> Result<Vec<(Address, PlainDocument)>, Error> {
    let text = zeroize::Zeroizing::new(read(path)?);
    let invalid = |reason: String| {
        Error::new(ErrorKind::Invalid, format!("the answers in `{}` are not valid", path.display()))
            .because(reason)
            .hint("write a table for each block, such as `[\"TYPE/NAME\"]`, with a line for each field")
    };
    let document = if text.trim_start().starts_with('{') {
        exact::parse(&text).map_err(|error| invalid(error.to_string()))?
    } else {
        // The message of a syntax error would quote the line, which may contain a secret.
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| invalid(error.message().to_owned()))?;
        Json::Object(table.into_iter().map(|(name, value)| (name, json(value))).collect())
    };
    let Json::Object(blocks) = document else { return Err(invalid("expected an object".to_owned())) };
    let block = |(address, fields): (String, Json)| {
        if !fields.is_object() {
            return Err(invalid(format!("`{address}` is not a table")));
        }
        Ok((address.parse::<Address>()?, PlainDocument(fields)))
    };
    blocks.into_iter().map(block).collect()
}

/// Converts a TOML value. A time becomes a string.
fn json(value: toml::Value) -> Json {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(elements) => elements.into_iter().map(json).collect(),
        toml::Value::Table(members) => members.into_iter().map(|(name, member)| (name, json(member))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Vec<(String, Json)>, Error> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("answers");
        std::fs::write(&path, text).expect("a file");
        let blocks = read_file(&path)?.into_iter();
        Ok(blocks.map(|(address, mut document)| (address.to_string(), document.0.take())).collect())
    }

    #[test]
    fn toml_and_json_mean_the_same() {
        let toml = file("[\"vet-clinic/a\"]\nregion = \"eu\"\nport = 7\nplace.house = \"h\"\n").expect("TOML");
        let json = file(r#"{"vet-clinic/a": {"region": "eu", "port": 7, "place": {"house": "h"}}}"#).expect("JSON");
        assert_eq!(toml, json);
        assert_eq!(toml[0].1["place"]["house"], "h");
    }

    #[test]
    fn malformed_answers_are_rejected_without_quoting_them() {
        for text in
            ["[vet-clinic/a]\n", "\"vet-clinic/a\" = 1", "[\"vet\"]\n", "{\"vet-clinic/a\": {}", "token = \"s3cret"]
        {
            let error = file(text).expect_err(text);
            assert!(!format!("{error} {:?}", error.causes()).contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_value_names_its_block() {
        let supplied = |text: &str| Supplied::read(&[text.to_owned()], None);
        assert!(supplied("vet-clinic/a:url=https://x.example/").is_ok());
        for text in ["region=eu", "vet-clinic/a", "vet-clinic/a:region", "a:b/c=d", "vet-clinic/A:region=eu"] {
            assert!(supplied(text).is_err(), "{text}");
        }
    }
}
