//! Delivery of messages: what all types of this bundle share.
//!
//! A message is sent once. It is not repeated after a failure, because it may already have been
//! delivered.

use blockyard_sdk::http::{self, Response};
use blockyard_sdk::prelude::*;
use blockyard_sdk::{StepStatus, clock};

/// Result of a notification.
#[data]
pub(crate) struct Delivered {
    /// HTTP status code of the response.
    pub(crate) status: u16,
}

/// Posts a message as JSON to a webhook.
pub(crate) fn post(webhook: &Secret<String>, query: &[(&str, &str)], message: &Value) -> Result<Response> {
    http::to_secret_url("POST", webhook).query(query.iter().copied()).json(message).send()?.ok()
}

/// Returns the subject and the body as one text. `emphasis` marks the subject as bold.
pub(crate) fn text(subject: Option<&str>, body: &str, emphasis: &str) -> String {
    match subject.map(str::trim).filter(|subject| !subject.is_empty()) {
        Some(subject) => format!("{emphasis}{subject}{emphasis}\n{body}"),
        None => body.to_owned(),
    }
}

/// Returns the title of an alert: the subject, or the first line of the body, shortened to `most`
/// characters.
pub(crate) fn headline(subject: Option<&str>, body: &str, most: usize) -> String {
    let subject = subject.map(str::trim).filter(|subject| !subject.is_empty());
    let line = subject.or_else(|| body.trim().lines().next()).unwrap_or_default();
    if line.chars().count() <= most {
        return line.to_owned();
    }
    line.chars().take(most - 1).chain(['…']).collect()
}

/// Fails if a message has more characters than the service accepts.
pub(crate) fn limit(what: &str, text: &str, service: &str, most: usize) -> Result<()> {
    let count = text.chars().count();
    if count <= most {
        return Ok(());
    }
    Err(Problem::invalid(format!("the {what} has {count} characters; {service} accepts {most}"))
        .hint("shorten it, or send it in several messages"))
}

/// Checks a webhook without sending a message: that its URL is valid, and that its server responds. Only
/// a message would show whether the webhook exists.
pub(crate) fn check(webhook: &Secret<String>) -> Vec<Step> {
    let connected = match http::secret_origin(webhook) {
        Ok(origin) => connect(&origin),
        Err(_) => Step::new("connect", StepStatus::Skipped, Some("there is no valid URL".to_owned()), clock::now()),
    };
    vec![resolve(webhook), connected]
}

/// Checks that a server responds. The request has no secret, so that no service can take it for a
/// message.
pub(crate) fn connect(origin: &str) -> Step {
    let started = clock::now();
    let (status, detail) = match http::request("HEAD", origin).send() {
        Ok(response) => {
            (StepStatus::Passed, format!("`{origin}` responded with status {}; no message was sent", response.status))
        }
        Err(problem) => (StepStatus::Failed, problem.to_string()),
    };
    Step::new("connect", status, Some(detail), started)
}

/// Checks that a webhook is a URL of its service.
pub(crate) fn resolve(webhook: &Secret<String>) -> Step {
    let started = clock::now();
    match http::secret_origin(webhook) {
        Ok(origin) => Step::new("resolve", StepStatus::Passed, Some(origin), started),
        Err(problem) => Step::new("resolve", StepStatus::Failed, Some(problem.to_string()), started),
    }
}

/// Returns the violation of an optional origin of a server that is not one.
pub(crate) fn validate_server(server: Option<&str>) -> Vec<Violation> {
    let Some(server) = server else { return Vec::new() };
    let rest = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://"));
    let mistake = match rest {
        None => "must begin with `https://` or `http://`",
        Some(rest) if rest.is_empty() || rest.starts_with('/') => "has no host",
        Some(rest) if rest.trim_end_matches('/').contains(['/', '?', '#', '@']) => {
            "must be an origin, such as `https://chat.example.com`; the complete URL is the secret `url`"
        }
        Some(_) => return Vec::new(),
    };
    vec![Violation::new("/server", mistake)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_the_first_line() {
        assert_eq!(text(Some("load"), "842 rows", "*"), "*load*\n842 rows");
        for none in [None, Some(""), Some(" ")] {
            assert_eq!(text(none, "842 rows", "**"), "842 rows");
        }
    }

    #[test]
    fn a_headline_is_short() {
        assert_eq!(headline(Some("load"), "842 rows", 10), "load");
        assert_eq!(headline(None, "\n842 rows\nin 3 s", 10), "842 rows");
        assert_eq!(headline(None, "", 10), "");
        assert_eq!(headline(Some("0123456789"), "", 10), "0123456789");
        assert_eq!(headline(Some("ü123456789a"), "", 10), "ü12345678…");
    }

    #[test]
    fn a_server_is_an_origin() {
        for server in [None, Some("https://chat.example.com"), Some("http://127.0.0.1:8065/")] {
            assert_eq!(validate_server(server), [], "{server:?}");
        }
        for server in
            ["chat.example.com", "https://", "https:///a", "https://a.example/hooks/x", "https://me:pw@a.example"]
        {
            assert_eq!(validate_server(Some(server)).len(), 1, "{server}");
        }
    }
}
