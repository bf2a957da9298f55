//! Token services that are not on the host of their registry.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::remote_url::is_loopback;

/// The origin (scheme, host and port) of a service that issues the tokens of a registry. The user
/// permits it to receive the credentials that are stored for the registry's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenService(Url);

/// The error of a string that is not the origin of a token service: a continuation of its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TokenServiceError(&'static str);

impl TokenService {
    /// Returns the origin of a URL. `None` if a configuration file cannot name this origin.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        url.origin().ascii_serialization().parse().ok()
    }

    /// Returns whether a URL has exactly this origin.
    #[must_use]
    pub fn is_origin_of(&self, url: &Url) -> bool {
        self.0.origin() == url.origin()
    }
}

impl FromStr for TokenService {
    type Err = TokenServiceError;

    fn from_str(text: &str) -> Result<Self, TokenServiceError> {
        let refused = |reason| Err(TokenServiceError(reason));
        if !text.contains("://") || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return refused("is not an origin such as `https://auth.example`");
        }
        let Ok(url) = Url::parse(text) else { return refused("is not an origin such as `https://auth.example`") };
        if !url.username().is_empty() || url.password().is_some() {
            return refused("has credentials, which a configuration file must not contain");
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return refused("is not encrypted; `http://` is permitted for this machine only"),
            _ => return refused("is not an origin such as `https://auth.example`"),
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return refused("has more than scheme, host and port; write only an origin such as `https://auth.example`");
        }
        // The parser of URLs accepts quotes in a host. An error shows this origin for copying into a
        // configuration file.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']');
        if !url.host_str().is_some_and(|host| host.chars().all(is_plain)) {
            return refused("has a host with characters other than letters, digits, `-`, `_` and `.`");
        }
        Ok(Self(url))
    }
}

impl fmt::Display for TokenService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.origin().ascii_serialization())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: Expect) {
        expected.assert_eq(&match text.parse::<TokenService>() {
            Ok(service) => service.to_string(),
            Err(error) => format!("it {error}"),
        });
    }

    #[test]
    fn a_token_service_is_an_origin() {
        check("https://auth.docker.io", expect!["https://auth.docker.io"]);
        check("https://Auth.docker.io:443/", expect!["https://auth.docker.io"]);
        check("https://auth.example:8443", expect!["https://auth.example:8443"]);
        check("http://127.0.0.1:5001", expect!["http://127.0.0.1:5001"]);
        check("http://[::1]:5001", expect!["http://[::1]:5001"]);
        check("http://auth.example", expect!["it is not encrypted; `http://` is permitted for this machine only"]);
        let more = "it has more than scheme, host and port; write only an origin such as `https://auth.example`";
        for text in ["https://a.example/token", "https://a.example?", "https://a.example#x", "https://a.example\\@b"] {
            assert_eq!(text.parse::<TokenService>().map_err(|error| format!("it {error}")), Err(more.to_owned()));
        }
        for text in ["auth.docker.io", "https:auth.example", "oci://auth.example", "", "https://", "https://a .example"]
        {
            let error = text.parse::<TokenService>().expect_err(text).to_string();
            assert_eq!(error, "is not an origin such as `https://auth.example`", "{text}");
        }
        check("https://u:p@auth.example", expect!["it has credentials, which a configuration file must not contain"]);
        check(
            "https://a\",unsigned=true,b=\"",
            expect!["it has a host with characters other than letters, digits, `-`, `_` and `.`"],
        );
    }

    #[test]
    fn an_origin_has_one_scheme_host_and_port() {
        let service: TokenService = "https://auth.example".parse().expect("an origin");
        let is_origin_of = |url: &str| service.is_origin_of(&url.parse().expect("a URL"));
        assert!(is_origin_of("https://auth.example/token") && is_origin_of("https://AUTH.example:443/x?y"));
        for other in [
            "http://auth.example/token",
            "https://auth.example:8443/token",
            "https://auth.example.evil/token",
            "https://evil.auth.example/token",
            "https://auth.example@evil.example/token",
        ] {
            assert!(!is_origin_of(other), "{other}");
        }
        assert_eq!(TokenService::of(&"https://auth.example/token?x".parse().expect("a URL")), Some(service));
        assert_eq!(TokenService::of(&"https://a\"b.example/token".parse().expect("a URL")), None);
    }
}
