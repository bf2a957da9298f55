//! `log`: lines for the people who run the call. The text is guest-controlled: control characters
//! are escaped, secrets masked, length and number limited.

use crate::bindings::blockyard::bundle::log::{Host, Level};
use crate::call::{LogLevel, LogLine};
use crate::limits;
use crate::problem::cut;
use crate::state::CallState;

/// How the SDK's panic hook begins its line; the host shows it as the reason of the crash.
pub(crate) const PANIC_PREFIX: &str = "panicked at ";

impl Host for CallState {
    async fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let message = self.redactor.text(cut(message, limits::LOG_LINE_BYTES));
        let message: String = message
            .chars()
            .flat_map(|c| if c.is_control() && c != '\t' { c.escape_debug().collect::<Vec<_>>() } else { vec![c] })
            .collect();
        if level == Level::Error && message.starts_with(PANIC_PREFIX) {
            self.panic = Some(message);
            return Ok(());
        }
        if self.log.len() < limits::LOG_LINES {
            self.log.push(LogLine {
                level: match level {
                    Level::Trace => LogLevel::Trace,
                    Level::Debug => LogLevel::Debug,
                    Level::Info => LogLevel::Info,
                    Level::Warn => LogLevel::Warn,
                    Level::Error => LogLevel::Error,
                },
                message,
            });
        }
        Ok(())
    }
}
