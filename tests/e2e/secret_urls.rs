//! Secrets in URLs and bodies: a bundle that uses the secret URL of its block (`courier-hook`), and a
//! secret in a body, and tries to learn them, with an honest server that echoes requests.

use blockyard_tests::web::{Answer, Web};
use blockyard_tests::{CommandOutput, TestYard, bundle};
use serde_json::{Value, json};

const TOKEN: &str = "k9zq4x7wk9zq4x7wk9zq4x7w";

const KEY: &str = "key \"of\" the \\ zoo";

/// A block with a secret URL on a server that echoes requests, and another server.
struct Bed {
    yard: TestYard,
    web: Web,
    other: Web,
}

fn bed() -> Bed {
    let other = Web::start(|_| Answer::text("thanks"));
    let elsewhere = other.url();
    let web = Web::start(move |request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        match request.method.as_str() {
            "PUT" => Answer::redirect(307, &format!("{elsewhere}{}", request.target)),
            "HEAD" => Answer::redirect(302, &format!("{elsewhere}{}", request.target)),
            "DELETE" => Answer { status: 404, ..Answer::text(format!("Cannot {} {}", request.method, request.target)) },
            _ => Answer::text(format!("{} {body}", request.target)).header("x-target", &request.target),
        }
    });
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard.ok(&["install", &bundle("courier"), "--yes"]);
    for server in [&web, &other] {
        yard.ok(&["grant", "courier", &format!("http {}", server.url())]);
    }
    let bed = Bed { yard, web, other };
    bed.create("courier-hook/h", &format!("{}/hooks/{TOKEN}?v=1", bed.web.url()));
    bed
}

impl Bed {
    fn create(&self, address: &str, url: &str) {
        let config = json!({
            "base_url": self.web.url(), "other_url": self.other.url(), "url": url, "token": "t0ken-of-the-zoo",
            "key": KEY,
        });
        self.yard.create(address, &config);
    }

    fn call(&self, operation: &str, arguments: &Value) -> CommandOutput {
        self.yard.run(&["call", "courier-hook/h", operation, "--args", &arguments.to_string(), "--json", "--yes"])
    }
}

#[test]
fn no_output_contains_the_url() {
    let bed = bed();
    let output = bed.call("post", &json!({"text": "hello", "query": "a b"}));
    assert_eq!(output.code, 0, "{}", output.stderr);
    let sent = bed.web.requests();
    assert_eq!((sent.len(), sent[0].target.as_str()), (1, format!("/hooks/{TOKEN}?v=1&q=a%20b").as_str()));
    assert_eq!(sent[0].body, b"hello");
    let shown: Vec<String> = serde_json::from_str(&output.stdout).expect("JSON");
    assert!(shown.contains(&"x-target: ********&q=a%20b".to_owned()), "{shown:?}");
    assert!(shown.contains(&"********&q=a%20b hello".to_owned()), "{shown:?}");
    // URLs of another service, or with something that is not sent, are refused before a request.
    for (at, url) in [
        format!("{}/hooks/{TOKEN}", bed.other.url()),
        format!("https://me:{TOKEN}@hooks.example/"),
        format!("{}/hooks/{TOKEN}#part", bed.web.url()),
        format!("{}/hooks/{TOKEN} ", bed.web.url()),
        format!("ftp://{TOKEN}.example/"),
        TOKEN.to_owned(),
    ]
    .iter()
    .enumerate()
    {
        bed.create(&format!("courier-hook/wrong{at}"), url);
        let refused = bed.yard.fails(1, &["call", &format!("courier-hook/wrong{at}"), "post", "--text", "x", "-v"]);
        assert!(refused.contains("the secret `/url` is not a URL of its audience"), "{url}: {refused}");
        assert!(!refused.contains(TOKEN), "{url}: {refused}");
    }
    assert_eq!((bed.web.requests().len(), bed.other.requests().len()), (1, 0));
    for output in [bed.yard.ok(&["audit", "--json"]), bed.yard.ok(&["show", "courier-hook/h", "--json"])] {
        assert!(!output.contains(TOKEN), "{output}");
    }
    assert_eq!(bed.yard.any_file_contains(TOKEN), None);
}

