//! The fake host: each capability, and what it checks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use blockyard_sdk::fake::{self, Credential, GrantKind, Host, Level};
use blockyard_sdk::http::{self, Assertion, TokenSource};
use blockyard_sdk::prelude::*;
use blockyard_sdk::retry::Policy;
use blockyard_sdk::{StepStatus, clock, log, random};

/// Block type with an operation for each capability.
#[derive(Block)]
#[block(type = "acme", version = 1, title = "ACME")]
struct Acme {
    /// Base URL.
    url: String,
    /// Token.
    #[block(audience = "{config.url}")]
    token: Option<Secret<String>>,
    /// Parent.
    parent: Option<BlockRef<Parent>>,
}

/// Block type that another one refers to.
#[derive(Block)]
#[block(type = "parent", version = 1, title = "Parent")]
struct Parent {
    /// Key.
    #[block(audience = "{config.url}", sign = "goog4-rsa-sha256")]
    key: Secret<String>,
}

#[operations]
impl Parent {}

#[operations]
impl Acme {
    /// Returns a document.
    #[operation(read)]
    fn get(
        &self,
        /// Path.
        path: String,
    ) -> Result<Value> {
        let request = http::get(format!("{}/{path}", self.url));
        self.signed(request).send()?.ok()?.json()
    }

    /// Searches.
    #[operation(read, safe("POST {config.url}/*/search"))]
    fn search(
        &self,
        /// Path.
        path: String,
    ) -> Result<u16> {
        Ok(http::post(format!("{}/{path}", self.url)).send()?.status)
    }

    /// Copies the input in upper case.
    #[operation(write)]
    fn shout(&self, input: Body) -> Result<Streamed<Option<u64>>> {
        let size = input.size();
        let mut bytes = Vec::new();
        while let Some(chunk) = input.read(4)? {
            bytes.extend(chunk.to_ascii_uppercase());
        }
        Ok(Streamed { result: size, body: Body::from_bytes(&input.media_type(), &bytes) })
    }

    /// Returns pages.
    #[operation(read)]
    fn pages(
        &self,
        /// Number of pages.
        count: u32,
    ) -> Result<InParts<()>> {
        let (url, mut page) = (self.url.clone(), 0);
        let next = move || {
            page += 1;
            if page > count {
                return Ok(None);
            }
            Ok(Some(http::get(format!("{url}/pages")).query([("page", page.to_string().as_str())]).send()?.body))
        };
        Ok(InParts { result: (), parts: Parts::new(next) })
    }

    /// Checks the server.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let answer = http::request("HEAD", self.url.as_str()).send();
        let status = if answer.is_ok() { StepStatus::Passed } else { StepStatus::Failed };
        vec![Step::new("connect", status, answer.err().map(|problem| problem.to_string()), started)]
    }

    /// Checks the URL.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let is_resolved = self.parent.as_ref().is_some_and(|parent| parent.get().is_ok());
        assert!(!is_resolved, "references are not resolved");
        if self.url == "now" {
            let _ = clock::now();
        }
        log::debug("validated");
        let is_encrypted = self.url.starts_with("https://");
        if is_encrypted { Vec::new() } else { vec![Violation::new("/url", "must begin with `https://`")] }
    }
}

impl Acme {
    fn signed(&self, request: http::Request) -> http::Request {
        match &self.token {
            Some(token) => request.bearer(token),
            None => request,
        }
    }
}

const URL: &str = "https://api.example.com";

fn config() -> Value {
    json!({ "url": URL })
}

/// Returns the message of the panic of a test that must fail.
fn failure(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("the test must fail");
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => (*panic.downcast::<&str>().expect("a message")).to_owned(),
    }
}

