//! Printing: results to standard output, everything else to standard error.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use blockyard::model::visible;
use blockyard::{Error, ErrorKind};
use serde::Serialize;

use crate::hints;
use crate::origin::Origin;

/// Output options of a command.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
}

/// Returns the width of the terminal in characters. `None` if standard output is not a terminal.
#[cfg(unix)]
pub(crate) fn width() -> Option<u16> {
    rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| size.ws_col).filter(|width| *width > 0)
}

#[cfg(not(unix))]
pub(crate) fn width() -> Option<u16> {
    None
}

/// Returns when text is colored, and the setting that decides it: the variables that `anstream` reads.
pub(crate) fn color() -> (&'static str, Origin) {
    let value = |name: &'static str| std::env::var_os(name).filter(|value| !value.is_empty());
    if value("NO_COLOR").is_some() {
        ("never", Origin::Variable("NO_COLOR"))
    } else if value("CLICOLOR_FORCE").is_some() {
        ("always", Origin::Variable("CLICOLOR_FORCE"))
    } else if value("CLICOLOR").is_some_and(|value| value == "0") {
        ("never", Origin::Variable("CLICOLOR"))
    } else {
        ("terminal", Origin::Default)
    }
}

/// Reason why a command stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error to print.
    Error(Error),
    /// The reader of standard output has closed it.
    ClosedPipe,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// Ctrl-C instead of an answer, before anything was changed.
    Canceled,
}

/// True while an interrupt changes nothing.
static UNCHANGED: AtomicBool = AtomicBool::new(false);

/// Marks the part of a command in which nothing was changed yet, for the message of an interrupt.
#[derive(Debug)]
pub(crate) struct Unchanged;

impl Unchanged {
    pub(crate) fn begin() -> Self {
        UNCHANGED.store(true, Ordering::Relaxed);
        Self
    }

    /// Returns whether such a part is running.
    pub(crate) fn is_current() -> bool {
        UNCHANGED.load(Ordering::Relaxed)
    }
}

impl Drop for Unchanged {
    fn drop(&mut self) {
        UNCHANGED.store(false, Ordering::Relaxed);
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::ClosedPipe
        } else {
            Self::Error(Error::new(ErrorKind::Remote, "the output cannot be written").because(error))
        }
    }
}

/// Terminal attributes before any prompt, because a prompt for a secret disables echo.
pub(crate) struct Echo {
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl Echo {
    pub(crate) fn now() -> Self {
        Self {
            #[cfg(unix)]
            before: rustix::termios::tcgetattr(std::io::stdin()).ok(),
        }
    }

    pub(crate) fn restore(&self) {
        #[cfg(unix)]
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, before);
        }
        let _ = writeln!(anstream::stderr());
    }
}

/// Bold red, bold cyan, reset.
const RED: &str = "\x1b[1;31m";
const CYAN: &str = "\x1b[1;36m";
const PLAIN: &str = "\x1b[0m";

/// Formats a message that may have several lines. Unless `own_lines` is set, continuation lines are
/// marked: a bundle or a server may have written them, and they must not look like Blockyard's
/// output, such as a hint.
fn message(text: &str, own_lines: bool) -> String {
    let text = visible::lines(text.trim_end());
    if own_lines { text } else { text.replace('\n', "\n  | ") }
}

impl Terminal {
    /// Prints a document as JSON with `--json`, otherwise as the result of `text`.
    pub(crate) fn document(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { self.json(document) } else { self.text(&text()) }
    }

    /// Prints a document as JSON.
    #[allow(clippy::unused_self, reason = "printing goes through the terminal")]
    pub(crate) fn json(&self, document: &impl Serialize) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        if out.is_terminal() {
            let text = serde_json::to_string_pretty(document).map_err(std::io::Error::from)?;
            writeln!(out, "{}", visible::json(&text))?;
            return Ok(());
        }
        serde_json::to_writer_pretty(&mut out, document).map_err(std::io::Error::from)?;
        writeln!(out)?;
        Ok(())
    }

    /// Prints text to standard output.
    #[allow(clippy::unused_self, reason = "printing goes through the terminal")]
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        let text = visible::lines(text);
        out.write_all(text.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Prints a message to standard error, unless `--quiet` is given.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.prompt(text);
        }
    }

    /// Prints the context of a question, even with `--quiet`, because the answer approves it.
    #[allow(clippy::unused_self, reason = "printing goes through the terminal")]
    pub(crate) fn prompt(&self, text: &str) {
        let _ = writeln!(anstream::stderr(), "{}", visible::lines(text));
    }

    /// Returns whether a user can be prompted.
    #[allow(clippy::unused_self, reason = "asking goes through the terminal")]
    pub(crate) fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks a yes/no question on a terminal.
    pub(crate) fn confirm(&self, question: &str) -> bool {
        let _ = write!(anstream::stderr(), "{} [y/N] ", visible::line(question));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
    }

    /// Requires confirmation of an irreversible action, by `--yes` or on a terminal.
    pub(crate) fn require_confirmation(&self, yes: bool, question: &str, why: &str) -> Result<(), Error> {
        if yes || self.can_ask() && self.confirm(question) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Usage, format!("{why} and was not confirmed")).hint("confirm with `--yes`"))
    }

    /// Prints an error, its causes and its hints. Returns the exit code of its kind.
    pub(crate) fn fail(&self, error: &Error) -> ExitCode {
        let mut out = anstream::stderr();
        let _ = if self.json {
            writeln!(out, "{}", visible::json(&format!("{:#}", hints::to_json(error))))
        } else {
            let mut text = format!("{RED}error{PLAIN}: {}\n", message(&error.to_string(), error.is_multi_line()));
            for cause in error.causes() {
                text.push_str(&format!("  caused by: {}\n", message(&cause, false)));
            }
            for hint in hints::hints(error) {
                text.push_str(&format!("  {CYAN}hint{PLAIN}: {}\n", message(&hint, false)));
            }
            if error.kind() == ErrorKind::Internal {
                text.push_str("  this is a bug in Blockyard: report the command and this output\n");
            }
            write!(out, "{text}")
        };
        ExitCode::from(hints::exit_code(error.kind()))
    }
}
