//! Lexical rules of each dialect.

use super::text::{length_while, name};
use super::token::{Kind, Syntax};

/// Lexical rules of a dialect.
#[derive(Debug)]
pub(super) struct Rules {
    /// Quotes, longer ones first.
    quotes: &'static [Quote],
    line_comments: &'static [LineComment],
    /// Characters that end a line comment.
    line_ends: &'static [char],
    /// Block comments can be nested.
    pub(super) nested_comments: bool,
    pub(super) dollar_strings: bool,
    /// `$` can follow the first character of a word.
    pub(super) dollar_in_words: bool,
    /// Signs of named parameters.
    pub(super) parameters: &'static [char],
    /// Signs of variables with the characters that follow them, longer ones first.
    variables: &'static [(&'static str, Follower)],
    /// `\:` and `\?` are escapes.
    pub(super) escapes: bool,
}

/// Quotes of a string or an identifier.
#[derive(Debug)]
struct Quote {
    kind: Kind,
    open: &'static str,
    close: &'static str,
    /// Prefixes in lower case; `""` if the quotes can be used without one.
    prefixes: &'static [&'static str],
    escapes: Escapes,
    /// The literal continues in another pair of quotes after white space with a line break.
    continued: bool,
}

/// Escapes of the closing quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    None,
    /// A doubled closing quote is a literal one.
    Doubled,
    /// A backslash escapes the next character.
    Backslash,
    Both,
}

#[derive(Debug)]
struct LineComment {
    begin: &'static str,
    /// Begins a comment only before white space, a control character or the end of the statement.
    needs_space: bool,
}

/// Characters that follow the sign of a variable.
#[derive(Debug, Clone, Copy)]
enum Follower {
    Name,
    Digits,
}

const fn quote(kind: Kind, open: &'static str, prefixes: &'static [&'static str], escapes: Escapes) -> Quote {
    Quote { kind, open, close: open, prefixes, escapes, continued: false }
}

const DASHES: LineComment = LineComment { begin: "--", needs_space: false };
const HASH: LineComment = LineComment { begin: "#", needs_space: false };

const SQLITE: Rules = Rules {
    quotes: &[
        quote(Kind::String, "'", &["", "x"], Escapes::Doubled),
        quote(Kind::QuotedIdentifier, "\"", &[""], Escapes::Doubled),
        quote(Kind::QuotedIdentifier, "`", &[""], Escapes::Doubled),
        Quote { close: "]", ..quote(Kind::QuotedIdentifier, "[", &[""], Escapes::None) },
    ],
    line_comments: &[DASHES],
    line_ends: &['\n'],
    nested_comments: false,
    dollar_strings: false,
    dollar_in_words: true,
    parameters: &[':'],
    variables: &[("?", Follower::Digits), ("@", Follower::Name), ("$", Follower::Name)],
    escapes: true,
};

const POSTGRES: Rules = Rules {
    quotes: &[
        // Other strings continue, too, but as separate tokens, because they have the same escapes.
        Quote { continued: true, ..quote(Kind::String, "'", &["e"], Escapes::Both) },
        quote(Kind::String, "'", &["", "b", "x", "n", "u&"], Escapes::Doubled),
        quote(Kind::QuotedIdentifier, "\"", &["", "u&"], Escapes::Doubled),
    ],
    line_comments: &[DASHES],
    line_ends: &['\n', '\r'],
    nested_comments: true,
    dollar_strings: true,
    dollar_in_words: true,
    parameters: &[':'],
    variables: &[("$", Follower::Digits)],
    escapes: true,
};

const MYSQL: Rules = Rules {
    quotes: &[
        quote(Kind::String, "'", &["", "b", "x", "n"], Escapes::Both),
        quote(Kind::String, "\"", &[""], Escapes::Both),
        quote(Kind::QuotedIdentifier, "`", &[""], Escapes::Doubled),
    ],
    // The space after the dashes is required, so that `5--2` is 7.
    line_comments: &[LineComment { begin: "--", needs_space: true }, HASH],
    line_ends: &['\n'],
    nested_comments: false,
    dollar_strings: false,
    dollar_in_words: true,
    parameters: &[':'],
    variables: &[("@@", Follower::Name), ("@", Follower::Name)],
    escapes: true,
};

const BIGQUERY_PREFIXES: &[&str] = &["", "r", "b", "rb", "br"];

/// In raw strings, too, a backslash keeps the quote after it from ending the string.
const BIGQUERY: Rules = Rules {
    quotes: &[
        quote(Kind::String, "'''", BIGQUERY_PREFIXES, Escapes::Backslash),
        quote(Kind::String, "\"\"\"", BIGQUERY_PREFIXES, Escapes::Backslash),
        quote(Kind::String, "'", BIGQUERY_PREFIXES, Escapes::Backslash),
        quote(Kind::String, "\"", BIGQUERY_PREFIXES, Escapes::Backslash),
        quote(Kind::QuotedIdentifier, "`", &[""], Escapes::Backslash),
    ],
    line_comments: &[DASHES, HASH],
    line_ends: &['\n', '\r'],
    nested_comments: false,
    dollar_strings: false,
    dollar_in_words: false,
    parameters: &[':', '@'],
    variables: &[("@@", Follower::Name)],
    escapes: false,
};

impl Syntax {
    pub(super) fn rules(self) -> &'static Rules {
        match self {
            Self::Sqlite => &SQLITE,
            Self::Postgres => &POSTGRES,
            Self::Mysql => &MYSQL,
            Self::BigQuery => &BIGQUERY,
        }
    }
}