#[test]
fn a_call_deserializes_configuration_and_arguments() {
    let host = Host::new().http(fake::get("https://api.example.com/a").anonymous().replies(json!({ "n": 1 })));
    let acme = host.block::<Acme>(config());
    assert_eq!(acme.call("get", json!({ "path": "a" })).expect("a document").result(), &json!({ "n": 1 }));
    for (operation, arguments, message) in [
        ("fetch", json!({}), "unknown operation `fetch`"),
        ("get", json!({}), "arguments: missing field `path`"),
        ("get", json!({ "path": 1 }), "arguments: invalid type: number, expected a string"),
        ("get", json!({ "path": "a", "paths": "b" }), "arguments: unknown field `paths`, expected `path`"),
        ("shout", json!({}), "the operation requires an input, and none was given"),
    ] {
        let problem = acme.call(operation, arguments).expect_err(message);
        assert_eq!((problem.code(), problem.message()), ("invalid", message));
    }
    let problem = host.block::<Acme>(json!({})).call("get", json!({ "path": "a" })).expect_err("no URL");
    assert!(problem.message().contains("missing field `url`"), "{problem}");
}

#[test]
fn a_method_can_be_called_directly() {
    let host = Host::new().http(fake::get("https://api.example.com/a").replies(json!("lion")));
    let acme = host.block::<Acme>(config());
    assert_eq!(acme.run(|acme| acme.get("a".to_owned())).expect("a document"), "lion");
}

#[test]
fn streams_go_in_and_out() {
    let host = Host::new();
    let acme = host.block::<Acme>(config());
    let reply = acme.call_with_input("shout", json!({}), Body::from_bytes("text/plain", b"hello world"));
    let reply = reply.expect("an output");
    assert_eq!((reply.result(), reply.media_type().as_deref()), (&json!(11), Some("text/plain")));
    assert!(reply.has_output());
    assert_eq!(reply.output().expect("bytes"), b"HELLO WORLD");
    assert_eq!(reply.next().expect("the end"), None);
}

#[test]
fn parts_are_produced_while_they_are_read() {
    let page = |page: &str, body: &str| {
        let response = fake::status(200).body("text/plain", body);
        fake::get("https://api.example.com/pages").query([("page", page)]).replies(response)
    };
    let host = Host::new().in_order().http(page("1", "a")).http(page("2", "")).http(page("3", "c"));
    let acme = host.block::<Acme>(config());
    let reply = acme.call("pages", json!({ "count": 3 })).expect("an output");
    assert_eq!(host.requests().len(), 0);
    assert_eq!(reply.next().expect("a page").as_deref(), Some(&b"a"[..]));
    assert_eq!(host.requests().len(), 1);
    assert_eq!(reply.output().expect("the rest"), b"c");
    assert_eq!(host.requests().len(), 3);
}

#[test]
fn bodies_are_taken_and_repeated() {
    let body = Body::from_bytes("text/plain", b"hello");
    let taken = body.take(2).expect("bytes").expect("a body");
    assert_eq!((taken.size(), body.size()), (Some(2), Some(3)));
    assert_eq!(taken.read(9).expect("bytes").as_deref(), Some(&b"he"[..]));
    assert_eq!(taken.again().expect("a body").read(1).expect("bytes").as_deref(), Some(&b"h"[..]));
    assert_eq!(body.take(9).expect("bytes").expect("a body").size(), Some(3));
    assert!(body.take(9).expect("the end").is_none());
    let host = Host::new().http(fake::get(URL).replies(fake::status(200).chunks("text/csv", ["ab", "", "cde"])));
    host.run(|| {
        let body = http::get(URL).send().expect("a response").body;
        assert_eq!((body.media_type().as_str(), body.size()), ("text/csv", Some(5)));
        assert!(body.again().is_err(), "a response cannot be repeated");
        assert_eq!(body.read(9).expect("bytes").as_deref(), Some(&b"ab"[..]));
        assert_eq!(body.read(2).expect("bytes").as_deref(), Some(&b"cd"[..]));
        assert_eq!(body.take(9).expect("bytes").expect("a body").size(), Some(1));
        assert_eq!(body.read(9).expect("the end"), None);
    });
}

