//! Schemas as lines for reading: the fields of a configuration, with those of nested groups, lists, maps and
//! variants, and the arguments of an operation. Bundles write the schemas, so their size is not trusted.

use blockyard::Json;
use blockyard::model::argument::{IDEMPOTENCY_KEY_KEYWORD, LANGUAGE_KEYWORD};
use blockyard::model::visible;
use serde_json::Map;

type Object = Map<String, Json>;

/// Maximum number of lines of an outline.
const LINES: usize = 400;
/// Maximum depth of nested fields.
const DEPTH: usize = 6;
/// Maximum length of a list of choices or of a default, in characters.
const SHOWN: usize = 120;

/// Returns the fields of a configuration. A nested field has the name that `--set` accepts, with `N` for the
/// index of a list and `NAME` for the key of a map.
pub(crate) fn fields(schema: &Json, indent: &str) -> String {
    let mut outline = Outline { root: schema, indent, text: String::new(), lines: 0 };
    outline.inside(&resolved(schema, schema), "", &mut Vec::new());
    outline.text
}

/// Returns the arguments of an operation: required ones first.
pub(crate) fn arguments(schema: &Json, indent: &str) -> String {
    let mut outline = Outline { root: schema, indent, text: String::new(), lines: 0 };
    for (name, required, part) in schema.as_object().map(members).unwrap_or_default() {
        let part = resolved(schema, part);
        let words = facts(schema, &part, required);
        outline.line(&format!("--{name}"), &words, description(&part));
    }
    outline.text
}

struct Outline<'a> {
    root: &'a Json,
    indent: &'a str,
    text: String,
    lines: usize,
}

impl Outline<'_> {
    fn line(&mut self, name: &str, facts: &str, description: &str) {
        self.lines += 1;
        if self.lines > LINES {
            return;
        }
        let (indent, name) = (self.indent, visible::line(name));
        self.text.push_str(&format!("{indent}{name}  ({})\n", visible::line(facts)));
        let description = visible::paragraph(description);
        if !description.is_empty() {
            self.text.push_str(&format!("{indent}    {description}\n"));
        }
    }

    /// Adds the members of an object. `within` are the references that lead to it.
    fn members(&mut self, object: &Object, path: &str, within: &mut Vec<String>) {
        for (name, required, part) in members(object) {
            if self.lines > LINES {
                return;
            }
            let reference = part["$ref"].as_str().map(str::to_owned);
            let is_inside_itself = reference.as_ref().is_some_and(|own| within.contains(own));
            let part = resolved(self.root, part);
            let path = format!("{path}{name}");
            self.line(&path, &facts(self.root, &part, required), description(&part));
            if is_inside_itself || within.len() >= DEPTH {
                continue;
            }
            within.push(reference.unwrap_or_default());
            self.inside(&part, &path, within);
            within.pop();
        }
    }

    /// Adds what a group, a list, a map or a variant contains.
    fn inside(&mut self, part: &Object, path: &str, within: &mut Vec<String>) {
        if is_opaque(part) {
            return;
        }
        let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
        if part.contains_key("properties") {
            self.members(part, &prefix, within);
        }
        for (key, name) in [("items", "N"), ("additionalProperties", "NAME")] {
            if let Some(item) = part.get(key).filter(|item| item.is_object()) {
                let item = resolved(self.root, item);
                if is_secret(&item) {
                    self.line(&format!("{path}.{name}"), &facts(self.root, &item, false), description(&item));
                }
                self.inside(&item, &format!("{path}.{name}"), within);
            }
        }
        let alternatives = forms(part);
        for (index, form) in alternatives.iter().enumerate() {
            let form = resolved(self.root, form);
            if form.contains_key("properties") {
                let name = if path.is_empty() { "either" } else { path };
                self.line(name, &format!("form {} of {}", index + 1, alternatives.len()), description(&form));
                self.members(&form, &prefix, within);
            }
        }
    }
}

/// Returns the members of an object, each with its name and whether it is required, in the order of `x-order`;
/// without it, the required ones first.
fn members(object: &Object) -> Vec<(&String, bool, &Json)> {
    let required = |name: &str| {
        object.get("required").and_then(Json::as_array).is_some_and(|all| all.iter().any(|own| own == name))
    };
    let properties = object.get("properties").and_then(Json::as_object).into_iter().flatten();
    let mut members: Vec<_> = properties.map(|(name, part)| (name, required(name), part)).collect();
    members.sort_by_key(|(_, required, part)| (part["x-order"].as_i64().unwrap_or(i64::MAX), !required));
    members
}

