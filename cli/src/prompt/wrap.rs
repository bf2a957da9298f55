//! Breaks text between words.

use console::measure_text_width;

/// Breaks a text into lines of at most `width` columns, each of which begins with `indent`. A word
/// that is longer than a line has a separate line. Text in backquotes, such as a command, is one word
/// if it fits into a line.
pub(crate) fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in words(text, width.saturating_sub(measure_text_width(indent))) {
        let fits = measure_text_width(&line) + 1 + measure_text_width(&word) <= width;
        if line.is_empty() {
            line = format!("{indent}{word}");
        } else if fits {
            line.push(' ');
            line.push_str(&word);
        } else {
            lines.push(std::mem::replace(&mut line, format!("{indent}{word}")));
        }
    }
    lines.push(line);
    lines.join("\n")
}

fn words(text: &str, width: usize) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_quoted = false;
    for word in text.split_whitespace() {
        match words.last_mut() {
            Some(quoted) if is_quoted && measure_text_width(quoted) + 1 + measure_text_width(word) <= width => {
                quoted.push(' ');
                quoted.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
        is_quoted ^= word.matches('`').count() % 2 == 1;
    }
    words
}

/// Shortens a text to one line of at most `width` columns, at the end of a word if possible.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let cut = console::truncate_str(text, width.saturating_sub(1), "");
    let at_word = cut.rfind(' ').filter(|end| *end > cut.len() / 2).unwrap_or(cut.len());
    format!("{}…", cut[..at_word].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_are_not_broken() {
        let text = "There is none; create one with `blockyard create zoo-keeper/NAME`.";
        assert_eq!(wrapped(text, "", 40), "There is none; create one with\n`blockyard create zoo-keeper/NAME`.");
        assert_eq!(wrapped("`a bb", "  ", 5), "  `a\n  bb");
    }

    proptest! {
        #[test]
        fn words_are_not_broken(text in "([a-zé日]{1,9} ){0,20}", width in 12_usize..40) {
            let lines = wrapped(&text, "  ", width);
            prop_assert_eq!(lines.split_whitespace().collect::<Vec<_>>(), text.split_whitespace().collect::<Vec<_>>());
            prop_assert!(lines.lines().all(|line| measure_text_width(line) <= width.max(20)), "{}", lines);
            prop_assert!(measure_text_width(&shortened(&text, width)) <= width);
        }
    }
}
