//! The bundle `gcp` against a real Cloud Storage server (fake-gcs-server), a token server that looks at
//! what was signed, and a proxy that lets nobody through without a token. What is on the server's disk
//! is the witness.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blockyard_tests::gate::{Fate, Gate};
use blockyard_tests::web::{Answer, Seen, Web};
use blockyard_tests::{TestYard, bundle};
use serde_json::{Value, json};

#[cfg(target_os = "linux")]
use crate::http::peak_memory;
use crate::tokens::{form, is_signed, rsa_key};

const ACCOUNT: &str = "zoo@demo.iam.gserviceaccount.example";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// A cloud of a test's own, and a yard whose `gcs-bucket/zoo` is `data/` in it.
pub(crate) struct Cloud {
    pub(crate) yard: TestYard,
    tokens: Web,
    pub(crate) key: String,
    // In this order: the proxy before the server that it stands before.
    pub(crate) gate: Gate,
    _server: Server,
    folder: tempfile::TempDir,
}

/// fake-gcs-server; it ends with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(program: &str, port: u16, root: &Path, public: &str) -> Self {
        let mut command = Command::new(program);
        command.args(["-backend", "filesystem", "-scheme", "http", "-host", "127.0.0.1", "-filesystem-root"]);
        command.arg(root).args(["-port", &port.to_string(), "-public-host", public]);
        command.args(["-external-url", &format!("http://{public}")]);
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("fake-gcs-server");
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "fake-gcs-server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(server)
    }
}

impl Cloud {
    /// None where the server is not on this machine: `cargo xtask test` says so.
    pub(crate) fn start() -> Option<Self> {
        Self::with(|_| Fate::Pass)
    }

