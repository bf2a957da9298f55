//! What `-v` shows: the calls, and what the host did for each, as `tracing` has them.

use blockyard::Telemetry;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

/// How much is shown. It can change while a command runs: `-v` after an operation is understood when
/// the operation is known.
#[derive(Debug, Clone)]
pub(crate) struct Verbosity {
    filter: Handle<EnvFilter, Registry>,
}

impl Verbosity {
    /// Shows on standard error what this many `-v` ask for, and exports traces where that is wanted.
    pub(crate) fn start(verbose: u8, telemetry: Option<&Telemetry>) -> Self {
        let (filter, handle) = reload::Layer::new(filter(verbose));
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
        tracing_subscriber::registry().with(lines.with_filter(filter)).with(telemetry.map(Telemetry::layer)).init();
        Self { filter: handle }
    }

    pub(crate) fn set(&self, verbose: u8) {
        // It fails where the subscriber is gone, which it is when the process is.
        let _ = self.filter.reload(filter(verbose));
    }
}

/// Blockyard's own words, and no more than errors of others: a library may say what it was given,
/// and what it was given may be a secret.
fn filter(verbose: u8) -> EnvFilter {
    EnvFilter::new(match verbose {
        0 => "error,sqlx=off",
        1 => "error,sqlx=off,blockyard=info",
        _ => "error,sqlx=off,blockyard=debug",
    })
}
