//! Schemas of a hostile bundle: each is rejected at installation, or affects only its own call.

use std::time::{Duration, Instant};

use blockyard_tests::attack::{embed, manifest, with_manifest};
use blockyard_tests::{Ran, TestYard};
use serde_json::{Value, json};

/// Time limit of a command that does almost nothing. Generous for slow machines and builds without
/// optimization; a command that hangs takes longer.
const SOON: Duration = Duration::from_secs(40);

/// A bundle `s` with these schemas instead of the default ones.
struct Schemas {
    configuration: Value,
    arguments: Value,
    result: Value,
    /// Code of its operation.
    code: String,
}

impl Default for Schemas {
    fn default() -> Self {
        let usual = manifest("s", "");
        Self {
            configuration: usual["types"][0]["schema"].clone(),
            arguments: json!({"type": "object"}),
            result: json!({"type": "null"}),
            code: String::new(),
        }
    }
}

impl Schemas {
    fn component(&self) -> Vec<u8> {
        let mut manifest = manifest("s", "");
        manifest["types"][0]["schema"] = self.configuration.clone();
        let operation = &mut manifest["types"][0]["operations"][0];
        operation["arguments"] = self.arguments.clone();
        operation["result"] = self.result.clone();
        operation["effect"] = json!("read");
        let manifest = manifest.to_string();
        let mut component = with_manifest("s", &self.code, manifest.as_bytes());
        embed(&mut component, manifest.as_bytes());
        component
    }

    fn install(&self) -> (TestYard, Ran) {
        let yard = TestYard::empty();
        yard.ok(&["init", "--key", "file"]);
        let file = yard.path("s.wasm");
        std::fs::write(&file, self.component()).expect("a file");
        let began = Instant::now();
        let ran = yard.run(&["install", &file.display().to_string(), "--yes"]);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        (yard, ran)
    }

    fn refused(&self, words: &str) {
        let (yard, ran) = self.install();
        assert_eq!(ran.code, 4, "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        assert_eq!(yard.json(&["bundles"])["bundles"], json!([]));
    }

    fn installed(&self) -> TestYard {
        let (yard, ran) = self.install();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        yard
    }
}

/// Returns the default configuration schema with additional keywords.
fn configuration(more: &Value) -> Value {
    let mut schema = Schemas::default().configuration;
    for (keyword, value) in more.as_object().expect("keywords") {
        schema[keyword] = value.clone();
    }
    schema
}

fn in_time(yard: &TestYard, arguments: &[&str]) -> Ran {
    let began = Instant::now();
    let ran = yard.run(arguments);
    assert!(began.elapsed() < SOON, "{arguments:?}: {:?}", began.elapsed());
    ran
}

fn fan(levels: usize) -> Value {
    let mut definitions = json!({});
    for level in 0..levels {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        definitions[format!("d{level}")] = json!({"allOf": [next, next]});
    }
    definitions[format!("d{levels}")] = json!({"type": "object"});
    json!({"allOf": [{"$ref": "#/$defs/d0"}], "$defs": definitions})
}

#[test]
fn references_that_multiply_are_refused_at_install() {
    let twice = json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]});
    for hostile in [twice, fan(40), fan(25), json!({"$ref": "#"})] {
        let schemas = Schemas { configuration: configuration(&hostile), ..Schemas::default() };
        let (_, ran) = schemas.install();
        assert_eq!(ran.code, 4, "{hostile}: {}", ran.stderr);
        let (_, ran) = Schemas { arguments: hostile.clone(), ..Schemas::default() }.install();
        assert_eq!(ran.code, 4, "{hostile}: {}", ran.stderr);
        let (_, ran) = Schemas { result: hostile.clone(), ..Schemas::default() }.install();
        assert_eq!(ran.code, 4, "{hostile}: {}", ran.stderr);
    }
}

#[test]
fn what_hides_a_schema_is_refused_at_install() {
    let named = json!({"properties": {"x": {"$ref": "#name"}}, "$defs": {"n": {"$anchor": "name"}}});
    Schemas { arguments: named, ..Schemas::default() }.refused("does not refer to a part of the schema");
    let dynamic = json!({"properties": {"x": {"$dynamicRef": "#"}}});
    Schemas { result: dynamic, ..Schemas::default() }.refused("`$dynamicRef` is not supported");
    let identified = json!({"properties": {"x": {"$id": "https://example.com/x", "type": "null"}}});
    Schemas { arguments: identified, ..Schemas::default() }.refused("`$id` is not supported");
}