#[test]
fn bundle_cannot_misuse_a_secret_url() {
    let bed = bed();
    for (how, code, message) in [
        ("bearer", 1, "the secret `/url` may not be sent in the header `authorization`"),
        ("basic", 1, "the secret `/url` may not be sent in the header `authorization`"),
        ("header", 1, "the secret `/url` may not be sent in the header `x-api-key`"),
        ("undeclared", 1, "the secret `/token` may not be the URL of a request"),
        ("other-server", 1, "must name its origin"),
        ("path", 1, "must name its origin"),
    ] {
        let output = bed.call("misuse", &json!({"how": how}));
        assert_eq!(output.code, code, "{how}: {}", output.stderr);
        assert!(output.stderr.contains(message) && !output.stderr.contains(TOKEN), "{how}: {}", output.stderr);
    }
    assert!(bed.web.requests().is_empty() && bed.other.requests().is_empty());
    // An echo of the URL is not forwarded to another server.
    let bounced = bed.call("bounce", &json!({}));
    assert_ne!(bounced.code, 0, "{}", bounced.stdout);
    assert!(bed.other.requests().iter().all(|request| !String::from_utf8_lossy(&request.body).contains("k9zq")));
    // A guess is not sent.
    let guess = bed.yard.run(&["call", "courier-hook/h", "post", "--text", &format!("is it {TOKEN} ?")]);
    assert_ne!(guess.code, 0, "{}", guess.stdout);
    assert!(bed.yard.ok(&["audit", "--json"]).contains("stop-guessing"));
}

#[test]
fn read_operation_does_not_post_to_a_secret_url() {
    let bed = bed();
    for method in ["POST", "PUT", "DELETE"] {
        let output = bed.call("read", &json!({"method": method}));
        assert_eq!(output.code, 7, "{method}: {}", output.stderr);
        assert!(!output.stderr.contains(TOKEN), "{method}: {}", output.stderr);
    }
    assert!(bed.web.requests().is_empty());
    // A redirect is returned, masked, and not followed.
    let output = bed.call("read", &json!({"method": "HEAD"}));
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains("\"302\"") && !output.stdout.contains(TOKEN), "{}", output.stdout);
    assert_eq!((bed.web.requests().len(), bed.other.requests().len()), (1, 0));
}

#[test]
fn secret_is_sent_only_in_members_of_the_schema() {
    let bed = bed();
    let sent = bed.call("member", &json!({"name": "routing_key", "text": r#"{"n": 1.10}"#}));
    assert_eq!(sent.code, 0, "{}", sent.stderr);
    let body: Value = serde_json::from_slice(&bed.web.requests()[0].body).expect("JSON");
    assert_eq!((&body["routing_key"], body["n"].to_string().as_str()), (&json!(KEY), "1.10"));
    assert!(!sent.stdout.contains("zoo") && sent.stdout.contains("********"), "{}", sent.stdout);
    for (arguments, message) in [
        (json!({"name": "note", "text": "{}"}), "may not be sent as the member `note`"),
        (json!({"name": "routing_key", "text": "[]"}), "the body must be a JSON object"),
        (json!({"name": "routing_key", "text": r#"{"routing\u005fkey": 1}"#}), "which the host adds"),
        (json!({"name": "routing_key", "text": "{}", "elsewhere": true}), "may not be sent to"),
        (json!({"name": "", "text": "{}", "header": true}), "may not be sent in the header `authorization`"),
    ] {
        let refused = bed.call("member", &arguments);
        assert_ne!(refused.code, 0, "{arguments}: {}", refused.stdout);
        assert!(refused.stderr.contains(message), "{arguments}: {}", refused.stderr);
    }
    let wrong = bed.call("scheme", &json!({"scheme": "Genie\r\nHost: x"}));
    assert!(wrong.code == 1 && wrong.stderr.contains("is not a scheme"), "{}", wrong.stderr);
    assert_eq!((bed.web.requests().len(), bed.other.requests().len()), (1, 0));
    let sent = bed.call("scheme", &json!({"scheme": "GenieKey"}));
    assert_eq!(sent.code, 0, "{}", sent.stderr);
    assert_eq!(bed.web.requests()[1].header("authorization"), "GenieKey t0ken-of-the-zoo");
}
