//! Lexer of SQL text, by tables of the lexical rules of each dialect. All code of the host that
//! searches a statement for words, parameters or its end uses these tokens.
//!
//! The lexer accepts any text; the texts of the tokens, concatenated, are the input. A token is
//! determined by the text from its beginning on, so the lexer has no state. Strings, quoted
//! identifiers and comments that are not closed extend to the end of the text.

mod rules;
mod token;

use rules::{LineComment, Parameters, Quote, Words};

pub use rules::{MYSQL, POSTGRES, Rules, SQLITE};
pub use token::{Kind, Token};

/// Splits a statement into tokens.
#[must_use]
pub fn tokens<'text>(statement: &'text str, rules: &'static Rules) -> Tokens<'text> {
    Tokens { rest: statement, rules }
}

/// Iterator over the tokens of a statement.
#[derive(Debug, Clone)]
pub struct Tokens<'text> {
    rest: &'text str,
    rules: &'static Rules,
}

impl<'text> Iterator for Tokens<'text> {
    type Item = Token<'text>;

    fn next(&mut self) -> Option<Token<'text>> {
        let first = self.rest.chars().next()?;
        let (kind, length) = self.rules.measure(self.rest, first);
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(Token { kind, text })
    }
}

impl Rules {
    /// Returns the kind and the length in bytes of the token that `rest` starts with. `first` is its
    /// first character.
    fn measure(&self, rest: &str, first: char) -> (Kind, usize) {
        let spaces = length_while(rest, |c| self.space.contains(&c));
        if spaces > 0 {
            return (Kind::Space, spaces);
        }
        if let Some(begin) = self.conditional_comments.iter().find(|begin| rest.starts_with(**begin)) {
            return (Kind::ConditionalComment, begin.len());
        }
        if let Some(length) = self.comment(rest) {
            return (Kind::Comment, length);
        }
        if let Some(quote) = self.quotes.iter().find(|quote| quote.begins(rest)) {
            return (quote.kind, quote.length(rest, self));
        }
        if let Some(parameter) = self.parameter(rest) {
            return parameter;
        }
        if let Some(null) = self.null.filter(|null| rest.starts_with(null)) {
            return (Kind::Null, null.len());
        }
        if let Some(length) = self.number(rest) {
            return (Kind::Number, length);
        }
        if is_of_word(first) && (self.words == Words::BeginWithAny || first != '$') {
            return (Kind::Word, length_while(rest, is_of_word));
        }
        (Kind::Operator, first.len_utf8())
    }

    /// Returns the length of the comment that `rest` starts with.
    fn comment(&self, rest: &str) -> Option<usize> {
        if rest.starts_with("/*") {
            return Some(block_comment(rest, self.nested_comments));
        }
        let begins = self.line_comments.iter().any(|comment| comment.begins(rest));
        begins.then(|| length_while(rest, |c| !self.line_ends.contains(&c)))
    }

    /// Returns the kind and the length of the placeholder or dollar-quoted string that `rest` starts
    /// with.
    fn parameter(&self, rest: &str) -> Option<(Kind, usize)> {
        if self.parameters == Parameters::QuestionMark {
            return rest.starts_with('?').then_some((Kind::Parameter, 1));
        }
        let digits = length_while(rest.strip_prefix('$')?, |c| c.is_ascii_digit());
        if digits > 0 {
            return Some((Kind::Parameter, 1 + digits));
        }
        let delimiter = dollar_delimiter(rest)?;
        let end = rest[delimiter.len()..].find(delimiter);
        Some((Kind::String, end.map_or(rest.len(), |end| end + 2 * delimiter.len())))
    }

    /// Returns the length of the number that `rest` starts with.
    fn number(&self, rest: &str) -> Option<usize> {
        let bytes = rest.as_bytes();
        let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let after_digits = |at: usize| at + length_while(&rest[at..], |c| c.is_ascii_digit());
        let begins = is_digit(0) || bytes[0] == b'.' && is_digit(1);
        if !begins {
            return None;
        }
        let integer = after_digits(0);
        let mut end = integer;
        if bytes.get(end) == Some(&b'.') {
            end = after_digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let digits = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if is_digit(digits) {
                end = after_digits(digits);
            }
        }
        let is_word = self.words == Words::BeginWithAny && end == integer && rest[end..].starts_with(is_of_word);
        (!is_word).then_some(end)
    }
}

