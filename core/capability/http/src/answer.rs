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
    pub(super) fn response(&mut self, answer: http::Response<Incoming>, url: &RequestUrl) -> Result<Response, Fault> {
        let (head, body) = answer.into_parts();
        let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > limits::HTTP_HEADER_BYTES {
            let message = format!("the response has headers of more than {} bytes", limits::HTTP_HEADER_BYTES);
            return Err(Problem::new("failed", message).into());
        }
        let secrets = self.call.may_echo(&url.origin);
        let may_echo = !secrets.is_empty();
        let mut headers = Vec::with_capacity(head.headers.len());
        for (name, value) in &head.headers {
            if may_echo && (headers::is_withheld(name) || self.call.redactor.finds(name.as_str().as_bytes())) {
                continue;
            }
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            headers.push((name.as_str().to_owned(), if may_echo { self.masked(value) } else { value }));
        }
        let media_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or("application/octet-stream").to_owned();
        let media_type = if may_echo { self.masked(media_type) } else { media_type };
        self.call.watched()?;
        let size = hyper::body::Body::size_hint(&body).exact();
        let readable = is_whole(head.status, &head.headers);
        let echo = may_echo.then(|| Echo::new(secrets, readable, self.call.redactor.clone(), self.call.watch.clone()));
        let body = Body::answer(&media_type, size, download(body), echo);
        Ok(Response { status: head.status.as_u16(), headers, body: self.call.table.push(body)? })
    }

    /// Masks secrets in text from a server, and counts them toward the limits of
    /// [`Watch`](blockyard_call::Watch).
    fn masked(&self, text: String) -> String {
        self.call.watch.searched(text.len());
        let (text, places) = self.call.redactor.counted(text);
        self.call.watch.found(places);
        text
    }

    /// Returns the target of a redirect, for GET and HEAD only (RFC 9110, section 15.4). Refuses a
    /// target URL that contains a secret of the block, unless the secret may be sent to that
    /// origin. Error messages do not quote a URL that may contain a secret.
    pub(super) fn redirect(
        &self,
        outgoing: &Outgoing,
        answer: &http::Response<Incoming>,
    ) -> Result<Option<RequestUrl>, Problem> {
        let leads = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        let Some(location) = answer.headers().get(LOCATION) else { return Ok(None) };
        if !leads || !matches!(outgoing.method, Method::GET | Method::HEAD) {
            return Ok(None);
        }
        let from = &outgoing.url;
        let bad =
            |reason: &str| Problem::new("failed", format!("refused the redirect from `{}`: {reason}", from.origin));
        let secrets = self.call.may_echo(&from.origin);
        self.call.watch.searched(location.len());
        let holds = !secrets.is_empty() && self.call.redactor.finds(location.as_bytes());
        let location = location.to_str().map_err(|_| bad("the location is not text"))?;
        let base = url::Url::parse(&from.to_string()).map_err(|error| bad(&error.to_string()))?;
        let mut next = base.join(location).map_err(|error| bad(&error.to_string()))?;
        next.set_fragment(None);
        let next = RequestUrl::parse(next.as_str()).map_err(|error| match secrets.is_empty() {
            true => bad(&error.to_string()),
            false => bad("the location is not a valid URL"),
        })?;
        if holds && !self.call.is_audience_of(&secrets, &next.origin) {
            self.call.watch.found(1);
            return Err(bad("the location holds a secret of this block"));
        }
        Ok(Some(next))
    }
}

/// Checks whether a response body is complete and unencoded: no compression, no byte range, no
/// delta (RFC 3229).
fn is_whole(status: StatusCode, headers: &HeaderMap) -> bool {
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
