//! Access tokens that the host fetches, and signatures that it creates, with keys that the bundle
//! cannot read. `openssl` verifies the signatures.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blockyard::{KeySource, Yard};
use blockyard_tests::environment::program;
use blockyard_tests::web::{Answer, RecordedRequest, Web};
use blockyard_tests::{CommandOutput, TestYard, bundle};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// A server, a token server, and a yard whose block uses the same key for both.
struct Bed {
    yard: TestYard,
    web: Web,
    tokens: Web,
}

fn bed(
    key: &str,
    web: impl Fn(&RecordedRequest) -> Answer + Send + Sync + 'static,
    tokens: impl Fn(&RecordedRequest) -> Answer + Send + Sync + 'static,
) -> Bed {
    let (web, tokens) = (Web::start(web), Web::start(tokens));
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard.ok(&["install", &bundle("courier"), "--yes"]);
    yard.ok(&["grant", "courier", &format!("http {}", web.url()), &format!("http {}", tokens.url())]);
    let token_url = format!("{}/token", tokens.url());
    yard.create(
        "courier/c",
        &json!({"base_url": web.url(), "token_url": token_url, "key": key, "signing_key": key, "token": key}),
    );
    Bed { yard, web, tokens }
}

fn get(bed: &Bed, auth: &str) -> CommandOutput {
    bed.yard.run(&["call", "courier/c", "get", "--path", "/", "--auth", auth, "--json"])
}

