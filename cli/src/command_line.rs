//! The command that creates a block like the answers to prompts. It contains no secret.

use std::collections::BTreeMap;

use blockyard::Json;
use blockyard::model::marker::{SECRET_MARKER, SOURCE_MARKER, is_secret, secrets};
use blockyard::model::reference::BLOCK_MARKER;
use blockyard::model::{Address, Pointer, Schema};

/// A command, as the words of a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EquivalentCommand {
    words: Vec<String>,
    /// Content of the file that the command reads, if options cannot state all values.
    pub(crate) file: Option<String>,
}

/// Name of that file in the command.
const FILE: &str = "FILE.json";

/// Returns the `create` command for a configuration with markers in place of secrets. `files` are the
/// files from which values were read, `before` the options of the program.
pub(crate) fn equivalent(
    schema: &Schema,
    address: &Address,
    config: &Json,
    files: &BTreeMap<Pointer, String>,
    before: &[String],
) -> EquivalentCommand {
    let mut words = vec!["blockyard".to_owned()];
    words.extend(before.iter().cloned());
    words.extend(["create".to_owned(), address.to_string()]);
    let mut options = Options { schema, files, set: Vec::new(), secrets: Vec::new() };
    let mut members = config.as_object().into_iter().flatten();
    if members.try_for_each(|(name, value)| options.add(&Pointer::default().child(name), value)).is_some() {
        words.extend(options.set);
        words.extend(options.secrets);
        return EquivalentCommand { words, file: None };
    }
    let mut rest = config.clone();
    // Values of lists precede the list, and the last elements are removed first.
    for pointer in secrets(config).into_iter().rev() {
        if rest.pointer(pointer.as_str()).is_some_and(|marker| marker.get(SECRET_MARKER).is_some()) {
            pointer.remove(&mut rest);
        }
    }
    words.extend(["--json-config".to_owned(), FILE.to_owned()]);
    for pointer in secrets(config) {
        if config.pointer(pointer.as_str()).is_some_and(|marker| marker.get(SECRET_MARKER).is_some()) {
            words.extend(["--secret".to_owned(), options.secret(&pointer)]);
        }
    }
    EquivalentCommand { words, file: Some(rest.to_string()) }
}

struct Options<'a> {
    schema: &'a Schema,
    files: &'a BTreeMap<Pointer, String>,
    set: Vec<String>,
    secrets: Vec<String>,
}

impl Options<'_> {
    /// Adds the options for a value. Returns `None` if no option expresses it.
    fn add(&mut self, pointer: &Pointer, value: &Json) -> Option<()> {
        let field = pointer.dotted();
        if Pointer::from_dotted(&field) != *pointer || field.contains('=') {
            return None;
        }
        if is_secret(value) {
            let option = match value.get(SOURCE_MARKER).and_then(Json::as_str) {
                Some(source) => format!("{field}={source}"),
                None => self.secret(pointer),
            };
            self.secrets.extend(["--secret".to_owned(), option]);
            return Some(());
        }
        if let Some(file) = self.files.get(pointer) {
            self.set.extend(["--set".to_owned(), format!("{field}=@{file}")]);
            return Some(());
        }
        match value {
            Json::Object(members) if members.len() == 1 && members.contains_key(BLOCK_MARKER) => {
                self.set(pointer, members[BLOCK_MARKER].as_str()?, value)
            }
            Json::Object(members) if !members.is_empty() => {
                members.iter().try_for_each(|(name, member)| self.add(&pointer.child(name), member))
            }
            Json::Array(_) => self.add_list(pointer, value),
            Json::String(text) => self.set(pointer, text, value),
            other => self.set(pointer, &other.to_string(), other),
        }
    }

    fn set(&mut self, pointer: &Pointer, text: &str, value: &Json) -> Option<()> {
        let parsed = self.schema.parse_value(pointer, text).ok()?;
        // A line break would end the line of the command; `@` would name a file.
        if parsed != *value || text.starts_with('@') || text.contains(char::is_control) {
            return None;
        }
        self.set.extend(["--set".to_owned(), format!("{}={text}", pointer.dotted())]);
        Some(())
    }

    /// Adds a list as JSON, and its secrets as separate options.
    fn add_list(&mut self, pointer: &Pointer, list: &Json) -> Option<()> {
        let mut rest = list.clone();
        let inner = secrets(list);
        for secret in inner.iter().rev() {
            secret.remove(&mut rest);
        }
        // Without its secrets, every other element keeps its index.
        let direct = inner.iter().filter(|secret| secret.tokens().len() == 1).count();
        if direct > 0 && direct < list.as_array().map_or(0, Vec::len) {
            return None;
        }
        self.set(pointer, &rest.to_string(), &rest)?;
        inner.iter().try_for_each(|secret| {
            let value = list.pointer(secret.as_str())?;
            self.add(&pointer.join(secret), value)
        })
    }

    fn secret(&self, pointer: &Pointer) -> String {
        match self.files.get(pointer) {
            Some(file) => format!("{}=@{file}", pointer.dotted()),
            None => pointer.dotted(),
        }
    }
}

