//! Installing a bundle whose name is already in use: changes are shown and approved, and
//! permissions never widen silently.

use blockyard_tests::{TestYard, attack, bundle, on_both};
use expect_test::expect;
use serde_json::{Value, json};

on_both!(
    different_file_with_a_known_name_requires_approval,
    yes_is_sufficient_without_wider_permissions,
    review_names_a_new_capability,
    upgrade_does_not_restore_a_revoked_capability,
    failed_bundles_are_reported_and_the_others_installed,
    blocks_of_an_older_version_are_marked,
);

fn operation(name: &str, effect: &str, safe: &[&str]) -> Value {
    json!({
        "name": name, "effect": effect, "safe": safe, "arguments": {"type": "object"}, "result": {"type": "null"},
        "input": true, "output": true,
    })
}

/// The yard is created when a bundle is ready to be installed, not before.
#[test]
fn a_command_that_fails_creates_no_yard() {
    let yard = TestYard::empty();
    let key = [yard.path("signing").display().to_string(), yard.path("acme").display().to_string()];
    let file = sec(&yard, "0.1.0", &["log"], &url(), &[]);
    yard.ok(&["publish", &file, "--registry", &key[1], "--name", "acme", "--new-signing-key", &key[0]]);
    std::fs::create_dir(yard.path("none")).expect("a folder");
    std::fs::write(yard.path("none/registry.toml"), "version = 1\nname = \"none\"\n").expect("a file");
    std::fs::write(yard.path("broken.wasm"), "not a bundle").expect("a file");
    let none = yard.path("none").display().to_string();
    for (code, arguments) in [
        (3, &["install", "sec", "--registry", &none, "--yes"][..]),
        (3, &["install", "sec", "--registry", "missing", "--yes"]),
        (3, &["install", "sec@9", "--registry", &key[1], "--yes"]),
        (3, &["install", "missing.wasm", "--yes"]),
        (4, &["install", "broken.wasm", "--yes"]),
        (4, &["install", "broken.wasm", "missing.wasm", "--yes"]),
        (2, &["install", "--yes"]),
        (2, &["install", "sec", "--locked", "--yes"]),
        // No one agreed to it.
        (2, &["install", &file]),
        (2, &["install", &file, "--grant", "log"]),
        (3, &["create", "sec/one", "--set", "url=a"]),
        (3, &["upgrade", "sec", "--registry", &key[1]]),
    ] {
        yard.fails(code, arguments);
        assert!(!yard.path("yard.db").exists() && !yard.path("yard.key").exists(), "{arguments:?}");
        assert!(!yard.path(".local").exists(), "{arguments:?}");
    }
    // The lock file of a project is missing, and then outdated.
    std::fs::write(yard.path("blockyard.toml"), "[bundles]\nsec = \"^0.1\"\n").expect("a file");
    yard.ok(&["trust"]);
    for lock in [None, Some("version = 1\n")] {
        if let Some(text) = lock {
            std::fs::write(yard.path("blockyard.lock"), text).expect("a file");
        }
        yard.fails(6, &["install", "--locked", "--yes", "--registry", &key[1]]);
        assert!(!yard.path("yard.db").exists() && !yard.path("yard.key").exists(), "{lock:?}");
    }
    std::fs::remove_file(yard.path("blockyard.toml")).expect("removed");
    // One of two bundles is installed, in a new yard.
    let output = yard.run(&["install", "missing.wasm", &file, "--yes"]);
    assert_eq!(output.code, 3, "{}", output.stderr);
    assert!(output.stderr.contains("created yard"), "{}", output.stderr);
    assert_eq!(versions(&yard), ["0.1.0"]);
}

/// Writes a bundle `sec` with this version. Returns the path of the file.
pub(crate) fn sec(
    yard: &TestYard,
    version: &str,
    capabilities: &[&str],
    properties: &Value,
    operations: &[Value],
) -> String {
    let manifest = json!({
        "manifest": 1, "name": "sec", "version": version, "wit": "0.1", "capabilities": capabilities,
        "types": [{
            "slug": "sec", "version": 1, "operations": operations,
            "schema": {"type": "object", "additionalProperties": false, "properties": properties},
        }],
    });
    let bytes = attack::build("sec", &format!(";; manifest: {manifest}\n"));
    let file = yard.path(&format!("sec-{version}.wasm"));
    std::fs::write(&file, bytes).expect("a file");
    file.display().to_string()
}

