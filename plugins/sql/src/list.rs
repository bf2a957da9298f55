//! Parentheses of a statement, token by token: a parameter between those of `in (…)` takes one value, so a
//! list there matches no row.

/// The parentheses that are open.
#[derive(Debug, Default)]
pub(crate) struct Parentheses {
    /// For each whether `in` precedes it.
    open: Vec<bool>,
    /// Whether the last word is `in`.
    after_in: bool,
}

impl Parentheses {
    /// Whether the innermost open parenthesis belongs to `in (…)`.
    pub(crate) fn is_list(&self) -> bool {
        self.open.last().copied().unwrap_or_default()
    }

    /// The next token: a word, a string, a comment or a character.
    pub(crate) fn token(&mut self, token: &str) {
        let is_space = token.starts_with(char::is_whitespace);
        if is_space || token.starts_with("--") || token.starts_with("/*") || token.starts_with('#') {
            return;
        }
        match token {
            "(" => self.open.push(self.after_in),
            ")" => {
                self.open.pop();
            }
            _ => {}
        }
        // A subquery is a list of its own.
        if token.eq_ignore_ascii_case("select")
            && let Some(innermost) = self.open.last_mut()
        {
            *innermost = false;
        }
        self.after_in = token.eq_ignore_ascii_case("in");
    }
}
