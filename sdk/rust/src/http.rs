//! Requests to the origins that the bundle asks for. Needs the capability `http ORIGIN`. Secrets go
//! in by handle: the host puts them into the request, and keeps them out of what comes back.
//!
//! ```ignore
//! let page: Page = http::get(format!("{}/v1/items", self.base_url)).bearer(&self.token).send()?.ok()?.json()?;
//! ```

use core::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::blockyard::bundle::http as wit;
use crate::{Body, Problem, Result, Secret};

/// How many bytes are read at once.
const CHUNK_BYTES: u32 = 1 << 20;
/// The beginning of an answer that is shown where it is an error.
const SHOWN_CHARACTERS: usize = 500;

/// A request, before it is sent.
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

/// How a request proves who sends it.
#[derive(Debug)]
enum Credential {
    None,
    Bearer(crate::bindings::blockyard::bundle::secrets::Secret),
    Basic(String, crate::bindings::blockyard::bundle::secrets::Secret),
    Token(wit::TokenSource),
}

/// A header that the host makes of a secret.
#[derive(Debug)]
struct SecretHeader {
    name: String,
    secret: crate::bindings::blockyard::bundle::secrets::Secret,
    form: wit::SecretForm,
}

/// An answer. Its body may be passed on unread.
#[derive(Debug)]
pub struct Response {
    /// The status, as in RFC 9110, section 15.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

/// A GET request.
pub fn get(url: impl Into<String>) -> Request {
    request("GET", url)
}

/// A POST request.
pub fn post(url: impl Into<String>) -> Request {
    request("POST", url)
}

/// A PUT request.
pub fn put(url: impl Into<String>) -> Request {
    request("PUT", url)
}

/// A DELETE request.
pub fn delete(url: impl Into<String>) -> Request {
    request("DELETE", url)
}

/// A request with any method.
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

impl Request {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds parameters to the query, percent-encoded.
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

    /// How long to wait for the head of the answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// `Authorization: Bearer …` (RFC 6750).
    #[must_use]
    pub fn bearer(mut self, secret: &Secret<String>) -> Self {
        self.auth = secret.handle().map(Credential::Bearer);
        self
    }

    /// `Authorization: Basic …` (RFC 7617).
    #[must_use]
    pub fn basic(mut self, user: impl Into<String>, password: &Secret<String>) -> Self {
        self.auth = password.handle().map(|password| Credential::Basic(user.into(), password));
        self
    }

    /// A header with the secret as its value.
    #[must_use]
    pub fn secret_header(self, name: impl Into<String>, secret: &Secret<String>) -> Self {
        self.made_of(name, secret, wit::SecretForm::Plain)
    }

    /// A header with the SHA-256 of the bytes that the secret is base64 of, itself in base64.
    #[must_use]
    pub fn secret_digest_header(self, name: impl Into<String>, secret: &Secret<String>) -> Self {
        self.made_of(name, secret, wit::SecretForm::Base64Sha256)
    }

    fn made_of(mut self, name: impl Into<String>, secret: &Secret<String>, form: wit::SecretForm) -> Self {
        let name = name.into();
        self.secrets.push(secret.handle().map(|secret| SecretHeader { name, secret, form }));
        self
    }

    /// An access token, which the host fetches and keeps.
    #[must_use]
    pub fn token(mut self, source: TokenSource) -> Self {
        self.auth = source.0.map(Credential::Token);
        self
    }

    /// The body, which may be one that was passed in and never read.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    /// A body of JSON, with its content type.
    #[must_use]
    pub fn json(self, value: &impl Serialize) -> Self {
        let text = serde_json::to_vec(value).unwrap_or_default();
        self.header("content-type", "application/json").body(Body::from_bytes("application/json", &text))
    }

    /// Sends it. An answer with any status is an answer; [`Response::ok`] sorts them.
    ///
    /// # Errors
    /// Why there was none: not granted, not reached, too late.
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
    /// A header's value; the name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The answer itself where its status is 2xx; otherwise a problem that says what the server said.
    ///
    /// # Errors
    /// The problem: `not-found` for 404 and 410, `denied` for 401 and 403, `conflict` for 409 and 412,
    /// `unavailable` (worth a retry) for 429 and 5xx, `invalid` for the other 4xx.
    pub fn ok(self) -> Result<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let status = self.status;
        let said = self.text().unwrap_or_default();
        let said: String = said.trim().chars().take(SHOWN_CHARACTERS).collect();
        let message = if said.is_empty() {
            format!("the server answered with status {status}")
        } else {
            format!("the server answered with status {status}: {said}")
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

    /// The whole body. For what does not fit into memory there is [`body`](Self::body).
    ///
    /// # Errors
    /// Where the answer breaks off.
    pub fn bytes(self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = self.body.read(CHUNK_BYTES)? {
            all.extend(chunk);
        }
        Ok(all)
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// Where the answer breaks off, or is not UTF-8.
    pub fn text(self) -> Result<String> {
        String::from_utf8(self.bytes()?).map_err(|_| Problem::new("failed", "the answer is not UTF-8"))
    }

    /// The whole body as JSON.
    ///
    /// # Errors
    /// Where the answer breaks off, or is something else.
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        serde_json::from_slice(&self.bytes()?)
            .map_err(|error| Problem::new("failed", format!("the answer is not the JSON that was expected: {error}")))
    }
}

/// Where access tokens come from (OAuth 2.0). The host fetches them with a secret that the bundle does
/// not see, keeps them, and renews them.
#[derive(Debug)]
pub struct TokenSource(Result<wit::TokenSource>);

/// Who asks for tokens, and for what.
#[derive(Debug, Clone, Default)]
pub struct Client<'a> {
    /// Where tokens are asked for.
    pub token_url: &'a str,
    /// Who asks.
    pub client_id: &'a str,
    /// What they shall be good for.
    pub scopes: &'a [&'a str],
}

/// The statement that a key signs to get a token (RFC 7523).
#[derive(Debug, Clone, Default)]
pub struct Assertion<'a> {
    /// Where tokens are asked for.
    pub token_url: &'a str,
    /// Who asks; for a Google service account its e-mail address.
    pub issuer: &'a str,
    /// In whose name, where that is somebody else.
    pub subject: Option<&'a str>,
    /// What the token shall be good for.
    pub scopes: &'a [&'a str],
    /// Which key of the issuer signs.
    pub key_id: Option<&'a str>,
}

impl TokenSource {
    /// With a signed statement (RFC 7523), as Google's service accounts do.
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

    /// With the client's own credentials (RFC 6749, section 4.4).
    #[must_use]
    pub fn client_credentials(client: &Client<'_>, secret: &Secret<String>) -> Self {
        let grant = client_grant(client);
        Self(secret.handle().and_then(|secret| Ok(wit::TokenSource::client_credentials(&grant, &secret)?)))
    }

    /// With a refresh token (RFC 6749, section 6).
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

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A text as one part of a path or query (RFC 3986, section 2.1): everything but the unreserved
/// characters is encoded, `/` too.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    use core::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            other => write!(encoded, "%{other:02X}").expect("a text takes all that is written"),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::percent_encode;

    #[test]
    fn what_has_a_meaning_in_urls_is_encoded() {
        assert_eq!(percent_encode("a/b c?ü~"), "a%2Fb%20c%3F%C3%BC~");
    }
}
