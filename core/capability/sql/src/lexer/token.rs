//! Tokens of SQL text.

/// A token of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'text> {
    /// Kind of the token.
    pub kind: Kind,
    /// Text of the token, including quotes and signs.
    pub text: &'text str,
}

/// Kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// White space.
    Space,
    /// Comment, without the line break that ends it.
    Comment,
    /// Beginning of a comment whose contents MySQL executes: `/*!` or `/*M!`. The contents and the
    /// end of the comment are separate tokens.
    ConditionalComment,
    /// String literal, including its quotes and a prefix such as the `E` of PostgreSQL.
    String,
    /// Quoted identifier.
    QuotedIdentifier,
    /// Keyword or unquoted identifier.
    Word,
    /// Numeric literal. Characters of a word that follow it are a separate token.
    Number,
    /// Placeholder of a parameter: `$1` in PostgreSQL, `?` in SQLite and MySQL.
    Parameter,
    /// `\N`, which is null in MariaDB. Characters of a word that follow it are a separate token.
    Null,
    /// Any other single character.
    Operator,
}

impl Token<'_> {
    /// Checks whether the token is white space or a comment.
    #[must_use]
    pub fn is_trivia(&self) -> bool {
        matches!(self.kind, Kind::Space | Kind::Comment)
    }

    /// Checks whether the token is this keyword, in any case.
    #[must_use]
    pub fn is_word(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Checks whether the token is this punctuation mark.
    #[must_use]
    pub fn is_operator(&self, operator: &str) -> bool {
        self.kind == Kind::Operator && self.text == operator
    }
}
