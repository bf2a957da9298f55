//! `http`: requests to origins that the manifest asks for, the yard grants and the block names. The
//! host puts the secret into the request; the guest never has it. What comes back is searched for it
//! before the guest reads a byte.
//!
//! Redirects are followed for GET and HEAD only, each hop checked like a first request, without the
//! secret once the origin changes. Everything else is the guest's to decide on.

mod access;
mod client;
mod connector;
mod headers;
mod network;
mod token;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_model::{Pointer, RequestUrl, SecretValue};
use http::header::{
    AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT as USER_AGENT_HEADER,
};
use http::{Method, StatusCode};
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Resource;
use zeroize::Zeroizing;

pub(crate) use self::client::Upload;
use self::client::{HttpClient, download};
use self::token::{Exchange, Grant, Tokens};
use crate::bindings::blockyard::bundle::http::{
    Auth, ClientGrant, Host, HostTokenSource, JwtGrant, Request, Response, SecretForm, SecretHeader,
};
use crate::capability::secrets::Secret;
use crate::capability::streams::Body;
use crate::limits;
use crate::problem::{Fault, Problem};
use crate::state::CallState;
use crate::trace;

pub use self::token::TokenSource;

/// What requests say of who sends them, where the bundle says nothing.
const USER_AGENT: &str = concat!("blockyard/", env!("CARGO_PKG_VERSION"));

/// What a sandbox keeps between requests: connections and tokens.
#[derive(Default)]
pub(crate) struct Http {
    client: Arc<HttpClient>,
    tokens: Arc<Tokens>,
}

/// A header that is made of a secret of the block.
struct Injected {
    name: HeaderName,
    value: HeaderValue,
    /// Where the secret stands.
    secret: Pointer,
}

/// A request on its way.
struct Outgoing {
    method: Method,
    url: RequestUrl,
    headers: HeaderMap,
    /// What the host adds of the block's secrets.
    injected: Vec<Injected>,
    /// Where it gets the access token that it adds.
    token: Option<TokenSource>,
}

impl Host for CallState {
    async fn send(
        &mut self,
        request: Request,
        auth: Auth,
        secret_headers: Vec<SecretHeader>,
        body: Option<Resource<Body>>,
    ) -> Result<Response, Fault> {
        let traced = trace::host_call("http.send");
        let time = match request.timeout_ms {
            Some(0) => return Err(Problem::new("invalid", "a request cannot be answered within 0 ms").into()),
            Some(milliseconds) => Some(Duration::from_millis(milliseconds.into()).min(limits::HTTP_TIME)),
            None => None,
        };
        let given = request.headers.len() + secret_headers.len();
        if given > limits::HTTP_HEADERS {
            let message = format!("the request has {given} headers; the limit is {}", limits::HTTP_HEADERS);
            return Err(Problem::new("invalid", message).into());
        }
        let method = Method::from_bytes(request.method.as_bytes())
            .ok()
            .filter(|method| !matches!(*method, Method::CONNECT | Method::TRACE))
            .ok_or_else(|| Problem::new("invalid", format!("`{}` is not a method", request.method.escape_debug())))?;
        let url = RequestUrl::parse(&request.url).map_err(|error| Problem::new("invalid", error.to_string()))?;
        self.hold_to_effect(method.as_str(), &url)?;
        self.permit(&url.origin)?;
        traced.origin(&url.origin);
        let (header, token) = self.credential(auth)?;
        let mut injected = Vec::from_iter(header);
        for header in secret_headers {
            injected.push(self.secret_header(&header)?);
        }
        let names: Vec<&HeaderName> =
            injected.iter().map(|header| &header.name).chain(token.as_ref().map(|_| &AUTHORIZATION)).collect();
        if let Some(twice) = names.iter().enumerate().find_map(|(at, name)| names[..at].contains(name).then_some(name))
        {
            return Err(Problem::new("invalid", format!("two secrets were to stand in the header `{twice}`")).into());
        }
        let bytes = injected.iter().map(|header| header.name.as_str().len() + header.value.len()).sum();
        let headers = headers::checked(&request.headers, &names, bytes)?;
        let upload = match body {
            Some(body) => Some(self.take_body(body)?),
            None => None,
        };
        let time = time.unwrap_or_else(|| sending(upload.as_ref()));
        let outgoing = Outgoing { method, url, headers, injected, token };
        let answered = tokio::time::timeout(time, self.follow(outgoing, upload)).await;
        answered.unwrap_or_else(|_| {
            Err(Problem::new("timeout", format!("no answer within {} ms", time.as_millis())).retryable().into())
        })
    }
}

