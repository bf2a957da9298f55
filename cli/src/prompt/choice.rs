//! Choice of one of several rows, with arrow keys and by typing a part of it.

use blockyard::model::visible;
use console::{Key, measure_text_width};

use super::keyboard::{Keyboard, width};
use super::wrap::{shortened, wrapped};
use crate::terminal::Failure;

/// Maximum number of rows that are displayed at the same time.
const ROWS: usize = 10;
/// Minimum number of columns for the search text beside its prompt.
const MIN_COLUMNS: usize = 12;

/// A row of a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Text that is displayed as the answer.
    pub(crate) label: String,
    /// Description beside it. May be empty.
    pub(crate) description: String,
}

impl Row {
    pub(crate) fn new(label: impl Into<String>, description: impl Into<String>) -> Self {
        Self { label: label.into(), description: description.into() }
    }
}

/// Asks for one of the rows, of which one is selected at first. Returns `None` if the user has pressed
/// Esc.
pub(crate) fn choose(prompt: &str, rows: &[Row], selected: usize) -> Result<Option<usize>, Failure> {
    let keyboard = Keyboard::open();
    let columns = width();
    let mut prompt = prompt.to_owned();
    if measure_text_width(&prompt) + MIN_COLUMNS > columns {
        keyboard.write(&format!("{}\n", wrapped(&prompt, "", columns)))?;
        prompt = "> ".to_owned();
    }
    let mut choice = Choice { rows, search: String::new(), found: (0..rows.len()).collect(), at: selected };
    let chosen = loop {
        let picture = choice.picture(&prompt, width());
        keyboard.write(&picture.join("\n"))?;
        let key = keyboard.key();
        // The prompt line is overwritten as well.
        keyboard.write(&erase(picture.len()))?;
        match key? {
            Key::Enter => {
                if let Some(index) = choice.found.get(choice.at) {
                    break Some(*index);
                }
            }
            Key::Escape => break None,
            key => choice.press(&key),
        }
    };
    let answer = chosen.map(|index| visible::line(&rows[index].label)).unwrap_or_default();
    keyboard.write(&format!("{}\n", shortened(&format!("{prompt}{answer}"), width() - 1)))?;
    Ok(chosen)
}

/// Returns the commands that erase the last lines, the cursor being in the last one.
fn erase(lines: usize) -> String {
    format!("\r{}\x1b[J", "\x1b[1A".repeat(lines - 1))
}

struct Choice<'a> {
    rows: &'a [Row],
    search: String,
    /// Indexes of the rows that match the search, the best match first.
    found: Vec<usize>,
    /// Selected position in `found`.
    at: usize,
}

impl Choice<'_> {
    fn press(&mut self, key: &Key) {
        let last = self.found.len().saturating_sub(1);
        match key {
            Key::ArrowUp | Key::BackTab => self.at = if self.at == 0 { last } else { self.at - 1 },
            Key::ArrowDown | Key::Tab => self.at = if self.at >= last { 0 } else { self.at + 1 },
            Key::PageUp => self.at = self.at.saturating_sub(ROWS),
            Key::PageDown => self.at = (self.at + ROWS).min(last),
            Key::Home => self.at = 0,
            Key::End => self.at = last,
            Key::Backspace => {
                self.search.pop();
                self.filter();
            }
            // Ctrl-U.
            Key::Char('\u{15}') => {
                self.search.clear();
                self.filter();
            }
            Key::Char(typed) if !typed.is_control() => {
                self.search.push(*typed);
                self.filter();
            }
            _ => {}
        }
    }

    /// Selects the rows that contain the search text. Matches of the complete label are first, then
    /// those of its beginning.
    fn filter(&mut self) {
        let search = self.search.to_lowercase();
        let rank = |row: &Row| {
            let label = row.label.to_lowercase();
            if label == search {
                Some(0)
            } else if label.starts_with(&search) {
                Some(1)
            } else if label.contains(&search) {
                Some(2)
            } else {
                row.description.to_lowercase().contains(&search).then_some(3)
            }
        };
        let mut ranked: Vec<(u8, usize)> =
            self.rows.iter().enumerate().filter_map(|(index, row)| Some((rank(row)?, index))).collect();
        ranked.sort_unstable();
        self.found = ranked.into_iter().map(|(_, index)| index).collect();
        self.at = 0;
    }

    /// Returns the displayed lines.
    fn picture(&self, prompt: &str, width: usize) -> Vec<String> {
        // A line in the last column would move the cursor to the next one.
        let columns = width - 1;
        let mut lines = vec![shortened(&format!("{prompt}{}", visible::line(&self.search)), columns)];
        let first = (self.at + 1).saturating_sub(ROWS);
        let shown = &self.found[first.min(self.found.len())..self.found.len().min(first + ROWS)];
        let labels = shown.iter().map(|index| measure_text_width(&visible::line(&self.rows[*index].label)));
        let column = labels.max().unwrap_or(0).min(columns / 2);
        for (position, index) in shown.iter().enumerate() {
            let row = &self.rows[*index];
            let mark = if first + position == self.at { ">" } else { " " };
            let label = visible::line(&row.label);
            let gap = " ".repeat(column.saturating_sub(measure_text_width(&label)));
            let text = format!("{mark} {label}{gap}  {}", visible::paragraph(&row.description));
            lines.push(shortened(text.trim_end(), columns));
        }
        let hidden = self.found.len() - shown.len();
        if self.found.is_empty() {
            lines.push(shortened("  no match; Backspace changes the search", columns));
        } else if hidden > 0 {
            lines.push(shortened(&format!("  {hidden} more; type a part of the name to search"), columns));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(rows: &[Row], keys: &[Key], width: usize) -> String {
        let mut choice = Choice { rows, search: String::new(), found: (0..rows.len()).collect(), at: 0 };
        keys.iter().for_each(|key| choice.press(key));
        choice.picture("dialect: ", width).join("\n")
    }

    #[test]
    fn rows_are_selected_by_arrow_keys_and_search() {
        let rows = [
            Row::new("sqlite", "A file on this machine."),
            Row::new("postgres", "PostgreSQL."),
            Row::new("mysql", "MySQL or MariaDB."),
        ];
        let keys = |text: &str| text.chars().map(Key::Char).collect::<Vec<_>>();
        assert_eq!(
            picture(&rows, &[Key::ArrowDown], 30),
            "dialect: \n  sqlite    A file on this…\n> postgres  PostgreSQL.\n  mysql     MySQL or MariaDB."
        );
        assert_eq!(picture(&rows, &[Key::ArrowUp], 30).lines().last(), Some("> mysql     MySQL or MariaDB."));
        assert_eq!(
            picture(&rows, &keys("SQL"), 60),
            "dialect: SQL\n> sqlite    A file on this machine.\n  mysql     MySQL or MariaDB.\n  postgres  PostgreSQL."
        );
        assert_eq!(picture(&rows, &keys("maria"), 60), "dialect: maria\n> mysql  MySQL or MariaDB.");
        assert_eq!(picture(&rows, &keys("ora"), 60), "dialect: ora\n  no match; Backspace changes the search");
    }

    #[test]
    fn long_lists_scroll() {
        let rows: Vec<Row> = (0..30).map(|n| Row::new(format!("block-{n}"), "")).collect();
        let shown = picture(&rows, &[Key::PageDown, Key::ArrowDown], 60);
        assert_eq!(shown.lines().count(), 12, "{shown}");
        assert!(
            shown.contains("> block-11") && shown.ends_with("20 more; type a part of the name to search"),
            "{shown}"
        );
    }
}
