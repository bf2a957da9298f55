//! A bundle that tries to learn its secret (`courier-thief`): from the masking, from bodies that it
//! forwards, from parts and digests of responses, from headers and token servers that it chooses.
//! The servers are honest and echo requests.

use std::io::Write as _;

use blockyard_tests::web::{Answer, RecordedRequest, Web};
use blockyard_tests::{CommandOutput, TestYard, bundle};
use serde_json::{Value, json};

/// A server that echoes requests, one outside of the secret's audience, and a token server.
struct Bed {
    yard: TestYard,
    web: Web,
    other: Web,
    tokens: Web,
}

fn gzip(text: &[u8]) -> Vec<u8> {
    // A gzip member with one stored block (RFC 1951, section 3.2.4), as written by `gzip -0`.
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let length = u16::try_from(text.len()).expect("a short text");
    bytes.extend(length.to_le_bytes());
    bytes.extend((!length).to_le_bytes());
    bytes.extend_from_slice(text);
    let mut crc = u32::MAX;
    for byte in text {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    bytes.extend((!crc).to_le_bytes());
    bytes.extend(u32::from(length).to_le_bytes());
    bytes
}

/// An honest server with common middleware: compression, ranges, redirects.
fn echo(request: &RecordedRequest) -> Answer {
    let sent = json!({"target": request.target, "headers": request.headers}).to_string();
    let path = request.target.split('?').next().unwrap_or_default();
    match path {
        "/body" => Answer::text(request.body.clone()),
        "/joined" => Answer::text(format!("{}{}", request.header("x-a"), request.header("x-b"))),
        "/reversed" => Answer::text(request.header("x-guess").chars().rev().collect::<String>()),
        "/header" => Answer::text(request.header("x-guess").to_owned()),
        "/forced-gzip" => Answer::text(gzip(sent.as_bytes())).header("content-encoding", "gzip"),
        "/silent-gzip" => Answer::text(gzip(sent.as_bytes())),
        "/parts" => Answer::text(sent).header("content-type", "multipart/byteranges; boundary=x"),
        "/elsewhere" => {
            let to = format!("{}/?key={}", request.header("x-to"), request.header("authorization").replace(' ', "+"));
            Answer::redirect(302, &to)
        }
        "/bad-location" => {
            let pad = "p".repeat(request.header("x-pad").len());
            Answer::redirect(302, &format!("ftp://{pad}.example/?key={}", request.header("x-api-key")))
        }
        _ if request.header("accept-encoding").contains("gzip") => {
            Answer::text(gzip(sent.as_bytes())).header("content-encoding", "gzip")
        }
        _ => match request.header("range").strip_prefix("bytes=").and_then(|range| range.split_once('-')) {
            Some((from, to)) => {
                let (from, to) = (from.parse().unwrap_or(0), to.parse().unwrap_or(sent.len()));
                let part = sent.as_bytes().get(from..=to).unwrap_or_default().to_vec();
                let answer = Answer::text(part).header("content-range", &format!("bytes {from}-{to}/{}", sent.len()));
                Answer { status: 206, ..answer }
            }
            None => Answer::text(sent).header("digest", "sha-256=abc="),
        },
    }
}

fn bed(secret: &str) -> Bed {
    let stored = |request: &RecordedRequest| match request.target.as_str() {
        "/guesses" => Answer::text("aaaaaa k9zq4y k9zq4x zzzzzz"),
        _ => Answer::text("thanks"),
    };
    let (web, other) = (Web::start(echo), Web::start(stored));
    let tokens = Web::start(|request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        Answer { status: 400, ..Answer::json(&json!({"error": "invalid_client", "error_description": body})) }
    });
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard.ok(&["install", &bundle("courier"), "--yes"]);
    for server in [&web, &other, &tokens] {
        yard.ok(&["grant", "courier", &format!("http {}", server.url())]);
    }
    yard.create(
        "courier-thief/t",
        &json!({"base_url": web.url(), "other_url": other.url(), "token_url": format!("{}/token", tokens.url()),
            "token": secret, "key": secret}),
    );
    Bed { yard, web, other, tokens }
}

