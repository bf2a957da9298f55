//! HTTP requests to the origins requested in the manifest. Requires the capability `http ORIGIN`.
//! Secrets are passed by handle: the host inserts them into the request and removes them from
//! responses.
//!
//! ```
//! use blockyard_sdk::http;
//! use blockyard_sdk::prelude::*;
//!
//! fn items(base_url: &str, token: &Secret) -> Result<Vec<Value>> {
//!     http::get(format!("{base_url}/v1/items")).bearer(token).send()?.ok()?.json()
//! }
//! ```

use core::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::blockyard::bundle::http as wit;
use crate::{Body, Problem, Result, Secret};

/// Number of bytes per read.
const CHUNK_BYTES: u32 = 1 << 20;
/// Maximum number of bytes of an error response that are read.
const ERROR_BYTES: u32 = 64 << 10;
/// Maximum number of characters of a response body in an error message.
const SHOWN_CHARACTERS: usize = 500;

/// An HTTP request that has not been sent.
#[derive(Debug)]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    timeout: Option<Duration>,
    auth: Result<Credential>,
    secrets: Vec<Result<SecretHeader>>,
    body: Option<Body>,
}

/// Credentials of a request.
#[derive(Debug)]
enum Credential {
    None,
    Bearer(crate::bindings::blockyard::bundle::secrets::Secret),
    Basic(String, crate::bindings::blockyard::bundle::secrets::Secret),
    Token(wit::TokenSource),
    Scheme(String, crate::bindings::blockyard::bundle::secrets::Secret),
    Member(String, crate::bindings::blockyard::bundle::secrets::Secret),
    Url(crate::bindings::blockyard::bundle::secrets::Secret),
}

/// A header whose value the host derives from a secret.
#[derive(Debug)]
struct SecretHeader {
    name: String,
    secret: crate::bindings::blockyard::bundle::secrets::Secret,
    form: wit::SecretForm,
}

/// An HTTP response. Its body can be forwarded without being read.
#[derive(Debug)]
pub struct Response {
    /// Status code (RFC 9110, section 15).
    pub status: u16,
    /// Headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// Response body.
    pub body: Body,
}

/// Creates a GET request.
pub fn get(url: impl Into<String>) -> Request {
    request("GET", url)
}

/// Creates a POST request.
pub fn post(url: impl Into<String>) -> Request {
    request("POST", url)
}

/// Creates a PUT request.
pub fn put(url: impl Into<String>) -> Request {
    request("PUT", url)
}

/// Creates a DELETE request.
pub fn delete(url: impl Into<String>) -> Request {
    request("DELETE", url)
}

/// Creates a request with any method.
pub fn request(method: impl Into<String>, url: impl Into<String>) -> Request {
    Request {
        method: method.into(),
        url: url.into(),
        headers: Vec::new(),
        timeout: None,
        auth: Ok(Credential::None),
        secrets: Vec::new(),
        body: None,
    }
}

/// Creates a request to a URL that is itself a secret, such as an incoming webhook. The field of the
/// secret declares this use: `#[block(audience = "https://hooks.example.com", url)]`.
///
/// The bundle knows only the origin of the URL. [`Request::query`] appends parameters to the query of
/// the secret URL. Redirects are not followed, and the request has no other credentials.
///
/// ```
/// use blockyard_sdk::http;
/// use blockyard_sdk::prelude::*;
///
/// fn post(webhook: &Secret, text: &str) -> Result<()> {
///     http::to_secret_url("POST", webhook).json(&json!({ "text": text })).send()?.ok().map(drop)
/// }
/// ```
#[must_use]
pub fn to_secret_url(method: impl Into<String>, url: &Secret<String>) -> Request {
    let opened = url.handle().and_then(|url| Ok((wit::secret_origin(&url)?, url)));
    match opened {
        Ok((origin, url)) => Request { auth: Ok(Credential::Url(url)), ..request(method, origin) },
        Err(problem) => Request { auth: Err(problem), ..request(method, "") },
    }
}

