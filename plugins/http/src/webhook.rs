//! A webhook: an address that takes messages.

use std::collections::BTreeMap;

use blockyard_sdk::clock;
use blockyard_sdk::http;
use blockyard_sdk::prelude::*;
use blockyard_sdk::serde_json;

/// An address that takes messages as JSON and shows them to people.
#[derive(Block)]
#[block(type = "webhook", version = 1, title = "Webhook", interfaces("notification"))]
pub(crate) struct Webhook {
    /// Where messages go.
    url: String,
    /// A token for the server (`Authorization: Bearer`).
    #[block(audience = "{config.url}")]
    token: Option<Secret<String>>,
    /// What is sent: JSON, in whose texts `{subject}` and `{body}` stand for a message's parts. Where it is not
    /// said, `{"text": "{subject}\n{body}"}`, which chat services take.
    template: Option<Value>,
}

/// What became of a message.
#[data]
struct Notified {
    /// The status that the server answered with.
    status: u16,
}

#[operations]
impl Webhook {
    /// Sends a message.
    #[operation(write)]
    fn notify(
        &self,
        /// What it is about, in a few words.
        subject: Option<String>,
        /// The message.
        body: String,
    ) -> Result<Notified> {
        let parts = BTreeMap::from([("{subject}", subject.unwrap_or_default()), ("{body}", body)]);
        let template = self.template.clone().unwrap_or_else(|| json!({ "text": "{subject}\n{body}" }));
        let message = filled(template, &parts);
        // Once: what may have arrived is not sent again, for people would read it twice.
        let request = http::post(self.url.as_str()).json(&message);
        let request = match &self.token {
            Some(token) => request.bearer(token),
            None => request,
        };
        let answer = request.send()?;
        Ok(Notified { status: answer.ok()?.status })
    }

    /// Says whether there is an address; a message would be seen by people.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let answer = http::request("HEAD", self.url.as_str()).send();
        let (status, detail) = match answer {
            Ok(answer) => (blockyard_sdk::StepStatus::Passed, format!("status {}; no message was sent", answer.status)),
            Err(problem) => (blockyard_sdk::StepStatus::Failed, problem.to_string()),
        };
        let took = u64::try_from(clock::now().saturating_sub(started).as_millis()).unwrap_or(u64::MAX);
        vec![Step { name: "connect".to_owned(), status, detail: Some(detail), milliseconds: Some(took) }]
    }

    /// An address, and a message that has the body in it.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        if let Some(wrong) = crate::mistake(&self.url) {
            violations.push(Violation::new("/url", wrong));
        }
        let written = self.template.as_ref().map(serde_json::Value::to_string);
        if written.is_some_and(|text| !text.contains("{body}")) {
            violations.push(Violation::new("/template", "has no `{body}` in it"));
        }
        violations
    }
}

/// The template with a message's parts in its texts. What they are made of stays text.
fn filled(template: Value, parts: &BTreeMap<&str, String>) -> Value {
    match template {
        Value::String(text) => {
            let mut filled = String::new();
            let mut rest = text.as_str();
            // In one pass: a part that has the sign of another in it is not filled again.
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
    use super::*;

    #[test]
    fn a_message_fills_the_texts_of_its_template() {
        let parts = BTreeMap::from([("{subject}", "load".to_owned()), ("{body}", "\"{subject}\"".to_owned())]);
        let template = json!({"title": "{subject}", "blocks": [{"text": "x {body} y"}], "n": 1});
        assert_eq!(
            filled(template, &parts),
            json!({"title": "load", "blocks": [{"text": "x \"{subject}\" y"}], "n": 1})
        );
        let none = BTreeMap::from([("{subject}", String::new()), ("{body}", "hello".to_owned())]);
        assert_eq!(filled(json!("{subject}\n{body}"), &none), json!("hello"));
    }
}
