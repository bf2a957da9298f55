//! Progress on a terminal: one line that disappears.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use blockyard::model::visible;
use indicatif::{ProgressBar, ProgressStyle};

/// A line that says what is being done. Clones are the same line; it goes with the last of them.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: Option<Arc<Line>>,
    /// Where there is no terminal, each new step is a line of its own.
    lines: bool,
}

/// The line itself.
struct Line(ProgressBar);

impl Progress {
    pub(crate) fn new(wanted: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (wanted && terminal).then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a valid template");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
            Arc::new(Line(bar))
        });
        Self { bar, lines: wanted && !terminal }
    }

    /// The next step.
    pub(crate) fn say(&self, text: &str) {
        use std::io::Write as _;
        match &self.bar {
            Some(line) => line.0.set_message(visible::line(text)),
            None if self.lines => drop(writeln!(anstream::stderr(), "{}", visible::line(text))),
            None => {}
        }
    }

    /// The next step, said in a way that stays visible: `note` prints it.
    pub(crate) fn keep(&self, text: &str, note: impl FnOnce()) {
        match &self.bar {
            Some(line) => {
                line.0.suspend(note);
                line.0.set_message(visible::line(text));
            }
            None => note(),
        }
    }

    /// How far it is; only where there is a line to change.
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
