//! Reads and writes block files: TOML files for `export`, `plan` and `apply`.
//!
//! ```toml
//! version = 1
//!
//! [blocks."sql-database/warehouse"]
//! dialect = "postgres"
//! host = "db.example.com"
//! database = "warehouse"
//! username = "loader"
//! password = "env:WAREHOUSE_PASSWORD"
//! ```
//!
//! `set = "NAME"` names the set of the file's blocks, so that a block that is removed from the file can
//! be deleted. A table contains the complete configuration of a block. Secrets are written as a source, or as
//! `"kept"` for the secret that the yard stores. Omitted secrets are retained too, together with
//! the tables that contain them. References are written as the address of the block. Values without
//! a TOML representation (null, and integers outside the signed 64-bit range) are written as
//! `{ "$json" = "…" }`.

use std::collections::BTreeSet;

use blockyard_model::exact::{self, ExactError};
use blockyard_model::marker::{SECRET_MARKER, SOURCE_MARKER, secret_marker, source_marker};
use blockyard_model::reference::{BLOCK_MARKER, block_marker};
use blockyard_model::secret::MASK;
use blockyard_model::{Address, Locations, Pointer, Schema, SecretSource, SetName, SplitDocument, Violation};
use serde_json::{Map, Value};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value as Toml};

use crate::connection_url;
use crate::merge::keep_secrets;
use crate::{Error, ErrorKind};

/// Format version of the file.
const FORMAT: i64 = 1;
/// Name of the key with the name of the set.
const SET: &str = "set";
/// Name of the table that contains the blocks.
const BLOCKS: &str = "blocks";
/// Placeholder for a secret that the yard stores.
const KEPT: &str = "kept";
/// Violation for a secret in plain text.
const ONLY_SOURCES: &str = "a secret must be written as a source, such as `env:NAME`";
/// Maximum nesting depth of TOML tables and arrays. Deeper values are written as JSON.
const MAX_DEPTH: usize = 32;
/// Key that marks a value as JSON.
const JSON_MARKER: &str = "$json";

/// A block file. Comments and order are retained when blocks are added.
#[derive(Debug, Clone)]
pub struct BlockFile {
    document: DocumentMut,
}

impl BlockFile {
    /// Creates a file without blocks.
    #[must_use]
    pub fn new() -> Self {
        let mut document = DocumentMut::new();
        document.insert("version", toml_edit::value(FORMAT));
        Self { document }
    }

