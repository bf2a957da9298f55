//! `-v`: prints calls and host activity as `tracing` events.

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::telemetry::Telemetry;

/// Prints events to standard error at the level of `verbose` and exports traces if `telemetry` is
/// given.
pub(crate) fn start(verbose: u8, telemetry: Option<&Telemetry>) {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
    let lines = lines.with_filter(filter(verbose));
    tracing_subscriber::registry().with(lines).with(telemetry.map(Telemetry::layer)).init();
}

/// Returns the filter for a level: Blockyard's own events, and only errors of other crates. A
/// library may log its input, which may be a secret.
fn filter(verbose: u8) -> EnvFilter {
    EnvFilter::new(match verbose {
        0 => "error,sqlx=off",
        1 => "error,sqlx=off,blockyard=info",
        _ => "error,sqlx=off,blockyard=debug",
    })
}
