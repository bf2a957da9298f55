//! Schemas of a hostile bundle: each is rejected at installation, or affects only its own call.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use blockyard::{Agreement, CallReply, Deadline, Error, NewKey, Yard};
use serde_json::{Value, json};

use crate::attack::{embed, manifest, with_manifest};
use crate::fixture::{config, document, error_report, in_folder, no_file_contains, rejected, secret, source};

/// Time limit of an operation that does almost nothing. Generous for slow machines and builds
/// without optimization; an operation that hangs takes longer.
const SOON: Duration = Duration::from_secs(40);

/// Time limit of a case, in which each operation may take almost as long as [`SOON`].
const HANG: Duration = Duration::from_secs(240);

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
        let default = manifest("s", "");
        Self {
            configuration: default["types"][0]["schema"].clone(),
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

    /// Installs the bundle in a yard.
    async fn install(&self, yard: &Yard) -> Result<(), Error> {
        let component = self.component();
        in_time(async {
            let staged = yard.stage(component, source()).await?;
            yard.install(staged, &Agreement::Everything).await.map(drop)
        })
        .await
    }

    /// Checks that the bundle is not installed, and returns what the caller learns.
    async fn refused(&self, yard: &Yard) -> String {
        let error_report = rejected(self.install(yard).await);
        assert!(error_report.starts_with("invalid: "), "{error_report}");
        assert!(yard.bundles().await.unwrap().is_empty());
        error_report
    }
}

/// Runs a case on a yard without bundles. A case that hangs fails, and is left behind.
fn on_yard(case: impl AsyncFnOnce(&Yard, &Path) + Send + 'static) {
    let (running, ended) = mpsc::channel::<()>();
    let case = thread::spawn(move || {
        // Dropped when the case ends, also if it panics.
        let _running = running;
        in_folder(async move |folder| {
            let url = format!("sqlite:{}", folder.join("yard.db").display());
            let yard = Yard::init(&url, NewKey::File(None), config(folder)).await.unwrap();
            case(&yard, folder).await;
            yard.close().await;
        });
    });
    assert_ne!(ended.recv_timeout(HANG), Err(RecvTimeoutError::Timeout), "the case hangs");
    if let Err(panic) = case.join() {
        resume_unwind(panic);
    }
}

/// Runs a case on a yard with a bundle, and a block `s/a` of it.
fn on_block(schemas: Schemas, case: impl AsyncFnOnce(&Yard) + Send + 'static) {
    on_yard(async move |yard, _| {
        schemas.install(yard).await.unwrap();
        create(yard, json!({"note": "here"})).await.unwrap();
        case(yard).await;
    });
}

async fn create(yard: &Yard, config: Value) -> Result<(), Error> {
    in_time(yard.create(&"s/a".parse().unwrap(), document(config))).await.map(drop)
}

async fn in_time<T>(operation: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let done = operation.await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    done
}

/// Calls the operation of the block `s/a`.
async fn call(yard: &Yard, arguments: Value, seconds: u64) -> Result<CallReply, Error> {
    let block = yard.block("s/a").await.unwrap();
    in_time(block.call_with("go", arguments, None, Deadline::within(Duration::from_secs(seconds)))).await
}

/// Returns the default configuration schema with additional keywords.
fn configuration(more: &Value) -> Value {
    let mut schema = Schemas::default().configuration;
    for (keyword, value) in more.as_object().expect("keywords") {
        schema[keyword] = value.clone();
    }
    schema
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

/// Returns a schema whose definitions refer to each other in a chain of this length.
fn chain(levels: usize) -> Value {
    let mut chain = json!({"$ref": "#/$defs/d0", "$defs": {}});
    for level in 0..levels {
        chain["$defs"][format!("d{level}")] = json!({"properties": {"a": {"$ref": format!("#/$defs/d{}", level + 1)}}});
    }
    chain["$defs"][format!("d{levels}")] = json!({});
    chain
}

#[test]
fn references_that_multiply_are_rejected_at_installation() {
    on_yard(async |yard, _| {
        let twice = json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]});
        for hostile in [twice, fan(40), fan(25), json!({"$ref": "#"})] {
            Schemas { configuration: configuration(&hostile), ..Schemas::default() }.refused(yard).await;
            Schemas { arguments: hostile.clone(), ..Schemas::default() }.refused(yard).await;
            Schemas { result: hostile, ..Schemas::default() }.refused(yard).await;
        }
    });
}

