//! Block type `pagerduty`: alert events of PagerDuty (Events API v2).

use blockyard_sdk::http;
use blockyard_sdk::prelude::*;

use crate::delivery;

/// PagerDuty's server, for accounts outside of the EU.
const SERVER: &str = "https://events.pagerduty.com";
/// Maximum length of the summary of an event, in characters
/// (<https://developer.pagerduty.com/docs/send-alert-event>).
const SUMMARY_CHARACTERS: usize = 1_024;

/// Integration of a PagerDuty service, which alerts the people on call.
#[derive(Block)]
#[block(type = "pagerduty", version = 1, title = "PagerDuty", interfaces(interface::Notification))]
pub(crate) struct PagerDuty {
    /// Integration key of an Events API v2 integration, of 32 characters.
    #[block(
        audience = "https://events.pagerduty.com",
        audience = "https://events.eu.pagerduty.com",
        audience = "{config.server}",
        member = "routing_key"
    )]
    routing_key: Secret<String>,
    /// Location of the system that the alerts are about, preferably a host name, e.g.
    /// `warehouse.example.com`.
    source: String,
    /// Severity of the alerts: `critical`, `error`, `warning` or `info`. Default: `error`.
    #[serde(default)]
    severity: Severity,
    /// Origin of the API: `https://events.eu.pagerduty.com` for accounts in the EU. Default:
    /// `https://events.pagerduty.com`.
    server: Option<String>,
}

/// Severity of an alert.
#[data]
#[derive(Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Critical,
    #[default]
    Error,
    Warning,
    Info,
}

/// Result of a notification.
#[data]
struct Triggered {
    /// Key of the alert.
    dedup_key: String,
}

/// Response of PagerDuty.
#[data(open)]
struct Response {
    dedup_key: String,
}

#[operations]
impl interface::Notification for PagerDuty {
    /// Triggers an alert. Returns when PagerDuty has accepted the event.
    fn notify(
        &self,
        /// Subject in a few words, e.g. `nightly load`. Default: the first line of the text.
        subject: Option<String>,
        /// Text of the message, e.g. `loaded 842 rows`. Appears in the details of the alert.
        body: String,
        /// Key of the alert. A further event with the same key is added to the alert while it is open.
        #[schemars(length(max = 255))]
        #[block(idempotency_key)]
        dedup_key: Option<String>,
    ) -> Result<Triggered> {
        // https://developer.pagerduty.com/docs/send-alert-event
        let mut event = json!({
            "event_action": "trigger",
            "payload": {
                "summary": delivery::headline(subject.as_deref(), &body, SUMMARY_CHARACTERS),
                "source": self.source,
                "severity": self.severity,
                "custom_details": { "message": body },
            },
        });
        if let Some(key) = dedup_key {
            event["dedup_key"] = json!(key);
        }
        let request = http::post(format!("{}/v2/enqueue", self.server())).json(&event);
        let Response { dedup_key } = request.secret_member("routing_key", &self.routing_key).send()?.ok()?.json()?;
        Ok(Triggered { dedup_key })
    }
}

#[operations]
impl PagerDuty {
    /// Checks that the server responds. Sends no event, because it would alert people.
    #[check]
    fn check(&self) -> Vec<Step> {
        vec![delivery::connect(self.server())]
    }

    /// Checks that the server is an origin.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        delivery::validate_server(self.server.as_deref())
    }
}

impl PagerDuty {
    fn server(&self) -> &str {
        self.server.as_deref().unwrap_or(SERVER).trim_end_matches('/')
    }
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::fake::{self, Host};

    use super::*;

    fn host() -> Host {
        Host::new().secret("/routing_key", "0123456789abcdef0123456789abcdef")
    }

    #[test]
    fn an_event_has_the_routing_key_as_a_member() {
        let accepted = || {
            let body = json!({ "status": "success", "message": "Event processed", "dedup_key": "k1" });
            fake::status(202).json(body)
        };
        let sent = |url: &str, event: Value| {
            fake::post(url).secret_member("routing_key", "/routing_key").json(event).replies(accepted())
        };
        let host = host()
            .http(sent(
                "https://events.pagerduty.com/v2/enqueue",
                json!({
                    "event_action": "trigger",
                    "payload": {
                        "summary": "load", "source": "warehouse", "severity": "error",
                        "custom_details": { "message": "842 rows" },
                    },
                }),
            ))
            .http(sent(
                "https://events.eu.pagerduty.com/v2/enqueue",
                json!({
                    "event_action": "trigger",
                    "dedup_key": "k1",
                    "payload": {
                        "summary": "842 rows", "source": "warehouse", "severity": "info",
                        "custom_details": { "message": "842 rows\nin 3 s" },
                    },
                }),
            ));
        let block = host.block::<PagerDuty>(json!({ "source": "warehouse" }));
        let reply = block.call("notify", json!({ "subject": "load", "body": "842 rows" })).expect("accepted");
        assert_eq!(reply.result(), &json!({ "dedup_key": "k1" }));
        let config = json!({ "source": "warehouse", "severity": "info", "server": "https://events.eu.pagerduty.com/" });
        let block = host.block::<PagerDuty>(config);
        block.call("notify", json!({ "body": "842 rows\nin 3 s", "dedup_key": "k1" })).expect("accepted");
    }

    #[test]
    fn errors_have_the_message_of_pagerduty() {
        let error = json!({ "status": "invalid event", "errors": ["Length of 'routing_key' is incorrect"] });
        let reply = fake::status(400).body("application/json", error.to_string());
        let host = host().http(fake::post("https://events.pagerduty.com/v2/enqueue").replies(reply));
        let block = host.block::<PagerDuty>(json!({ "source": "warehouse" }));
        let problem = block.call("notify", json!({ "body": "x" })).expect_err("refused");
        assert_eq!(problem.code(), "invalid");
        assert!(problem.message().contains("Length of 'routing_key'"), "{}", problem.message());
    }

    #[test]
    fn a_check_sends_no_event() {
        let host = host().http(fake::head("https://events.pagerduty.com").anonymous().replies(404));
        let steps = host.block::<PagerDuty>(json!({ "source": "x" })).check().expect("steps");
        assert_eq!(steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["connect"]);
    }
}
