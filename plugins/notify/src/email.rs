//! Block type `email`: e-mail through the API of SendGrid.

use blockyard_sdk::http;
use blockyard_sdk::prelude::*;
use blockyard_sdk::{StepStatus, clock};

use crate::delivery::{self, Delivered};

/// SendGrid's server, for accounts outside of the EU.
const SERVER: &str = "https://api.sendgrid.com";
/// Subject of a message that has none. SendGrid requires one.
const SUBJECT: &str = "Notification";
/// Scope of an API key that may send e-mail.
const SCOPE: &str = "mail.send";

/// E-mail to fixed recipients, sent through SendGrid.
#[derive(Block)]
#[block(type = "email", version = 1, title = "E-mail (SendGrid)", interfaces(interface::Notification))]
pub(crate) struct Email {
    /// API key of SendGrid with the permission "Mail Send".
    #[block(
        audience = "https://api.sendgrid.com",
        audience = "https://api.eu.sendgrid.com",
        audience = "{config.server}"
    )]
    api_key: Secret<String>,
    /// Address of the sender, which must be verified in SendGrid, e.g. `loads@example.com`.
    from: String,
    /// Name of the sender, e.g. `Nightly loads`.
    from_name: Option<String>,
    /// Addresses of the recipients, e.g. `["team@example.com"]`. All of them see the list.
    #[schemars(length(min = 1))]
    to: Vec<String>,
    /// Origin of the API: `https://api.eu.sendgrid.com` for subusers in the EU. Default:
    /// `https://api.sendgrid.com`.
    server: Option<String>,
}

/// Scopes of an API key.
#[data(open)]
struct Scopes {
    scopes: Vec<String>,
}

#[operations]
impl interface::Notification for Email {
    /// Sends a message to all recipients.
    fn notify(
        &self,
        /// Subject in a few words, e.g. `nightly load`. Default: `Notification`.
        subject: Option<String>,
        /// Text of the message, e.g. `loaded 842 rows`.
        body: String,
    ) -> Result<Delivered> {
        // https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
        let subject = subject.filter(|subject| !subject.trim().is_empty());
        let mut from = json!({ "email": self.from });
        if let Some(name) = &self.from_name {
            from["name"] = json!(name);
        }
        let to: Vec<Value> = self.to.iter().map(|address| json!({ "email": address })).collect();
        let message = json!({
            "personalizations": [{ "to": to }],
            "from": from,
            "subject": subject.as_deref().unwrap_or(SUBJECT),
            "content": [{ "type": "text/plain", "value": body }],
        });
        let request = http::post(format!("{}/v3/mail/send", self.server())).bearer(&self.api_key).json(&message);
        Ok(Delivered { status: request.send()?.ok()?.status })
    }
}

#[operations]
impl Email {
    /// Checks that SendGrid accepts the API key, and that the key may send e-mail. Sends no message.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let step = |name, status, detail: String| Step::new(name, status, Some(detail), started);
        let authorise = |status, detail: &str| step("authorise", status, detail.to_owned());
        match self.scopes() {
            Err(problem) => vec![
                step("authenticate", StepStatus::Failed, problem.to_string()),
                authorise(StepStatus::Skipped, "the scopes of the key are unknown"),
            ],
            Ok(scopes) => vec![
                step("authenticate", StepStatus::Passed, "no message was sent".to_owned()),
                match scopes.iter().any(|scope| scope == SCOPE) {
                    true => authorise(StepStatus::Passed, "the key has the scope `mail.send`"),
                    false => authorise(StepStatus::Failed, "the key does not have the scope `mail.send`"),
                },
            ],
        }
    }

    /// Checks the server and the addresses.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let mut violations = delivery::validate_server(self.server.as_deref());
        let mut check = |pointer: String, address: &str| {
            if !is_address(address) {
                violations.push(Violation::new(pointer, "must be an e-mail address, such as `team@example.com`"));
            }
        };
        check("/from".to_owned(), &self.from);
        for (at, address) in self.to.iter().enumerate() {
            check(format!("/to/{at}"), address);
        }
        violations
    }
}

