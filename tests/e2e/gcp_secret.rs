//! `gcp-secret` against a server of the harness that follows the REST reference of Secret Manager
//! (version 1), because there is no emulator. Tokens are issued by the test's token server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_tests::bundle;
use blockyard_tests::web::{Answer, RecordedRequest, Web};
use serde_json::{Value, json};

use crate::cloud::Cloud;

/// Versions of each secret: the payload (base64 data and checksum), and whether the version is
/// enabled.
pub(crate) type Secrets = BTreeMap<String, Vec<(Value, bool)>>;

fn error(status: u16, word: &str) -> Answer {
    let body = json!({"error": {"code": status, "message": word, "status": word}});
    Answer { status, ..Answer::json(&body) }
}

fn answer(request: &RecordedRequest, secrets: &mut Secrets) -> Answer {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let Some(rest) = path.strip_prefix("/v1/projects/demo/secrets") else { return error(404, "NOT_FOUND") };
    let described = |name: &str, number: usize, enabled: bool| {
        let state = if enabled { "ENABLED" } else { "DISABLED" };
        json!({"name": format!("projects/123/secrets/{name}/versions/{number}"), "state": state, "createTime": "2026-01-02T03:04:05Z"})
    };
    if rest.is_empty() {
        let name = query.strip_prefix("secretId=").expect("a name").to_owned();
        assert_eq!(body, json!({"replication": {"automatic": {}}}));
        return match secrets.insert(name, Vec::new()) {
            None => Answer::json(&json!({})),
            Some(_) => error(409, "ALREADY_EXISTS"),
        };
    }
    let rest = rest.trim_start_matches('/');
    let name: String = rest.chars().take_while(|c| !matches!(c, '/' | ':')).collect();
    let suffix = &rest[name.len()..];
    let Some(versions) = secrets.get_mut(&name) else { return error(404, "NOT_FOUND") };
    match (request.method.as_str(), suffix) {
        ("GET", "") => Answer::json(&json!({"name": format!("projects/123/secrets/{name}")})),
        ("POST", ":addVersion") => {
            versions.push((body["payload"].clone(), true));
            Answer::json(&described(&name, versions.len(), true))
        }
        ("GET", "/versions") => {
            // One version per page.
            let at = query.strip_prefix("pageToken=").map_or(versions.len(), |token| token.parse().expect("a number"));
            let mut page = json!({"versions": [described(&name, at, versions[at - 1].1)]});
            if at > 1 {
                page["nextPageToken"] = (at - 1).to_string().into();
            }
            Answer::json(&page)
        }
        ("GET", access) if access.ends_with(":access") => {
            let number = access.trim_start_matches("/versions/").trim_end_matches(":access");
            let number = if number == "latest" { versions.len() } else { number.parse().expect("a number") };
            match versions.get(number.wrapping_sub(1)) {
                None => error(404, "NOT_FOUND"),
                Some((_, false)) => error(400, "FAILED_PRECONDITION"),
                Some((payload, true)) => {
                    let name = format!("projects/123/secrets/{name}/versions/{number}");
                    Answer::json(&json!({"name": name, "payload": payload}))
                }
            }
        }
        ("POST", disable) if disable.ends_with(":disable") => {
            let number: usize =
                disable.trim_start_matches("/versions/").trim_end_matches(":disable").parse().expect("a number");
            versions[number - 1].1 = false;
            Answer::json(&described(&name, number, false))
        }
        ("DELETE", "") => {
            secrets.remove(&name);
            Answer::json(&json!({}))
        }
        _ => error(404, "NOT_FOUND"),
    }
}

/// Starts the server and creates `gcp-secret/db` on it.
pub(crate) fn start() -> Option<(Cloud, Web, Arc<Mutex<Secrets>>)> {
    let cloud = Cloud::start()?;
    let (tokens, secrets) = (cloud.http_proxy.tokens(), Arc::new(Mutex::new(Secrets::new())));
    let shared = secrets.clone();
    let manager = Web::start(move |request| {
        let token = request.header("authorization").trim_start_matches("Bearer ").to_owned();
        if !tokens.lock().expect("no panic").contains(&token) {
            return error(401, "UNAUTHENTICATED");
        }
        answer(request, &mut shared.lock().expect("one at a time"))
    });
    cloud.yard.ok(&["grant", "gcp", &format!("http {}", manager.url())]);
    cloud.credentials("secrets", &cloud.key, &manager.url());
    let credentials = "credentials=gcp-credentials/secrets";
    cloud.yard.ok(&["create", "gcp-secret/db", "--set", credentials, "--set", "secret=db-password"]);
    Some((cloud, manager, secrets))
}

