//! Names of headers that may contain a secret. A schema declares them; the default is
//! `authorization` only.
//!
//! Headers that servers log, echo, store or interpret are rejected even if a schema declares them:
//! a secret in `user-agent` would appear in every access log, and one in `x-goog-meta-*` in an
//! object's metadata.

/// Default header of a secret.
pub const AUTHORIZATION: &str = "authorization";

/// Header names that never contain a secret.
const REFUSED: [&str; 30] = [
    "age",
    "cache-control",
    "connection",
    "cookie",
    "date",
    "early-data",
    "etag",
    "expect",
    "forwarded",
    "from",
    "host",
    "keep-alive",
    "last-event-id",
    "link",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "warning",
    "http2-settings",
];

/// Prefixes of header names that never contain a secret.
const REFUSED_PREFIXES: [&str; 12] = [
    "accept",
    "access-control-",
    "content-",
    "if-",
    "proxy-",
    "sec-",
    "want-",
    "x-forwarded",
    "x-http-method",
    "x-original-",
    "x-rewrite-",
    "trace",
];

/// Checks that a header may contain a secret. `name` must be in lower case.
///
/// # Errors
/// Returns the reason, as a predicate that follows the header name in a message.
pub fn check_secret_header(name: &str) -> Result<(), &'static str> {
    let token = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    if !token {
        return Err("is not a header name in lower case");
    }
    let metadata = name.starts_with("x-") && (name.contains("-meta-") || name.ends_with("-meta"));
    if REFUSED.contains(&name) || REFUSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || metadata {
        return Err("must not contain a secret: servers log, store or interpret it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_secret_header;

    #[test]
    fn secrets_in_logged_stored_or_interpreted_headers_are_rejected() {
        for name in [
            "user-agent",
            "referer",
            "origin",
            "accept",
            "accept-language",
            "accept-encoding",
            "content-type",
            "content-disposition",
            "access-control-request-headers",
            "if-none-match",
            "range",
            "x-goog-meta-note",
            "x-amz-meta-note",
            "x-ms-meta-a",
            "x-object-meta-colour",
            "cookie",
            "host",
            "via",
            "from",
            "te",
            "x-forwarded-for",
            "traceparent",
            "sec-websocket-protocol",
            "",
            "X-Api-Key",
            "a b",
            "x\r\n",
        ] {
            assert!(check_secret_header(name).is_err(), "{name:?}");
        }
        for name in ["authorization", "x-api-key", "x-goog-encryption-key", "api-key", "x-vault-token", "dd-api-key"] {
            assert_eq!(check_secret_header(name), Ok(()), "{name}");
        }
    }
}
