//! Block type `slack-webhook`: an incoming webhook of Slack.

use blockyard_sdk::prelude::*;

use crate::delivery::{self, Delivered};

/// Maximum length of the text of a message, in characters. Slack truncates longer ones
/// (<https://api.slack.com/changelog/2018-04-truncating-really-long-messages>).
const TEXT_CHARACTERS: usize = 40_000;

/// Incoming webhook of Slack, which posts messages to one channel.
#[derive(Block)]
#[block(type = "slack-webhook", version = 1, title = "Slack webhook", interfaces(interface::Notification))]
pub(crate) struct SlackWebhook {
    /// URL of the webhook, as shown by Slack: `https://hooks.slack.com/services/…`.
    #[block(
        audience = "https://hooks.slack.com",
        audience = "https://hooks.slack-gov.com",
        audience = "{config.server}",
        url
    )]
    url: Secret<String>,
    /// Origin of the URL if it is not Slack's own, e.g. that of a proxy: `https://slack.example.com`.
    server: Option<String>,
    /// Interprets the text as Slack's markup, so that `*bold*`, links and mentions such as `<!channel>`
    /// have an effect. Otherwise, the text appears as it is. Default: `false`.
    #[serde(default)]
    markup: bool,
}

#[operations]
impl interface::Notification for SlackWebhook {
    /// Posts a message to the channel of the webhook.
    fn notify(
        &self,
        /// Subject in a few words, e.g. `nightly load`. Appears in bold, as the first line.
        subject: Option<String>,
        /// Text of the message, e.g. `loaded 842 rows`.
        body: String,
    ) -> Result<Delivered> {
        let subject = subject.map(|subject| escaped(&subject));
        let body = if self.markup { body } else { escaped(&body) };
        let text = delivery::text(subject.as_deref(), &body, "*");
        delivery::limit("message", &text, "Slack", TEXT_CHARACTERS)?;
        // https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
        let response = delivery::post(&self.url, &[], &json!({ "text": text }))?;
        Ok(Delivered { status: response.status })
    }
}

#[operations]
impl SlackWebhook {
    /// Checks that the URL is valid and that its server responds. Sends no message, because a test
    /// message would reach real recipients.
    #[check]
    fn check(&self) -> Vec<Step> {
        delivery::check(&self.url)
    }

    /// Checks that the server is an origin.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        delivery::validate_server(self.server.as_deref())
    }
}

/// Escapes the three control characters of Slack's markup, without which it has neither links nor
/// mentions (<https://docs.slack.dev/messaging/formatting-message-text#escaping>).
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::StepStatus;
    use blockyard_sdk::fake::{self, Exchange, Host};

    use super::*;

    const URL: &str = "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX";

    fn sent(message: Value) -> Exchange {
        fake::post("https://hooks.slack.com").secret_url("/url").json(message)
    }

    fn host() -> Host {
        Host::new().secret("/url", URL)
    }

    #[test]
    fn a_message_has_the_subject_in_bold() {
        let host = host()
            .http(
                sent(json!({ "text": "*load &amp; check*\n842 rows &lt;!channel&gt;" }))
                    .replies(fake::status(200).body("text/plain", "ok")),
            )
            .http(sent(json!({ "text": "*a*\n<!here> b" })));
        let message = json!({ "subject": "load & check", "body": "842 rows <!channel>" });
        let reply = host.block::<SlackWebhook>(json!({})).call("notify", message).expect("sent");
        assert_eq!(reply.result(), &json!({ "status": 200 }));
        let block = host.block::<SlackWebhook>(json!({ "markup": true }));
        block.call("notify", json!({ "subject": "a", "body": "<!here> b" })).expect("sent");
    }

    #[test]
    fn a_message_that_may_be_delivered_is_sent_once() {
        let host = host().http(sent(json!({ "text": "x" })).replies(fake::status(503)).times(1));
        let block = host.block::<SlackWebhook>(json!({}));
        let problem = block.call("notify", json!({ "body": "x" })).expect_err("unavailable");
        assert_eq!((problem.code(), host.requests().len()), ("unavailable", 1));
    }

    #[test]
    fn errors_have_the_reason_of_slack() {
        // https://api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks
        for (status, reason, code) in [
            (400, "invalid_payload", "invalid"),
            (403, "action_prohibited", "denied"),
            (404, "channel_not_found", "not-found"),
            (410, "channel_is_archived", "not-found"),
        ] {
            let reply = fake::status(status).body("text/plain", reason);
            let host = host().http(sent(json!({ "text": "x" })).replies(reply));
            let block = host.block::<SlackWebhook>(json!({}));
            let problem = block.call("notify", json!({ "body": "x" })).expect_err(reason);
            assert_eq!(problem.code(), code);
            assert_eq!(problem.message(), format!("the server responded with status {status}: {reason}"));
        }
    }

    #[test]
    fn a_text_that_slack_truncates_is_refused() {
        let host = host();
        let block = host.block::<SlackWebhook>(json!({}));
        let problem = block.call("notify", json!({ "body": "x".repeat(40_001) })).expect_err("too long");
        assert_eq!(problem.message(), "the message has 40001 characters; Slack accepts 40000");
    }

    #[test]
    fn a_check_sends_no_message() {
        let head = || fake::head("https://hooks.slack.com").anonymous();
        let host = host().http(head().replies(302).replies(fake::unreachable()));
        let statuses = || {
            let steps = host.block::<SlackWebhook>(json!({})).check().expect("steps");
            steps.into_iter().map(|step| (step.name, step.status)).collect::<Vec<_>>()
        };
        let (passed, failed) = (StepStatus::Passed, StepStatus::Failed);
        let named =
            |connect| [("resolve", passed), ("connect", connect)].map(|(name, status)| (name.to_owned(), status));
        assert_eq!(statuses(), named(passed));
        assert_eq!(statuses(), named(failed));
        let wrong = Host::new().secret("/url", "hooks.slack.com/services/T0/B0/X");
        let steps = wrong.block::<SlackWebhook>(json!({})).check().expect("steps");
        assert_eq!(steps[0].status, failed);
        assert!(!steps[0].detail.as_deref().unwrap_or_default().contains("services"), "{steps:?}");
    }
}
