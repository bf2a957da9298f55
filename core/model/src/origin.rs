//! Destinations of HTTP requests: origins (scheme, host, port; RFC 6454), patterns of origins in
//! manifests and grants, and request URLs, all read by the same parser.
//!
//! The parser is stricter than browsers (WHATWG URL): it rejects ambiguous input instead of
//! correcting it. The origin that is checked is therefore the origin that receives the request.

mod pattern;
mod safe;
mod secret;

pub use pattern::{HttpAccess, OriginPattern};
pub(crate) use pattern::{field as config_field, lookup as config_value};
pub use safe::SafeRequest;
pub use secret::SecretUrlError;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Maximum length of a URL in bytes, which is a common limit of servers for the request line.
const URL_BYTES: usize = 8 << 10;

/// URL scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Unencrypted HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// Host name or IP address of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// DNS name in lower case, without a trailing dot.
    Name(String),
    /// IP address. An IPv4-mapped IPv6 address (`::ffff:127.0.0.1`) is stored as IPv4.
    Address(IpAddr),
}

/// Scheme, host and port of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// URL scheme.
    pub scheme: Scheme,
    /// Host name or IP address.
    pub host: Host,
    /// TCP port.
    pub port: u16,
}

/// URL of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestUrl {
    /// Server that receives the request.
    pub origin: Origin,
    /// Path and query in the form of the request line (RFC 9112, origin-form). Begins with `/`.
    pub target: String,
}

/// Error for an invalid URL or pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` {reason}")]
pub struct OriginError {
    given: String,
    reason: String,
}

impl OriginError {
    pub(crate) fn new(given: &str, reason: impl Into<String>) -> Self {
        let mut given = crate::name::printable(given);
        if given.len() > 200 {
            given.truncate(given.floor_char_boundary(200));
            given.push('…');
        }
        Self { given, reason: reason.into() }
    }
}

impl OriginError {
    /// Returns the reason without the invalid text.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl Scheme {
    /// Returns the scheme as written in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Returns the default port of the scheme.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// Splits a URL into its scheme and the text after `://`.
    fn split(text: &str) -> Result<(Self, &str), OriginError> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| OriginError::new(text, "has no scheme; write `https://HOST` or `http://HOST`"))?;
        if scheme.eq_ignore_ascii_case("https") {
            Ok((Self::Https, rest))
        } else if scheme.eq_ignore_ascii_case("http") {
            Ok((Self::Http, rest))
        } else {
            Err(OriginError::new(text, "has a scheme that is neither `http` nor `https`"))
        }
    }
}

impl Host {
    /// Parses the host of a URL: a name, an IPv4 address of four decimal numbers, or an IPv6
    /// address in brackets.
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or("has an IPv6 address without its `]`")?;
            let address = Ipv6Addr::from_str(inner).map_err(|_| "has an invalid IPv6 address in brackets")?;
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if text.is_empty() {
            return Err("has no host".to_owned());
        }
        if !text.is_ascii() {
            return Err("has a host with non-ASCII characters; write it in its ASCII form (`xn--…`)".to_owned());
        }
        let name = text.to_ascii_lowercase();
        // Resolvers treat a host whose last label is numeric as an IPv4 address in some notation.
        let last = name.rsplit('.').find(|label| !label.is_empty()).unwrap_or_default();
        let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if numeric {
            let address = Ipv4Addr::from_str(&name)
                .map_err(|_| "has an IPv4 address that is not four decimal numbers".to_owned())?;
            return Ok(Self::Address(address.into()));
        }
        let fine = name.len() <= 253
            && name.split('.').all(|label| {
                !label.is_empty()
                    && label.len() <= 63
                    && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
            });
        if !fine {
            return Err(
                "has an invalid host name; labels consist of letters, digits, `-` and `_`, separated by single dots"
                    .to_owned(),
            );
        }
        Ok(Self::Name(name))
    }
}

/// Parses the port of a URL.
fn parse_port(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.then(|| text.parse::<u16>().ok()).flatten().filter(|port| *port != 0);
    port.ok_or_else(|| "has a port that is not a number from 1 to 65535".to_owned())
}

/// Splits an authority into host and port. A `:` inside of brackets belongs to the IP address.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let end_of_address = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[end_of_address..].find(':') {
        Some(at) => (&authority[..end_of_address + at], Some(&authority[end_of_address + at + 1..])),
        None => (authority, None),
    }
}

impl RequestUrl {
    /// Parses an absolute URL (RFC 3986) that contains a host.
    ///
    /// # Errors
    /// Returns the part that could be misinterpreted: user information, a fragment, `\`, white
    /// space, `..` as a path segment, an IPv4 address in a notation other than four decimal
    /// numbers, ...
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let bad = |reason: String| OriginError::new(text, reason);
        if text.len() > URL_BYTES {
            return Err(bad(format!("has more than {URL_BYTES} bytes")));
        }
        let (scheme, rest) = Scheme::split(text)?;
        let (authority, target) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(bad("has a user before the host; store credentials as secrets".to_owned()));
        }
        let (host, port) = split_port(authority);
        let origin = Origin {
            scheme,
            host: Host::parse(host).map_err(bad)?,
            port: port.map(parse_port).transpose().map_err(bad)?.unwrap_or(scheme.default_port()),
        };
        check_target(target).map_err(bad)?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { origin, target })
    }

    /// Returns the path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// Checks path and query: only characters of RFC 3986, and no segment that a server would resolve.