/// Returns the origin of a secret URL, e.g. `https://hooks.example.com`.
///
/// # Errors
/// The secret is not a URL of its audience, or its field does not declare `url`.
pub fn secret_origin(url: &Secret<String>) -> Result<String> {
    Ok(wit::secret_origin(&url.handle()?)?)
}

impl Request {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds percent-encoded query parameters.
    #[must_use]
    pub fn query<'a>(mut self, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        for (name, value) in parameters {
            self.url.push(if self.url.contains('?') { '&' } else { '?' });
            self.url.push_str(&percent_encode(name));
            self.url.push('=');
            self.url.push_str(&percent_encode(value));
        }
        self
    }

    /// Sets the maximum time to wait for the response headers.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends a secret as `Authorization: Bearer …` (RFC 6750).
    #[must_use]
    pub fn bearer(mut self, secret: &Secret<String>) -> Self {
        self.auth = secret.handle().map(Credential::Bearer);
        self
    }

    /// Sends a user name and a secret password as `Authorization: Basic …` (RFC 7617).
    #[must_use]
    pub fn basic(mut self, user: impl Into<String>, password: &Secret<String>) -> Self {
        self.auth = password.handle().map(|password| Credential::Basic(user.into(), password));
        self
    }

    /// Sends a secret as `Authorization: SCHEME …`, for a service with a scheme of its own, e.g.
    /// `GenieKey`.
    #[must_use]
    pub fn authorization(mut self, scheme: impl Into<String>, secret: &Secret<String>) -> Self {
        self.auth = secret.handle().map(|secret| Credential::Scheme(scheme.into(), secret));
        self
    }

    /// Sends a secret as a member of the JSON object in the body, to which the host adds it. The field of
    /// the secret names the member: `#[block(member = "routing_key")]`.
    #[must_use]
    pub fn secret_member(mut self, name: impl Into<String>, secret: &Secret<String>) -> Self {
        self.auth = secret.handle().map(|secret| Credential::Member(name.into(), secret));
        self
    }

    /// Adds a header with a secret as its value.
    #[must_use]
    pub fn secret_header(self, name: impl Into<String>, secret: &Secret<String>) -> Self {
        self.derived_header(name, secret, wit::SecretForm::Plain)
    }

    /// Adds a header with the SHA-256 digest of a secret, in base64. The secret is itself base64
    /// and is decoded first.
    #[must_use]
    pub fn secret_digest_header(self, name: impl Into<String>, secret: &Secret<String>) -> Self {
        self.derived_header(name, secret, wit::SecretForm::Base64Sha256)
    }

    fn derived_header(mut self, name: impl Into<String>, secret: &Secret<String>, form: wit::SecretForm) -> Self {
        let name = name.into();
        self.secrets.push(secret.handle().map(|secret| SecretHeader { name, secret, form }));
        self
    }

    /// Authenticates with an access token, which the host fetches and caches.
    #[must_use]
    pub fn token(mut self, source: TokenSource) -> Self {
        self.auth = source.0.map(Credential::Token);
        self
    }

    /// Sets the body, which may be a forwarded body that was never read.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    /// Sets a JSON body and its content type.
    #[must_use]
    pub fn json(self, value: &impl Serialize) -> Self {
        let text = serde_json::to_vec(value).unwrap_or_default();
        self.header("content-type", "application/json").body(Body::from_bytes("application/json", &text))
    }

    /// Sets the fields of a form as the body (`application/x-www-form-urlencoded`).
    #[must_use]
    pub fn form<'a>(self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let pair = |(name, value)| format!("{}={}", percent_encode(name), percent_encode(value));
        let text = fields.into_iter().map(pair).collect::<Vec<_>>().join("&");
        let media_type = "application/x-www-form-urlencoded";
        self.header("content-type", media_type).body(Body::from_bytes(media_type, text.as_bytes()))
    }

    /// Sends the request. A response of any status is returned as a success; [`Response::ok`] turns
    /// error statuses into problems.
    ///
    /// # Errors
    /// The origin is not granted, cannot be reached, or does not respond in time.
    pub fn send(self) -> Result<Response> {
        let request = wit::Request {
            method: self.method,
            url: self.url,
            headers: self.headers,
            timeout_ms: self.timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)),
        };
        let credential = self.auth?;
        let auth = match &credential {
            Credential::None => wit::Auth::None,
            Credential::Bearer(secret) => wit::Auth::Bearer(secret),
            Credential::Basic(user, password) => wit::Auth::Basic((user.clone(), password)),
            Credential::Token(source) => wit::Auth::Token(source),
            Credential::Scheme(scheme, secret) => wit::Auth::Scheme((scheme.clone(), secret)),
            Credential::Member(name, secret) => wit::Auth::Member((name.clone(), secret)),
            Credential::Url(url) => wit::Auth::Url(url),
        };
        let secrets = self.secrets.into_iter().collect::<Result<Vec<_>>>()?;
        let secrets: Vec<wit::SecretHeader<'_>> = secrets
            .iter()
            .map(|header| wit::SecretHeader { name: header.name.clone(), secret: &header.secret, form: header.form })
            .collect();
        let wit::Response { status, headers, body } = wit::send(&request, &auth, &secrets, self.body)?;
        Ok(Response { status, headers, body })
    }
}

