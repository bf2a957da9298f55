//! The bundle `notify`. A small server of the test harness checks that requests have the form that the
//! reference of each vendor requires; it is not the vendor's own server.

use blockyard_tests::web::{Answer, RecordedRequest, Web};
use blockyard_tests::{TestYard, bundle};
use serde_json::{Value, json};

const TOKEN: &str = "XXXXXXXXXXXXXXXXXXXXXXXX";

fn body(request: &RecordedRequest) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

/// Rejects a message like Slack: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.
fn slack(request: &RecordedRequest) -> Answer {
    let refuse = |status, reason: &str| Answer { status, ..Answer::text(reason) };
    match body(request)["text"].as_str() {
        None | Some("") => refuse(400, "no_text"),
        Some(_) if request.header("content-type") != "application/json" => refuse(400, "invalid_payload"),
        Some(text) if text.contains("archived") => refuse(410, "channel_is_archived"),
        Some(_) => Answer::text("ok"),
    }
}

/// Accepts a message like Discord: <https://docs.discord.com/developers/resources/webhook>.
fn discord(request: &RecordedRequest) -> Answer {
    let url = format!("https://discord.com{}", request.target);
    match (request.method.as_str(), request.target.ends_with("?wait=true")) {
        // The webhook contains its own token and URL.
        ("GET", false) => {
            Answer::json(&json!({"id": "1", "type": 1, "name": TOKEN, "channel_id": "7", "token": TOKEN, "url": url}))
        }
        ("POST", true) if body(request)["content"].as_str().is_some_and(|content| content.chars().count() <= 2_000) => {
            Answer::json(&json!({"id": "42", "channel_id": "7", "content": body(request)["content"], "type": 0}))
        }
        ("POST", false) => Answer::status(204),
        _ => Answer { status: 400, ..Answer::json(&json!({"code": 50006, "message": "Cannot send an empty message"})) },
    }
}

/// Accepts a message like a workflow of Teams, which requires one Adaptive Card:
/// <https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook>.
fn teams(request: &RecordedRequest) -> Answer {
    let message = body(request);
    let attachment = &message["attachments"][0];
    let is_card = message["type"] == "message"
        && attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        && attachment["content"]["type"] == "AdaptiveCard"
        && attachment["content"]["body"].as_array().is_some_and(|body| !body.is_empty());
    Answer::status(if is_card { 202 } else { 400 })
}

/// Accepts a message like Mattermost: <https://developers.mattermost.com/integrate/webhooks/incoming/>.
fn mattermost(request: &RecordedRequest) -> Answer {
    match body(request)["text"].as_str() {
        Some(text) if !text.is_empty() => Answer::text("ok"),
        _ => Answer { status: 400, ..Answer::json(&json!({"message": "No text specified", "status_code": 400})) },
    }
}

/// Accepts an event like PagerDuty: <https://developer.pagerduty.com/docs/send-alert-event>.
fn pagerduty(request: &RecordedRequest) -> Answer {
    let event = body(request);
    let payload = &event["payload"];
    let is_set = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    if event["routing_key"].as_str().is_none_or(|key| key.len() != 32) {
        let errors = json!({"status": "invalid event", "errors": ["Length of 'routing_key' is incorrect"]});
        return Answer { status: 400, ..Answer::json(&errors) };
    }
    let is_event = event["event_action"] == "trigger"
        && ["summary", "source"].iter().all(|name| is_set(&payload[name]))
        && ["critical", "error", "warning", "info"].iter().any(|severity| payload["severity"] == *severity);
    match is_event {
        true => Answer { status: 202, ..Answer::json(&json!({"status": "success", "dedup_key": "k1"})) },
        false => Answer::status(400),
    }
}

/// Accepts an alert like Opsgenie: <https://docs.opsgenie.com/docs/alert-api#create-alert>.
fn opsgenie(request: &RecordedRequest) -> Answer {
    let is_alert = || body(request)["message"].as_str().is_some_and(|message| message.chars().count() <= 130);
    match (request.header("authorization"), request.method.as_str()) {
        ("GenieKey eb243592-faa2-4ba2-a551", "GET") => Answer::json(&json!({"data": {"count": 7}})),
        ("GenieKey eb243592-faa2-4ba2-a551", _) if is_alert() => {
            Answer { status: 202, ..Answer::json(&json!({"result": "Request will be processed", "requestId": "43a2"})) }
        }
        ("GenieKey eb243592-faa2-4ba2-a551", _) => Answer::status(422),
        (key, _) => Answer { status: 401, ..Answer::text(format!("could not authenticate {key}")) },
    }
}

