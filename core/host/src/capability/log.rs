//! `log`: lines for the people who run the call. The text is guest-controlled: control characters
//! are escaped, secrets masked, length and number limited.

use crate::bindings::blockyard::bundle::log::{Host, Level};
use crate::call::{LogLevel, LogLine};
use crate::limits;
use crate::problem::cut;
use crate::state::CallState;
use crate::trace;

/// How the SDK's panic hook begins its line; the host shows it as the reason of the crash.
pub(crate) const PANIC_PREFIX: &str = "panicked at ";

impl Host for CallState {
    async fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let traced = trace::inner_call("log.write");
        traced.bytes(message.len());
        let is_panic = level == Level::Error && message.starts_with(PANIC_PREFIX);
        // A flood costs no more than looking at it.
        if !is_panic && self.log.len() > limits::LOG_LINES {
            return Ok(());
        }
        let message = self.redactor.text(cut(message, limits::LOG_LINE_BYTES));
        let message = without_control_characters(&message);
        if is_panic {
            self.panic = Some(message);
        } else if self.log.len() == limits::LOG_LINES {
            let message = format!("further lines are dropped; a call has {} at the most", limits::LOG_LINES);
            self.log.push(LogLine { level: LogLevel::Warn, message });
        } else {
            self.log.push(LogLine { level: level.into(), message });
        }
        Ok(())
    }
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

/// A text that cannot move the cursor of a terminal.
fn without_control_characters(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() && c != '\t' { c.escape_debug().collect() } else { vec![c] }).collect()
}
