//! The effect of the running operation, which restricts its requests and statements.

use serde_json::Value;

use super::url::Url;

/// Effect of the running operation.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Effect {
    /// The block's methods are called directly, so their effect is unknown, or the operation may
    /// write.
    #[default]
    Write,
    /// A validation or a migration, which has no capabilities.
    Pure,
    /// The operation only reads.
    Read {
        /// Name of the operation.
        operation: String,
        /// Requests that the operation declares safe, such as `POST https://a.example/v1/search`.
        safe: Vec<String>,
        /// Configuration of the block, for the fields in `safe`.
        config: Value,
    },
}

impl Effect {
    /// Checks whether the operation only reads.
    pub(super) fn is_read(&self) -> bool {
        matches!(self, Self::Read { .. })
    }

    /// Checks that the operation may send a request. No declaration covers a secret URL.
    ///
    /// # Panics
    /// Panics for a request that the operation must not send. The host ends the call in this case.
    pub(super) fn enforce(&self, method: &str, url: &Url, to_secret_url: bool) {
        let Self::Read { operation, safe, config } = self else { return };
        let is_declared = || safe.iter().any(|safe| matches(safe, method, url, config));
        let is_safe = matches!(method, "GET" | "HEAD") || !to_secret_url && is_declared();
        assert!(
            is_safe || !to_secret_url,
            "the operation `{operation}` has the effect `read` and must not send `{method}` to a secret URL"
        );
        assert!(
            is_safe,
            "the operation `{operation}` has the effect `read` and must not send `{method} {}`; if the request \
             changes nothing, declare it with `#[operation(read, safe(\"{method} {}\"))]`",
            url.without_query(),
            url.without_query()
        );
    }
}

/// Checks whether a request matches a declaration, whose URL may have fields of the configuration
/// and `*` as path segments.
fn matches(safe: &str, method: &str, url: &Url, config: &Value) -> bool {
    let Some((declared, pattern)) = safe.split_once(' ') else { return false };
    let Some(pattern) = expanded(pattern, config) else { return false };
    let from = pattern.find("://").map_or(0, |at| at + 3);
    let Some(at) = pattern[from..].find('/').map(|at| from + at) else { return false };
    let (origin, path) = pattern.split_at(at);
    let (wanted, given): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), url.path.split('/').collect());
    let segment = |(wanted, given): (&&str, &&str)| wanted == given || *wanted == "*" && !given.is_empty();
    declared == method
        && origin.eq_ignore_ascii_case(&url.origin)
        && wanted.len() == given.len()
        && wanted.iter().zip(&given).all(segment)
}

/// Replaces `{config.a.b}` by the fields of the configuration. Returns `None` if a field is absent.
/// Of a field that contains a URL, only the origin is used.
fn expanded(pattern: &str, config: &Value) -> Option<String> {
    let mut expanded = String::new();
    let mut rest = pattern;
    while let Some((before, field)) = rest.split_once("{config.") {
        let (field, after) = field.split_once('}')?;
        let value = field.split('.').try_fold(config, |value, name| value.get(name))?.as_str()?;
        let origin = Url::parse(value).map_or_else(|_| value.to_owned(), |url| url.origin);
        expanded.push_str(before);
        expanded.push_str(&origin);
        rest = after;
    }
    expanded.push_str(rest);
    Some(expanded)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn declared_requests_are_safe() {
        let config = json!({ "url": "https://b.example/base", "inner": { "domain": "c.example" } });
        let url = |text: &str| Url::parse(text).expect(text);
        for (safe, method, sent, expected) in [
            ("POST https://a.example/v1/*/search", "POST", "https://a.example/v1/x/search?q=1", true),
            ("POST https://a.example/v1/*/search", "PUT", "https://a.example/v1/x/search", false),
            ("POST https://a.example/v1/*/search", "POST", "https://a.example/v1//search", false),
            ("POST https://a.example/v1/*/search", "POST", "https://a.example/v1/x/y/search", false),
            ("POST https://a.example/v1/*/search", "POST", "https://d.example/v1/x/search", false),
            ("POST {config.url}/search", "POST", "https://b.example/search", true),
            ("POST https://x.{config.inner.domain}/s", "POST", "https://x.c.example/s", true),
            ("POST {config.absent}/search", "POST", "https://b.example/search", false),
        ] {
            assert_eq!(matches(safe, method, &url(sent), &config), expected, "{safe} {method} {sent}");
        }
    }
}