fn url() -> Value {
    json!({"url": {"type": "string"}})
}

fn versions(yard: &TestYard) -> Vec<String> {
    let bundles = yard.json(&["bundles"]);
    let of_sec = bundles["bundles"].as_array().expect("bundles").iter().filter(|bundle| bundle["name"] == "sec");
    of_sec.map(|bundle| bundle["version"].as_str().expect("a version").to_owned()).collect()
}

fn different_file_with_a_known_name_requires_approval(yard: &TestYard) {
    let asks = ["http {config.url}"];
    let first = sec(yard, "0.1.0", &asks, &url(), &[operation("http", "write", &[])]);
    let refused = yard.fails(2, &["install", &first, "-v"]);
    for shown in
        ["source: file", "signer: unsigned", "capability `http {config.url}`", "block type `sec`: write `http`"]
    {
        assert!(refused.contains(shown), "{shown}: {refused}");
    }
    assert!(refused.contains("confirm with `--yes`"), "{refused}");
    yard.ok(&["install", &first, "--yes"]);
    // New safe requests, and an operation whose effect changes from write to read.
    let safe = ["DELETE {config.url}/v1/*/*", "POST {config.url}/q"];
    let second = sec(yard, "0.2.0", &asks, &url(), &[operation("http", "read", &safe)]);
    for flags in [&[][..], &["--yes"], &["--replace"]] {
        let refused = yard.fails(2, &[&["install", &second][..], flags].concat());
        assert!(refused.contains("version: 0.1.0 → 0.2.0"), "{refused}");
        assert!(refused.contains("operation `http` of `sec` changes its effect from write to read"), "{refused}");
        assert!(refused.contains("may now send `DELETE {config.url}/v1/*/*`"), "{refused}");
        assert_eq!(versions(yard), ["0.1.0"], "{flags:?}: nothing was installed");
    }
    let refused = yard.fails(2, &["install", &second, "--yes"]);
    assert!(refused.contains("`--replace` accepts: operation `http` of `sec` changes its effect"), "{refused}");
    assert!(refused.contains("confirm with `--replace`"), "{refused}");
    yard.ok(&["install", &second, "--yes", "--replace"]);
    assert_eq!(versions(yard), ["0.1.0", "0.2.0"]);
    let audit = yard.json(&["audit"])["audit"].clone();
    let wider = audit
        .as_array()
        .expect("lines")
        .iter()
        .any(|line| line.to_string().contains("changes its effect from write to read"));
    assert!(wider, "the audit trail records what was approved: {audit}");
}

fn yes_is_sufficient_without_wider_permissions(yard: &TestYard) {
    let asks = ["log"];
    let operations = [operation("look", "read", &["POST {config.url}/q/*"]), operation("feed", "write", &[])];
    yard.ok(&["install", &sec(yard, "0.1.0", &asks, &url(), &operations), "--yes"]);
    let more = [
        operation("look", "read", &["POST {config.url}/q/*"]),
        operation("feed", "write", &[]),
        operation("list", "read", &[]),
        operation("clean", "write", &[]),
    ];
    let second = sec(yard, "0.1.1", &asks, &json!({"url": {"type": "string"}, "note": {"type": "string"}}), &more);
    assert!(yard.fails(2, &["install", &second]).contains("confirm with `--yes`"));
    yard.ok(&["install", &second, "--yes"]);
    // Installing the same bytes changes nothing and needs no approval.
    assert_eq!(yard.json(&["install", &second])["installed"][0]["changed"], false);
    // A field whose secret gets another audience.
    let secret = |audience: &str| {
        json!({"url": {"type": "string"}, "token": {
            "type": "string", "writeOnly": true, "format": "password", "x-secret": {"audience": [audience]},
        }})
    };
    yard.ok(&["install", &sec(yard, "0.1.2", &asks, &secret("https://a.example"), &more), "--yes"]);
    let elsewhere = sec(yard, "0.1.3", &asks, &secret("https://b.example"), &more);
    let refused = yard.fails(2, &["install", &elsewhere, "--yes"]);
    assert!(refused.contains("field `token` of `sec` changes how its value is protected or used"), "{refused}");
}

