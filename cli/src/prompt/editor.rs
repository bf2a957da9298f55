//! Input of one line, which is edited in place. A line that is longer than the terminal scrolls.

use blockyard::model::visible;
use console::{Key, measure_text_width};
use zeroize::Zeroizing;

use super::keyboard::{Keyboard, width};
use super::wrap::wrapped;
use crate::terminal::Failure;

/// Minimum number of columns for the text beside its prompt.
const MIN_COLUMNS: usize = 16;

/// Result of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    /// The text, possibly empty.
    Text(String),
    /// The user has pressed Esc.
    Escape,
}

/// Asks for a line of text. `initial` is the text to edit.
pub(crate) fn line(prompt: &str, initial: &str) -> Result<Typed, Failure> {
    let mut editor = Editor::new(prompt, initial, false);
    let keyboard = Keyboard::open();
    let ended = editor.run(&keyboard)?;
    Ok(if ended { Typed::Text(editor.text().to_string()) } else { Typed::Escape })
}

/// Asks for a line that is not displayed. Returns `None` if the user has pressed Esc.
pub(crate) fn hidden(prompt: &str) -> Result<Option<Zeroizing<String>>, Failure> {
    let mut editor = Editor::new(prompt, "", true);
    let keyboard = Keyboard::open();
    let ended = editor.run(&keyboard)?;
    Ok(ended.then(|| editor.text()))
}

struct Editor {
    /// Lines above the input, and the prompt beside it.
    above: String,
    prompt: String,
    hidden: bool,
    typed: Zeroizing<Vec<char>>,
    cursor: usize,
}

impl Editor {
    fn new(prompt: &str, initial: &str, hidden: bool) -> Self {
        let beside = measure_text_width(prompt) + MIN_COLUMNS <= width();
        let above = if beside { String::new() } else { format!("{}\n", wrapped(prompt, "", width())) };
        let typed: Vec<char> = initial.chars().collect();
        Self {
            above,
            prompt: if beside { prompt.to_owned() } else { "> ".to_owned() },
            hidden,
            cursor: typed.len(),
            typed: Zeroizing::new(typed),
        }
    }

    fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.typed.iter().collect())
    }

    /// Reads keys until Enter (true) or Esc (false).
    fn run(&mut self, keyboard: &Keyboard) -> Result<bool, Failure> {
        keyboard.write(&self.above)?;
        let ended = loop {
            keyboard.write(&self.line(width()))?;
            match keyboard.key()? {
                Key::Enter => break true,
                Key::Escape => break false,
                key => self.edit(&key),
            }
        };
        keyboard.write("\n")?;
        Ok(ended)
    }

    fn edit(&mut self, key: &Key) {
        match key {
            Key::ArrowLeft => self.cursor = self.cursor.saturating_sub(1),
            Key::ArrowRight => self.cursor = (self.cursor + 1).min(self.typed.len()),
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = self.typed.len(),
            Key::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.typed.remove(self.cursor);
            }
            Key::Del if self.cursor < self.typed.len() => {
                self.typed.remove(self.cursor);
            }
            // Ctrl-U, Ctrl-K, Ctrl-W.
            Key::Char('\u{15}') => {
                self.typed.drain(..self.cursor);
                self.cursor = 0;
            }
            Key::Char('\u{b}') => self.typed.truncate(self.cursor),
            Key::Char('\u{17}') => {
                let before = &self.typed[..self.cursor];
                let word = before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |end| end + 1);
                let start = before[..word].iter().rposition(|c| c.is_whitespace()).map_or(0, |space| space + 1);
                self.typed.drain(start..self.cursor);
                self.cursor = start;
            }
            Key::Tab => self.insert('\t'),
            Key::Char(typed) if !typed.is_control() => self.insert(*typed),
            _ => {}
        }
    }

    fn insert(&mut self, typed: char) {
        self.typed.insert(self.cursor, typed);
        self.cursor += 1;
    }

    /// Returns the line as it is displayed, with the commands that move the cursor.
    fn line(&self, width: usize) -> String {
        let mut line = format!("\r\x1b[2K{}", self.prompt);
        if self.hidden {
            return line;
        }
        let columns = width.saturating_sub(measure_text_width(&self.prompt) + 1);
        let shown: Vec<String> = self.typed.iter().map(|c| visible::line(&c.to_string())).collect();
        let size = |range: &[String]| range.iter().map(|text| measure_text_width(text)).sum::<usize>();
        let first = (0..=self.cursor).find(|first| size(&shown[*first..self.cursor]) <= columns).unwrap_or(self.cursor);
        let last = (first..=shown.len()).rev().find(|last| size(&shown[first..*last]) <= columns).unwrap_or(first);
        line.extend(shown[first..last].iter().map(String::as_str));
        let after = size(&shown[self.cursor.min(last)..last]);
        if after > 0 {
            line.push_str(&format!("\x1b[{after}D"));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[Key]) -> Editor {
        let mut editor = Editor::new("name: ", "ab cd", false);
        keys.iter().for_each(|key| editor.edit(key));
        editor
    }

    #[test]
    fn keys_edit_the_line() {
        let text = |keys: &[Key]| typed(keys).text().to_string();
        assert_eq!(text(&[Key::Char('é')]), "ab cdé");
        assert_eq!(text(&[Key::ArrowLeft, Key::Backspace, Key::Char('x')]), "ab xd");
        assert_eq!(text(&[Key::Home, Key::Del, Key::ArrowRight, Key::Char('\u{b}')]), "b");
        assert_eq!(text(&[Key::Char('\u{17}'), Key::Char('\u{1b}')]), "ab ");
        assert_eq!(text(&[Key::Char('\u{15}'), Key::Backspace, Key::ArrowLeft]), "");
    }

    #[test]
    fn long_lines_scroll() {
        let line = |keys: &[Key], width| typed(keys).line(width).replace('\u{1b}', "^");
        assert_eq!(line(&[], 20), "\r^[2Kname: ab cd");
        assert_eq!(line(&[], 10), "\r^[2Kname:  cd");
        assert_eq!(line(&[Key::Home], 10), "\r^[2Kname: ab ^[3D");
        assert_eq!(line(&[Key::Char('\u{202e}')], 20), "\r^[2Kname: ab cd\\u{202e}");
    }
}
