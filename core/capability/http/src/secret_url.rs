//! Secret URLs: requests to a URL that is a secret of the block, such as an incoming webhook. The guest
//! knows only its origin.

use blockyard_call::{Fault, Problem, Secret};
use blockyard_model::{Pointer, RequestUrl};
use wasmtime::component::Resource;

use super::request::SecretUrl;
use crate::view::HttpView;

impl HttpView<'_> {
    /// Returns the secret URL behind a handle. Its schema must permit the use as a URL, and its
    /// audience must include the origin of the URL.
    pub(super) fn secret_url(&self, handle: &Resource<Secret>) -> Result<SecretUrl, Fault> {
        let (pointer, secret) = self.call.secret(handle)?;
        if !secret.uses.url {
            let problem = Problem::new("denied", format!("the secret `{pointer}` may not be the URL of a request"));
            return Err(problem
                .hint("upgrade the bundle: the schema of the block type does not permit this use of the secret")
                .into());
        }
        let url = RequestUrl::parse_secret(&secret.value).map_err(|error| invalid(pointer, &error.to_string()))?;
        if !secret.uses.is_for(&url.origin) {
            // The origin is not named: it may belong to a secret that was stored in the wrong field.
            let audience: Vec<String> = secret.uses.audience.iter().map(|audience| format!("`{audience}`")).collect();
            let reason = match audience.is_empty() {
                true => "has no permitted origin".to_owned(),
                false => format!("is not one of {}", audience.join(", ")),
            };
            return Err(invalid(pointer, &reason).into());
        }
        Ok(SecretUrl { url, secret: pointer.clone() })
    }

    /// Returns the URL to which a request is sent: the secret URL, with the query of the request's own
    /// URL. The rest of that URL must be the origin of the secret.
    pub(super) fn sent_to(secret: SecretUrl, url: &RequestUrl) -> Result<SecretUrl, Problem> {
        let (path, query) =
            url.target.split_once('?').map_or((url.target.as_str(), None), |(path, query)| (path, Some(query)));
        if url.origin != secret.url.origin || path != "/" {
            let message = format!(
                "a request to the URL in the secret `{}` must name its origin, `{}`, without a path",
                secret.secret, secret.url.origin
            );
            return Err(Problem::new("invalid", message));
        }
        Ok(match query {
            None | Some("") => secret,
            Some(query) => SecretUrl { url: secret.url.with_query(query), ..secret },
        })
    }
}

