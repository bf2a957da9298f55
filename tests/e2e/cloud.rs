//! Test environment for Google Cloud: a Cloud Storage server (fake-gcs-server) and a BigQuery
//! emulator (bqemulator) that share a folder, a token server that verifies signatures, and a proxy
//! that requires a token. Tests compare with the files on the server's disk and with the results of
//! Google's Python clients.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blockyard_tests::environment::program;
use blockyard_tests::http_proxy::{Fault, HttpProxy};
use blockyard_tests::web::{Answer, RecordedRequest, Web};
use blockyard_tests::{TestYard, bundle, free_port, optional, root};
use serde_json::{Value, json};

use crate::tokens::{form, is_signed, rsa_key};

pub(crate) const ACCOUNT: &str = "zoo@demo.iam.gserviceaccount.example";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// A separate cloud per test, and a yard in which `gcs-bucket/zoo` is the prefix `data/` of its
/// bucket.
pub(crate) struct Cloud {
    pub(crate) yard: TestYard,
    tokens: Web,
    pub(crate) key: String,
    // Fields are dropped in this order: the proxy before the server behind it.
    pub(crate) http_proxy: HttpProxy,
    _server: Server,
    pub(crate) folder: tempfile::TempDir,
    /// Folder of the server's buckets. The bucket of this test is a folder in it.
    buckets: PathBuf,
    pub(crate) bucket: String,
    /// Name of the Google Cloud project, unique to this test if it uses BigQuery.
    pub(crate) project: String,
    storage_port: u16,
}

/// Services of a cloud.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Has {
    Storage,
    Warehouse,
}

/// A running fake-gcs-server. It stops when the value is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(binary: &str, port: u16, root: &Path, public: &str) -> Self {
        let mut command = program(binary);
        command.args(["-backend", "filesystem", "-scheme", "http", "-host", "127.0.0.1", "-filesystem-root"]);
        command.arg(root).args(["-port", &port.to_string(), "-public-host", public]);
        command.args(["-external-url", &format!("http://{public}")]);
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("fake-gcs-server");
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "fake-gcs-server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(server)
    }
}

impl Cloud {
    /// Returns `None` if the server is not installed, which `cargo xtask test` reports.
    pub(crate) fn start() -> Option<Self> {
        Self::with(|_| Fault::Pass)
    }

    pub(crate) fn with(fault: impl Fn(&http::request::Parts) -> Fault + Send + Sync + 'static) -> Option<Self> {
        Self::build(fault, Has::Storage)
    }

    /// Adds BigQuery: `bigquery-warehouse/w` with the dataset `zoo`.
    pub(crate) fn with_warehouse(
        fault: impl Fn(&http::request::Parts) -> Fault + Send + Sync + 'static,
    ) -> Option<Self> {
        let cloud = Self::build(fault, Has::Warehouse)?;
        let set = ["--set", "credentials=gcp-credentials/prod", "--set", "dataset=zoo"];
        cloud.yard.ok(&[&["create", "bigquery-warehouse/w"][..], &set].concat());
        Some(cloud)
    }

