//! Test cases, and the property that a difference which is not wider permits nothing new to a
//! bundle.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::RequestUrl;

fn manifest(capabilities: &[&str], types: Value) -> Manifest {
    let text = json!({
        "manifest": 1, "name": "zoo", "version": "0.1.0", "wit": "0.1", "capabilities": capabilities, "types": types,
    });
    Manifest::parse(&text.to_string()).expect("a good manifest")
}

fn operation(name: &str, effect: &str, safe: &[&str]) -> Value {
    json!({"name": name, "effect": effect, "safe": safe, "arguments": {"type": "object"}, "result": {}})
}

fn cage(operations: &[Value]) -> Value {
    with_properties(operations, json!({"url": {"type": "string"}}))
}

fn with_properties(operations: &[Value], properties: Value) -> Value {
    let schema = json!({"type": "object", "additionalProperties": false, "properties": properties});
    json!({"slug": "cage", "version": 1, "schema": schema, "operations": operations})
}

fn grants(texts: &[&str]) -> BTreeSet<Capability> {
    texts.iter().map(|text| text.parse().expect(text)).collect()
}

/// Returns the differences as text; wider ones are marked with a `!`.
fn changes(new: &Manifest, installed: &[&Manifest], granted: &[&str]) -> Vec<String> {
    let found = differences(new, installed, &grants(granted));
    found.iter().map(|one| format!("{}{}", if one.wider { "! " } else { "" }, one.change)).collect()
}

#[test]
fn equal_manifests_have_no_differences() {
    let same =
        manifest(&["log", "http {config.url}"], json!([cage(&[operation("look", "read", &["POST {config.url}/q"])])]));
    assert_eq!(changes(&same, &[&same], &["log", "http {config.url}"]), [""; 0]);
}

#[test]
fn capabilities_that_are_not_granted_are_wider_unless_they_were_revoked() {
    let old = manifest(&["log", "clock"], json!([cage(&[])]));
    let new = manifest(&["log", "clock", "reveal"], json!([cage(&[])]));
    assert_eq!(
        changes(&new, &[&old], &["log"]),
        [
            "capability `clock` stays revoked until it is granted",
            "! new capability `reveal`: SEE its blocks' secrets in plain text",
        ]
    );
    let wide = manifest(&["http https://*.b.example"], json!([cage(&[])]));
    let narrower = manifest(&["http https://a.b.example"], json!([cage(&[])]));
    let changes = changes(&narrower, &[&wide], &["http https://*.b.example"]);
    assert!(changes.iter().all(|line| !line.starts_with('!')), "{changes:?}");
}

#[test]
fn every_change_of_an_effect_is_wider() {
    let effects = ["read", "write", "destructive"];
    for before in effects {
        for after in effects.into_iter().filter(|after| *after != before) {
            let old = manifest(&[], json!([cage(&[operation("look", before, &[])])]));
            let new = manifest(&[], json!([cage(&[operation("look", after, &[])])]));
            let line = format!("! operation `look` of `cage` changes its effect from {before} to {after}");
            assert_eq!(changes(&new, &[&old], &[]), [line]);
        }
    }
}

#[test]
fn safe_requests_belong_to_their_operation() {
    let look = operation("look", "read", &["POST {config.url}/q/*"]);
    let old = manifest(&[], json!([cage(&[look.clone(), operation("list", "read", &[])])]));
    let moved = manifest(&[], json!([cage(&[look, operation("list", "read", &["POST {config.url}/q/*"])])]));
    let line =
        "! operation `list` of `cage` reads, and may now send `POST {config.url}/q/*`, which the bundle declares safe";
    assert_eq!(changes(&moved, &[&old], &[]), [line]);
    // A request that an older installed version declares safe is not new.
    assert!(differences(&moved, &[&moved, &old], &grants(&[])).iter().all(|one| !one.wider));
}

#[test]
fn a_new_operation_is_wider_if_nothing_beside_it_has_its_effect() {
    let old = manifest(&[], json!([cage(&[operation("look", "read", &[])])]));
    let more = [operation("look", "read", &[]), operation("list", "read", &[]), operation("feed", "write", &[])];
    let new = manifest(&[], json!([cage(&more)]));
    assert_eq!(
        changes(&new, &[&old], &[]),
        ["new operation `list` of `cage` with effect read", "! new operation `feed` of `cage` with effect write",]
    );
}

