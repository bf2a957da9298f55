//! Request handling shared by all Google APIs: retries and the error format.
//!
//! Retries follow the "Retry strategy" of Cloud Storage: only requests that are harmless to repeat
//! are retried.

use std::time::Duration;

use blockyard_sdk::http::{Request, Response};
use blockyard_sdk::prelude::*;
use blockyard_sdk::retry::{self, Policy, RetriedResponse};
use blockyard_sdk::{StepStatus, random, serde_json};

/// Retries of requests, and of the chunks of an upload.
pub(crate) const RETRIES: Policy = Policy::new(5).jitter(random::bytes);
/// Maximum number of bytes of an error response that are read.
const ERROR_BYTES: u32 = 64 << 10;
/// Maximum number of characters of a response body shown when it contains no error message.
const SHOWN_CHARACTERS: usize = 300;

/// Sends an idempotent request, retrying transient failures.
pub(crate) fn send(request: impl Fn() -> Request) -> Result<Response> {
    send_counting(|| Ok(request())).map(|sent| sent.response)
}

/// Like [`send`], and also returns the number of attempts. A status such as 409 or 412 after a
/// retry may refer to the effect of an earlier attempt whose response was lost.
pub(crate) fn send_counting(request: impl Fn() -> Result<Request>) -> Result<RetriedResponse> {
    RETRIES.send_while(request, classify)
}

/// Returns the response, and whether the failure is transient. BigQuery uses 403 both for rate
/// limits and for missing permissions; only the reason in the body distinguishes them.
pub(crate) fn classify(answer: Result<Response>) -> (Result<Response>, bool) {
    match answer {
        Ok(answer) if answer.status == 403 => {
            let (answer, reason) = read_error(answer);
            (Ok(answer), is_transient(&reason))
        }
        answer => {
            let transient = retry::is_transient(&answer);
            (answer, transient)
        }
    }
}

/// Checks whether an error reason is transient ("Error messages", BigQuery).
pub(crate) fn is_transient(reason: &str) -> bool {
    matches!(
        reason,
        "rateLimitExceeded"
            | "userRateLimitExceeded"
            | "backendError"
            | "internalError"
            | "jobRateLimitExceeded"
            | "jobBackendError"
            | "jobInternalError"
            | "tableUnavailable"
    )
}

/// Reads the error reason from the body, and returns the response with an equivalent body.
fn read_error(answer: Response) -> (Response, String) {
    let Response { status, headers, body } = answer;
    let media_type = body.media_type();
    let text = Response { status, headers: Vec::new(), body }.beginning(ERROR_BYTES);
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    let reason = reason(&document["error"]).unwrap_or_default().to_owned();
    (Response { status, headers, body: Body::from_bytes(&media_type, text.as_bytes()) }, reason)
}

/// Returns the machine-readable reason of a Google API error.
fn reason(error: &Value) -> Option<&str> {
    error["errors"][0]["reason"].as_str().or_else(|| error["status"].as_str())
}

/// Returns the response if its status is 2xx, and an error that names `subject` otherwise.
pub(crate) fn ok(answer: Response, subject: &str) -> Result<Response> {
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    let status = answer.status;
    Err(refusal(status, &answer.beginning(ERROR_BYTES), subject))
}

fn refusal(status: u16, text: &str, subject: &str) -> Problem {
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    let error = &document["error"];
    let message = error["message"].as_str().unwrap_or(text);
    let message: String = message.trim().chars().take(SHOWN_CHARACTERS).collect();
    let reason = reason(error);
    let message = if message.is_empty() { format!("status {status}") } else { format!("{message} (status {status})") };
    let problem = match status {
        404 | 410 => Problem::new("not-found", format!("{subject} was not found: {message}")),
        401 => Problem::new("denied", format!("the credentials were rejected for {subject}: {message}")),
        403 if reason.is_some_and(|reason| reason == "quotaExceeded" || is_transient(reason)) => {
            Problem::new("unavailable", format!("rate limit or quota exceeded for {subject}: {message}"))
                .retryable()
                .hint("retry later, or request a larger quota")
        }
        403 => Problem::new("denied", format!("permission denied for {subject}: {message}")),
        409 => Problem::new("conflict", format!("{subject} already exists: {message}")),
        412 => Problem::new("conflict", format!("precondition failed for {subject}: {message}")),
        408 | 429 | 500.. => {
            Problem::new("unavailable", format!("temporary failure of the request for {subject}: {message}"))
                .retryable()
        }
        _ => Problem::invalid(format!("Google rejected the request for {subject}: {message}")),
    };
    problem.with_details(json!({ "status": status, "reason": reason }))
}

/// Returns the steps of a connection check that requested `subject`: `authenticate` reports whether an
/// access token was issued, `authorise` whether the request was permitted. `found` extracts a
/// detail from the returned resource.
pub(crate) fn check(
    answered: Result<Response>,
    subject: &str,
    started: Duration,
    found: impl Fn(&Value) -> Option<String>,
) -> Vec<Step> {
    let (authenticate, authorise) = match answered {
        Err(problem) if problem.details()["step"] == "authenticate" => (Some(Err(problem)), None),
        Err(problem) => (None, Some(Err(problem))),
        Ok(answer) => {
            let read = ok(answer, subject).and_then(Response::json::<Value>);
            (Some(Ok(None)), Some(read.map(|resource| found(&resource))))
        }
    };
    [("authenticate", authenticate), ("authorise", authorise)]
        .map(|(name, outcome)| match outcome {
            None => Step::new(name, StepStatus::Skipped, None, started),
            Some(Ok(detail)) => Step::new(name, StepStatus::Passed, detail, started),
            Some(Err(problem)) => Step::new(name, StepStatus::Failed, Some(problem.to_string()), started),
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn error_message_includes_the_message_of_google() {
        let text = r#"{"error": {"code": 403, "message": "ada does not have storage.objects.get access", "errors": [{"reason": "forbidden"}]}}"#;
        let problem = refusal(403, text, "object `a`");
        assert_eq!(problem.code(), "denied");
        assert_eq!(
            problem.message(),
            "permission denied for object `a`: ada does not have storage.objects.get access (status 403)"
        );
        assert_eq!(problem.details()["reason"], "forbidden");
    }

    #[test]
    fn exceeded_quota_is_unavailable_rather_than_denied() {
        for reason in ["rateLimitExceeded", "quotaExceeded"] {
            let text = format!(r#"{{"error": {{"message": "Exceeded", "errors": [{{"reason": "{reason}"}}]}}}}"#);
            let problem = refusal(403, &text, "dataset `a`");
            assert_eq!((problem.code(), problem.is_retryable()), ("unavailable", true));
        }
    }

    #[test]
    fn only_transient_errors_are_retryable() {
        for (status, code, retryable) in [
            (400, "invalid", false),
            (404, "not-found", false),
            (412, "conflict", false),
            (429, "unavailable", true),
            (503, "unavailable", true),
        ] {
            let problem = refusal(status, "", "it");
            assert_eq!((problem.code(), problem.is_retryable()), (code, retryable), "{status}");
        }
    }
}
