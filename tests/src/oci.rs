//! A small OCI registry of the harness, for what Debian's `docker-registry` does not have: the API of
//! referrers, tokens per repository, lists in pages, and state that a test changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::web::{Answer, RecordedRequest, Web};

/// Number of names per page of a list.
const PAGE: usize = 2;

/// A running registry. It stops when the value is dropped.
pub struct OciRegistry {
    web: Web,
    state: Arc<Mutex<State>>,
}

/// What the registry supports.
#[derive(Debug, Clone, Copy, Default)]
pub struct OciOptions {
    /// The API that lists the artifacts that refer to a manifest.
    pub referrers: bool,
    /// The list of all repositories.
    pub catalog: bool,
    /// User and password to exchange for tokens. `None` permits access without a token.
    pub login: Option<(&'static str, &'static str)>,
    /// Identity token to exchange for tokens.
    pub identity: Option<&'static str>,
}

#[derive(Default)]
struct State {
    /// Content by repository and digest.
    blobs: BTreeMap<(String, String), Vec<u8>>,
    /// Manifests by repository and tag or digest.
    manifests: BTreeMap<(String, String), Vec<u8>>,
    /// The status of all responses to requests for manifests by tag, if not 0.
    failing: u16,
    /// URL of the token service. By default, that of the registry.
    realm: Option<String>,
}

impl OciRegistry {
    /// Starts an empty registry on this machine, without TLS.
    #[must_use]
    pub fn start(options: OciOptions) -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        let web = Web::start(move |request| {
            let mut state = shared.lock().expect("no panic while it is held");
            state.answer(request, &options).unwrap_or_else(|| Answer::status(404))
        });
        Self { web, state }
    }

    /// Returns `oci://127.0.0.1:PORT/acme`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("oci://{}/acme", self.host())
    }

    /// Returns `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.web.port())
    }

    /// Returns the requests received so far.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.web.requests()
    }

    /// Returns the manifest of a tag.
    ///
    /// # Panics
    /// If there is no such tag.
    #[must_use]
    pub fn manifest(&self, repository: &str, tag: &str) -> Value {
        let state = self.state.lock().expect("no panic while it is held");
        let bytes = &state.manifests[&(repository.to_owned(), tag.to_owned())];
        serde_json::from_slice(bytes).expect("JSON")
    }

    /// Stores a manifest, as a program with access to the registry would. Returns its digest.
    ///
    /// # Panics
    /// If a request panicked.
    pub fn store_manifest(&self, repository: &str, tag: &str, manifest: &Value) -> String {
        let bytes = manifest.to_string().into_bytes();
        let digest = digest(&bytes);
        let mut state = self.state.lock().expect("no panic while it is held");
        for reference in [tag, &digest] {
            state.manifests.insert((repository.to_owned(), reference.to_owned()), bytes.clone());
        }
        digest
    }

    /// Replaces the content of each blob of a repository that has this length.
    ///
    /// # Panics
    /// If a request panicked.
    pub fn corrupt_blobs(&self, repository: &str) {
        let mut state = self.state.lock().expect("no panic while it is held");
        for ((of, _), bytes) in &mut state.blobs {
            if of == repository {
                bytes[0] ^= 1;
            }
        }
    }

    /// Makes the registry name another token service.
    ///
    /// # Panics
    /// If a request panicked.
    pub fn set_token_service(&self, url: &str) {
        self.state.lock().expect("no panic while it is held").realm = Some(url.to_owned());
    }

    /// Sets the status of all responses to requests for manifests. 0 stands for the normal ones.
    ///
    /// # Panics
    /// If a request panicked.
    pub fn fail_manifests(&self, status: u16) {
        self.state.lock().expect("no panic while it is held").failing = status;
    }
}

impl State {
    /// Answers a request. Returns `None` for "not found".
    fn answer(&mut self, request: &RecordedRequest, options: &OciOptions) -> Option<Answer> {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let query = parameters(query);
        if path == "/token" {
            let form = parameters(&String::from_utf8_lossy(&request.body));
            return Some(token(request, if request.method == "POST" { &form } else { &query }, options));
        }
        if path == "/v2/_catalog" {
            return options.catalog.then(|| self.catalog(request, &query, options)).flatten();
        }
        let rest = path.strip_prefix("/v2/")?;
        let (repository, action) = ["/tags/list", "/manifests/", "/blobs/", "/referrers/"]
            .iter()
            .find_map(|action| rest.split_once(action).map(|(repository, rest)| (repository, (*action, rest))))?;
        let actions = if request.method == "GET" { "pull" } else { "pull,push" };
        if let Some(refused) = self.refusal(request, &format!("repository:{repository}:{actions}"), options) {
            return Some(refused);
        }
        let repository = repository.to_owned();
        match (request.method.as_str(), action) {
            ("GET", ("/tags/list", "")) => {
                let has = |(of, tag): &&(String, String)| *of == repository && !tag.starts_with("sha256:");
                let tags: Vec<&str> = self.manifests.keys().filter(has).map(|(_, tag)| tag.as_str()).collect();
                if tags.is_empty() {
                    return None;
                }
                Some(page(path, "tags", &tags, &query))
            }
            ("GET", ("/manifests/", _)) if self.failing != 0 => Some(Answer::status(self.failing)),
            ("GET", ("/manifests/", reference)) => {
                let bytes = self.manifests.get(&(repository, reference.to_owned()))?;
                let (etag, kind) = (format!("\"{}\"", digest(bytes)), media_type(bytes));
                if request.header("if-none-match") == etag {
                    return Some(Answer::status(304));
                }
                Some(Answer::text(bytes.clone()).header("etag", &etag).header("content-type", &kind))
            }
            ("PUT", ("/manifests/", reference)) => {
                let digest = digest(&request.body);
                for reference in [reference, &digest] {
                    self.manifests.insert((repository.clone(), reference.to_owned()), request.body.clone());
                }
                Some(Answer::status(201))
            }
            ("GET", ("/blobs/", digest)) => {
                Some(Answer::text(self.blobs.get(&(repository, digest.to_owned()))?.clone()))
            }
            ("POST", ("/blobs/", "uploads/")) => {
                let location = format!("/v2/{repository}/blobs/uploads/1?state=x%2By");
                Some(Answer::status(202).header("location", &location))
            }
            ("PUT", ("/blobs/", "uploads/1")) => {
                let expected = query.get("digest")?;
                if *expected != digest(&request.body) || query.get("state").map(String::as_str) != Some("x+y") {
                    return Some(Answer::status(400));
                }
                self.blobs.insert((repository, expected.clone()), request.body.clone());
                Some(Answer::status(201))
            }
            ("GET", ("/referrers/", subject)) if options.referrers => Some(self.referrers(&repository, subject)),
            _ => None,
        }
    }