#[test]
fn changes_of_the_protection_of_a_field_are_reported() {
    let secret = |audience: &str| json!({"type": "string", "writeOnly": true, "format": "password", "x-secret": {"audience": [audience]}});
    let build = |properties: Value| manifest(&[], json!([with_properties(&[], properties)]));
    let old = build(json!({"url": {"type": "string"}, "token": secret("https://a.example")}));
    let changed = "! field `token` of `cage` changes how its value is protected or used";
    let wider = build(json!({"url": {"type": "string"}, "token": secret("https://b.example")}));
    assert_eq!(changes(&wider, &[&old], &[]), [changed]);
    let plain = build(json!({"url": {"type": "string"}, "token": {"type": "string"}}));
    assert_eq!(changes(&plain, &[&old], &[]), [changed]);
    let another = build(json!({
        "url": {"type": "string"}, "token": secret("https://a.example"), "key": secret("https://b.example")
    }));
    assert_eq!(changes(&another, &[&old], &[]), [""; 0]);
}

const CAPABILITIES: [&str; 6] = [
    "log",
    "reveal",
    "http https://a.b.example",
    "http https://*.b.example",
    "http {config.url}",
    "http {config.url} at 10.0.0.0/8",
];
const SAFE: [&str; 5] = [
    "POST https://a.b.example/v1/*",
    "POST https://a.b.example/v1/q",
    "DELETE https://a.b.example/v1/q",
    "POST {config.url}/v1/q",
    "POST {config.url}/*/q",
];
const EFFECTS: [&str; 3] = ["read", "write", "destructive"];

fn some_manifest() -> impl Strategy<Value = Manifest> {
    let operations = prop::collection::btree_map(
        prop::sample::select(vec!["look", "list", "feed"]),
        (0..3_usize, prop::collection::btree_set(0..SAFE.len(), 0..3)),
        0..3,
    );
    (prop::collection::btree_set(0..CAPABILITIES.len(), 0..4), operations).prop_map(|(capabilities, operations)| {
        let capabilities: Vec<&str> = capabilities.into_iter().map(|index| CAPABILITIES[index]).collect();
        let operations: Vec<Value> = operations
            .into_iter()
            .map(|(name, (effect, safe))| {
                let safe: Vec<&str> = safe.into_iter().filter(|_| effect == 0).map(|index| SAFE[index]).collect();
                operation(name, EFFECTS[effect], &safe)
            })
            .collect();
        manifest(&capabilities, json!([cage(&operations)]))
    })
}

/// Returns those of a set of sample requests that a read operation of this name may send.
fn sends(manifest: &Manifest, operation: &str) -> BTreeSet<String> {
    let configs = [json!({}), json!({"url": "https://c.example"}), json!({"url": "https://a.b.example"})];
    let mut sent = BTreeSet::new();
    let found = manifest.types[0].operation(operation).filter(|found| found.effect == Effect::Read);
    for safe in found.into_iter().flat_map(|found| &found.safe) {
        for (index, config) in configs.iter().enumerate() {
            for method in ["POST", "DELETE"] {
                for origin in ["https://a.b.example", "https://c.example"] {
                    for path in ["/v1/q", "/v1/r", "/v2/q", "/v1/q/r"] {
                        let url = RequestUrl::parse(&format!("{origin}{path}")).expect("a URL");
                        if safe.matches(method, &url, config) {
                            sent.insert(format!("{index} {method} {origin}{path}"));
                        }
                    }
                }
            }
        }
    }
    sent
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn changes_that_are_not_wider_allow_nothing_new(
        installed in prop::collection::vec(some_manifest(), 1..3),
        new in some_manifest(),
        granted in prop::collection::btree_set(0..CAPABILITIES.len(), 0..6),
    ) {
        let granted: Vec<&str> = granted.into_iter().map(|index| CAPABILITIES[index]).collect();
        let known: Vec<&Manifest> = installed.iter().collect();
        let found = differences(&new, &known, &grants(&granted));
        if found.iter().any(|one| one.wider) {
            return Ok(());
        }
        // A capability that needs no approval is within a granted one, for every block.
        for one in &found {
            if let Change::CapabilityNarrowed(capability) = &one.change {
                prop_assert!(grants(&granted).iter().any(|grant| capability.is_within(grant)));
            }
        }
        for operation in &new.types[0].operations {
            let before: Vec<&Operation> =
                known.iter().filter_map(|old| old.types[0].operation(&operation.name)).collect();
            let effects = |old: &&Manifest| old.types[0].operations.iter().any(|o| o.effect == operation.effect);
            let as_before = if before.is_empty() {
                operation.effect == Effect::Read && operation.safe.is_empty() || known.iter().any(effects)
            } else {
                before.iter().any(|old| old.effect == operation.effect)
            };
            prop_assert!(as_before, "{}", operation.name);
            let now = sends(&new, &operation.name);
            let sent_before = known.iter().any(|old| sends(old, &operation.name).is_superset(&now));
            prop_assert!(now.is_empty() || sent_before, "{:?}", now);
        }
    }
}
