//! Credentials and buckets of the bundle `gcp`, through their operations.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use blockyard_tests::http_proxy::Fault;
use blockyard_tests::web::{Answer, Web};
use serde_json::{Value, json};

use crate::cloud::{ACCOUNT, Cloud, noise};
use crate::tokens::{form, rsa_key};

#[test]
fn object_is_stored_described_and_read() {
    let Some(cloud) = Cloud::start() else { return };
    let put = cloud.put("a/flights.csv", b"from,to\nEWR,IAH\n", &["--content_type", "text/csv"]);
    assert_eq!(
        (&put["path"], &put["size"], &put["content_type"]),
        (&json!("a/flights.csv"), &json!(16), &json!("text/csv"))
    );
    assert_eq!(cloud.stored("data/a/flights.csv").expect("on the disk"), b"from,to\nEWR,IAH\n");
    let stat = cloud.call(&["stat", "--path", "a/flights.csv"]);
    assert_eq!((&stat["size"], &stat["crc32c"]), (&json!(16), &put["crc32c"]));
    assert_eq!(cloud.get("a/flights.csv", &[]), b"from,to\nEWR,IAH\n");
    assert_eq!(cloud.get("a/flights.csv", &["--offset", "8", "--length", "3"]), b"EWR");
    assert_eq!(cloud.get("a/flights.csv", &["--offset", "12"]), b"IAH\n");
    let empty = cloud.put("empty", b"", &[]);
    assert_eq!(empty["size"], 0);
    assert_eq!(cloud.get("empty", &[]), b"");
}

