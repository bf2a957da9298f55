//! Responses: the parts that the guest sees, redirects, and the secrets that a server may echo.

use blockyard_call::{Body, Echo, Fault, Problem, limits};
use blockyard_model::RequestUrl;
use http::header::{
    CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, TRANSFER_ENCODING,
};
use http::{Method, StatusCode};
use hyper::body::Incoming;

use super::client::download;
use super::headers;
use super::request::Outgoing;
use crate::bindings::blockyard::bundle::http::Response;
use crate::view::HttpView;

impl HttpView<'_> {
    /// Converts a response for the guest. If the server may echo a secret of the call, secrets are
    /// masked in the headers, and the body is searched before the guest reads it.
    pub(super) fn response(&mut self, response: http::Response<Incoming>, url: &RequestUrl) -> Result<Response, Fault> {
        let (head, body) = response.into_parts();
        let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > limits::HTTP_HEADER_BYTES {
            let message = format!("the response has headers of more than {} bytes", limits::HTTP_HEADER_BYTES);
            return Err(Problem::new("failed", message).into());
        }
        let secrets = self.call.may_echo(&url.origin);
        let may_echo = !secrets.is_empty();
        let masked = |text: String| if may_echo { self.call.mask_remote_text(text).0 } else { text };
        let mut headers = Vec::with_capacity(head.headers.len());
        for (name, value) in &head.headers {
            if may_echo && (headers::is_withheld(name) || self.call.mask_remote_text(name.to_string()).1 > 0) {
                continue;
            }
            headers.push((name.to_string(), masked(String::from_utf8_lossy(value.as_bytes()).into_owned())));
        }
        let media_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = masked(media_type.unwrap_or("application/octet-stream").to_owned());
        self.call.watched()?;
        let size = hyper::body::Body::size_hint(&body).exact();
        let readable = is_complete(head.status, &head.headers);
        let echo = may_echo.then(|| Echo::new(secrets, readable, self.call.redactor.clone(), self.call.watch.clone()));
        let body = Body::response(&media_type, size, download(body), echo);
        Ok(Response { status: head.status.as_u16(), headers, body: self.call.table.push(body)? })
    }

    /// Returns the target of a redirect, for GET and HEAD only (RFC 9110, section 15.4). Refuses a
    /// target URL that contains a secret of the block, unless the secret may be sent to that
    /// origin. Error messages do not quote a URL that may contain a secret.
    pub(super) fn redirect(
        &self,
        outgoing: &Outgoing,
        response: &http::Response<Incoming>,
    ) -> Result<Option<RequestUrl>, Problem> {
        let leads = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
        // A secret URL leads to no other URL: the guest receives the redirect, masked.
        if !leads || outgoing.secret_url.is_some() || !matches!(outgoing.method, Method::GET | Method::HEAD) {
            return Ok(None);
        }
        let from = &outgoing.url;
        let bad =
            |reason: &str| Problem::new("failed", format!("refused the redirect from `{}`: {reason}", from.origin));
        let secrets = self.call.may_echo(&from.origin);
        let location = location.to_str().map_err(|_| bad("the location is not text"))?;
        let base = url::Url::parse(&from.to_string()).map_err(|error| bad(&error.to_string()))?;
        let mut next = base.join(location).map_err(|error| bad(&error.to_string()))?;
        next.set_fragment(None);
        let next = RequestUrl::parse(next.as_str()).map_err(|error| match secrets.is_empty() {
            true => bad(&error.to_string()),
            false => bad("the location is not a valid URL"),
        })?;
        let is_audience = self.call.is_audience_of(&secrets, &next.origin);
        if !is_audience && self.call.mask_remote_text(location.to_owned()).1 > 0 {
            return Err(bad("the location holds a secret of this block"));
        }
        Ok(Some(next))
    }
}

