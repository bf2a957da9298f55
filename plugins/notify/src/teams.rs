//! Block type `ms-teams-webhook`: a webhook of Microsoft Teams, of the app Workflows or of an earlier
//! connector.

use blockyard_sdk::prelude::*;

use crate::delivery::{self, Delivered};

/// Maximum size of a message, in bytes
/// (<https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>).
const MESSAGE_BYTES: usize = 28 << 10;
/// Maximum number of bytes that are read of a response.
const RESPONSE_BYTES: u32 = 4 << 10;

/// Webhook of Microsoft Teams, which posts messages to a channel or a chat.
#[derive(Block)]
#[block(type = "ms-teams-webhook", version = 1, title = "Microsoft Teams webhook", interfaces(interface::Notification))]
pub(crate) struct TeamsWebhook {
    /// URL of the webhook: that of a workflow with the trigger "When a Teams webhook request is
    /// received", or of an incoming webhook.
    #[block(
        audience = "https://*.logic.azure.com",
        audience = "https://*.api.powerplatform.com",
        audience = "https://*.webhook.office.com",
        audience = "{config.server}",
        url
    )]
    url: Secret<String>,
    /// Origin of the URL if it is not Microsoft's own, e.g. that of a proxy.
    server: Option<String>,
}

#[operations]
impl interface::Notification for TeamsWebhook {
    /// Posts a message as an Adaptive Card.
    fn notify(
        &self,
        /// Subject in a few words, e.g. `nightly load`. Appears as the title of the card.
        subject: Option<String>,
        /// Text of the message, in the Markdown of Adaptive Cards, e.g. `loaded 842 rows`.
        body: String,
    ) -> Result<Delivered> {
        let message = card(subject.as_deref(), &body);
        let size = message.to_string().len();
        if size > MESSAGE_BYTES {
            let message = format!("the message has {size} bytes; Microsoft Teams accepts {MESSAGE_BYTES}");
            return Err(Problem::invalid(message).hint("shorten it, or send it in several messages"));
        }
        let response = delivery::post(&self.url, &[], &message)?;
        let status = response.status;
        // A connector responds with status 200 to a message that Teams did not accept, and describes the
        // error in the body (section "Rate limiting for connectors" of the page above).
        let text = response.beginning(RESPONSE_BYTES);
        match text.split_once("returned HTTP error ") {
            Some((_, error)) if error.starts_with("429") => Err(Problem::new("unavailable", text.trim()).retryable()),
            Some(_) => Err(Problem::new("failed", text.trim())),
            None => Ok(Delivered { status }),
        }
    }
}

#[operations]
impl TeamsWebhook {
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

/// Returns a message with one Adaptive Card
/// (<https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>, section
/// "Send Adaptive Cards using an Incoming Webhook").
fn card(subject: Option<&str>, body: &str) -> Value {
    let mut blocks = Vec::new();
    if let Some(subject) = subject.map(str::trim).filter(|subject| !subject.is_empty()) {
        blocks
            .push(json!({ "type": "TextBlock", "text": subject, "weight": "Bolder", "size": "Medium", "wrap": true }));
    }
    blocks.push(json!({ "type": "TextBlock", "text": body, "wrap": true }));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.2",
                "body": blocks,
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::fake::{self, Host};

    use super::*;

    const ORIGIN: &str = "https://prod-12.westeurope.logic.azure.com";

    fn host() -> Host {
        let target = "/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke";
        let query = "api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=XXXXXXXXXXXXXXXXXXXXXXXXXXX";
        Host::new().secret("/url", format!("{ORIGIN}:443{target}?{query}"))
    }

    #[test]
    fn a_message_is_an_adaptive_card() {
        let expected = json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.2",
                    "body": [
                        { "type": "TextBlock", "text": "load", "weight": "Bolder", "size": "Medium", "wrap": true },
                        { "type": "TextBlock", "text": "842 rows", "wrap": true },
                    ],
                },
            }],
        });
        let host = host().http(fake::post(ORIGIN).secret_url("/url").json(expected).replies(202));
        let message = json!({ "subject": "load", "body": "842 rows" });
        let reply = host.block::<TeamsWebhook>(json!({})).call("notify", message).expect("sent");
        assert_eq!(reply.result(), &json!({ "status": 202 }));
    }

    #[test]
    fn an_error_in_the_body_is_an_error() {
        let says = |text: &str| fake::status(200).body("text/plain", text);
        let failed = |status: u16| {
            let endpoint = format!("Microsoft Teams endpoint returned HTTP error {status} with ContextId tcid=0");
            says(&format!("Webhook message delivery failed with error: {endpoint}"))
        };
        let host = host()
            .http(fake::post(ORIGIN).secret_url("/url").replies(says("1")).replies(failed(429)).replies(failed(400)));
        let block = host.block::<TeamsWebhook>(json!({}));
        let notify = || block.call("notify", json!({ "body": "x" }));
        assert_eq!(notify().expect("sent").result(), &json!({ "status": 200 }));
        assert_eq!(notify().expect_err("the rate limit").code(), "unavailable");
        assert_eq!(notify().expect_err("refused").code(), "failed");
    }

    #[test]
    fn a_message_has_at_most_28_kib() {
        let host = host();
        let block = host.block::<TeamsWebhook>(json!({}));
        let problem = block.call("notify", json!({ "body": "x".repeat(28 << 10) })).expect_err("too large");
        assert!(problem.message().contains("Microsoft Teams accepts 28672"), "{}", problem.message());
    }
}