impl CallState {
    /// Sends a request, and follows where it is led.
    async fn follow(&mut self, mut outgoing: Outgoing, upload: Option<Upload>) -> Result<Response, Fault> {
        let repeatable = upload.is_none();
        let mut upload = upload.unwrap_or_else(Upload::none);
        let mut refused_once = false;
        for _ in 0..=limits::REDIRECTS {
            let networks = self.permit(&outgoing.url.origin)?;
            let (request, token) = self.request(&outgoing, upload).await?;
            let origin = outgoing.url.origin.clone();
            let answer = self.http.client.send(request, networks).await;
            let answer = answer.map_err(|problem| self.explain_network(problem, &origin))?;
            upload = Upload::none();
            // A token that was revoked before its time: once more, with a new one.
            if let (StatusCode::UNAUTHORIZED, Some(token), Some(source)) = (answer.status(), token, &outgoing.token) {
                self.http.tokens.forget(&source.exchange, &token).await;
                if repeatable && !std::mem::replace(&mut refused_once, true) {
                    continue;
                }
            }
            match redirect(&outgoing, &answer)? {
                None => return self.response(answer),
                Some(next) => {
                    if next.origin != outgoing.url.origin {
                        outgoing.injected.clear();
                        outgoing.token = None;
                        outgoing.headers.remove(AUTHORIZATION);
                        outgoing.headers.remove(COOKIE);
                    }
                    outgoing.url = next;
                }
            }
        }
        let message = format!("the server leads from one address to the next, more than {} times", limits::REDIRECTS);
        Err(Problem::new("failed", message).into())
    }

    /// The request as it is sent, and the token that it carries.
    async fn request(
        &mut self,
        outgoing: &Outgoing,
        upload: Upload,
    ) -> Result<(http::Request<Upload>, Option<SecretValue>), Fault> {
        let mut headers = outgoing.headers.clone();
        if !headers.contains_key(USER_AGENT_HEADER) {
            headers.insert(USER_AGENT_HEADER, HeaderValue::from_static(USER_AGENT));
        }
        let mut used = None;
        for Injected { name, value, secret } in &outgoing.injected {
            self.for_origin(std::slice::from_ref(secret), &outgoing.url)?;
            headers.insert(name, value.clone());
        }
        if let Some(source) = &outgoing.token {
            self.for_origin(&source.secrets, &outgoing.url)?;
            let networks = self.permit(&source.exchange.url.origin)?;
            let token = self.http.tokens.get(&self.http.client, &source.exchange, networks).await;
            let token = token.map_err(|problem| self.explain_network(problem, &source.exchange.url.origin))?;
            self.also_hide(&token);
            headers.insert(AUTHORIZATION, bearer(&token)?);
            used = Some(token);
        }
        let mut request = http::Request::builder()
            .method(outgoing.method.clone())
            .uri(outgoing.url.to_string())
            .body(upload)
            .map_err(|error| Problem::new("invalid", error.to_string()))?;
        *request.headers_mut() = headers;
        Ok((request, used))
    }