impl Bed {
    fn call(&self, operation: &str, arguments: &Value) -> CommandOutput {
        self.yard.run(&["call", "courier-thief/t", operation, "--args", &arguments.to_string(), "--json", "--yes"])
    }

    fn ok(&self, operation: &str, arguments: &Value) -> Value {
        let output = self.call(operation, arguments);
        assert_eq!(output.code, 0, "{operation} {arguments}: {}", output.stderr);
        serde_json::from_str(&output.stdout).expect("JSON")
    }

    /// Makes a call that must be stopped and recorded in the audit trail.
    fn stopped(&self, operation: &str, arguments: &Value) {
        let output = self.call(operation, arguments);
        assert_ne!(output.code, 0, "{operation} {arguments}: {}", output.stdout);
        assert!(output.stderr.contains("was stopped"), "{}", output.stderr);
        assert!(self.yard.ok(&["audit", "--json"]).contains("stop-guessing"));
    }
}

#[test]
fn masking_does_not_confirm_guesses() {
    for (secret, alphabet) in [("739104", "0123456789"), ("k9zq", "kq9z4x"), ("aaaab", "ab")] {
        let bed = bed(secret);
        let arguments = json!({"alphabet": alphabet, "length": secret.len()});
        assert_eq!(bed.ok("oracle", &arguments), Value::Null, "{secret}");
    }
}

#[test]
fn echo_does_not_confirm_guesses() {
    let secret = "k9zq4x";
    let guesses = ["aaaaaa", "k9zq4y", secret, "zzzzzz"];
    for via in ["path", "header", "body"] {
        for auth in [false, true] {
            let bed = bed(secret);
            bed.stopped("guess", &json!({"guesses": guesses, "via": via, "auth": auth}));
            let sent_it = |request: &RecordedRequest| {
                request.target.contains(secret)
                    || request.header("x-guess").contains(secret)
                    || request.body == secret.as_bytes()
            };
            assert!(!bed.web.requests().iter().any(sent_it), "the guess was sent");
        }
    }
}

#[test]
fn guesses_assembled_by_a_server_are_stopped() {
    // Thousands of guesses precede the right one: more words than a regular call sends before an
    // echo.
    let secret = "k9zq4x7w";
    let guesses: Vec<String> =
        (0..4_500).map(|at| format!("{at:08}")).chain([secret.to_owned(), "zzzzzzzz".to_owned()]).collect();
    for via in ["split", "reversed"] {
        let bed = bed(secret);
        bed.stopped("guess", &json!({"guesses": guesses, "via": via}));
    }
    // Repeating a wrong guess is permitted.
    let bed = bed(secret);
    let again: Vec<&str> = std::iter::repeat_n("zzzzzzzz", 3).collect();
    assert_eq!(bed.ok("guess", &json!({"guesses": again, "via": "split"})), Value::Null);
}

#[test]
fn guesses_during_output_are_stopped_and_recorded() {
    let bed = bed("k9zq4x");
    let arguments = json!({"guesses": ["aaaaaa", "k9zq4x", "zzzzzz"]}).to_string();
    let output = bed.yard.run(&["call", "courier-thief/t", "guess-in-parts", "--args", &arguments, "--out", "-"]);
    assert_ne!(output.code, 0, "{}", output.stdout);
    assert!(!output.stdout.contains("yes"), "{}", output.stdout);
    assert!(bed.yard.ok(&["audit", "--json"]).contains("stop-guessing"));
}

#[test]
fn secrets_in_arguments_are_not_masked_for_the_caller() {
    let bed = bed("hunter7");
    let guesses = "hunter1 hunter7 hunter9";
    let output = bed.call("say", &json!({"text": guesses}));
    assert_eq!((output.code, output.stdout.trim()), (0, "\"hunter1 hunter7 hunter9\""), "{}", output.stderr);
    let output = bed.call("say", &json!({"text": guesses, "fail": true}));
    assert!(output.stderr.contains(guesses), "{}", output.stderr);
}

