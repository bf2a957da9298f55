//! Requests that a manifest declares safe (RFC 9110, section 9.2.1) although their method is not,
//! such as a query that is sent with POST. They are shown to the user who installs the bundle.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode;
use serde_json::Value;

use super::{OriginError, OriginPattern, RequestUrl};

/// A method and a URL pattern:
/// `POST https://bigquery.googleapis.com/bigquery/v2/projects/*/queries`. A `*` matches one path
/// segment that no server can interpret as several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafeRequest {
    method: String,
    origin: OriginPattern,
    path: String,
}

impl SafeRequest {
    /// Returns true if a request matches, for a block with this configuration.
    #[must_use]
    pub fn matches(&self, method: &str, url: &RequestUrl, config: &Value) -> bool {
        let parts = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
        let (wanted, given) = (parts(&self.path), parts(url.path()));
        self.method == method
            && wanted.len() == given.len()
            && wanted
                .iter()
                .zip(&given)
                .all(|(wanted, given)| if wanted == "*" { is_one_segment(given) } else { wanted == given })
            && self.origin.expand(config).is_some_and(|pattern| pattern.matches(&url.origin))
    }

    /// Returns true if every request that `other` matches also matches this pattern, for every
    /// block.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let (own, others): (Vec<&str>, Vec<&str>) = (self.path.split('/').collect(), other.path.split('/').collect());
        let part = |(own, other): (&&str, &&str)| own == other || *own == "*" && is_one_segment(other);
        let origin = self.origin == other.origin || !self.origin.has_fields() && self.origin.covers(&other.origin);
        self.method == other.method && origin && own.len() == others.len() && own.iter().zip(&others).all(part)
    }
}

/// Checks that a segment remains a single segment in every decoder: it is not empty, contains no
/// separator, and is neither `.` nor `..`, even after any number of percent-decodings and without
/// path parameters (`..;x`).
fn is_one_segment(segment: &str) -> bool {
    let mut decoded = segment.as_bytes().to_vec();
    loop {
        if decoded.iter().any(|byte| matches!(byte, b'/' | b'\\') || byte.is_ascii_control()) {
            return false;
        }
        let name = decoded.split(|byte| *byte == b';').next().unwrap_or_default();
        if matches!(name, b"" | b"." | b"..") {
            return false;
        }
        let next: Vec<u8> = percent_decode(&decoded).collect();
        if next == decoded {
            return true;
        }
        decoded = next;
    }
}

impl FromStr for SafeRequest {
    type Err = OriginError;
    fn from_str(text: &str) -> Result<Self, OriginError> {
        let bad = |reason: &str| OriginError::new(text, reason);
        let (method, url) = text
            .split_once(' ')
            .ok_or_else(|| bad("is not a method and a URL, such as `POST https://api.example.com/v1/search`"))?;
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(bad("does not begin with a method in upper case"));
        }
        // The path begins after the authority, or after the field that contains the origin.
        let from = url.find("://").map_or(0, |at| at + 3);
        let at = url[from..].find('/').map(|at| from + at).ok_or_else(|| bad("has no path"))?;
        let (origin, path) = url.split_at(at);
        let fine = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@/*".contains(&byte))
            && path.split('/').all(|part| part == "*" || !part.contains('*'));
        if !fine {
            return Err(bad("has a path segment that is neither a name nor `*`"));
        }
        Ok(Self { method: method.to_owned(), origin: origin.parse()?, path: path.to_owned() })
    }
}

impl fmt::Display for SafeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.method, self.origin, self.path)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wildcard_matches_one_path_segment() {
        let safe: SafeRequest = "POST https://b.example/v2/projects/*/queries".parse().expect("safe");
        let matches = |method: &str, url: &str| safe.matches(method, &RequestUrl::parse(url).expect(url), &json!({}));
        assert!(matches("POST", "https://b.example/v2/projects/demo/queries?alt=json"));
        assert!(!matches("PUT", "https://b.example/v2/projects/demo/queries"));
        assert!(!matches("POST", "https://b.example/v2/projects/demo/jobs/queries"));
        assert!(!matches("POST", "https://b.example/v2/projects//queries"));
        assert!(!matches("POST", "https://b.example/v2/projects/demo/queries/1"));
        assert!(!matches("POST", "https://c.example/v2/projects/demo/queries"));
        let field: SafeRequest = "POST {config.url}/search".parse().expect("safe");
        let url = RequestUrl::parse("http://a.example/search").expect("a URL");
        assert!(field.matches("POST", &url, &json!({"url": "http://a.example"})));
        assert!(!field.matches("POST", &url, &json!({"url": "https://a.example"})));
    }

    #[test]
    fn a_wildcard_does_not_match_encoded_separators() {
        let safe: SafeRequest = "POST https://b.example/v2/*/queries".parse().expect("safe");
        for part in [
            "a%2Fb",
            "a%2fb",
            "a%5Cb",
            "..%2F..%2Fadmin",
            "a%252Fb",
            "a%25252fb",
            "..;x",
            ".;",
            "%2e%2e;a",
            "a%00b",
            "%0a",
        ] {
            let url = RequestUrl::parse(&format!("https://b.example/v2/{part}/queries"));
            assert!(url.is_err() || !safe.matches("POST", &url.expect("a URL"), &json!({})), "{part}");
        }
        for part in ["demo", "a%20b", "a.b", "example.com:demo", "a;b", "..a", "50%25"] {
            let url = RequestUrl::parse(&format!("https://b.example/v2/{part}/queries")).expect(part);
            assert!(safe.matches("POST", &url, &json!({})), "{part}");
        }
    }

    #[test]
    fn a_safe_request_covers_narrower_ones() {
        let covers = |own: &str, other: &str| {
            let parse = |text: &str| text.parse::<SafeRequest>().expect(text);
            parse(own).covers(&parse(other))
        };
        assert!(covers("POST https://a.example/v1/*", "POST https://a.example/v1/search"));
        assert!(covers("POST {config.url}/v1/*", "POST {config.url}/v1/*"));
        assert!(covers("POST https://*.b.example/q", "POST https://a.b.example/q"));
        for (own, other) in [
            ("POST https://a.example/v1/search", "POST https://a.example/v1/*"),
            ("POST https://a.example/v1/*", "DELETE https://a.example/v1/search"),
            ("POST https://a.example/v1/*", "POST https://a.example/v1/a/b"),
            ("POST https://a.example/v1/*", "POST https://a.example/v1/"),
            ("POST {config.url}/v1/*", "POST {config.other}/v1/*"),
            ("POST {config.url}/v1/*", "POST https://a.example/v1/*"),
        ] {
            assert!(!covers(own, other), "{own} {other}");
        }
    }

    #[test]
    fn safe_requests_round_trip() {
        for text in ["POST https://b.example/v2/*/queries", "PUT {config.url}/a/*"] {
            assert_eq!(text.parse::<SafeRequest>().expect(text).to_string(), text);
        }
        for text in [
            "",
            "POST",
            "post https://a.example/b",
            "POST https://a.example",
            "POST /b",
            "POST https://a.example/a*",
            "POST https://a.example/?q",
        ] {
            assert!(text.parse::<SafeRequest>().is_err(), "{text}");
        }
    }
}