/// Returns the keywords of a part: those of its reference and of its only form besides `null`, replaced by its own.
fn resolved(root: &Json, part: &Json) -> Object {
    let mut own = part.as_object().cloned().unwrap_or_default();
    for _ in 0..DEPTH {
        let inner = match own.remove("$ref") {
            Some(Json::String(reference)) => {
                reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer)).cloned()
            }
            _ => match &forms(&own)[..] {
                [only] => {
                    let only = (*only).clone();
                    own.remove("anyOf");
                    own.remove("oneOf");
                    Some(only)
                }
                _ => None,
            },
        };
        let Some(Json::Object(inner)) = inner else { break };
        for (key, value) in inner {
            own.entry(key).or_insert(value);
        }
    }
    own
}

/// Returns the alternatives of a part, without `null`.
fn forms(part: &Object) -> Vec<&Json> {
    let alternatives = part.get("anyOf").or_else(|| part.get("oneOf")).and_then(Json::as_array);
    alternatives.into_iter().flatten().filter(|form| form["type"] != "null").collect()
}

fn description(part: &Object) -> &str {
    part.get("description").and_then(Json::as_str).unwrap_or_default()
}

fn is_secret(part: &Object) -> bool {
    part.contains_key("x-secret")
}

/// Returns whether a user does not see the inner structure of a part.
fn is_opaque(part: &Object) -> bool {
    is_secret(part) || part.contains_key("x-block") || choices(part).is_some()
}

/// Returns the values of an enumeration.
fn choices(part: &Object) -> Option<Vec<&Json>> {
    if let Some(values) = part.get("enum").and_then(Json::as_array) {
        return Some(values.iter().filter(|value| !value.is_null()).collect());
    }
    let forms = forms(part);
    let constants: Option<Vec<&Json>> = forms.iter().map(|form| form.get("const")).collect();
    constants.filter(|constants| !constants.is_empty())
}

/// Returns the kind of a part, and what else a user has to know about it, separated by commas.
fn facts(root: &Json, part: &Object, required: bool) -> String {
    let mut facts = vec![kind(root, part, 0)];
    if required {
        facts.push("required".to_owned());
    }
    if let Some(language) = part.get(LANGUAGE_KEYWORD).and_then(Json::as_str) {
        facts.push(format!("language {language}"));
    }
    if part.get(IDEMPOTENCY_KEY_KEYWORD) == Some(&Json::Bool(true)) {
        facts.push("idempotency key".to_owned());
    }
    let is_empty = |value: &Json| match value {
        Json::Null => true,
        Json::String(text) => text.is_empty(),
        Json::Array(list) => list.is_empty(),
        Json::Object(map) => map.is_empty(),
        _ => false,
    };
    if let Some(default) = part.get("default").filter(|value| !is_empty(value)) {
        facts.push(format!("default {}", short(&plain(default))));
    }
    facts.join(", ")
}

fn kind(root: &Json, part: &Object, depth: usize) -> String {
    if is_secret(part) {
        return "SECRET".to_owned();
    }
    match part.get("x-block") {
        Some(Json::String(slug)) => return format!("reference to {slug}"),
        Some(interface) => {
            let name = interface["interface"].as_str().unwrap_or_default();
            return format!("reference to a block that implements {name}");
        }
        None => {}
    }
    if let Some(choices) = choices(part) {
        return short(&choices.into_iter().map(plain).collect::<Vec<_>>().join(" | "));
    }
    let inner = |key: &str| {
        let item = part.get(key).filter(|item| item.is_object())?;
        Some(if depth < DEPTH { kind(root, &resolved(root, item), depth + 1) } else { "JSON".to_owned() })
    };
    let types = match part.get("type") {
        Some(Json::String(one)) => vec![one.as_str()],
        Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).filter(|name| *name != "null").collect(),
        _ => Vec::new(),
    };
    match types.as_slice() {
        ["string"] => "text".to_owned(),
        ["array"] => inner("items").map_or_else(|| "list".to_owned(), |item| format!("list of {item}")),
        ["object"] if part.contains_key("properties") => group(part),
        ["object"] => inner("additionalProperties").map_or_else(|| "map".to_owned(), |item| format!("map of {item}")),
        [one] => (*one).to_owned(),
        _ => match forms(part).len() {
            0 => "JSON".to_owned(),
            count => format!("one of {count} forms"),
        },
    }
}

