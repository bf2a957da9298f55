//! Requests of `gcs-bucket`, on the fake host. `tests/e2e` has those to a server.

use blockyard_sdk::fake::{self, BlockUnderTest, Credential, Exchange, GrantKind, Host};

use super::*;

const OBJECTS: &str = "https://storage.googleapis.com/storage/v1/b/zoo/o";
const UPLOAD: &str = "https://storage.googleapis.com/upload/storage/v1/b/zoo/o";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Returns a host with the private key of a service account.
fn host() -> Host {
    Host::new().secret("/credentials/config/service_account/private_key", "PEM")
}

fn bucket(host: &Host) -> BlockUnderTest<'_, GcsBucket> {
    let account = json!({ "client_email": "ann@demo.iam.gserviceaccount.com", "project_id": "demo" });
    let credentials = fake::reference("gcp-credentials/demo", json!({ "service_account": account }));
    host.block(json!({ "credentials": credentials, "bucket": "zoo", "prefix": "raw" }))
}

/// Expects an access token of the service account.
fn signed(exchange: Exchange) -> Exchange {
    exchange.token_with_scopes(TOKEN_URI, &[SCOPE])
}

/// An object resource of Cloud Storage. The content is `hello`.
fn hello() -> Value {
    json!({ "name": "raw/a.txt", "size": "5", "generation": "7", "crc32c": "mnG7TA==" })
}

#[test]
fn a_list_has_pages_and_is_retried() {
    let page =
        |parameters: &[(&'static str, &'static str)]| signed(fake::get(OBJECTS).query(parameters.iter().copied()));
    let limited = json!({ "error": { "message": "Slow down", "errors": [{ "reason": "rateLimitExceeded" }] } });
    let host = host()
        .http(
            page(&[("prefix", "raw/2024/"), ("maxResults", "1"), ("delimiter", "/")])
                .replies(503)
                .replies(fake::status(403).json(limited))
                .replies(json!({
                    "items": [{ "name": "raw/2024/a", "size": "1" }],
                    "prefixes": ["raw/2024/01/"],
                    "nextPageToken": "t2",
                })),
        )
        .http(page(&[("prefix", "raw/2024/"), ("pageToken", "t2")]).replies(json!({})));
    let bucket = bucket(&host);
    let first = json!({ "prefix": "2024/", "page_size": 1, "delimiter": "/" });
    let first = bucket.call("list", first).expect("a page");
    let expected = json!({
        "objects": [{ "path": "2024/a", "size": 1 }],
        "prefixes": ["2024/01/"],
        "next_page_token": "t2",
    });
    assert_eq!(first.result(), &expected);
    assert!((3..5).contains(&host.elapsed().as_secs()), "the waits are 1 s and 2 s, with jitter");
    let last = bucket.call("list", json!({ "prefix": "2024/", "page_token": "t2" })).expect("a page");
    assert_eq!(last.result(), &json!({ "objects": [], "prefixes": [] }));
}

#[test]
fn requests_have_a_token_of_the_service_account() {
    let host = host().http(signed(fake::get(&format!("{OBJECTS}/raw%2Fa.txt"))).replies(hello()));
    bucket(&host).call("stat", json!({ "path": "a.txt" })).expect("metadata");
    let Credential::Token(grant) = &host.requests()[0].credential else { panic!("a token") };
    let issuer = "ann@demo.iam.gserviceaccount.com".to_owned();
    assert_eq!(grant.kind, GrantKind::JwtBearer { issuer, subject: None });
    assert_eq!(grant.secrets, ["/credentials/config/service_account/private_key"]);
}

#[test]
fn a_missing_permission_is_not_retried() {
    let denied = json!({ "error": { "message": "no access", "errors": [{ "reason": "forbidden" }] } });
    let host =
        host().http(signed(fake::get(&format!("{OBJECTS}/raw%2Fa.txt"))).replies(fake::status(403).json(denied)));
    let problem = bucket(&host).call("stat", json!({ "path": "a.txt" })).expect_err("denied");
    assert_eq!((problem.code(), &problem.details()["reason"]), ("denied", &json!("forbidden")));
}

