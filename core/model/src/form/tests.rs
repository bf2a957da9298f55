//! Tests of forms: the fields that apply, and lossless conversion of documents of generated schemas.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Answer, Field, FieldKind, Form, Kind, fields};
use crate::{Schema, limits};

fn schema(document: Value) -> Schema {
    Schema::compile(document).expect("a good schema")
}

/// Checks the members that apply to a value, each with its kind.
fn check(schema: &Schema, value: &Value, expected: Expect) {
    let form = Form::new(schema);
    let line = |field: Field<'_>| {
        let required = if field.required { " (required)" } else { "" };
        format!("{}: {}{required}", field.name, kind(&field.kind))
    };
    let lines: Vec<String> = form.root().members(value).into_iter().map(line).collect();
    expected.assert_eq(&lines.join("\n"));
}

fn kind(kind: &Kind<'_>) -> String {
    match kind {
        Kind::Variant(variants) => {
            let titles: Vec<&str> = variants.iter().map(|variant| variant.title.as_str()).collect();
            format!("variant {}", titles.join(" | "))
        }
        Kind::Reference(targets) => format!("reference to {}", targets[0]),
        Kind::Constant(value) => format!("constant {value}"),
        Kind::Choice(words) => {
            let words: Vec<String> = words.iter().map(|word| word.value.to_string()).collect();
            format!("choice {}", words.join(" "))
        }
        other => format!("{other:?}"),
    }
}

fn database() -> Schema {
    schema(json!({
        "type": "object", "additionalProperties": false, "required": ["database"],
        "properties": {
            "dialect": {"enum": ["sqlite", "postgres", "mysql"], "x-order": 1}, "database": {"type": "string"},
            "host": true, "port": true, "socket": true,
        },
        "oneOf": [
            {"title": "A file", "required": ["dialect"],
             "properties": {"dialect": {"const": "sqlite"}, "host": false, "port": false, "socket": false}},
            {"$ref": "#/$defs/server"}
        ],
        "$defs": {"server": {
            "description": "A server.", "required": ["dialect", "host"],
            "properties": {"dialect": {"enum": ["postgres", "mysql"]}, "host": {"type": "string"},
                "port": {"type": "integer", "maximum": 65535}},
            "if": {"properties": {"dialect": {"const": "mysql"}}}, "then": {"properties": {"socket": {"type": "string"}}},
            "else": {"not": {"required": ["socket"]}}
        }}
    }))
}

