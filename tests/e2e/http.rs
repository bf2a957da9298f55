//! HTTP requests of bundles: permitted destinations, request headers and secrets, and responses.
//! The guest is `tests/guests/courier`; the servers run on this machine.

use std::collections::BTreeSet;

use blockyard_tests::web::{Answer, RecordedRequest, Web};
use blockyard_tests::{CommandOutput, TestYard, binary, bundle};
use serde_json::{Value, json};

#[cfg(target_os = "linux")]
use crate::memory::peak_memory;

/// A secret that occurs in no response by chance.
const CANARY: &str = "c4nary-In-The-Mine+7/z";

/// Creates a yard with `courier/c` on this server, with a grant for its address.
fn yard(web: &Web) -> TestYard {
    let yard = ungranted(web);
    yard.ok(&["grant", "courier", &format!("http {}", web.url())]);
    yard
}

/// Like [`yard`], without the grant for the server's address.
fn ungranted(web: &Web) -> TestYard {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard.ok(&["install", &bundle("courier"), "--yes"]);
    yard.create(
        "courier/c",
        &json!({"base_url": web.url(), "region": "eu", "token": CANARY, "password": "for-databases"}),
    );
    yard
}

fn call(yard: &TestYard, operation: &str, arguments: &Value) -> CommandOutput {
    let mut command = yard.command(&["call", "courier/c", operation, "--args", &arguments.to_string(), "--json"]);
    command.env("SSL_CERT_FILE", Web::authority());
    blockyard_tests::run_command(&mut command, None)
}

fn answer(yard: &TestYard, operation: &str, arguments: &Value) -> Value {
    let output = call(yard, operation, arguments);
    assert_eq!(output.code, 0, "{operation} {arguments}: {}", output.stderr);
    serde_json::from_str(&output.stdout).expect("one JSON document")
}

/// Makes a call that must fail with this exit code. Returns standard error.
fn refused(yard: &TestYard, code: i32, operation: &str, arguments: &Value) -> String {
    let output = call(yard, operation, arguments);
    assert_eq!(output.code, code, "{operation} {arguments}: {}{}", output.stdout, output.stderr);
    output.stderr
}

fn echo(request: &RecordedRequest) -> Answer {
    Answer::json(&json!({"method": request.method, "target": request.target, "headers": request.headers}))
}

#[test]
fn request_is_sent_and_its_response_is_returned() {
    let web = Web::start(|request| match request.target.as_str() {
        "/hello?a=1" => Answer::text("good day").header("x-kind", "polite"),
        _ => Answer::status(404),
    });
    let yard = yard(&web);
    let got = answer(&yard, "get", &json!({"path": "/hello?a=1", "headers": {"X-Own": "mine"}, "auth": "bearer"}));
    assert_eq!(got["text"], "good day");
    assert_eq!(got["headers"]["x-kind"], "polite");
    let request = &web.requests()[0];
    assert_eq!(request.header("authorization"), format!("Bearer {CANARY}"));
    assert_eq!(request.header("x-own"), "mine");
    assert_eq!(request.header("host"), format!("127.0.0.1:{}", web.port()));
    assert!(request.header("user-agent").starts_with("blockyard/"));
    assert_eq!(answer(&yard, "get", &json!({"path": "/other"}))["status"], 404);
}

#[test]
fn each_authentication_method_sends_its_header() {
    let web = Web::start(|_| Answer::text("fine"));
    let yard = yard(&web);
    for auth in ["bearer", "basic", "header"] {
        answer(&yard, "get", &json!({"path": "/", "auth": auth}));
    }
    let requests = web.requests();
    assert_eq!(requests[0].header("authorization"), format!("Bearer {CANARY}"));
    // echo -n 'ada:c4nary-In-The-Mine+7/z' | base64
    assert_eq!(requests[1].header("authorization"), "Basic YWRhOmM0bmFyeS1Jbi1UaGUtTWluZSs3L3o=");
    assert_eq!((requests[2].header("x-api-key"), requests[2].header("authorization")), (CANARY, ""));
}

