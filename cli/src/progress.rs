//! Progress on a terminal: one line that disappears.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line that says what is being done.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// Where there is no terminal, each new step is a line of its own.
    lines: bool,
}

impl Progress {
    pub(crate) fn new(wanted: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (wanted && terminal).then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a valid template");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, lines: wanted && !terminal }
    }

    /// The next step.
    pub(crate) fn say(&self, text: &str) {
        use std::io::Write as _;
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None if self.lines => drop(writeln!(anstream::stderr(), "{text}")),
            None => {}
        }
    }

    /// How far it is; only where there is a line to change.
    pub(crate) fn count(&self, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