#[test]
fn guesses_of_another_server_are_not_sent() {
    let bed = bed("k9zq4x");
    let output = bed.call("borrow", &json!({}));
    assert_ne!(output.code, 0, "{}", output.stdout);
    assert!(!output.stderr.contains("zzzzzz"), "{}", output.stderr);
    let bodies: Vec<String> =
        bed.web.requests().iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
    assert!(bodies.iter().all(|body| !body.contains("k9zq4x")), "{bodies:?}");
    // Without a right guess, the echo is returned.
    let bed = self::bed("another");
    assert_eq!(bed.ok("borrow", &json!({})), "aaaaaa k9zq4y k9zq4x zzzzzz");
}

#[test]
fn unread_body_with_a_secret_stays_in_its_audience() {
    for how in ["unchanged", "after-first-byte", "parts", "repeated"] {
        for path in ["/echo", "/echo?x=1"] {
            let bed = bed("hunter7");
            let output = bed.call("bounce", &json!({"path": path, "to": "/sink", "how": how}));
            assert_ne!(output.code, 0, "{how}: {}", output.stdout);
            for request in bed.other.requests() {
                let body = String::from_utf8_lossy(&request.body).into_owned();
                assert!(!body.contains("hunter7") && !body.contains("hunter"), "{how}: {body}");
            }
        }
    }
    // A body that cannot be searched is not sent at all.
    for (path, headers) in
        [("/forced-gzip", json!({})), ("/parts", json!({})), ("/echo", json!({"range": "bytes=0-9999"}))]
    {
        let bed = bed("hunter7");
        let output = bed.call("bounce", &json!({"path": path, "to": "/sink", "headers": headers}));
        assert_eq!(output.code, 1, "{path}: {}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains("compressed or partial"), "{path}: {}", output.stderr);
        assert!(bed.other.requests().is_empty());
    }
    // A body with undeclared compression is rejected as well: the request ends before its first
    // byte.
    let silent = bed("hunter7");
    let output = silent.call("bounce", &json!({"path": "/silent-gzip", "to": "/sink", "headers": {}}));
    assert_ne!(output.code, 0, "{}", output.stdout);
    assert!(silent.other.requests().iter().all(|request| request.body.is_empty()));
    // A body without a secret is forwarded.
    let bed = bed("hunter7");
    assert_eq!(bed.ok("bounce", &json!({"path": "/header", "to": "/sink"})), 200);
}

#[test]
fn compressed_and_partial_responses_cannot_be_read() {
    let bed = bed("hunter7");
    let refused = bed.call("range", &json!({"path": "/echo", "count": 20}));
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains("compressed or partial"), "{}", refused.stderr);
    for path in ["/forced-gzip", "/silent-gzip", "/parts"] {
        let refused = bed.call("in-header", &json!({"path": path, "header": "x-api-key"}));
        assert_eq!(refused.code, 1, "{path}: {}", refused.stdout);
    }
    // No request accepted compression.
    assert!(bed.web.requests().iter().all(|request| request.header("accept-encoding") == "identity"));
}

#[test]
fn requests_with_a_secret_disable_compression() {
    let web = Web::start(echo);
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard.ok(&["install", &bundle("courier"), "--yes"]);
    yard.ok(&["grant", "courier", &format!("http {}", web.url())]);
    yard.create("courier/c", &json!({"base_url": web.url(), "token": "hunter7"}));
    let get = |headers: Value, auth: &str| {
        let arguments = json!({"path": "/echo", "headers": headers, "auth": auth}).to_string();
        yard.run(&["call", "courier/c", "get", "--args", &arguments, "--json"])
    };
    for auth in ["bearer", "none"] {
        let got = get(json!({"accept-encoding": "gzip"}), auth);
        assert_eq!(got.code, 0, "{}", got.stderr);
        assert!(!got.stdout.contains("hunter7"), "{}", got.stdout);
        assert_eq!(web.requests().last().expect("a request").header("accept-encoding"), "identity");
    }
    for name in ["want-digest", "want-repr-digest", "if-range", "request-range", "te", "a-im"] {
        assert_eq!(get(json!({name: "x"}), "bearer").code, 1, "{name}");
    }
}

