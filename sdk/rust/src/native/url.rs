//! URLs of requests, with the rules of the host.

use percent_encoding::percent_decode_str;

/// An absolute URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// Scheme, host and port, in lower case and without the default port.
    pub(crate) origin: String,
    /// Path, which begins with `/`.
    pub(crate) path: String,
    /// Query, without the question mark.
    pub(crate) query: Option<String>,
}

impl Url {
    /// Parses a URL that a request can have: absolute, without user, fragment or dot segments.
    ///
    /// # Errors
    /// Returns a message with the URL and the reason.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = |reason: String| format!("`{text}` {reason}");
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| bad("has no scheme; write `https://HOST` or `http://HOST`".to_owned()))?;
        let scheme = scheme.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => return Err(bad("has a scheme that is neither `http` nor `https`".to_owned())),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(bad("has a user before the host; store credentials as secrets".to_owned()));
        }
        check_authority(authority).map_err(&bad)?;
        check_target(target).map_err(&bad)?;
        let authority = authority.to_ascii_lowercase();
        let origin = format!("{scheme}://{}", authority.strip_suffix(default).unwrap_or(&authority));
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        Ok(Self { origin, path: if path.is_empty() { "/" } else { path }.to_owned(), query })
    }

    /// Returns the URL without its query.
    #[must_use]
    pub(crate) fn without_query(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// Returns the decoded parameters of the query.
    #[must_use]
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        let query = self.query.as_deref().unwrap_or_default();
        let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
        parameters.map(|parameter| parameter.split_once('=').unwrap_or((parameter, ""))).map(decoded).collect()
    }
}

fn decoded((name, value): (&str, &str)) -> (String, String) {
    (decode(name), decode(value))
}

/// Decodes a name or a value of a query, in which `+` is a space.
#[must_use]
fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Checks the host and the port. Addresses in unusual notations are left to the host.
fn check_authority(authority: &str) -> Result<(), String> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() {
        return Err("has no host".to_owned());
    }
    if !host.is_ascii() {
        return Err("has a host with non-ASCII characters; write it in its ASCII form (`xn--…`)".to_owned());
    }
    if let Some(wrong) = host.chars().find(|c| !(c.is_ascii_alphanumeric() || "-._[]:".contains(*c))) {
        return Err(format!("has a host with the character `{}`", wrong.escape_debug()));
    }
    match port {
        Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) && !port.starts_with('+') => Ok(()),
        Some(_) => Err("has an invalid port".to_owned()),
        None => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split_and_normalized() {
        let url = Url::parse("HTTPS://Api.Example.com:443/v1/a?b=c%20d&e=f+g&h").expect("a URL");
        assert_eq!((url.origin.as_str(), url.path.as_str()), ("https://api.example.com", "/v1/a"));
        let parameters = [("b", "c d"), ("e", "f g"), ("h", "")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(url.parameters(), parameters);
        assert_eq!(Url::parse("http://127.0.0.1:8080").expect("a URL").without_query(), "http://127.0.0.1:8080/");
        assert_eq!(Url::parse("http://[::1]:80?a=b").expect("a URL").without_query(), "http://[::1]/");
    }

    #[test]
    fn urls_that_the_host_rejects_are_rejected() {
        for text in [
            "",
            "/v1/items",
            "api.example.com/v1",
            "ftp://a",
            "https://",
            "https:///a",
            "https://me@a/",
            "https://a\\b/",
            "https://a/#b",
            "https://bücher.example/",
            "https://a:0/",
            "https://a:/",
            "https://a:+80/",
            "https://a b/",
            "https://a/ b",
            "https://a/%zz",
            "https://a/../b",
            "https://a/%2E%2e/b",
            "https://a/{b}",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?} was read");
        }
    }
}
