//! Block type `discord-webhook`: a webhook of Discord.

use blockyard_sdk::http;
use blockyard_sdk::prelude::*;
use blockyard_sdk::{StepStatus, clock};

use crate::delivery;

/// Maximum length of a message, in characters
/// (<https://docs.discord.com/developers/resources/webhook#execute-webhook>).
const CONTENT_CHARACTERS: usize = 2_000;

/// Webhook of Discord, which posts messages to one channel.
#[derive(Block)]
#[block(type = "discord-webhook", version = 1, title = "Discord webhook", interfaces(interface::Notification))]
pub(crate) struct DiscordWebhook {
    /// URL of the webhook, as shown by Discord: `https://discord.com/api/webhooks/…`.
    #[block(audience = "https://discord.com", audience = "https://discordapp.com", audience = "{config.server}", url)]
    url: Secret<String>,
    /// Origin of the URL if it is not `https://discord.com`, e.g. that of a proxy.
    server: Option<String>,
    /// Notifies the people and roles that a message mentions, e.g. `@everyone`. Otherwise, a mention has
    /// no effect. Default: `false`.
    #[serde(default)]
    mentions: bool,
}

/// Result of a notification.
#[data]
struct Posted {
    /// ID of the message.
    message_id: String,
    /// ID of the channel.
    channel_id: String,
}

/// A message, as Discord returns it.
#[data(open)]
struct Message {
    id: String,
    channel_id: String,
}

/// A webhook, as Discord returns it.
#[data(open)]
struct Webhook {
    name: Option<String>,
    channel_id: Option<String>,
}

#[operations]
impl interface::Notification for DiscordWebhook {
    /// Posts a message to the channel of the webhook.
    fn notify(
        &self,
        /// Subject in a few words, e.g. `nightly load`. Appears in bold, as the first line.
        subject: Option<String>,
        /// Text of the message, in Discord's Markdown, e.g. `loaded 842 rows`.
        body: String,
    ) -> Result<Posted> {
        let content = delivery::text(subject.as_deref(), &body, "**");
        delivery::limit("message", &content, "Discord", CONTENT_CHARACTERS)?;
        let mut message = json!({ "content": content });
        if !self.mentions {
            // https://docs.discord.com/developers/resources/message#allowed-mentions-object
            message["allowed_mentions"] = json!({ "parse": [] });
        }
        // Without `wait`, Discord reports success for a message that it does not save.
        let Message { id, channel_id } = delivery::post(&self.url, &[("wait", "true")], &message)?.json()?;
        Ok(Posted { message_id: id, channel_id })
    }
}

#[operations]
impl DiscordWebhook {
    /// Checks that the webhook exists. Sends no message.
    #[check]
    fn check(&self) -> Vec<Step> {
        let resolved = delivery::resolve(&self.url);
        let is_valid = resolved.status == StepStatus::Passed;
        let started = clock::now();
        let step = |status, detail| Step::new("authenticate", status, Some(detail), started);
        let authenticated = match is_valid.then(|| self.webhook()) {
            None => step(StepStatus::Skipped, "there is no valid URL".to_owned()),
            Some(Err(problem)) => step(StepStatus::Failed, problem.to_string()),
            Some(Ok(Webhook { name, channel_id })) => {
                let (name, channel) = (name.unwrap_or_default(), channel_id.unwrap_or_default());
                step(StepStatus::Passed, format!("webhook `{name}` of channel {channel}; no message was sent"))
            }
        };
        vec![resolved, authenticated]
    }

    /// Checks that the server is an origin.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        delivery::validate_server(self.server.as_deref())
    }
}

impl DiscordWebhook {
    /// Returns the webhook. The token in its URL is sufficient
    /// (<https://docs.discord.com/developers/resources/webhook#get-webhook-with-token>).
    fn webhook(&self) -> Result<Webhook> {
        http::to_secret_url("GET", &self.url).send()?.ok()?.json()
    }
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::fake::{self, Host};

    use super::*;

    const URL: &str =
        "https://discord.com/api/webhooks/223704706495545344/3d89bb7572e0fb30d8128367b3b1b44fecd1726de135";
    const ORIGIN: &str = "https://discord.com";

    fn host() -> Host {
        Host::new().secret("/url", URL)
    }

    #[test]
    fn a_message_mentions_nobody_unless_configured() {
        let reply = || json!({ "id": "42", "channel_id": "7", "content": "…", "type": 0 });
        let posted = || fake::post(ORIGIN).query([("wait", "true")]).secret_url("/url");
        let quiet = json!({ "content": "**load**\n@everyone 842 rows", "allowed_mentions": { "parse": [] } });
        let host = host()
            .http(posted().json(quiet).replies(reply()))
            .http(posted().json(json!({ "content": "@here" })).replies(reply()));
        let message = json!({ "subject": "load", "body": "@everyone 842 rows" });
        let sent = host.block::<DiscordWebhook>(json!({})).call("notify", message).expect("sent");
        assert_eq!(sent.result(), &json!({ "message_id": "42", "channel_id": "7" }));
        let block = host.block::<DiscordWebhook>(json!({ "mentions": true }));
        block.call("notify", json!({ "body": "@here" })).expect("sent");
    }

    #[test]
    fn a_message_has_at_most_2000_characters() {
        let host =
            host().http(fake::post(ORIGIN).query([("wait", "true")]).replies(json!({ "id": "1", "channel_id": "2" })));
        let block = host.block::<DiscordWebhook>(json!({}));
        block.call("notify", json!({ "body": "ü".repeat(2_000) })).expect("sent");
        let problem = block.call("notify", json!({ "body": "ü".repeat(2_001) })).expect_err("too long");
        assert_eq!(problem.message(), "the message has 2001 characters; Discord accepts 2000");
    }

    #[test]
    fn a_check_reads_the_webhook() {
        let get = || fake::get(ORIGIN).secret_url("/url");
        let unknown = fake::status(404).body("application/json", r#"{"message": "Unknown Webhook", "code": 10015}"#);
        let host = host()
            .http(get().replies(json!({ "id": "1", "name": "Loads", "channel_id": "7", "type": 1 })).replies(unknown));
        let step = || host.block::<DiscordWebhook>(json!({})).check().expect("steps").remove(1);
        let found = step();
        assert_eq!(found.detail.as_deref(), Some("webhook `Loads` of channel 7; no message was sent"));
        let missing = step();
        assert_eq!(missing.status, StepStatus::Failed);
        assert!(missing.detail.expect("a reason").contains("Unknown Webhook"));
    }
}