#[test]
fn keywords_that_hide_a_schema_are_rejected_at_installation() {
    on_yard(async |yard, _| {
        let named = json!({"properties": {"x": {"$ref": "#name"}}, "$defs": {"n": {"$anchor": "name"}}});
        let error_report = Schemas { arguments: named, ..Schemas::default() }.refused(yard).await;
        assert!(error_report.contains("does not refer to a part of the schema"), "{error_report}");
        let dynamic = json!({"properties": {"x": {"$dynamicRef": "#"}}});
        let error_report = Schemas { result: dynamic, ..Schemas::default() }.refused(yard).await;
        assert!(error_report.contains("`$dynamicRef` is not supported"), "{error_report}");
        let identified = json!({"properties": {"x": {"$id": "https://example.com/x", "type": "null"}}});
        let error_report = Schemas { arguments: identified, ..Schemas::default() }.refused(yard).await;
        assert!(error_report.contains("`$id` is not supported"), "{error_report}");
    });
}

#[test]
fn large_schemas_are_rejected_at_installation() {
    on_yard(async |yard, _| {
        let values: Vec<Value> = (0..60_000).map(Value::from).collect();
        let deep = (0..40).fold(json!({}), |inner, _| json!({"anyOf": [inner]}));
        let expressions: Vec<Value> = (0..200).map(|n| json!({"pattern": format!("^x{n}$")})).collect();
        for (result, limit) in [
            (json!({ "enum": values }), "more than 50000 values"),
            (deep, "one inside another"),
            (json!({ "oneOf": expressions }), "more than 128 regular expressions"),
            (json!({"pattern": "((\\w{100}){100}){100}"}), ""),
            // Compiling a long chain of definitions needs a deep stack.
            (chain(1_200), "levels"),
        ] {
            let error_report = Schemas { result, ..Schemas::default() }.refused(yard).await;
            assert!(error_report.contains(limit), "{limit}: {error_report}");
        }
    });
}

#[test]
fn a_schema_at_its_limits_is_compiled() {
    on_yard(async |yard, _| {
        Schemas { arguments: chain(900), ..Schemas::default() }.install(yard).await.unwrap();
    });
}

/// Returns a document that is nested 100 levels deep.
fn deep() -> Value {
    (0..100).fold(json!({}), |inner, _| json!({"c": inner}))
}

/// Arguments that would take exponential time to validate are rejected.
#[test]
fn branches_that_multiply_with_the_depth_of_arguments_are_bounded() {
    let both = json!({
        "allOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}],
        "$defs": {"n": {"properties": {"c": {"$ref": "#"}}, "additionalProperties": true}}
    });
    on_block(Schemas { arguments: both, ..Schemas::default() }, async |yard| {
        let refused = rejected(call(yard, deep(), 5).await);
        assert!(refused.starts_with("invalid: ") && refused.contains("is too large to be validated"), "{refused}");
    });
}

