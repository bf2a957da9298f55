//! Expected requests, and their comparison with the requests that a block sends.

use std::fmt;

use serde_json::Value;

use super::response::Response;
use crate::bindings::{Credential, SentRequest, Url};

/// A request that a test expects, and the responses to it.
///
/// A request matches if its method, its URL and its query are the same, and everything else that
/// the test sets: headers, credentials, and the body.
#[derive(Debug, Clone)]
pub struct Exchange {
    method: String,
    url: Url,
    query: Option<Vec<(String, String)>>,
    headers: Vec<(String, String)>,
    credential: Option<ExpectedCredential>,
    secret_headers: Vec<(String, String)>,
    body: Option<ExpectedBody>,
    responses: Vec<Response>,
    times: Times,
}

/// Credentials that a request must have.
#[derive(Debug, Clone)]
enum ExpectedCredential {
    Exactly(Credential),
    /// A token of the server at this URL, with these scopes.
    Token(String, Option<Vec<String>>),
}

#[derive(Debug, Clone)]
enum ExpectedBody {
    Json(Value),
    Bytes(Vec<u8>),
}

/// Number of requests that an exchange expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    /// One for each response, and at least one.
    OnePerResponse,
    Exactly(usize),
    AnyNumber,
}

/// Expects a GET request.
///
/// # Panics
/// Panics if the URL is not one that a request can have.
#[must_use]
pub fn get(url: &str) -> Exchange {
    request("GET", url)
}

/// Expects a HEAD request.
///
/// # Panics
/// Panics if the URL is not one that a request can have.
#[must_use]
pub fn head(url: &str) -> Exchange {
    request("HEAD", url)
}

/// Expects a POST request.
///
/// # Panics
/// Panics if the URL is not one that a request can have.
#[must_use]
pub fn post(url: &str) -> Exchange {
    request("POST", url)
}

/// Expects a PUT request.
///
/// # Panics
/// Panics if the URL is not one that a request can have.
#[must_use]
pub fn put(url: &str) -> Exchange {
    request("PUT", url)
}

/// Expects a DELETE request.
///
/// # Panics
/// Panics if the URL is not one that a request can have.
#[must_use]
pub fn delete(url: &str) -> Exchange {
    request("DELETE", url)
}

/// Expects a request with any method.
///
/// # Panics
/// Panics if the URL is not one that a request can have.
#[must_use]
pub fn request(method: &str, url: &str) -> Exchange {
    let url = Url::parse(url).unwrap_or_else(|error| panic!("the expected URL {error}"));
    Exchange {
        method: method.to_owned(),
        query: Some(url.parameters()),
        url,
        headers: Vec::new(),
        credential: None,
        secret_headers: Vec::new(),
        body: None,
        responses: Vec::new(),
        times: Times::OnePerResponse,
    }
}