impl Rules {
    /// Returns the kind and the length of the quoted text that `rest` starts with.
    pub(super) fn quoted(&self, rest: &str) -> Option<(Kind, Option<usize>)> {
        self.quotes.iter().find_map(|quote| {
            let prefix = quote.prefixes.iter().find(|prefix| {
                let begins = rest.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
                begins && rest[prefix.len()..].starts_with(quote.open)
            })?;
            let length = quote.length(&rest[prefix.len()..], self);
            Some((quote.kind, length.map(|length| prefix.len() + length)))
        })
    }

    pub(super) fn line_comment(&self, rest: &str) -> Option<usize> {
        self.line_comments.iter().find_map(|comment| {
            let after = rest.strip_prefix(comment.begin)?.bytes().next();
            let begins = !comment.needs_space || after.is_none_or(|after| after <= b' ');
            begins.then(|| rest.find(self.line_ends).unwrap_or(rest.len()))
        })
    }

    pub(super) fn variable(&self, rest: &str) -> Option<usize> {
        self.variables.iter().find_map(|(sign, follower)| {
            let after = rest.strip_prefix(sign)?;
            let length = match follower {
                Follower::Name => name(after).len(),
                Follower::Digits => length_while(after, |c| c.is_ascii_digit()),
            };
            (length > 0).then_some(sign.len() + length)
        })
    }
}

impl Quote {
    /// Returns the length of a text in these quotes, or `None` if it is never closed.
    fn length(&self, text: &str, rules: &Rules) -> Option<usize> {
        let doubled = matches!(self.escapes, Escapes::Doubled | Escapes::Both);
        let backslash = matches!(self.escapes, Escapes::Backslash | Escapes::Both);
        let mut at = self.open.len();
        while let Some(next) = text[at..].chars().next() {
            if text[at..].starts_with(self.close) {
                at += self.close.len();
                if doubled && text[at..].starts_with(self.close) {
                    at += self.close.len();
                } else {
                    match self.continuation(&text[at..], rules) {
                        Some(length) => at += length,
                        None => return Some(at),
                    }
                }
                continue;
            }
            at += next.len_utf8();
            if next == '\\' && backslash {
                at += text[at..].chars().next().map_or(0, char::len_utf8);
            }
        }
        None
    }

    /// Returns the length of the white space and line comments up to the quote in which the literal
    /// continues, including that quote. Without a line break, the next quote begins another literal.
    fn continuation(&self, text: &str, rules: &Rules) -> Option<usize> {
        if !self.continued {
            return None;
        }
        let mut at = 0;
        loop {
            let spaces = length_while(&text[at..], char::is_whitespace);
            match rules.line_comment(&text[at + spaces..]) {
                Some(comment) => at += spaces + comment,
                None => {
                    at += spaces;
                    break;
                }
            }
        }
        let is_continued = text[at..].starts_with(self.open) && text[..at].contains(rules.line_ends);
        is_continued.then(|| at + self.open.len())
    }
}