/// Returns the names of the members of a group; optional ones end with `?`.
fn group(part: &Object) -> String {
    let names =
        members(part).into_iter().map(|(name, required, _)| if required { name.clone() } else { format!("{name}?") });
    short(&format!("{{{}}}", names.collect::<Vec<_>>().join(", ")))
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn short(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_listed_with_what_they_contain() {
        let secret = json!({"type": "string", "x-secret": {"audience": ["sql"]}});
        let schema = json!({
            "type": "object", "required": ["name", "place"],
            "properties": {
                "codes": {"type": ["array", "null"], "items": secret},
                "doors": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Door"}},
                "keeper": {"type": "object", "x-block": "zoo-keeper", "properties": {"$block": {"type": "string"}}, "description": "Who."},
                "kind": {"oneOf": [{"const": "a"}, {"const": "b"}], "default": "a"},
                "lock": {"anyOf": [{"$ref": "#/$defs/Lock"}, {"type": "null"}]},
                "name": {"type": "string", "description": "Name.\n\nSecond."},
                "papers": {"anyOf": [{"type": "object", "x-block": {"interface": "secret-store"}}, {"type": "null"}]},
                "place": {"$ref": "#/$defs/Place", "description": "Where."},
            },
            "$defs": {
                "Door": {"type": "object", "required": ["code"], "properties": {"code": secret}},
                "Lock": {"oneOf": [
                    {"type": "object", "description": "With a key.", "required": ["key"], "properties": {"key": secret}},
                    {"type": "object", "properties": {"size": {"type": "integer"}}},
                ]},
                "Place": {"type": "object", "required": ["house"], "properties": {
                    "house": {"type": "string"}, "inside": {"$ref": "#/$defs/Place"},
                }},
            },
        });
        expect_test::expect![[r#"
            name  (text, required)
                Name. Second.
            place  ({house, inside?}, required)
                Where.
            place.house  (text, required)
            place.inside  ({house, inside?})
            codes  (list of SECRET)
            codes.N  (SECRET)
            doors  (map of {code})
            doors.NAME.code  (SECRET, required)
            keeper  (reference to zoo-keeper)
                Who.
            kind  (a | b, default a)
            lock  (one of 2 forms)
            lock  (form 1 of 2)
                With a key.
            lock.key  (SECRET, required)
            lock  (form 2 of 2)
            lock.size  (integer)
            papers  (reference to a block that implements secret-store)
        "#]]
        .assert_eq(&fields(&schema, ""));
    }

    #[test]
    fn arguments_have_types_choices_and_defaults() {
        let schema = json!({
            "type": "object", "required": ["statement", "columns"],
            "properties": {
                "columns": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {"mode": {}, "name": {}}}},
                "job_id": {"type": "string", "x-idempotency-key": true, "description": "ID."},
                "mode": {"enum": ["append", "create"], "default": "append"},
                "statement": {"type": "string", "x-language": "sql", "description": "Text."},
                "wait": {"type": ["integer", "null"], "default": 0},
            },
        });
        expect_test::expect![[r#"
            --columns  (list of {name, mode?}, required)
            --statement  (text, required, language sql)
                Text.
            --job_id  (text, idempotency key)
                ID.
            --mode  (append | create, default append)
            --wait  (integer, default 0)
        "#]]
        .assert_eq(&arguments(&schema, ""));
    }

    #[test]
    fn hostile_schemas_have_a_bounded_outline() {
        let endless = json!({"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}});
        assert!(fields(&endless, "").lines().count() <= 2 * LINES);
        let cycle = json!({"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"$ref": "#/$defs/x"}}});
        assert_eq!(fields(&cycle, ""), "a  (JSON)\n");
        let names: Object = (0..5_000).map(|number| (format!("f{number}"), json!({"type": "string"}))).collect();
        assert!(fields(&json!({"properties": names}), "").lines().count() <= 2 * LINES);
        let forged = json!({"properties": {"a\u{1b}[2J": {"enum": ["\u{1b}[2J"], "description": "\u{1b}[2J\nb"}}});
        assert!(!fields(&forged, "").contains('\u{1b}'));
    }
}
