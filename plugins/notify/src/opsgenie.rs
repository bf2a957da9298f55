//! Block type `opsgenie`: alerts of Opsgenie.

use blockyard_sdk::http;
use blockyard_sdk::prelude::*;
use blockyard_sdk::{StepStatus, clock};

use crate::delivery;

/// Opsgenie's server, for accounts outside of the EU.
const SERVER: &str = "https://api.opsgenie.com";
/// Scheme of the `Authorization` header (<https://docs.opsgenie.com/docs/authentication>).
const SCHEME: &str = "GenieKey";
/// Maximum length of the message of an alert, in characters. Opsgenie rejects longer ones
/// (<https://docs.opsgenie.com/docs/alert-api#create-alert>).
const MESSAGE_CHARACTERS: usize = 130;
/// Maximum length of the description of an alert, in characters.
const DESCRIPTION_CHARACTERS: usize = 15_000;

/// Integration of Opsgenie, which alerts the people on call.
#[derive(Block)]
#[block(type = "opsgenie", version = 1, title = "Opsgenie", interfaces(interface::Notification))]
pub(crate) struct Opsgenie {
    /// API key of an API integration, with the permissions to read, and to create and update alerts.
    #[block(
        audience = "https://api.opsgenie.com",
        audience = "https://api.eu.opsgenie.com",
        audience = "{config.server}"
    )]
    api_key: Secret<String>,
    /// Priority of the alerts, from `P1` to `P5`. Default: `P3`.
    #[serde(default)]
    priority: Priority,
    /// Tags of the alerts, e.g. `["warehouse"]`.
    #[serde(default)]
    tags: Vec<String>,
    /// Origin of the API: `https://api.eu.opsgenie.com` for accounts in the EU. Default:
    /// `https://api.opsgenie.com`.
    server: Option<String>,
}

/// Priority of an alert.
#[data]
#[derive(Clone, Copy, Default)]
enum Priority {
    P1,
    P2,
    #[default]
    P3,
    P4,
    P5,
}

/// Result of a notification.
#[data]
struct Accepted {
    /// ID of the request, which Opsgenie processes in the background.
    request_id: String,
}

/// Response of Opsgenie.
#[data(open)]
struct Response {
    #[serde(rename = "requestId")]
    request_id: String,
}

#[operations]
impl interface::Notification for Opsgenie {
    /// Creates an alert. Returns when Opsgenie has accepted it.
    fn notify(
        &self,
        /// Subject in a few words, e.g. `nightly load`. Default: the first line of the text.
        subject: Option<String>,
        /// Text of the message, e.g. `loaded 842 rows`. Appears as the description of the alert.
        body: String,
        /// Key of the alert. A further alert with the same key is counted as a repetition while the first
        /// one is open.
        #[block(idempotency_key)]
        alias: Option<String>,
    ) -> Result<Accepted> {
        delivery::limit("text", &body, "Opsgenie", DESCRIPTION_CHARACTERS)?;
        // https://docs.opsgenie.com/docs/alert-api#create-alert
        let mut alert = json!({
            "message": delivery::headline(subject.as_deref(), &body, MESSAGE_CHARACTERS),
            "description": body,
            "priority": self.priority,
            "tags": self.tags,
        });
        if let Some(alias) = alias {
            alert["alias"] = json!(alias);
        }
        let request = http::post(self.url("")).authorization(SCHEME, &self.api_key).json(&alert);
        let Response { request_id } = request.send()?.ok()?.json()?;
        Ok(Accepted { request_id })
    }
}

#[operations]
impl Opsgenie {
    /// Checks that Opsgenie accepts the key, by counting alerts. Creates no alert.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let request = http::get(self.url("/count")).authorization(SCHEME, &self.api_key);
        let (status, detail) = match request.send().and_then(http::Response::ok) {
            Ok(_) => (StepStatus::Passed, "no alert was created".to_owned()),
            Err(problem) => (StepStatus::Failed, problem.to_string()),
        };
        vec![Step::new("authenticate", status, Some(detail), started)]
    }

    /// Checks that the server is an origin.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        delivery::validate_server(self.server.as_deref())
    }
}

impl Opsgenie {
    /// Returns the URL of the alerts, or of a path below them.
    fn url(&self, path: &str) -> String {
        format!("{}/v2/alerts{path}", self.server.as_deref().unwrap_or(SERVER).trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::fake::{self, Host};

    use super::*;

    const URL: &str = "https://api.opsgenie.com/v2/alerts";

    fn host() -> Host {
        Host::new().secret("/api_key", "eb243592-faa2-4ba2-a551q-1afdf565c889")
    }

    #[test]
    fn an_alert_has_a_message_and_a_description() {
        let accepted = || {
            let body = json!({ "result": "Request will be processed", "took": 0.3, "requestId": "43a2" });
            fake::status(202).json(body)
        };
        let sent = |alert: Value| fake::post(URL).authorization("GenieKey", "/api_key").json(alert).replies(accepted());
        let host = host()
            .http(sent(json!({ "message": "load", "description": "842 rows", "priority": "P3", "tags": [] })))
            .http(sent(
                json!({ "message": "a", "description": "a\nb", "priority": "P1", "tags": ["x"], "alias": "k" }),
            ));
        let block = host.block::<Opsgenie>(json!({}));
        let reply = block.call("notify", json!({ "subject": "load", "body": "842 rows" })).expect("accepted");
        assert_eq!(reply.result(), &json!({ "request_id": "43a2" }));
        let block = host.block::<Opsgenie>(json!({ "priority": "P1", "tags": ["x"] }));
        block.call("notify", json!({ "body": "a\nb", "alias": "k" })).expect("accepted");
    }

    #[test]
    fn a_check_creates_no_alert() {
        let get = || fake::get("https://api.eu.opsgenie.com/v2/alerts/count").authorization("GenieKey", "/api_key");
        let host = host().http(get().replies(json!({ "data": { "count": 7 } })).replies(401));
        let config = json!({ "server": "https://api.eu.opsgenie.com" });
        let status = || host.block::<Opsgenie>(config.clone()).check().expect("steps").remove(0).status;
        assert_eq!((status(), status()), (StepStatus::Passed, StepStatus::Failed));
    }
}