    /// Parses a block file.
    ///
    /// # Errors
    /// Returns an error if the file is not valid TOML, if it has an unsupported version or unknown
    /// tables, or if an address is malformed.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
            // The library's message shows the line, which may contain a secret.
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            Error::new(ErrorKind::Invalid, format!("the file is not valid TOML: line {line}: {}", error.message()))
        })?;
        let wrong = |message: String| {
            Error::new(ErrorKind::Invalid, message)
                .hint("begin the file with `version = 1`, and add a table `[blocks.\"TYPE/NAME\"]` for each block")
        };
        match document.get("version").and_then(Item::as_integer) {
            Some(FORMAT) => {}
            Some(other) => {
                return Err(wrong(format!(
                    "the file has format version {other}; this version of Blockyard reads version {FORMAT}"
                )));
            }
            None => return Err(wrong("the file has no `version`".to_owned())),
        }
        if let Some((key, _)) = document.iter().find(|(key, _)| !matches!(*key, "version" | SET | BLOCKS)) {
            return Err(wrong(format!("the file has an unknown key `{key}`")));
        }
        if document.get(BLOCKS).is_some_and(|item| item.as_table_like().is_none()) {
            return Err(wrong(format!("`{BLOCKS}` must be a table")));
        }
        let file = Self { document };
        file.set()?;
        file.addresses()?;
        Ok(file)
    }

    /// Returns the set that the file names.
    ///
    /// # Errors
    /// Returns an error if the name is malformed.
    pub fn set(&self) -> Result<Option<SetName>, Error> {
        let Some(item) = self.document.get(SET) else { return Ok(None) };
        let Some(name) = item.as_str() else {
            return Err(Error::new(ErrorKind::Invalid, format!("`{SET}` in the file must be a string")));
        };
        SetName::new(name).map(Some).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))
    }

    /// Returns the addresses of the blocks, in file order.
    ///
    /// # Errors
    /// Returns an error if an address is malformed.
    pub fn addresses(&self) -> Result<Vec<Address>, Error> {
        let blocks = self.document.get(BLOCKS).and_then(Item::as_table_like);
        blocks
            .into_iter()
            .flat_map(|blocks| blocks.iter())
            .map(|(key, item)| {
                let address = key.parse::<Address>()?;
                if item.as_table_like().is_none() {
                    return Err(Error::new(
                        ErrorKind::Invalid,
                        format!("block `{address}` in the file is not a table"),
                    ));
                }
                Ok(address)
            })
            .collect()
    }

    /// Returns the content of the file as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.document.iter().map(|(key, item)| (key.to_owned(), plain_item(item))).collect::<Map<_, _>>().into()
    }

    /// Returns a block's configuration, parsed according to its schema, and the violations.
    /// `stored` is the document in the yard: its sealed secrets are retained where the file
    /// contains `"kept"` or omits them.
    pub(crate) fn config(
        &self,
        address: &Address,
        schema: &Schema,
        stored: Option<&SplitDocument>,
    ) -> (SplitDocument, Vec<Violation>) {
        let block = self.document.get(BLOCKS).and_then(|blocks| blocks.get(address.to_string()));
        let members = block.and_then(Item::as_table_like);
        let mut reader = Reader { schema, stored, kept: BTreeSet::new(), violations: Vec::new() };
        let mut config = Map::new();
        for (key, item) in members.into_iter().flat_map(|members| members.iter()) {
            config.insert(key.to_owned(), reader.item(item, &Pointer::default().child(key)));
        }
        let mut config = Value::Object(config);
        reader.violations.extend(connection_url::expand_urls_of_file(schema, &mut config));
        reader.convert(&mut config, &Pointer::default());
        let Reader { kept, mut violations, .. } = reader;
        let values = stored.map(|stored| &stored.secrets);
        let secrets = kept.into_iter().filter_map(|pointer| {
            let value = values?.get(&pointer)?.clone();
            Some((pointer, value))
        });
        let mut document = SplitDocument { config, secrets: secrets.collect() };
        if let Some(stored) = stored {
            violations.extend(keep_secrets(&mut document, stored, schema));
        }
        // Regardless of its TOML form, a secret field must contain a source or a secret that the
        // yard stores.
        for secret in schema.secrets(&document.config) {
            let Some(slot) = document.config.pointer_mut(secret.pointer.as_str()) else { continue };
            let is_converted = slot.is_null() || slot.get(SOURCE_MARKER).is_some() || slot.get(SECRET_MARKER).is_some();
            if !is_converted {
                *slot = Value::Null;
                violations.push(Violation::new(secret.pointer, ONLY_SOURCES));
            }
        }
        (document, violations)
    }

    /// Adds a block to the file, or updates its table. Comments are retained.
    pub(crate) fn put(&mut self, address: &Address, schema: &Schema, config: &Value) {
        let writer = Writer { locations: locations(schema, config) };
        let blocks = self.document.entry(BLOCKS).or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let Some(blocks) = blocks.as_table_like_mut() else { return };
        let key = address.to_string();
        if blocks.get(&key).is_none() {
            blocks.insert(&key, Item::Table(Table::new()));
        }
        let Some(block) = blocks.get_mut(&key).and_then(Item::as_table_like_mut) else { return };
        let fields = config.as_object().cloned().unwrap_or_default();
        writer.members(block, &ordered(schema, &fields), &Pointer::default());
    }
}

impl Default for BlockFile {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Display for BlockFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.document.fmt(f)
    }
}