impl LineComment {
    fn begins(&self, rest: &str) -> bool {
        let is_space = |byte: u8| byte <= b' ' || byte == b'\x7f';
        rest.strip_prefix(self.begin)
            .is_some_and(|after| !self.needs_space || after.bytes().next().is_none_or(is_space))
    }
}

impl Quote {
    fn begins(&self, rest: &str) -> bool {
        let (rest, length) = (rest.as_bytes(), self.prefix.len());
        rest.get(length) == Some(&self.open) && rest[..length].eq_ignore_ascii_case(self.prefix.as_bytes())
    }

    /// Returns the length of the text in these quotes that `rest` starts with.
    fn length(&self, rest: &str, rules: &Rules) -> usize {
        // A byte of a character outside of ASCII is never equal to a quote.
        let bytes = rest.as_bytes();
        let mut at = self.prefix.len() + 1;
        while let Some(byte) = bytes.get(at) {
            at += 1;
            if *byte == b'\\' && self.backslash {
                at += 1;
            } else if *byte == self.close {
                if self.doubled && bytes.get(at) == Some(&self.close) {
                    at += 1;
                } else if let Some(length) = self.continuation(&rest[at..], rules) {
                    at += length;
                } else {
                    return at;
                }
            }
        }
        rest.len()
    }

    /// Returns the length of the white space and line comments up to the quote in which the literal
    /// continues, including that quote. Without a line break, the next quote begins another literal.
    fn continuation(&self, rest: &str, rules: &Rules) -> Option<usize> {
        if !self.continued {
            return None;
        }
        let mut at = 0;
        loop {
            let rest = &rest[at..];
            let spaces = length_while(rest, |c| rules.space.contains(&c));
            at += if spaces > 0 {
                spaces
            } else if rules.line_comments.iter().any(|comment| comment.begins(rest)) {
                length_while(rest, |c| !rules.line_ends.contains(&c))
            } else {
                break;
            };
        }
        let is_continued = rest.as_bytes().get(at) == Some(&self.open) && rest[..at].contains(rules.line_ends);
        is_continued.then_some(at + 1)
    }
}

/// Returns the length of a block comment.
fn block_comment(rest: &str, nested: bool) -> usize {
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
            return at;
        }
    }
    rest.len()
}

/// Returns the delimiter `$tag$` that `rest` starts with. The tag is a word without `$`, or empty.
fn dollar_delimiter(rest: &str) -> Option<&str> {
    let after = rest.strip_prefix('$')?;
    let tag = length_while(after, |c| is_of_word(c) && c != '$');
    let is_delimiter = after[tag..].starts_with('$') && !after.starts_with(|c: char| c.is_ascii_digit());
    is_delimiter.then(|| &rest[..tag + 2])
}

/// Checks for a character of a word. The servers treat every character outside of ASCII as a letter.
fn is_of_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '$') || !character.is_ascii()
}