#[test]
fn differences_from_the_script_fail_the_test() {
    let report = failure(|| {
        let host = Host::new()
            .secret("/token", "t0ken")
            .http(
                fake::post("https://api.example.com/items?dry=true")
                    .header("accept", "text/csv")
                    .anonymous()
                    .json(json!({ "name": "lion", "tags": [1, 2], "old": true })),
            )
            .http(fake::get("https://api.example.com/zoo").times(2));
        let acme = host.block::<Acme>(config());
        acme.run(|acme| {
            let body = json!({ "name": "tiger", "tags": [1, 3], "new": true });
            let request = http::post("https://api.example.com/items").query([("dry", "false"), ("x", "1")]);
            let problem = acme.signed(request).json(&body).send().expect_err("not expected");
            assert!(problem.message().starts_with("the test does not expect this request"), "{problem}");
            http::get("https://api.example.com/zoo").send().expect("a response");
        });
    });
    let expected = "\
the requests differ from the script:
request 1 is not expected: POST https://api.example.com/items?dry=false&x=1
  the closest is expectation 1: POST https://api.example.com/items?dry=true
    query parameter `dry`: expected `true`, sent `false`
    query parameter `x`: expected none, sent `1`
    header `accept`: expected `text/csv`, sent none
    credentials: expected `none`, sent `bearer /token`
    body, at `/name`: expected `\"lion\"`, sent `\"tiger\"`
    body, at `/old`: expected `true`, sent none
    body, at `/tags/1`: expected `2`, sent `3`
    body, at `/new`: expected none, sent `true`
expectation 1 is not met: POST https://api.example.com/items?dry=true (sent 0 of 1 times)
expectation 2 is not met: GET https://api.example.com/zoo (sent 1 of 2 times)";
    assert_eq!(report, expected);
}

#[test]
fn a_request_after_the_last_expected_one_and_a_wrong_order_are_reported() {
    let host = Host::new()
        .in_order()
        .http(fake::get("https://api.example.com/a"))
        .http(fake::get("https://api.example.com/b"))
        .http(fake::get("https://api.example.com/free").any_number_of_times());
    host.run(|| {
        let get = |path: &str| http::get(format!("{URL}{path}")).send();
        assert!(get("/b").is_err());
        assert!(get("/free").is_ok() && get("/a").is_ok() && get("/b").is_ok() && get("/free").is_ok());
        assert!(get("/a").is_err());
    });
    let report = host.verify().expect_err("two requests are not expected");
    assert!(report.contains("request 1 is not expected") && report.contains("the order is checked"), "{report}");
    assert!(report.contains("request 6 is not expected"), "{report}");
    assert!(report.contains("it was already answered 1 times") && !report.contains("is not met"), "{report}");
}

#[test]
fn a_read_sends_only_safe_requests() {
    let host = Host::new().http(fake::post("https://api.example.com/zoo/search").replies(204));
    let acme = host.block::<Acme>(config());
    assert_eq!(acme.call("search", json!({ "path": "zoo/search" })).expect("a status").result(), 204);
    let message = failure(|| drop(acme.call("search", json!({ "path": "zoo" }))));
    let expected = "the operation `search` has the effect `read` and must not send `POST https://api.example.com/zoo`";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(host.requests().len(), 1, "the second request is not sent");
}

#[test]
fn requests_that_the_host_rejects_fail() {
    let host = Host::new().secret("/token", "t0ken");
    host.block::<Acme>(config()).run(|acme| {
        let send = |request: http::Request| {
            let problem = request.send().expect_err("the host rejects the request");
            (problem.code().to_owned(), problem.message().to_owned())
        };
        let get = || http::get(URL);
        for (request, code, message) in [
            (http::get("/items"), "invalid", "`/items` has no scheme; write `https://HOST` or `http://HOST`"),
            (http::request("GE T", URL), "invalid", "`GE T` is not a supported HTTP method"),
            (http::request("CONNECT", URL), "invalid", "`CONNECT` is not a supported HTTP method"),
            (get().timeout(Duration::ZERO), "invalid", "the timeout of a request must be more than 0 ms"),
            (get().header("Host", "b"), "denied", "a bundle may not set the header `host`"),
            (get().header("X-Forwarded-For", "b"), "denied", "a bundle may not set the header `x-forwarded-for`"),
            (get().header("a", "b\r\nc: d"), "invalid", "the value of the header `a` contains an invalid character"),
            (
                acme.signed(get()).header("authorization", "x"),
                "denied",
                "a bundle may not set the header `authorization` in addition to a secret",
            ),
        ] {
            assert_eq!(send(request), (code.to_owned(), message.to_owned()));
        }
    });
    assert_eq!(host.requests().len(), 0);
}

