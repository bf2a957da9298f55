//! Block type `http-endpoint`: an HTTP server that files are downloaded from and uploaded to.

use std::collections::BTreeMap;
use std::time::Duration;

use blockyard_sdk::http::{self, Request, Response};
use blockyard_sdk::prelude::*;
use blockyard_sdk::{StepStatus, clock};

/// Base URL of an HTTP server, with optional credentials.
#[derive(Block)]
#[block(type = "http-endpoint", version = 1, title = "HTTP endpoint")]
pub(crate) struct HttpEndpoint {
    /// Base URL, prepended to every path, e.g. `https://example.com/data`.
    base_url: String,
    /// Headers of every request, e.g. `{"accept": "text/csv"}`. Must not contain secrets.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Bearer token (`Authorization: Bearer`).
    #[block(audience = "{config.base_url}")]
    token: Option<Secret<String>>,
    /// User name for basic authentication (`Authorization: Basic`). Requires `password`.
    username: Option<String>,
    /// Password for basic authentication. Requires `username`.
    #[block(audience = "{config.base_url}")]
    password: Option<Secret<String>>,
}

/// Metadata of a response.
#[data]
struct Fetched {
    /// HTTP status code.
    status: u16,
    /// Media type of the response body.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    /// Time of the last modification, as sent by the server, e.g. `Wed, 21 Oct 2015 07:28:00 GMT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
    /// Entity tag of the response body.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

/// HTTP method of an upload.
#[data]
#[derive(Clone, Copy, Default)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    #[default]
    Post,
    Put,
    Patch,
}

#[operations]
impl HttpEndpoint {
    /// Downloads the content at a path with GET. Retries after connection errors and status 408,
    /// 429 or 5xx.
    #[operation(read)]
    fn get(
        &self,
        /// Path relative to the base URL, e.g. `2024/01/flights.csv`.
        path: String,
        /// Query parameters, e.g. `{"year": "2024"}`.
        #[serde(default)]
        query: BTreeMap<String, String>,
    ) -> Result<Streamed<Fetched>> {
        let url = self.url(&path)?;
        let sent = crate::RETRIES.send(|| {
            let query = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            Ok(self.sign(http::get(url.as_str()).query(query)))
        })?;
        fetched(sent.response)
    }

    /// Uploads the input to a path. The request is never retried, because it may already have taken
    /// effect.
    #[operation(write)]
    fn send(
        &self,
        /// Path relative to the base URL, e.g. `2024/01/flights.csv`.
        path: String,
        /// HTTP method: `POST`, `PUT` or `PATCH`. Default: `POST`.
        #[serde(default)]
        method: Method,
        /// Query parameters, e.g. `{"year": "2024"}`.
        #[serde(default)]
        query: BTreeMap<String, String>,
        /// Media type of the upload, e.g. `text/csv`. Default: the media type of the input.
        content_type: Option<String>,
        input: Body,
    ) -> Result<Streamed<Fetched>> {
        let method = match method {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
        };
        let content_type = content_type.unwrap_or_else(|| input.media_type());
        let query = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = http::request(method, self.url(&path)?).query(query).body(input);
        // The media type of an input can be unknown.
        let request = if content_type.is_empty() { request } else { request.header("content-type", content_type) };
        fetched(self.sign(request).send()?)
    }

    /// Deletes the resource at a path with DELETE.
    #[operation(destructive)]
    fn delete(
        &self,
        /// Path relative to the base URL, e.g. `2024/01/flights.csv`.
        path: String,
    ) -> Result<()> {
        self.sign(http::delete(self.url(&path)?)).send()?.ok().map(drop)
    }

