//! The picture of a terminal: interprets the commands that prompts use.

/// A terminal of a given width, without a limit of lines.
#[derive(Debug)]
pub(crate) struct Screen {
    columns: usize,
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Words that the terminal broke because they crossed its edge, each with its line.
    pub(crate) broken: Vec<String>,
}

impl Screen {
    /// Interprets the output of a program.
    pub(crate) fn of(output: &str, columns: usize) -> Self {
        let mut screen = Self { columns, lines: vec![Vec::new()], row: 0, column: 0, broken: Vec::new() };
        let mut characters = output.chars().peekable();
        while let Some(c) = characters.next() {
            match c {
                '\r' => screen.column = 0,
                '\n' => screen.line_feed(),
                '\u{1b}' => {
                    if characters.next_if_eq(&'[').is_some() {
                        let mut parameter = String::new();
                        while let Some(digit) = characters.next_if(|c| c.is_ascii_digit() || matches!(c, ';' | '?')) {
                            parameter.push(digit);
                        }
                        let command = characters.next().expect("a command");
                        screen.command(command, &parameter);
                    }
                }
                c => screen.put(c),
            }
        }
        screen
    }

    /// Returns the lines, without spaces at their ends.
    pub(crate) fn text(&self) -> String {
        let line = |line: &Vec<char>| line.iter().collect::<String>().trim_end().to_owned();
        self.lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn command(&mut self, command: char, parameter: &str) {
        let count = parameter.parse().unwrap_or(1);
        match command {
            'A' => self.row -= count,
            'D' => self.column = self.column.saturating_sub(count),
            'J' => {
                self.lines.truncate(self.row + 1);
                self.lines[self.row].truncate(self.column);
            }
            'K' => self.lines[self.row].clear(),
            // Colors, and whether the cursor is visible.
            'm' | 'h' | 'l' => {}
            other => panic!("command {other:?} of the terminal is not known"),
        }
    }

    fn line_feed(&mut self) {
        self.row += 1;
        if self.row == self.lines.len() {
            self.lines.push(Vec::new());
        }
    }

    fn put(&mut self, c: char) {
        if self.column == self.columns {
            let before = &self.lines[self.row];
            if before.last().is_some_and(|last| !last.is_whitespace()) && !c.is_whitespace() {
                self.broken.push(before.iter().collect());
            }
            self.column = 0;
            self.line_feed();
        }
        let line = &mut self.lines[self.row];
        if line.len() <= self.column {
            line.resize(self.column + 1, ' ');
        }
        line[self.column] = c;
        self.column += 1;
    }
}

#[test]
fn screens_show_what_a_terminal_shows() {
    let screen =
        Screen::of("ab\r\n> x\r\u{1b}[2K> yz\u{1b}[1D_\n\rone two three\r\n1\r\n2\r\n\u{1b}[1A\u{1b}[Jend", 10);
    assert_eq!(screen.text(), "ab\n> y_\none two th\nree\n1\nend");
    assert_eq!(screen.broken, ["one two th"]);
}