impl Exchange {
    /// Expects parameters of the query, in addition to those in the URL. The request must have no
    /// others. Their order is not compared.
    #[must_use]
    pub fn query<'a>(mut self, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let parameters = parameters.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.query.get_or_insert_default().extend(parameters);
        self
    }

    /// Accepts any query.
    #[must_use]
    pub fn any_query(mut self) -> Self {
        self.query = None;
        self
    }

    /// Expects a header. The request can have others.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Expects a request without credentials.
    #[must_use]
    pub fn anonymous(self) -> Self {
        self.credential(ExpectedCredential::Exactly(Credential::None))
    }

    /// Expects the secret at a JSON Pointer as a bearer token.
    #[must_use]
    pub fn bearer(self, pointer: &str) -> Self {
        self.credential(ExpectedCredential::Exactly(Credential::Bearer(pointer.to_owned())))
    }

    /// Expects basic authentication with a user name, and the secret at a JSON Pointer as the
    /// password.
    #[must_use]
    pub fn basic(self, user: &str, pointer: &str) -> Self {
        self.credential(ExpectedCredential::Exactly(Credential::Basic(user.to_owned(), pointer.to_owned())))
    }

    /// Expects an `Authorization` header with a scheme, and the secret at a JSON Pointer as its
    /// credentials.
    #[must_use]
    pub fn authorization(self, scheme: &str, pointer: &str) -> Self {
        self.credential(ExpectedCredential::Exactly(Credential::Scheme(scheme.to_owned(), pointer.to_owned())))
    }

    /// Expects the secret at a JSON Pointer as a member of the body, which the host adds to the one that
    /// the block sends.
    #[must_use]
    pub fn secret_member(self, name: &str, pointer: &str) -> Self {
        self.credential(ExpectedCredential::Exactly(Credential::Member(name.to_owned(), pointer.to_owned())))
    }

    /// Expects the secret at a JSON Pointer as the URL to which the request is sent. The URL of the
    /// exchange is the origin of the secret URL.
    #[must_use]
    pub fn secret_url(self, pointer: &str) -> Self {
        self.credential(ExpectedCredential::Exactly(Credential::Url(pointer.to_owned())))
    }

    /// Expects an access token of the token server at a URL.
    #[must_use]
    pub fn token(self, token_url: &str) -> Self {
        self.credential(ExpectedCredential::Token(token_url.to_owned(), None))
    }

    /// Expects an access token with these scopes, of the token server at a URL.
    #[must_use]
    pub fn token_with_scopes(self, token_url: &str, scopes: &[&str]) -> Self {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.credential(ExpectedCredential::Token(token_url.to_owned(), Some(scopes)))
    }

    fn credential(mut self, credential: ExpectedCredential) -> Self {
        self.credential = Some(credential);
        self
    }

    /// Expects a header that the host adds, with the secret at a JSON Pointer.
    #[must_use]
    pub fn secret_header(mut self, name: &str, pointer: &str) -> Self {
        self.secret_headers.push((name.to_ascii_lowercase(), pointer.to_owned()));
        self
    }

    /// Expects a JSON body. The order of the members of objects is not compared.
    #[must_use]
    pub fn json(mut self, body: Value) -> Self {
        self.body = Some(ExpectedBody::Json(body));
        self
    }

    /// Expects a body with these bytes.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(ExpectedBody::Bytes(body.as_ref().to_vec()));
        self
    }

    /// Adds a response: a [`Response`], a status code, or a JSON value that is sent with status 200.
    /// Each request receives the next one. Without a response, the status is 200 and the body is
    /// empty.
    #[must_use]
    pub fn replies(mut self, response: impl Into<Response>) -> Self {
        self.responses.push(response.into());
        self
    }

    /// Expects this number of requests. The last response is repeated.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Times::Exactly(times);
        self
    }

    /// Accepts any number of requests, including none. The last response is repeated.
    #[must_use]
    pub fn any_number_of_times(mut self) -> Self {
        self.times = Times::AnyNumber;
        self
    }

    /// Returns the number of requests that must be sent, or `None` for any number.
    pub(super) fn expected(&self) -> Option<usize> {
        match self.times {
            Times::OnePerResponse => Some(self.responses.len().max(1)),
            Times::Exactly(times) => Some(times),
            Times::AnyNumber => None,
        }
    }

    /// Returns the response to the request with this index, from 0.
    pub(super) fn response(&self, index: usize) -> Response {
        let last = self.responses.len().saturating_sub(1);
        self.responses.get(index.min(last)).cloned().unwrap_or_else(|| Response::new(200))
    }

    /// Checks whether a request has the method and the URL, apart from its query.
    pub(super) fn is_near(&self, sent: &SentRequest) -> bool {
        sent.method == self.method
            && Url::parse(&sent.url).is_ok_and(|url| url.without_query() == self.url.without_query())
    }

    /// Returns the differences between the expected and a sent request.
    pub(super) fn differences(&self, sent: &SentRequest) -> Vec<String> {
        let mut found = Vec::new();
        if sent.method != self.method {
            found.push(difference("method", &self.method, &sent.method));
        }
        match Url::parse(&sent.url) {
            Ok(url) => {
                if url.without_query() != self.url.without_query() {
                    found.push(difference("URL", &self.url.without_query(), &url.without_query()));
                }
                if let Some(query) = &self.query {
                    compare_query(query, &url.parameters(), &mut found);
                }
            }
            Err(error) => found.push(error),
        }
        compare_headers("header", &self.headers, &sent.headers, &mut found);
        compare_headers("secret header", &self.secret_headers, &sent.secret_headers, &mut found);
        if let Some(expected) = &self.credential
            && !expected.matches(&sent.credential)
        {
            found.push(difference("credentials", &expected.to_string(), &shown(&sent.credential)));
        }
        if let Some(body) = &self.body {
            body.compare(sent.body.as_deref(), &mut found);
        }
        found
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url.without_query())?;
        let parameters = self.query.as_deref().unwrap_or_default();
        for (at, (name, value)) in parameters.iter().enumerate() {
            write!(f, "{}{name}={value}", if at == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl ExpectedCredential {
    fn matches(&self, sent: &Credential) -> bool {
        match (self, sent) {
            (Self::Exactly(expected), sent) => expected == sent,
            (Self::Token(url, scopes), Credential::Token(grant)) => {
                grant.token_url == *url && scopes.as_ref().is_none_or(|scopes| *scopes == grant.scopes)
            }
            (Self::Token(..), _) => false,
        }
    }
}

impl fmt::Display for ExpectedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(credential) => f.write_str(&shown(credential)),
            Self::Token(url, None) => write!(f, "token of {url}"),
            Self::Token(url, Some(scopes)) => write!(f, "token of {url} with the scopes {}", scopes.join(" ")),
        }
    }
}