    fn build(fault: impl Fn(&http::request::Parts) -> Fault + Send + Sync + 'static, has: Has) -> Option<Self> {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let binary = optional("BLOCKYARD_TEST_FAKE_GCS")?;
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let mut servers = vec![("/", port)];
        let (mut buckets, mut bucket, mut project) = (folder.path().join("cloud"), "zoo".to_owned(), "demo".to_owned());
        if has == Has::Warehouse {
            // All tests share one BigQuery emulator, which reads the objects of all buckets from
            // one folder.
            let warehouse: u16 = optional("BLOCKYARD_TEST_BIGQUERY_PORT")?.parse().expect("a port");
            buckets = std::env::var_os("BLOCKYARD_TEST_BIGQUERY_BUCKETS").map(PathBuf::from).expect("its folder");
            let suffix = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::SeqCst));
            (bucket, project) = (format!("zoo-{suffix}"), format!("demo-{suffix}"));
            servers.splice(0..0, [("/bigquery/", warehouse), ("/upload/bigquery/", warehouse)]);
        }
        let http_proxy = HttpProxy::for_servers(servers, fault);
        std::fs::create_dir_all(&buckets).expect("a folder");
        let server = Server::start(&binary, port, &buckets, &http_proxy.authority());
        let (key, public) = rsa_key(folder.path(), "pkcs8");
        let (valid_tokens, server_url) = (http_proxy.tokens(), Arc::new(OnceLock::<String>::new()));
        let (address, root) = (server_url.clone(), folder.path().to_owned());
        let count = Mutex::new(0);
        let tokens = Web::start(move |request| {
            let mut count = count.lock().expect("one at a time");
            *count += 1;
            match mistake(request, address.get().expect("the server's address"), &public, &root) {
                None => {
                    let token = format!("ya29.token-{count}");
                    valid_tokens.lock().expect("no panic").insert(token.clone());
                    Answer::json(&json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
                }
                Some(wrong) => Answer {
                    status: 400,
                    ..Answer::json(&json!({"error": "invalid_grant", "error_description": wrong}))
                },
            }
        });
        server_url.set(format!("{}/token", tokens.url())).expect("once");
        let yard = TestYard::empty();
        yard.ok(&["init", "--key", "file"]);
        yard.ok(&["install", &bundle("gcp"), "--yes"]);
        let endpoint = format!("http://{}", http_proxy.authority());
        yard.ok(&["grant", "gcp", &format!("http {endpoint}"), &format!("http {}", tokens.url())]);
        let cloud = Self {
            yard,
            tokens,
            key,
            http_proxy,
            _server: server,
            folder,
            buckets,
            bucket,
            project,
            storage_port: port,
        };
        cloud.credentials("prod", &cloud.key, &endpoint);
        cloud.yard.ok(&[
            "create",
            "gcs-bucket/zoo",
            "--set",
            "credentials=gcp-credentials/prod",
            "--set",
            &format!("bucket={}", cloud.bucket),
            "--set",
            "prefix=/data/",
        ]);
        cloud.yard.ok(&["call", "gcs-bucket/zoo", "create-bucket"]);
        Some(cloud)
    }

    /// Returns a service account key file in the format of Google.
    pub(crate) fn key_file(&self) -> String {
        self.key_file_of(&self.key)
    }

    fn key_file_of(&self, key: &str) -> String {
        json!({
            "type": "service_account", "project_id": self.project, "private_key_id": "k1", "private_key": key,
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

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// Returns the content of an object on the server's disk.
    pub(crate) fn stored(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.buckets.join(&self.bucket).join(name)).ok()
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8], more: &[&str]) -> Value {
        let file = self.write("input", bytes);
        let file = file.to_str().expect("a path");
        self.yard.json(&[&["call", "gcs-bucket/zoo", "put", "--path", path, "--in", file], more].concat())
    }

    pub(crate) fn get(&self, path: &str, more: &[&str]) -> Vec<u8> {
        let out = self.folder.path().join("output");
        let to = out.to_str().expect("a path");
        self.yard.ok(&[&["call", "gcs-bucket/zoo", "get", "--path", path, "--out", to], more].concat());
        std::fs::read(out).expect("the output")
    }

    /// Runs Google's Python client, which connects to the emulators directly and needs no token.
    pub(crate) fn witness(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut python = program("python3");
        python.arg(root().join("tests/witness/google_clients.py")).args(arguments);
        python.env("PYTHONPATH", std::env::var_os("BLOCKYARD_TEST_PYTHON").expect("the packages"));
        python.env("STORAGE_EMULATOR_HOST", format!("http://127.0.0.1:{}", self.storage_port));
        python.env("SIGNED_ENDPOINT", format!("http://{}", self.http_proxy.authority()));
        let warehouse = std::env::var("BLOCKYARD_TEST_BIGQUERY_PORT").expect("a port");
        python.env("BIGQUERY_ENDPOINT", format!("http://127.0.0.1:{warehouse}"));
        python.env("PROJECT", &self.project).env("BUCKET", &self.bucket);
        let mut python =
            python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("python3");
        std::io::Write::write_all(&mut python.stdin.take().expect("its input"), input).expect("it reads");
        let output = python.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Checks whether Google's Python clients are installed.
    pub(crate) fn has_witness() -> bool {
        blockyard_tests::available("BLOCKYARD_TEST_PYTHON")
    }

    pub(crate) fn warehouse(&self, arguments: &[&str]) -> Value {
        self.yard.json(&[&["call", "bigquery-warehouse/w"], arguments].concat())
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> Value {
        self.yard.json(&[&["call", "gcs-bucket/zoo"], arguments].concat())
    }

    pub(crate) fn refused(&self, code: i32, arguments: &[&str]) -> String {
        self.yard.fails(code, &[&["call", "gcs-bucket/zoo"], arguments].concat())
    }
}

/// Returns the error in a token request (RFC 7523, section 3), if there is one.
fn mistake(request: &RecordedRequest, own: &str, public: &Path, folder: &Path) -> Option<String> {
    let parameters = form(request);
    let read = || -> Option<(String, Value, Vec<u8>)> {
        let (signed, signature) = parameters.get("assertion")?.rsplit_once('.')?;
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

/// Returns pseudo-random bytes.
pub(crate) fn noise(length: usize) -> Vec<u8> {
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
