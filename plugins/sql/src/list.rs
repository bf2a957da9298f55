//! Tracking of the parentheses of a statement, token by token. A parameter inside `in (…)` is
//! compared as one value, so a list there would match no row.

use blockyard_sdk::sql::lexer::{Kind, Token};

use crate::Dialect;

/// The open parentheses.
#[derive(Debug)]
pub(crate) struct Parentheses {
    dialect: Dialect,
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
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self { dialect, open: Vec::new(), last: Last::Other }
    }

    /// Checks whether values inside the innermost open parenthesis are compared by `in (…)`.
    pub(crate) fn is_list(&self) -> bool {
        self.open.last().copied().unwrap_or_default()
    }

    /// Processes the next token.
    pub(crate) fn token(&mut self, token: &Token<'_>) {
        if token.is_trivia() {
            return;
        }
        if token.is_operator("(") {
            // `in ((:a, :b), …)` and `in (coalesce(:a, 0))` compare single values, too.
            self.open.push(match self.last {
                Last::In => true,
                Last::Function => false,
                Last::Other => self.is_list(),
            });
        } else if token.is_operator(")") {
            self.open.pop();
        } else if (token.is_word("select") || token.is_word("with"))
            // The parentheses contain a subquery instead of a list of values.
            && let Some(innermost) = self.open.last_mut()
        {
            *innermost = false;
        }
        self.last = self.kind(token);
    }

    fn kind(&self, token: &Token<'_>) -> Last {
        /// Words that a parenthesis may follow without calling a function.
        const WORDS: [&str; 12] =
            ["values", "row", "and", "or", "not", "between", "like", "is", "case", "when", "then", "else"];
        if token.is_word("in") {
            return Last::In;
        }
        let takes_lists = match self.dialect {
            Dialect::Postgres => !WORDS.iter().any(|word| token.is_word(word)),
            Dialect::Sqlite | Dialect::Mysql => {
                token.text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("json"))
            }
        };
        if token.kind == Kind::Word && takes_lists { Last::Function } else { Last::Other }
    }
}