/// Returns the fields, sorted by `x-order`.
fn ordered<'a>(schema: &Schema, fields: &'a Map<String, Value>) -> Vec<(&'a String, &'a Value)> {
    let order = |name: &str| {
        let field = schema.document().get("properties").and_then(|fields| fields.get(name));
        field.and_then(|field| field.get("x-order")).and_then(Value::as_i64).unwrap_or(i64::MAX)
    };
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| order(name));
    fields
}

/// Returns the locations of secrets and references.
fn locations(schema: &Schema, config: &Value) -> BTreeSet<Pointer> {
    let Locations { secrets, references, .. } = schema.locations(config);
    secrets
        .into_iter()
        .map(|location| location.pointer)
        .chain(references.into_iter().map(|location| location.pointer))
        .collect()
}

struct Writer {
    locations: BTreeSet<Pointer>,
}

impl Writer {
    /// Updates the members of a table. Unchanged values keep their formatting, and all values keep
    /// their comments.
    fn members(&self, table: &mut dyn TableLike, members: &[(&String, &Value)], at: &Pointer) {
        let known = |key: &str| members.iter().any(|(own, _)| *own == key);
        let gone: Vec<String> = table.iter().map(|(key, _)| key.to_owned()).filter(|key| !known(key)).collect();
        for key in gone {
            table.remove(&key);
        }
        for (key, value) in members {
            let pointer = at.child(key);
            let new = self.value(value, &pointer);
            match table.get_mut(key) {
                None => drop(table.insert(key, Item::Value(new))),
                Some(item) if plain_item(item) == plain(&new) => {}
                Some(item) => {
                    // A separate table may contain comments, so its members are updated in place.
                    if let (Some(inner), Value::Object(own), Toml::InlineTable(_)) = (item.as_table_mut(), value, &new)
                        && !own.contains_key(JSON_MARKER)
                        && !self.locations.contains(&pointer)
                    {
                        self.members(inner, &own.iter().collect::<Vec<_>>(), &pointer);
                    } else if let Some(old) = item.as_value_mut() {
                        let decor = old.decor().clone();
                        *old = new;
                        *old.decor_mut() = decor;
                    } else {
                        table.remove(key);
                        table.insert(key, Item::Value(new));
                    }
                }
            }
        }
    }

    fn value(&self, value: &Value, at: &Pointer) -> Toml {
        if self.locations.contains(at) {
            if value.get(SECRET_MARKER).is_some() {
                return Toml::from(KEPT);
            }
            if let Some(text) = value.get(SOURCE_MARKER).or_else(|| value.get(BLOCK_MARKER)).and_then(Value::as_str) {
                return Toml::from(text);
            }
        }
        match value {
            // TOML parsers limit nesting more strictly than JSON parsers.
            Value::Object(_) | Value::Array(_) if at.tokens().len() > MAX_DEPTH => json_form(value),
            Value::String(text) => Toml::from(text.as_str()),
            Value::Bool(value) => Toml::from(*value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Toml::from(integer),
                (None, Some(float)) if number.is_f64() => Toml::from(float),
                _ => json_form(value),
            },
            Value::Array(elements) => elements
                .iter()
                .enumerate()
                .map(|(index, element)| self.value(element, &at.child(&index.to_string())))
                .collect::<Array>()
                .into(),
            Value::Object(members) if members.contains_key(JSON_MARKER) => json_form(value),
            Value::Object(members) => {
                let mut table = InlineTable::new();
                for (key, member) in members {
                    table.insert(key, self.value(member, &at.child(key)));
                }
                table.into()
            }
            Value::Null => json_form(value),
        }
    }
}

fn json_form(value: &Value) -> Toml {
    let mut table = InlineTable::new();
    table.insert(JSON_MARKER, value.to_string().into());
    table.into()
}

struct Reader<'a> {
    schema: &'a Schema,
    stored: Option<&'a SplitDocument>,
    kept: BTreeSet<Pointer>,
    violations: Vec<Violation>,
}

