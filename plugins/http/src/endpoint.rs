//! A server's part that files are fetched from and sent to.

use std::collections::BTreeMap;
use std::time::Duration;

use blockyard_sdk::http::{self, Request, Response};
use blockyard_sdk::prelude::*;
use blockyard_sdk::{StepStatus, clock};

/// A server, or the part of one below an address.
#[derive(Block)]
#[block(type = "http-endpoint", version = 1, title = "HTTP endpoint")]
pub(crate) struct HttpEndpoint {
    /// What stands before every path: `https://example.com/data`.
    base_url: String,
    /// Headers of every request, without secrets.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A token for the server (`Authorization: Bearer`).
    #[block(audience = "{config.base_url}")]
    token: Option<Secret<String>>,
    /// Who asks, where the server wants a password (`Authorization: Basic`).
    username: Option<String>,
    /// The password of that user.
    #[block(audience = "{config.base_url}")]
    password: Option<Secret<String>>,
}

/// What came back, beside its bytes.
#[data]
struct Fetched {
    /// The status (RFC 9110, section 15).
    status: u16,
    /// The media type of the bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    /// When they were last changed, as the server writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
    /// Which state of them this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

/// The methods that change something.
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
    /// Fetches what is at a path.
    #[operation(read)]
    fn get(
        &self,
        /// The path, relative to the block's address.
        path: String,
        /// Parameters of the query.
        #[serde(default)]
        query: BTreeMap<String, String>,
    ) -> Result<Streamed<Fetched>> {
        let url = self.url(&path)?;
        let answer = crate::send(|| {
            let query = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            self.sign(http::get(url.as_str()).query(query))
        })?;
        fetched(answer)
    }

    /// Sends the bytes of its input to a path. Once: what may have arrived is not sent again.
    #[operation(write)]
    fn send(
        &self,
        /// The path, relative to the block's address.
        path: String,
        /// `POST`, `PUT` or `PATCH`.
        #[serde(default)]
        method: Method,
        /// Parameters of the query.
        #[serde(default)]
        query: BTreeMap<String, String>,
        /// The media type of the bytes; where it is not said, that of the input.
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
        let request = http::request(method, self.url(&path)?).query(query).header("content-type", content_type);
        fetched(self.sign(request.body(input)).send()?)
    }

    /// Removes what is at a path.
    #[operation(destructive)]
    fn delete(
        &self,
        /// The path, relative to the block's address.
        path: String,
    ) -> Result<()> {
        self.sign(http::delete(self.url(&path)?)).send()?.ok().map(drop)
    }

    /// Asks for the address itself.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let request = http::request("HEAD", self.base_url.as_str()).timeout(Duration::from_secs(30));
        let answer = self.sign(request).send();
        let (connect, authorise) = match answer {
            Err(problem) => ((StepStatus::Failed, Some(problem.to_string())), (StepStatus::Skipped, None)),
            Ok(answer) => {
                let said = format!("status {}", answer.status);
                // What is at the address itself may be nothing, or not be asked for in this way.
                let fine = matches!(answer.status, 200..=399 | 404 | 405);
                let status = if fine { StepStatus::Passed } else { StepStatus::Failed };
                ((StepStatus::Passed, None), (status, Some(said)))
            }
        };
        let took = u64::try_from(clock::now().saturating_sub(started).as_millis()).unwrap_or(u64::MAX);
        [("connect", connect), ("authorise", authorise)]
            .map(|(name, (status, detail))| {
                let milliseconds = (status != StepStatus::Skipped).then_some(took);
                Step { name: name.to_owned(), status, detail, milliseconds }
            })
            .into()
    }

    /// An address, and one way to prove who asks.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        if let Some(wrong) = crate::mistake(&self.base_url) {
            violations.push(Violation::new("/base_url", wrong));
        } else if self.base_url.contains('?') {
            violations.push(Violation::new("/base_url", "has a query; operations take one"));
        }
        if self.token.is_some() && self.password.is_some() {
            violations.push(Violation::new("/token", "stands beside `password`; a request proves one of them"));
        }
        if self.username.is_some() != self.password.is_some() {
            violations.push(Violation::new("/username", "and `password` go together"));
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

/// The address of a path below a base. It never leads out of it.
fn join(base: &str, path: &str) -> Result<String> {
    let wrong = if path.split(['/', '\\']).any(|part| matches!(part, "." | "..")) {
        Some("has `.` or `..`, which would lead elsewhere")
    } else if path.contains(['?', '#']) {
        Some("has a query or a fragment; `query` takes parameters")
    } else if path.chars().any(char::is_control) {
        Some("has a control character")
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
    use super::join;

    #[test]
    fn paths_stay_below_the_base() {
        let joined = |base: &str, path: &str| join(base, path).expect("a path");
        assert_eq!(
            joined("https://a.example/data/", "/2013/02/fl ü.csv"),
            "https://a.example/data/2013/02/fl%20%C3%BC.csv"
        );
        assert_eq!(joined("https://a.example", ""), "https://a.example/");
        for path in ["../x", "a/../../x", "a/./b", "a?b=c", "a#b", "a\nb", "..\\x"] {
            assert!(join("https://a.example/data", path).is_err(), "{path}");
        }
        // What is encoded already is encoded again: it is a name, not a way out.
        assert_eq!(joined("https://a.example", "%2e%2e/x"), "https://a.example/%252e%252e/x");
    }
}