#[test]
fn tls_verifies_the_host_name_and_negotiates_http_2() {
    let web = Web::start_secure(|request| Answer::text(request.version.clone()));
    let yard = yard(&web);
    assert_eq!(answer(&yard, "get", &json!({"path": "/"}))["text"], "HTTP/2.0");
    // Without the CA certificate among the roots, the server is not trusted, and no option disables
    // the check.
    let output = yard.run(&["call", "courier/c", "get", "--path", "/"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("TLS: invalid peer certificate"), "{}", output.stderr);
    assert_eq!(web.requests().len(), 1);
}

#[test]
fn private_address_requires_a_grant_that_names_it() {
    let web = Web::start(|_| Answer::text("inside"));
    let yard = ungranted(&web);
    let origin = web.url();
    let message = refused(&yard, 5, "get", &json!({"path": "/"}));
    assert!(message.contains("`127.0.0.1` has the address 127.0.0.1, which is a loopback address"), "{message}");
    assert!(message.contains(&format!("blockyard grant courier 'http {origin}'")), "{message}");
    assert!(web.requests().is_empty() && web.connections() == 0);
    yard.ok(&["grant", "courier", &format!("http {origin}")]);
    assert_eq!(answer(&yard, "get", &json!({"path": "/"}))["text"], "inside");
    yard.ok(&["revoke", "courier", &format!("http {origin}")]);
    refused(&yard, 5, "get", &json!({"path": "/"}));
}

#[test]
fn alternative_spellings_of_an_address_are_rejected() {
    let web = Web::start(|_| Answer::text("inside"));
    let yard = ungranted(&web);
    let port = web.port();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "localhost",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "localhost.",
        "LOCALHOST",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "good@127.0.0.1",
        "127.0.0.1#.wild.example",
        "127.0.0.1\\.wild.example",
        "１２７.0.0.1",
    ];
    for (index, host) in hosts.into_iter().enumerate() {
        let url = format!("http://{host}:{port}");
        let address = format!("courier/spelled-{index}");
        yard.create(&address, &json!({"base_url": url}));
        let output = yard.run(&["call", &address, "get", "--path", "/"]);
        let refused = output.stderr.contains("which is") || output.stderr.contains("error: `http");
        assert!((output.code == 5 || output.code == 1) && refused, "{url}: {} {}", output.code, output.stderr);
    }
    assert_eq!(web.connections(), 0);
}

#[test]
fn only_requested_granted_and_configured_origins_are_reached() {
    let web = Web::start(echo);
    let other = Web::start(echo);
    let yard = yard(&web);
    for url in [
        other.url(),
        format!("https://127.0.0.1:{}", web.port()),
        "https://storage.googleapis.com".to_owned(),
        "https://wild.example".to_owned(),
        "https://evilwild.example".to_owned(),
        "http://a.wild.example".to_owned(),
        "https://a.wild.example:8443".to_owned(),
        "https://us.courier.example".to_owned(),
    ] {
        let message = refused(&yard, 5, "get", &json!({"path": format!("{url}/")}));
        assert!(message.contains("its manifest does not ask for it"), "{url}: {message}");
    }
    // Requested by the manifest, but revoked.
    yard.ok(&["revoke", "courier", "http https://ungranted.example"]);
    let message = refused(&yard, 5, "get", &json!({"path": "https://ungranted.example/"}));
    assert!(message.contains("blockyard grant courier 'http https://ungranted.example'"), "{message}");
    // A capability that the manifest does not request cannot be granted.
    let message = yard.fails(2, &["grant", "courier", "sql postgres"]);
    assert!(message.contains("does not request the capability `sql postgres`"), "{message}");
    assert_eq!(other.connections(), 0);
}

#[test]
fn secret_is_sent_to_its_audience_only() {
    let web = Web::start(echo);
    let other = Web::start(echo);
    let yard = yard(&web);
    yard.ok(&["grant", "courier", &format!("http {}", other.url())]);
    yard.ok(&["set", "courier/c", "--set", &format!("token_url={}/token", other.url())]);
    // The server is granted and named by the block, but it is not in the audience of the token.
    answer(&yard, "get", &json!({"path": format!("{}/", other.url())}));
    let message = refused(&yard, 5, "get", &json!({"path": format!("{}/", other.url()), "auth": "bearer"}));
    assert!(message.contains("the secret `/token` may not be sent to"), "{message}");
    let message = refused(&yard, 5, "get", &json!({"path": "/", "auth": "wrong-audience"}));
    assert!(message.contains("the secret `/password` may not be sent to"), "{message}");
    assert!(message.contains("its audience is `sql`"), "{message}");
    assert!(web.requests().is_empty());
    assert!(other.requests().iter().all(|request| request.header("authorization").is_empty()));
}

