//! `http`: requests to origins that the manifest asks for, the yard grants and the block names. The
//! host puts the secret into the request; the guest never has it. What comes back is searched for it
//! before the guest reads a byte, and what cannot be searched is passed on by handle only.
//!
//! Redirects are followed for GET and HEAD only, each hop checked like a first request, without the
//! secret once the origin changes. Everything else is the guest's to decide on.

mod access;
mod answer;
mod client;
mod connector;
mod headers;
mod network;
mod secret;
mod token;

use std::sync::Arc;
use std::time::Duration;

use blockyard_model::{Pointer, RequestUrl, SecretValue};
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, USER_AGENT as USER_AGENT_HEADER};
use http::{Method, StatusCode};
use wasmtime::component::Resource;

use self::client::HttpClient;
pub(crate) use self::client::Upload;
use self::secret::bearer;
use self::token::Tokens;
use crate::bindings::blockyard::bundle::http::{Auth, Host, Request, Response, SecretHeader};
use crate::capability::streams::Body;
use crate::limits;
use crate::problem::{Fault, Problem, quoted};
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
            .ok_or_else(|| Problem::new("invalid", format!("`{}` is not a method", quoted(&request.method))))?;
        let url = RequestUrl::parse(&request.url).map_err(|error| Problem::new("invalid", error.to_string()))?;
        self.hold_to_effect(method.as_str(), &url)?;
        self.permit(&url.origin)?;
        traced.origin(&url.origin);
        let beside_a_secret = !self.may_echo(&url.origin).is_empty();
        if beside_a_secret {
            let headers = request.headers.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
            let words: Vec<&[u8]> =
                [request.method.as_bytes(), request.url.as_bytes()].into_iter().chain(headers).collect();
            self.said(words)?;
        }
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
        let headers = headers::checked(&request.headers, &names, bytes, beside_a_secret)?;
        let upload = match body {
            Some(body) => Some(self.take_body(body, &url)?),
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
        for hop in 0..=limits::REDIRECTS {
            // From the second hop on the origin is the server's choice, and so is what a message quotes of it.
            let permitted = self.permit(&outgoing.url.origin);
            let networks = permitted.map_err(|problem| if hop == 0 { problem } else { self.outside(problem) })?;
            let (request, token) = self.request(&outgoing, upload).await?;
            let origin = outgoing.url.origin.clone();
            let answer = self.http.client.send(request, networks).await;
            let answer = answer.map_err(|problem| self.outside(self.explain_network(problem, &origin)))?;
            upload = Upload::none();
            // A token that was revoked before its time: once more, with a new one.
            if let (StatusCode::UNAUTHORIZED, Some(token), Some(source)) = (answer.status(), token, &outgoing.token) {
                self.http.tokens.forget(&source.exchange, &token).await;
                if repeatable && !std::mem::replace(&mut refused_once, true) {
                    continue;
                }
            }
            match self.redirect(&outgoing, &answer)? {
                None => return self.response(answer, &outgoing.url),
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
        if !self.may_echo(&outgoing.url.origin).is_empty() {
            headers::beside_a_secret(&mut headers);
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
            let token =
                token.map_err(|problem| self.outside(self.explain_network(problem, &source.exchange.url.origin)))?;
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
