//! Keys and the size of the terminal.

use std::io::ErrorKind as IoErrorKind;

use blockyard::{Error, ErrorKind};
use console::{Key, Term};

use crate::terminal::Failure;

/// Width that is used if the terminal does not report one.
const DEFAULT_WIDTH: usize = 80;
/// Widths below this are treated like this one.
const MIN_WIDTH: usize = 20;

/// The terminal while a prompt is open: keys are not echoed and not interpreted, also between two
/// reads, so that text which is pasted or typed in advance does not appear twice.
pub(super) struct Keyboard {
    pub(super) screen: Term,
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl Keyboard {
    pub(super) fn open() -> Self {
        #[cfg(unix)]
        let before = {
            use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
            let before = tcgetattr(std::io::stdin()).ok();
            if let Some(before) = &before {
                let mut raw = before.clone();
                raw.make_raw();
                raw.output_modes = before.output_modes;
                let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &raw);
            }
            before
        };
        Self {
            screen: Term::stderr(),
            #[cfg(unix)]
            before,
        }
    }

    /// Waits for a key. Ctrl-C, SIGINT, and Ctrl-D instead of an answer cancel the command.
    pub(super) fn key(&self) -> Result<Key, Failure> {
        match self.screen.read_key_raw() {
            Ok(Key::CtrlC | Key::Char('\u{3}' | '\u{4}')) => Err(Failure::Canceled),
            Ok(key) => Ok(key),
            Err(error) if error.kind() == IoErrorKind::Interrupted => Err(Failure::Canceled),
            Err(error) => Err(unreadable(error)),
        }
    }

    /// Writes to the terminal.
    pub(super) fn write(&self, text: &str) -> Result<(), Failure> {
        self.screen.write_str(text).map_err(unreadable)
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Drain, before);
        }
    }
}

/// Returns the width of the terminal in columns.
pub(crate) fn width() -> usize {
    let size = Term::stderr().size_checked().map(|(_, columns)| usize::from(columns));
    size.filter(|columns| *columns > 0).unwrap_or(DEFAULT_WIDTH).max(MIN_WIDTH)
}

fn unreadable(error: std::io::Error) -> Failure {
    Error::new(ErrorKind::Usage, "cannot read the answer from the terminal").because(error).into()
}