#[test]
fn secret_for_https_is_not_sent_over_http() {
    let web = Web::start(echo);
    let secure = Web::start_secure(echo);
    let yard = yard(&secure);
    yard.ok(&["grant", "courier", &format!("http {}", web.url())]);
    yard.ok(&["set", "courier/c", "--set", &format!("token_url={}", web.url())]);
    let message = refused(&yard, 5, "get", &json!({"path": format!("{}/", web.url()), "auth": "bearer"}));
    assert!(message.contains("may not be sent to `http://"), "{message}");
    assert!(web.requests().is_empty());
}

#[test]
fn parent_block_cannot_redirect_the_secret_of_its_dependency() {
    let web = Web::start(echo);
    let thief = Web::start(echo);
    let yard = yard(&web);
    yard.ok(&["grant", "courier", &format!("http {}", thief.url())]);
    let round = |url: String| json!({"courier": {"$block": "courier/c"}, "base_url": url});
    yard.create("courier-round/honest", &round(web.url()));
    yard.create("courier-round/thief", &round(thief.url()));
    yard.ok(&["call", "courier-round/honest", "get", "--path", "/"]);
    let message = yard.fails(5, &["call", "courier-round/thief", "get", "--path", "/"]);
    assert!(message.contains("may not be sent to"), "{message}");
    assert_eq!((web.requests().len(), thief.connections()), (1, 0));
}

#[test]
fn redirects_are_checked_hop_by_hop() {
    let elsewhere = Web::start(echo);
    let elsewhere_url = elsewhere.url();
    let web = Web::start(move |request| match request.target.as_str() {
        "/same" => Answer::redirect(302, "/echo"),
        "/other" => Answer::redirect(307, &format!("{elsewhere_url}/echo")),
        "/metadata" => Answer::redirect(301, "http://169.254.169.254/latest/meta-data/"),
        "/decimal" => Answer::redirect(301, "http://2130706433/"),
        "/downgrade" => Answer::redirect(308, "ftp://127.0.0.1/"),
        "/round" => Answer::redirect(302, "/round"),
        "/resume" => Answer::status(308),
        _ => echo(request),
    });
    let yard = yard(&web);
    let same = answer(&yard, "get", &json!({"path": "/same", "auth": "bearer", "headers": {"x-own": "kept"}}));
    assert_eq!(same["status"], 200);
    assert_eq!(web.requests()[1].header("authorization"), format!("Bearer {CANARY}"));
    for path in ["/other", "/metadata", "/decimal", "/downgrade"] {
        let output = call(&yard, "get", &json!({"path": path, "auth": "bearer"}));
        assert!(
            output.code == 5 || output.code == 1 && output.stderr.contains("refused the redirect from"),
            "{path}: {}",
            output.stderr
        );
    }
    assert_eq!(elsewhere.connections(), 0);
    let message = refused(&yard, 1, "get", &json!({"path": "/round"}));
    assert!(message.contains("more than 10 times"), "{message}");
    // A response that is not a redirect, and a redirect of a request that is not safe to repeat,
    // are returned unchanged.
    assert_eq!(answer(&yard, "get", &json!({"path": "/resume"}))["status"], 308);
    let sent = answer(&yard, "send", &json!({"method": "POST", "path": "/same"}));
    assert_eq!(sent["status"], 302);

    // If the other origin is granted, the redirect is followed without the secret.
    yard.ok(&["grant", "courier", &format!("http {}", elsewhere.url())]);
    yard.ok(&["set", "courier/c", "--set", &format!("token_url={}", elsewhere.url())]);
    answer(&yard, "get", &json!({"path": "/other", "auth": "bearer", "headers": {"cookie": "a=b", "x-own": "kept"}}));
    let request = &elsewhere.requests()[0];
    assert_eq!((request.header("authorization"), request.header("cookie"), request.header("x-own")), ("", "", "kept"));
}

