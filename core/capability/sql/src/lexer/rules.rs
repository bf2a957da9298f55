//! Lexical rules of each dialect. MySQL has one set of rules for each SQL mode that changes the
//! tokens of a statement.

use super::token::Kind;

/// Lexical rules of a dialect. Words consist of letters, digits, `_`, `$` and all characters outside
/// of ASCII, as each server reads them.
#[derive(Debug)]
pub struct Rules {
    pub(super) space: &'static [char],
    /// Quotes, those with a prefix first.
    pub(super) quotes: &'static [Quote],
    pub(super) line_comments: &'static [LineComment],
    /// Characters that end a line comment.
    pub(super) line_ends: &'static [char],
    /// Block comments can be nested.
    pub(super) nested_comments: bool,
    /// Beginnings of comments whose contents the server executes.
    pub(super) conditional_comments: &'static [&'static str],
    pub(super) parameters: Parameters,
    /// Text of the token [`Kind::Null`], in upper case only.
    pub(super) null: Option<&'static str>,
    pub(super) words: Words,
}

/// Quotes of a string or an identifier.
#[derive(Debug)]
pub(super) struct Quote {
    pub(super) kind: Kind,
    /// Prefix in lower case, or `""`.
    pub(super) prefix: &'static str,
    pub(super) open: u8,
    pub(super) close: u8,
    /// A doubled closing quote is a literal one.
    pub(super) doubled: bool,
    /// A backslash escapes the next character.
    pub(super) backslash: bool,
    /// The literal continues in another pair of quotes after white space with a line break.
    pub(super) continued: bool,
}

/// Beginning of a comment that extends to the end of the line.
#[derive(Debug)]
pub(super) struct LineComment {
    pub(super) begin: &'static str,
    /// Begins a comment only before white space, a control character or the end of the statement.
    pub(super) needs_space: bool,
}

/// Placeholders of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameters {
    /// `$1`. A dollar sign also begins a dollar-quoted string.
    Dollar,
    /// `?`
    QuestionMark,
}

/// First characters of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// A letter.
    BeginWithLetter,
    /// Any character of a word: `2x` and `$x` are words of MySQL.
    BeginWithAny,
}

const STRING: Quote = Quote {
    kind: Kind::String,
    prefix: "",
    open: b'\'',
    close: b'\'',
    doubled: true,
    backslash: false,
    continued: false,
};
const DOUBLE_QUOTED: Quote = Quote { kind: Kind::QuotedIdentifier, open: b'"', close: b'"', ..STRING };
const BACKTICKED: Quote = Quote { kind: Kind::QuotedIdentifier, open: b'`', close: b'`', ..STRING };
const BRACKETED: Quote = Quote { kind: Kind::QuotedIdentifier, open: b'[', close: b']', doubled: false, ..STRING };

const DASHES: LineComment = LineComment { begin: "--", needs_space: false };
const DASHES_AND_SPACE: LineComment = LineComment { begin: "--", needs_space: true };
const HASH: LineComment = LineComment { begin: "#", needs_space: false };

/// Rules of PostgreSQL with `standard_conforming_strings`, which the host sets for each session
/// (<https://www.postgresql.org/docs/current/sql-syntax-lexical.html>).
pub static POSTGRES: Rules = Rules {
    space: &[' ', '\t', '\n', '\x0b', '\x0c', '\r'],
    quotes: &[
        Quote { prefix: "e", backslash: true, continued: true, ..STRING },
        Quote { prefix: "u&", ..STRING },
        Quote { prefix: "b", ..STRING },
        Quote { prefix: "x", ..STRING },
        Quote { prefix: "n", ..STRING },
        Quote { prefix: "u&", ..DOUBLE_QUOTED },
        STRING,
        DOUBLE_QUOTED,
    ],
    line_comments: &[DASHES],
    line_ends: &['\n', '\r'],
    nested_comments: true,
    conditional_comments: &[],
    parameters: Parameters::Dollar,
    null: None,
    words: Words::BeginWithLetter,
};

/// Rules of SQLite (<https://www.sqlite.org/draft/tokenreq.html>), which skips a byte order mark.
pub static SQLITE: Rules = Rules {
    space: &[' ', '\t', '\n', '\x0b', '\x0c', '\r', '\u{feff}'],
    quotes: &[STRING, DOUBLE_QUOTED, BACKTICKED, BRACKETED],
    line_comments: &[DASHES],
    line_ends: &['\n'],
    nested_comments: false,
    conditional_comments: &[],
    parameters: Parameters::QuestionMark,
    null: None,
    words: Words::BeginWithLetter,
};

/// Rules of MySQL and MariaDB (<https://mariadb.com/kb/en/sql-mode/>), for each combination of SQL
/// modes that changes the tokens of a statement. The host does not know the mode of a session, so a
/// check must hold with all of them.
///
/// With the first three rules, `--` begins a comment before white space only; with the others it
/// always does. MariaDB 10.11 has the former in all modes, also in `ORACLE`. The others keep a check
/// from relying on that.
pub static MYSQL: [Rules; 6] = [
    mysql(BACKSLASHES, DASHES_ONLY_BEFORE_SPACE),
    mysql(ANSI_QUOTES, DASHES_ONLY_BEFORE_SPACE),
    mysql(NO_BACKSLASH_ESCAPES, DASHES_ONLY_BEFORE_SPACE),
    mysql(BACKSLASHES, ANY_DASHES),
    mysql(ANSI_QUOTES, ANY_DASHES),
    mysql(NO_BACKSLASH_ESCAPES, ANY_DASHES),
];

const BACKSLASH_STRING: Quote = Quote { backslash: true, ..STRING };
/// Quotes without a mode: a backslash escapes the next character in all strings.
const BACKSLASHES: &[Quote] = &[BACKSLASH_STRING, Quote { open: b'"', close: b'"', ..BACKSLASH_STRING }, BACKTICKED];
/// Quotes with `ANSI_QUOTES`: double quotes delimit identifiers, in which a backslash is literal.
const ANSI_QUOTES: &[Quote] = &[BACKSLASH_STRING, DOUBLE_QUOTED, BACKTICKED];
/// Quotes with `NO_BACKSLASH_ESCAPES`.
const NO_BACKSLASH_ESCAPES: &[Quote] = &[STRING, Quote { open: b'"', close: b'"', ..STRING }, BACKTICKED];

const DASHES_ONLY_BEFORE_SPACE: &[LineComment] = &[DASHES_AND_SPACE, HASH];
const ANY_DASHES: &[LineComment] = &[DASHES, HASH];

const fn mysql(quotes: &'static [Quote], line_comments: &'static [LineComment]) -> Rules {
    Rules {
        // Servers differ in whether other control characters are white space. They are operators
        // here, so that a check can refuse them.
        space: &[' ', '\t', '\n', '\r'],
        quotes,
        line_comments,
        line_ends: &['\n'],
        nested_comments: false,
        conditional_comments: &["/*!", "/*M!"],
        parameters: Parameters::QuestionMark,
        null: Some("\\N"),
        words: Words::BeginWithAny,
    }
}