/// Checks whether a response body is complete and unencoded: no compression, no byte range, no
/// delta (RFC 3229).
fn is_complete(status: StatusCode, headers: &HeaderMap) -> bool {
    let plain = |value: &HeaderValue| {
        let codings = value.to_str().unwrap_or("unknown").to_ascii_lowercase();
        codings.split(',').all(|coding| matches!(coding.trim(), "" | "identity" | "chunked"))
    };
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.trim_start().to_ascii_lowercase();
    let is_partial = matches!(status.as_u16(), 206 | 226)
        || (status.is_success() && headers.contains_key(CONTENT_RANGE))
        || ["multipart/byteranges", "multipart/x-byteranges"].iter().any(|parts| kind.starts_with(parts));
    !is_partial && [CONTENT_ENCODING, TRANSFER_ENCODING].iter().all(|name| headers.get_all(name).iter().all(plain))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;

    use blockyard_call::bindings::blockyard::bundle::types::Host as _;
    use blockyard_call::{CallContext, CallSecret, Guessing, Secret};
    use blockyard_model::{Audience, Capability, Effect, Pointer, SecretUse, SecretValue};

    use super::*;
    use crate::HttpContext;
    use crate::bindings::blockyard::bundle::http::{Auth, ClientGrant, Host as _, HostTokenSource as _, Request};

    /// Starts a server that sends the same response to every request. Returns its origin.
    fn server(head: &str, body: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let response = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.expect("a connection"));
                let (mut line, mut length) = (String::new(), 0);
                while stream.read_line(&mut line).expect("a header") > 2 {
                    let lower = line.to_ascii_lowercase();
                    length = lower
                        .strip_prefix("content-length:")
                        .map_or(length, |value| value.trim().parse().expect("a number of bytes"));
                    line.clear();
                }
                stream.read_exact(&mut vec![0; length]).expect("the body");
                stream.into_inner().write_all(response.as_bytes()).expect("the client reads the response");
            }
        });
        origin
    }

    /// Credentials of the request of a test.
    #[derive(Clone, Copy, PartialEq)]
    enum Credentials {
        None,
        AccessToken,
    }

    /// Calls the server in a call with the secret `test`. Returns the error that ends the call.
    async fn ended(arguments: &str, origin: &str, credentials: Credentials) -> Option<wasmtime::Error> {
        let capabilities: BTreeSet<_> = [format!("http {origin}").parse::<Capability>().expect("a capability")].into();
        let token_url = format!("{origin}/token");
        let uses = SecretUse {
            audience: vec![origin.parse::<Audience>().expect("an origin")],
            tokens: vec![RequestUrl::parse(&token_url).expect("a URL")],
            ..SecretUse::default()
        };
        let pointer = Pointer::new("/password");
        let secret = CallSecret { value: SecretValue::new("test".to_owned()), uses };
        let secrets = BTreeMap::from([(pointer.clone(), secret)]);
        let (bundle, block, grants) = ("zoo".to_owned(), "zoo/a@1".to_owned(), Arc::new(capabilities));
        let http = HttpContext::new(Arc::default(), &grants, Vec::new());
        let mut call = CallContext::new(bundle, Effect::Read, serde_json::Value::Null, block, secrets, grants);
        call.record_arguments(arguments);
        let mut view = HttpView { call: &mut call, http: &http };
        let auth = if credentials == Credentials::AccessToken {
            let secret = view.call.table.push(Secret { pointer }).expect("a handle");
            let grant = ClientGrant { token_url, client_id: "zoo".to_owned(), scopes: Vec::new() };
            Auth::Token(view.client_credentials(grant, secret).await.expect("a token source"))
        } else {
            Auth::None
        };
        let (method, url) = ("GET".to_owned(), format!("{origin}/"));
        let request = Request { method, url, headers: Vec::new(), timeout_ms: None };
        let fault = view.send(request, auth, Vec::new(), None).await.err()?;
        view.convert_problem(fault).err()
    }

    /// Checks that a response ends the call if the caller's arguments contain the secret, and only then.
    async fn stops(head: &str, body: &str, credentials: Credentials) {
        let origin = server(head, body);
        let error = ended(r#"{"word": "xtestx"}"#, &origin, credentials).await;
        let error = error.unwrap_or_else(|| panic!("the mask in `{head}` confirms the argument"));
        assert!(matches!(error.downcast_ref(), Some(Guessing::Echoed)), "{head}: {error:?}");
        assert!(ended(r#"{"word": "xtext"}"#, &origin, credentials).await.is_none(), "{head}");
    }

    #[tokio::test]
    async fn an_echo_of_the_arguments_in_a_header_ends_the_call() {
        for header in [
            "etag: \"xtestx\"",
            "content-disposition: attachment; filename=xtestx.csv",
            "content-type: text/xtestx",
            "x-xtestx: 1",
        ] {
            stops(&format!("200 OK\r\n{header}"), "", Credentials::None).await;
        }
    }

    #[tokio::test]
    async fn an_echo_of_the_arguments_in_a_redirect_ends_the_call() {
        stops("302 Found\r\nlocation: http://127.0.0.1:1/xtestx", "", Credentials::None).await;
    }

    #[tokio::test]
    async fn an_echo_of_the_arguments_by_the_token_server_ends_the_call() {
        for body in [r#"{"error": "invalid_scope", "error_description": "no scope xtestx"}"#, r#"{"error": "xtestx"}"#]
        {
            stops("400 Bad Request", body, Credentials::AccessToken).await;
        }
    }
}