/// The problem of a secret that is not a URL to which the block may send requests.
fn invalid(pointer: &Pointer, reason: &str) -> Problem {
    Problem::new("invalid", format!("the secret `{pointer}` is not a URL of its audience: it {reason}"))
        .hint("store the complete URL, as the service shows it")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};

    use blockyard_call::bindings::blockyard::bundle::types::Host as _;
    use blockyard_call::{CallContext, CallSecret, EffectViolation};
    use blockyard_model::{Capability, Effect, SecretKeyword, SecretValue};
    use serde_json::json;

    use super::*;
    use crate::HttpContext;
    use crate::bindings::blockyard::bundle::http::{Auth, Host as _, Request, Response, SecretForm, SecretHeader};

    const TOKEN: &str = "XXXXXXXXXXXXXXXXXXXXXXXX";

    /// Starts a server that answers each request, in whose text `REQUEST` is replaced by its first line.
    /// Returns its origin and the first lines of the requests.
    fn server(response: impl Into<String>) -> (String, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, requests) = channel();
        let response = response.into();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.expect("a connection"));
                let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
                while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                    let lower = line.to_ascii_lowercase();
                    length = lower
                        .strip_prefix("content-length:")
                        .map_or(length, |value| value.trim().parse().expect("a length"));
                    if first.is_empty() {
                        line.trim().clone_into(&mut first);
                    }
                    line.clear();
                }
                stream.read_exact(&mut vec![0; length]).expect("the body");
                let (head, body) = response.split_once("\n\n").unwrap_or((&response, ""));
                let (head, body) = (head.replace("REQUEST", &first), body.replace("REQUEST", &first));
                let head = head.replace('\n', "\r\n");
                let text =
                    format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.into_inner().write_all(text.as_bytes());
                if sender.send(first).is_err() {
                    return;
                }
            }
        });
        (origin, requests)
    }

    /// A call of a block whose secret `/url` has the keyword `x-secret`.
    struct Call {
        context: CallContext,
        http: HttpContext,
    }

    impl Call {
        fn new(secret: &str, keyword: &serde_json::Value, effect: Effect, capabilities: &[String]) -> Self {
            let capabilities: BTreeSet<Capability> =
                capabilities.iter().map(|text| text.parse().expect("a capability")).collect();
            let value = SecretValue::new(secret.to_owned());
            let secret = CallSecret { value, uses: SecretKeyword::read(keyword).expand(&serde_json::Value::Null) };
            let secrets = BTreeMap::from([(Pointer::new("/url"), secret)]);
            let safe = vec!["POST http://127.0.0.1/".parse().expect("a safe request")];
            let http = HttpContext::new(Arc::default(), &capabilities, safe);
            let (bundle, block) = ("zoo".to_owned(), "zoo/a@1".to_owned());
            let context =
                CallContext::new(bundle, effect, serde_json::Value::Null, block, secrets, Arc::new(capabilities));
            Self { context, http }
        }

        /// A block with a secret URL on a server that the bundle may reach.
        fn of(origin: &str, secret: &str) -> Self {
            let keyword = json!({"audience": origin, "url": true});
            Self::new(secret, &keyword, Effect::Write, &[format!("http {origin}")])
        }

        fn secret(&mut self) -> Resource<Secret> {
            self.context.table.push(Secret { pointer: Pointer::new("/url") }).expect("a handle")
        }

        fn view(&mut self) -> HttpView<'_> {
            HttpView { call: &mut self.context, http: &self.http }
        }

        /// Returns the origin of the secret, or the code and the message of the problem.
        async fn origin(&mut self) -> Result<String, (String, String)> {
            let secret = self.secret();
            match self.view().secret_origin(secret).await {
                Ok(origin) => Ok(origin),
                Err(fault) => {
                    let problem = self.context.convert_problem(fault).expect("the call goes on");
                    Err((problem.code, problem.message))
                }
            }
        }

        async fn send(&mut self, method: &str, url: &str) -> wasmtime::Result<Result<Response, (String, String)>> {
            let auth = Auth::Url(self.secret());
            self.send_as(auth, Vec::new(), method, url).await
        }

        async fn send_as(
            &mut self,
            auth: Auth,
            headers: Vec<SecretHeader>,
            method: &str,
            url: &str,
        ) -> wasmtime::Result<Result<Response, (String, String)>> {
            let (method, url) = (method.to_owned(), url.to_owned());
            let request = Request { method, url, headers: Vec::new(), timeout_ms: None };
            match self.view().send(request, auth, headers, None).await {
                Ok(response) => Ok(Ok(response)),
                Err(fault) => self.context.convert_problem(fault).map(|problem| Err((problem.code, problem.message))),
            }
        }

        async fn text(&mut self, response: Response) -> String {
            use blockyard_call::bindings::blockyard::bundle::streams::HostBody as _;
            let mut bytes = Vec::new();
            loop {
                let body = Resource::new_borrow(response.body.rep());
                match self.context.read(body, 1 << 20).await {
                    Ok(Some(chunk)) => bytes.extend(chunk),
                    Ok(None) => return String::from_utf8(bytes).expect("text"),
                    Err(_) => panic!("the body is readable"),
                }
            }
        }
    }

    #[tokio::test]
    async fn a_request_is_sent_to_the_secret_url() {
        let (origin, requests) = server("200 OK\nx-echo: REQUEST\n\nyou sent REQUEST");
        let mut call = Call::of(&origin, &format!("{origin}/services/T01/{TOKEN}?v=1"));
        assert_eq!(call.origin().await.as_deref(), Ok(origin.as_str()));
        for (url, sent) in [
            (origin.clone(), format!("POST /services/T01/{TOKEN}?v=1 HTTP/1.1")),
            (format!("{origin}/"), format!("POST /services/T01/{TOKEN}?v=1 HTTP/1.1")),
            (format!("{origin}/?wait=true"), format!("POST /services/T01/{TOKEN}?v=1&wait=true HTTP/1.1")),
        ] {
            let response = call.send("POST", &url).await.expect("the call goes on").expect("a response");
            assert_eq!(requests.recv().expect("a request"), sent);
            // What the server echoes is masked.
            let echo = response.headers.iter().find(|(name, _)| name == "x-echo").expect("the header");
            assert!(echo.1.starts_with("POST ********") && !echo.1.contains(TOKEN), "{}", echo.1);
            let text = call.text(response).await;
            assert!(text.starts_with("you sent POST ********") && !text.contains(TOKEN), "{text}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        for code in ["301", "302", "303", "307", "308"] {
            let (elsewhere, other) = server("200 OK");
            let (origin, requests) = server(format!("{code} Found\nlocation: {elsewhere}/?from=/x/{TOKEN}"));
            let mut call = Call::of(&origin, &format!("{origin}/x/{TOKEN}"));
            for method in ["GET", "POST"] {
                let response = call.send(method, &origin).await.expect("the call goes on").expect("a response");
                assert_eq!(response.status.to_string(), code);
                let location = response.headers.iter().find(|(name, _)| name == "location").expect("the header");
                assert_eq!(location.1, format!("{elsewhere}/?from=********"));
                assert!(requests.recv().expect("a request").contains(TOKEN));
            }
            assert!(other.try_recv().is_err(), "{code}");
        }
    }

    #[tokio::test]
    async fn a_url_outside_of_the_audience_is_refused() {
        let audience = "https://*.hooks.example";
        for (secret, reason) in [
            ("https://evil.example/s3cretpath", "it is not one of `https://*.hooks.example`"),
            ("https://hooks.example/s3cretpath", "it is not one of `https://*.hooks.example`"),
            ("http://a.hooks.example/s3cretpath", "it is not one of `https://*.hooks.example`"),
            ("https://a.hooks.example:8443/s3cretpath", "it is not one of `https://*.hooks.example`"),
            (
                "https://a.hooks.example@evil.example/s3cretpath",
                "it has a user before the host; store credentials as secrets",
            ),
            ("https://me:s3cretpath@a.hooks.example/", "it has a user before the host; store credentials as secrets"),
            ("https://a.hooks.example/#s3cretpath", "it has a fragment (`#`), which is not sent to servers"),
            ("ftp://a.hooks.example/s3cretpath", "it has a scheme that is neither `http` nor `https`"),
            ("https://a.hooks.example/s3cretpath\r\nHost: b", "it has a character that must be percent-encoded"),
            ("s3cretpath", "it has no scheme; write `https://HOST` or `http://HOST`"),
        ] {
            let keyword = json!({"audience": audience, "url": true});
            let mut call = Call::new(secret, &keyword, Effect::Write, &["http https://*.hooks.example".to_owned()]);
            let expected = ("invalid".to_owned(), format!("the secret `/url` is not a URL of its audience: {reason}"));
            assert_eq!(call.origin().await, Err(expected.clone()), "{secret}");
            let sent = call.send("POST", "https://a.hooks.example").await.expect("the call goes on");
            assert_eq!(sent.err(), Some(expected), "{secret}");
        }
    }

    #[tokio::test]
    async fn the_schema_must_permit_the_url() {
        for keyword in [
            json!({"audience": "https://a.example"}),
            json!({"audience": "https://a.example", "url": false}),
            json!({"audience": "https://a.example", "header": ["x-key"]}),
            json!({"audience": "https://a.example", "url": "https://a.example"}),
        ] {
            let grants = ["http https://a.example".to_owned()];
            let mut call = Call::new("https://a.example/s3cret", &keyword, Effect::Write, &grants);
            let denied = ("denied".to_owned(), "the secret `/url` may not be the URL of a request".to_owned());
            assert_eq!(call.origin().await, Err(denied.clone()), "{keyword}");
            let sent = call.send("POST", "https://a.example").await.expect("the call goes on");
            assert_eq!(sent.err(), Some(denied), "{keyword}");
        }
    }

    #[tokio::test]
    async fn a_secret_url_is_not_put_into_a_header() {
        let (origin, requests) = server("200 OK");
        let mut call = Call::of(&origin, &format!("{origin}/x/{TOKEN}"));
        let (bearer, basic) = (Auth::Bearer(call.secret()), Auth::Basic(("me".to_owned(), call.secret())));
        let secret = call.secret();
        let header = SecretHeader { name: "x-key".to_owned(), secret, form: SecretForm::Plain };
        for (auth, headers) in [(bearer, Vec::new()), (basic, Vec::new()), (Auth::None, vec![header])] {
            let sent = call.send_as(auth, headers, "POST", &origin).await.expect("the call goes on");
            let (code, message) = sent.expect_err("a problem");
            assert_eq!(code, "denied");
            assert!(message.starts_with("the secret `/url` may not be sent in the header"), "{message}");
        }
        assert!(requests.try_recv().is_err());
    }

    #[tokio::test]
    async fn the_url_of_the_request_is_the_origin() {
        let (origin, requests) = server("200 OK");
        let mut call = Call::of(&origin, &format!("{origin}/x/{TOKEN}"));
        for url in ["http://127.0.0.1:1", "https://a.example", &format!("{origin}/x"), &format!("{origin}//")] {
            let (code, message) = call.send("POST", url).await.expect("the call goes on").expect_err("a problem");
            assert_eq!(code, "invalid");
            assert_eq!(
                message,
                format!("a request to the URL in the secret `/url` must name its origin, `{origin}`, without a path")
            );
        }
        assert!(requests.try_recv().is_err());
        // The manifest and the yard must permit the origin.
        let keyword = json!({"audience": origin, "url": true});
        let mut call = Call::new(&format!("{origin}/x/{TOKEN}"), &keyword, Effect::Write, &[]);
        let (code, message) = call.send("POST", &origin).await.expect("the call goes on").expect_err("a problem");
        assert_eq!(code, "not-granted");
        assert!(!message.contains(TOKEN), "{message}");
    }

    #[tokio::test]
    async fn no_declaration_makes_a_request_to_a_secret_url_safe() {
        let keyword = json!({"audience": "http://127.0.0.1", "url": true});
        let grants = ["http http://127.0.0.1".to_owned()];
        let mut call = Call::new(&format!("http://127.0.0.1/x/{TOKEN}"), &keyword, Effect::Read, &grants);
        let error = call.send("POST", "http://127.0.0.1").await.expect_err("the call ends");
        assert!(error.is::<EffectViolation>() && !format!("{error:?}").contains(TOKEN), "{error:?}");
    }

    #[tokio::test]
    async fn a_failed_connection_does_not_name_the_url() {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let origin = format!("http://127.0.0.1:{port}");
        let mut call = Call::of(&origin, &format!("{origin}/x/{TOKEN}"));
        let (code, message) = call.send("POST", &origin).await.expect("the call goes on").expect_err("a problem");
        assert_eq!(code, "unavailable");
        assert!(message.contains("127.0.0.1") && !message.contains("/x") && !message.contains(TOKEN), "{message}");
    }

    #[tokio::test]
    async fn a_guess_is_not_sent_beside_a_secret_url() {
        let (origin, requests) = server("200 OK");
        let mut call = Call::of(&origin, &format!("{origin}/x/{TOKEN}"));
        assert!(call.send("POST", &format!("{origin}/?guess={TOKEN}")).await.is_err(), "the call ends");
        assert!(requests.try_recv().is_err());
    }
}
