//! Interface `http`: requests, which the fake host checks like the real one and answers from its
//! script.

use std::fmt;
use std::time::Duration;

use super::secrets::Secret;
use super::sent::{Answer, Credential, Grant, GrantKind, SentRequest};
use super::state::{State, current};
use super::streams::Body;
use super::types::Problem;
use super::url::Url;

/// Default and maximum of the time until the head of a response.
const TIME: Duration = Duration::from_secs(120);
/// Maximum number of redirects that are followed.
const REDIRECTS: usize = 10;

/// Header names that are reserved for the host.
const REFUSED: [&str; 30] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "http2-settings",
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-originating-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-host",
    "x-method",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-override-url",
    "x-envoy-original-path",
    "x-envoy-original-method",
    "x-wap-profile",
];

/// Headers that are withheld from a response that may echo a secret.
const WITHHELD: [&str; 6] =
    ["content-length", "content-range", "content-md5", "digest", "content-digest", "repr-digest"];

/// A request that the bundle sends.
#[derive(Debug, Clone)]
pub struct Request {
    /// HTTP method.
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Maximum time until the head of the response, in milliseconds.
    pub timeout_ms: Option<u32>,
}

/// A response.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Body,
}

/// Claims of a JWT bearer grant (RFC 7523).
#[derive(Debug, Clone)]
pub struct JwtGrant {
    /// URL of the token server.
    pub token_url: String,
    /// Issuer.
    pub issuer: String,
    /// Subject.
    pub subject: Option<String>,
    /// Scopes.
    pub scopes: Vec<String>,
    /// ID of the key.
    pub key_id: Option<String>,
}

/// Client of an OAuth 2.0 grant.
#[derive(Debug, Clone)]
pub struct ClientGrant {
    /// URL of the token server.
    pub token_url: String,
    /// Client ID.
    pub client_id: String,
    /// Scopes.
    pub scopes: Vec<String>,
}