#[test]
fn large_schemas_are_refused_at_install() {
    let words: Vec<Value> = (0..60_000).map(Value::from).collect();
    Schemas { result: json!({ "enum": words }), ..Schemas::default() }.refused("more than 50000 values");
    let deep = (0..40).fold(json!({}), |inner, _| json!({"anyOf": [inner]}));
    Schemas { result: deep, ..Schemas::default() }.refused("one inside another");
    let expressions: Vec<Value> = (0..200).map(|n| json!({"pattern": format!("^x{n}$")})).collect();
    Schemas { result: json!({ "oneOf": expressions }), ..Schemas::default() }
        .refused("more than 128 regular expressions");
    let large = json!({"pattern": "((\\w{100}){100}){100}"});
    assert_eq!(Schemas { result: large, ..Schemas::default() }.install().1.code, 4);
    // Compiling a long chain of definitions needs a deep stack.
    let mut chain = json!({"$ref": "#/$defs/d0", "$defs": {}});
    for level in 0..1_200 {
        chain["$defs"][format!("d{level}")] = json!({"properties": {"a": {"$ref": format!("#/$defs/d{}", level + 1)}}});
    }
    chain["$defs"]["d1200"] = json!({});
    Schemas { result: chain, ..Schemas::default() }.refused("levels");
}

#[test]
fn a_schema_at_its_limits_is_compiled() {
    let mut chain = json!({"$ref": "#/$defs/d0", "$defs": {}});
    for level in 0..900 {
        chain["$defs"][format!("d{level}")] = json!({"properties": {"a": {"$ref": format!("#/$defs/d{}", level + 1)}}});
    }
    chain["$defs"]["d900"] = json!({});
    Schemas { arguments: chain, ..Schemas::default() }.installed();
}

