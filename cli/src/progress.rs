//! Progress display on standard error: one transient line on a terminal.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use blockyard::model::visible;
use indicatif::{ProgressBar, ProgressStyle};

/// Status line of the current operation. Clones share the line, which is removed when the last one
/// is dropped.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: Option<Arc<Line>>,
    /// Prints each step on a separate line, because standard error is not a terminal.
    lines: bool,
}

/// The status line, removed on drop.
struct Line(ProgressBar);

impl Progress {
    pub(crate) fn new(enabled: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (enabled && terminal).then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a valid template");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
            Arc::new(Line(bar))
        });
        Self { bar, lines: enabled && !terminal }
    }

    /// Shows the next step.
    pub(crate) fn report(&self, text: &str) {
        use std::io::Write as _;
        match &self.bar {
            Some(line) => line.0.set_message(visible::line(text)),
            None if self.lines => drop(writeln!(anstream::stderr(), "{}", visible::line(text))),
            None => {}
        }
    }

    /// Shows the next step and prints it permanently by calling `note`.
    pub(crate) fn keep(&self, text: &str, note: impl FnOnce()) {
        match &self.bar {
            Some(line) => {
                line.0.suspend(note);
                line.0.set_message(visible::line(text));
            }
            None => note(),
        }
    }

    /// Updates the status line with a count; does nothing without a terminal.
    pub(crate) fn count(&self, text: impl FnOnce() -> String) {
        if let Some(line) = &self.bar {
            line.0.set_message(visible::line(&text()));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