#[test]
fn branches_that_multiply_with_the_depth_of_a_configuration_are_bounded() {
    let more = json!({"properties": {
        "note": {"type": "string"}, "tree": {"$ref": "#/$defs/t"}
    }, "$defs": {
        "t": {"anyOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}, {"type": "null"}], "unevaluatedProperties": false},
        "n": {"properties": {"c": {"$ref": "#/$defs/t"}}, "required": ["x"]}
    }});
    on_yard(async move |yard, _| {
        Schemas { configuration: configuration(&more), ..Schemas::default() }.install(yard).await.unwrap();
        let refused = rejected(create(yard, json!({ "tree": deep() })).await);
        assert!(refused.starts_with("invalid: "), "{refused}");
    });
}

/// Returns a bundle whose operation returns a list of this number of `5.0`.
fn numbers(count: usize, result: Value) -> Schemas {
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
    Schemas { result, code, ..Schemas::default() }
}

#[test]
fn many_invalid_numbers_are_reported_before_the_deadline() {
    let schemas = numbers(200_000, json!({"type": "array", "items": {"type": "integer"}}));
    on_block(schemas, async |yard| {
        let refused = rejected(call(yard, json!({}), 30).await);
        assert!(refused.starts_with("bundle: "), "{refused}");
        assert!(refused.contains("returned a result of `go` that is not valid"), "{refused}");
    });
}

#[test]
fn result_validation_counts_toward_the_deadline() {
    let values: Vec<Value> = (0..20_000).map(Value::from).collect();
    for slow in [
        json!({"items": {"enum": values}}),
        json!({"items": {"anyOf": vec![json!({"type": "null"}); 200], "oneOf": vec![json!({"const": 1}); 200]}}),
        json!({"uniqueItems": true, "contains": {"const": 7}, "items": {"allOf": vec![json!({"minimum": 1}); 150]}}),
        json!({"unevaluatedItems": {"enum": values}, "anyOf": [{"contains": {"enum": values}}, true]}),
    ] {
        on_block(numbers(900_000, slow.clone()), async move |yard| {
            let error = call(yard, json!({}), 3).await.expect_err("an error");
            assert_eq!(error.kind().as_str(), "bundle", "{slow}: {}", error_report(&error));
        });
    }
}

#[test]
fn the_cost_of_a_pattern_is_bounded() {
    let text = json!({"type": "string", "pattern": "^([a-z]{1,9}[0-9]{0,9}){1,40}!$"});
    let arguments = json!({"type": "object", "properties": { "text": text }});
    on_block(Schemas { arguments, ..Schemas::default() }, async |yard| {
        let refused = rejected(call(yard, json!({ "text": "ab12".repeat(200_000) }), 5).await);
        assert!(refused.starts_with("invalid: "), "{refused}");
    });
}

/// A secret field cannot be hidden behind an encoded form of its reference.
#[test]
fn a_secret_behind_an_encoded_reference_is_a_secret() {
    let more = json!({
        "properties": {"note": {"type": "string"}, "hidden": {"$ref": "#/%24defs/a%20secret"}},
        "$defs": {"a secret": {"type": "string", "writeOnly": true, "format": "password"}}
    });
    on_yard(async move |yard, folder| {
        Schemas { configuration: configuration(&more), ..Schemas::default() }.install(yard).await.unwrap();
        yard.create(&"s/a".parse().unwrap(), secret("hidden", "hunter2-hunter2")).await.unwrap();
        let view = yard.show(&"s/a".parse().unwrap()).await.unwrap();
        assert_eq!(view.config["hidden"], json!("********"));
        no_file_contains(folder, "hunter2-hunter2");
    });
}

#[test]
fn unknown_fields_are_rejected_at_every_depth() {
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
    let schemas = Schemas {
        configuration: configuration(&more),
        arguments: json!({"type": "object", "properties": {"filter": {"properties": {"name": {"type": "string"}}}}}),
        ..Schemas::default()
    };
    on_yard(async move |yard, _| {
        schemas.install(yard).await.unwrap();
        for (config, pointer, hint) in [
            (json!({"place": {"cod": "hunter2-hunter2"}}), "/place/cod", "did you mean `code`?"),
            (
                json!({"place": {"inner": {"pasword": "hunter2-hunter2"}}}),
                "/place/inner/pasword",
                "did you mean `password`?",
            ),
            (json!({"list": [{"passwrd": "hunter2-hunter2"}]}), "/list/0/passwrd", "did you mean `password`?"),
        ] {
            let refused = rejected(create(yard, config).await);
            assert!(refused.starts_with("invalid: "), "{refused}");
            assert!(refused.contains(&format!("{pointer}: unknown field")) && refused.contains(hint), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        create(yard, json!({"place": {"open": {"anything": "goes"}, "inner": {"password": "p"}}})).await.unwrap();
        let refused = rejected(call(yard, json!({"filter": {"nam": "x"}}), 30).await);
        assert!(
            refused.contains("/filter/nam: unknown field") && refused.contains("did you mean `name`?"),
            "{refused}"
        );
        call(yard, json!({"filter": {"name": "x"}}), 30).await.unwrap();
    });
}