#[test]
fn responses_reveal_neither_length_nor_digest_of_a_secret() {
    let bed = bed("hunter7");
    assert_eq!(bed.ok("length", &json!({"path": "/echo"})), json!([]));
    // The host's own messages reveal no length either.
    let long = "x".repeat(66_000);
    let arguments = json!({"path": "/", "headers": {"x-a": long}}).to_string();
    bed.yard.create("courier/c", &json!({"base_url": bed.web.url(), "token": "hunter7"}));
    let output = bed.yard.run(&["call", "courier/c", "get", "--auth", "header", "--args", &arguments]);
    assert_eq!(output.code, 1, "{}", output.stdout);
    assert!(output.stderr.contains("more than 65536 bytes") && !output.stderr.contains("66"), "{}", output.stderr);
}

#[test]
fn secret_is_sent_only_in_headers_of_the_schema() {
    let bed = bed("AbCdEf123456XyZ");
    for header in [
        "user-agent",
        "referer",
        "origin",
        "accept-language",
        "content-type",
        "access-control-request-headers",
        "if-none-match",
        "range",
        "x-goog-meta-note",
        "x-other",
        "cookie",
    ] {
        let output = bed.call("in-header", &json!({"path": "/echo", "header": header}));
        assert_eq!(output.code, 1, "{header}: {}", output.stdout);
        assert!(output.stderr.contains("the schema of the block type names"), "{header}: {}", output.stderr);
    }
    assert!(bed.web.requests().is_empty());
    // An echo in different case is masked as well.
    let lower = Web::start(|request| Answer::text(request.header("x-api-key").to_lowercase()));
    bed.yard.ok(&["grant", "courier", &format!("http {}", lower.url())]);
    bed.yard.ok(&["set", "courier-thief/t", "--set", &format!("base_url={}", lower.url())]);
    assert_eq!(bed.ok("in-header", &json!({"path": "/", "header": "x-api-key"})), "********");
}

#[test]
fn token_server_must_be_named_by_the_schema() {
    let bed = bed("hunter7");
    let (tokens, web) = (bed.tokens.url(), bed.web.url());
    for url in [
        format!("{tokens}/v1/things/7/delete?confirm=yes"),
        format!("{tokens}/token?confirm=yes"),
        format!("{tokens}/token/"),
        format!("{tokens}/"),
        format!("{web}/token"),
    ] {
        let output = bed.call("exchange", &json!({"token_url": url, "client_id": "me"}));
        assert_eq!(output.code, 5, "{url}: {}", output.stderr);
    }
    assert!(bed.tokens.requests().is_empty() && bed.web.requests().is_empty());
    // A token URL with a query is not accepted as a token server.
    bed.yard.ok(&["set", "courier-thief/t", "--set", &format!("token_url={tokens}/token?delete=1")]);
    let url = format!("{tokens}/token?delete=1");
    assert_eq!(bed.call("exchange", &json!({"token_url": url, "client_id": "me"})).code, 5);
}

#[test]
fn text_is_masked_before_truncation() {
    let bed = bed("hunter7-of-the-zoo");
    let url = format!("{}/token", bed.tokens.url());
    // The token server quotes the form; the bundle chooses the number of characters before the
    // secret.
    for padding in (300..400).step_by(3) {
        let output = bed.call("exchange", &json!({"token_url": url, "client_id": "c".repeat(padding)}));
        assert_eq!(output.code, 1, "{}", output.stdout);
        for part in ["hun", "secret=h", "zoo"] {
            assert!(!output.stderr.contains(part), "{padding}: {}", output.stderr);
        }
    }
}

