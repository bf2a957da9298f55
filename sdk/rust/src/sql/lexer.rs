//! Lexer of SQL text: splits a statement into comments, strings, quoted identifiers, words, numbers
//! and parameters, with the default settings of each database. It accepts any text; the texts of
//! the tokens, concatenated, are the input.
//!
//! ```
//! use blockyard_sdk::sql::lexer::{Kind, Syntax, tokens};
//!
//! let statement = "select ':a' from t where id = :id -- :b";
//! let parameters = tokens(statement, Syntax::Sqlite).filter(|token| token.kind == Kind::Parameter);
//! assert_eq!(parameters.map(|token| token.name()).collect::<Vec<_>>(), ["id"]);
//! ```

mod rules;
mod text;
mod token;

use rules::Rules;
use text::{begins_word, is_of_word, length_while, name};

pub use token::{Kind, Syntax, Token};

/// Splits a statement into tokens.
#[must_use]
pub fn tokens(statement: &str, syntax: Syntax) -> Tokens<'_> {
    Tokens { statement, at: 0, rules: syntax.rules(), previous: None }
}

/// Iterator over the tokens of a statement.
#[derive(Debug, Clone)]
pub struct Tokens<'text> {
    statement: &'text str,
    at: usize,
    rules: &'static Rules,
    previous: Option<Token<'text>>,
}

impl<'text> Iterator for Tokens<'text> {
    type Item = Token<'text>;

    fn next(&mut self) -> Option<Token<'text>> {
        let rest = &self.statement[self.at..];
        if rest.is_empty() {
            return None;
        }
        let (kind, length) = self.measure(rest);
        let token =
            Token { kind, text: &rest[..length.unwrap_or(rest.len())], at: self.at, is_closed: length.is_some() };
        self.at += token.text.len();
        self.previous = Some(token);
        Some(token)
    }
}

impl Tokens<'_> {
    /// Returns the kind and the length in bytes of the token that `rest` starts with; `None` if the
    /// token is never closed.
    fn measure(&self, rest: &str) -> (Kind, Option<usize>) {
        let rules = self.rules;
        let closed = |kind, length| (kind, Some(length));
        let spaces = length_while(rest, char::is_whitespace);
        if spaces > 0 {
            return closed(Kind::Space, spaces);
        }
        if let Some((kind, length)) = rules.quoted(rest) {
            return (kind, length);
        }
        if let Some(length) = rules.line_comment(rest) {
            return closed(Kind::Comment, length);
        }
        if rest.starts_with("/*") {
            return (Kind::Comment, block_comment(rest, rules.nested_comments));
        }
        if rules.dollar_strings
            && let Some(delimiter) = dollar_delimiter(rest)
        {
            let end = rest[delimiter.len()..].find(delimiter);
            return (Kind::DollarString, end.map(|end| end + 2 * delimiter.len()));
        }
        if rules.escapes && (rest.starts_with("\\:") || rest.starts_with("\\?")) {
            return closed(Kind::Escape, 2);
        }
        if rest.starts_with("::") || rest.starts_with(":=") {
            return closed(Kind::Operator, 2);
        }
        if let Some(length) = rules.variable(rest) {
            return closed(Kind::Variable, length);
        }
        if let Some(name) = rest.strip_prefix(rules.parameters).map(name).filter(|name| !name.is_empty())
            && !self.follows_name()
        {
            return closed(Kind::Parameter, 1 + name.len());
        }
        if rest.starts_with('?') {
            return closed(Kind::Placeholder, 1);
        }
        if rest.starts_with(begins_word) {
            let continues = |c: char| is_of_word(c) || c == '$' && rules.dollar_in_words;
            return closed(Kind::Word, length_while(rest, continues));
        }
        if rest.starts_with(|c: char| c.is_ascii_digit()) || self.begins_fraction(rest) {
            return closed(Kind::Number, number(rest));
        }
        closed(Kind::Operator, rest.chars().next().map_or(0, char::len_utf8))
    }

    /// Checks whether the previous token, without white space after it, rules out a parameter.
    fn follows_name(&self) -> bool {
        self.previous.is_some_and(|previous| {
            matches!(previous.kind, Kind::Word | Kind::Number | Kind::Variable | Kind::Parameter)
                || previous.text.ends_with(':')
        })
    }

    /// Checks for a number such as `.5`. In `t.5`, the point separates identifiers.
    fn begins_fraction(&self, rest: &str) -> bool {
        let is_fraction = matches!(rest.as_bytes(), [b'.', digit, ..] if digit.is_ascii_digit());
        let follows_identifier = self.previous.is_some_and(|previous| {
            matches!(previous.kind, Kind::Word | Kind::Number | Kind::Variable | Kind::QuotedIdentifier)
                || previous.is_operator(".")
        });
        is_fraction && !follows_identifier
    }
}