fn length_while(text: &str, matches: impl Fn(char) -> bool) -> usize {
    text.find(|c| !matches(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    static DEFAULT: &Rules = &MYSQL[0];
    static ANSI_QUOTES: &Rules = &MYSQL[1];
    static NO_BACKSLASH_ESCAPES: &Rules = &MYSQL[2];
    static ANY_DASHES: &Rules = &MYSQL[3];

    /// Returns all rules.
    fn all() -> Vec<&'static Rules> {
        MYSQL.iter().chain([&POSTGRES, &SQLITE]).collect()
    }

    /// Returns the tokens other than white space.
    fn split<'text>(statement: &'text str, rules: &'static Rules) -> Vec<(Kind, &'text str)> {
        let all = tokens(statement, rules).filter(|token| token.kind != Kind::Space);
        all.map(|token| (token.kind, token.text)).collect()
    }

    /// Checks that the text is a single token with these rules, and not with the others.
    fn check(text: &str, kind: Kind, expected: &[&'static Rules]) {
        for rules in all() {
            let tokens: Vec<Token<'_>> = tokens(text, rules).collect();
            let is_expected = expected.iter().any(|expected| std::ptr::eq(*expected, rules));
            assert_eq!(tokens == [Token { kind, text }], is_expected, "{text} {rules:?}: {tokens:?}");
        }
    }

    #[test]
    fn dialects_and_modes_differ() {
        let mysql: Vec<&Rules> = MYSQL.iter().collect();
        let with_mysql = |more: &[&'static Rules]| [&mysql[..], more].concat();
        let backslashes = [DEFAULT, ANSI_QUOTES, ANY_DASHES, &MYSQL[4]];
        check("'it''s'", Kind::String, &all());
        check(r"'it\'s'", Kind::String, &backslashes);
        check(r"e'it\'s'", Kind::String, &[&POSTGRES]);
        check("U&'\\'", Kind::String, &[&POSTGRES]);
        check("x'00'", Kind::String, &[&POSTGRES]);
        check("U&\"a\"", Kind::QuotedIdentifier, &[&POSTGRES]);
        check("\"a\"\"b\"", Kind::QuotedIdentifier, &[ANSI_QUOTES, &MYSQL[4], &POSTGRES, &SQLITE]);
        check("\"a\"\"b\"", Kind::String, &[DEFAULT, NO_BACKSLASH_ESCAPES, ANY_DASHES, &MYSQL[5]]);
        check(r#""a\"b""#, Kind::String, &[DEFAULT, ANY_DASHES]);
        check("`a``b\\`", Kind::QuotedIdentifier, &with_mysql(&[&SQLITE]));
        check("[a b]", Kind::QuotedIdentifier, &[&SQLITE]);
        check("$t$ $$ ' $t$", Kind::String, &[&POSTGRES]);
        check("-- '\t", Kind::Comment, &all());
        check("--'", Kind::Comment, &[ANY_DASHES, &MYSQL[4], &MYSQL[5], &POSTGRES, &SQLITE]);
        check("--\x7f'", Kind::Comment, &all());
        check("# '", Kind::Comment, &mysql);
        check("-- a\r'b'", Kind::Comment, &with_mysql(&[&SQLITE]));
        check("/* ' \" */", Kind::Comment, &all());
        check("/* a /* b */", Kind::Comment, &all());
        check("/* a /* b */ c */", Kind::Comment, &[&POSTGRES]);
        check("/*!", Kind::ConditionalComment, &mysql);
        check("/*M!", Kind::ConditionalComment, &mysql);
        check("a$b$c", Kind::Word, &all());
        check("größe_1", Kind::Word, &all());
        check("\u{a0}", Kind::Word, &all());
        check("\u{feff}", Kind::Space, &[&SQLITE]);
        check("\x0b", Kind::Space, &[&POSTGRES, &SQLITE]);
        check("$a", Kind::Word, &mysql);
        check("2x", Kind::Word, &mysql);
        check("$12", Kind::Parameter, &[&POSTGRES]);
        check("\\N", Kind::Null, &mysql);
        check("?", Kind::Parameter, &with_mysql(&[&SQLITE]));
    }

    #[test]
    fn a_number_ends_where_its_digits_end() {
        for number in ["0", "12.50", "1e5", "1E+5", "1.5e-10", ".5", "5."] {
            check(number, Kind::Number, &all());
        }
        let (number, word) = (|text| (Kind::Number, text), |text| (Kind::Word, text));
        for rules in all() {
            assert_eq!(split("1.5into", rules), [number("1.5"), word("into")], "{rules:?}");
            assert_eq!(split("1e5into", rules), [number("1e5"), word("into")], "{rules:?}");
            assert_eq!(split(".5into", rules), [number(".5"), word("into")], "{rules:?}");
        }
        assert_eq!(split("\\Ninto", DEFAULT), [(Kind::Null, "\\N"), word("into")]);
        assert_eq!(split("5into", DEFAULT), [word("5into")]);
        assert_eq!(split("1e+x", DEFAULT), [word("1e"), (Kind::Operator, "+"), word("x")]);
        assert_eq!(split("5into", &POSTGRES), [number("5"), word("into")]);
        assert_eq!(split(r"1e'\''", &POSTGRES), [number("1"), (Kind::String, r"e'\''")]);
    }

    #[test]
    fn an_escape_string_continues_on_the_next_line() {
        for continued in ["e'a'\n'\\''", "e'a' -- b'\r\n -- c\n'\\''", "E'a'\n'b'\n'\\''"] {
            assert_eq!(split(continued, &POSTGRES), [(Kind::String, continued)], "{continued:?}");
        }
        let string = |text| (Kind::String, text);
        assert_eq!(split("e'a' '\\'", &POSTGRES), [string("e'a'"), string("'\\'")]);
        assert_eq!(split("'a'\n'\\'", &POSTGRES), [string("'a'"), string("'\\'")]);
        assert_eq!(split("e'a' /* \n */ '\\'", &POSTGRES).len(), 3);
        assert_eq!(split("e'a'\n-- b", &POSTGRES), [string("e'a'"), (Kind::Comment, "-- b")]);
        assert_eq!(split("e'a'\n- '\\'", &POSTGRES).len(), 3);
    }

    #[test]
    fn a_dollar_sign_without_a_delimiter_is_an_operator() {
        assert_eq!(split("$a b", &POSTGRES), [(Kind::Operator, "$"), (Kind::Word, "a"), (Kind::Word, "b")]);
        assert_eq!(split("$1$$ ' $$", &POSTGRES), [(Kind::Parameter, "$1"), (Kind::String, "$$ ' $$")]);
        assert_eq!(split("a$$ $$", &POSTGRES), [(Kind::Word, "a$$"), (Kind::String, "$$")]);
    }

    #[test]
    fn tokens_that_are_not_closed_extend_to_the_end() {
        for (text, kind, rules) in [
            ("'a''", Kind::String, &SQLITE),
            (r"'a\'", Kind::String, DEFAULT),
            ("'a\\", Kind::String, DEFAULT),
            ("'a\\é", Kind::String, DEFAULT),
            ("[a", Kind::QuotedIdentifier, &SQLITE),
            ("/*/", Kind::Comment, DEFAULT),
            ("/* /* */", Kind::Comment, &POSTGRES),
            ("$x$ $$", Kind::String, &POSTGRES),
            ("e'a'\n'", Kind::String, &POSTGRES),
        ] {
            assert_eq!(split(text, rules), [(kind, text)], "{text}");
        }
    }

    /// Returns tokens that can be separated by spaces.
    fn token_of(rules: &'static Rules) -> impl Strategy<Value = (Kind, String)> {
        let of_dialect: &[(Kind, &str)] = if std::ptr::eq(rules, &POSTGRES) {
            &[(Kind::String, "$t$ ' ; $t$"), (Kind::String, r"E'\''"), (Kind::Parameter, "$7")]
        } else if std::ptr::eq(rules, &SQLITE) {
            &[(Kind::QuotedIdentifier, "[a ' b]"), (Kind::Parameter, "?"), (Kind::QuotedIdentifier, "`\\`")]
        } else {
            &[(Kind::Comment, "# '\n"), (Kind::ConditionalComment, "/*!"), (Kind::Word, "7$x")]
        };
        let of_dialect: Vec<(Kind, String)> =
            of_dialect.iter().map(|(kind, text)| (*kind, (*text).to_owned())).collect();
        prop_oneof![
            "[a-zA-Z_][a-z0-9_$]{0,8}".prop_map(|text| (Kind::Word, text)),
            "[0-9]{1,5}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?".prop_map(|text| (Kind::Number, text)),
            "'[a-z ;:?/*#\"-]{0,12}'".prop_map(|text| (Kind::String, text)),
            "/\\* [a-z ;:?'\"#-]{0,12} \\*/".prop_map(|text| (Kind::Comment, text)),
            select(vec!["(", ")", ",", ";", "=", "<", ":", "+", "@"])
                .prop_map(|text| (Kind::Operator, text.to_owned())),
            select(of_dialect),
        ]
    }

    proptest! {
        #[test]
        fn tokens_concatenate_to_the_statement(
            statement in "([a-eEuUxM:&@$?!\\\\'\"`\\[\\]/*#.;0-9\\s-]|\\PC){0,80}",
            rules in select(all()),
        ) {
            let mut rest = statement.as_str();
            while let Some(token) = tokens(rest, rules).next() {
                prop_assert!(!token.text.is_empty());
                prop_assert!(rest.starts_with(token.text));
                rest = &rest[token.text.len()..];
            }
            prop_assert_eq!(rest, "");
            let all = tokens(&statement, rules).map(|token| token.text);
            prop_assert_eq!(all.collect::<String>(), statement);
        }

        #[test]
        fn joined_tokens_are_split_again(
            (rules, all) in select(all())
                .prop_flat_map(|rules| (Just(rules), proptest::collection::vec(token_of(rules), 0..12)))
        ) {
            let statement = all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ");
            let expected: Vec<(Kind, &str)> = all.iter().map(|(kind, text)| (*kind, text.trim_end())).collect();
            prop_assert_eq!(split(&statement, rules), expected);
        }
    }
}