impl Reader<'_> {
    fn item(&mut self, item: &Item, at: &Pointer) -> Value {
        match item {
            Item::Value(value) => self.value(value, at),
            Item::Table(table) => self.members(table.iter().map(|(key, item)| (key, item.clone())), at),
            Item::ArrayOfTables(tables) => tables
                .iter()
                .enumerate()
                .map(|(index, table)| self.item(&Item::Table(table.clone()), &at.child(&index.to_string())))
                .collect(),
            Item::None => Value::Null,
        }
    }

    fn members<'t>(&mut self, members: impl Iterator<Item = (&'t str, Item)>, at: &Pointer) -> Value {
        members.map(|(key, item)| (key.to_owned(), self.item(&item, &at.child(key)))).collect::<Map<_, _>>().into()
    }

    fn value(&mut self, value: &Toml, at: &Pointer) -> Value {
        match value {
            Toml::String(text) => Value::from(text.value().as_str()),
            Toml::Integer(integer) => Value::from(*integer.value()),
            Toml::Float(float) => {
                let written = float.display_repr().replace('_', "");
                match serde_json::Number::from_f64(*float.value()) {
                    Some(_) if !exact::is_exact(written.trim_start_matches('+')) => {
                        self.refuse(at, "would lose digits; write it as a string if the field accepts one")
                    }
                    Some(number) => number.into(),
                    None => self.refuse(at, "is not a finite number"),
                }
            }
            Toml::Boolean(boolean) => Value::from(*boolean.value()),
            Toml::Datetime(time) => Value::from(time.value().to_string()),
            Toml::Array(elements) => elements
                .iter()
                .enumerate()
                .map(|(index, element)| self.value(element, &at.child(&index.to_string())))
                .collect(),
            Toml::InlineTable(table) if table.contains_key(JSON_MARKER) => {
                let text = table.get(JSON_MARKER).and_then(Toml::as_str).filter(|_| table.len() == 1);
                match text.map(exact::parse) {
                    Some(Ok(value)) => value,
                    Some(Err(ExactError::Inexact { .. })) => {
                        self.refuse(at, "would lose digits; write it as a string if the field accepts one")
                    }
                    _ => self.refuse(at, &format!("`{{ \"{JSON_MARKER}\" = … }}` must contain JSON as a string")),
                }
            }
            Toml::InlineTable(table) => {
                self.members(table.iter().map(|(key, value)| (key, Item::Value(value.clone()))), at)
            }
        }
    }

    /// Converts strings in secret and reference fields to sources and references, regardless of the
    /// TOML form of the tables that contain them.
    fn convert(&mut self, value: &mut Value, at: &Pointer) {
        if let Value::String(text) = value {
            if self.schema.is_secret(at) {
                *value = self.secret(&std::mem::take(text), at);
            } else if self.schema.is_reference(at) {
                *value = block_marker(text);
            }
            return;
        }
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    self.convert(member, &at.child(key));
                }
            }
            Value::Array(elements) => {
                for (index, element) in elements.iter_mut().enumerate() {
                    self.convert(element, &at.child(&index.to_string()));
                }
            }
            _ => {}
        }
    }

    fn secret(&mut self, text: &str, at: &Pointer) -> Value {
        if text == KEPT {
            return match self.stored {
                // A destroyed secret is accepted as well; it remains destroyed.
                Some(stored) if stored.config.pointer(at.as_str()) == Some(&secret_marker(at)) => {
                    self.kept.insert(at.clone());
                    secret_marker(at)
                }
                _ => self.refuse(at, "the yard stores no secret for this field; write a source"),
            };
        }
        match text.parse::<SecretSource>() {
            Ok(source) => source_marker(&source),
            Err(_) if text == MASK => {
                self.refuse(at, &format!("`{MASK}` is what `show` prints in place of a secret; write `\"{KEPT}\"`"))
            }
            // The text may be the secret itself, so it is not repeated.
            Err(_) => self.refuse(at, ONLY_SOURCES),
        }
    }

    fn refuse(&mut self, at: &Pointer, message: &str) -> Value {
        self.violations.push(Violation::new(at.clone(), message));
        Value::Null
    }
}