impl Response {
    /// Returns the value of a header. `name` must be in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the response if its status is 2xx, otherwise a problem with the server's message.
    ///
    /// # Errors
    /// The problem has the code `not-found` for 404 and 410, `denied` for 401 and 403, `conflict`
    /// for 409 and 412, `unavailable` (retryable) for 408, 429 and 5xx, and `invalid` for any other
    /// status.
    pub fn ok(self) -> Result<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let status = self.status;
        let body = self.beginning(ERROR_BYTES);
        let body: String = body.trim().chars().take(SHOWN_CHARACTERS).collect();
        let message = if body.is_empty() {
            format!("the server responded with status {status}")
        } else {
            format!("the server responded with status {status}: {body}")
        };
        Err(match status {
            404 | 410 => Problem::new("not-found", message),
            401 | 403 => Problem::new("denied", message),
            409 | 412 => Problem::new("conflict", message),
            408 | 429 | 500.. => Problem::new("unavailable", message).retryable(),
            _ => Problem::new("invalid", message),
        }
        .with_details(serde_json::json!({ "status": status })))
    }

    /// Reads the beginning of the body as text, up to `most` bytes, for error messages. Ends before
    /// the first byte that is not UTF-8 or cannot be read.
    #[must_use]
    pub fn beginning(self, most: u32) -> String {
        let mut bytes = Vec::new();
        let mut left = most;
        while left > 0
            && let Ok(Some(chunk)) = self.body.read(left)
        {
            left = left.saturating_sub(u32::try_from(chunk.len()).unwrap_or(u32::MAX));
            bytes.extend(chunk);
        }
        valid_text(bytes)
    }

    /// Reads the body into memory. Use [`body`](Self::body) for bodies that may not fit.
    ///
    /// # Errors
    /// The response is interrupted.
    pub fn bytes(self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = self.body.read(CHUNK_BYTES)? {
            all.extend(chunk);
        }
        Ok(all)
    }

    /// Reads the body as UTF-8 text.
    ///
    /// # Errors
    /// The response is interrupted or is not UTF-8.
    pub fn text(self) -> Result<String> {
        String::from_utf8(self.bytes()?).map_err(|_| Problem::new("failed", "the response is not UTF-8"))
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// The response is interrupted, or does not match the type.
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        serde_json::from_slice(&self.bytes()?)
            .map_err(|error| Problem::new("failed", format!("unexpected JSON in the response: {error}")))
    }
}