fn review_names_a_new_capability(yard: &TestYard) {
    yard.ok(&["install", &sec(yard, "0.1.0", &["log"], &url(), &[]), "--yes"]);
    let second = sec(yard, "0.2.0", &["log", "http {config.url}", "clock"], &url(), &[]);
    let refused = yard.fails(2, &["install", &second, "--yes", "--replace"]);
    assert!(refused.contains("confirm with `--grant 'clock' --grant 'http {config.url}'`"), "{refused}");
    let refused = yard.fails(2, &["install", &second, "--yes", "--grant", "clock"]);
    assert!(refused.contains("`--grant 'http {config.url}'` accepts: new capability"), "{refused}");
    assert_eq!(versions(yard), ["0.1.0"]);
    // A narrower capability can be granted instead of the requested one.
    yard.ok(&["install", &second, "--yes", "--grant", "clock", "--grant", "http https://a.example"]);
    let grants: Vec<Value> = yard.json(&["grants", "sec"])["grants"].as_array().expect("grants").clone();
    let granted = grants.iter().filter(|grant| grant["granted"] == true);
    let granted: std::collections::BTreeSet<&str> = granted.filter_map(|grant| grant["capability"].as_str()).collect();
    assert_eq!(granted, ["log", "clock", "http https://a.example"].into());
    let unknown = yard.run(&["install", &second, "--grant", "files"]);
    assert_eq!(unknown.code, 2, "{}", unknown.stderr);
}