#[test]
fn reserved_headers_are_rejected() {
    let web = Web::start(echo);
    let yard = yard(&web);
    for (name, value) in [
        ("Host", "evil.example"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "0"),
        ("Connection", "close"),
        ("Proxy-Authorization", "Basic x"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("x-fine", "a\r\nHost: evil.example"),
        ("a b", "c"),
    ] {
        let output = call(&yard, "get", &json!({"path": "/", "headers": {name: value}}));
        assert_eq!(output.code, 1, "{name}: {}{}", output.stdout, output.stderr);
    }
    let message =
        refused(&yard, 1, "get", &json!({"path": "/", "headers": {"Authorization": "Bearer other"}, "auth": "bearer"}));
    assert!(message.contains("in addition to a secret"), "{message}");
    let message = refused(&yard, 1, "get", &json!({"path": "/", "headers": {"X-Api-Key": "other"}, "auth": "header"}));
    assert!(message.contains("in addition to a secret"), "{message}");
    assert!(web.requests().is_empty());
    // A bundle may set its own `Authorization` header if no secret is used.
    answer(&yard, "get", &json!({"path": "/", "headers": {"Authorization": "Bearer own"}}));
    assert_eq!(web.requests()[0].header("authorization"), "Bearer own");
}

#[test]
fn read_operation_sends_only_safe_requests() {
    let web = Web::start(echo);
    let yard = yard(&web);
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "MKCOL"] {
        // The guest hides the error. The call fails anyway, and the error names the bundle.
        let message = refused(&yard, 7, "send-in-read", &json!({"method": method, "path": "/items?q=secret-looking"}));
        let expected = format!("bundle `courier` was stopped: a `read` operation tried to send `{method} http://");
        assert!(message.contains(&expected), "{message}");
        assert!(!message.contains("secret-looking"), "{message}");
    }
    assert!(web.requests().is_empty());
    assert_eq!(answer(&yard, "send-in-read", &json!({"method": "GET", "path": "/"}))["status"], 200);
    // Declared safe in the manifest, and shown at installation.
    assert_eq!(answer(&yard, "send-in-read", &json!({"method": "POST", "path": "/search/zoo"}))["status"], 200);
    for path in ["/search/zoo/1", "/search/", "/search", "/search/a%2F..%2F..%2Fitems/x"] {
        refused(&yard, 7, "send-in-read", &json!({"method": "POST", "path": path}));
    }
    assert_eq!(answer(&yard, "send", &json!({"method": "DELETE", "path": "/items"}))["status"], 200);
}

#[test]
fn safe_requests_are_shown_before_approval() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    let brief = yard.fails(2, &["install", &bundle("courier")]);
    assert!(brief.contains("which the bundle declares safe: `") && brief.contains("`send-in-read`"), "{brief}");
    let output = yard.run(&["install", &bundle("courier"), "-v"]);
    assert_eq!(output.code, 2, "{}", output.stderr);
    assert!(output.stderr.contains("http {config.base_url}"), "{}", output.stderr);
    assert!(output.stderr.contains("send requests to the origin that its blocks name"), "{}", output.stderr);
    assert!(
        output.stderr.contains(
            "`send-in-read` of courier is read-only, but sends `POST {config.base_url}/search/*`, \
             which the bundle declares safe"
        ),
        "{}",
        output.stderr
    );
}

