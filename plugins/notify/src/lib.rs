//! Bundle of block types that send notifications. All of them implement the interface
//! `notification`: chat (`slack-webhook`, `discord-webhook`, `ms-teams-webhook`,
//! `mattermost-webhook`), alerts (`pagerduty`, `opsgenie`), `email` and `twilio-sms`.

mod delivery;
mod discord;
mod email;
mod mattermost;
mod opsgenie;
mod pagerduty;
mod slack;
mod teams;
mod twilio;

use blockyard_sdk::prelude::*;

use discord::DiscordWebhook;
use email::Email;
use mattermost::MattermostWebhook;
use opsgenie::Opsgenie;
use pagerduty::PagerDuty;
use slack::SlackWebhook;
use teams::TeamsWebhook;
use twilio::TwilioSms;

bundle! {
    name: "notify",
    description: "Notifications: Slack, Discord, Microsoft Teams, Mattermost, PagerDuty, Opsgenie, e-mail, SMS",
    types: [
        SlackWebhook, DiscordWebhook, TeamsWebhook, MattermostWebhook, PagerDuty, Opsgenie, Email, TwilioSms,
    ],
    capabilities: [
        "http https://hooks.slack.com",
        "http https://hooks.slack-gov.com",
        "http https://discord.com",
        "http https://discordapp.com",
        "http https://*.logic.azure.com",
        "http https://*.api.powerplatform.com",
        "http https://*.webhook.office.com",
        "http https://events.pagerduty.com",
        "http https://events.eu.pagerduty.com",
        "http https://api.opsgenie.com",
        "http https://api.eu.opsgenie.com",
        "http https://api.sendgrid.com",
        "http https://api.eu.sendgrid.com",
        "http https://api.twilio.com",
        "http {config.server}",
        "clock",
    ],
}
