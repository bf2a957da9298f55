//! Headers that a bundle may not set: those that frame the message, those that say where it goes,
//! and those that stand where the host puts a secret. The rest is the bundle's.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::limits;
use crate::problem::Problem;

/// Names that belong to the host: framing and connections (RFC 9110, 7.6.1; RFC 9113, 8.2.2), the
/// target, and those that change a method behind its back.
const REFUSED: [&str; 18] = [
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
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
];

/// The bundle's headers, checked. `injected` are those into which the host puts secrets, of so many bytes.
pub(super) fn checked(
    given: &[(String, String)],
    injected: &[&HeaderName],
    injected_bytes: usize,
) -> Result<HeaderMap, Problem> {
    let own: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    let bytes = injected_bytes + own;
    if bytes > limits::HTTP_HEADER_BYTES || given.len() > limits::HTTP_HEADERS {
        return Err(Problem::new(
            "invalid",
            format!(
                "the request has {} headers of {bytes} bytes; the limits are {} and {}",
                given.len(),
                limits::HTTP_HEADERS,
                limits::HTTP_HEADER_BYTES
            ),
        ));
    }
    let mut headers = HeaderMap::with_capacity(given.len() + 2);
    for (name, value) in given {
        let shown = name.escape_debug().to_string();
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Problem::new("invalid", format!("`{shown}` is not the name of a header")))?;
        let value = HeaderValue::from_str(value)
            .map_err(|_| Problem::new("invalid", format!("header `{name}` has a character that no header may have")))?;
        if REFUSED.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
            return Err(Problem::new("denied", format!("a bundle may not set the header `{name}`")));
        }
        if injected.contains(&&name) || !injected.is_empty() && name == http::header::AUTHORIZATION {
            return Err(Problem::new(
                "denied",
                format!("the header `{name}` stands beside a secret that the host adds"),
            ));
        }
        headers.append(name, value);
    }
    Ok(headers)
}

/// Whether the host may put a secret into this header.
pub(super) fn may_carry_secret(name: &str) -> Result<HeaderName, Problem> {
    let shown = name.escape_debug().to_string();
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Problem::new("invalid", format!("`{shown}` is not the name of a header")))?;
    if REFUSED.contains(&name.as_str()) || name.as_str().starts_with("proxy-") || name == http::header::COOKIE {
        return Err(Problem::new("denied", format!("a secret may not stand in the header `{name}`")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str, injected: &[&HeaderName]) -> bool {
        checked(&[(name.to_owned(), value.to_owned())], injected, 0).is_err()
    }

    #[test]
    fn headers_that_forge_are_refused() {
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
    fn headers_are_limited() {
        let many = vec![("x-a".to_owned(), "b".to_owned()); limits::HTTP_HEADERS + 1];
        assert!(checked(&many, &[], 0).is_err());
        assert!(checked(&[], &[], limits::HTTP_HEADER_BYTES + 1).is_err(), "what the host adds counts, too");
        assert!(refused("x-a", &"b".repeat(limits::HTTP_HEADER_BYTES), &[]));
    }
}
