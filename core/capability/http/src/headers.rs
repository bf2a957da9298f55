//! Request headers that are reserved for the host: framing, routing, secrets, and, in a request to
//! a secret's audience, negotiation of a response that cannot be searched.

use blockyard_call::{Problem, limits, quoted};
use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};

/// Reserved header names: framing and connection management (RFC 9110, section 7.6.1; RFC 9113,
/// section 8.2.2), the target, and headers by which intermediaries and frameworks override the
/// client, the target or the method.
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

/// Prefixes of header names that are reserved for the same reasons.
const REFUSED_PREFIXES: [&str; 4] = ["proxy-", "x-forwarded-", "x-original-", "x-rewrite-"];

/// Header names that are also reserved in a request to a server that receives secrets: they ask for
/// digests, deltas or byte ranges of a response that may echo a secret. The standard `range` header
/// (RFC 9110) is allowed, because a bundle cannot read its response, which has status 206.
/// Responses to its older and private forms may not have that status.
const REFUSED_BESIDE_A_SECRET: [&str; 7] =
    ["want-digest", "want-content-digest", "want-repr-digest", "a-im", "if-range", "request-range", "x-range"];

/// Headers that are withheld from a response that may echo a secret, because they reveal the length
/// or the digest of the body.
const WITHHELD: [&str; 6] =
    ["content-length", "content-range", "content-md5", "digest", "content-digest", "repr-digest"];

/// Checks whether a header is withheld from the guest in a response that may echo a secret.
pub(super) fn is_withheld(name: &HeaderName) -> bool {
    WITHHELD.contains(&name.as_str())
}

/// Changes the headers of a request to a server that receives secrets, so that the response can be
/// searched.
pub(super) fn beside_a_secret(headers: &mut HeaderMap) {
    for name in REFUSED_BESIDE_A_SECRET {
        headers.remove(name);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Validates the bundle's headers. `injected` lists the headers that the host adds from secrets,
/// `injected_bytes` is their total size, and `beside_a_secret` is set if the server receives
/// secrets of the block.
pub(super) fn checked(
    requested: &[(String, String)],
    injected: &[&HeaderName],
    injected_bytes: usize,
    beside_a_secret: bool,
) -> Result<HeaderMap, Problem> {
    let requested_bytes: usize = requested.iter().map(|(name, value)| name.len() + value.len()).sum();
    let bytes = injected_bytes + requested_bytes;
    if bytes > limits::HTTP_HEADER_BYTES || requested.len() > limits::HTTP_HEADERS {
        // The actual size is not reported, because it includes the size of the secrets.
        let message = format!(
            "the request has more than {} headers, or headers of more than {} bytes",
            limits::HTTP_HEADERS,
            limits::HTTP_HEADER_BYTES
        );
        return Err(Problem::new("invalid", message));
    }
    let mut headers = HeaderMap::with_capacity(requested.len() + 2);
    for (name, value) in requested {
        let name = header_name(name)?;
        let shown = quoted(name.as_str());
        let value = HeaderValue::from_str(value).map_err(|_| {
            Problem::new("invalid", format!("the value of the header `{shown}` contains an invalid character"))
        })?;
        if is_reserved_for_host(&name) {
            return Err(Problem::new("denied", format!("a bundle may not set the header `{shown}`")));
        }
        if beside_a_secret && REFUSED_BESIDE_A_SECRET.contains(&name.as_str()) {
            let message = format!("a bundle may not set the header `{shown}` in a request to a secret's audience");
            return Err(Problem::new("denied", message));
        }
        if injected.contains(&&name) || !injected.is_empty() && name == http::header::AUTHORIZATION {
            return Err(Problem::new(
                "denied",
                format!("a bundle may not set the header `{shown}` in addition to a secret"),
            ));
        }
        headers.append(name, value);
    }
    Ok(headers)
}

fn is_reserved_for_host(name: &HeaderName) -> bool {
    REFUSED.contains(&name.as_str()) || REFUSED_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
}

/// Parses a header name, and converts it to lower case.
pub(super) fn header_name(name: &str) -> Result<HeaderName, Problem> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Problem::new("invalid", format!("`{}` is not a valid header name", quoted(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str, injected: &[&HeaderName]) -> bool {
        checked(&[(name.to_owned(), value.to_owned())], injected, 0, false).is_err()
    }

    #[test]
    fn reserved_headers_are_rejected() {
        for name in [
            "Host",
            "HOST",
            "Content-Length",
            "transfer-encoding",
            "Connection",
            "Proxy-Authorization",
            "TE",
            "Expect",
            "X-HTTP-Method-Override",
            "X-Rewrite-Url",
            "X-Real-IP",
            "X-Original-Host",
            "X-Method",
            "X-Forwarded-Port",
            "X-Forwarded-Prefix",
            ":authority",
            "",
            "a b",
            "x\r\nHost",
            "Host ",
            "\u{212a}ey",
        ] {
            assert!(refused(name, "x", &[]), "{name:?}");
        }
        for value in ["a\r\nHost: evil", "a\nb", "a\0b", "\r"] {
            assert!(refused("x-fine", value, &[]), "{value:?}");
        }
        assert!(!refused("authorization", "Bearer own", &[]));
        assert!(refused("authorization", "Bearer own", &[&http::header::AUTHORIZATION]));
        let key = HeaderName::from_static("x-api-key");
        assert!(refused("X-Api-Key", "mine", &[&key]) && refused("Authorization", "mine", &[&key]));
        assert!(!refused("x-other", "mine", &[&key]));
    }

    #[test]
    fn requests_with_a_secret_ask_for_an_unencoded_response() {
        for name in ["Want-Digest", "want-repr-digest", "A-IM", "If-Range"] {
            let requested = [(name.to_owned(), "x".to_owned())];
            assert!(checked(&requested, &[], 0, true).is_err() && checked(&requested, &[], 0, false).is_ok(), "{name}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("accept-encoding", HeaderValue::from_static("gzip, br"));
        headers.insert("want-digest", HeaderValue::from_static("sha-256"));
        beside_a_secret(&mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["accept-encoding"], "identity");
    }

    #[test]
    fn number_and_size_of_headers_are_limited() {
        let many = vec![("x-a".to_owned(), "b".to_owned()); limits::HTTP_HEADERS + 1];
        assert!(checked(&many, &[], 0, false).is_err());
        assert!(checked(&[], &[], limits::HTTP_HEADER_BYTES + 1, false).is_err(), "the host's headers count as well");
        assert!(refused("x-a", &"b".repeat(limits::HTTP_HEADER_BYTES), &[]));
    }
}
