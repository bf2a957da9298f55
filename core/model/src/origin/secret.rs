//! Secret URLs, such as incoming webhooks: the permission to use the URL is to know it. Everything
//! that a user, a log or a bundle sees of a secret URL is its origin.

use super::RequestUrl;
use crate::secret::SecretValue;

/// Minimum length of a part of a secret URL that is a secret by itself, in bytes. Shorter parts, such
/// as `services` or `v1`, occur in ordinary text. The tokens in webhooks have 24 bytes or more.
const SECRET_PART_BYTES: usize = 16;

/// Error for a secret that is not a URL to which requests can be sent. It contains nothing of the
/// secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SecretUrlError(String);

impl RequestUrl {
    /// Parses a secret as the URL of a request, by the rules of [`RequestUrl::parse`].
    ///
    /// # Errors
    /// Returns the reason as a predicate, without any text of the secret.
    pub fn parse_secret(secret: &SecretValue) -> Result<Self, SecretUrlError> {
        let text = secret.expose();
        if text.trim() != text {
            return Err(SecretUrlError("begins or ends with white space".to_owned()));
        }
        // `parse` quotes an invalid character of path and query.
        let rest = text.split_once("://").map_or("", |(_, rest)| rest);
        let target = &rest[rest.find(['/', '?', '#']).unwrap_or(rest.len())..];
        if !target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?#%".contains(&byte)) {
            return Err(SecretUrlError("has a character that must be percent-encoded".to_owned()));
        }
        Self::parse(text).map_err(|error| SecretUrlError(error.reason().to_owned()))
    }

    /// Returns the parts of a secret URL that a server may echo without the rest: path and query, the
    /// path, and each long segment of the path and value of the query.
    #[must_use]
    pub fn secret_parts(&self) -> Vec<SecretValue> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let values = query.split('&').map(|parameter| parameter.split_once('=').map_or(parameter, |(_, value)| value));
        let long = std::iter::once(path).chain(path.split('/')).chain(values);
        let mut parts = vec![self.target.as_str()];
        for part in long.filter(|part| part.len() >= SECRET_PART_BYTES) {
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        parts.into_iter().map(|part| SecretValue::new(part.to_owned())).collect()
    }

    /// Returns the URL with further parameters in its query.
    #[must_use]
    pub fn with_query(&self, query: &str) -> Self {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        Self { origin: self.origin.clone(), target: format!("{}{separator}{query}", self.target) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<RequestUrl, SecretUrlError> {
        RequestUrl::parse_secret(&SecretValue::new(text.to_owned()))
    }

    #[test]
    fn errors_contain_nothing_of_the_secret() {
        for (text, reason) in [
            ("hunter2", "has no scheme; write `https://HOST` or `http://HOST`"),
            ("ftp://a.example/s3cret", "has a scheme that is neither `http` nor `https`"),
            ("https://me:s3cret@a.example/", "has a user before the host; store credentials as secrets"),
            ("https://a.example/s3cret#part", "has a fragment (`#`), which is not sent to servers"),
            ("https://a.example/s3\u{e9}cret", "has a character that must be percent-encoded"),
            ("https://a.example/s3 cret", "has a character that must be percent-encoded"),
            ("https://a.example/s3{cret", "has a character that must be percent-encoded"),
            (" https://a.example/s3cret", "begins or ends with white space"),
            ("https://a.example/../s3cret", "has `.` or `..` as a path segment"),
            ("https://a.example/%s3cret", "has `%` in its path or query; percent-encode it"),
        ] {
            assert_eq!(parse(text).expect_err(text).to_string(), reason, "{text}");
        }
    }

    #[test]
    fn parts_that_can_be_echoed_alone_are_secrets() {
        let parts = |text: &str| {
            let parts = parse(text).expect("a URL").secret_parts();
            parts.iter().map(|part| part.expose().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            parts("https://hooks.example/services/T01/B02/XXXXXXXXXXXXXXXXXXXXXXXX"),
            ["/services/T01/B02/XXXXXXXXXXXXXXXXXXXXXXXX", "XXXXXXXXXXXXXXXXXXXXXXXX"]
        );
        assert_eq!(
            parts("https://flow.example/run?api-version=1&sig=0123456789abcdef_"),
            ["/run?api-version=1&sig=0123456789abcdef_", "0123456789abcdef_"]
        );
        assert_eq!(parts("https://chat.example"), ["/"]);
    }

    #[test]
    fn a_query_is_appended() {
        let with = |text: &str| parse(text).expect("a URL").with_query("wait=true").to_string();
        assert_eq!(with("https://a.example/b"), "https://a.example/b?wait=true");
        assert_eq!(with("https://a.example/b?c=d"), "https://a.example/b?c=d&wait=true");
    }

    proptest! {
        #[test]
        fn no_error_quotes_a_secret(secret in "\\PC{0,24}", scheme in "(https?://|)(a\\.example/)?") {
            let text = format!("{scheme}{secret}");
            if let Err(error) = parse(&text) {
                let known = [
                    "begins or ends with white space", "has a character that must be percent-encoded", "has no scheme",
                    "has a scheme that is neither", "has a user before the host", "has a fragment", "has no host",
                    "has an IPv4 address that is not",
                    "has a host with non-ASCII characters", "has an invalid host name", "has a port that is not",
                    "has an IPv6 address", "has an invalid IPv6",
                    "has `.` or `..` as a path segment", "has `%` in its path", "has more than",
                ];
                prop_assert!(known.iter().any(|known| error.to_string().starts_with(known)), "{}", error);
            }
        }
    }
}
