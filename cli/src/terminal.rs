//! Printing: data to standard output, everything else to standard error.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use blockyard::model::visible;
use blockyard::{Error, ErrorKind};
use serde::Serialize;

use crate::hints;

/// Where a command prints.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
}

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error to print.
    Error(Error),
    /// Nobody reads standard output any more.
    ClosedPipe,
    /// Ctrl-C.
    Interrupted,
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

/// How the terminal was before anything was asked: a question for a secret turns its echo off.
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

/// Bold red, bold cyan, none.
const RED: &str = "\x1b[1;31m";
const CYAN: &str = "\x1b[1;36m";
const PLAIN: &str = "\x1b[0m";

/// A message of several lines. Lines after the first are marked if a bundle or a server may have written them,
/// so that none looks like a line of Blockyard's own, such as a hint.
fn message(text: &str, own_lines: bool) -> String {
    let text = visible::lines(text.trim_end());
    if own_lines { text } else { text.replace('\n', "\n  | ") }
}

impl Terminal {
    /// Prints a document: as JSON where that is wanted, else as `text` says.
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

    /// Says something beside the data.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.prompt(text);
        }
    }

    /// Prints what belongs to a question: also with `--quiet`, because the answer agrees to it.
    #[allow(clippy::unused_self, reason = "printing goes through the terminal")]
    pub(crate) fn prompt(&self, text: &str) {
        let _ = writeln!(anstream::stderr(), "{}", visible::lines(text));
    }

    /// Whether somebody can be asked.
    #[allow(clippy::unused_self, reason = "asking goes through the terminal")]
    pub(crate) fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks yes or no on a terminal.
    pub(crate) fn agree(&self, question: &str) -> bool {
        let _ = write!(anstream::stderr(), "{} [y/N] ", visible::line(question));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
    }

    /// Has a person agree to what cannot be taken back: by the flag `--yes`, or on a terminal.
    pub(crate) fn need_agreement(&self, yes: bool, question: &str, why: &str) -> Result<(), Error> {
        if yes || self.can_ask() && self.agree(question) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Usage, format!("{why}, and nobody agreed to it")).hint("agree with `--yes`"))
    }

    /// Prints an error: what, why, what to do. Gives the exit code of its kind.
    pub(crate) fn fail(&self, error: &Error) -> ExitCode {
        let mut out = anstream::stderr();
        let _ = if self.json {
            writeln!(out, "{}", visible::json(&format!("{:#}", hints::to_json(error))))
        } else {
            let mut text = format!("{RED}error{PLAIN}: {}\n", message(&error.to_string(), error.is_in_lines()));
            for cause in error.causes() {
                text.push_str(&format!("  caused by: {}\n", message(&cause, false)));
            }
            for hint in hints::hints(error) {
                text.push_str(&format!("  {CYAN}hint{PLAIN}: {}\n", message(&hint, false)));
            }
            if error.kind() == ErrorKind::Internal {
                text.push_str("  this is a bug in Blockyard: please report the command and this text\n");
            }
            write!(out, "{text}")
        };
        ExitCode::from(hints::exit_code(error.kind()))
    }
}