#[test]
fn environment_proxies_are_ignored() {
    let web = Web::start(echo);
    let proxy = Web::start(echo);
    let yard = yard(&web);
    let mut command = yard.command(&["call", "courier/c", "get", "--path", "/", "--auth", "bearer"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env(name, proxy.url());
    }
    let output = blockyard_tests::run_command(&mut command, None);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!((web.requests().len(), proxy.connections()), (1, 0));
}

#[test]
fn malformed_response_is_a_clear_error() {
    let web = Web::start(|request| match request.target.as_str() {
        "/slow" => Answer { after: std::time::Duration::from_secs(20), ..Answer::text("late") },
        "/headers" => {
            (0..90).fold(Answer::text("many"), |answer, at| answer.header(&format!("x-{at}"), &"v".repeat(900)))
        }
        _ => Answer::text("fine"),
    });
    let yard = yard(&web);
    let message = refused(&yard, 1, "get", &json!({"path": "/slow", "timeout_ms": 300}));
    assert!(message.contains("no response within 300 ms"), "{message}");
    let message = refused(&yard, 1, "get", &json!({"path": "/", "timeout_ms": 0}));
    assert!(message.contains("0 ms"), "{message}");
    let message = refused(&yard, 1, "get", &json!({"path": "/headers"}));
    assert!(message.contains("headers of"), "{message}");
    let output = yard.run(&["call", "courier/c", "get", "--path", "/slow", "--timeout", "1"]);
    assert_eq!(output.code, 7, "{}", output.stderr);
    drop(web);
    let message = refused(&yard, 1, "get", &json!({"path": "/"}));
    assert!(message.contains("`127.0.0.1` cannot be reached"), "{message}");
}

#[test]
fn bodies_are_passed_by_handle() {
    let web = Web::start(|request| match request.target.as_str() {
        "/big" => Answer { more: 40 << 20, ..Answer::default() },
        _ => Answer::text("stored"),
    });
    let yard = yard(&web);
    let file = yard.path("big");
    let output = yard.run(&["call", "courier/c", "fetch", "--path", "/big", "--out", file.to_str().expect("a path")]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let expected: Vec<u8> = blockyard_tests::web::pattern(40 << 20).flatten().collect();
    assert!(std::fs::read(&file).expect("the file") == expected, "the received bytes differ from those sent");
    let output = yard.run(&["call", "courier/c", "store", "--path", "/up", "--in", file.to_str().expect("a path")]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let stored = web.requests().pop().expect("a request");
    assert_eq!((stored.length, stored.header("content-length")), (40 << 20, "41943040"));
    assert_eq!(stored.body, expected[..1 << 20]);
}

#[test]
fn parts_of_a_body_are_resent_on_retry() {
    let tries = std::sync::Mutex::new(BTreeSet::new());
    // The first attempt of each part receives 503.
    let web = Web::start(move |request| {
        let first = tries.lock().expect("no panic").insert(request.target.clone());
        Answer::status(if first { 503 } else { 200 })
    });
    let yard = yard(&web);
    let all: Vec<u8> = blockyard_tests::web::pattern(2_500_000).flatten().collect();
    std::fs::write(yard.path("in"), &all).expect("a file");
    let file = yard.path("in");
    let arguments = [
        "call",
        "courier/c",
        "store-in-parts",
        "--path",
        "/up",
        "--size",
        "1000000",
        "--in",
        file.to_str().expect("a path"),
    ];
    assert_eq!(yard.ok(&arguments), "3\n");
    let requests = web.requests();
    assert_eq!(
        requests.iter().map(|request| request.length).collect::<Vec<_>>(),
        [1_000_000, 1_000_000, 1_000_000, 1_000_000, 500_000, 500_000]
    );
    let again: Vec<u8> = requests.iter().skip(1).step_by(2).flat_map(|request| request.body.clone()).collect();
    assert!(again == all, "the second attempt sent different bytes");
}

#[test]
fn output_parts_form_one_stream() {
    let web = Web::start(|request| match request.target.as_str() {
        "/page/3" => Answer::text(""),
        target => Answer::text(format!("{target};")),
    });
    let yard = yard(&web);
    let got = yard.ok(&["call", "courier/c", "pages", "--count", "4", "--out", "-"]);
    assert!(got.contains("/page/1;/page/2;/page/4;"), "{got}");
    // A part that fails ends the stream with its error.
    drop(web);
    let output = yard.run(&["call", "courier/c", "pages", "--count", "4", "--out", "-"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("cannot be reached"), "{}", output.stderr);
}

#[test]
fn responses_contain_no_secret() {
    let web = Web::start(|request| {
        let sent = [request.header("authorization"), request.header("x-api-key")].concat();
        Answer::text(format!("you sent {sent} today")).header("x-echo", &sent)
    });
    let yard = yard(&web);
    for auth in ["bearer", "basic", "header"] {
        let got = answer(&yard, "get", &json!({"path": "/", "auth": auth}));
        let text = got.to_string();
        assert!(text.contains("********") && !text.contains(CANARY) && !text.contains("YWRhOm"), "{auth}: {text}");
    }
    // Parts that would be forwarded are rejected rather than masked silently.
    let output = call(&yard, "relay", &json!({"path": "/", "to": "/to", "auth": "bearer"}));
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("holds a secret of this block"), "{}", output.stderr);
    assert!(web.requests().iter().all(|request| request.method == "GET"
        || request.body.is_empty()
        || !String::from_utf8_lossy(&request.body).contains(CANARY)));
}

/// Starts a server that sends these chunks as its only response, with a pause after each. Returns
/// its port.
fn raw(chunks: Vec<Vec<u8>>, between: std::time::Duration) -> u16 {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 16 << 10]);
            for chunk in &chunks {
                if stream.write_all(chunk).is_err() {
                    break;
                }
                std::thread::sleep(between);
            }
        }
    });
    port
}

