//! `http`: requests to origins that the manifest asks for, the yard grants and the block's
//! configuration names. The host adds secrets to a request; the guest never sees them. A response
//! is searched for secrets before the guest reads a byte of it. A response that cannot be searched
//! can only be passed on by handle.
//!
//! Redirects are followed for GET and HEAD only. Each hop is checked like a first request, and
//! secrets are removed once the origin changes. Redirects of a request to a secret URL are not
//! followed. A request without a body is repeated once, with a
//! new access token, if the server rejects its token. All other decisions are left to the guest.

mod access;
pub mod bindings;
mod client;
mod connector;
mod headers;
mod member;
mod network;
mod request;
mod response;
mod secret;
mod secret_url;
mod token;
mod view;

use std::time::Duration;

use blockyard_call::{Body, Fault, Problem, Secret, limits, quoted, trace};
use blockyard_model::{RequestUrl, SecretValue};
use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, USER_AGENT as USER_AGENT_HEADER};
use http::{Method, StatusCode};
use wasmtime::component::{HasData, Linker, Resource};

use self::client::{USER_AGENT, Upload};
use self::request::{Injected, Outgoing};
use self::secret::bearer;
use crate::bindings::blockyard::bundle::http::{self as interface, Auth, Host, Request, Response, SecretHeader};

pub use self::token::TokenSource;
pub use self::view::{HttpClients, HttpContext, HttpView};

/// Names [`HttpView`] as the data of the interface.
struct HasHttp;

impl HasData for HasHttp {
    type Data<'call> = HttpView<'call>;
}

/// Links the interface `http`.
///
/// # Errors
/// Returns an error if the linker already defines the interface.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> HttpView<'_>,
) -> wasmtime::Result<()> {
    interface::add_to_linker::<T, HasHttp>(linker, view)
}

impl Host for HttpView<'_> {
    async fn secret_origin(&mut self, url: Resource<Secret>) -> Result<String, Fault> {
        let _traced = trace::inner_call("http.secret-origin");
        Ok(self.secret_url(&url)?.url.origin.to_string())
    }

    async fn send(
        &mut self,
        request: Request,
        auth: Auth,
        secret_headers: Vec<SecretHeader>,
        body: Option<Resource<Body>>,
    ) -> Result<Response, Fault> {
        let traced = trace::host_call("http.send");
        let time = match request.timeout_ms {
            Some(0) => return Err(Problem::new("invalid", "the timeout of a request must be more than 0 ms").into()),
            Some(milliseconds) => Some(Duration::from_millis(milliseconds.into()).min(limits::HTTP_TIME)),
            None => None,
        };
        let count = request.headers.len() + secret_headers.len();
        if count > limits::HTTP_HEADERS {
            let message = format!("the request has {count} headers; the limit is {}", limits::HTTP_HEADERS);
            return Err(Problem::new("invalid", message).into());
        }
        let method = method(&request.method)?;
        let url = RequestUrl::parse(&request.url).map_err(|error| Problem::new("invalid", error.to_string()))?;
        let (mut secret_url, mut member) = (None, None);
        match &auth {
            Auth::Url(secret) => secret_url = Some(Self::sent_to(self.secret_url(secret)?, &url)?),
            Auth::Member((name, secret)) => member = Some(self.member(name, secret, &url)?),
            _ => {}
        }
        self.enforce_effect(method.as_str(), &url, secret_url.is_some())?;
        self.permit(&url.origin)?;
        traced.origin(&url.origin);
        let beside_a_secret = !self.call.may_echo(&url.origin).is_empty();
        if beside_a_secret {
            let headers = request.headers.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
            let words: Vec<&[u8]> =
                [request.method.as_bytes(), request.url.as_bytes()].into_iter().chain(headers).collect();
            self.call.check_for_secrets(words)?;
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
            return Err(
                Problem::new("invalid", format!("the header `{twice}` is set from more than one secret")).into()
            );
        }
        let bytes = injected.iter().map(|header| header.name.as_str().len() + header.value.len()).sum();
        let headers = headers::checked(&request.headers, &names, bytes, beside_a_secret)?;
        let upload = match (member, body) {
            (Some(member), body) => Some(self.with_member(&member, body)?),
            (None, Some(body)) => {
                let (stream, size) = self.call.take_body(body, &url)?;
                Some(Upload::stream(stream, size))
            }
            (None, None) => None,
        };
        let time = time.unwrap_or_else(|| sending(upload.as_ref()));
        let outgoing = Outgoing { method, url, secret_url, headers, injected, token };
        let response = tokio::time::timeout(time, self.follow(outgoing, upload)).await;
        response.unwrap_or_else(|_| {
            Err(Problem::new("timeout", format!("no response within {} ms", time.as_millis())).retryable().into())
        })
    }
}

