//! Block type `twilio-sms`: text messages through Twilio.

use blockyard_sdk::http::{self, percent_encode};
use blockyard_sdk::prelude::*;
use blockyard_sdk::{StepStatus, clock};

use crate::delivery;

/// Twilio's server.
const SERVER: &str = "https://api.twilio.com";
/// Maximum length of a message, in characters
/// (<https://www.twilio.com/docs/messaging/api/message-resource#request-body-parameters>).
const BODY_CHARACTERS: usize = 1_600;

/// Text messages (SMS) to one phone number, sent through Twilio.
#[derive(Block)]
#[block(type = "twilio-sms", version = 1, title = "SMS (Twilio)", interfaces(interface::Notification))]
pub(crate) struct TwilioSms {
    /// SID of the account, which begins with `AC`.
    account_sid: String,
    /// SID of an API key, which begins with `SK`. Default: the account itself.
    api_key_sid: Option<String>,
    /// Auth token of the account, or secret of the API key.
    #[block(audience = "https://api.twilio.com", audience = "{config.server}")]
    token: Secret<String>,
    /// Phone number of the sender, in E.164 format, e.g. `+15017122661`; or an alphanumeric sender ID.
    from: Option<String>,
    /// SID of a messaging service that selects the sender, which begins with `MG`. Replaces `from`.
    messaging_service_sid: Option<String>,
    /// Phone number of the recipient, in E.164 format, e.g. `+15558675310`.
    #[schemars(regex(pattern = r"^\+[1-9][0-9]{1,14}$"))]
    to: String,
    /// Origin of the API. Default: `https://api.twilio.com`.
    server: Option<String>,
}

/// Result of a notification.
#[data]
struct Queued {
    /// SID of the message.
    message_id: String,
    /// Status of the message, e.g. `queued`.
    status: String,
}

/// A message, as Twilio returns it.
#[data(open)]
struct Message {
    sid: String,
    status: String,
}

#[operations]
impl interface::Notification for TwilioSms {
    /// Sends a text message. Returns when Twilio has queued it.
    fn notify(
        &self,
        /// Subject in a few words, e.g. `nightly load`. Appears as the first line.
        subject: Option<String>,
        /// Text of the message, e.g. `loaded 842 rows`.
        body: String,
    ) -> Result<Queued> {
        let body = delivery::text(subject.as_deref(), &body, "");
        delivery::limit("message", &body, "Twilio", BODY_CHARACTERS)?;
        // https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource
        let sender = match (&self.messaging_service_sid, &self.from) {
            (Some(service), _) => ("MessagingServiceSid", service.as_str()),
            (None, from) => ("From", from.as_deref().unwrap_or_default()),
        };
        let form = [("To", self.to.as_str()), sender, ("Body", body.as_str())];
        let request = http::post(self.url()).basic(self.user(), &self.token).form(form);
        let Message { sid, status } = request.send()?.ok()?.json()?;
        Ok(Queued { message_id: sid, status })
    }
}

#[operations]
impl TwilioSms {
    /// Checks that Twilio accepts the credentials, by reading the list of messages. Sends no message.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let request = http::get(self.url()).query([("PageSize", "1")]).basic(self.user(), &self.token);
        let (status, detail) = match request.send().and_then(http::Response::ok) {
            Ok(_) => (StepStatus::Passed, "no message was sent".to_owned()),
            Err(problem) => (StepStatus::Failed, problem.to_string()),
        };
        vec![Step::new("authenticate", status, Some(detail), started)]
    }

    /// Checks that there is a sender, and that the server is an origin.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let mut violations = delivery::validate_server(self.server.as_deref());
        if self.from.is_some() == self.messaging_service_sid.is_some() {
            violations.push(Violation::new("/from", "set either `from` or `messaging_service_sid`"));
        }
        violations
    }
}

impl TwilioSms {
    /// Returns the URL of the messages of the account.
    fn url(&self) -> String {
        let server = self.server.as_deref().unwrap_or(SERVER).trim_end_matches('/');
        format!("{server}/2010-04-01/Accounts/{}/Messages.json", percent_encode(&self.account_sid))
    }

    /// Returns the user name of the requests.
    fn user(&self) -> &str {
        self.api_key_sid.as_deref().unwrap_or(&self.account_sid)
    }
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::fake::{self, Host};

    use super::*;

    const URL: &str = "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json";

    fn config() -> Value {
        json!({ "account_sid": "AC1", "from": "+15017122661", "to": "+15558675310" })
    }

    fn host() -> Host {
        Host::new().secret("/token", "t0ken")
    }

    #[test]
    fn a_message_is_a_form() {
        let created = || fake::status(201).json(json!({ "sid": "SM1", "status": "queued", "price": null }));
        let post = || fake::post(URL).header("content-type", "application/x-www-form-urlencoded");
        let host = host()
            .http(
                post()
                    .basic("AC1", "/token")
                    .body("To=%2B15558675310&From=%2B15017122661&Body=load%0A842%20rows%20%26%20more")
                    .replies(created()),
            )
            .http(
                post()
                    .basic("SK1", "/token")
                    .body("To=%2B15558675310&MessagingServiceSid=MG1&Body=x")
                    .replies(created()),
            );
        let message = json!({ "subject": "load", "body": "842 rows & more" });
        let reply = host.block::<TwilioSms>(config()).call("notify", message).expect("sent");
        assert_eq!(reply.result(), &json!({ "message_id": "SM1", "status": "queued" }));
        let service =
            json!({ "account_sid": "AC1", "api_key_sid": "SK1", "messaging_service_sid": "MG1", "to": "+15558675310" });
        host.block::<TwilioSms>(service).call("notify", json!({ "body": "x" })).expect("sent");
    }

    #[test]
    fn errors_have_the_message_of_twilio() {
        let error = json!({ "code": 21211, "message": "Invalid 'To' Phone Number", "status": 400 });
        let reply = fake::status(400).body("application/json", error.to_string());
        let host = host().http(fake::post(URL).replies(reply));
        let block = host.block::<TwilioSms>(config());
        let problem = block.call("notify", json!({ "body": "x" })).expect_err("refused");
        assert!(problem.message().contains("Invalid 'To' Phone Number"), "{}", problem.message());
        let problem = block.call("notify", json!({ "body": "x".repeat(1_601) })).expect_err("too long");
        assert_eq!(problem.message(), "the message has 1601 characters; Twilio accepts 1600");
    }

    #[test]
    fn a_check_reads_messages() {
        let get = || fake::get(URL).query([("PageSize", "1")]).basic("AC1", "/token");
        let host = host().http(get().replies(json!({ "messages": [] })).replies(401));
        let status = || host.block::<TwilioSms>(config()).check().expect("steps").remove(0).status;
        assert_eq!((status(), status()), (StepStatus::Passed, StepStatus::Failed));
    }

    #[test]
    fn a_block_has_one_sender() {
        let host = host();
        let violations = |config: Value| host.block::<TwilioSms>(config).validate();
        assert_eq!(violations(config()), []);
        assert_eq!(violations(json!({ "account_sid": "AC1", "to": "+15558675310" }))[0].pointer, "/from");
        let both = json!({ "account_sid": "AC1", "from": "+1", "messaging_service_sid": "MG1", "to": "+15558675310" });
        assert_eq!(violations(both)[0].pointer, "/from");
    }
}