    /// The answer for the guest: no secret of the call in its head, and none in what it reads.
    fn response(&mut self, answer: http::Response<Incoming>) -> Result<Response, Fault> {
        let (head, body) = answer.into_parts();
        let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > limits::HTTP_HEADER_BYTES {
            let message =
                format!("the answer has headers of {bytes} bytes; the limit is {}", limits::HTTP_HEADER_BYTES);
            return Err(Problem::new("failed", message).into());
        }
        let headers = head
            .headers
            .iter()
            .map(|(name, value)| {
                let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), self.redactor.text(text))
            })
            .collect();
        let media_type = head.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = self.redactor.text(media_type.unwrap_or("application/octet-stream").to_owned());
        let size = hyper::body::Body::size_hint(&body).exact();
        let body = Body::answer(&media_type, size, download(body), self.redactor.clone());
        Ok(Response { status: head.status.as_u16(), headers, body: self.table.push(body)? })
    }

    /// How a request proves who sends it: a header, or where its token comes from.
    fn credential(&mut self, auth: Auth) -> Result<(Option<Injected>, Option<TokenSource>), Fault> {
        let header = match auth {
            Auth::None => return Ok((None, None)),
            Auth::Token(source) => return Ok((None, Some(self.table.get(&source)?.clone()))),
            Auth::Bearer(secret) => {
                let (secret, value) = self.secret(&secret)?;
                Injected { name: AUTHORIZATION, value: bearer(&value)?, secret }
            }
            Auth::Basic((user, secret)) => {
                let (secret, value) = self.secret(&secret)?;
                // RFC 7617: the name ends at the first colon.
                if user.contains(':') || user.chars().any(char::is_control) {
                    return Err(Problem::new("invalid", "a user name has no `:` and no control characters").into());
                }
                let pair = Zeroizing::new(format!("{user}:{}", value.expose()));
                let encoded = SecretValue::new(STANDARD.encode(pair.as_bytes()));
                self.also_hide(&encoded);
                let value = sensitive(&format!("Basic {}", encoded.expose()))?;
                Injected { name: AUTHORIZATION, value, secret }
            }
        };
        Ok((Some(header), None))
    }

    /// A header with a secret in it, or with what proves that one has it.
    fn secret_header(&mut self, header: &SecretHeader) -> Result<Injected, Fault> {
        let (secret, value) = self.secret(&header.secret)?;
        let name = headers::may_carry_secret(&header.name)?;
        let value = match header.form {
            SecretForm::Plain => sensitive(value.expose())?,
            SecretForm::Base64Sha256 => {
                let bytes = STANDARD.decode(value.expose().trim()).map(Zeroizing::new);
                let bytes = bytes.map_err(|_| {
                    Problem::new("invalid", format!("the secret `{secret}` is not base64"))
                        .hint("`openssl rand -base64 32` makes a key")
                })?;
                let digest = SecretValue::new(STANDARD.encode(Sha256::digest(&*bytes)));
                // A key that a person made up could be found by its digest.
                self.also_hide(&digest);
                sensitive(digest.expose())?
            }
        };
        Ok(Injected { name, value, secret })
    }

    /// A secret by its handle.
    fn secret(&self, secret: &Resource<Secret>) -> Result<(Pointer, SecretValue), Fault> {
        let pointer = self.table.get(secret)?.pointer.clone();
        let value = self.secrets.get(&pointer).map(|secret| secret.value.clone());
        Ok((pointer, value.ok_or_else(|| Problem::new("not-found", "the block has no such secret"))?))
    }

    /// Refuses secrets whose audience is somebody else than the server of this address.
    fn for_origin(&self, secrets: &[Pointer], url: &RequestUrl) -> Result<(), Problem> {
        for pointer in secrets {
            let audience = self.secrets.get(pointer).map(|secret| secret.audience.as_slice()).unwrap_or_default();
            if !audience.iter().any(|audience| audience.is_origin(&url.origin)) {
                let meant: Vec<String> = audience.iter().map(|audience| format!("`{audience}`")).collect();
                let meant = if meant.is_empty() { "nobody".to_owned() } else { meant.join(", ") };
                let message = format!("the secret `{pointer}` is not meant for `{}`; it is for {meant}", url.origin);
                return Err(Problem::new("not-granted", message));
            }
        }
        Ok(())
    }

    fn exchange(
        &mut self,
        token_url: &str,
        scopes: Vec<String>,
        secrets: Vec<Pointer>,
        grant: Grant,
    ) -> Result<Resource<TokenSource>, Fault> {
        let url = RequestUrl::parse(token_url).map_err(|error| Problem::new("invalid", error.to_string()))?;
        self.permit(&url.origin)?;
        self.for_origin(&secrets, &url)?;
        if scopes.iter().any(|scope| scope.contains(char::is_whitespace)) {
            return Err(Problem::new("invalid", "a scope has no blanks").into());
        }
        Ok(self.table.push(TokenSource { secrets, exchange: Arc::new(Exchange { url, scopes, grant }) })?)
    }
}