impl HttpView<'_> {
    /// Sends a request and follows redirects.
    async fn follow(&mut self, mut outgoing: Outgoing, upload: Option<Upload>) -> Result<Response, Fault> {
        let repeatable = upload.is_none();
        let mut upload = upload.unwrap_or_else(Upload::none);
        let mut refused_once = false;
        for hop in 0..=limits::REDIRECTS {
            // From the second hop on the server chooses the origin, so a message that quotes it is
            // masked.
            let permitted = self.permit(&outgoing.url.origin);
            let networks =
                permitted.map_err(|problem| if hop == 0 { problem } else { self.call.mask_remote_problem(problem) })?;
            let (request, token) = self.request(&outgoing, upload).await?;
            let origin = outgoing.url.origin.clone();
            let response = self.http.clients.client.send(request, networks).await;
            let response =
                response.map_err(|problem| self.call.mask_remote_problem(self.explain_network(problem, &origin)))?;
            upload = Upload::none();
            // The token was revoked before it expired: retry once, with a new token.
            if let (StatusCode::UNAUTHORIZED, Some(token), Some(source)) = (response.status(), token, &outgoing.token) {
                self.http.clients.tokens.discard(&source.exchange, &token).await;
                if repeatable && !std::mem::replace(&mut refused_once, true) {
                    continue;
                }
            }
            match self.redirect(&outgoing, &response)? {
                None => return self.response(response, &outgoing.url),
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
        let message = format!("the server redirected the request more than {} times", limits::REDIRECTS);
        Err(Problem::new("failed", message).into())
    }

    /// Builds the HTTP request of one hop. Returns it with the access token that it carries.
    async fn request(
        &mut self,
        outgoing: &Outgoing,
        upload: Upload,
    ) -> Result<(http::Request<Upload>, Option<SecretValue>), Fault> {
        let mut headers = outgoing.headers.clone();
        if !headers.contains_key(USER_AGENT_HEADER) {
            headers.insert(USER_AGENT_HEADER, HeaderValue::from_static(USER_AGENT));
        }
        if !self.call.may_echo(&outgoing.url.origin).is_empty() {
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
            let token = self.http.clients.tokens.get(&self.http.clients.client, &source.exchange, networks).await;
            let token = token.map_err(|error| {
                let problem = error.problem(self.call);
                self.call.mask_remote_problem(self.explain_network(problem, &source.exchange.url.origin))
            })?;
            self.call.add_secret(&token);
            headers.insert(AUTHORIZATION, bearer(&token)?);
            used = Some(token);
        }
        let mut url = &outgoing.url;
        if let Some(secret) = &outgoing.secret_url {
            self.for_origin(std::slice::from_ref(&secret.secret), &outgoing.url)?;
            url = &secret.url;
        }
        let mut request = http::Request::builder()
            .method(outgoing.method.clone())
            .uri(url.to_string())
            .body(upload)
            .map_err(|error| Problem::new("invalid", error.to_string()))?;
        *request.headers_mut() = headers;
        Ok((request, used))
    }
}

/// Parses a method that a bundle may use.
fn method(text: &str) -> Result<Method, Problem> {
    let method = Method::from_bytes(text.as_bytes()).ok();
    let method = method.filter(|method| !matches!(*method, Method::CONNECT | Method::TRACE));
    method.ok_or_else(|| Problem::new("invalid", format!("`{}` is not a supported HTTP method", quoted(text))))
}

/// Returns the timeout of a request whose bundle sets none. An upload of known size adds time
/// according to [`limits::SLOWEST_BYTES`]; an upload of unknown size is limited by the deadline of
/// the call.
fn sending(upload: Option<&Upload>) -> Duration {
    match upload.map(Upload::size) {
        None => limits::HTTP_TIME,
        Some(Some(bytes)) => limits::HTTP_TIME + Duration::from_secs(bytes / limits::SLOWEST_BYTES),
        Some(None) => limits::LONGEST_HTTP_TIME,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use blockyard_call::{CallContext, EffectViolation};
    use blockyard_model::{Capability, Effect};

    use super::*;

    /// Returns the error of a request in a `read` operation of a bundle whose manifest requests
    /// `http https://a.example`. Needs no engine.
    async fn refused(grants: &[&str], method: &str, url: &str) -> Fault {
        let parse =
            |capabilities: &[&str]| capabilities.iter().map(|text| text.parse::<Capability>().expect(text)).collect();
        let (bundle, block, grants) = ("zoo".to_owned(), "zoo/a@1".to_owned(), Arc::new(parse(grants)));
        let config = serde_json::Value::Null;
        let mut call = CallContext::new(bundle, Effect::Read, config, block, BTreeMap::new(), grants);
        let http = HttpContext::new(Arc::default(), &parse(&["http https://a.example"]), Vec::new());
        let (method, url) = (method.to_owned(), url.to_owned());
        let request = Request { method, url, headers: Vec::new(), timeout_ms: None };
        let sent = HttpView { call: &mut call, http: &http }.send(request, Auth::None, Vec::new(), None).await;
        sent.expect_err("the request is refused")
    }

    #[tokio::test]
    async fn a_request_needs_the_manifest_and_a_grant() {
        let granted = ["http https://a.example"];
        for (grants, url, message) in [
            (
                &granted[..],
                "https://b.example",
                "bundle `zoo` may not send requests to `https://b.example`: its manifest does not ask for it",
            ),
            (&[][..], "https://a.example", "bundle `zoo` needs `http https://a.example`, which is not granted"),
        ] {
            let Fault::Problem(problem) = refused(grants, "GET", url).await else { panic!("{url}") };
            assert_eq!((problem.code.as_str(), problem.message.as_str()), ("not-granted", message));
        }
        let Fault::Trap(trap) = refused(&granted, "POST", "https://a.example").await else {
            panic!("the call must end")
        };
        assert!(trap.is::<EffectViolation>(), "{trap:?}");
    }

    #[test]
    fn an_upload_extends_the_timeout_by_its_size() {
        let stream = || futures_util::StreamExt::boxed(futures_util::stream::empty());
        assert_eq!(sending(None), limits::HTTP_TIME);
        assert_eq!(sending(Some(&Upload::stream(stream(), Some(0)))), limits::HTTP_TIME);
        // One chunk of an upload, at exactly the lowest accepted speed.
        let chunk = Duration::from_secs((16 << 20) / limits::SLOWEST_BYTES);
        assert_eq!(sending(Some(&Upload::stream(stream(), Some(16 << 20)))), limits::HTTP_TIME + chunk);
        assert_eq!(sending(Some(&Upload::stream(stream(), None))), limits::LONGEST_HTTP_TIME);
    }
}