    fn catalog(
        &self,
        request: &RecordedRequest,
        query: &BTreeMap<String, String>,
        options: &OciOptions,
    ) -> Option<Answer> {
        if let Some(refused) = self.refusal(request, "registry:catalog:*", options) {
            return Some(refused);
        }
        let mut repositories: Vec<&str> = self.manifests.keys().map(|(repository, _)| repository.as_str()).collect();
        repositories.dedup();
        Some(page("/v2/_catalog", "repositories", &repositories, query))
    }

    /// Returns the refusal of a request without the token for its scope.
    fn refusal(&self, request: &RecordedRequest, scope: &str, options: &OciOptions) -> Option<Answer> {
        if options.login.is_none() && options.identity.is_none() {
            return None;
        }
        let sent = request.header("authorization");
        // A token to push permits pulling.
        let wider = scope.replace(":pull", ":pull,push");
        if [scope, &wider].iter().any(|scope| sent == format!("Bearer {}", issued(scope))) {
            return None;
        }
        let own = || format!("http://{}/token", request.header("host"));
        let realm = self.realm.clone().unwrap_or_else(own);
        Some(Answer::status(401).header("www-authenticate", &format!("Bearer realm=\"{realm}\",service=\"harness\"")))
    }

    fn referrers(&self, repository: &str, subject: &str) -> Answer {
        let mut found: Vec<Value> = Vec::new();
        for ((of, reference), bytes) in &self.manifests {
            let manifest: Value = serde_json::from_slice(bytes).expect("JSON");
            if of == repository && reference.starts_with("sha256:") && manifest["subject"]["digest"] == subject {
                found.push(json!({
                    "mediaType": media_type(bytes), "digest": reference, "size": bytes.len(),
                    "artifactType": manifest["artifactType"],
                }));
            }
        }
        Answer::json(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": found,
        }))
    }
}

/// Returns one page of a list, with a link to the next one.
fn page(path: &str, key: &str, names: &[&str], query: &BTreeMap<String, String>) -> Answer {
    let after = query.get("last").map_or(0, |last| names.iter().position(|name| name == last).map_or(0, |at| at + 1));
    let rest = &names[after..];
    let shown = &rest[..rest.len().min(PAGE)];
    let answer = Answer::json(&json!({ "name": "x", key: shown }));
    match shown.last() {
        Some(last) if rest.len() > PAGE => {
            answer.header("link", &format!("<{path}?last={last}&n={PAGE}>; rel=\"next\""))
        }
        _ => answer,
    }
}

/// Returns the parameters of a query or of a form.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned())).collect()
}

/// Returns the token for a scope, if the password or the identity token is right.
fn token(request: &RecordedRequest, sent: &BTreeMap<String, String>, options: &OciOptions) -> Answer {
    let parameter = |name: &str| sent.get(name).map(String::as_str).unwrap_or_default();
    let token = issued(parameter("scope"));
    let authorization = request.header("authorization");
    if parameter("service").is_empty() {
        return Answer::status(400);
    }
    if request.method == "POST" {
        let is_exchange = parameter("grant_type") == "refresh_token" && parameter("client_id") == "blockyard";
        return match options.identity {
            Some(identity) if is_exchange && parameter("refresh_token") == identity && authorization.is_empty() => {
                Answer::json(&json!({ "access_token": token, "token_type": "Bearer", "expires_in": 300 }))
            }
            // A server that is not careful quotes what it received.
            _ => Answer { status: 400, ..Answer::text(request.body.clone()) },
        };
    }
    match options.login {
        Some((user, password)) if authorization == basic(user, password) => {
            Answer::json(&json!({ "token": token, "expires_in": 300 }))
        }
        _ => Answer::status(401),
    }
}

/// Returns the token that is issued for a scope.
#[must_use]
pub fn issued(scope: &str) -> String {
    format!("token-{}", &hex::encode(Sha256::digest(scope))[..16])
}

/// Returns the header of a user and password (RFC 7617).
fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Returns `sha256:…`.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn media_type(bytes: &[u8]) -> String {
    let manifest: Value = serde_json::from_slice(bytes).expect("JSON");
    manifest["mediaType"].as_str().unwrap_or("application/json").to_owned()
}