/// Accepts a message like SendGrid: <https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send>.
fn sendgrid(request: &RecordedRequest) -> Answer {
    if request.header("authorization") != "Bearer SG.key-of-the-zoo" {
        return Answer::status(401);
    }
    if request.method == "GET" {
        return Answer::json(&json!({"scopes": ["mail.send"]}));
    }
    let mail = body(request);
    let is_mail = mail["personalizations"][0]["to"][0]["email"].is_string()
        && mail["from"]["email"].is_string()
        && mail["subject"].as_str().is_some_and(|subject| !subject.is_empty())
        && mail["content"][0]["type"] == "text/plain"
        && mail["content"][0]["value"].as_str().is_some_and(|text| !text.is_empty());
    Answer::status(if is_mail { 202 } else { 400 })
}

/// Accepts a message like Twilio:
/// <https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource>.
fn twilio(request: &RecordedRequest) -> Answer {
    // `AC1:t0ken-of-the-zoo` in base64.
    if request.header("authorization") != "Basic QUMxOnQwa2VuLW9mLXRoZS16b28=" {
        return Answer::status(401);
    }
    if request.method == "GET" {
        return Answer::json(&json!({"messages": []}));
    }
    let form = String::from_utf8_lossy(&request.body).into_owned();
    let is_form = request.header("content-type") == "application/x-www-form-urlencoded"
        && ["To=%2B", "From=%2B", "Body="].iter().all(|field| form.split('&').any(|part| part.starts_with(field)));
    match is_form {
        true => Answer { status: 201, ..Answer::json(&json!({"sid": "SM1", "status": "queued"})) },
        false => {
            Answer { status: 400, ..Answer::json(&json!({"code": 21211, "message": "Invalid 'To' Phone Number"})) }
        }
    }
}

/// Starts a server with all of the vendors: the webhooks below `/VENDOR`, the APIs at their paths.
fn vendors() -> Web {
    Web::start(|request| {
        if request.method == "HEAD" {
            return Answer::status(404);
        }
        match request.target.split('?').next().unwrap_or_default() {
            "/v2/enqueue" => return pagerduty(request),
            "/v2/alerts" | "/v2/alerts/count" => return opsgenie(request),
            "/v3/mail/send" | "/v3/scopes" => return sendgrid(request),
            "/2010-04-01/Accounts/AC1/Messages.json" => return twilio(request),
            _ => {}
        }
        let Some((vendor, rest)) = request.target.trim_start_matches('/').split_once('/') else {
            return Answer::status(404);
        };
        if !rest.contains(TOKEN) {
            return Answer { status: 404, ..Answer::text(format!("no webhook at {}", request.target)) };
        }
        match vendor {
            "slack" => slack(request),
            "discord" => discord(request),
            "teams" => teams(request),
            "mattermost" => mattermost(request),
            _ => Answer::status(404),
        }
    })
}

