//! Address of an OpenTelemetry collector.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// Base URL of a collector that accepts OTLP/HTTP, such as `http://127.0.0.1:4318`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector(Url);

/// An invalid collector address. The message does not repeat the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CollectorError(&'static str);

impl Collector {
    /// Returns the URL for spans: the base URL followed by the path that the protocol defines
    /// (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>).
    pub(crate) fn traces(&self) -> String {
        format!("{}/v1/traces", self.0.as_str().trim_end_matches('/'))
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl FromStr for Collector {
    type Err = CollectorError;

    fn from_str(text: &str) -> Result<Self, CollectorError> {
        let wrong = |reason| Err(CollectorError(reason));
        let Ok(url) = Url::parse(text) else {
            return wrong("not a URL; write for example http://127.0.0.1:4318");
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return wrong("the URL must begin with http:// or https:// and name a host");
        }
        // Credentials would be visible in the process list and in the collector's logs.
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("the URL must not contain a user name or password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("the URL must not contain a query or fragment");
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_traces_url_is_below_the_collector_url() {
        for (text, traces) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example.com/otlp", "https://otel.example.com/otlp/v1/traces"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(text.parse::<Collector>().expect(text).traces(), traces);
        }
    }

    #[test]
    fn invalid_endpoints_are_rejected_and_not_repeated() {
        for text in [
            "",
            "127.0.0.1:4318",
            "localhost",
            "grpc://127.0.0.1:4317",
            "file:///tmp/x",
            "http://",
            "http://u:hunter2@h",
            "http://hunter2@h",
            "http://h/?key=hunter2",
            "http://h/#hunter2",
        ] {
            let error = text.parse::<Collector>().expect_err(text);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