    fn with(fate: impl Fn(&http::request::Parts) -> Fate + Send + Sync + 'static) -> Option<Self> {
        let program = std::env::var("BLOCKYARD_TEST_FAKE_GCS").ok()?;
        let folder = tempfile::tempdir().expect("a folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let gate = Gate::before(port, fate);
        std::fs::create_dir(folder.path().join("cloud")).expect("a folder");
        let server = Server::start(&program, port, &folder.path().join("cloud"), &gate.authority());
        let (key, public) = rsa_key(folder.path(), "pkcs8");
        let (good, here) = (gate.tokens(), Arc::new(OnceLock::<String>::new()));
        let (address, place) = (here.clone(), folder.path().to_owned());
        let turn = Mutex::new(0);
        let tokens = Web::start(move |request| {
            let mut turn = turn.lock().expect("one at a time");
            *turn += 1;
            match mistake(request, address.get().expect("the server's address"), &public, &place) {
                None => {
                    let token = format!("ya29.token-{turn}");
                    good.lock().expect("no panic").insert(token.clone());
                    Answer::json(&json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
                }
                Some(wrong) => Answer {
                    status: 400,
                    ..Answer::json(&json!({"error": "invalid_grant", "error_description": wrong}))
                },
            }
        });
        here.set(format!("{}/token", tokens.url())).expect("once");
        let yard = TestYard::empty();
        yard.ok(&["init", "--key", "file"]);
        yard.ok(&["install", &bundle("gcp"), "--yes"]);
        let endpoint = format!("http://{}", gate.authority());
        yard.ok(&["grant", "gcp", &format!("http {endpoint}"), &format!("http {}", tokens.url())]);
        let cloud = Self { yard, tokens, key, gate, _server: server, folder };
        cloud.credentials("prod", &cloud.key, &endpoint);
        cloud.yard.ok(&[
            "create",
            "gcs-bucket/zoo",
            "--set",
            "credentials=gcp-credentials/prod",
            "--set",
            "bucket=zoo",
            "--set",
            "prefix=/data/",
        ]);
        cloud.yard.ok(&["call", "gcs-bucket/zoo", "create-bucket"]);
        Some(cloud)
    }

    /// A key file as Google makes it.
    pub(crate) fn key_file(&self) -> String {
        self.key_file_of(&self.key)
    }

    fn key_file_of(&self, key: &str) -> String {
        json!({
            "type": "service_account", "project_id": "demo", "private_key_id": "k1", "private_key": key,
            "client_email": ACCOUNT, "client_id": "1234567890", "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": format!("{}/token", self.tokens.url()), "universe_domain": "googleapis.com",
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/zoo",
        })
        .to_string()
    }

    pub(crate) fn credentials(&self, name: &str, key: &str, endpoint: &str) {
        let path = self.write("key.json", self.key_file_of(key).as_bytes());
        let from_file = format!("service_account=@{}", path.display());
        let address = format!("gcp-credentials/{name}");
        self.yard.ok(&["create", &address, "--set", &from_file, "--set", &format!("endpoint={endpoint}")]);
        std::fs::remove_file(path).expect("the key file");
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// What the server has on its disk.
    fn stored(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join("cloud/zoo").join(name)).ok()
    }

    fn put(&self, path: &str, bytes: &[u8], more: &[&str]) -> Value {
        let file = self.write("input", bytes);
        let file = file.to_str().expect("a path");
        self.yard.json(&[&["call", "gcs-bucket/zoo", "put", "--path", path, "--in", file], more].concat())
    }

    fn get(&self, path: &str, more: &[&str]) -> Vec<u8> {
        let out = self.folder.path().join("output");
        let to = out.to_str().expect("a path");
        self.yard.ok(&[&["call", "gcs-bucket/zoo", "get", "--path", path, "--out", to], more].concat());
        std::fs::read(out).expect("the output")
    }

    fn call(&self, arguments: &[&str]) -> Value {
        self.yard.json(&[&["call", "gcs-bucket/zoo"], arguments].concat())
    }

    fn refused(&self, code: i32, arguments: &[&str]) -> String {
        self.yard.fails(code, &[&["call", "gcs-bucket/zoo"], arguments].concat())
    }
}

/// What is wrong with a request for a token (RFC 7523, section 3), where something is.
fn mistake(request: &Seen, own: &str, public: &Path, folder: &Path) -> Option<String> {
    let asked = form(request);
    let read = || -> Option<(String, Value, Vec<u8>)> {
        let (signed, signature) = asked.get("assertion")?.rsplit_once('.')?;
        let claims = signed.split_once('.')?.1;
        let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        Some((signed.to_owned(), claims, URL_SAFE_NO_PAD.decode(signature).ok()?))
    };
    let Some((signed, claims, signature)) = read() else { return Some("no assertion".to_owned()) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let issued = claims["iat"].as_u64().unwrap_or_default();
    if !is_signed(public, signed.as_bytes(), &signature, folder) {
        Some("Invalid JWT Signature.".to_owned())
    } else if claims["iss"] != ACCOUNT || claims["aud"] != own || claims["scope"] != SCOPE {
        Some(format!("Invalid claims: {claims}"))
    } else if now.abs_diff(issued) > 300 || claims["exp"].as_u64().is_none_or(|end| end <= now) {
        Some("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.".to_owned())
    } else {
        None
    }
}

/// Bytes that look like nothing else.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    })
    .take(length)
    .collect()
}

#[test]
fn an_object_is_stored_described_and_read() {
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
fn a_large_object_goes_in_chunks() {
    let Some(cloud) = Cloud::start() else { return };
    for length in [8 << 20, (16 << 20) + 12_345] {
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
    let mut seen = Vec::new();
    let mut token = None;
    loop {
        let mut arguments = vec!["list".to_owned(), "--page_size".to_owned(), "3".to_owned()];
        arguments.extend(token.into_iter().flat_map(|token| ["--page_token".to_owned(), token]));
        let page = cloud.call(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        seen.extend(paths(&page));
        token = page["next_page_token"].as_str().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a", "b/1", "b/2", "c/d/e"]);
}

#[test]
fn copied_moved_and_removed() {
    let Some(cloud) = Cloud::start() else { return };
    cloud.put("a", b"lions", &[]);
    assert_eq!(cloud.call(&["copy", "--from", "a", "--to", "b"])["path"], "b");
    assert_eq!(cloud.stored("data/b").expect("the copy"), b"lions");
    cloud.call(&["move", "--from", "b", "--to", "c", "--yes"]);
    assert_eq!((cloud.stored("data/b"), cloud.stored("data/c").as_deref()), (None, Some(&b"lions"[..])));
    cloud.call(&["delete", "--path", "c", "--yes"]);
    assert_eq!(cloud.stored("data/c"), None);
    let gone = cloud.refused(1, &["delete", "--path", "c", "--yes"]);
    assert!(gone.contains("object `data/c` of bucket `zoo` is not there"), "{gone}");
}

#[test]
fn objects_are_joined_in_their_order() {
    let Some(cloud) = Cloud::start() else { return };
    for (path, bytes) in [("a", &b"lions, "[..]), ("b", b"tigers"), ("c", b" and bears")] {
        cloud.put(path, bytes, &[]);
    }
    let whole =
        cloud.call(&["compose", "--from", r#"["a", "b", "c"]"#, "--to", "whole", "--content_type", "text/plain"]);
    assert_eq!((&whole["path"], &whole["size"]), (&json!("whole"), &json!(23)));
    assert_eq!(cloud.get("whole", &[]), b"lions, tigers and bears");
    let refused = cloud.refused(1, &["compose", "--from", "[]", "--to", "whole"]);
    assert!(refused.contains("1 to 32 can"), "{refused}");
}

#[test]
fn what_is_there_is_not_overwritten_unseen() {
    // fake-gcs-server does not look at conditions of uploads; the proxy does in its place.
    let Some(cloud) = Cloud::with({
        let there = AtomicUsize::new(0);
        move |request| {
            let conditional = request.uri.query().is_some_and(|query| query.contains("ifGenerationMatch=0"));
            let upload = request.method == "POST" && request.uri.path().starts_with("/upload/");
            match upload.then(|| there.fetch_add(1, Ordering::SeqCst)) {
                Some(1..) if conditional => {
                    Fate::Answer(412, r#"{"error": {"code": 412, "message": "conditionNotMet"}}"#.to_owned())
                }
                _ => Fate::Pass,
            }
        }
    }) else {
        return;
    };
    cloud.put("a", b"first", &["--if_absent", "true"]);
    let file = cloud.write("input", b"second");
    let refused =
        cloud.refused(1, &["put", "--path", "a", "--if_absent", "true", "--in", file.to_str().expect("a path")]);
    assert!(refused.contains("is not in the state that was asked for"), "{refused}");
    assert_eq!(cloud.stored("data/a").expect("the first"), b"first");
    cloud.put("a", b"second", &[]);
    assert_eq!(cloud.stored("data/a").expect("the second"), b"second");
}

#[test]
fn names_that_lead_elsewhere_and_things_that_are_not_there() {
    let Some(cloud) = Cloud::start() else { return };
    for (path, wrong) in [("../a", "has `..`"), ("/a", "begins with a slash"), ("a/./b", "has `.`"), ("", "is empty")] {
        let refused = cloud.refused(1, &["stat", "--path", path]);
        assert!(refused.contains(wrong), "{path}: {refused}");
    }
    let refused = cloud.refused(1, &["get", "--path", "nobody"]);
    assert!(refused.contains("object `data/nobody` of bucket `zoo` is not there"), "{refused}");
    cloud.yard.ok(&[
        "create",
        "gcs-bucket/none",
        "--set",
        "credentials=gcp-credentials/prod",
        "--set",
        "bucket=not-there",
    ]);
    let refused = cloud.yard.fails(1, &["call", "gcs-bucket/none", "list"]);
    assert!(refused.contains("bucket `not-there` is not there"), "{refused}");
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
        refused.contains("/bucket: is not the name of a bucket") && refused.contains("/prefix: has `..`"),
        "{refused}"
    );
}

#[test]
fn the_key_is_a_secret_and_checked_by_who_hands_out_tokens() {
    let Some(cloud) = Cloud::start() else { return };
    let checked = cloud.yard.ok(&["check", "gcp-credentials/prod"]);
    assert!(checked.contains("passed   authenticate") && checked.contains(ACCOUNT), "{checked}");
    assert!(cloud.yard.ok(&["check", "gcs-bucket/zoo"]).contains("passed   authorise"));
    let shown = cloud.yard.ok(&["show", "gcp-credentials/prod", "--json"]);
    assert!(shown.contains(ACCOUNT) && !shown.contains("PRIVATE KEY"), "{shown}");
    let line = cloud.key.lines().nth(3).expect("a line of the key");
    assert_eq!(cloud.yard.any_file_contains(line), None);

    // A key that was revoked: another one signs.
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
        refused.contains("Invalid JWT Signature.") && refused.contains("the key may be revoked or expired"),
        "{refused}"
    );
}

#[test]
fn a_busy_server_is_asked_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let Some(cloud) = Cloud::with(move |request| {
        let busy = request.uri.path().ends_with("/o/data%2Fa");
        match busy.then(|| count.fetch_add(1, Ordering::SeqCst)) {
            Some(0) => Fate::Answer(503, String::new()),
            Some(1) => Fate::Answer(429, r#"{"error": {"code": 429, "message": "rateLimitExceeded"}}"#.to_owned()),
            _ => Fate::Pass,
        }
    }) else {
        return;
    };
    cloud.put("a", b"lions", &[]);
    assert_eq!(cloud.call(&["stat", "--path", "a"])["size"], 5);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[test]
fn an_upload_that_is_cut_goes_on_where_it_was() {
    let parts = Arc::new(AtomicUsize::new(0));
    let count = parts.clone();
    let Some(cloud) = Cloud::with(move |request| {
        if request.method != "PUT" {
            return Fate::Pass;
        }
        match count.fetch_add(1, Ordering::SeqCst) {
            // The second chunk never arrives, and then the server is busy for a moment.
            1 => Fate::CutRequest,
            2 => Fate::Answer(503, String::new()),
            3 => Fate::Held(8 << 20),
            _ => Fate::Pass,
        }
    }) else {
        return;
    };
    let bytes = noise((24 << 20) + 7);
    let put = cloud.put("large", &bytes, &[]);
    assert_eq!(put["size"], bytes.len());
    assert!(cloud.stored("data/large").expect("on the disk") == bytes);
    // Four chunks, one of them twice, and two questions.
    assert_eq!(parts.load(Ordering::SeqCst), 7);
}

#[test]
fn an_upload_of_which_a_part_was_kept_is_sent_from_there() {
    let parts = Arc::new(Mutex::new(Vec::new()));
    let seen = parts.clone();
    let Some(cloud) = Cloud::with(move |request| {
        if request.method != "PUT" {
            return Fate::Pass;
        }
        let mut seen = seen.lock().expect("no panic");
        seen.push(request.headers["content-range"].to_str().expect("text").to_owned());
        match seen.len() {
            1 => Fate::CutRequest,
            2 => Fate::Held(1 << 20),
            // It kept nothing of the rest; asked again for what is missing, it takes no more.
            _ => Fate::Answer(403, r#"{"error": {"code": 403, "message": "enough"}}"#.to_owned()),
        }
    }) else {
        return;
    };
    let file = cloud.write("input", &noise(9 << 20));
    let refused = cloud.refused(1, &["put", "--path", "large", "--in", file.to_str().expect("a path")]);
    assert!(refused.contains("enough (status 403)"), "{refused}");
    let parts = parts.lock().expect("no panic");
    assert_eq!(*parts, ["bytes 0-8388607/*", "bytes */*", "bytes 1048576-8388607/*"]);
    assert_eq!(cloud.stored("data/large"), None);
}

#[test]
fn what_arrived_damaged_is_not_kept() {
    // A server that ends an upload when it is asked where it stands has the first chunk only.
    let parts = AtomicUsize::new(0);
    let Some(cloud) = Cloud::with(move |request| match request.method.as_str() {
        "PUT" if parts.fetch_add(1, Ordering::SeqCst) == 1 => Fate::CutRequest,
        _ => Fate::Pass,
    }) else {
        return;
    };
    let file = cloud.write("input", &noise((16 << 20) + 7));
    let refused = cloud.refused(1, &["put", "--path", "large", "--in", file.to_str().expect("a path")]);
    assert!(refused.contains("is not what was sent (CRC32C `") && refused.contains("it was removed"), "{refused}");
    assert_eq!(cloud.stored("data/large"), None);
}

#[test]
fn a_download_that_is_cut_leaves_no_short_file() {
    let Some(cloud) = Cloud::with(|request| {
        if request.uri.query().is_some_and(|query| query.contains("alt=media")) {
            Fate::CutBody(1_000)
        } else {
            Fate::Pass
        }
    }) else {
        return;
    };
    cloud.put("a", &noise(100_000), &[]);
    let out = cloud.folder.path().join("output");
    let refused = cloud.refused(1, &["get", "--path", "a", "--out", out.to_str().expect("a path")]);
    assert!(!out.exists(), "{refused}");
}

fn folder(cloud: &Cloud, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let folder = cloud.folder.path().join(name);
    for (file, bytes) in files {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }
    folder
}

#[test]
fn files_are_copied_up_down_and_across() {
    let Some(cloud) = Cloud::start() else { return };
    let yard = &cloud.yard;
    let bytes = noise((9 << 20) + 1);
    let file = cloud.write("a.bin", &bytes);
    let file = file.to_str().expect("a path");
    let copied = yard.json(&["cp", file, "gcs-bucket/zoo:x/a.bin"]);
    assert_eq!(copied, json!({"objects": 1, "bytes": bytes.len()}));
    assert!(cloud.stored("data/x/a.bin").expect("on the disk") == bytes);
    yard.ok(&["cp", file, "gcs-bucket/zoo:y/"]);
    assert!(cloud.stored("data/y/a.bin").is_some(), "the name goes with it");
    // Out again: to a file, into a folder, to standard output.
    let out = yard.path("out.bin");
    yard.ok(&["cp", "gcs-bucket/zoo:x/a.bin", out.to_str().expect("a path")]);
    assert!(std::fs::read(&out).expect("the file") == bytes);
    std::fs::create_dir(yard.path("into")).expect("a folder");
    yard.ok(&["cp", "gcs-bucket/zoo:x/a.bin", yard.path("into").to_str().expect("a path")]);
    assert!(std::fs::read(yard.path("into/a.bin")).expect("the file") == bytes);
    // By standard input and output.
    yard.ok_with_input(&["cp", "-", "gcs-bucket/zoo:note", "--content-type", "text/plain"], "hello");
    assert_eq!(yard.ok(&["cat", "gcs-bucket/zoo:note"]), "hello");
    assert_eq!(yard.ok(&["cp", "gcs-bucket/zoo:note", "-"]), "hello");
    assert_eq!(cloud.call(&["stat", "--path", "note"])["content_type"], "text/plain");
    // Within a storage, and to another block.
    yard.ok(&["cp", "gcs-bucket/zoo:note", "gcs-bucket/zoo:copies/"]);
    assert_eq!(cloud.stored("data/copies/note").expect("the copy"), b"hello");
    yard.ok(&["create", "gcs-bucket/all", "--set", "credentials=gcp-credentials/prod", "--set", "bucket=zoo"]);
    yard.ok(&["cp", "gcs-bucket/zoo:note", "gcs-bucket/all:elsewhere/note"]);
    assert_eq!(cloud.stored("elsewhere/note").expect("the other copy"), b"hello");
    assert_eq!(yard.json(&["ls", "gcs-bucket/all:elsewhere/"])["objects"][0]["content_type"], "text/plain");
}

#[test]
fn folders_are_copied_with_all_that_is_in_them() {
    let Some(cloud) = Cloud::start() else { return };
    let yard = &cloud.yard;
    let from = folder(&cloud, "tree", &[("a", b"1"), ("b/c", b"22"), ("b/d/e ü", b"333")]);
    let from = from.to_str().expect("a path");
    let refused = yard.fails(2, &["cp", from, "gcs-bucket/zoo:t"]);
    assert!(refused.contains("is a folder") && refused.contains("`-r`"), "{refused}");
    assert_eq!(yard.json(&["cp", "-r", from, "gcs-bucket/zoo:t"]), json!({"objects": 3, "bytes": 6}));
    assert_eq!(cloud.stored("data/t/b/d/e ü").expect("on the disk"), b"333");
    let listed = yard.ok(&["ls", "gcs-bucket/zoo:t/"]);
    assert!(listed.contains("  t/a\n") && listed.contains("  t/b/\n") && !listed.contains("t/b/c"), "{listed}");
    let all = yard.json(&["ls", "-r", "gcs-bucket/zoo:t/"]);
    assert_eq!(all["objects"].as_array().expect("objects").len(), 3);
    let to = yard.path("back");
    assert_eq!(yard.json(&["cp", "-r", "gcs-bucket/zoo:t", to.to_str().expect("a path")])["objects"], 3);
    assert_eq!(std::fs::read(to.join("b/d/e ü")).expect("the file"), b"333");
    assert_eq!(yard.json(&["cp", "-r", "gcs-bucket/zoo:t", "gcs-bucket/zoo:t/u"])["objects"], 3);
    assert_eq!(cloud.stored("data/t/u/b/c").expect("the copy"), b"22");
    let refused = yard.fails(3, &["cp", "-r", "gcs-bucket/zoo:nothing", to.to_str().expect("a path")]);
    assert!(refused.contains("there is no object below `gcs-bucket/zoo:nothing`"), "{refused}");
}

#[test]
fn what_goes_wrong_with_a_copy_is_said_and_loses_nothing() {
    let Some(cloud) = Cloud::with(|request| {
        let damaged =
            request.uri.path().contains("cut") && request.uri.query().is_some_and(|query| query.contains("alt=media"));
        if damaged { Fate::CutBody(1_000) } else { Fate::Pass }
    }) else {
        return;
    };
    let yard = &cloud.yard;
    cloud.put("cut", &noise(100_000), &[]);
    let out = yard.path("out.bin");
    std::fs::write(&out, "what was there").expect("a file");
    yard.fails(1, &["cp", "gcs-bucket/zoo:cut", out.to_str().expect("a path")]);
    assert_eq!(std::fs::read_to_string(&out).expect("the file"), "what was there");
    let refused = yard.fails(6, &["cp", "--if-absent", "gcs-bucket/zoo:cut", out.to_str().expect("a path")]);
    assert!(refused.contains("is there already"), "{refused}");

    let refused = yard.fails(2, &["cp", "a", "b"]);
    assert!(refused.contains("neither place is in a storage"), "{refused}");
    let refused = yard.fails(2, &["cat", "a"]);
    assert!(refused.contains("write `TYPE/NAME:PATH`"), "{refused}");
    let refused = yard.fails(3, &["cp", "/nowhere/a", "gcs-bucket/zoo:a"]);
    assert!(refused.contains("`/nowhere/a` cannot be read"), "{refused}");
    let refused = yard.fails_with_input(2, &["cp", "-", "gcs-bucket/zoo:"], "x");
    assert!(refused.contains("the object has no name"), "{refused}");
    let refused = yard.fails(1, &["cat", "gcs-bucket/zoo:nobody"]);
    assert!(refused.contains("object `data/nobody` of bucket `zoo` is not there"), "{refused}");
    let refused = yard.fails(2, &["ls", "gcp-credentials/prod:"]);
    assert!(refused.contains("object-storage"), "{refused}");

    let refused = yard.fails(2, &["rm", "gcs-bucket/zoo:cut"]);
    assert!(refused.contains("agree with `--yes`"), "{refused}");
    assert!(cloud.stored("data/cut").is_some());
    assert_eq!(yard.json(&["rm", "gcs-bucket/zoo:cut", "--yes"]), json!({"removed": "gcs-bucket/zoo:cut"}));
    assert_eq!(cloud.stored("data/cut"), None);
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_object() {
    const BYTES: u64 = 128 << 20;
    let Some(cloud) = Cloud::start() else { return };
    let file = cloud.folder.path().join("big");
    let mut big = std::fs::File::create(&file).expect("a file");
    for piece in blockyard_tests::web::pattern(BYTES) {
        std::io::Write::write_all(&mut big, &piece).expect("a piece");
    }
    let (file, back) = (file.to_str().expect("a path"), cloud.yard.path("back"));
    cloud.put("small", b"lions", &[]);
    let idle = peak_memory(&cloud.yard, &["cat", "gcs-bucket/zoo:small"]);
    let up = peak_memory(&cloud.yard, &["cp", file, "gcs-bucket/zoo:big"]);
    let down = peak_memory(&cloud.yard, &["cp", "gcs-bucket/zoo:big", back.to_str().expect("a path")]);
    assert_eq!(std::fs::metadata(&back).expect("the file").len(), BYTES);
    let over = |peak: u64| peak.saturating_sub(idle) >> 10;
    assert!(idle > 1_000 && over(up) <= 64 && over(down) <= 64, "MiB over idle: up {}, down {}", over(up), over(down));
}