/// Creates a yard with a block of each type of webhook on this server.
fn yard(web: &Web) -> TestYard {
    let yard = TestYard::new();
    yard.ok(&["install", &bundle("notify"), "--yes"]);
    yard.ok(&["grant", "notify", &format!("http {}", web.url())]);
    let server = format!("server={}", web.url());
    for (slug, vendor) in
        [("slack", "slack"), ("discord", "discord"), ("ms-teams", "teams"), ("mattermost", "mattermost")]
    {
        let address = format!("{slug}-webhook/team");
        let url = format!("{}/{vendor}/T01/{TOKEN}", web.url());
        yard.ok_with_input(&["create", &address, "--set", &server, "--secret", "url=-"], &url);
    }
    let apis: [(&str, &[&str], &str, &str); 4] = [
        ("pagerduty/team", &["source=warehouse"], "routing_key", "0123456789abcdef0123456789abcdef"),
        ("opsgenie/team", &["priority=P1"], "api_key", "eb243592-faa2-4ba2-a551"),
        ("email/team", &["from=loads@example.com", r#"to=["team@example.com"]"#], "api_key", "SG.key-of-the-zoo"),
        ("twilio-sms/team", &["account_sid=AC1", "from=+15017122661", "to=+15558675310"], "token", "t0ken-of-the-zoo"),
    ];
    for (address, fields, secret, value) in apis {
        let secret = format!("{secret}=-");
        let mut arguments = vec!["create", address, "--set", &server, "--secret", &secret];
        arguments.extend(fields.iter().flat_map(|field| ["--set", field]));
        yard.ok_with_input(&arguments, value);
    }
    yard
}

fn notify(yard: &TestYard, address: &str, subject: &str, body: &str) -> Value {
    yard.json(&["call", address, "notify", "--subject", subject, "--body", body])
}

#[test]
fn messages_have_the_form_of_the_vendor() {
    let web = vendors();
    let yard = yard(&web);
    assert_eq!(notify(&yard, "slack-webhook/team", "load", "842 < 900"), json!({"status": 200}));
    assert_eq!(body(&web.requests()[0]), json!({"text": "*load*\n842 &lt; 900"}));
    let posted = notify(&yard, "discord-webhook/team", "load", "842 rows");
    assert_eq!(posted, json!({"message_id": "42", "channel_id": "7"}));
    assert_eq!(notify(&yard, "ms-teams-webhook/team", "load", "842 rows"), json!({"status": 202}));
    assert_eq!(notify(&yard, "mattermost-webhook/team", "load", "842 rows"), json!({"status": 200}));
    assert!(web.requests().iter().all(|request| request.target.contains(TOKEN)));
    assert_eq!(notify(&yard, "pagerduty/team", "load", "842 rows"), json!({"dedup_key": "k1"}));
    assert_eq!(notify(&yard, "opsgenie/team", "load", "842 rows"), json!({"request_id": "43a2"}));
    assert_eq!(notify(&yard, "email/team", "load", "842 rows"), json!({"status": 202}));
    assert_eq!(notify(&yard, "twilio-sms/team", "load", "842 rows"), json!({"message_id": "SM1", "status": "queued"}));
    let types = yard.ok(&["types", "--interface", "notification"]);
    for slug in ["slack", "discord", "ms-teams", "mattermost"] {
        assert!(types.contains(&format!("{slug}-webhook")), "{types}");
    }
}

#[test]
fn errors_have_the_reason_of_the_vendor_and_no_url() {
    let web = vendors();
    let yard = yard(&web);
    let failed = yard.fails(1, &["call", "slack-webhook/team", "notify", "--body", "archived"]);
    assert!(failed.contains("status 410: channel_is_archived"), "{failed}");
    let failed = yard.fails(1, &["call", "mattermost-webhook/team", "notify", "--body", ""]);
    assert!(failed.contains("No text specified"), "{failed}");
    assert_eq!(web.requests().len(), 2, "a message is sent once");
    // A server that quotes the URL.
    let url = format!("{}/slack/T01/revoked-0123456789", web.url());
    let server = format!("server={}", web.url());
    yard.ok_with_input(&["create", "slack-webhook/gone", "--set", &server, "--secret", "url=-"], &url);
    let failed = yard.fails(1, &["call", "slack-webhook/gone", "notify", "--body", "x"]);
    assert!(failed.contains("no webhook at ********") && !failed.contains("revoked"), "{failed}");
    // A URL of another service.
    let url = format!("https://hooks.example.com/services/{TOKEN}");
    yard.ok_with_input(&["create", "slack-webhook/wrong", "--secret", "url=-"], &url);
    let failed = yard.fails(1, &["call", "slack-webhook/wrong", "notify", "--body", "x"]);
    assert!(failed.contains("is not one of `https://hooks.slack.com`, `https://hooks.slack-gov.com`"), "{failed}");
    assert!(!failed.contains(TOKEN) && !failed.contains("hooks.example.com"), "{failed}");
}

#[test]
fn check_sends_no_message() {
    let web = vendors();
    let yard = yard(&web);
    for slug in ["slack", "ms-teams", "mattermost"] {
        let checked = yard.ok(&["check", &format!("{slug}-webhook/team")]);
        assert!(checked.contains("responded with status 404; no message was sent"), "{checked}");
    }
    for address in ["opsgenie/team", "email/team", "twilio-sms/team"] {
        assert!(yard.ok(&["check", address]).contains("authenticate"), "{address}");
    }
    yard.ok(&["check", "pagerduty/team"]);
    let checked = yard.ok(&["check", "discord-webhook/team"]);
    assert!(checked.contains("webhook `********` of channel 7; no message was sent"), "{checked}");
    assert!(web.requests().iter().all(|request| matches!(request.method.as_str(), "GET" | "HEAD")));
    yard.ok_with_input(&["create", "slack-webhook/wrong", "--secret", "url=-"], TOKEN);
    let failed = yard.run(&["check", "slack-webhook/wrong"]);
    assert_eq!(failed.code, 1, "{}", failed.stdout);
    assert!(!failed.stdout.contains(TOKEN) && !failed.stderr.contains(TOKEN), "{}", failed.stdout);
    let refused =
        yard.fails_with_input(4, &["create", "slack-webhook/bad", "--set", "server=hooks", "--secret", "url=-"], "x");
    assert!(refused.contains("/server: must begin with"), "{refused}");
}