fn raw_yard(port: u16) -> TestYard {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard.ok(&["install", &bundle("courier"), "--yes"]);
    yard.ok(&["grant", "courier", &format!("http http://127.0.0.1:{port}")]);
    yard.create("courier/c", &json!({"base_url": format!("http://127.0.0.1:{port}")}));
    yard
}

#[test]
fn interrupted_response_leaves_no_file() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
    let yard = raw_yard(raw(vec![head, vec![b'x'; 50_000]], std::time::Duration::ZERO));
    let file = yard.path("short");
    let output = yard.run(&["call", "courier/c", "fetch", "--path", "/", "--out", file.to_str().expect("a path")]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("the response was interrupted"), "{}", output.stderr);
    assert!(!file.exists());
}

#[test]
fn invalid_response_is_a_clear_error() {
    let many: Vec<u8> = (0..100_000).flat_map(|at| format!("x-{at}: y\r\n").into_bytes()).collect();
    let forged = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello!!".to_vec();
    for answer in
        [[b"HTTP/1.1 200 OK\r\n".to_vec(), many].concat(), forged, b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), Vec::new()]
    {
        let yard = raw_yard(raw(vec![answer], std::time::Duration::ZERO));
        let message = refused(&yard, 1, "get", &json!({"path": "/"}));
        assert!(message.contains("no valid response from the server"), "{message}");
    }
}

#[test]
fn slow_response_ends_at_the_deadline_of_the_call() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    let chunks = std::iter::once(head).chain((0..600).map(|_| b"x".to_vec())).collect();
    let yard = raw_yard(raw(chunks, std::time::Duration::from_millis(100)));
    let output = yard.run(&["call", "courier/c", "get", "--path", "/", "--timeout", "2"]);
    assert_eq!(output.code, 7, "{}", output.stderr);
    assert!(output.stderr.contains("stopped after 2 seconds"), "{}", output.stderr);
}

#[test]
fn host_name_that_resolves_to_a_private_address_is_rejected() {
    if !blockyard_tests::available("BLOCKYARD_TEST_MOUNTS") {
        return;
    }
    let web = Web::start(echo);
    let yard = ungranted(&web);
    std::fs::write(yard.path("hosts"), "127.0.0.1 a.wild.example eu.courier.example\n").expect("a file");
    let script = "mount --bind hosts /etc/hosts && exec \"$@\"";
    let call = |url: &str| {
        let mut command = yard.program("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(binary()).args(["call", "courier/c", "get", "--path", url]);
        blockyard_tests::run_command(&mut command, None)
    };
    for name in ["a.wild.example", "eu.courier.example"] {
        let output = call(&format!("https://{name}/"));
        assert_eq!(output.code, 5, "{}", output.stderr);
        assert!(
            output.stderr.contains(&format!("`{name}` has the address 127.0.0.1, which is a loopback address")),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains(&format!("'http https://{name} at 127.0.0.1")), "{}", output.stderr);
    }
    // Granted by name and network: the connection is attempted, but nothing listens there.
    yard.ok(&["grant", "courier", "http https://a.wild.example at 127.0.0.0/8"]);
    let output = call("https://a.wild.example/");
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("cannot be reached"), "{}", output.stderr);
}

#[test]
#[cfg(target_os = "linux")]
fn four_gibibytes_are_streamed_with_bounded_memory() {
    const SIZE: u64 = 4 << 30;
    let web = Web::start(|request| match request.target.as_str() {
        "/big" => Answer { more: SIZE, ..Answer::default() },
        "/slow" => Answer { after: std::time::Duration::from_millis(500), ..Answer::text("small") },
        _ => Answer::text("stored"),
    });
    let yard = yard(&web);
    let idle = peak_memory(&yard, &["call", "courier/c", "fetch", "--path", "/slow", "--out", "-"]);
    let down = peak_memory(&yard, &["call", "courier/c", "fetch", "--path", "/big", "--timeout", "500", "--out", "-"]);
    let file = std::fs::File::create(yard.path("sparse")).expect("a file");
    file.set_len(SIZE).expect("a sparse file");
    let up = peak_memory(
        &yard,
        &["call", "courier/c", "store", "--path", "/up", "--unmeasured", "true", "--timeout", "500", "--in", "sparse"],
    );
    assert!(
        idle > 1_000 && down < idle + (64 << 10) && up < idle + (64 << 10),
        "idle {idle}, down {down}, up {up} KiB"
    );
    assert_eq!(web.requests().pop().expect("a request").length, SIZE);
}