#[test]
fn large_object_is_uploaded_in_chunks() {
    let Some(cloud) = Cloud::start() else { return };
    for length in [16 << 20, (32 << 20) + 12_345] {
        let bytes = noise(length);
        let put = cloud.put("large", &bytes, &["--args", r#"{"metadata": {"made-by": "a test"}}"#]);
        assert_eq!(put["size"], length);
        assert!(cloud.stored("data/large").expect("on the disk") == bytes);
        assert!(cloud.get("large", &[]) == bytes);
        assert_eq!(cloud.call(&["stat", "--path", "large"])["metadata"], json!({"made-by": "a test"}));
    }
}

#[test]
fn lists_have_folders_and_pages() {
    let Some(cloud) = Cloud::start() else { return };
    for path in ["a", "b/1", "b/2", "c/d/e"] {
        cloud.put(path, b"x", &[]);
    }
    let paths = |page: &Value| -> Vec<String> {
        let objects = page["objects"].as_array().expect("objects");
        objects.iter().map(|object| object["path"].as_str().expect("a path").to_owned()).collect()
    };
    assert_eq!(paths(&cloud.call(&["list"])), ["a", "b/1", "b/2", "c/d/e"]);
    let top = cloud.call(&["list", "--delimiter", "/"]);
    assert_eq!((paths(&top), &top["prefixes"]), (vec!["a".to_owned()], &json!(["b/", "c/"])));
    assert_eq!(paths(&cloud.call(&["list", "--prefix", "b/"])), ["b/1", "b/2"]);
    let mut listed = Vec::new();
    let mut token = None;
    loop {
        let mut arguments = vec!["list".to_owned(), "--page_size".to_owned(), "3".to_owned()];
        arguments.extend(token.into_iter().flat_map(|token| ["--page_token".to_owned(), token]));
        let page = cloud.call(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        listed.extend(paths(&page));
        token = page["next_page_token"].as_str().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(listed, ["a", "b/1", "b/2", "c/d/e"]);
}

#[test]
fn objects_are_copied_moved_and_removed() {
    let Some(cloud) = Cloud::start() else { return };
    cloud.put("a", b"lions", &[]);
    assert_eq!(cloud.call(&["copy", "--from", "a", "--to", "b"])["path"], "b");
    assert_eq!(cloud.stored("data/b").expect("the copy"), b"lions");
    cloud.call(&["move", "--from", "b", "--to", "c", "--yes"]);
    assert_eq!((cloud.stored("data/b"), cloud.stored("data/c").as_deref()), (None, Some(&b"lions"[..])));
    cloud.call(&["delete", "--path", "c", "--yes"]);
    assert_eq!(cloud.stored("data/c"), None);
    let refused = cloud.refused(1, &["delete", "--path", "c", "--yes"]);
    assert!(refused.contains("object `data/c` of bucket `zoo` was not found"), "{refused}");
}

#[test]
fn objects_are_composed_in_order() {
    let Some(cloud) = Cloud::start() else { return };
    for (path, bytes) in [("a", &b"lions, "[..]), ("b", b"tigers"), ("c", b" and bears")] {
        cloud.put(path, bytes, &[]);
    }
    let composed =
        cloud.call(&["compose", "--from", r#"["a", "b", "c"]"#, "--to", "whole", "--content_type", "text/plain"]);
    assert_eq!((&composed["path"], &composed["size"]), (&json!("whole"), &json!(23)));
    assert_eq!(cloud.get("whole", &[]), b"lions, tigers and bears");
    let refused = cloud.refused(1, &["compose", "--from", "[]", "--to", "whole"]);
    assert!(refused.contains("expected 1 to 32 source objects"), "{refused}");
}

#[test]
fn existing_object_is_not_overwritten_by_default() {
    // fake-gcs-server ignores the conditions of uploads, so the proxy enforces them.
    let Some(cloud) = Cloud::with({
        let requests = AtomicUsize::new(0);
        move |request| {
            let conditional = request.uri.query().is_some_and(|query| query.contains("ifGenerationMatch=0"));
            let upload = request.method == "POST" && request.uri.path().starts_with("/upload/");
            match upload.then(|| requests.fetch_add(1, Ordering::SeqCst)) {
                Some(1..) if conditional => {
                    Fault::Answer(412, r#"{"error": {"code": 412, "message": "conditionNotMet"}}"#.to_owned())
                }
                _ => Fault::Pass,
            }
        }
    }) else {
        return;
    };
    cloud.put("a", b"first", &["--if_absent", "true"]);
    let file = cloud.write("input", b"second");
    let refused =
        cloud.refused(1, &["put", "--path", "a", "--if_absent", "true", "--in", file.to_str().expect("a path")]);
    assert!(refused.contains("precondition failed for object `"), "{refused}");
    assert_eq!(cloud.stored("data/a").expect("the first"), b"first");
    cloud.put("a", b"second", &[]);
    assert_eq!(cloud.stored("data/a").expect("the second"), b"second");
}

#[test]
fn invalid_paths_and_missing_objects_are_reported() {
    let Some(cloud) = Cloud::start() else { return };
    for (path, wrong) in
        [("../a", "contains `..`"), ("/a", "begins with a slash"), ("a/./b", "contains `.`"), ("", "is empty")]
    {
        let refused = cloud.refused(1, &["stat", "--path", path]);
        assert!(refused.contains(wrong), "{path}: {refused}");
    }
    let refused = cloud.refused(1, &["get", "--path", "nobody"]);
    assert!(refused.contains("object `data/nobody` of bucket `zoo` was not found"), "{refused}");
    cloud.yard.ok(&[
        "create",
        "gcs-bucket/none",
        "--set",
        "credentials=gcp-credentials/prod",
        "--set",
        "bucket=not-there",
    ]);
    let refused = cloud.yard.fails(1, &["call", "gcs-bucket/none", "list"]);
    assert!(refused.contains("bucket `not-there` was not found"), "{refused}");
    let check = cloud.yard.run(&["check", "gcs-bucket/none"]);
    assert_eq!(check.code, 1, "{}", check.stdout);
    assert!(
        check.stdout.contains("passed   authenticate") && check.stdout.contains("failed   authorise"),
        "{}",
        check.stdout
    );
    let refused = cloud.yard.fails(
        4,
        &[
            "create",
            "gcs-bucket/bad",
            "--set",
            "credentials=gcp-credentials/prod",
            "--set",
            "bucket=gs://zoo",
            "--set",
            "prefix=a/../b",
        ],
    );
    assert!(
        refused.contains("/bucket: is not a valid bucket name") && refused.contains("/prefix: contains `..`"),
        "{refused}"
    );
}

#[test]
fn key_is_a_secret_and_verified_by_the_token_server() {
    let Some(cloud) = Cloud::start() else { return };
    let checked = cloud.yard.ok(&["check", "gcp-credentials/prod"]);
    assert!(checked.contains("passed   authenticate") && checked.contains(ACCOUNT), "{checked}");
    assert!(cloud.yard.ok(&["check", "gcs-bucket/zoo"]).contains("passed   authorise"));
    let shown = cloud.yard.ok(&["show", "gcp-credentials/prod", "--json"]);
    assert!(shown.contains(ACCOUNT) && !shown.contains("PRIVATE KEY"), "{shown}");
    let line = cloud.key.lines().nth(3).expect("a line of the key");
    assert_eq!(cloud.yard.any_file_contains(line), None);

    // The domain of another cloud, which does not resolve.
    let own = cloud.key_file().replace("googleapis.com", "zoo.example");
    let own = cloud.write("own.json", own.as_bytes());
    let own = format!("service_account=@{}", own.display());
    cloud.yard.ok(&["create", "gcp-credentials/own", "--set", &own]);
    cloud.yard.ok(&["create", "gcs-bucket/own", "--set", "credentials=gcp-credentials/own", "--set", "bucket=zoo"]);
    let check = cloud.yard.run(&["check", "gcp-credentials/own"]);
    assert!(check.code == 1 && check.stdout.contains("oauth2.zoo.example"), "{}", check.stdout);
    let refused = cloud.yard.fails(1, &["call", "gcs-bucket/own", "list"]);
    assert!(refused.contains("storage.zoo.example"), "{refused}");

    // A revoked key: the signature is made with another key.
    let folder = tempfile::tempdir().expect("a folder");
    let (other, _) = rsa_key(folder.path(), "pkcs8");
    let endpoint = cloud.yard.config("gcp-credentials/prod")["endpoint"].as_str().expect("an endpoint").to_owned();
    cloud.credentials("revoked", &other, &endpoint);
    let check = cloud.yard.run(&["check", "gcp-credentials/revoked"]);
    assert_eq!(check.code, 1);
    assert!(check.stdout.contains("Invalid JWT Signature."), "{}", check.stdout);
    cloud.yard.ok(&["create", "gcs-bucket/old", "--set", "credentials=gcp-credentials/revoked", "--set", "bucket=zoo"]);
    let refused = cloud.yard.fails(1, &["call", "gcs-bucket/old", "list"]);
    assert!(
        refused.contains("Invalid JWT Signature.") && refused.contains("the key is not revoked or expired"),
        "{refused}"
    );
}

#[test]
fn request_to_a_busy_server_is_retried() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = attempts.clone();
    let Some(cloud) = Cloud::with(move |request| {
        let busy = request.uri.path().ends_with("/o/data%2Fa");
        match busy.then(|| count.fetch_add(1, Ordering::SeqCst)) {
            Some(0) => Fault::Answer(503, String::new()),
            Some(1) => Fault::Answer(429, r#"{"error": {"code": 429, "message": "rateLimitExceeded"}}"#.to_owned()),
            _ => Fault::Pass,
        }
    }) else {
        return;
    };
    cloud.put("a", b"lions", &[]);
    assert_eq!(cloud.call(&["stat", "--path", "a"])["size"], 5);
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
}

#[test]
fn interrupted_upload_resumes() {
    let parts = Arc::new(AtomicUsize::new(0));
    let count = parts.clone();
    let Some(cloud) = Cloud::with(move |request| {
        if request.method != "PUT" {
            return Fault::Pass;
        }
        match count.fetch_add(1, Ordering::SeqCst) {
            // The second chunk never arrives, and then the server is busy for a moment.
            1 => Fault::CutRequest,
            2 => Fault::Answer(503, String::new()),
            3 => Fault::PersistedRange(16 << 20),
            _ => Fault::Pass,
        }
    }) else {
        return;
    };
    let bytes = noise((48 << 20) + 7);
    let put = cloud.put("large", &bytes, &[]);
    assert_eq!(put["size"], bytes.len());
    assert!(cloud.stored("data/large").expect("on the disk") == bytes);
    // Four chunks, one of them sent twice, and two status queries.
    assert_eq!(parts.load(Ordering::SeqCst), 7);
}

#[test]
fn upload_resumes_at_the_persisted_offset() {
    let parts = Arc::new(Mutex::new(Vec::new()));
    let ranges = parts.clone();
    let Some(cloud) = Cloud::with(move |request| {
        if request.method != "PUT" {
            return Fault::Pass;
        }
        let mut ranges = ranges.lock().expect("no panic");
        ranges.push(request.headers["content-range"].to_str().expect("text").to_owned());
        match ranges.len() {
            1 => Fault::CutRequest,
            2 => Fault::PersistedRange(1 << 20),
            // The server has stored nothing further and rejects the rest.
            _ => Fault::Answer(403, r#"{"error": {"code": 403, "message": "enough"}}"#.to_owned()),
        }
    }) else {
        return;
    };
    let file = cloud.write("input", &noise(17 << 20));
    let refused = cloud.refused(1, &["put", "--path", "large", "--in", file.to_str().expect("a path")]);
    assert!(refused.contains("enough (status 403)"), "{refused}");
    let parts = parts.lock().expect("no panic");
    assert_eq!(*parts, ["bytes 0-16777215/*", "bytes */*", "bytes 1048576-16777215/*"]);
    assert_eq!(cloud.stored("data/large"), None);
}

#[test]
fn corrupted_upload_is_deleted() {
    // fake-gcs-server ends an upload when its status is queried, so it stores the first chunk only.
    let parts = AtomicUsize::new(0);
    let Some(cloud) = Cloud::with(move |request| match request.method.as_str() {
        "PUT" if parts.fetch_add(1, Ordering::SeqCst) == 1 => Fault::CutRequest,
        _ => Fault::Pass,
    }) else {
        return;
    };
    let file = cloud.write("input", &noise((32 << 20) + 7));
    let refused = cloud.refused(1, &["put", "--path", "large", "--in", file.to_str().expect("a path")]);
    assert!(
        refused.contains("does not match the data sent (CRC32C `") && refused.contains("it was deleted"),
        "{refused}"
    );
    assert_eq!(cloud.stored("data/large"), None);
}

#[test]
fn interrupted_download_leaves_no_partial_file() {
    let Some(cloud) = Cloud::with(|request| {
        if request.uri.query().is_some_and(|query| query.contains("alt=media")) {
            Fault::CutBody(1_000)
        } else {
            Fault::Pass
        }
    }) else {
        return;
    };
    cloud.put("a", &noise(100_000), &[]);
    let out = cloud.folder.path().join("output");
    let refused = cloud.refused(1, &["get", "--path", "a", "--out", out.to_str().expect("a path")]);
    assert!(!out.exists(), "{refused}");
}

#[test]
fn retry_after_a_lost_response_is_idempotent() {
    let cut = AtomicUsize::new(0);
    let Some(cloud) = Cloud::with(move |request| {
        // The first removal is executed, but its response is lost.
        let removal = request.method == "DELETE";
        if removal && cut.fetch_add(1, Ordering::SeqCst) == 0 { Fault::CutAnswer } else { Fault::Pass }
    }) else {
        return;
    };
    cloud.put("a", b"lions", &[]);
    cloud.call(&["delete", "--path", "a", "--yes"]);
    assert_eq!(cloud.stored("data/a"), None);

    let uploads = AtomicUsize::new(0);
    let Some(cloud) = Cloud::with(move |request| match request.uri.path().starts_with("/upload/") {
        true if uploads.fetch_add(1, Ordering::SeqCst) == 0 => Fault::CutAnswer,
        true => Fault::Answer(412, r#"{"error": {"code": 412, "message": "conditionNotMet"}}"#.to_owned()),
        false => Fault::Pass,
    }) else {
        return;
    };
    let file = cloud.write("input", b"lions");
    let refused =
        cloud.refused(1, &["put", "--path", "a", "--if_absent", "true", "--in", file.to_str().expect("a path")]);
    assert!(refused.contains("a response was lost, and this call may have written it"), "{refused}");
    assert_eq!(cloud.stored("data/a").expect("the object"), b"lions");
}

#[test]
fn objects_are_interoperable_with_the_client_of_google() {
    let Some(cloud) = Cloud::start() else { return };
    if !Cloud::has_witness() {
        return;
    }
    for (name, length) in [("small", 10_000), ("large", (9 << 20) + 7)] {
        let bytes = noise(length);
        cloud.put(name, &bytes, &[]);
        assert!(cloud.witness(&["read", &format!("data/{name}")], b"") == bytes, "{name}");
        cloud.witness(&["write", &format!("data/theirs/{name}")], &bytes);
        assert!(cloud.get(&format!("theirs/{name}"), &[]) == bytes, "{name}");
    }
}

#[test]
fn signed_url_matches_the_client_of_google() {
    let Some(cloud) = Cloud::start() else { return };
    if !Cloud::has_witness() {
        return;
    }
    for (path, method) in [("a/flights.csv", "GET"), ("ü & b/c", "PUT")] {
        let sign = ["sign-url", "--path", path, "--expires_in", "600"];
        let sign_write = ["sign-write-url", "--path", path, "--expires_in", "600", "--yes"];
        let url = cloud.call(if method == "GET" { &sign } else { &sign_write });
        let url = url.as_str().expect("a URL");
        let parameter = |name: &str| {
            let (_, rest) = url.split_once(&format!("{name}=")).expect("a parameter");
            rest.split('&').next().expect("a value").to_owned()
        };
        let name = format!("data/{path}");
        let encoded: String = name.split('/').map(blockyard_tests::encoded).collect::<Vec<_>>().join("/");
        let theirs =
            cloud.witness(&["sign", &encoded, method, &parameter("X-Goog-Date"), "600"], cloud.key_file().as_bytes());
        assert_eq!(url, String::from_utf8_lossy(&theirs));
    }
    let refused = cloud.refused(1, &["sign-url", "--path", "a", "--expires_in", "604801"]);
    assert!(refused.contains("`expires_in` must be between 1 and 604800 seconds"), "{refused}");
    // Locally computed: no token is requested.
    assert!(cloud.call(&["uri", "--path", "a/*.csv"]) == json!("gs://zoo/data/a/*.csv"));
}

#[test]
fn concurrent_write_is_not_overwritten() {
    let queries = Arc::new(Mutex::new(Vec::new()));
    let Some(cloud) = Cloud::with({
        let queries = queries.clone();
        move |request| {
            let query = request.uri.query().unwrap_or_default();
            queries.lock().expect("no panic").push(query.to_owned());
            // fake-gcs-server ignores the conditions of uploads, so the proxy enforces them.
            if query.contains("ifGenerationMatch=41") {
                return Fault::Answer(412, r#"{"error": {"code": 412, "message": "conditionNotMet"}}"#.to_owned());
            }
            Fault::Pass
        }
    }) else {
        return;
    };
    let generation = cloud.put("a", b"first", &[])["generation"].clone();
    let generation = generation.as_str().expect("a generation").to_owned();
    cloud.put("a", b"second", &["--if_generation", &generation]);
    assert!(
        queries
            .lock()
            .expect("no panic")
            .iter()
            .any(|query| query.ends_with(&format!("ifGenerationMatch={generation}")))
    );
    let file = cloud.write("input", b"third");
    let put = ["put", "--path", "a", "--in", file.to_str().expect("a path"), "--if_generation"];
    let refused = cloud.refused(1, &[&put[..], &["41"]].concat());
    assert!(refused.contains("precondition failed for object `"), "{refused}");
    for (wrong, message) in [("0", "generation 0 does not identify an object"), ("x", "`x` is not a valid generation")]
    {
        let refused = cloud.refused(1, &[&put[..], &[wrong]].concat());
        assert!(refused.contains(message), "{refused}");
    }
    let refused = cloud.refused(1, &["delete", "--path", "a", "--if_generation", "41", "--yes"]);
    assert!(refused.contains("precondition failed for object `"), "{refused}");
    assert_eq!(cloud.stored("data/a").expect("the second"), b"second");
}

#[test]
fn clock_skew_is_reported() {
    if !blockyard_tests::available("BLOCKYARD_TEST_FAKETIME") {
        return;
    }
    let Some(cloud) = Cloud::start() else { return };
    for off in ["+10m", "-10m"] {
        let mut late = cloud.yard.program("faketime");
        late.args(["-f", off]).arg(blockyard_tests::binary()).args(["call", "gcs-bucket/zoo", "list"]);
        let output = blockyard_tests::run_command(&mut late, None);
        assert_eq!(output.code, 1, "{off}: {}", output.stdout);
        assert!(
            output.stderr.contains("in a reasonable timeframe")
                && output.stderr.contains("this machine's clock is correct"),
            "{off}: {}",
            output.stderr
        );
    }
}

#[test]
fn user_credentials_fetch_tokens() {
    let Some(cloud) = Cloud::start() else { return };
    let valid_tokens = cloud.http_proxy.tokens();
    let tokens = Web::start(move |request| {
        let parameters = form(request);
        let part = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default().to_owned();
        if part("refresh_token") != "1//r3fresh" || part("client_secret") != "s3cret" || part("client_id") != "me.apps"
        {
            return Answer {
                status: 400,
                ..Answer::json(
                    &json!({"error": "invalid_grant", "error_description": "Token has been expired or revoked."}),
                )
            };
        }
        assert_eq!(part("grant_type"), "refresh_token");
        valid_tokens.lock().expect("no panic").insert("ya29.of-a-person".to_owned());
        Answer::json(&json!({"access_token": "ya29.of-a-person", "token_type": "Bearer", "expires_in": 3600}))
    });
    cloud.yard.ok(&["grant", "gcp", &format!("http {}", tokens.url())]);
    let endpoint = cloud.yard.config("gcp-credentials/prod")["endpoint"].as_str().expect("an endpoint").to_owned();
    let person = |refresh: &str| {
        json!({
            "type": "authorized_user", "client_id": "me.apps", "client_secret": "s3cret", "refresh_token": refresh,
            "quota_project_id": "demo", "token_uri": format!("{}/token", tokens.url()), "universe_domain": "googleapis.com",
        })
        .to_string()
    };
    for (name, refresh) in [("person", "1//r3fresh"), ("gone", "1//old")] {
        let file = cloud.write("adc.json", person(refresh).as_bytes());
        let from = format!("authorized_user=@{}", file.display());
        let address = format!("gcp-credentials/{name}");
        cloud.yard.ok(&["create", &address, "--set", &from, "--set", &format!("endpoint={endpoint}")]);
        std::fs::remove_file(file).expect("the file");
        let credentials = format!("credentials={address}");
        cloud.yard.ok(&["create", &format!("gcs-bucket/{name}"), "--set", &credentials, "--set", "bucket=zoo"]);
    }
    cloud.put("a", b"lions", &[]);
    assert_eq!(cloud.yard.ok(&["call", "gcs-bucket/person", "get", "--path", "data/a", "--out", "-"]), "lions");
    let shown = cloud.yard.ok(&["show", "gcp-credentials/person", "--json"]);
    assert!(shown.contains("me.apps") && !shown.contains("s3cret") && !shown.contains("r3fresh"), "{shown}");
    assert_eq!(cloud.yard.any_file_contains("1//r3fresh"), None);
    let refused = cloud.yard.fails(1, &["call", "gcs-bucket/gone", "list"]);
    assert!(refused.contains("Token has been expired or revoked."), "{refused}");
    let unsigned = cloud.yard.fails(1, &["call", "gcs-bucket/person", "sign-url", "--path", "a"]);
    assert!(unsigned.contains("user credentials cannot sign URLs"), "{unsigned}");
}