/// Generates an RSA key. Returns the private key as PEM and the path of the public key.
pub(crate) fn rsa_key(folder: &Path, form: &str) -> (String, std::path::PathBuf) {
    let (private, public) = (folder.join("private.pem"), folder.join("public.pem"));
    let openssl = |arguments: &[&str]| {
        let output = program("openssl").args(arguments).output().expect("openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let path = |path: &Path| path.to_str().expect("a path").to_owned();
    openssl(&["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &path(&private)]);
    openssl(&["pkey", "-in", &path(&private), "-pubout", "-out", &path(&public)]);
    if form == "pkcs1" {
        openssl(&["rsa", "-in", &path(&private), "-traditional", "-out", &path(&private)]);
    }
    (std::fs::read_to_string(&private).expect("a key"), public)
}

pub(crate) fn is_signed(public: &Path, data: &[u8], signature: &[u8], folder: &Path) -> bool {
    let (signed, seal) = (folder.join("signed"), folder.join("signature"));
    std::fs::write(&signed, data).expect("a file");
    std::fs::write(&seal, signature).expect("a file");
    let output = program("openssl")
        .args(["dgst", "-sha256", "-verify"])
        .arg(public)
        .arg("-signature")
        .arg(&seal)
        .arg(&signed)
        .output()
        .expect("openssl");
    output.status.success()
}

pub(crate) fn form(request: &RecordedRequest) -> std::collections::BTreeMap<String, String> {
    let text = String::from_utf8(request.body.clone()).expect("text");
    let decode = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8().expect("text").into_owned();
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (decode(name), decode(value))).collect()
}

fn token(text: &str, seconds: u64) -> Answer {
    Answer::json(&json!({"access_token": text, "token_type": "Bearer", "expires_in": seconds}))
}

#[test]
fn key_signs_a_token_request() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in ["pkcs8", "pkcs1"] {
        let (key, public) = rsa_key(folder.path(), kind);
        let bed = bed(&key, |_| Answer::text("fine"), |_| token("t0ken-of-the-server", 3600));
        let got = get(&bed, "jwt");
        assert_eq!(got.code, 0, "{}", got.stderr);
        assert_eq!(bed.web.requests()[0].header("authorization"), "Bearer t0ken-of-the-server");

        let parameters = form(&bed.tokens.requests()[0]);
        assert_eq!(parameters["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
        let (signed, signature) = parameters["assertion"].rsplit_once('.').expect("three parts");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        assert!(is_signed(&public, signed.as_bytes(), &signature, folder.path()));
        let parts: Vec<Value> = signed
            .split('.')
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON"))
            .collect();
        assert_eq!(parts[0], json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
        assert_eq!(parts[1]["iss"], "courier@zoo.example");
        assert_eq!(parts[1]["scope"], "read write");
        assert_eq!(parts[1]["aud"], format!("{}/token", bed.tokens.url()));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let (issued, end) = (parts[1]["iat"].as_u64().expect("a time"), parts[1]["exp"].as_u64().expect("a time"));
        assert!(now.abs_diff(issued) < 300 && end - issued == 3600);
    }
}

#[test]
fn other_grant_types_send_their_documented_parameters() {
    let bed = bed("cl1ent+secret&=/", |_| Answer::text("fine"), |_| token("t", 60));
    assert_eq!(get(&bed, "client").code, 0);
    assert_eq!(get(&bed, "refresh").code, 0);
    let (client, refresh) = (form(&bed.tokens.requests()[0]), form(&bed.tokens.requests()[1]));
    let pairs = |form: &std::collections::BTreeMap<String, String>| {
        form.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(
        pairs(&client),
        ["client_id=courier", "client_secret=cl1ent+secret&=/", "grant_type=client_credentials", "scope=read"]
    );
    assert_eq!(
        pairs(&refresh),
        ["client_id=courier", "grant_type=refresh_token", "refresh_token=cl1ent+secret&=/", "scope=read"]
    );
}

#[test]
fn token_server_rejection_is_a_clear_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, _) = rsa_key(folder.path(), "pkcs8");
    // The server's error repeats the assertion, which could be exchanged for a token.
    let answer = |request: &RecordedRequest| {
        let assertion = form(request).get("assertion").cloned().unwrap_or_default();
        Answer {
            status: 400,
            ..Answer::json(&json!({"error": "invalid_grant", "error_description": format!("bad {assertion}")}))
        }
    };
    let bed = bed(&key, |_| Answer::text("fine"), answer);
    let got = get(&bed, "jwt");
    assert_eq!(got.code, 1, "{}", got.stderr);
    assert!(got.stderr.contains("refused the request") && got.stderr.contains("clock is correct"), "{}", got.stderr);
    assert!(!got.stderr.contains("eyJ"), "{}", got.stderr);
    assert!(bed.web.requests().is_empty());
}

#[test]
fn invalid_key_error_does_not_show_the_key() {
    let bed = bed("-----BEGIN NONSENSE----- abcdefgh", |_| Answer::text("fine"), |_| token("t", 60));
    let got = get(&bed, "jwt");
    assert_eq!(got.code, 1, "{}", got.stderr);
    assert!(
        got.stderr.contains("the private key cannot be used") && !got.stderr.contains("abcdefgh"),
        "{}",
        got.stderr
    );
    assert!(bed.tokens.requests().is_empty());
}

#[test]
fn access_tokens_are_not_exposed() {
    let bed = bed(
        "cl1ent-secret",
        |request| Answer::text(format!("you sent {}", request.header("authorization"))),
        |_| token("t0ken-of-the-server", 60),
    );
    let got = get(&bed, "client");
    assert_eq!(got.code, 0, "{}", got.stderr);
    assert!(got.stdout.contains("you sent Bearer ********") && !got.stdout.contains("t0ken"), "{}", got.stdout);
}

#[test]
fn token_server_must_be_granted_and_configured() {
    let bed = bed("cl1ent-secret", |_| Answer::text("fine"), |_| token("t", 60));
    bed.yard.ok(&["revoke", "courier", &format!("http {}", bed.tokens.url())]);
    let got = get(&bed, "client");
    assert_eq!(got.code, 5, "{}", got.stderr);
    assert!(bed.tokens.connections() == 0 && bed.web.connections() == 0);
}

fn in_process(bed: &Bed) -> (tokio::runtime::Runtime, Yard) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let yard = runtime.block_on(Yard::open(&bed.yard.url(), KeySource::File(bed.yard.key_file()))).expect("the yard");
    (runtime, yard)
}

#[test]
fn concurrent_calls_fetch_one_token() {
    let fetched = Arc::new(AtomicUsize::new(0));
    let counted = fetched.clone();
    let slow = move |_: &RecordedRequest| {
        let answer = token(&format!("token-{}", counted.fetch_add(1, Ordering::SeqCst)), 3600);
        Answer { after: std::time::Duration::from_millis(200), ..answer }
    };
    let bed = bed("cl1ent-secret", |_| Answer::text("fine"), slow);
    let (runtime, yard) = in_process(&bed);
    let arguments = json!({"path": "/", "auth": "client"});
    runtime.block_on(async {
        let block = yard.block("courier/c").await.expect("the block");
        let calls = (0..24).map(|_| block.call("get", arguments.clone()));
        for reply in futures_util::future::join_all(calls).await {
            assert_eq!(reply.expect("an answer").result["status"], 200);
        }
        block.call("get", arguments.clone()).await.expect("an answer");
    });
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
    assert_eq!(bed.web.requests().len(), 25);
    assert!(bed.web.requests().iter().all(|request| request.header("authorization") == "Bearer token-0"));
}

#[test]
fn concurrent_callers_share_a_failed_attempt() {
    let bed = bed(
        "cl1ent-secret",
        |_| Answer::text("fine"),
        |_| Answer { after: std::time::Duration::from_millis(300), ..Answer::status(503) },
    );
    let (runtime, yard) = in_process(&bed);
    runtime.block_on(async {
        let block = yard.block("courier/c").await.expect("the block");
        let calls = (0..16).map(|_| block.call("get", json!({"path": "/", "auth": "client"})));
        for reply in futures_util::future::join_all(calls).await {
            assert!(reply.expect_err("no token").to_string().contains("refused the request"));
        }
    });
    // Calls that started during the first attempt share its result.
    assert!(bed.tokens.requests().len() < 8, "{} attempts", bed.tokens.requests().len());
}

#[test]
fn revoked_token_is_refetched_once() {
    let fetched = Arc::new(AtomicUsize::new(0));
    let counted = fetched.clone();
    let bed = bed(
        "cl1ent-secret",
        |request| Answer::status(if request.header("authorization") == "Bearer token-1" { 200 } else { 401 }),
        move |_| token(&format!("token-{}", counted.fetch_add(1, Ordering::SeqCst)), 3600),
    );
    let (runtime, yard) = in_process(&bed);
    let statuses: Vec<Value> = runtime.block_on(async {
        let block = yard.block("courier/c").await.expect("the block");
        let mut statuses = Vec::new();
        for _ in 0..2 {
            statuses.push(
                block.call("get", json!({"path": "/", "auth": "client"})).await.expect("an answer").result["status"]
                    .clone(),
            );
        }
        statuses
    });
    assert_eq!(statuses, [200, 200]);
    assert_eq!(fetched.load(Ordering::SeqCst), 2);
}

#[test]
fn token_is_renewed_before_it_expires() {
    let fetched = Arc::new(AtomicUsize::new(0));
    let counted = fetched.clone();
    let bed = bed(
        "cl1ent-secret",
        |_| Answer::text("fine"),
        move |_| token(&format!("token-{}", counted.fetch_add(1, Ordering::SeqCst)), 10),
    );
    let (runtime, yard) = in_process(&bed);
    runtime.block_on(async {
        let block = yard.block("courier/c").await.expect("the block");
        let call = async || block.call("get", json!({"path": "/", "auth": "client"})).await.expect("an answer");
        call().await;
        // Four fifths of the lifetime of ten seconds have passed; the token is still valid for one
        // more call.
        tokio::time::sleep(std::time::Duration::from_millis(8_200)).await;
        call().await;
        for _ in 0..200 {
            if fetched.load(Ordering::SeqCst) == 2 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        call().await;
    });
    let used: Vec<String> =
        bed.web.requests().iter().map(|request| request.header("authorization").to_owned()).collect();
    assert_eq!(used, ["Bearer token-0", "Bearer token-0", "Bearer token-1"]);
}

#[test]
fn host_signs_without_exposing_the_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, public) = rsa_key(folder.path(), "pkcs8");
    let bed = bed(&key, |_| Answer::text("fine"), |_| token("t", 60));
    let digest = "0123456789abcdef".repeat(4);
    let text = &format!("GOOG4-RSA-SHA256\n20261124T000000Z\n20261124/auto/storage/goog4_request\n{digest}");
    let sign = |arguments: Value| bed.yard.run(&["call", "courier/c", "sign", "--args", &arguments.to_string()]);
    let signed = sign(json!({"text": text}));
    assert_eq!(signed.code, 0, "{}", signed.stderr);
    let signature = hex::decode(signed.stdout.trim().trim_matches('"')).expect("hex");
    assert!(is_signed(&public, text.as_bytes(), &signature, folder.path()));

    // Signing a token would be equivalent to having the key.
    let refused = sign(json!({"text": "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0"}));
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("a bundle cannot sign tokens itself"), "{}", refused.stderr);
    let refused = sign(json!({"text": text, "other_secret": true}));
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("the secret `/token` may not be used for signing"), "{}", refused.stderr);
}

#[test]
fn hmac_matches_openssl() {
    let bed = bed("Jefe-of-the-zoo", |_| Answer::text("fine"), |_| token("t", 60));
    for text in ["1764000000.{\"event\":\"born\"}", "v0:1764000000:text=zebra"] {
        let arguments = json!({"text": text, "hmac": true});
        let signed = bed.yard.ok(&["call", "courier/c", "sign", "--args", &arguments.to_string()]);
        std::fs::write(bed.yard.path("text"), text).expect("a file");
        let output = program("openssl")
            .args(["dgst", "-sha256", "-hmac", "Jefe-of-the-zoo", "-r"])
            .arg(bed.yard.path("text"))
            .output()
            .expect("openssl");
        let theirs = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(signed.trim().trim_matches('"'), theirs.split(' ').next().expect("a digest"), "{text}");
    }
}