/// A document that would take exponential time to validate is rejected.
#[test]
fn branches_that_multiply_with_the_depth_are_bounded() {
    let both = json!({
        "allOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}],
        "$defs": {"n": {"properties": {"c": {"$ref": "#"}}, "additionalProperties": true}}
    });
    let yard = Schemas { arguments: both.clone(), ..Schemas::default() }.installed();
    yard.ok(&["create", "s/a", "--set", "note=here"]);
    let deep = (0..100).fold(json!({}), |inner, _| json!({"c": inner})).to_string();
    let refused = in_time(&yard, &["call", "s/a", "go", "--args", &deep, "--timeout", "5"]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("is too large to be validated"), "{}", refused.stderr);

    let more = json!({"properties": {
        "note": {"type": "string"}, "tree": {"$ref": "#/$defs/t"}
    }, "$defs": {
        "t": {"anyOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}, {"type": "null"}], "unevaluatedProperties": false},
        "n": {"properties": {"c": {"$ref": "#/$defs/t"}}, "required": ["x"]}
    }});
    let yard = Schemas { configuration: configuration(&more), ..Schemas::default() }.installed();
    let refused = in_time(&yard, &["create", "s/a", "--set", &format!("tree={deep}")]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
}

/// Creates a yard with a bundle whose operation returns a list of this number of `5.0`.
fn numbers(count: usize, result: Value) -> TestYard {
    let end = 262_144 + 1 + 4 * count;
    let code = format!(
        r#"(func $invoke (type $call)
            (local $at i32)
            (drop (memory.grow (i32.const {pages})))
            (i32.store8 (i32.const 262144) (i32.const 91))
            (local.set $at (i32.const 262145))
            (loop $more
                (i32.store align=1 (local.get $at) (i32.const {number}))
                (local.set $at (i32.add (local.get $at) (i32.const 4)))
                (br_if $more (i32.lt_u (local.get $at) (i32.const {end}))))
            (i32.store8 (i32.const {last}) (i32.const 93))
            (call $answer (i32.const 262144) (i32.const {length})))"#,
        pages = end / 65_536 + 1,
        number = i32::from_le_bytes(*b"5.0,"),
        last = end - 1,
        length = end - 262_144,
    );
    let yard = Schemas { result, code, ..Schemas::default() }.installed();
    yard.ok(&["create", "s/a", "--set", "note=here"]);
    yard
}

#[test]
fn many_wrong_numbers_are_an_error_in_time() {
    let yard = numbers(200_000, json!({"type": "array", "items": {"type": "integer"}}));
    let ran = in_time(&yard, &["call", "s/a", "go", "--timeout", "30"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("returned a result of `go` that is not valid"), "{}", ran.stderr);
}

#[test]
fn checking_a_result_is_under_the_deadline_of_its_call() {
    let words: Vec<Value> = (0..20_000).map(Value::from).collect();
    for slow in [
        json!({"items": {"enum": words}}),
        json!({"items": {"anyOf": vec![json!({"type": "null"}); 200], "oneOf": vec![json!({"const": 1}); 200]}}),
        json!({"uniqueItems": true, "contains": {"const": 7}, "items": {"allOf": vec![json!({"minimum": 1}); 150]}}),
        json!({"unevaluatedItems": {"enum": words}, "anyOf": [{"contains": {"enum": words}}, true]}),
    ] {
        let yard = numbers(900_000, slow.clone());
        let ran = in_time(&yard, &["call", "s/a", "go", "--timeout", "3"]);
        assert_eq!(ran.code, 7, "{slow}: {}", ran.stderr);
    }
}

#[test]
fn a_pattern_costs_no_more_than_the_text_allows() {
    let pattern = json!({"type": "object", "properties": {"text": {"type": "string", "pattern": "^([a-z]{1,9}[0-9]{0,9}){1,40}!$"}}});
    let yard = Schemas { arguments: pattern, ..Schemas::default() }.installed();
    yard.ok(&["create", "s/a", "--set", "note=here"]);
    let text = json!({ "text": "ab12".repeat(200_000) }).to_string();
    std::fs::write(yard.path("long.json"), text).expect("a file");
    let file = format!("@{}", yard.path("long.json").display());
    let ran = in_time(&yard, &["call", "s/a", "go", "--args", &file, "--timeout", "5"]);
    assert_ne!(ran.code, 0, "{}", ran.stdout);
}

/// A secret field cannot be hidden behind an encoded form of its reference.
#[test]
fn a_secret_behind_an_encoded_reference_is_a_secret() {
    let more = json!({
        "properties": {"note": {"type": "string"}, "hidden": {"$ref": "#/%24defs/a%20secret"}},
        "$defs": {"a secret": {"type": "string", "writeOnly": true, "format": "password"}}
    });
    let yard = Schemas { configuration: configuration(&more), ..Schemas::default() }.installed();
    yard.ok_with_input(&["create", "s/a", "--secret", "hidden=-"], "hunter2-hunter2");
    assert_eq!(yard.config("s/a")["hidden"], json!("********"));
    assert_eq!(yard.any_file_contains("hunter2-hunter2"), None);
}

#[test]
fn unknown_fields_are_refused_at_every_depth() {
    let more = json!({"properties": {
        "note": {"type": "string"},
        "place": {"type": "object", "properties": {
            "house": {"type": "string"},
            "code": {"type": "string", "writeOnly": true, "format": "password"},
            "open": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
            "inner": {"anyOf": [{"$ref": "#/$defs/inner"}, {"type": "null"}]}
        }},
        "list": {"type": "array", "items": {"allOf": [{"$ref": "#/$defs/inner"}]}}
    }, "$defs": {"inner": {"properties": {"password": {"type": "string", "writeOnly": true, "format": "password"}}}}});
    let yard = Schemas {
        configuration: configuration(&more),
        arguments: json!({"type": "object", "properties": {"filter": {"properties": {"name": {"type": "string"}}}}}),
        ..Schemas::default()
    }
    .installed();
    for (document, place, hint) in [
        (json!({"place": {"cod": "hunter2-hunter2"}}), "/place/cod", "did you mean `code`?"),
        (
            json!({"place": {"inner": {"pasword": "hunter2-hunter2"}}}),
            "/place/inner/pasword",
            "did you mean `password`?",
        ),
        (json!({"list": [{"passwrd": "hunter2-hunter2"}]}), "/list/0/passwrd", "did you mean `password`?"),
    ] {
        let refused = yard.fails_with_input(4, &["create", "s/a", "--json-config", "-"], &document.to_string());
        assert!(refused.contains(&format!("{place}: unknown field")) && refused.contains(hint), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
    yard.ok_with_input(
        &["create", "s/a", "--json-config", "-"],
        &json!({"place": {"open": {"anything": "goes"}, "inner": {"password": "p"}}}).to_string(),
    );
    let refused = yard.fails(4, &["call", "s/a", "go", "--args", r#"{"filter": {"nam": "x"}}"#]);
    assert!(refused.contains("/filter/nam: unknown field") && refused.contains("did you mean `name`?"), "{refused}");
    yard.ok(&["call", "s/a", "go", "--args", r#"{"filter": {"name": "x"}}"#]);
}
