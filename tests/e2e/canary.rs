//! A bundle that holds a secret by handle tries every way to read it. Then all output and all
//! stored files are searched for the secret, in plaintext and encoded.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use blockyard_tests::environment::program;
use blockyard_tests::web::{Answer, RecordedRequest, Web};
use blockyard_tests::{TestYard, bundle};
use serde_json::json;

const CANARY: &str = "c4nary-In-The-Mine+7/z";
const TOKEN: &str = "t0ken-0f-The-Mine_81";

fn percent_where_needed(text: &str) -> String {
    text.replace('+', "%2B").replace('/', "%2F")
}

/// Returns the encodings in which a secret could appear.
fn forms(secret: &str) -> Vec<String> {
    let hex = hex::encode(secret);
    vec![
        secret.to_owned(),
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        STANDARD.encode(format!("ada:{secret}")),
        STANDARD_NO_PAD.encode(format!("Bearer {secret}"))[10..].to_owned(),
        hex.to_uppercase(),
        hex,
        percent_where_needed(secret),
    ]
}

/// Echoes the credentials of the request in the requested encoding.
fn echo(request: &RecordedRequest) -> Answer {
    let sent = [request.header("authorization"), request.header("x-api-key")].concat();
    let shown = match request.target.split("?as=").nth(1) {
        Some("base64") => STANDARD.encode(&sent),
        Some("hex") => hex::encode(&sent),
        Some("percent") => percent_where_needed(&sent),
        Some("json") => json!({"sent": sent, "again": [sent.clone()]}).to_string(),
        _ => sent.clone(),
    };
    Answer::text(format!("<{shown}>")).header("x-echo", &sent)
}

#[test]
fn no_operation_reveals_the_secret() {
    let web = Web::start(echo);
    let tokens = Web::start(|_| Answer::json(&json!({"access_token": TOKEN, "expires_in": 3600})));
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard.ok(&["install", &bundle("courier"), "--yes"]);
    yard.ok(&["grant", "courier", &format!("http {}", web.url()), &format!("http {}", tokens.url())]);
    let token_url = format!("{}/token", tokens.url());
    let key = program("openssl")
        .args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output();
    let key = String::from_utf8(key.expect("openssl").stdout).expect("PEM");
    let middle_of_key = key.lines().nth(3).expect("a long key").to_owned();
    yard.create("courier/c", &json!({"base_url": web.url(), "token_url": token_url, "token": CANARY, "key": key}));

    let searched: Vec<String> = forms(CANARY).into_iter().chain(forms(TOKEN)).chain([middle_of_key]).collect();
    // `/echo` is in the guest's memory, so finding it proves that the search works.
    let hidden: Vec<Vec<u8>> = ["/echo"]
        .into_iter()
        .chain(searched.iter().map(String::as_str))
        .map(|text| text.bytes().map(|byte| !byte).collect())
        .collect();
    for (path, code) in [("/echo", 0), ("/echo-and-fail", 1)] {
        let arguments = json!({"echo": path, "hidden": hidden}).to_string();
        let output = yard.run(&["call", "courier/c", "spy", "--args", &arguments, "--json", "-vv"]);
        assert_eq!(output.code, code, "{}", output.stderr);
        for form in &searched {
            assert!(!output.stdout.contains(form), "on stdout: {form}\n{}", output.stdout);
            assert!(!output.stderr.contains(form), "on stderr: {form}\n{}", output.stderr);
        }
        if code == 0 {
            let reply: serde_json::Value = serde_json::from_str(&output.stdout).expect("one JSON document");
            assert_eq!(reply["in_memory"], json!([0]), "{}", output.stdout);
            assert!(output.stdout.contains("********"), "{}", output.stdout);
        }
    }
    // The server received both secrets.
    assert!(web.requests().iter().any(|request| request.header("authorization").contains(CANARY)));
    assert!(web.requests().iter().any(|request| request.header("authorization").contains(TOKEN)));

    let audit = yard.ok(&["audit", "--json"]);
    let files = files_below(yard.path("").as_path());
    assert!(files.iter().any(|(path, _)| path.ends_with("yard.db")));
    for form in &searched {
        assert!(!audit.contains(form), "in the audit trail: {form}");
        for (path, bytes) in &files {
            let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "in {}: {form}", path.display());
        }
    }
}

fn files_below(folder: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push((path.clone(), std::fs::read(&path).expect("a file")));
        }
    }
    files
}
