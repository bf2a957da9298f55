//! `gcs-bucket` against a server of the harness that follows the REST reference of Cloud Storage
//! (JSON API, version 1), for behavior that fake-gcs-server lacks: customer-supplied encryption
//! keys, quotas, and objects larger than its memory.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_tests::web::{Answer, RecordedRequest, Web};
use crc::{CRC_32_ISCSI, Crc};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cloud::Cloud;
#[cfg(target_os = "linux")]
use crate::memory::peak_memory;

static CRC32C: Crc<u32, crc::Table<16>> = Crc::<u32, crc::Table<16>>::new(&CRC_32_ISCSI);

/// Starts the server and creates `gcs-bucket/rest` on it.
pub(crate) fn start(answer: impl Fn(&RecordedRequest) -> Answer + Send + Sync + 'static) -> Option<(Cloud, Web)> {
    let cloud = Cloud::start()?;
    let web = Web::start(answer);
    cloud.yard.ok(&["grant", "gcp", &format!("http {}", web.url())]);
    cloud.credentials("rest", &cloud.key, &web.url());
    cloud.yard.ok(&["create", "gcs-bucket/rest", "--set", "credentials=gcp-credentials/rest", "--set", "bucket=zoo"]);
    Some((cloud, web))
}

fn error(status: u16, reason: &str, message: &str) -> Answer {
    let body =
        json!({"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}});
    Answer { status, ..Answer::json(&body) }
}

fn resource(size: u64, crc32c: u32) -> Value {
    json!({"name": "big", "size": size.to_string(), "crc32c": STANDARD.encode(crc32c.to_be_bytes()), "generation": "1"})
}

/// Returns the last byte of a chunk, and the total size if the chunk is the last: `bytes 0-7/*`.
fn content_range(request: &RecordedRequest) -> (u64, Option<u64>) {
    let range = request.header("content-range").strip_prefix("bytes ").expect("a range");
    let (range, total) = range.split_once('/').expect("a total");
    let last = range.split_once('-').expect("a last byte").1;
    (last.parse().expect("a number"), total.parse().ok())
}

#[test]
#[cfg(target_os = "linux")]
fn four_gibibytes_are_copied_with_bounded_memory() {
    const SIZE: u64 = 4 << 30;
    let checksum = |chunks: &mut dyn Iterator<Item = bytes::Bytes>| {
        let mut digest = CRC32C.digest();
        chunks.for_each(|chunk| digest.update(&chunk));
        digest.finalize()
    };
    let down = checksum(&mut blockyard_tests::web::pattern(SIZE));
    let zeros = bytes::Bytes::from(vec![0; 1 << 20]);
    let up = checksum(&mut std::iter::repeat_n(zeros, usize::try_from(SIZE >> 20).expect("64 bit")));
    let server_url = Arc::new(std::sync::OnceLock::<String>::new());
    let address = server_url.clone();
    let received = Arc::new(Mutex::new(0));
    let count = received.clone();
    let Some((cloud, web)) = start(move |request| match request.method.as_str() {
        "POST" => Answer::default().header("location", &format!("{}/session", address.get().expect("the address"))),
        "PUT" => {
            let mut received = count.lock().expect("no panic");
            *received += request.length;
            match content_range(request) {
                (last, None) => Answer::status(308).header("range", &format!("bytes=0-{last}")),
                (_, Some(total)) => Answer::json(&resource(total, up)),
            }
        }
        _ if request.target.contains("small") => Answer::json(&resource(0, 0)),
        _ if request.target.contains("alt=media") => Answer { more: SIZE, ..Answer::default() },
        _ => Answer::json(&resource(SIZE, down)),
    }) else {
        return;
    };
    server_url.set(web.url()).expect("once");
    let file = std::fs::File::create(cloud.yard.path("sparse")).expect("a file");
    file.set_len(SIZE).expect("a sparse file");
    let idle = peak_memory(&cloud.yard, &["call", "gcs-bucket/rest", "stat", "--path", "small"]);
    let down = peak_memory(&cloud.yard, &["cp", "gcs-bucket/rest:big", "-"]);
    let up = peak_memory(&cloud.yard, &["cp", "sparse", "gcs-bucket/rest:big"]);
    assert_eq!(*received.lock().expect("no panic"), SIZE);
    let over = |peak: u64| peak.saturating_sub(idle) >> 10;
    assert!(idle > 1_000 && over(up) <= 64 && over(down) <= 64, "MiB over idle: up {}, down {}", over(up), over(down));
}

#[test]
fn customer_supplied_keys_are_sent_with_every_object_request() {
    let requests = Arc::new(Mutex::new(Vec::<RecordedRequest>::new()));
    let recorder = requests.clone();
    let server_url = Arc::new(std::sync::OnceLock::<String>::new());
    let address = server_url.clone();
    let key = STANDARD.encode([7_u8; 32]);
    let digest = STANDARD.encode(Sha256::digest([7_u8; 32]));
    let (expected, proof) = (key.clone(), digest.clone());
    let body = b"lions";
    let Some((cloud, web)) = start(move |request| {
        recorder.lock().expect("no panic").push(request.clone());
        let is = |prefix: &str| {
            request.header(&format!("{prefix}-algorithm")) == "AES256"
                && request.header(&format!("{prefix}-key")) == expected
                && request.header(&format!("{prefix}-key-sha256")) == proof
        };
        if !is("x-goog-encryption") {
            let reason = "resourceIsEncryptedWithCustomerEncryptionKey";
            return error(400, reason, "The target object is encrypted by a customer-supplied encryption key.");
        }
        let rewrite = request.target.contains("/rewriteTo/");
        assert_eq!(is("x-goog-copy-source-encryption"), rewrite, "{}", request.target);
        if rewrite {
            return Answer::json(&json!({"done": true, "resource": resource(5, CRC32C.checksum(body))}));
        }
        if request.target.contains("alt=media") {
            // An echo of the key must not reveal it.
            return Answer::text(&body[..]).header("x-echo", request.header("x-goog-encryption-key"));
        }
        if request.target.contains("uploadType=resumable") {
            return Answer::default().header("location", &format!("{}/session", address.get().expect("the address")));
        }
        Answer::json(&resource(5, CRC32C.checksum(body)))
    }) else {
        return;
    };
    server_url.set(web.url()).expect("once");
    let yard = &cloud.yard;
    let refused = yard.fails(1, &["call", "gcs-bucket/rest", "stat", "--path", "big"]);
    assert!(refused.contains("encrypted by a customer-supplied encryption key"), "{refused}");
    yard.ok_with_input(&["set", "gcs-bucket/rest", "--secret", "encryption_key=-"], &key);
    requests.lock().expect("no panic").clear();
    let file = cloud.write("input", body);
    let file = file.to_str().expect("a path");
    yard.ok(&["call", "gcs-bucket/rest", "put", "--path", "big", "--in", file]);
    yard.ok(&["call", "gcs-bucket/rest", "put", "--path", "big", "--storage_class", "NEARLINE", "--in", file]);
    yard.ok(&["call", "gcs-bucket/rest", "stat", "--path", "big"]);
    assert_eq!(yard.ok(&["cat", "gcs-bucket/rest:big"]), "lions");
    yard.ok(&["call", "gcs-bucket/rest", "copy", "--from", "big", "--to", "two"]);
    yard.ok(&["call", "gcs-bucket/rest", "compose", "--from", r#"["big", "two"]"#, "--to", "all"]);
    let requests = requests.lock().expect("no panic").clone();
    // One upload in a single request, one in a session with two requests; one request for metadata;
    // two for the download; one for the copy; two for the composition.
    assert_eq!(requests.len(), 9, "{:?}", requests.iter().map(|request| &request.target).collect::<Vec<_>>());
    assert!(requests.iter().all(|request| request.header("x-goog-encryption-key-sha256") == digest));
    assert_eq!(yard.any_file_contains(&key), None);

    // An invalid key is reported before a request is sent, and not repeated in the error.
    yard.ok_with_input(&["set", "gcs-bucket/rest", "--secret", "encryption_key=-"], "my key!");
    let refused = yard.fails(1, &["call", "gcs-bucket/rest", "stat", "--path", "big"]);
    assert!(refused.contains("is not base64") && !refused.contains("my key!"), "{refused}");
}

#[test]
fn exceeded_quota_is_retried_or_reported() {
    let attempts = Arc::new(Mutex::new(0));
    let count = attempts.clone();
    let Some((cloud, _web)) = start(move |request| {
        let mut count = count.lock().expect("no panic");
        *count += 1;
        match (request.target.contains("busy"), *count) {
            (true, 1) => error(429, "rateLimitExceeded", "The object exceeded the rate limit."),
            (true, 2) => error(403, "userRateLimitExceeded", "User rate limit exceeded."),
            (true, _) => Answer::json(&resource(5, 0)),
            (false, _) => error(403, "quotaExceeded", "The project has exceeded its daily quota."),
        }
    }) else {
        return;
    };
    let stat = ["call", "gcs-bucket/rest", "stat", "--path"];
    assert_eq!(cloud.yard.json(&[&stat[..], &["busy"]].concat())["size"], 5);
    assert_eq!(*attempts.lock().expect("no panic"), 3);
    let refused = cloud.yard.fails(1, &[&stat[..], &["over"]].concat());
    assert!(
        refused.contains("rate limit or quota exceeded for")
            && refused.contains("The project has exceeded its daily quota."),
        "{refused}"
    );
    assert!(refused.contains("retry later, or request a larger quota"), "{refused}");
    assert_eq!(*attempts.lock().expect("no panic"), 4, "a daily quota must not be retried");
}
