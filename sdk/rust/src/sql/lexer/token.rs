//! Tokens of SQL text, and the dialects that determine them.

/// SQL dialect, which determines the lexical rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// SQLite (<https://www.sqlite.org/draft/tokenreq.html>).
    Sqlite,
    /// PostgreSQL ("Lexical Structure").
    Postgres,
    /// MySQL and MariaDB ("Language Structure").
    Mysql,
    /// GoogleSQL of BigQuery ("Lexical structure and syntax").
    BigQuery,
}

/// A token of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'text> {
    /// Kind of the token.
    pub kind: Kind,
    /// Text of the token, including quotes and signs.
    pub text: &'text str,
    /// Offset in the statement, in bytes.
    pub at: usize,
    /// `false` for a string, quoted identifier or block comment without an end. It extends to the
    /// end of the statement.
    pub is_closed: bool,
}

/// Kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// White space.
    Space,
    /// Comment, without the line break that ends it.
    Comment,
    /// String literal in quotes, including a prefix such as the `E` of PostgreSQL.
    String,
    /// Dollar-quoted string of PostgreSQL: `$tag$ … $tag$`.
    DollarString,
    /// Quoted identifier.
    QuotedIdentifier,
    /// Keyword or unquoted identifier.
    Word,
    /// Numeric literal.
    Number,
    /// Named parameter: `:name`, and `@name` in BigQuery. Never directly follows a word or a
    /// number, so that `a[1:n]` and `label:loop` contain none.
    Parameter,
    /// Positional parameter `?`.
    Placeholder,
    /// Variable or placeholder in the database's own syntax, such as `$1`, `?1`, `@name` or
    /// `@@name`.
    Variable,
    /// `\:` or `\?`, which stand for a literal `:` and `?`. Not in BigQuery.
    Escape,
    /// `::`, `:=`, or any other single character.
    Operator,
}

impl<'text> Token<'text> {
    /// Returns the name of a parameter, without its sign.
    #[must_use]
    pub fn name(&self) -> &'text str {
        self.text.strip_prefix([':', '@']).unwrap_or(self.text)
    }

    /// Checks whether the token is this keyword, in any case.
    #[must_use]
    pub fn is_word(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Checks whether the token is this operator or punctuation mark.
    #[must_use]
    pub fn is_operator(&self, operator: &str) -> bool {
        self.kind == Kind::Operator && self.text == operator
    }

    /// Checks whether the token is white space or a comment.
    #[must_use]
    pub fn is_trivia(&self) -> bool {
        matches!(self.kind, Kind::Space | Kind::Comment)
    }
}