    /// Sends a HEAD request to the base URL.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let request = http::request("HEAD", self.base_url.as_str()).timeout(Duration::from_secs(30));
        let answer = self.sign(request).send();
        let (connect, authorise) = match answer {
            Err(problem) => ((StepStatus::Failed, Some(problem.to_string())), (StepStatus::Skipped, None)),
            Ok(answer) => {
                let detail = format!("status {}", answer.status);
                // The base URL itself may not exist, or may not support HEAD.
                let fine = matches!(answer.status, 200..=399 | 404 | 405);
                let status = if fine { StepStatus::Passed } else { StepStatus::Failed };
                ((StepStatus::Passed, None), (status, Some(detail)))
            }
        };
        [("connect", connect), ("authorise", authorise)]
            .map(|(name, (status, detail))| Step::new(name, status, detail, started))
            .into()
    }

    /// Checks that the base URL is valid, and that at most one kind of credentials is configured.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        if let Some(wrong) = crate::mistake(&self.base_url) {
            violations.push(Violation::new("/base_url", wrong));
        } else if self.base_url.contains('?') {
            violations.push(Violation::new("/base_url", "must not have a query; pass `query` to an operation"));
        }
        if self.token.is_some() && self.password.is_some() {
            violations.push(Violation::new("/token", "`token` and `password` must not be set together"));
        }
        if self.username.is_some() != self.password.is_some() {
            violations.push(Violation::new("/username", "`username` and `password` must be set together"));
        }
        violations
    }
}

impl HttpEndpoint {
    fn url(&self, path: &str) -> Result<String> {
        join(&self.base_url, path)
    }

    fn sign(&self, request: Request) -> Request {
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        match (&self.token, &self.username, &self.password) {
            (Some(token), ..) => request.bearer(token),
            (_, Some(username), Some(password)) => request.basic(username, password),
            _ => request,
        }
    }
}

/// Returns the URL of a path below a base URL. Rejects paths that could leave the base URL.
fn join(base: &str, path: &str) -> Result<String> {
    let wrong = if path.split(['/', '\\']).any(|part| matches!(part, "." | "..")) {
        Some("contains `.` or `..`, which could leave the base URL")
    } else if path.contains(['?', '#']) {
        Some("contains `?` or `#`; pass query parameters as `query`")
    } else if path.chars().any(char::is_control) {
        Some("contains a control character")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        return Err(Problem::invalid(format!("the path `{}` {wrong}", path.escape_debug())));
    }
    let encoded: Vec<String> = path.trim_start_matches('/').split('/').map(http::percent_encode).collect();
    Ok(format!("{}/{}", base.trim_end_matches('/'), encoded.join("/")))
}