fn upgrade_does_not_restore_a_revoked_capability(yard: &TestYard) {
    yard.ok(&["install", &sec(yard, "0.1.0", &["log", "clock"], &url(), &[]), "--yes"]);
    yard.ok(&["revoke", "sec", "clock"]);
    let output = yard.run(&["install", &sec(yard, "0.1.1", &["log", "clock"], &url(), &[]), "--yes"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("capability `clock` stays revoked"), "{}", output.stderr);
    let clock = |yard: &TestYard| {
        let grants = yard.json(&["grants", "sec"])["grants"].as_array().expect("grants").clone();
        grants.into_iter().find(|grant| grant["capability"] == "clock").expect("the requested capability")["granted"]
            .clone()
    };
    assert_eq!(clock(yard), false);
    yard.ok(&["install", &sec(yard, "0.1.2", &["log", "clock"], &url(), &[]), "--yes", "--grant", "clock"]);
    assert_eq!(clock(yard), true);
}

fn failed_bundles_are_reported_and_the_others_installed(yard: &TestYard) {
    let good = sec(yard, "0.1.0", &[], &url(), &[]);
    std::fs::write(yard.path("broken.wasm"), "not a component").expect("a file");
    let output = yard.run(&["install", "nowhere.wasm", &good, "broken.wasm", &bundle("sql"), "--yes"]);
    assert_eq!(output.code, 3, "exit code of the first failure: {}", output.stderr);
    assert!(output.stdout.contains("installed sec 0.1.0"), "{}", output.stdout);
    assert!(output.stderr.contains("2 of 4 bundles were not installed"), "{}", output.stderr);
    assert!(
        output.stderr.contains("`nowhere.wasm`: ") && output.stderr.contains("`broken.wasm`: "),
        "{}",
        output.stderr
    );
    assert_eq!(versions(yard), ["0.1.0"]);
    let output = yard.run(&["install", "nowhere.wasm", &good, "--yes", "--json"]);
    assert_eq!(output.code, 3);
    let document: Value = serde_json::from_str(&output.stdout).expect("one document");
    assert_eq!(document["installed"][0]["name"], "sec");
    assert_eq!(
        (&document["failed"][0]["bundle"], &document["failed"][0]["error"]["kind"]),
        (&json!("nowhere.wasm"), &json!("not-found"))
    );
    assert_eq!(serde_json::from_str::<Value>(&output.stderr).expect("one error")["error"]["kind"], "not-found");
    // A single bundle fails without the summary of several bundles.
    let refused = yard.fails(3, &["install", "nowhere.wasm", "--yes"]);
    assert!(refused.starts_with("error: `nowhere.wasm` cannot be read"), "{refused}");
}

fn blocks_of_an_older_version_are_marked(yard: &TestYard) {
    yard.ok(&["install", &sec(yard, "0.1.0", &[], &url(), &[]), "--yes"]);
    yard.ok(&["create", "sec/old", "--set", "url=a"]);
    assert!(!yard.ok(&["show", "sec/old"]).contains("uses bundle"));
    let properties = json!({"url": {"type": "string"}, "note": {"type": "string"}});
    yard.ok(&["install", &sec(yard, "0.2.0", &[], &properties, &[]), "--yes"]);
    yard.ok(&["create", "sec/new", "--set", "note=b"]);
    let uses = "bundle `sec` 0.1.0, while 0.2.0 is installed";
    assert!(yard.ok(&["show", "sec/old"]).contains(uses));
    assert_eq!(yard.json(&["show", "sec/old"])["bundle"], json!({"name": "sec", "version": "0.1.0", "newer": "0.2.0"}));
    assert_eq!(yard.json(&["show", "sec/new"])["bundle"], json!({"name": "sec", "version": "0.2.0"}));
    let listed = yard.ok(&["list"]);
    assert!(listed.contains(uses), "{listed}");
    let doctor = yard.ok(&["doctor"]);
    assert!(doctor.contains(&format!("`sec/old` uses {uses}")) && !doctor.contains("`sec/new` uses"), "{doctor}");
    // A field of the newer version: the error explains why it is unknown.
    let refused = yard.fails(4, &["set", "sec/old", "--set", "note=c"]);
    assert!(refused.contains(uses), "{refused}");
    let refused = yard.fails(4, &["set", "sec/new", "--set", "other=c"]);
    assert!(!refused.contains("while"), "{refused}");
}

#[test]
fn bundle_descriptions_are_escaped() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    let malicious_text = "\u{1b}[2J\u{1b}]0;pwned\u{7}\u{202e}live\nerror: forged\n  hint: run `evil`";
    let mut manifest = attack::manifest("esc", ";; result: {\"type\": \"null\"}");
    manifest["description"] = json!(malicious_text);
    manifest["types"][0]["title"] = json!(malicious_text);
    manifest["types"][0]["description"] = json!(malicious_text);
    manifest["types"][0]["schema"]["properties"]["note"]["description"] = json!(malicious_text);
    manifest["types"][0]["operations"][0]["description"] = json!(malicious_text);
    manifest["types"][0]["operations"][0]["arguments"] =
        json!({"type": "object", "properties": {"a": {"description": malicious_text}}});
    // The parser of the text format rejects bidirectional control characters, so they are JSON
    // escapes here.
    let escape = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) };
    let manifest: String = manifest.to_string().chars().map(escape).collect();
    let file = yard.path("esc.wasm");
    std::fs::write(&file, attack::build("esc", &format!(";; manifest: {manifest}\n"))).expect("a file");
    yard.ok(&["install", &file.display().to_string(), "--yes"]);
    yard.ok(&["create", "esc/x", "--set", &format!("note={malicious_text}")]);
    for arguments in [
        &["call", "esc/x", "go", "--help"][..],
        &["type", "esc"],
        &["types"],
        &["show", "esc/x"],
        &["bundles"],
        &["list"],
    ] {
        let result = yard.run(arguments);
        let all = result.stdout + &result.stderr;
        assert!(!all.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{9b}']), "{arguments:?}: {all:?}");
        let forged =
            all.lines().find(|line| line.trim_start().starts_with("error:") || line.trim_start().starts_with("hint:"));
        assert_eq!(forged, None, "{arguments:?}: {all}");
    }
}

#[test]
fn first_installation_is_summarized() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    let refused = yard.fails(2, &["install", &bundle("gcp")]);
    let review = refused.lines().filter(|line| !line.contains("source:")).filter_map(|line| line.strip_prefix("  "));
    let review: Vec<&str> = review.collect();
    expect![[r#"
          signer: unsigned
          it may:
            send requests to *.googleapis.com, bigquery.{universe_domain}, oauth2.{universe_domain}, secretmanager.{universe_domain} and storage.{universe_domain}
            send requests to the servers that its blocks name in `endpoint` and `token_uri`
            use the secrets of its blocks, and sign with them, without seeing them
            write to the log, read the time, get random bytes
          block type `gcp-credentials`: operations: 1 read
          block type `gcs-bucket`: operations: 5 read, 4 write, 3 destructive
          block type `bigquery-warehouse`: operations: 9 read, 9 write
          block type `gcp-secret`: operations: 2 read, 2 write, 1 destructive
          operations of `bigquery-warehouse` that read, but send other requests, which the bundle declares safe: `query`, `fetch-one`, `fetch-many`, `fetch-all` and `dry-run`
          `-v` lists each capability and operation
          hint: confirm with `--yes`"#]].assert_eq(&review.join("\n"));
}