#[test]
fn a_response_with_a_secret_hides_its_length_and_may_be_unreadable() {
    let plain = fake::status(200).header("content-length", "5").body("text/plain", "hello");
    let host = Host::new().secret("/token", "t0ken").http(
        fake::get(URL)
            .replies(plain.clone())
            .replies(plain.header("content-encoding", "gzip"))
            .replies(fake::status(206).body("text/plain", "he")),
    );
    host.block::<Acme>(config()).run(|acme| {
        let send = || acme.signed(http::get(URL)).send().expect("a response");
        let response = send();
        assert_eq!((response.header("content-length"), response.body.size()), (None, None));
        assert_eq!(response.text().expect("text"), "hello");
        for response in [send(), send()] {
            assert_eq!(response.body.read(1).expect_err("cannot be searched").code, "denied");
        }
    });
}

#[test]
fn a_redirect_is_followed_without_secrets() {
    let host = Host::new()
        .secret("/token", "t0ken")
        .http(fake::get(URL).bearer("/token").replies(fake::status(302).header("location", "/b")))
        .http(
            fake::get("https://api.example.com/b")
                .bearer("/token")
                .replies(fake::status(307).header("location", "https://cdn.example.com/c")),
        )
        .http(fake::get("https://cdn.example.com/c").anonymous().replies(json!(1)));
    let acme = host.block::<Acme>(config());
    let status = acme.run(|acme| acme.signed(http::get(URL)).send()).expect("a response").status;
    assert_eq!((status, host.requests().len()), (200, 3));
}

#[test]
fn time_passes_only_on_the_clock_of_the_host() {
    let policy = Policy::new(4).jitter(random::bytes);
    let host = Host::new().now("2024-02-29T12:00:00Z").http(
        fake::get(URL)
            .replies(503)
            .replies(fake::status(429).header("retry-after", "20"))
            .replies(fake::unreachable())
            .replies(fake::json(json!(1)).delay(Duration::from_secs(3))),
    );
    host.run(|| {
        assert_eq!(clock::now(), Duration::from_secs(1_709_208_000));
        let answer = policy.send(|| Ok(http::get(URL))).expect("a response");
        assert_eq!((answer.attempts, answer.response.status), (4, 200));
    });
    let elapsed = host.elapsed();
    assert!((28..31).contains(&elapsed.as_secs()), "1 s, 20 s and 4 s, 3 s, and jitter: {elapsed:?}");
    host.advance(Duration::from_secs(60));
    assert_eq!(host.elapsed(), elapsed + Duration::from_secs(60));
}

#[test]
fn a_slow_response_times_out() {
    let slow = fake::status(200).delay(Duration::from_secs(5));
    let host = Host::new().http(fake::get(URL).replies(slow.clone()).replies(slow).replies(fake::timeout()));
    host.run(|| {
        let problem = http::get(URL).timeout(Duration::from_secs(2)).send().expect_err("late");
        assert_eq!((problem.code(), problem.message()), ("timeout", "no response within 2000 ms"));
        assert!(problem.is_retryable());
        assert!(http::get(URL).timeout(Duration::from_secs(6)).send().is_ok());
        assert_eq!(http::get(URL).send().expect_err("late").message(), "no response within 120000 ms");
    });
    assert_eq!(host.elapsed(), Duration::from_secs(2 + 5 + 120));
}

#[test]
fn a_body_can_be_interrupted() {
    let broken = fake::status(200).chunks("text/plain", ["ab"]).interrupted();
    let host = Host::new().http(fake::get(URL).replies(broken));
    let problem = host.run(|| http::get(URL).send().expect("a response").text()).expect_err("interrupted");
    assert_eq!((problem.code(), problem.is_retryable()), ("unavailable", true));
}

