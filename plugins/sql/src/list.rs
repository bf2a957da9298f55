//! Tracking of the parentheses of a statement, token by token. A parameter inside `in (…)` is
//! compared as one value, so a list there would match no row.

use crate::parameters::Syntax;

/// The open parentheses.
#[derive(Debug)]
pub(crate) struct Parentheses {
    syntax: Syntax,
    /// For each open parenthesis, `true` if its values are compared by `in`.
    open: Vec<bool>,
    last: Last,
}

/// Kind of the last token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    In,
    /// Name of a function that accepts a list, or of any function in PostgreSQL, which has arrays.
    Function,
    Other,
}

impl Parentheses {
    pub(crate) fn new(syntax: Syntax) -> Self {
        Self { syntax, open: Vec::new(), last: Last::Other }
    }

    /// Checks whether values inside the innermost open parenthesis are compared by `in (…)`.
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
            // `in ((:a, :b), …)` and `in (coalesce(:a, 0))` compare single values, too.
            "(" => self.open.push(match self.last {
                Last::In => true,
                Last::Function => false,
                Last::Other => self.is_list(),
            }),
            ")" => {
                self.open.pop();
            }
            _ => {}
        }
        // The parentheses contain a subquery instead of a list of values.
        if ["select", "with"].iter().any(|word| token.eq_ignore_ascii_case(word))
            && let Some(innermost) = self.open.last_mut()
        {
            *innermost = false;
        }
        self.last = self.kind(token);
    }

    fn kind(&self, token: &str) -> Last {
        /// Words that a parenthesis may follow without calling a function.
        const WORDS: [&str; 12] =
            ["values", "row", "and", "or", "not", "between", "like", "is", "case", "when", "then", "else"];
        let is = |word: &str| token.eq_ignore_ascii_case(word);
        let is_word = token.starts_with(|first: char| first.is_alphabetic() || first == '_');
        if is("in") {
            return Last::In;
        }
        let takes_lists = match self.syntax {
            Syntax::Postgres => is_word && !WORDS.iter().any(|word| is(word)),
            Syntax::Sqlite | Syntax::Mysql => token.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("json")),
        };
        if takes_lists { Last::Function } else { Last::Other }
    }
}