/// Converts a TOML value to JSON, without its formatting.
fn plain(value: &Toml) -> Value {
    match value {
        Toml::String(text) => Value::from(text.value().as_str()),
        Toml::Integer(integer) => Value::from(*integer.value()),
        Toml::Float(float) => Value::from(*float.value()),
        Toml::Boolean(boolean) => Value::from(*boolean.value()),
        Toml::Datetime(time) => Value::from(time.value().to_string()),
        Toml::Array(elements) => elements.iter().map(plain).collect(),
        Toml::InlineTable(table) => {
            table.iter().map(|(key, value)| (key.to_owned(), plain(value))).collect::<Map<_, _>>().into()
        }
    }
}

fn plain_item(item: &Item) -> Value {
    match item {
        Item::Value(value) => plain(value),
        Item::Table(table) => {
            table.iter().map(|(key, item)| (key.to_owned(), plain_item(item))).collect::<Map<_, _>>().into()
        }
        Item::ArrayOfTables(tables) => tables.iter().map(|table| plain_item(&Item::Table(table.clone()))).collect(),
        Item::None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn schema() -> Schema {
        Schema::compile(json!({
            "type": "object",
            "properties": {
                "any": true,
                "password": {"type": "string", "writeOnly": true, "format": "password"},
                "tokens": {"type": "array", "items": {"type": "string", "writeOnly": true, "format": "password"}},
                "base": {"x-block": "gcp-credentials"}
            }
        }))
        .expect("a good schema")
    }

    fn address() -> Address {
        "thing/one".parse().expect("an address")
    }

    fn round_trip(config: &Value) -> Value {
        let mut file = BlockFile::new();
        file.put(&address(), &schema(), config);
        let again = BlockFile::parse(&file.to_string()).expect("its own text");
        let (document, wrong) = again.config(&address(), &schema(), None);
        assert_eq!(wrong, []);
        document.config
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(json!({"$json": "1"})),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"/~. ]{0,5}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_configuration_round_trips(any in json_value()) {
            let config = json!({ "any": any });
            prop_assert_eq!(round_trip(&config), config);
        }
    }

    #[test]
    fn secrets_are_written_as_sources_and_references_as_addresses() {
        let config = json!({
            "password": {"$source": "env:PW"}, "tokens": [{"$secret": "/tokens/0"}], "base": {"$block": "gcp-credentials/prod"}
        });
        let mut file = BlockFile::new();
        file.put(&address(), &schema(), &config);
        expect_test::expect![[r#"
            version = 1

            [blocks."thing/one"]
            base = "gcp-credentials/prod"
            password = "env:PW"
            tokens = ["kept"]
        "#]]
        .assert_eq(&file.to_string());
    }

    #[test]
    fn a_plaintext_secret_is_rejected_and_not_repeated() {
        let file = "version = 1\n[blocks.\"thing/one\"]\npassword = \"hunter2\"\ntokens = [\"********\"]\n";
        let (_, refused) = BlockFile::parse(file).expect("TOML").config(&address(), &schema(), None);
        let text: Vec<&str> = refused.iter().map(|violation| violation.message.as_str()).collect();
        assert_eq!(text.len(), 2, "{text:?}");
        assert!(text.iter().all(|text| !text.contains("hunter2")), "{text:?}");
    }

    #[test]
    fn a_rewritten_file_keeps_comments_and_order() {
        let text = "# Mine.\nversion = 1\n\n# The first.\n[blocks.\"thing/one\"]\n# Why it is 1.\nany = 1 # really\nbase = \"gcp-credentials/a\"\n";
        let mut file = BlockFile::parse(text).expect("TOML");
        file.put(&address(), &schema(), &json!({"any": 2, "base": {"$block": "gcp-credentials/a"}}));
        expect_test::expect![[r#"
            # Mine.
            version = 1

            # The first.
            [blocks."thing/one"]
            # Why it is 1.
            any = 2 # really
            base = "gcp-credentials/a"
        "#]]
        .assert_eq(&file.to_string());
    }
}