#[test]
fn access_tokens_are_compared_by_their_grant() {
    let token_url = "https://auth.example.com/token";
    let host = Host::new()
        .secret("/parent/config/key", "PEM")
        .http(fake::get(URL).token_with_scopes(token_url, &["read"]))
        .http(fake::get(URL).token(token_url));
    let parent = json!({ "url": URL, "parent": fake::reference("parent/main", json!({})) });
    host.block::<Acme>(parent).run(|acme| {
        let parent = acme.parent.as_ref().expect("a reference");
        let key = &parent.get().expect("the parent").key;
        assert_eq!((parent.address(), parent.revision()), ("parent/main", Some(1)));
        for scopes in [&["read"][..], &["write"]] {
            let assertion = Assertion { token_url, issuer: "me", scopes, ..Assertion::default() };
            http::get(URL).token(TokenSource::jwt_bearer(&assertion, key)).send().expect("a response");
        }
    });
    let Credential::Token(grant) = &host.requests()[0].credential else { panic!("a token") };
    assert_eq!(grant.kind, GrantKind::JwtBearer { issuer: "me".to_owned(), subject: None });
    assert_eq!(grant.secrets, ["/parent/config/key"]);
}

#[test]
fn secrets_are_handles_without_values() {
    let host = Host::new().secret("/token", "t0ken");
    let acme = host.block::<Acme>(config());
    assert_eq!(acme.config()["token"], json!({ "$secret": "/token" }));
    let problem = acme.run(|acme| acme.token.as_ref().expect("a token").reveal()).expect_err("not granted");
    assert_eq!(problem.code(), "not-granted");
    let absent = json!({ "url": URL, "token": { "$secret": "/other" } });
    let bare = Host::new();
    let problem = bare.block::<Acme>(absent).call("get", json!({ "path": "a" })).expect_err("no value");
    assert_eq!((problem.code(), problem.message()), ("not-found", "the block has no secret at `/other`"));
    let granted = Host::new().secret("/token", "t0ken").grant_reveal();
    let value = granted.block::<Acme>(config()).run(|acme| acme.token.as_ref().expect("a token").reveal());
    assert_eq!(value.expect("the value"), b"t0ken");
    let message = failure(|| drop(host.block::<Acme>(json!({ "token": "t0ken" }))));
    assert!(message.contains("has a value at `/token`; leave it out"), "{message}");
    assert_eq!(failure(|| drop(Host::new().secret("token", "x"))), "`token` is not a JSON Pointer; write `/token`");
}

#[test]
fn checks_and_validations_run() {
    let host = Host::new().http(fake::head(URL).replies(200).replies(fake::unreachable()));
    let acme = host.block::<Acme>(config());
    let step = |status, detail: Option<&str>| {
        let (name, detail) = ("connect".to_owned(), detail.map(str::to_owned));
        vec![Step { name, status, detail, milliseconds: Some(0) }]
    };
    assert_eq!(acme.check().expect("steps"), step(StepStatus::Passed, None));
    assert_eq!(acme.check().expect("steps"), step(StepStatus::Failed, Some("cannot connect: connection refused")));
    assert_eq!(acme.validate(), []);
    let parent = fake::reference("parent/main", json!({ "key": { "$secret": "/parent/config/key" } }));
    let plain = host.block::<Acme>(json!({ "url": "http://a.example", "parent": parent }));
    assert_eq!(plain.validate(), [Violation::new("/url", "must begin with `https://`")]);
    let impure = host.block::<Acme>(json!({ "url": "now" }));
    let message = "`clock::now` was called in a validation or a migration, which have no capabilities";
    assert_eq!(failure(|| drop(impure.validate())), message);
    let unknown = host.block::<Acme>(json!({ "url": URL, "urls": 1 }));
    assert_eq!(unknown.validate().len(), 1, "an unknown field");
    let problem = host.migrate::<Acme>(2, &config()).expect_err("no such version");
    assert_eq!(problem.message(), "type `acme` has no migration from version 2");
}