/// The credentials that the host adds to a request.
#[derive(Debug)]
pub enum Auth<'a> {
    /// None.
    None,
    /// A bearer token.
    Bearer(&'a Secret),
    /// A user name, and a secret password.
    Basic((String, &'a Secret)),
    /// An access token of a token source.
    Token(&'a TokenSource),
    /// A scheme, and a secret as its credentials.
    Scheme((String, &'a Secret)),
    /// The name of a member of the JSON object in the body, and a secret as its value.
    Member((String, &'a Secret)),
    /// A secret URL, to which the request is sent.
    Url(&'a Secret),
}

/// A header that the host derives from a secret.
#[derive(Debug)]
pub struct SecretHeader<'a> {
    /// Header name.
    pub name: String,
    /// The secret.
    pub secret: &'a Secret,
    /// Form of the value.
    pub form: SecretForm,
}

/// Form of the value of a [`SecretHeader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretForm {
    /// The secret, unchanged.
    Plain,
    /// The base64-encoded SHA-256 digest of the key.
    Base64Sha256,
}

/// A source of OAuth 2.0 access tokens.
pub struct TokenSource(Grant);

impl TokenSource {
    /// JWT bearer grant (RFC 7523).
    ///
    /// # Errors
    /// The URL of the token server is not valid.
    pub fn jwt_bearer(grant: &JwtGrant, key: &Secret) -> Result<TokenSource, Problem> {
        let kind = GrantKind::JwtBearer { issuer: grant.issuer.clone(), subject: grant.subject.clone() };
        Self::new(kind, &grant.token_url, &grant.scopes, vec![key.pointer()])
    }

    /// Client credentials grant (RFC 6749, section 4.4).
    ///
    /// # Errors
    /// The URL of the token server is not valid.
    pub fn client_credentials(grant: &ClientGrant, secret: &Secret) -> Result<TokenSource, Problem> {
        let kind = GrantKind::ClientCredentials { client_id: grant.client_id.clone() };
        Self::new(kind, &grant.token_url, &grant.scopes, vec![secret.pointer()])
    }

    /// Refresh token grant (RFC 6749, section 6).
    ///
    /// # Errors
    /// The URL of the token server is not valid.
    pub fn refresh_token(grant: &ClientGrant, secret: Option<&Secret>, token: &Secret) -> Result<TokenSource, Problem> {
        let kind = GrantKind::RefreshToken { client_id: grant.client_id.clone() };
        let secrets = secret.into_iter().chain([token]).map(Secret::pointer).collect();
        Self::new(kind, &grant.token_url, &grant.scopes, secrets)
    }

    fn new(kind: GrantKind, token_url: &str, scopes: &[String], secrets: Vec<String>) -> Result<Self, Problem> {
        Url::parse(token_url).map_err(|error| Problem::new("invalid", error))?;
        Ok(Self(Grant { kind, token_url: token_url.to_owned(), scopes: scopes.to_vec(), secrets }))
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource")
    }
}

/// Returns the origin of a secret URL.
///
/// # Errors
/// The secret is not a URL.
pub fn secret_origin(url: &Secret) -> Result<String, Problem> {
    let pointer = url.pointer();
    let parsed = Url::parse(&current("http::secret_origin").secrets.borrow()[&pointer]);
    // The error of the parser quotes the URL.
    parsed.map(|url| url.origin).map_err(|_| {
        let message = format!("the secret `{pointer}` is not a URL of its audience");
        Problem::new("invalid", message).hint("store the complete URL, as the service shows it")
    })
}

/// Sends a request to the script of the fake host.
///
/// # Errors
/// The request is not valid, or the script fails it.
///
/// # Panics
/// Panics for a request that violates the effect of the operation.
pub fn send(
    request: &Request,
    auth: &Auth<'_>,
    secret_headers: &[SecretHeader<'_>],
    body: Option<Body>,
) -> Result<Response, Problem> {
    let state = current("Request::send");
    let invalid = |message: String| Problem::new("invalid", message);
    if request.timeout_ms == Some(0) {
        return Err(invalid("the timeout of a request must be more than 0 ms".to_owned()));
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_method = !request.method.is_empty() && request.method.bytes().all(is_token);
    if !is_method || matches!(request.method.as_str(), "CONNECT" | "TRACE") {
        return Err(invalid(format!("`{}` is not a supported HTTP method", request.method)));
    }
    let url = Url::parse(&request.url).map_err(invalid)?;
    if let Auth::Url(secret) = auth {
        let origin = secret_origin(secret)?;
        if url.origin != origin || url.path != "/" {
            let pointer = secret.pointer();
            return Err(invalid(format!(
                "a request to the URL in the secret `{pointer}` must name its origin, `{origin}`, without a path"
            )));
        }
    }
    if let Auth::Member((name, _)) = auth {
        check_member(name, body.as_ref())?;
    }
    state.effect.borrow().enforce(&request.method, &url, matches!(auth, Auth::Url(_)));
    check_headers(request, auth, secret_headers)?;
    let sent = SentRequest {
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers.clone(),
        credential: match auth {
            Auth::None => Credential::None,
            Auth::Bearer(secret) => Credential::Bearer(secret.pointer()),
            Auth::Basic((user, password)) => Credential::Basic(user.clone(), password.pointer()),
            Auth::Token(source) => Credential::Token(source.0.clone()),
            Auth::Scheme((scheme, secret)) => Credential::Scheme(scheme.clone(), secret.pointer()),
            Auth::Member((name, secret)) => Credential::Member(name.clone(), secret.pointer()),
            Auth::Url(secret) => Credential::Url(secret.pointer()),
        },
        secret_headers: secret_headers.iter().map(|header| (header.name.clone(), header.secret.pointer())).collect(),
        timeout: request.timeout_ms.map(|milliseconds| Duration::from_millis(milliseconds.into()).min(TIME)),
        body: body.map(|body| body.drain()).transpose()?,
    };
    follow(&state, sent, url)
}

/// Sends a request and follows redirects, for GET and HEAD only. Those of a secret URL are not
/// followed.
fn follow(state: &State, mut sent: SentRequest, mut url: Url) -> Result<Response, Problem> {
    for _ in 0..=REDIRECTS {
        let has_secret = sent.credential != Credential::None || !sent.secret_headers.is_empty();
        let answer = answered(state, sent.clone())?;
        let location = answer.headers.iter().find(|(name, _)| name == "location").map(|(_, value)| value.as_str());
        let leads = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
        let is_followed =
            matches!(sent.method.as_str(), "GET" | "HEAD") && !matches!(sent.credential, Credential::Url(_));
        let Some(location) = location.filter(|_| leads && is_followed) else {
            return Ok(response(answer, has_secret));
        };
        let target = if location.starts_with('/') { format!("{}{location}", url.origin) } else { location.to_owned() };
        let refused = |reason: String| format!("refused the redirect from `{}`: {reason}", url.origin);
        let next = Url::parse(&target).map_err(|error| Problem::new("failed", refused(error)))?;
        if next.origin != url.origin {
            sent.credential = Credential::None;
            sent.secret_headers.clear();
            sent.headers.retain(|(name, _)| !is_one_of(name, &["authorization", "cookie"]));
        }
        (sent.url, url) = (target, next);
    }
    Err(Problem::new("failed", format!("the server redirected the request more than {REDIRECTS} times")))
}

/// Returns the answer of the script. Its delay passes on the clock.
fn answered(state: &State, sent: SentRequest) -> Result<Answer, Problem> {
    let time = sent.timeout.unwrap_or(TIME);
    let answer = (state.server)(sent)?;
    state.advance(answer.delay.min(time));
    if answer.delay >= time {
        return Err(Problem::new("timeout", format!("no response within {} ms", time.as_millis())).retryable());
    }
    Ok(answer)
}

/// Converts an answer to what the bundle receives. A response to a request with a secret reveals
/// neither its length nor, if it is compressed or partial, its bytes.
fn response(answer: Answer, has_secret: bool) -> Response {
    let Answer { status, mut headers, chunks, .. } = answer;
    let readable = !has_secret || is_complete(status, &headers);
    if has_secret {
        headers.retain(|(name, _)| !WITHHELD.contains(&name.as_str()));
    }
    let media_type = headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.clone());
    let media_type = media_type.unwrap_or_else(|| "application/octet-stream".to_owned());
    let sizes = chunks.iter().map(|chunk| chunk.as_ref().ok().map(|chunk| chunk.len() as u64));
    let size = sizes.sum::<Option<u64>>().filter(|_| !has_secret);
    let body = Body::chunked(&media_type, size, chunks);
    Response { status, headers, body: if readable { body } else { body.unreadable() } }
}

/// Checks whether a response body is complete and not compressed.
fn is_complete(status: u16, headers: &[(String, String)]) -> bool {
    let has = |wanted: &str| headers.iter().any(|(name, _)| name == wanted);
    let is_plain = headers
        .iter()
        .filter(|(name, _)| is_one_of(name, &["content-encoding", "transfer-encoding"]))
        .flat_map(|(_, value)| value.split(','))
        .all(|coding| is_one_of(coding.trim(), &["", "identity", "chunked"]));
    is_plain && !matches!(status, 206 | 226) && !((200..300).contains(&status) && has("content-range"))
}

/// Refuses a body to which the host cannot add a member.
fn check_member(name: &str, body: Option<&Body>) -> Result<(), Problem> {
    let bytes = body.and_then(Body::written).unwrap_or_default();
    let Ok(object) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes) else {
        return Err(Problem::new("invalid", "the body must be a JSON object that the bundle wrote"));
    };
    if object.contains_key(name) {
        let message = format!("the body has a member `{name}`, which the host adds from a secret");
        return Err(Problem::new("invalid", message));
    }
    Ok(())
}

/// Refuses headers that the host sets, and two sources of one header.
fn check_headers(request: &Request, auth: &Auth<'_>, secret_headers: &[SecretHeader<'_>]) -> Result<(), Problem> {
    let mut added: Vec<String> = secret_headers.iter().map(|header| header.name.to_ascii_lowercase()).collect();
    if !matches!(auth, Auth::None | Auth::Url(_) | Auth::Member(_)) {
        added.push("authorization".to_owned());
    }
    if let Some(twice) = added.iter().enumerate().find_map(|(at, name)| added[..at].contains(name).then_some(name)) {
        return Err(Problem::new("invalid", format!("the header `{twice}` is set from more than one secret")));
    }
    for (name, value) in &request.headers {
        let lower = name.to_ascii_lowercase();
        if value.chars().any(|c| c.is_control() && c != '\t') {
            let message = format!("the value of the header `{lower}` contains an invalid character");
            return Err(Problem::new("invalid", message));
        }
        let prefixes = ["proxy-", "x-forwarded-", "x-original-", "x-rewrite-"];
        if REFUSED.contains(&lower.as_str()) || prefixes.iter().any(|prefix| lower.starts_with(prefix)) {
            return Err(Problem::new("denied", format!("a bundle may not set the header `{lower}`")));
        }
        if added.contains(&lower) || !added.is_empty() && lower == "authorization" {
            let message = format!("a bundle may not set the header `{lower}` in addition to a secret");
            return Err(Problem::new("denied", message));
        }
    }
    Ok(())
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}