impl HostTokenSource for CallState {
    async fn jwt_bearer(&mut self, grant: JwtGrant, key: Resource<Secret>) -> Result<Resource<TokenSource>, Fault> {
        let (pointer, key) = self.secret(&key)?;
        let JwtGrant { token_url, issuer, subject, scopes, key_id } = grant;
        self.exchange(&token_url, scopes, vec![pointer], Grant::JwtBearer { issuer, subject, key_id, key })
    }

    async fn client_credentials(
        &mut self,
        grant: ClientGrant,
        secret: Resource<Secret>,
    ) -> Result<Resource<TokenSource>, Fault> {
        let (pointer, secret) = self.secret(&secret)?;
        let client = grant.client_id;
        self.exchange(&grant.token_url, grant.scopes, vec![pointer], Grant::ClientCredentials { client, secret })
    }

    async fn refresh_token(
        &mut self,
        grant: ClientGrant,
        secret: Option<Resource<Secret>>,
        token: Resource<Secret>,
    ) -> Result<Resource<TokenSource>, Fault> {
        let (pointer, token) = self.secret(&token)?;
        let mut secrets = vec![pointer];
        let secret = match secret {
            None => None,
            Some(secret) => {
                let (pointer, value) = self.secret(&secret)?;
                secrets.push(pointer);
                Some(value)
            }
        };
        let client = grant.client_id;
        self.exchange(&grant.token_url, grant.scopes, secrets, Grant::RefreshToken { client, secret, token })
    }

    async fn drop(&mut self, source: Resource<TokenSource>) -> wasmtime::Result<()> {
        self.table.delete(source)?;
        Ok(())
    }
}

/// Where an answer leads, for requests that may be sent again elsewhere (RFC 9110, section 15.4).
fn redirect(outgoing: &Outgoing, answer: &http::Response<Incoming>) -> Result<Option<RequestUrl>, Problem> {
    let leads = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = answer.headers().get(LOCATION) else { return Ok(None) };
    if !leads || !matches!(outgoing.method, Method::GET | Method::HEAD) {
        return Ok(None);
    }
    let from = &outgoing.url;
    let bad = |reason: String| {
        Problem::new("failed", format!("`{}` leads to an address that is refused: {reason}", from.origin))
    };
    let location = location.to_str().map_err(|_| bad("it is not text".to_owned()))?;
    let base = url::Url::parse(&from.to_string()).map_err(|error| bad(error.to_string()))?;
    let mut next = base.join(location).map_err(|error| bad(error.to_string()))?;
    next.set_fragment(None);
    RequestUrl::parse(next.as_str()).map(Some).map_err(|error| bad(error.to_string()))
}

/// The time of a request whose bundle sets none: what it sends takes its own. A stream that says no size
/// has the call's time.
fn sending(upload: Option<&Upload>) -> Duration {
    match upload.map(Upload::size) {
        None => limits::HTTP_TIME,
        Some(Some(bytes)) => limits::HTTP_TIME + Duration::from_secs(bytes / limits::SLOWEST_BYTES),
        Some(None) => limits::LONGEST_HTTP_TIME,
    }
}

fn bearer(token: &SecretValue) -> Result<HeaderValue, Problem> {
    sensitive(&format!("Bearer {}", token.expose()))
}

/// A header's value that debug output does not show.
fn sensitive(text: &str) -> Result<HeaderValue, Problem> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Problem::new("invalid", "the secret has a character that no header may have, such as a line's end")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_has_time_of_its_own() {
        let stream = || futures_util::StreamExt::boxed(futures_util::stream::empty());
        assert_eq!(sending(None), limits::HTTP_TIME);
        assert_eq!(sending(Some(&Upload::stream(stream(), Some(0)))), limits::HTTP_TIME);
        // A chunk of an upload, over a line that is just fast enough.
        let chunk = Duration::from_secs((16 << 20) / limits::SLOWEST_BYTES);
        assert_eq!(sending(Some(&Upload::stream(stream(), Some(16 << 20)))), limits::HTTP_TIME + chunk);
        assert_eq!(sending(Some(&Upload::stream(stream(), None))), limits::LONGEST_HTTP_TIME);
    }
}