#[test]
fn random_bytes_are_reproducible_and_logs_are_captured() {
    let bytes = |host: Host| host.run(|| (random::bytes(5), random::bytes(16)));
    assert_eq!(bytes(Host::new()), bytes(Host::new()));
    assert_ne!(bytes(Host::new()), bytes(Host::new().seed(7)));
    assert_eq!(bytes(Host::new()).1.len(), 16);
    let host = Host::new();
    host.run(|| {
        log::info("read 3 rows");
        log::warn("no header");
    });
    assert_eq!(host.log(), [(Level::Info, "read 3 rows".to_owned()), (Level::Warn, "no header".to_owned())]);
}

#[test]
fn hosts_are_nested_and_independent_of_other_threads() {
    let (outer, inner) = (Host::new(), Host::new().now("2000-01-01T00:00:00Z"));
    outer.run(|| {
        let before = clock::now();
        assert!(inner.run(clock::now) < before);
        assert!(catch_unwind(AssertUnwindSafe(|| inner.run(|| panic!("a failing test")))).is_err());
        assert_eq!(clock::now(), before, "a panic restores the host");
        let other = std::thread::spawn(|| failure(|| log::info("lost"))).join().expect("the other thread");
        assert!(other.contains("outside of a fake host"), "{other}");
    });
    assert!(failure(|| drop(http::get(URL).send())).starts_with("`Request::send` was called outside of a fake host"));
}

/// A webhook.
#[derive(Block)]
#[block(type = "hook", version = 1, title = "Hook")]
struct Hook {
    /// URL.
    #[block(audience = "https://hooks.example.com", url)]
    url: Secret<String>,
}

#[operations]
impl Hook {
    /// Posts a text.
    #[operation(write)]
    fn post(
        &self,
        /// Text.
        text: String,
    ) -> Result<u16> {
        let request = http::to_secret_url("POST", &self.url).query([("wait", "true")]);
        Ok(request.json(&json!({ "text": text })).send()?.status)
    }

    /// Reads with any method.
    #[operation(read, safe("POST https://hooks.example.com/"))]
    fn read(
        &self,
        /// HTTP method.
        method: String,
    ) -> Result<u16> {
        Ok(http::to_secret_url(method, &self.url).send()?.status)
    }
}

#[test]
fn a_secret_url_is_compared_by_its_pointer() {
    let sent = || fake::post("https://hooks.example.com").query([("wait", "true")]).secret_url("/url");
    let host = Host::new()
        .secret("/url", "https://Hooks.example.com:443/services/XXXXXXXX?v=1")
        .http(sent().json(json!({ "text": "hi" })).replies(204))
        .http(
            fake::get("https://hooks.example.com")
                .secret_url("/url")
                .replies(fake::status(302).header("location", "https://other.example.com/")),
        );
    let hook = host.block::<Hook>(json!({}));
    assert_eq!(hook.call("post", json!({ "text": "hi" })).expect("sent").result(), &json!(204));
    assert_eq!(hook.call("read", json!({ "method": "GET" })).expect("a redirect").result(), &json!(302));
    assert_eq!(host.requests()[0].credential, Credential::Url("/url".to_owned()));
    let posted = catch_unwind(AssertUnwindSafe(|| hook.call("read", json!({ "method": "POST" }))));
    assert!(posted.is_err(), "no declaration makes a POST to a secret URL safe");
}

#[test]
fn a_secret_that_is_not_a_url_is_not_quoted() {
    for secret in ["swordfish", "https://me:swordfish@hooks.example.com/", "https://hooks.example.com/#swordfish"] {
        let host = Host::new().secret("/url", secret);
        let problem = host.block::<Hook>(json!({})).call("post", json!({ "text": "hi" })).expect_err("no URL");
        assert_eq!(problem.code(), "invalid");
        assert_eq!(problem.message(), "the secret `/url` is not a URL of its audience");
    }
}
