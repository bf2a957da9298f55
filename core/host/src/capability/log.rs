//! `log`: lines for the people who run the call. The text is guest-controlled: control characters
//! are escaped, secrets masked, length and number limited.

use blockyard_model::visible;

use crate::bindings::blockyard::bundle::log::{Host, Level};
use crate::call::{LogLevel, LogLine};
use crate::limits;
use crate::problem::cut;
use crate::redact::Redactor;
use crate::state::CallState;
use crate::trace;

/// How the SDK's panic hook begins its line; the host shows it as the reason of the crash.
pub(crate) const PANIC_PREFIX: &str = "panicked at ";

/// The lines of a call.
#[derive(Default)]
pub(crate) struct Log {
    lines: Vec<LogLine>,
    bytes: usize,
    full: bool,
}

impl Log {
    pub(crate) fn take(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.lines)
    }

    fn push(&mut self, level: LogLevel, message: String) {
        if self.lines.len() == limits::LOG_LINES || self.bytes + message.len() > limits::LOG_BYTES {
            self.full = true;
            let (lines, kibibytes) = (limits::LOG_LINES, limits::LOG_BYTES >> 10);
            let message = format!("further lines are dropped; a call has {lines}, or {kibibytes} KiB, at the most");
            self.lines.push(LogLine { level: LogLevel::Warn, message });
        } else {
            self.bytes += message.len();
            self.lines.push(LogLine { level, message });
        }
    }
}

impl Host for CallState {
    async fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let traced = trace::inner_call("log.write");
        traced.bytes(message.len());
        if level == Level::Error && message.starts_with(PANIC_PREFIX) {
            self.panic = Some(one_line(&self.shown, message));
        } else if !self.log.full {
            // A flood costs no more than looking at it.
            let message = one_line(&self.shown, message);
            self.log.push(level.into(), message);
        }
        Ok(())
    }
}

/// A text as a line of the log: without secrets, on one line, not too long, also when what it has of
/// control characters is written out.
pub(crate) fn one_line(redactor: &Redactor, text: String) -> String {
    // A secret that begins within the limit must be there whole to be found.
    let text = redactor.text(cut(text, limits::LOG_SEARCHED_BYTES));
    cut(visible::line(&cut(text, limits::LOG_LINE_BYTES)), limits::LOG_LINE_BYTES)
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}
