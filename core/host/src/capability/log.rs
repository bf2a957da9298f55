//! `log`: log lines for the user who runs the call. The text is guest-controlled: control
//! characters are escaped, secrets are masked, and the length and the number of lines are limited.

use blockyard_call::{Redactor, Usage, cut, limits, trace};
use blockyard_model::{Capability, visible};
use wasmtime::component::{HasData, Linker};

use crate::bindings::blockyard::bundle::log::{self, Host, Level};

/// Prefix of the line that the SDK's panic hook writes. The host reports such a line as the cause
/// of the crash.
pub(crate) const PANIC_PREFIX: &str = "panicked at ";

/// A log line of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Severity.
    pub level: LogLevel,
    /// The message, with control characters escaped and secrets masked.
    pub message: String,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Details for the bundle's author.
    Trace,
    /// Details for troubleshooting.
    Debug,
    /// Information about normal operation.
    Info,
    /// A condition that may need attention.
    Warn,
    /// A failure.
    Error,
}

/// Log lines of one call.
#[derive(Default)]
pub(crate) struct LogContext {
    lines: Vec<LogLine>,
    bytes: usize,
    full: bool,
    /// The message of a guest panic, from the SDK's panic hook.
    pub(crate) panic: Option<String>,
}

impl LogContext {
    pub(crate) fn take(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.lines)
    }

    fn push(&mut self, level: LogLevel, message: String) {
        if self.lines.len() == limits::LOG_LINES || self.bytes + message.len() > limits::LOG_BYTES {
            self.full = true;
            let (lines, kibibytes) = (limits::LOG_LINES, limits::LOG_BYTES >> 10);
            let message =
                format!("log limit of {lines} lines or {kibibytes} KiB per call reached; further lines are dropped");
            self.lines.push(LogLine { level: LogLevel::Warn, message });
        } else {
            self.bytes += message.len();
            self.lines.push(LogLine { level, message });
        }
    }
}

/// View of a call that `log` needs.
pub(crate) struct LogView<'call> {
    /// Masks the secrets of the call.
    pub(crate) shown: &'call Redactor,
    pub(crate) log: &'call mut LogContext,
    pub(crate) usage: &'call Usage,
}

/// Names [`LogView`] as the data of the interface.
struct HasLog;

impl HasData for HasLog {
    type Data<'call> = LogView<'call>;
}

/// Links the interface `log`.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> LogView<'_>,
) -> wasmtime::Result<()> {
    log::add_to_linker::<T, HasLog>(linker, view)
}

impl Host for LogView<'_> {
    async fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let traced = trace::inner_call("log.write");
        self.usage.record(&Capability::Log);
        traced.bytes(message.len());
        if level == Level::Error && message.starts_with(PANIC_PREFIX) {
            self.log.panic = Some(one_line(self.shown, message));
        } else if !self.log.full {
            // Lines over the limit are dropped before they are searched for secrets, so that a
            // flood of lines is cheap.
            let message = one_line(self.shown, message);
            self.log.push(level.into(), message);
        }
        Ok(())
    }
}

/// Converts a string to one log line: masks secrets, escapes line breaks and other control
/// characters, and cuts the line to [`limits::LOG_LINE_BYTES`], escapes included.
pub(crate) fn one_line(redactor: &Redactor, text: String) -> String {
    // Only a complete secret is found, so the search covers more than the length of a line.
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
