//! Block type `webhook`: a URL that receives messages.

use std::collections::BTreeMap;

use blockyard_sdk::clock;
use blockyard_sdk::http;
use blockyard_sdk::prelude::*;
use blockyard_sdk::serde_json;

/// Webhook of a chat or notification service, which receives messages as JSON.
#[derive(Block)]
#[block(type = "webhook", version = 1, title = "Webhook", interfaces(interface::Notification))]
pub(crate) struct Webhook {
    /// URL that receives the messages, e.g. `https://chat.example.com/hooks/42`.
    url: String,
    /// Bearer token (`Authorization: Bearer`).
    #[block(audience = "{config.url}")]
    token: Option<Secret<String>>,
    /// JSON document to send. In its strings, `{subject}` and `{body}` are replaced by those of the
    /// message. Default: `{"text": "{subject}\n{body}"}`, which most chat services accept.
    template: Option<Value>,
}

/// Result of a notification.
#[data]
struct Notified {
    /// HTTP status code of the response.
    status: u16,
}

#[operations]
impl interface::Notification for Webhook {
    /// Sends a message.
    fn notify(
        &self,
        /// Subject in a few words, e.g. `nightly load`.
        subject: Option<String>,
        /// Text of the message, e.g. `loaded 842 rows`.
        body: String,
    ) -> Result<Notified> {
        let parts = BTreeMap::from([("{subject}", subject.unwrap_or_default()), ("{body}", body)]);
        let template = self.template.clone().unwrap_or_else(|| json!({ "text": "{subject}\n{body}" }));
        let message = filled(template, &parts);
        // The request is never retried: the message may already have been delivered.
        let request = http::post(self.url.as_str()).json(&message);
        let request = match &self.token {
            Some(token) => request.bearer(token),
            None => request,
        };
        let answer = request.send()?;
        Ok(Notified { status: answer.ok()?.status })
    }
}

#[operations]
impl Webhook {
    /// Checks that the URL is reachable with a HEAD request. Sends no message, because a test
    /// message would reach real recipients.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let answer = http::request("HEAD", self.url.as_str()).send();
        let (status, detail) = match answer {
            Ok(answer) => (blockyard_sdk::StepStatus::Passed, format!("status {}; no message was sent", answer.status)),
            Err(problem) => (blockyard_sdk::StepStatus::Failed, problem.to_string()),
        };
        vec![Step::new("connect", status, Some(detail), started)]
    }

    /// Checks that the URL is valid and that the template contains the body.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        if let Some(wrong) = crate::mistake(&self.url) {
            violations.push(Violation::new("/url", wrong));
        }
        let written = self.template.as_ref().map(serde_json::Value::to_string);
        if written.is_some_and(|text| !text.contains("{body}")) {
            violations.push(Violation::new("/template", "must contain `{body}`"));
        }
        violations
    }
}

/// Replaces the placeholders in the strings of a template. Replacements are inserted as text, never
/// as JSON.
fn filled(template: Value, parts: &BTreeMap<&str, String>) -> Value {
    match template {
        Value::String(text) => {
            let mut filled = String::new();
            let mut rest = text.as_str();
            // A single pass, so that placeholders within replacements are not replaced.
            while let Some((at, name, part)) =
                parts.iter().filter_map(|(name, part)| Some((rest.find(name)?, *name, part))).min()
            {
                filled.push_str(&rest[..at]);
                filled.push_str(part);
                rest = &rest[at + name.len()..];
            }
            filled.push_str(rest);
            Value::String(filled.trim().to_owned())
        }
        Value::Array(items) => items.into_iter().map(|item| filled(item, parts)).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, filled(value, parts))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::StepStatus;
    use blockyard_sdk::fake::{self, Host};

    use super::*;

    const URL: &str = "https://chat.example.com/hooks/42";

    #[test]
    fn message_replaces_placeholders_of_the_template() {
        let parts = BTreeMap::from([("{subject}", "load".to_owned()), ("{body}", "\"{subject}\"".to_owned())]);
        let template = json!({"title": "{subject}", "blocks": [{"text": "x {body} y"}], "n": 1});
        assert_eq!(
            filled(template, &parts),
            json!({"title": "load", "blocks": [{"text": "x \"{subject}\" y"}], "n": 1})
        );
        let none = BTreeMap::from([("{subject}", String::new()), ("{body}", "hello".to_owned())]);
        assert_eq!(filled(json!("{subject}\n{body}"), &none), json!("hello"));
    }
    #[test]
    fn a_message_is_sent_once() {
        let sent = |message: Value| fake::post(URL).bearer("/token").json(message);
        let host = Host::new()
            .secret("/token", "t0ken")
            .http(sent(json!({ "text": "load\n842 rows" })).replies(200).replies(503))
            .http(sent(json!({ "title": "", "lines": ["842 rows"] })).replies(204));
        let webhook = host.block::<Webhook>(json!({ "url": URL }));
        let message = json!({ "subject": "load", "body": "842 rows" });
        assert_eq!(webhook.call("notify", message.clone()).expect("sent").result(), &json!({ "status": 200 }));
        assert_eq!(webhook.call("notify", message).expect_err("unavailable").code(), "unavailable");
        let template = json!({ "title": "{subject}", "lines": ["{body}"] });
        let webhook = host.block::<Webhook>(json!({ "url": URL, "template": template }));
        let reply = webhook.call("notify", json!({ "body": "842 rows" })).expect("sent");
        assert_eq!(reply.result(), &json!({ "status": 204 }));
    }

    #[test]
    fn a_check_sends_no_message() {
        let host = Host::new().http(fake::head(URL).anonymous().replies(405).replies(fake::unreachable()));
        let webhook = host.block::<Webhook>(json!({ "url": URL }));
        let step = || webhook.check().expect("steps").remove(0);
        let reached = step();
        assert_eq!(
            (reached.status, reached.detail.as_deref()),
            (StepStatus::Passed, Some("status 405; no message was sent"))
        );
        assert_eq!(step().status, StepStatus::Failed);
    }

    #[test]
    fn a_template_without_the_body_is_a_violation() {
        let host = Host::new();
        let webhook = host.block::<Webhook>(json!({ "url": "chat.example.com", "template": { "text": "hi" } }));
        let pointers: Vec<String> = webhook.validate().into_iter().map(|violation| violation.pointer).collect();
        assert_eq!(pointers, ["/url", "/template"]);
        assert_eq!(host.block::<Webhook>(json!({ "url": URL })).validate(), []);
    }
}
