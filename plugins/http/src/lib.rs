//! Bundle of HTTP block types: `http-endpoint`, a server that files are downloaded from and
//! uploaded to, and `webhook`, which sends notifications and implements the interface
//! `notification`.

mod endpoint;
mod webhook;

use blockyard_sdk::prelude::*;
use blockyard_sdk::random;
use blockyard_sdk::retry::Policy;

use endpoint::HttpEndpoint;
use webhook::Webhook;

/// Retries of GET requests.
const RETRIES: Policy = Policy::new(4).jitter(random::bytes);

/// Returns the mistake in a URL as a predicate, or `None` if the URL is valid.
fn mistake(url: &str) -> Option<&'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        None => Some("must begin with `https://` or `http://`"),
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Some("has no host"),
        Some(rest) if rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) => {
            Some("must not contain credentials; set them in separate fields")
        }
        Some(rest) if rest.contains('#') => Some("must not have a fragment"),
        Some(_) => None,
    }
}

bundle! {
    name: "http",
    description: "HTTP: downloads, uploads and webhooks",
    types: [HttpEndpoint, Webhook],
    capabilities: ["http {config.base_url}", "http {config.url}", "clock", "random"],
}

#[cfg(test)]
mod tests {
    use super::mistake;

    #[test]
    fn urls_are_absolute_and_without_credentials() {
        assert_eq!(mistake("https://example.com/a?b=c"), None);
        assert_eq!(mistake("https://example.com/npm/@scope"), None);
        for wrong in
            ["example.com", "ftp://example.com", "https://", "https:///a", "https://me:pw@example.com", "http://a/#b"]
        {
            assert!(mistake(wrong).is_some(), "{wrong}");
        }
    }
}