/// Returns the length of a block comment, or `None` if it is never closed.
fn block_comment(rest: &str, nested: bool) -> Option<usize> {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (1_usize, 2);
    while let Some(pair) = bytes.get(at..at + 2) {
        match pair {
            b"/*" if nested => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Returns the delimiter `$tag$` that `rest` starts with.
fn dollar_delimiter(rest: &str) -> Option<&str> {
    let tag = name(rest.strip_prefix('$')?);
    let after = 1 + tag.len();
    rest[after..].starts_with('$').then(|| &rest[..=after])
}

/// Returns the length of a number. Word characters after it, which are an error or an identifier,
/// belong to it.
fn number(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let after_digits = |at: usize| at + length_while(&rest[at..], |c| c.is_ascii_digit() || c == '_');
    let mut at = after_digits(0);
    // In `1..10`, the points are an operator.
    if bytes.get(at) == Some(&b'.') && bytes.get(at + 1) != Some(&b'.') {
        at = after_digits(at + 1);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let digits = at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        if is_digit(digits) {
            at = after_digits(digits);
        }
    }
    at + length_while(&rest[at..], is_of_word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const ALL: [Syntax; 4] = [Syntax::Sqlite, Syntax::Postgres, Syntax::Mysql, Syntax::BigQuery];

    /// Returns the tokens other than white space.
    fn split(statement: &str, syntax: Syntax) -> Vec<(Kind, &str)> {
        let all = tokens(statement, syntax).filter(|token| token.kind != Kind::Space);
        all.map(|token| (token.kind, token.text)).collect()
    }

    /// Checks that the statement is a single token in these dialects, and not in the others.
    fn check(text: &str, kind: Kind, syntaxes: &[Syntax]) {
        for syntax in ALL {
            let all: Vec<Token<'_>> = tokens(text, syntax).collect();
            let is_one = all == [Token { kind, text, at: 0, is_closed: true }];
            assert_eq!(is_one, syntaxes.contains(&syntax), "{text} {syntax:?}: {all:?}");
        }
    }

    #[test]
    fn dialects_differ() {
        use Syntax::{BigQuery, Mysql, Postgres, Sqlite};
        check("'it''s'", Kind::String, &[Sqlite, Postgres, Mysql]);
        check(r"'it\'s'", Kind::String, &[Mysql, BigQuery]);
        check(r"e'it\'s'", Kind::String, &[Postgres]);
        check("'''it's \"two\"\nlines'''", Kind::String, &[BigQuery]);
        check(r#"rb"\"""#, Kind::String, &[BigQuery]);
        check("x'00'", Kind::String, &[Sqlite, Postgres, Mysql]);
        check("\"a\"\"b\"", Kind::String, &[Mysql]);
        check("\"a\"\"b\"", Kind::QuotedIdentifier, &[Sqlite, Postgres]);
        check("U&\"a\"", Kind::QuotedIdentifier, &[Postgres]);
        check("`a``b`", Kind::QuotedIdentifier, &[Sqlite, Mysql]);
        check("[a b]", Kind::QuotedIdentifier, &[Sqlite]);
        check("$t$ $$ ' $t$", Kind::DollarString, &[Postgres]);
        check("-- '\t", Kind::Comment, &ALL);
        check("--'", Kind::Comment, &[Sqlite, Postgres, BigQuery]);
        check("# '", Kind::Comment, &[Mysql, BigQuery]);
        check("-- a\r'b'", Kind::Comment, &[Sqlite, Mysql]);
        check("/* ' \" */", Kind::Comment, &ALL);
        check("/* a /* b */", Kind::Comment, &[Sqlite, Mysql, BigQuery]);
        check("/* a /* b */ c */", Kind::Comment, &[Postgres]);
        check("a$b$c", Kind::Word, &[Sqlite, Postgres, Mysql]);
        check("größe_1", Kind::Word, &ALL);
        check(":größe", Kind::Parameter, &ALL);
        check("@a", Kind::Parameter, &[BigQuery]);
        check("@a", Kind::Variable, &[Sqlite, Mysql]);
        check("@@a", Kind::Variable, &[Mysql, BigQuery]);
        check("$1", Kind::Variable, &[Postgres]);
        check("$a", Kind::Variable, &[Sqlite]);
        check("?1", Kind::Variable, &[Sqlite]);
        check("?", Kind::Placeholder, &ALL);
        check("\\:", Kind::Escape, &[Sqlite, Postgres, Mysql]);
    }

    #[test]
    fn numbers_are_one_token() {
        for number in ["0", "12.50", "1e5", "1E+5", "1.5e-10", ".5", "0x1F", "1_000", "5."] {
            check(number, Kind::Number, &ALL);
        }
        let number = |text| (Kind::Number, text);
        let operator = |text| (Kind::Operator, text);
        assert_eq!(split("1..10", Syntax::Postgres), [number("1"), operator("."), operator("."), number("10")]);
        assert_eq!(split("1e-x", Syntax::Postgres), [number("1e"), operator("-"), (Kind::Word, "x")]);
        assert_eq!(split("0x1e--2", Syntax::Sqlite), [number("0x1e"), (Kind::Comment, "--2")]);
        assert_eq!(split("t.5", Syntax::Mysql), [(Kind::Word, "t"), operator("."), number("5")]);
    }

    #[test]
    fn colon_after_a_name_is_not_a_parameter() {
        for syntax in ALL {
            let names = |statement| {
                let all = tokens(statement, syntax).filter(|token| token.kind == Kind::Parameter);
                all.map(|token| token.name()).collect::<Vec<_>>()
            };
            assert_eq!(names("a[1:n], label:loop, x::text, y := :y, (:z)"), ["y", "z"], "{syntax:?}");
            assert_eq!(names(":a:b :::c : d :1"), ["a"], "{syntax:?}");
        }
        assert_eq!(split(":a::date", Syntax::Postgres)[1], (Kind::Operator, "::"));
        assert_eq!(split("data \\? 'a'", Syntax::Postgres)[1], (Kind::Escape, "\\?"));
    }

    #[test]
    fn escape_string_continues_on_the_next_line() {
        for continued in ["e'a'\n'\\''", "e'a' -- b\r\n -- c\n'\\''", "E'a'\n'b'\n'\\''"] {
            assert_eq!(split(continued, Syntax::Postgres), [(Kind::String, continued)], "{continued:?}");
        }
        let string = |text| (Kind::String, text);
        assert_eq!(split("e'a' '\\'", Syntax::Postgres), [string("e'a'"), string("'\\'")]);
        assert_eq!(split("'a'\n'\\'", Syntax::Postgres), [string("'a'"), string("'\\'")]);
        assert_eq!(split("e'a'\n- '\\'", Syntax::Postgres).len(), 3);
    }

    #[test]
    fn unclosed_tokens_extend_to_the_end() {
        for (text, kind, syntax) in [
            ("'a''", Kind::String, Syntax::Sqlite),
            (r"'a\'", Kind::String, Syntax::Mysql),
            (r"'a\", Kind::String, Syntax::BigQuery),
            ("'''a''", Kind::String, Syntax::BigQuery),
            ("[a", Kind::QuotedIdentifier, Syntax::Sqlite),
            ("/*/", Kind::Comment, Syntax::Mysql),
            ("/* /* */", Kind::Comment, Syntax::Postgres),
            ("$x$ $$", Kind::DollarString, Syntax::Postgres),
        ] {
            let all: Vec<Token<'_>> = tokens(text, syntax).collect();
            assert_eq!(all, [Token { kind, text, at: 0, is_closed: false }], "{text}");
        }
    }

    /// Returns tokens of a dialect that can be separated by spaces.
    fn token_of(syntax: Syntax) -> impl Strategy<Value = (Kind, String)> {
        let of_dialect: &[(Kind, &str)] = match syntax {
            Syntax::Sqlite => &[(Kind::QuotedIdentifier, "[a ' b]"), (Kind::Variable, "?7"), (Kind::Variable, "@v")],
            Syntax::Postgres => {
                &[(Kind::DollarString, "$t$ ' ; $t$"), (Kind::String, r"E'\''"), (Kind::Variable, "$7")]
            }
            Syntax::Mysql => &[(Kind::String, r#""\" ;""#), (Kind::Comment, "/*! ; */"), (Kind::Variable, "@@v")],
            Syntax::BigQuery => &[(Kind::String, "'''it's'''"), (Kind::Parameter, "@p"), (Kind::String, "rb'a'")],
        };
        let of_dialect: Vec<(Kind, String)> =
            of_dialect.iter().map(|(kind, text)| (*kind, (*text).to_owned())).collect();
        prop_oneof![
            "[a-zA-Z_][a-z0-9_]{0,8}".prop_map(|text| (Kind::Word, text)),
            "[0-9]{1,5}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?".prop_map(|text| (Kind::Number, text)),
            "'[a-z ;:?/*#-]{0,12}'".prop_map(|text| (Kind::String, text)),
            "/\\* [a-z ;:?'\"#-]{0,12} \\*/".prop_map(|text| (Kind::Comment, text)),
            ":[a-z_][a-z0-9_]{0,8}".prop_map(|text| (Kind::Parameter, text)),
            select(vec!["(", ")", ",", ";", "=", "<", "::", ":=", "+"])
                .prop_map(|text| (Kind::Operator, text.to_owned())),
            Just((Kind::Placeholder, "?".to_owned())),
            select(of_dialect),
        ]
    }

    proptest! {
        #[test]
        fn tokens_concatenate_to_the_statement(
            statement in "([a-eEx:@$?\\\\'\"`\\[\\]/*#.;0-9\\s-]|\\PC){0,80}",
            syntax in select(ALL.to_vec()),
        ) {
            let all: Vec<Token<'_>> = tokens(&statement, syntax).collect();
            prop_assert_eq!(all.iter().map(|token| token.text).collect::<String>(), statement.as_str());
            let mut at = 0;
            for token in &all {
                prop_assert!(!token.text.is_empty() && token.at == at);
                at += token.text.len();
                prop_assert!(token.is_closed || at == statement.len());
            }
        }

        #[test]
        fn joined_tokens_are_split_again(
            (syntax, all) in select(ALL.to_vec())
                .prop_flat_map(|syntax| (Just(syntax), proptest::collection::vec(token_of(syntax), 0..12)))
        ) {
            let statement = all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ");
            let expected: Vec<(Kind, &str)> = all.iter().map(|(kind, text)| (*kind, text.as_str())).collect();
            prop_assert_eq!(split(&statement, syntax), expected);
        }
    }
}
