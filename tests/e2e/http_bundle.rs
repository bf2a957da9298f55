//! The bundle `http`: files on a server, and webhooks.

use std::sync::atomic::{AtomicUsize, Ordering};

use blockyard_tests::web::{Answer, Web};
use blockyard_tests::{TestYard, bundle};
use serde_json::{Value, json};

/// Creates a yard with `http-endpoint/files` on this server.
fn yard(web: &Web) -> TestYard {
    let yard = TestYard::new();
    yard.ok(&["install", &bundle("http"), "--yes"]);
    yard.ok(&["grant", "http", &format!("http {}", web.url())]);
    let base = format!("base_url={}/data/", web.url());
    let created = yard
        .run_with_input(&["create", "http-endpoint/files", "--set", &base, "--secret", "token=-"], "t0ken-of-files");
    assert_eq!(created.code, 0, "{}", created.stderr);
    yard
}

#[test]
fn files_are_downloaded_uploaded_and_deleted() {
    let busy = AtomicUsize::new(0);
    let web = Web::start(move |request| match (request.method.as_str(), request.target.as_str()) {
        ("GET", "/data/a%20b/c.csv?year=2013") if busy.fetch_add(1, Ordering::SeqCst) == 0 => Answer::status(503),
        ("GET", "/data/a%20b/c.csv?year=2013") => {
            Answer::text("1,2\n").header("content-type", "text/csv").header("etag", "\"7\"")
        }
        ("PUT", "/data/up") => Answer::text(request.body.clone()),
        ("DELETE", "/data/up") => Answer::status(204),
        ("HEAD", "/data/") => Answer::status(200),
        _ => Answer::status(404),
    });
    let yard = yard(&web);
    let call = ["call", "http-endpoint/files"];
    let query = ["get", "--path", "a b/c.csv", "--query", r#"{"year": "2013"}"#, "--out"];
    assert_eq!(yard.ok(&[&call[..], &query, &["-"]].concat()), "1,2\n");
    let out = yard.path("c.csv").display().to_string();
    let result = yard.json(&[&call[..], &query, &[&out]].concat());
    assert_eq!((&result["content_type"], &result["etag"]), (&json!("text/csv"), &json!("\"7\"")));
    assert!(web.requests().iter().all(|request| request.header("authorization") == "Bearer t0ken-of-files"));

    let file = yard.path("up");
    std::fs::write(&file, b"lions").expect("a file");
    let send = ["send", "--path", "up", "--method", "PUT", "--in", &file.display().to_string(), "--out", "-"];
    assert_eq!(yard.ok(&[&call[..], &send].concat()), "lions");
    yard.ok(&[&call[..], &["delete", "--path", "up", "--yes"]].concat());
    assert!(yard.ok(&["check", "http-endpoint/files"]).contains("status 200"));

    let missing = yard.fails(1, &[&call[..], &["get", "--path", "none", "--out", "-"]].concat());
    assert!(missing.contains("status 404"), "{missing}");
    for path in ["../x", "a/../../x", "a?b", "a#b"] {
        let refused = yard.fails(1, &[&call[..], &["get", "--path", path, "--out", "-"]].concat());
        assert!(refused.contains("the path `"), "{path}: {refused}");
    }
    let refused = yard.fails(4, &["create", "http-endpoint/bad", "--set", "base_url=ftp://x", "--set", "username=u"]);
    assert!(
        refused.contains("/base_url: must begin with")
            && refused.contains("/username: `username` and `password` must be set together"),
        "{refused}"
    );
}

#[test]
fn webhook_posts_a_message() {
    let web = Web::start(|request| match request.target.as_str() {
        "/hook" => Answer::text("ok"),
        "/broken" => Answer::status(502),
        _ => Answer::status(404),
    });
    let yard = yard(&web);
    let url = format!("url={}/hook", web.url());
    yard.ok(&["create", "webhook/plain", "--set", &url]);
    let template = r#"template={"title": "{subject}", "text": "{body}"}"#;
    let created = yard
        .run_with_input(&["create", "webhook/team", "--set", &url, "--set", template, "--secret", "token=-"], "h00k");
    assert_eq!(created.code, 0, "{}", created.stderr);
    yard.ok(&["call", "webhook/plain", "notify", "--body", "the load is done"]);
    assert_eq!(yard.json(&["call", "webhook/team", "notify", "--subject", "load", "--body", "done"])["status"], 200);
    let requests = web.requests();
    let body = |at: usize| serde_json::from_slice::<Value>(&requests[at].body).expect("JSON");
    assert_eq!(body(0), json!({"text": "the load is done"}));
    assert_eq!(body(1), json!({"title": "load", "text": "done"}));
    assert_eq!(requests[1].header("authorization"), "Bearer h00k");
    // A message that may have been delivered is not sent a second time.
    yard.ok(&["create", "webhook/broken", "--set", &format!("url={}/broken", web.url())]);
    let failed = yard.fails(1, &["call", "webhook/broken", "notify", "--body", "x"]);
    assert!(failed.contains("status 502"), "{failed}");
    assert_eq!(web.requests().iter().filter(|request| request.target == "/broken").count(), 1);
    assert!(yard.ok(&["types", "--interface", "notification"]).contains("webhook"));
    let refused =
        yard.fails(4, &["create", "webhook/bad", "--set", "url=https://me:pw@x", "--set", r#"template={"a": "b"}"#]);
    assert!(
        refused.contains("/url: must not contain credentials") && refused.contains("/template: must contain `{body}`"),
        "{refused}"
    );
}