fn fetched(answer: Response) -> Result<Streamed<Fetched>> {
    let answer = answer.ok()?;
    let header = |name: &str| answer.header(name).map(str::to_owned);
    let result = Fetched {
        status: answer.status,
        content_type: header("content-type"),
        last_modified: header("last-modified"),
        etag: header("etag"),
    };
    Ok(Streamed { result, body: answer.body })
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::fake::{self, Host};

    use super::*;

    const BASE: &str = "https://example.com/data";

    fn config() -> Value {
        json!({ "base_url": BASE, "headers": { "accept": "text/csv" } })
    }

    #[test]
    fn paths_outside_the_base_url_are_rejected() {
        let joined = |base: &str, path: &str| join(base, path).expect("a path");
        assert_eq!(
            joined("https://a.example/data/", "/2013/02/fl ü.csv"),
            "https://a.example/data/2013/02/fl%20%C3%BC.csv"
        );
        assert_eq!(joined("https://a.example", ""), "https://a.example/");
        for path in ["../x", "a/../../x", "a/./b", "a?b=c", "a#b", "a\nb", "..\\x"] {
            assert!(join("https://a.example/data", path).is_err(), "{path}");
        }
        // Existing percent-encoding is encoded again, so that it is not interpreted.
        assert_eq!(joined("https://a.example", "%2e%2e/x"), "https://a.example/%252e%252e/x");
    }

    #[test]
    fn a_download_is_retried_and_passed_on() {
        let flights = fake::status(200)
            .header("etag", "\"7\"")
            .header("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT")
            .chunks("text/csv", ["a,b\n", "1,2\n"]);
        let host = Host::new().secret("/token", "t0ken").http(
            fake::get("https://example.com/data/2024/flights.csv")
                .query([("year", "2024"), ("of", "a b")])
                .header("accept", "text/csv")
                .bearer("/token")
                .replies(fake::status(503).header("retry-after", "10"))
                .replies(fake::unreachable())
                .replies(flights),
        );
        let endpoint = host.block::<HttpEndpoint>(config());
        let arguments = json!({ "path": "2024/flights.csv", "query": { "year": "2024", "of": "a b" } });
        let reply = endpoint.call("get", arguments).expect("a file");
        let result = json!({
            "status": 200,
            "content_type": "text/csv",
            "last_modified": "Wed, 21 Oct 2015 07:28:00 GMT",
            "etag": "\"7\"",
        });
        assert_eq!(reply.result(), &result);
        assert_eq!(reply.output().expect("the file"), b"a,b\n1,2\n");
        assert!((12..14).contains(&host.elapsed().as_secs()), "the waits are 10 s, and 2 s with jitter");
    }

    #[test]
    fn a_download_fails_with_the_message_of_the_server() {
        let missing = fake::status(404).body("text/plain", "no flights in 2023");
        let host = Host::new().http(fake::get("https://example.com/data/x").anonymous().replies(missing));
        let endpoint = host.block::<HttpEndpoint>(config());
        let problem = endpoint.call("get", json!({ "path": "x" })).expect_err("no file");
        assert_eq!(problem.code(), "not-found");
        assert_eq!(problem.message(), "the server responded with status 404: no flights in 2023");
    }

    #[test]
    fn an_upload_is_sent_once() {
        let host = Host::new()
            .secret("/password", "pw")
            .http(
                fake::post("https://example.com/data/in")
                    .basic("ann", "/password")
                    .header("content-type", "text/csv")
                    .body("a,b\n")
                    .replies(503),
            )
            .http(
                fake::put("https://example.com/data/in?dry=1")
                    .header("content-type", "text/plain")
                    .replies(fake::status(201).header("etag", "\"8\"")),
            );
        let endpoint = host.block::<HttpEndpoint>(json!({ "base_url": BASE, "username": "ann" }));
        let input = || Body::from_bytes("text/csv", b"a,b\n");
        let problem = endpoint.call_with_input("send", json!({ "path": "in" }), input()).expect_err("unavailable");
        assert_eq!((problem.code(), host.requests().len()), ("unavailable", 1));
        let arguments = json!({ "path": "in", "method": "PUT", "query": { "dry": "1" }, "content_type": "text/plain" });
        let reply = endpoint.call_with_input("send", arguments, input()).expect("uploaded");
        assert_eq!(reply.result(), &json!({ "status": 201, "etag": "\"8\"" }));
    }

    #[test]
    fn a_resource_is_deleted_without_a_retry() {
        let host = Host::new().http(fake::delete("https://example.com/data/x").replies(204).replies(503));
        let endpoint = host.block::<HttpEndpoint>(config());
        assert_eq!(endpoint.call("delete", json!({ "path": "x" })).expect("deleted").result(), &Value::Null);
        assert_eq!(endpoint.call("delete", json!({ "path": "x" })).expect_err("unavailable").code(), "unavailable");
    }

    #[test]
    fn a_check_reports_connection_and_credentials() {
        let statuses = |host: &Host| -> Vec<StepStatus> {
            let steps = host.block::<HttpEndpoint>(config()).check().expect("steps");
            steps.into_iter().map(|step| step.status).collect()
        };
        let (passed, failed, skipped) = (StepStatus::Passed, StepStatus::Failed, StepStatus::Skipped);
        let head = || fake::head(BASE);
        let host = Host::new().http(head().replies(405).replies(401).replies(fake::timeout()));
        assert_eq!(statuses(&host), [passed, passed]);
        assert_eq!(statuses(&host), [passed, failed]);
        assert_eq!(statuses(&host), [failed, skipped]);
        assert_eq!(host.elapsed(), Duration::from_secs(30), "the timeout of the check");
    }

    #[test]
    fn contradictory_credentials_are_violations() {
        let pointers = |host: &Host, config: Value| -> Vec<String> {
            let violations = host.block::<HttpEndpoint>(config).validate();
            violations.into_iter().map(|violation| violation.pointer).collect()
        };
        let (none, both) = (Host::new(), Host::new().secret("/token", "t").secret("/password", "p"));
        assert_eq!(pointers(&none, config()), Vec::<String>::new());
        assert_eq!(pointers(&none, json!({ "base_url": "https://a.example/?b=c" })), ["/base_url"]);
        assert_eq!(pointers(&none, json!({ "base_url": BASE, "username": "ann" })), ["/username"]);
        assert_eq!(pointers(&both, json!({ "base_url": BASE, "username": "ann" })), ["/token"]);
    }
}