#[test]
fn the_bytes_of_an_object_are_passed_on() {
    let url = format!("{OBJECTS}/raw%2Fa.txt");
    let content = fake::status(206).body("text/plain", "ell");
    let host = host().in_order().http(signed(fake::get(&url)).replies(hello())).http(
        signed(fake::get(&url).query([("alt", "media"), ("ifGenerationMatch", "7")]))
            .header("range", "bytes=1-3")
            .replies(content),
    );
    let reply = bucket(&host).call("get", json!({ "path": "a.txt", "offset": 1, "length": 3 })).expect("bytes");
    assert_eq!(reply.output().expect("bytes"), b"ell");
    assert_eq!(reply.result()["generation"], "7");
}

#[test]
fn a_small_object_is_uploaded_in_one_request() {
    let upload = fake::post(UPLOAD)
        .query([("uploadType", "media"), ("name", "raw/a.txt"), ("ifGenerationMatch", "0")])
        .header("content-type", "text/plain")
        .body("hello");
    let host = host().http(signed(upload).replies(fake::unreachable()).replies(hello()));
    let arguments = json!({ "path": "a.txt", "if_absent": true });
    let stored = bucket(&host).call_with_input("put", arguments, Body::from_bytes("text/plain", b"hello"));
    let expected = json!({ "path": "a.txt", "size": 5, "generation": "7", "crc32c": "mnG7TA==" });
    assert_eq!(stored.expect("stored").result(), &expected);
}

#[test]
fn a_damaged_upload_is_deleted() {
    let stored = json!({ "name": "raw/a.txt", "size": "5", "generation": "7", "crc32c": "AAAAAA==" });
    let delete = fake::delete(&format!("{OBJECTS}/raw%2Fa.txt?ifGenerationMatch=7"));
    let host = host()
        .in_order()
        .http(signed(fake::post(UPLOAD).any_query()).replies(stored))
        .http(signed(delete).replies(204));
    let input = Body::from_bytes("text/plain", b"hello");
    let problem = bucket(&host).call_with_input("put", json!({ "path": "a.txt" }), input).expect_err("damaged");
    assert!(problem.message().ends_with("(CRC32C `AAAAAA==` instead of `mnG7TA==`); it was deleted"), "{problem}");
}

#[test]
fn a_resumable_upload_continues_after_the_bytes_that_were_received() {
    let session = "https://storage.googleapis.com/upload/session/1";
    let begin = fake::post(UPLOAD)
        .query([("uploadType", "resumable"), ("name", "raw/a.txt")])
        .header("x-upload-content-type", "text/plain")
        .json(json!({ "contentType": "text/plain", "metadata": { "by": "ann" } }))
        .replies(fake::status(200).header("location", session));
    let put = |range: &str, body: &str| signed(fake::put(session)).header("content-range", range).body(body);
    let host = host()
        .in_order()
        .http(signed(begin))
        // The connection breaks; the status request reports that two bytes were received.
        .http(put("bytes 0-4/5", "hello").replies(fake::unreachable()))
        .http(put("bytes */5", "").replies(fake::status(308).header("range", "bytes=0-1")))
        .http(put("bytes 2-4/5", "llo").replies(hello()));
    let arguments = json!({ "path": "a.txt", "metadata": { "by": "ann" } });
    let stored = bucket(&host).call_with_input("put", arguments, Body::from_bytes("text/plain", b"hello"));
    assert_eq!(stored.expect("stored").result()["size"], 5);
}

#[test]
fn an_expired_upload_session_is_reported() {
    let session = "https://storage.googleapis.com/upload/session/1";
    let host = host()
        .http(signed(fake::post(UPLOAD).any_query()).replies(fake::status(200).header("location", session)))
        .http(signed(fake::put(session)).replies(410));
    let arguments = json!({ "path": "a.txt", "storage_class": "NEARLINE" });
    let problem = bucket(&host).call_with_input("put", arguments, Body::from_bytes("text/plain", b"hello"));
    let problem = problem.expect_err("expired");
    assert!(problem.is_retryable() && problem.message().contains("expired; nothing was written"), "{problem}");
}

#[test]
fn a_signed_url_needs_a_service_account() {
    let host = Host::new();
    let credentials = fake::reference("gcp-credentials/demo", json!({ "endpoint": "http://localhost:4443" }));
    let bucket = host.block::<GcsBucket>(json!({ "credentials": credentials, "bucket": "zoo" }));
    let problem = bucket.call("sign-url", json!({ "path": "a.txt" })).expect_err("no key");
    assert_eq!(problem.message(), "user credentials cannot sign URLs");
}