impl EquivalentCommand {
    /// Adds a word at the end.
    pub(crate) fn push(&mut self, word: &str) {
        self.words.push(word.to_owned());
    }

    /// Returns the command for a POSIX shell: in one line if it fits, else with a line for each option,
    /// which a backslash joins.
    pub(crate) fn text(&self, width: usize) -> String {
        let words: Vec<String> = self.words.iter().map(|word| quoted(word)).collect();
        let line = words.join(" ");
        if line.chars().count() <= width {
            return line;
        }
        let mut text = String::new();
        for word in words {
            if word == "--set" || word == "--secret" || word == "--json-config" {
                text.push_str(" \\\n  ");
            } else if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&word);
        }
        text
    }
}

/// Quotes a word for a POSIX shell, if necessary.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use blockyard::Patch;
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::arguments::Fields;
    use crate::terminal::Terminal;

    fn schema() -> Schema {
        let secret =
            json!({"type": "string", "writeOnly": true, "format": "password", "x-secret": {"audience": "sql"}});
        Schema::compile(json!({"type": "object", "properties": {
            "name": {"type": "string"}, "port": {"type": "integer"}, "password": secret,
            "keeper": {"x-block": "keeper"}, "ca": {"type": "string"},
            "place": {"type": "object", "properties": {"house": {"type": "string"}, "code": secret}},
            "doors": {"type": "array", "items": {"type": "object", "properties": {"door": {"type": "string"}, "code": secret}}},
            "spares": {"type": "array", "items": secret},
            "options": {"type": "object", "additionalProperties": {"type": "string"}},
        }}))
        .expect("a good schema")
    }

    fn check(config: Json, expected: Expect) {
        let address = "zoo/a".parse().expect("an address");
        let files = BTreeMap::from([(Pointer::new("/ca"), "ca.pem".to_owned())]);
        let command = equivalent(&schema(), &address, &config, &files, &[]);
        let file = command.file.as_ref().map(|file| format!("\n{file}")).unwrap_or_default();
        expected.assert_eq(&format!("{}{file}", command.text(70)));
        // The options have the values of the configuration.
        let options = command.words.chunks(2).skip(1).filter(|pair| pair[0] == "--set" && !pair[1].contains("=@"));
        let fields =
            Fields { set: options.map(|pair| pair[1].clone()).collect(), json_config: None, secret: Vec::new() };
        let terminal = Terminal { json: false, quiet: true, verbose: 0 };
        let Patch { set, .. } = fields.into_patch(&schema(), &terminal).unwrap_or_else(|_| panic!("{command:?}"));
        for (pointer, value) in set.iter().filter(|(_, value)| !value.is_array()) {
            assert_eq!(config.pointer(pointer.as_str()), Some(value), "{pointer}");
        }
    }

    #[test]
    fn the_command_has_the_same_values() {
        check(json!({}), expect!["blockyard create zoo/a"]);
        check(
            json!({"name": "it's ok", "port": 5, "password": {"$secret": "/password"}, "keeper": {"$block": "keeper/ada"}, "ca": "PEM\n"}),
            expect![[r#"
                blockyard create zoo/a \
                  --set ca=@ca.pem \
                  --set keeper=keeper/ada \
                  --set 'name=it'\''s ok' \
                  --set port=5 \
                  --secret password"#]],
        );
        check(
            json!({"place": {"house": "h", "code": {"$source": "env:CODE"}}, "spares": [{"$secret": "/spares/0"}],
                "doors": [{"door": "n", "code": {"$secret": "/doors/0/code"}}]}),
            expect![[r#"
                blockyard create zoo/a \
                  --set 'doors=[{"door":"n"}]' \
                  --set place.house=h \
                  --set 'spares=[]' \
                  --secret doors.0.code \
                  --secret place.code=env:CODE \
                  --secret spares.0"#]],
        );
    }

    #[test]
    fn values_that_no_option_expresses_are_in_a_file() {
        check(
            json!({"name": "@home", "password": {"$secret": "/password"}}),
            expect![[r#"
                blockyard create zoo/a --json-config FILE.json --secret password
                {"name":"@home"}"#]],
        );
        check(
            json!({"options": {"a.b": "1"}}),
            expect![[r#"
                blockyard create zoo/a --json-config FILE.json
                {"options":{"a.b":"1"}}"#]],
        );
    }
}
