//! Block type `mattermost-webhook`: an incoming webhook of a Mattermost server.

use blockyard_sdk::prelude::*;

use crate::delivery::{self, Delivered};

/// Maximum length of a message, in characters, by default of the server. A longer text is split into
/// several posts by the server (<https://developers.mattermost.com/integrate/webhooks/incoming/>).
const TEXT_CHARACTERS: usize = 16_383;

/// Incoming webhook of a Mattermost server, which posts messages to a channel.
#[derive(Block)]
#[block(type = "mattermost-webhook", version = 1, title = "Mattermost webhook", interfaces(interface::Notification))]
pub(crate) struct MattermostWebhook {
    /// Origin of the Mattermost server, e.g. `https://chat.example.com`.
    server: String,
    /// URL of the webhook, as shown by Mattermost: `https://chat.example.com/hooks/…`.
    #[block(audience = "{config.server}", url)]
    url: Secret<String>,
    /// Name of another channel than that of the webhook, e.g. `town-square`, or of a user: `@ada`. The
    /// webhook must not be locked to its channel.
    channel: Option<String>,
}

#[operations]
impl interface::Notification for MattermostWebhook {
    /// Posts a message to the channel.
    fn notify(
        &self,
        /// Subject in a few words, e.g. `nightly load`. Appears in bold, as the first line.
        subject: Option<String>,
        /// Text of the message, in Markdown, e.g. `loaded 842 rows`. Mentions such as `@channel` have
        /// an effect.
        body: String,
    ) -> Result<Delivered> {
        let text = delivery::text(subject.as_deref(), &body, "**");
        delivery::limit("message", &text, "Mattermost", TEXT_CHARACTERS)?;
        let mut message = json!({ "text": text });
        if let Some(channel) = &self.channel {
            message["channel"] = json!(channel);
        }
        let response = delivery::post(&self.url, &[], &message)?;
        Ok(Delivered { status: response.status })
    }
}

#[operations]
impl MattermostWebhook {
    /// Checks that the URL is valid and that its server responds. Sends no message, because a test
    /// message would reach real recipients.
    #[check]
    fn check(&self) -> Vec<Step> {
        delivery::check(&self.url)
    }

    /// Checks that the server is an origin.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        delivery::validate_server(Some(&self.server))
    }
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::fake::{self, Host};

    use super::*;

    const ORIGIN: &str = "https://chat.example.com";

    fn host() -> Host {
        Host::new().secret("/url", format!("{ORIGIN}/hooks/bywsw8zt5jgpte3nm65qjiru6h"))
    }

    #[test]
    fn a_message_goes_to_the_channel() {
        let posted = || fake::post(ORIGIN).secret_url("/url");
        let host = host()
            .http(
                posted()
                    .json(json!({ "text": "**load**\n842 rows" }))
                    .replies(fake::status(200).body("text/plain", "ok")),
            )
            .http(posted().json(json!({ "text": "x", "channel": "town-square" })));
        let block = host.block::<MattermostWebhook>(json!({ "server": ORIGIN }));
        let reply = block.call("notify", json!({ "subject": "load", "body": "842 rows" })).expect("sent");
        assert_eq!(reply.result(), &json!({ "status": 200 }));
        let block = host.block::<MattermostWebhook>(json!({ "server": ORIGIN, "channel": "town-square" }));
        block.call("notify", json!({ "body": "x" })).expect("sent");
    }

    #[test]
    fn errors_have_the_message_of_the_server() {
        let body =
            json!({ "id": "web.incoming_webhook.text.app_error", "message": "No text specified", "status_code": 400 });
        let reply = fake::status(400).body("application/json", body.to_string());
        let host = host().http(fake::post(ORIGIN).secret_url("/url").replies(reply));
        let block = host.block::<MattermostWebhook>(json!({ "server": ORIGIN }));
        let problem = block.call("notify", json!({ "body": "" })).expect_err("no text");
        assert_eq!(problem.code(), "invalid");
        assert!(problem.message().contains("No text specified"), "{}", problem.message());
    }

    #[test]
    fn a_server_must_be_an_origin() {
        let host = host();
        let violations = |server: &str| host.block::<MattermostWebhook>(json!({ "server": server })).validate();
        assert_eq!(violations(ORIGIN), []);
        assert_eq!(violations("https://chat.example.com/hooks/x")[0].pointer, "/server");
    }
}
