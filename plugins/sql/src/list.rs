//! Tracking of the parentheses of a statement, token by token. A parameter inside `in (…)` is
//! compared as one value, so a list there would match no row.

/// The open parentheses.
#[derive(Debug, Default)]
pub(crate) struct Parentheses {
    /// For each open parenthesis, `true` if it follows `in`.
    open: Vec<bool>,
    /// `true` if the last word is `in`.
    after_in: bool,
}

impl Parentheses {
    /// Checks whether the innermost open parenthesis belongs to `in (…)`.
    pub(crate) fn is_list(&self) -> bool {
        self.open.last().copied().unwrap_or_default()
    }

    /// Processes the next token: a word, a string, a comment or a character.
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
        // The parentheses contain a subquery instead of a list of values.
        if token.eq_ignore_ascii_case("select")
            && let Some(innermost) = self.open.last_mut()
        {
            *innermost = false;
        }
        self.after_in = token.eq_ignore_ascii_case("in");
    }
}
