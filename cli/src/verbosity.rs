//! `-v`: prints calls and host activity as `tracing` events.

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

use crate::telemetry::Telemetry;

/// Filter of the printed events. It can change while a command runs, because `-v` after an
/// operation is parsed only when the operation is known.
#[derive(Debug, Clone)]
pub(crate) struct Verbosity {
    filter: Handle<EnvFilter, Registry>,
}

impl Verbosity {
    /// Prints events to standard error at the level of `verbose` and exports traces if `telemetry`
    /// is given.
    pub(crate) fn start(verbose: u8, telemetry: Option<&Telemetry>) -> Self {
        let (filter, handle) = reload::Layer::new(filter(verbose));
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
        tracing_subscriber::registry().with(lines.with_filter(filter)).with(telemetry.map(Telemetry::layer)).init();
        Self { filter: handle }
    }

    pub(crate) fn set(&self, verbose: u8) {
        // Reloading fails only after the subscriber is dropped, which happens at process exit.
        let _ = self.filter.reload(filter(verbose));
    }
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