/// Describes credentials by the JSON Pointers of their secrets.
fn shown(credential: &Credential) -> String {
    match credential {
        Credential::None => "none".to_owned(),
        Credential::Bearer(pointer) => format!("bearer {pointer}"),
        Credential::Basic(user, pointer) => format!("basic {user}:{pointer}"),
        Credential::Scheme(scheme, pointer) => format!("{scheme} {pointer}"),
        Credential::Member(name, pointer) => format!("member {name} from {pointer}"),
        Credential::Url(pointer) => format!("secret URL {pointer}"),
        Credential::Token(grant) if grant.scopes.is_empty() => format!("token of {}", grant.token_url),
        Credential::Token(grant) => format!("token of {} with the scopes {}", grant.token_url, grant.scopes.join(" ")),
    }
}

impl ExpectedBody {
    fn compare(&self, sent: Option<&[u8]>, found: &mut Vec<String>) {
        let Some(sent) = sent else { return found.push("body: expected one, sent none".to_owned()) };
        match self {
            Self::Bytes(bytes) if bytes == sent => {}
            Self::Bytes(bytes) => {
                found.push(difference("body", &String::from_utf8_lossy(bytes), &String::from_utf8_lossy(sent)));
            }
            Self::Json(expected) => match serde_json::from_slice(sent) {
                Ok(sent) => compare_json("", expected, &sent, found),
                Err(_) => {
                    found.push(difference("body", &expected.to_string(), &String::from_utf8_lossy(sent)));
                }
            },
        }
    }
}

fn difference(what: &str, expected: &str, sent: &str) -> String {
    format!("{what}: expected `{expected}`, sent `{sent}`")
}

/// Compares parameters, of which each name can occur repeatedly.
fn compare_query(expected: &[(String, String)], sent: &[(String, String)], found: &mut Vec<String>) {
    let mut rest = sent.to_vec();
    let mut missing = Vec::new();
    for parameter in expected {
        match rest.iter().position(|sent| sent == parameter) {
            Some(at) => drop(rest.remove(at)),
            None => missing.push(parameter),
        }
    }
    for (name, value) in missing {
        match rest.iter().position(|(sent, _)| sent == name) {
            Some(at) => {
                let (_, other) = rest.remove(at);
                found.push(difference(&format!("query parameter `{name}`"), value, &other));
            }
            None => found.push(format!("query parameter `{name}`: expected `{value}`, sent none")),
        }
    }
    found.extend(rest.iter().map(|(name, value)| format!("query parameter `{name}`: expected none, sent `{value}`")));
}

/// Compares expected headers with all those that were sent.
fn compare_headers(what: &str, expected: &[(String, String)], sent: &[(String, String)], found: &mut Vec<String>) {
    for (name, value) in expected {
        let values: Vec<&str> =
            sent.iter().filter(|(sent, _)| sent.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect();
        if values.is_empty() {
            found.push(format!("{what} `{name}`: expected `{value}`, sent none"));
        } else if !values.contains(&value.as_str()) {
            found.push(difference(&format!("{what} `{name}`"), value, &values.join(", ")));
        }
    }
}

/// Compares JSON values, and describes each difference by its JSON Pointer.
fn compare_json(pointer: &str, expected: &Value, sent: &Value, found: &mut Vec<String>) {
    match (expected, sent) {
        (Value::Object(expected), Value::Object(sent)) => {
            for (name, value) in expected {
                let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                match sent.get(name) {
                    Some(other) => compare_json(&pointer, value, other, found),
                    None => found.push(format!("body, at `{pointer}`: expected `{value}`, sent none")),
                }
            }
            for (name, value) in sent.iter().filter(|(name, _)| !expected.contains_key(*name)) {
                let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                found.push(format!("body, at `{pointer}`: expected none, sent `{value}`"));
            }
        }
        (Value::Array(expected), Value::Array(sent)) if expected.len() == sent.len() => {
            for (at, (expected, sent)) in expected.iter().zip(sent).enumerate() {
                compare_json(&format!("{pointer}/{at}"), expected, sent, found);
            }
        }
        _ if expected == sent => {}
        _ => {
            let what = if pointer.is_empty() { "body".to_owned() } else { format!("body, at `{pointer}`") };
            found.push(difference(&what, &expected.to_string(), &sent.to_string()));
        }
    }
}