impl Email {
    fn server(&self) -> &str {
        self.server.as_deref().unwrap_or(SERVER).trim_end_matches('/')
    }

    /// Returns the scopes of the API key
    /// (<https://www.twilio.com/docs/sendgrid/api-reference/api-key-permissions>).
    fn scopes(&self) -> Result<Vec<String>> {
        let response = http::get(format!("{}/v3/scopes", self.server())).bearer(&self.api_key).send()?;
        Ok(response.ok()?.json::<Scopes>()?.scopes)
    }
}

/// Checks that a text has the form of an e-mail address. SendGrid checks it completely.
fn is_address(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(name, domain)| !name.is_empty() && domain.contains('.'))
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ','))
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::fake::{self, Host};

    use super::*;

    fn config() -> Value {
        json!({ "from": "loads@example.com", "from_name": "Loads", "to": ["a@example.com", "b@example.com"] })
    }

    fn host() -> Host {
        Host::new().secret("/api_key", "SG.key")
    }

    #[test]
    fn a_message_goes_to_all_recipients() {
        let message = |subject: &str| {
            json!({
                "personalizations": [{ "to": [{ "email": "a@example.com" }, { "email": "b@example.com" }] }],
                "from": { "email": "loads@example.com", "name": "Loads" },
                "subject": subject,
                "content": [{ "type": "text/plain", "value": "842 rows" }],
            })
        };
        let sent = |subject: &str| {
            fake::post("https://api.sendgrid.com/v3/mail/send").bearer("/api_key").json(message(subject)).replies(202)
        };
        let host = host().http(sent("load")).http(sent("Notification"));
        let block = host.block::<Email>(config());
        let reply = block.call("notify", json!({ "subject": "load", "body": "842 rows" })).expect("sent");
        assert_eq!(reply.result(), &json!({ "status": 202 }));
        block.call("notify", json!({ "subject": " ", "body": "842 rows" })).expect("sent");
    }

    #[test]
    fn errors_have_the_message_of_sendgrid() {
        let message = "The from address does not match a verified Sender Identity.";
        let error = json!({ "errors": [{ "message": message, "field": "from" }] });
        let reply = fake::status(403).body("application/json", error.to_string());
        let host =
            host().http(fake::post("https://api.eu.sendgrid.com/v3/mail/send").bearer("/api_key").replies(reply));
        let mut config = config();
        config["server"] = json!("https://api.eu.sendgrid.com");
        let problem = host.block::<Email>(config).call("notify", json!({ "body": "x" })).expect_err("refused");
        assert_eq!(problem.code(), "denied");
        assert!(problem.message().contains("verified Sender Identity"), "{}", problem.message());
    }

    #[test]
    fn a_check_reads_the_scopes_of_the_key() {
        let get = || fake::get("https://api.sendgrid.com/v3/scopes").bearer("/api_key");
        let host = host().http(
            get()
                .replies(json!({ "scopes": ["alerts.read", "mail.send"] }))
                .replies(json!({ "scopes": ["mail.send.read"] }))
                .replies(401),
        );
        let statuses = || {
            let steps = host.block::<Email>(config()).check().expect("steps");
            steps.into_iter().map(|step| step.status).collect::<Vec<_>>()
        };
        let (passed, failed, skipped) = (StepStatus::Passed, StepStatus::Failed, StepStatus::Skipped);
        assert_eq!(statuses(), [passed, passed]);
        assert_eq!(statuses(), [passed, failed]);
        assert_eq!(statuses(), [failed, skipped]);
    }

    #[test]
    fn addresses_are_checked() {
        let host = host();
        let config =
            json!({ "from": "Loads <loads@example.com>", "to": ["a@example.com", "b", "c@x", "a@x.y, b@x.y"] });
        let violations = host.block::<Email>(config).validate();
        let pointers: Vec<&str> = violations.iter().map(|violation| violation.pointer.as_str()).collect();
        assert_eq!(pointers, ["/from", "/to/1", "/to/2", "/to/3"]);
    }
}