#[test]
fn members_follow_the_chosen_variant() {
    let schema = database();
    check(
        &schema,
        &json!({}),
        expect![[r#"
        dialect: choice "sqlite" "postgres" "mysql" (required)
        database: Text { multi_line: false, format: None } (required)
        host: Json
        port: Json
        socket: Json"#]],
    );
    check(
        &schema,
        &json!({"dialect": "sqlite"}),
        expect![[r#"
        dialect: choice "sqlite" "postgres" "mysql" (required)
        database: Text { multi_line: false, format: None } (required)"#]],
    );
    check(
        &schema,
        &json!({"dialect": "postgres"}),
        expect![[r#"
        dialect: choice "sqlite" "postgres" "mysql" (required)
        database: Text { multi_line: false, format: None } (required)
        host: Text { multi_line: false, format: None } (required)
        port: Integer"#]],
    );
    check(
        &schema,
        &json!({"dialect": "mysql"}),
        expect![[r#"
        dialect: choice "sqlite" "postgres" "mysql" (required)
        database: Text { multi_line: false, format: None } (required)
        host: Text { multi_line: false, format: None } (required)
        port: Integer
        socket: Text { multi_line: false, format: None }"#]],
    );
}

#[test]
fn members_follow_conditions() {
    let schema = schema(json!({
        "type": "object", "required": ["kind"],
        "properties": {"kind": {"enum": ["password", "key"]}, "tls": {"type": "boolean"}, "ca": {"type": "string"}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": "password"}}, "required": ["kind"]},
             "then": {"required": ["password"],
                "properties": {"password": {"type": "string", "writeOnly": true, "format": "password"}}},
             "else": {"if": {"required": ["kind"]},
                "then": {"required": ["key"], "properties": {"key": {"x-block": "key"}}}}}
        ],
        "dependentRequired": {"tls": ["ca"]},
        "dependentSchemas": {"ca": {"properties": {"pin": {"type": "string", "format": "multi-line"}}}}
    }));
    check(
        &schema,
        &json!({}),
        expect![[r#"
        kind: choice "password" "key" (required)
        ca: Text { multi_line: false, format: None }
        tls: Boolean"#]],
    );
    check(
        &schema,
        &json!({"kind": "password", "tls": true}),
        expect![[r#"
        ca: Text { multi_line: false, format: None } (required)
        kind: choice "password" "key" (required)
        password: Secret (required)
        tls: Boolean"#]],
    );
    check(
        &schema,
        &json!({"kind": "key", "ca": "x"}),
        expect![[r#"
        kind: choice "password" "key" (required)
        key: reference to a block of type `key` (required)
        ca: Text { multi_line: false, format: None }
        tls: Boolean
        pin: Text { multi_line: true, format: Some("multi-line") }"#]],
    );
}

#[test]
fn every_kind_of_value_has_a_field() {
    let schema = schema(json!({
        "type": "object", "properties": {
            "null": {"type": "null"}, "version": {"const": 3}, "ratio": {"type": ["number", "null"]},
            "level": {"oneOf": [{"const": 1, "description": "Low."}, {"const": 2}]},
            "place": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}]},
            "names": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "options": {"type": "object", "additionalProperties": {"type": "string"}},
            "either": {"oneOf": [{"type": "string"}, {"$ref": "#/$defs/place"}]},
            "some": {"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            "any": {}, "both": {"type": ["string", "integer"]}
        },
        "$defs": {"place": {"type": "object", "title": "Place", "properties": {"house": {"type": "string"}}}}
    }));
    check(
        &schema,
        &json!({}),
        expect![[r#"
        any: Json
        both: Json
        either: variant text | Place
        level: choice 1 2
        names: List
        null: constant null
        options: Map
        place: Group
        ratio: Number
        some: Group
        version: constant 3"#]],
    );
    let form = Form::new(&schema);
    let members = form.root().members(&json!({}));
    let member = |name: &str| members.iter().find(|field| field.name == name).expect("a member").clone();
    assert!(member("place").nullable && member("ratio").nullable && !member("names").nullable);
    assert_eq!(member("names").size(), (1, None));
    assert_eq!(member("level").parse("1"), Ok(json!(1)));
    assert_eq!(member("ratio").parse("1.50"), Ok(json!(1.5)));
    assert!(member("ratio").parse("0.1000000000000000055511").is_err(), "the number would lose digits");
    assert!(matches!(&form.read(&json!({"either": {"house": "h"}})), Answer::Group(members)
        if matches!(&members["either"], Answer::Variant { option: 1, .. })));
}

#[test]
fn answers_are_validated_by_the_rules_of_their_field() {
    let schema = schema(json!({
        "type": "object", "properties": {
            "port": {"$ref": "#/$defs/port"}, "mode": {"enum": ["a", "b"]}, "when": {"type": "string", "format": "date"}
        },
        "if": {"properties": {"mode": {"const": "a"}}, "required": ["mode"]}, "then": {"properties": {"port": {"maximum": 10}}},
        "$defs": {"port": {"type": "integer", "minimum": 1}}
    }));
    let form = Form::new(&schema);
    let problems = |value: &Value, name: &str, answer: Value| {
        let members = form.root().members(value);
        members.iter().find(|field| field.name == name).expect("a member").problems(&answer)
    };
    assert_eq!(problems(&json!({}), "port", json!(99)), [""; 0]);
    assert_eq!(problems(&json!({}), "port", json!(0)), ["the value is less than the minimum of 1"]);
    assert_eq!(problems(&json!({"mode": "a"}), "port", json!(99)), ["the value is greater than the maximum of 10"]);
    assert_eq!(problems(&json!({}), "when", json!("tomorrow")).len(), 1);
}

#[test]
fn recursive_and_large_schemas_are_bounded() {
    let began = std::time::Instant::now();
    // Mutually required groups without an end, and many members at each level.
    let mut defs = Map::new();
    for level in 0..9 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        let members: Map<String, Value> = (0..30).map(|n| (format!("f{n}"), next.clone())).collect();
        let names: Vec<&String> = members.keys().collect();
        defs.insert(format!("d{level}"), json!({"type": "object", "required": names, "properties": members}));
    }
    defs.insert("d9".to_owned(), json!({"$ref": "#/$defs/d0/properties/f0"}));
    let mutual = schema(json!({"$ref": "#/$defs/d0", "$defs": defs}));
    assert!(fields(&mutual).len() <= limits::FORM_FIELDS);

    // A tree whose nodes are variants of each other.
    let tree = schema(json!({
        "type": "object", "properties": {"root": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/$defs/node"}}]}}
    }));
    let deep = (0..100).fold(json!("leaf"), |inner, _| json!([inner]));
    let document = json!({ "root": deep });
    assert_eq!(Form::new(&tree).read(&document).into_document(), Some(document));

    // Thousands of branches with conditions, each of which names all others.
    let condition =
        |n: usize| json!({"if": {"required": [format!("a{n}")]}, "then": {"properties": {format!("b{n}"): {}}}});
    for count in [900, 3_000] {
        let many = schema(json!({"allOf": (0..count).map(condition).collect::<Vec<_>>()}));
        let form = Form::new(&many);
        let members = form.root().members(&json!({"a1": 1}));
        assert!(members.len() <= limits::FORM_FIELDS);
        assert!(count > 900 || members.iter().any(|field| field.name == "b1"));
    }
    let branch = |n: usize| json!({"properties": {"tag": {"const": n}, format!("x{n}"): {"type": "string"}}});
    let variants = schema(json!({"oneOf": (0..3_000).map(branch).collect::<Vec<_>>()}));
    assert!(Form::new(&variants).root().members(&json!({"tag": 7})).len() <= limits::FORM_FIELDS);
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn the_list_of_fields_shows_required_fields_first() {
    let schema = schema(json!({
        "type": "object", "additionalProperties": false, "required": ["dialect", "pool"],
        "properties": {
            "port": {"type": ["integer", "null"], "x-order": 3},
            "dialect": {"$ref": "#/$defs/dialect", "description": "Which\nkind.", "x-order": 4},
            "pool": {"type": "object", "required": ["size"], "properties": {
                "fair": {"type": "boolean", "default": true}, "size": {"type": "integer"}}},
            "password": {"type": "string", "writeOnly": true, "format": "password", "x-secret": {"audience": "sql"}},
            "base": {"x-block": {"interface": "secret-store"}},
            "url": {"type": "string", "x-connection-url": {}}
        },
        "$defs": {"dialect": {"oneOf": [{"const": "sqlite"}, {"const": "postgres"}]}}
    }));
    let lines: Vec<String> = fields(&schema)
        .iter()
        .map(|f| format!("{} {:?} required={} default={:?}", f.pointer, f.kind, f.required, f.default))
        .collect();
    expect![[r#"
        /dialect Choice(["sqlite", "postgres"]) required=true default=None
        /pool/size Integer required=true default=None
        /pool/fair Boolean required=false default=Some(Bool(true))
        /port Integer required=false default=None
        /base Reference([Interface("secret-store")]) required=false default=None
        /password Secret required=false default=None"#]]
    .assert_eq(&lines.join("\n"));
    assert!(!matches!(fields(&schema)[0].kind, FieldKind::Json));
}

/// Small schemas with every kind of field, including recursive ones.
fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "integer"})),
        Just(json!({"type": ["number", "null"]})),
        Just(json!({"type": "string", "format": "uri"})),
        Just(json!({"type": "string", "format": "multi-line"})),
        Just(json!({"type": "boolean"})),
        Just(json!({"enum": ["a", 1, null]})),
        Just(json!({"oneOf": [{"const": "x", "description": "X."}, {"const": "y"}]})),
        Just(json!({"const": {"v": 1}})),
        Just(json!({"x-block": "keeper"})),
        Just(json!({"anyOf": [{"x-block": {"interface": "secret-store"}}, {"type": "null"}]})),
        Just(json!({"type": "string", "writeOnly": true, "format": "password", "x-secret": {"audience": "sql"}})),
        Just(json!(true)),
        Just(json!({"$ref": "#/$defs/d0"})),
        Just(json!({"$ref": "#/$defs/d1"})),
    ];
    let inner = leaf.prop_recursive(4, 24, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            two.clone().prop_map(|(a, b)| json!({"type": "object", "required": ["a"], "properties": {"a": a, "b": b}})),
            inner.clone().prop_map(|a| json!({"type": "array", "items": a})),
            two.clone().prop_map(|(a, b)| json!({"type": "array", "prefixItems": [a], "items": b})),
            inner.clone().prop_map(|a| json!({"type": "object", "additionalProperties": a})),
            two.clone().prop_map(|(a, b)| json!({"oneOf": [a, b]})),
            inner.clone().prop_map(|a| json!({"anyOf": [a, {"type": "null"}]})),
            two.clone().prop_map(|(a, b)| json!({"type": "object", "oneOf": [
                {"required": ["t"], "properties": {"t": {"const": "one"}, "a": a}},
                {"required": ["t"], "properties": {"t": {"enum": ["two", "three"]}, "b": b}}
            ]})),
            two.prop_map(|(a, b)| json!({
                "type": "object", "properties": {"a": {"type": "boolean"}, "b": true},
                "if": {"properties": {"a": {"const": true}}, "required": ["a"]},
                "then": {"properties": {"b": a}}, "else": {"properties": {"c": b}}
            })),
        ]
    });
    (inner.clone(), inner.clone(), inner).prop_map(|(root, d0, d1)| {
        json!({"type": "object", "properties": {"a": root}, "$defs": {"d0": {"type": "object", "properties": {"a": d0}},
            "d1": {"type": "object", "properties": {"b": d1, "a": {"$ref": "#/$defs/d0"}}}}})
    })
}

/// Any document. Its names and values are those of the schemas, so that many fit.
fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300_f64..1e300).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "[axy \n\"{é]{0,6}".prop_map(Value::from),
        prop_oneof![Just("one"), Just("two"), Just("x"), Just("env:A")].prop_map(Value::from),
        Just(json!(null)),
        Just(json!({"v": 1})),
        Just(json!({"$block": "keeper/ada"})),
        Just(json!({"$source": "env:BADGE"})),
        Just(json!({"$secret": "/a"})),
    ];
    let value = leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abct]", inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    });
    value.prop_map(|value| json!({ "a": value }))
}

/// Answers a form with random values, one field at a time, as a user does. Checks that each value is
/// converted to text and back.
struct User {
    state: u64,
}

impl User {
    fn number(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    fn answer(&mut self, field: &Field<'_>, depth: usize) -> Value {
        if field.nullable && self.number(4) == 0 {
            return Value::Null;
        }
        if depth > 12 {
            return json!({"k": 1});
        }
        let value = match &field.kind {
            Kind::Group => return self.group(field, depth),
            Kind::List => {
                let count = if depth > 5 { 0 } else { usize::try_from(self.number(3)).expect("small") };
                return (0..count).map(|index| self.answer(&field.element(index), depth + 1)).collect();
            }
            Kind::Map => {
                let names = if depth > 5 { &[][..] } else { &["p", "q.r", "/~"] };
                let entry = |name: &&str| ((*name).to_owned(), self.answer(&field.entry(name), depth + 1));
                return names.iter().map(entry).collect::<Map<_, _>>().into();
            }
            Kind::Variant(variants) if depth <= 8 => {
                let option = usize::try_from(self.number(variants.len() as u64)).expect("small");
                return self.answer(&field.variant(option), depth + 1);
            }
            Kind::Variant(_) | Kind::Json => json!({"k": [1.5, null, "z"]}),
            Kind::Reference(_) => json!({"$block": "keeper/ada"}),
            Kind::Constant(value) => (*value).clone(),
            Kind::Choice(words) => {
                words[usize::try_from(self.number(words.len() as u64)).expect("small")].value.clone()
            }
            Kind::Text { .. } => Value::from(["", " a\nb ", "null", "1", "é{"][self.number(5) as usize]),
            Kind::Secret => Value::from(["s3cret", "env:A", "@x"][self.number(3) as usize]),
            Kind::Integer => [json!(0), json!(i64::MIN), json!(u64::MAX)][self.number(3) as usize].clone(),
            Kind::Number => [json!(0.1), json!(-7), json!(1e300)][self.number(3) as usize].clone(),
            Kind::Boolean => Value::from(self.number(2) == 0),
        };
        let text = field.text(&value).expect("a text");
        assert_eq!(field.parse(&text), Ok(value.clone()), "{}", field.pointer);
        value
    }

    fn group(&mut self, field: &Field<'_>, depth: usize) -> Value {
        let mut value = json!({});
        let mut asked = Vec::new();
        while let Some(next) = field.members(&value).into_iter().find(|member| !asked.contains(&member.name)) {
            asked.push(next.name.clone());
            if next.required || depth <= 5 && self.number(3) > 0 {
                value[&next.name] = self.answer(&next, depth + 1);
            }
        }
        value
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Document → answers → document loses nothing, even if the document does not fit the schema.
    #[test]
    fn any_document_is_read_without_a_loss(document in documents(), schema in schemas()) {
        if let Ok(schema) = Schema::compile(schema) {
            let form = Form::new(&schema);
            prop_assert_eq!(form.read(&document).into_document(), Some(document));
        }
    }

    /// Schema → form → text → answers → document loses nothing.
    #[test]
    fn typed_answers_become_the_document(seed in any::<u64>(), schema in schemas()) {
        if let Ok(schema) = Schema::compile(schema) {
            let form = Form::new(&schema);
            let document = User { state: seed }.answer(&form.root(), 0);
            prop_assert_eq!(form.read(&document).into_document(), Some(document));
        }
    }

    /// A user who answers every question of a form with variants and conditions gets a valid document.
    #[test]
    fn answers_of_applicable_fields_are_valid(seed in any::<u64>()) {
        let schema = database();
        let form = Form::new(&schema);
        let document = User { state: seed }.answer(&form.root(), 0);
        let problems: Vec<String> = schema.check_closed(&document).iter().map(|v| format!("{} {}", v.pointer, v.message))
            .filter(|problem| !problem.starts_with("/port")).collect();
        prop_assert_eq!(problems, Vec::<String>::new(), "{}", document);
    }
}