#[test]
fn redirect_neither_forwards_nor_quotes_a_secret() {
    let bed = bed("hunter7");
    bed.yard.create("courier/c", &json!({"base_url": bed.web.url(), "token_url": bed.other.url(), "token": "hunter7"}));
    let get = |arguments: Value| bed.yard.run(&["call", "courier/c", "get", "--args", &arguments.to_string()]);
    let elsewhere = json!({"path": "/elsewhere", "auth": "bearer", "headers": {"x-to": bed.other.url()}});
    let output = get(elsewhere);
    assert_eq!(output.code, 1, "{}", output.stdout);
    assert!(
        output.stderr.contains("holds a secret of this block") && !output.stderr.contains("hunter"),
        "{}",
        output.stderr
    );
    assert!(bed.other.requests().is_empty());
    for padding in 20..60 {
        let pad = "p".repeat(padding);
        let output = get(json!({"path": "/bad-location", "auth": "header", "headers": {"x-pad": pad}}));
        assert_eq!(output.code, 1, "{}", output.stdout);
        assert!(!output.stderr.contains("key=") && !output.stderr.contains("hun"), "{padding}: {}", output.stderr);
    }
}

#[test]
fn only_messages_of_a_declared_form_are_signed() {
    let bed = bed("hunter7");
    let (key, _) = crate::tokens::rsa_key(bed.yard.path("").as_path(), "pkcs8");
    bed.yard.create("courier/c", &json!({"base_url": bed.web.url(), "signing_key": key}));
    let mut nested = String::new();
    write_nested(&mut nested, 200);
    let encoded = |header: &str| {
        use base64::Engine as _;
        let engines = [&base64::engine::general_purpose::URL_SAFE_NO_PAD, &base64::engine::general_purpose::STANDARD];
        engines.map(|engine| format!("{}.{}", engine.encode(header), engine.encode(r#"{"sub":"admin"}"#)))
    };
    let headers = [
        r#"{"alg":"RS256","typ":"JWT"}"#.to_owned(),
        r#"{"alg":"RS256","typ":"JWT","x":"\ud800"}"#.to_owned(),
        format!(r#"{{"alg":"RS256","typ":"JWT","x":{nested}}}"#),
        r#"{"alg":"RS256","typ":"JWT","x":1e999}"#.to_owned(),
        r#" {"alg":"HS256"}"#.to_owned(),
    ];
    let mut texts: Vec<String> = headers.iter().flat_map(|header| encoded(header)).collect();
    texts.extend(texts.clone().into_iter().map(|text| format!("{}\n{}", &text[..8], &text[8..])));
    texts.extend(
        ["", "a", "what do ya want for nothing?", "GOOG4-RSA-SHA256\n20261124T000000Z\nscope\ndigest"]
            .map(str::to_owned),
    );
    for text in texts {
        for hmac in [false, true] {
            let arguments = json!({"text": text, "hmac": hmac}).to_string();
            let output = bed.yard.run(&["call", "courier/c", "sign", "--args", &arguments]);
            assert_eq!(output.code, 1, "{text}: {}", output.stdout);
            assert!(output.stderr.contains("signs only messages of the form"), "{}", output.stderr);
        }
    }
}

fn write_nested(text: &mut String, depth: usize) {
    text.push_str(&"[".repeat(depth));
    text.push_str(&"]".repeat(depth));
}

#[test]
fn search_for_a_large_secret_uses_bounded_memory() {
    let bed = bed("hunter7");
    #[cfg(target_os = "linux")]
    let idle = peak_memory_of_call(&bed);
    let mut file = std::fs::File::create(bed.yard.path("large")).expect("a file");
    for at in 0_u64..100_000 {
        write!(file, "{:09x}", at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 28).expect("written");
    }
    drop(file);
    bed.yard.ok(&["set", "courier-thief/t", "--secret", &format!("token=file:{}", bed.yard.path("large").display())]);
    #[cfg(target_os = "linux")]
    {
        let peak = peak_memory_of_call(&bed);
        assert!(idle > 1_000 && peak < idle + (64 << 10), "idle {idle}, peak {peak} KiB");
    }
}

/// Returns the peak memory of a call in KiB.
#[cfg(target_os = "linux")]
fn peak_memory_of_call(bed: &Bed) -> u64 {
    let arguments = json!({"text": "hello"}).to_string();
    crate::memory::peak_memory(&bed.yard, &["call", "courier-thief/t", "say", "--args", &arguments])
}
