//! `blockyard audit`: lists entries of the audit trail.

use blockyard::{AuditFilter, Digest, Error, ErrorKind, timestamp};
use serde_json::json;

use crate::arguments::Audit;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::tabular::plain_table;
use crate::time::time;

pub(super) async fn run(arguments: &Audit, context: &Context) -> Outcome {
    let filter = AuditFilter {
        subject: arguments.block.as_ref().map(ToString::to_string),
        since: arguments.since.as_deref().map(since).transpose()?,
        limit: Some(arguments.limit),
    };
    let yard = context.open().await?;
    let lines = yard.audit(&filter).await?;
    let documents: Vec<serde_json::Value> = lines
        .iter()
        .map(|line| {
            let detail: serde_json::Value = serde_json::from_str(&line.detail).unwrap_or_default();
            json!({ "at": timestamp(line.at), "actor": line.actor, "action": line.action, "subject": line.subject, "detail": detail })
        })
        .collect();
    context.terminal.document(&json!({ "audit": documents }), || {
        let mut table = plain_table(["when", "who", "did", "to", "detail"].map(str::to_owned));
        for (line, document) in lines.iter().zip(&documents) {
            let detail: Vec<String> = document["detail"]
                .as_object()
                .into_iter()
                .flatten()
                // Digests are included in JSON output only.
                .filter(|(_, value)| value.as_str().is_none_or(|text| text.parse::<Digest>().is_err()))
                .map(|(key, value)| {
                    format!("{key} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                })
                .collect();
            table.add_row([
                time(timestamp(line.at)),
                line.actor.clone(),
                line.action.clone(),
                line.subject.clone(),
                detail.join(", "),
            ]);
        }
        table.fitted().to_string()
    })?;
    yard.close().await;
    Ok(DONE)
}

/// Returns the time of an entry, limited to the range of timestamps.
fn since(text: &str) -> Result<i64, Error> {
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let date = text.parse::<jiff::civil::Date>().ok()?;
        Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    });
    let span = || {
        text.parse::<jiff::SignedDuration>().ok().or_else(|| {
            // `d` means exactly 24 hours.
            let days: i64 = text.strip_suffix('d')?.parse().ok()?;
            Some(jiff::SignedDuration::from_secs(days.checked_mul(24 * 60 * 60)?))
        })
    };
    let back = || span().filter(|span| !span.is_negative());
    let time = time.or_else(|| jiff::Timestamp::now().checked_sub(back()?).ok());
    time.map(jiff::Timestamp::as_millisecond).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("`{text}` is not a valid time"))
            .hint("use a date (`2026-11-24`), a time (`2026-11-24T10:00:00Z`), or a duration before now (`2h`, `7d`)")
    })
}