fn check_target(target: &str) -> Result<(), String> {
    let bytes = target.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let fine = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => true,
            b'%' => bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
            b'#' => return Err("has a fragment (`#`), which is not sent to servers".to_owned()),
            other => b"-._~!$&'()*+,;=:@/?".contains(other),
        };
        if !fine {
            let shown = target[at..].chars().next().unwrap_or('%').escape_debug().to_string();
            return Err(format!("has `{shown}` in its path or query; percent-encode it"));
        }
    }
    let path = target.split('?').next().unwrap_or_default();
    let dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if path.split('/').any(dots) {
        return Err("has `.` or `..` as a path segment".to_owned());
    }
    Ok(())
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl fmt::Display for RequestUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(text: &str) -> String {
        RequestUrl::parse(text).map_or_else(|error| error.reason, |url| url.origin.to_string())
    }

    #[test]
    fn origins_have_a_canonical_spelling() {
        assert_eq!(origin("HTTPS://Storage.Googleapis.COM:443/b?x=1"), "https://storage.googleapis.com");
        assert_eq!(origin("http://127.0.0.1:4443"), "http://127.0.0.1:4443");
        assert_eq!(origin("http://[0:0::1]:80/"), "http://[::1]");
        assert_eq!(origin("http://[::ffff:127.0.0.1]/"), "http://127.0.0.1");
    }

    #[test]
    fn ambiguous_urls_are_rejected() {
        for text in [
            "",
            "storage.googleapis.com",
            "ftp://a",
            "https://",
            "https:///a",
            "https://good.example@evil.example/",
            "https://good.example\\@evil.example/",
            "https://evil.example#.good.example",
            "https://a..b/",
            "https://a./",
            "https://.a/",
            "http://0x7f.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://127.0.0.1./",
            "http://1.2.3.4.5/",
            "http://[::1/",
            "http://::1/",
            "http://[::1%25eth0]/",
            "https://bücher.example/",
            "https://a:0/",
            "https://a:/",
            "https://a:65536/",
            "https://a:+80/",
            "https://a b/",
            "https://a/ b",
            "https://a/\r\nHost: b",
            "https://a/%2",
            "https://a/%zz",
            "https://a/../b",
            "https://a/%2E%2e/b",
            "https://a/b/.",
            "https://a/{b}",
            "https://*.example.com/",
            "https://a/\u{e9}",
            "https://a\u{3002}b/",
        ] {
            assert!(RequestUrl::parse(text).is_err(), "{text:?} was read");
        }
        for text in ["https://a/a%2F..%2Fb", "https://a/...", "https://a?x=..", "https://a/b..c/@:x"] {
            assert!(RequestUrl::parse(text).is_ok(), "{text:?} was refused");
        }
    }

    /// URLs that are almost valid, as an attacker would write them.
    fn nearly_urls() -> impl Strategy<Value = String> {
        let scheme = prop::sample::select(vec!["http", "https", "HTTP", "Https", "ftp", "http:", ""]);
        let host = prop_oneof![
            "[a-z0-9._-]{0,12}",
            "[0-9x.]{1,12}",
            "([0-9]{1,3}\\.){3}[0-9]{1,3}",
            "\\[[0-9a-f:.]{0,20}\\]",
            "[a-z]{1,3}@[a-z]{1,3}",
            "\\PC{0,6}",
        ];
        let port = prop_oneof![Just(String::new()), ":[0-9]{0,6}", ":\\PC{0,3}"];
        let target = prop_oneof!["(/[a-z.%2Ee]{0,6}){0,3}", "[/?#][ -~]{0,12}", "\\PC{0,6}"];
        (scheme, host, port, target).prop_map(|(scheme, host, port, target)| format!("{scheme}://{host}{port}{target}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        /// The WHATWG parser, which browsers use, interprets every accepted URL in the same way.
        #[test]
        fn the_parser_agrees_with_whatwg(text in nearly_urls()) {
            let Ok(ours) = RequestUrl::parse(&text) else { return Ok(()) };
            // The WHATWG parser rejects invalid punycode labels; this parser accepts them, but they
            // do not resolve.
            let Ok(theirs) = url::Url::parse(&text) else {
                prop_assert!(text.to_ascii_lowercase().contains("xn--"), "{text} is no URL");
                return Ok(());
            };
            let host = match theirs.host().expect("http has a host") {
                url::Host::Domain(name) => Host::Name(name.to_owned()),
                url::Host::Ipv4(address) => Host::Address(address.into()),
                url::Host::Ipv6(address) => Host::Address(IpAddr::V6(address).to_canonical()),
            };
            prop_assert_eq!(&ours.origin.host, &host);
            prop_assert_eq!(Some(ours.origin.port), theirs.port_or_known_default());
            prop_assert_eq!(ours.origin.scheme.as_str(), theirs.scheme());
            prop_assert_eq!(ours.path(), theirs.path());
            prop_assert_eq!(theirs.username(), "");
        }

        #[test]
        fn urls_round_trip(text in nearly_urls()) {
            if let Ok(url) = RequestUrl::parse(&text) {
                prop_assert_eq!(RequestUrl::parse(&url.to_string()), Ok(url));
            }
        }
    }
}
