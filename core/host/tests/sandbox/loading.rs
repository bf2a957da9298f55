//! Untrusted files: loading any file results in a bundle or in an error with a reason.

use std::sync::Arc;

use blockyard_host::{HostError, limits};
use serde_json::{Value, json};
use wasmparser::Parser;

use super::attack::{build, embed, manifest, with_manifest};
use super::{Sandbox, sandbox};

async fn refusal(sandbox: &Sandbox, bytes: Vec<u8>) -> Option<String> {
    sandbox.load(Arc::new(bytes)).await.err().map(|error| error.to_string())
}

/// Returns a reproducible pseudorandom sequence (xorshift).
fn random(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}

#[tokio::test]
async fn a_truncated_file_is_rejected() {
    let sandbox = sandbox();
    let whole = with_manifest("cut", "", manifest("cut", "").to_string().as_bytes());
    assert_eq!(refusal(&sandbox, whole.clone()).await, None);
    let mut ends: Vec<usize> = vec![0, 1, 7];
    for payload in Parser::new(0).parse_all(&whole) {
        let payload = payload.expect("a good component");
        if let Some((_, range)) = payload.as_section() {
            ends.extend([range.start, range.start + range.len() / 2, range.end.saturating_sub(1), range.end]);
        }
    }
    let mut described = 0;
    for end in ends {
        let bytes = whole[..end.min(whole.len())].to_vec();
        let refused = refusal(&sandbox, bytes).await;
        // A truncation after the last required section removes only optional data.
        described += usize::from(refused.is_none());
        if let Some(reason) = refused {
            assert!(!reason.contains("compiler crashed"), "the compiler crashed at {end}: {reason}");
        }
    }
    assert!(described <= 8, "{described} cuts made no difference");
}

#[tokio::test]
async fn a_file_with_a_changed_byte_is_a_bundle_or_an_error() {
    let sandbox = sandbox();
    let whole = with_manifest("flip", "", manifest("flip", "").to_string().as_bytes());
    let mut refused = 0;
    for number in random(7).take(400) {
        let mut bytes = whole.clone();
        let at = usize::try_from(number >> 8).expect("64 bits") % bytes.len();
        bytes[at] ^= u8::try_from(number & 0xff).expect("a byte").max(1);
        if let Some(reason) = refusal(&sandbox, bytes).await {
            refused += 1;
            assert!(!reason.contains("compiler crashed"), "the compiler crashed at {at}: {reason}");
        }
    }
    assert!(refused > 50, "only {refused} of 400 changes were seen");
}

#[tokio::test]
async fn random_bytes_are_rejected() {
    let sandbox = sandbox();
    for (length, number) in (0..200).zip(random(11)) {
        let mut bytes: Vec<u8> =
            random(number).take(length * 7).map(|n| u8::try_from(n & 0xff).expect("a byte")).collect();
        assert!(refusal(&sandbox, bytes.clone()).await.is_some());
        bytes.splice(..0, *b"\0asm\x0d\0\x01\0");
        // A preamble alone is a valid component, but not a bundle.
        assert!(refusal(&sandbox, bytes).await.is_some());
    }
}

#[tokio::test]
async fn a_file_above_the_size_limit_is_rejected() {
    let refused = sandbox().load(Arc::new(vec![0; limits::COMPONENT_BYTES + 1])).await.expect_err("refused");
    assert!(matches!(refused, HostError::TooLarge { .. }));
}

/// Returns the error of loading a bundle whose `describe` returns `text`.
async fn manifest_error(text: impl AsRef<[u8]>) -> String {
    refusal(&sandbox(), with_manifest("m", "", text.as_ref())).await.unwrap_or_else(|| "it is a bundle".to_owned())
}

fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut manifest = manifest("m", "");
    change(&mut manifest);
    manifest.to_string()
}

#[tokio::test]
async fn malicious_manifests_are_rejected() {
    assert_eq!(manifest_error(changed(|_| {})).await, "it is a bundle");
    let large = changed(|m| m["description"] = json!("x".repeat(10 << 20)));
    let reason = manifest_error(large).await;
    assert!(reason.contains("bytes; the limit is 1048576"), "{reason}");
    let deep = format!("{{\"manifest\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let reason = manifest_error(deep).await;
    assert!(reason.contains("recursion limit") || reason.contains("invalid type"), "{reason}");
    let deep = changed(|m| {
        let mut schema = json!({"type": "integer"});
        for _ in 0..100 {
            schema = json!({"type": "object", "properties": {"a": schema}});
        }
        m["types"][0]["schema"]["properties"]["a"] = schema;
    });
    let reason = manifest_error(deep).await;
    assert!(reason.contains("recursion limit"), "{reason}");
    let twice = changed(|_| {}).replacen("{", "{\"name\": \"innocent\", ", 1);
    let reason = manifest_error(twice).await;
    assert!(reason.contains("duplicate field `name`"), "{reason}");
    let reason = manifest_error(b"{\"manifest\": \"\xff\xfe\"}").await;
    assert!(reason.contains("utf-8"), "{reason}");
    for name in ["../../etc/passwd", "a/b", "A", "caf\u{e9}", "m\u{0}", "", "\u{0430}bc", "a\n"] {
        let reason = manifest_error(changed(|m| m["name"] = json!(name))).await;
        assert!(reason.contains("the manifest is not valid"), "{name}: {reason}");
        let reason = manifest_error(changed(|m| m["types"][0]["slug"] = json!(name))).await;
        assert!(reason.contains("the manifest is not valid"), "{name}: {reason}");
    }
}

#[tokio::test]
async fn malicious_schemas_are_rejected_or_harmless() {
    let with = |schema: Value| changed(|m| m["types"][0]["schema"]["properties"]["a"] = schema);
    for remote in ["https://example.com/schema.json", "file:///etc/passwd", "http://127.0.0.1:1/"] {
        let reason = manifest_error(with(json!({"$ref": remote}))).await;
        assert!(reason.contains("the manifest is not valid"), "{remote}: {reason}");
    }
    // 1000^3 states: the size of a compiled regular expression is bounded.
    let reason = manifest_error(with(json!({"type": "string", "pattern": "((a{1000}){1000}){1000}"}))).await;
    assert!(reason.contains("the manifest is not valid"), "{reason}");
    // Matching takes linear time, regardless of the pattern.
    let manifest = with(json!({"type": "string", "pattern": "^(a+)+$"}));
    let bundle = sandbox().load(Arc::new(build("m", &format!(";; manifest: {manifest}\n")))).await.expect("a bundle");
    let began = std::time::Instant::now();
    let long = json!({"a": format!("{}!", "a".repeat(100_000))});
    assert!(!bundle.manifest().types[0].schema.check(&long).is_empty());
    assert!(began.elapsed().as_secs() < 20);
}

#[tokio::test]
async fn trailing_bytes_are_rejected() {
    let mut bytes = build("m", "");
    embed(&mut bytes, b"{}");
    // The host uses the manifest that `describe` returns and ignores embedded ones; the engine
    // compares the two.
    assert_eq!(refusal(&sandbox(), bytes.clone()).await, None);
    bytes.extend_from_slice(b"more");
    assert!(refusal(&sandbox(), bytes).await.is_some());
}