#[test]
fn secret_is_written_read_and_used_as_a_source() {
    let Some((cloud, _manager, secrets)) = start() else { return };
    let yard = &cloud.yard;
    let check = yard.run(&["check", "gcp-secret/db"]);
    assert_eq!(check.code, 1);
    assert!(
        check.stdout.contains("passed   authenticate") && check.stdout.contains("secret `db-password` was not found"),
        "{}",
        check.stdout
    );
    let missing = yard.fails(1, &["call", "gcp-secret/db", "read", "--out", "-"]);
    assert!(missing.contains("secret `db-password` was not found"), "{missing}");

    // The first write creates the secret, the next adds a version.
    for (number, text) in ["correct horse", "battery staple"].iter().enumerate() {
        let written = yard.ok_with_input(&["call", "gcp-secret/db", "write", "--in", "-"], text);
        let written: Value = serde_json::from_str(&written).expect("JSON");
        assert_eq!(written["version"], (number + 1).to_string());
        assert_eq!(yard.ok(&["call", "gcp-secret/db", "read", "--out", "-"]), *text);
    }
    assert!(yard.ok(&["check", "gcp-secret/db"]).contains("passed   authorise"));
    let stored = secrets.lock().expect("no panic")["db-password"][1].0["data"].clone();
    assert_eq!(stored, STANDARD.encode("battery staple"));

    // The secret is read at each call and stored nowhere.
    yard.ok(&["install", &bundle("zoo"), "--yes"]);
    yard.ok(&["create", "zoo-keeper/ada", "--set", "name=Ada", "--secret", "badge=block:gcp-secret/db"]);
    assert_eq!(yard.reveal("zoo-keeper/ada", "badge"), "battery staple");
    yard.ok_with_input(&["call", "gcp-secret/db", "write", "--in", "-"], "a newer one");
    assert_eq!(yard.reveal("zoo-keeper/ada", "badge"), "a newer one");
    assert_eq!(yard.json(&["call", "zoo-keeper/ada", "introduce"]), "Ada");
    assert_eq!(yard.any_file_contains("battery staple"), None);

    // An older version can be read by its number until it is disabled.
    yard.ok(&["set", "gcp-secret/db", "--set", "secret_version=1"]);
    assert_eq!(yard.ok(&["call", "gcp-secret/db", "read", "--out", "-"]), "correct horse");
    yard.ok(&["call", "gcp-secret/db", "disable", "--version_number", "1"]);
    let refused = yard.fails(1, &["call", "gcp-secret/db", "read", "--out", "-"]);
    assert!(refused.contains("FAILED_PRECONDITION"), "{refused}");
    let versions = yard.json(&["call", "gcp-secret/db", "versions"]);
    let states: Vec<(&str, &str)> = versions
        .as_array()
        .expect("versions")
        .iter()
        .map(|version| (version["version"].as_str().expect("a number"), version["state"].as_str().expect("a state")))
        .collect();
    assert_eq!(states, [("3", "ENABLED"), ("2", "ENABLED"), ("1", "DISABLED")]);

    // Data with a wrong checksum.
    yard.ok(&["set", "gcp-secret/db", "--set", "secret_version=2"]);
    secrets.lock().expect("no panic").get_mut("db-password").expect("the secret")[1].0["dataCrc32c"] = "1".into();
    let damaged = yard.fails(1, &["call", "gcp-secret/db", "read", "--out", "-"]);
    assert!(damaged.contains("was corrupted in transit"), "{damaged}");

    yard.ok(&["call", "gcp-secret/db", "delete", "--yes"]);
    assert!(secrets.lock().expect("no panic").is_empty());
    let refused = yard.fails(
        4,
        &[
            "create",
            "gcp-secret/bad",
            "--set",
            "credentials=gcp-credentials/secrets",
            "--set",
            "secret=a/b",
            "--set",
            "secret_version=newest",
        ],
    );
    assert!(
        refused.contains("/secret: is not a valid secret name") && refused.contains("/secret_version: is neither"),
        "{refused}"
    );
}
