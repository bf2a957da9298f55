//! Bundle of HTTP block types: `http-endpoint`, a server that files are downloaded from and
//! uploaded to, and `webhook`, which sends notifications and implements the interface
//! `notification`.

mod endpoint;
mod webhook;

use std::time::Duration;

use blockyard_sdk::http::{Request, Response};
use blockyard_sdk::prelude::*;
use blockyard_sdk::{clock, random};

use endpoint::HttpEndpoint;
use webhook::Webhook;

/// Maximum number of attempts per request.
const ATTEMPTS: u32 = 4;

/// Sends an idempotent request with retries. Connection errors and the statuses 408, 429 and 5xx
/// are retried after 1, 2 and 4 seconds, each plus a jitter of up to one second.
fn send(request: impl Fn() -> Request) -> Result<Response> {
    let mut attempt = 0;
    loop {
        let answer = request().send();
        attempt += 1;
        let passing = match &answer {
            Ok(answer) => matches!(answer.status, 408 | 429 | 500..=599),
            Err(problem) => problem.is_retryable(),
        };
        if attempt == ATTEMPTS || !passing {
            return answer;
        }
        let jitter = random::bytes(1).first().map_or(0, |byte| u64::from(*byte) * 4);
        clock::sleep(Duration::from_millis((1_000 << (attempt - 1)) + jitter));
    }
}

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
    fn addresses_are_whole_and_without_credentials() {
        assert_eq!(mistake("https://example.com/a?b=c"), None);
        assert_eq!(mistake("https://example.com/npm/@scope"), None);
        for wrong in
            ["example.com", "ftp://example.com", "https://", "https:///a", "https://me:pw@example.com", "http://a/#b"]
        {
            assert!(mistake(wrong).is_some(), "{wrong}");
        }
    }
}