/// Source of OAuth 2.0 access tokens. The host obtains them with a secret that stays in the host,
/// caches them and renews them.
#[derive(Debug)]
pub struct TokenSource(Result<wit::TokenSource>);

/// OAuth client that requests tokens.
#[derive(Debug, Clone, Default)]
pub struct Client<'a> {
    /// URL of the token endpoint.
    pub token_url: &'a str,
    /// Client ID.
    pub client_id: &'a str,
    /// Requested scopes.
    pub scopes: &'a [&'a str],
}

/// Claims of a JWT assertion that is exchanged for a token (RFC 7523).
#[derive(Debug, Clone, Default)]
pub struct Assertion<'a> {
    /// URL of the token endpoint.
    pub token_url: &'a str,
    /// Issuer (`iss`), e.g. the e-mail address of a Google service account.
    pub issuer: &'a str,
    /// Subject (`sub`), if it differs from the issuer.
    pub subject: Option<&'a str>,
    /// Requested scopes.
    pub scopes: &'a [&'a str],
    /// ID of the signing key (`kid`).
    pub key_id: Option<&'a str>,
}

impl TokenSource {
    /// Obtains tokens with a signed JWT assertion (RFC 7523), as for Google service accounts.
    #[must_use]
    pub fn jwt_bearer(assertion: &Assertion<'_>, key: &Secret<String>) -> Self {
        let grant = wit::JwtGrant {
            token_url: assertion.token_url.to_owned(),
            issuer: assertion.issuer.to_owned(),
            subject: assertion.subject.map(str::to_owned),
            scopes: owned(assertion.scopes),
            key_id: assertion.key_id.map(str::to_owned),
        };
        Self(key.handle().and_then(|key| Ok(wit::TokenSource::jwt_bearer(&grant, &key)?)))
    }

    /// Obtains tokens with client credentials (RFC 6749, section 4.4).
    #[must_use]
    pub fn client_credentials(client: &Client<'_>, secret: &Secret<String>) -> Self {
        let grant = client_grant(client);
        Self(secret.handle().and_then(|secret| Ok(wit::TokenSource::client_credentials(&grant, &secret)?)))
    }

    /// Obtains tokens with a refresh token (RFC 6749, section 6).
    #[must_use]
    pub fn refresh_token(client: &Client<'_>, secret: Option<&Secret<String>>, token: &Secret<String>) -> Self {
        let grant = client_grant(client);
        let source = || {
            let secret = secret.map(Secret::handle).transpose()?;
            Ok(wit::TokenSource::refresh_token(&grant, secret.as_ref(), &token.handle()?)?)
        };
        Self(source())
    }
}

fn client_grant(client: &Client<'_>) -> wit::ClientGrant {
    wit::ClientGrant {
        token_url: client.token_url.to_owned(),
        client_id: client.client_id.to_owned(),
        scopes: owned(client.scopes),
    }
}

fn owned(strings: &[&str]) -> Vec<String> {
    strings.iter().map(|text| (*text).to_owned()).collect()
}

/// Returns the text up to the first byte that is not UTF-8.
fn valid_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let valid = error.utf8_error().valid_up_to();
        String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned()
    })
}

/// All characters except the unreserved ones (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes a string as one component of a path or query (RFC 3986, section 2.1). All
/// characters except the unreserved ones are encoded, including `/`.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::{percent_encode, valid_text};

    #[test]
    fn text_is_truncated_before_invalid_utf8() {
        assert_eq!(valid_text("größe".as_bytes().to_vec()), "größe");
        assert_eq!(valid_text("größe".as_bytes()[..3].to_vec()), "gr");
        assert_eq!(valid_text(vec![0xff, b'a']), "");
    }

    #[test]
    fn reserved_characters_are_percent_encoded() {
        assert_eq!(percent_encode("a/b c?ü~"), "a%2Fb%20c%3F%C3%BC~");
    }
}
