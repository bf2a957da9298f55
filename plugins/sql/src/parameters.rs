//! Named parameters `:name` (the SQLAlchemy syntax) and positional parameters `?`, and their
//! conversion to the placeholders of each database. A `:` or `?` in a string, a quoted identifier,
//! a comment or a `::` cast is not a parameter.

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::{self, Value as SqlValue};
use blockyard_sdk::{schemars, serde};

use crate::list::Parentheses;

/// Parameter values of a statement.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
#[serde(crate = "blockyard_sdk::serde", untagged)]
#[schemars(crate = "blockyard_sdk::schemars")]
pub(crate) enum Parameters {
    /// Values by name, for `:name`.
    Named(Map<String, Value>),
    /// Values in order, for `?`.
    Positional(Vec<Value>),
}

/// Implemented manually, because the derived implementation for untagged enums rejects integers of
/// more than 64 bits.
impl<'de> serde::Deserialize<'de> for Parameters {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Object(named) => Ok(Self::Named(named)),
            Value::Array(values) => Ok(Self::Positional(values)),
            _ => Err(serde::de::Error::custom(
                "expected an object of named parameters or an array of positional parameters",
            )),
        }
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self::Named(Map::new())
    }
}

/// Returns the statement with the placeholders of the database, and its values.
pub(crate) fn bound(statement: &str, parameters: &Parameters, syntax: Syntax) -> Result<(String, Vec<SqlValue>)> {
    check_comments(statement, syntax)?;
    match parameters {
        Parameters::Named(given) => {
            let statement = Statement::parse(statement, syntax);
            let values = statement.values(given)?;
            Ok((statement.text, values))
        }
        Parameters::Positional(values) => {
            let (text, in_lists) = numbered(statement, syntax);
            let places = in_lists.len();
            if places != 0 && places != values.len() {
                let wrong = format!(
                    "the number of positional parameters (`?`) is {places}, but the number of values is {}",
                    values.len()
                );
                return Err(Problem::invalid(wrong));
            }
            let values = values.iter().enumerate().map(|(index, value)| {
                let in_list = in_lists.get(index).copied().unwrap_or_default();
                parameter(value, in_list, syntax).map_err(|problem| problem.context(format!("parameter {}", index + 1)))
            });
            Ok((text, values.collect::<Result<_>>()?))
        }
    }
}

/// Converts a parameter value. `in_list` is set for a parameter inside the parentheses of `in (…)`.
fn parameter(value: &Value, in_list: bool, syntax: Syntax) -> Result<SqlValue> {
    if in_list && value.is_array() {
        let hint = match syntax {
            Syntax::Sqlite => "write `in (select value from json_each(:name))`",
            Syntax::Postgres => "write `= any(:name)`, which accepts a list",
            Syntax::Mysql => "write one parameter per element, or `json_contains(:name, json_quote(column))`",
        };
        return Err(Problem::invalid("the value is a list, but `in (…)` compares with it as a single value").hint(hint));
    }
    sql::parameter(value)
}

/// Replaces `?` by the placeholders of the database, and returns for each whether it is inside the
/// parentheses of `in (…)`. `\?` is a literal `?`, which PostgreSQL uses in operators.
fn numbered(statement: &str, syntax: Syntax) -> (String, Vec<bool>) {
    let mut text = String::with_capacity(statement.len());
    let (mut rest, mut places) = (statement, Vec::new());
    let mut parentheses = Parentheses::new(syntax);
    while let Some(next) = rest.chars().next() {
        let skipped = opaque(rest, syntax);
        // SQLite's numbered placeholders are left unchanged.
        let own = syntax == Syntax::Sqlite
            && rest.strip_prefix('?').is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()));
        let length = if skipped > 0 { skipped } else { next.len_utf8() };
        let in_list = parentheses.is_list();
        parentheses.token(&rest[..length]);
        if skipped == 0 && next == '?' && !own {
            places.push(in_list);
            match syntax {
                Syntax::Postgres => text.push_str(&format!("${}", places.len())),
                Syntax::Sqlite | Syntax::Mysql => text.push('?'),
            }
        } else if rest.starts_with("\\?") {
            text.push('?');
            rest = &rest[2..];
            continue;
        } else {
            text.push_str(&rest[..length]);
        }
        rest = &rest[length..];
    }
    (text, places)
}

/// A statement with the placeholders of the database, and the names of its parameters in order.
#[derive(Debug, PartialEq, Eq)]
struct Statement {
    text: String,
    names: Vec<String>,
    /// For each name, `true` if it is inside the parentheses of `in (…)`.
    in_lists: Vec<bool>,
    syntax: Syntax,
}

/// Syntax of placeholders, strings, quoted identifiers and comments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// Placeholders `?1`.
    Sqlite,
    /// Placeholders `$1`, strings `E'…'` and `$tag$ … $tag$`, nested comments.
    Postgres,
    /// Placeholders `?` without a number, backslash escapes in strings, comments that begin with
    /// `#`.
    Mysql,
}

impl Statement {
    /// Replaces names by placeholders. A repeated name has the same number; without numbers its
    /// value is passed repeatedly.
    fn parse(statement: &str, syntax: Syntax) -> Self {
        let mut text = String::with_capacity(statement.len());
        let mut names: Vec<String> = Vec::new();
        let mut in_lists = Vec::new();
        let mut parentheses = Parentheses::new(syntax);
        let mut rest = statement;
        while let Some(next) = rest.chars().next() {
            let skipped = opaque(rest, syntax);
            if skipped > 0 {
                parentheses.token(&rest[..skipped]);
                text.push_str(&rest[..skipped]);
                rest = &rest[skipped..];
                continue;
            }
            let name = rest.strip_prefix(':').map_or("", identifier);
            // `a[1:n]` and `x:y` contain no parameters: a parameter never directly follows an
            // identifier.
            let follows_name = text.ends_with(|c: char| is_of_name(c) || c == ':');
            if !name.is_empty() && !follows_name {
                let known = names.iter().position(|known| known == name).filter(|_| syntax != Syntax::Mysql);
                let number = known.unwrap_or(names.len()) + 1;
                match known {
                    Some(known) => in_lists[known] |= parentheses.is_list(),
                    None => {
                        names.push(name.to_owned());
                        in_lists.push(parentheses.is_list());
                    }
                }
                // The name is no word of the statement.
                parentheses.token(":");
                match syntax {
                    Syntax::Sqlite => text.push_str(&format!("?{number}")),
                    Syntax::Postgres => text.push_str(&format!("${number}")),
                    Syntax::Mysql => text.push('?'),
                }
                rest = &rest[1 + name.len()..];
            } else {
                // `\:` is a literal colon before an identifier.
                let escaped = rest.starts_with("\\:");
                if escaped {
                    rest = &rest[1..];
                }
                let end = if escaped { 1 } else { next.len_utf8() };
                parentheses.token(&rest[..end]);
                text.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        }
        Self { text, names, in_lists, syntax }
    }

    /// Returns the values in the order of the placeholders.
    fn values(&self, given: &Map<String, Value>) -> Result<Vec<SqlValue>> {
        let missing: Vec<&str> =
            self.names.iter().filter(|name| !given.contains_key(*name)).map(String::as_str).collect();
        if !missing.is_empty() {
            return Err(Problem::invalid(format!(
                "the statement has parameters without a value: `:{}`",
                missing.join("`, `:")
            )));
        }
        if let Some(unknown) = given.keys().find(|key| !self.names.contains(key)) {
            return Err(Problem::invalid(format!("the statement has no parameter `:{unknown}`")));
        }
        let values = self.names.iter().zip(&self.in_lists).map(|(name, in_list)| {
            let value = parameter(&given[name], *in_list, self.syntax);
            value.map_err(|problem| problem.context(format!("parameter `:{name}`")))
        });
        values.collect()
    }
}

/// Returns the length in bytes of the string, quoted identifier, comment, `::` or word that `rest`
/// starts with, or 0. One that is never closed extends to the end.
pub(crate) fn opaque(rest: &str, syntax: Syntax) -> usize {
    token(rest, syntax).unwrap_or(rest.len())
}

/// A string, quoted identifier or comment that is never closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unclosed {
    String,
    DollarQuoted,
    Identifier,
    Comment,
}

impl Unclosed {
    /// Returns the error for one that begins at `at`. `what` is the statement or the script.
    pub(crate) fn problem(self, text: &str, at: usize, what: &str) -> Problem {
        let line = text[..at].matches('\n').count() + 1;
        let (name, hint) = match self {
            Self::String => ("a string", "close it with the same quote; inside of the string, double the quote"),
            Self::DollarQuoted => ("a dollar-quoted string", "close it with the same `$tag$`"),
            Self::Identifier => ("a quoted name", "close it with the same quote; inside of the name, double the quote"),
            Self::Comment => ("a comment", "close it with `*/`; in PostgreSQL, each `/*` inside of it needs its own"),
        };
        Problem::invalid(format!("line {line} of the {what} begins {name} that is never closed")).hint(hint)
    }
}

/// Returns the string, quoted identifier or comment that `rest` starts with if it is never closed.
pub(crate) fn unclosed(rest: &str, syntax: Syntax) -> Option<Unclosed> {
    token(rest, syntax).err()
}

/// Rejects a statement with a comment that is never closed. SQLite and MySQL would ignore the rest
/// of the statement.
fn check_comments(statement: &str, syntax: Syntax) -> Result<()> {
    let mut at = 0;
    while let Some(next) = statement[at..].chars().next() {
        let rest = &statement[at..];
        if unclosed(rest, syntax) == Some(Unclosed::Comment) {
            return Err(Unclosed::Comment.problem(statement, at, "statement"));
        }
        at += opaque(rest, syntax).max(next.len_utf8());
    }
    Ok(())
}

fn token(rest: &str, syntax: Syntax) -> std::result::Result<usize, Unclosed> {
    let bytes = rest.as_bytes();
    let mysql = syntax == Syntax::Mysql;
    let string = |length: Option<usize>| length.ok_or(Unclosed::String);
    let name = |length: Option<usize>| length.ok_or(Unclosed::Identifier);
    match bytes {
        [b'\'', ..] => string(quoted(rest, '\'', mysql)),
        [b'e' | b'E', b'\'', ..] if syntax == Syntax::Postgres => {
            string(quoted(&rest[1..], '\'', true).map(|length| 1 + length))
        }
        [b'"', ..] if mysql => string(quoted(rest, '"', true)),
        [b'"', ..] => name(quoted(rest, '"', false)),
        [b'`', ..] if syntax != Syntax::Postgres => name(quoted(rest, '`', false)),
        [b'[', ..] if syntax == Syntax::Sqlite => name(rest.find(']').map(|end| end + 1)),
        // MySQL requires a space after the dashes, so that `5--2` is 7.
        [b'-', b'-', after, ..] if !mysql || *after <= b' ' => Ok(line(rest)),
        [b'-', b'-'] => Ok(2),
        [b'#', ..] if mysql => Ok(line(rest)),
        [b'/', b'*', ..] => comment(rest, syntax == Syntax::Postgres).ok_or(Unclosed::Comment),
        [b'$', ..] if syntax == Syntax::Postgres => dollar_quoted(rest),
        [b':', b':', ..] | [b':', b'=', ..] => Ok(2),
        // Consumes an entire word, so that an `e` at its end does not begin a string.
        [first, ..] if first.is_ascii_alphabetic() || *first == b'_' || !first.is_ascii() => Ok(identifier(rest).len()),
        _ => Ok(0),
    }
}

fn line(rest: &str) -> usize {
    rest.find('\n').map_or(rest.len(), |end| end + 1)
}

/// Returns the length of a quoted string, or `None` if it is never closed. A doubled quote is a
/// literal quote; a backslash escapes if `backslash` is set.
fn quoted(rest: &str, quote: char, backslash: bool) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\\' && backslash {
            characters.next();
        } else if character == quote {
            match characters.peek() {
                Some((_, next)) if *next == quote => {
                    characters.next();
                }
                _ => return Some(at + quote.len_utf8()),
            }
        }
    }
    None
}

/// Returns the length of a block comment, or `None` if it is never closed. PostgreSQL nests them.
fn comment(rest: &str, nested: bool) -> Option<usize> {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (0usize, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" if nested || depth == 0 => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
    None
}

/// Returns the length of a PostgreSQL string `$tag$ … $tag$`, or 0 if `rest` starts with another
/// `$`.
fn dollar_quoted(rest: &str) -> std::result::Result<usize, Unclosed> {
    let tag = identifier(&rest[1..]);
    let opening = 2 + tag.len();
    if rest.as_bytes().get(1 + tag.len()) != Some(&b'$') {
        return Ok(0);
    }
    let delimiter = &rest[..opening];
    let end = rest[opening..].find(delimiter).ok_or(Unclosed::DollarQuoted)?;
    Ok(opening + end + delimiter.len())
}

/// Returns the identifier that `text` starts with, or an empty string.
fn identifier(text: &str) -> &str {
    let starts = text.starts_with(|c: char| is_of_name(c) && !c.is_ascii_digit());
    let end = text.find(|c: char| !is_of_name(c)).unwrap_or(text.len());
    if starts { &text[..end] } else { "" }
}

/// Checks whether a character is allowed in names: all databases accept letters of all scripts,
/// with combining marks.
fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || !character.is_ascii() && !character.is_whitespace()
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::serde_json;

    use super::*;

    #[test]
    fn parameters_keep_numbers_of_any_length() {
        for text in
            [r#"{"a":{"id":12345678901234567890123},"b":0.12345678901234567890123}"#, "[-99999999999999999999,1.10]"]
        {
            let read: Parameters =
                serde_json::from_value(serde_json::from_str(text).expect("JSON")).expect("parameters");
            assert_eq!(serde_json::to_string(&read).expect("JSON"), text);
        }
        assert!(serde_json::from_value::<Parameters>(json!(1)).is_err());
    }

    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(statement: &str, expected: Expect) {
        check_in(Syntax::Postgres, statement, expected);
    }

    fn check_in(syntax: Syntax, statement: &str, expected: Expect) {
        let parsed = Statement::parse(statement, syntax);
        expected.assert_eq(&format!("{} {:?}", parsed.text, parsed.names));
    }

    #[test]
    fn names_become_numbers() {
        check("select :a, :b, :a", expect![[r#"select $1, $2, $1 ["a", "b"]"#]]);
        check("where x=:from_date and y<:n2", expect![[r#"where x=$1 and y<$2 ["from_date", "n2"]"#]]);
        check("values(:a,:b)", expect![[r#"values($1,$2) ["a", "b"]"#]]);
    }

    #[test]
    fn colons_elsewhere_stay() {
        check("select ':a', 'it''s :b', :c", expect![[r#"select ':a', 'it''s :b', $1 ["c"]"#]]);
        check_in(Syntax::Sqlite, r#"select ":a", `:b`, [:c]"#, expect![[r#"select ":a", `:b`, [:c] []"#]]);
        check(r#"select ":a""#, expect![[r#"select ":a" []"#]]);
        check("select 1 -- :a\n, :b", expect!["select 1 -- :a\n, $1 [\"b\"]"]);
        check("select /* :a /* :b */ :c */ :d", expect![[r#"select /* :a /* :b */ :c */ $1 ["d"]"#]]);
        check("select :a::date, x::text", expect![[r#"select $1::date, x::text ["a"]"#]]);
        check("select $$ :a $$, $t$ :b $$ $t$, :c", expect![[r#"select $$ :a $$, $t$ :b $$ $t$, $1 ["c"]"#]]);
        check(r"select E'\':a', type':b', :c", expect![[r#"select E'\':a', type':b', $1 ["c"]"#]]);
        check("select a[1:n], x := :y", expect![[r#"select a[1:n], x := $1 ["y"]"#]]);
        check(r"select '{}' \:raw, :a", expect![[r#"select '{}' :raw, $1 ["a"]"#]]);
        check("select 'open :a", expect!["select 'open :a []"]);
    }

    #[test]
    fn values_are_checked_by_name() {
        let statement = Statement::parse("select :a, :b", Syntax::Sqlite);
        let given = |value: Value| value.as_object().cloned().expect("an object");
        assert_eq!(statement.values(&given(json!({"b": 2, "a": "x"}))).expect("both are there").len(), 2);
        let missing = statement.values(&given(json!({"a": 1}))).expect_err("b is missing");
        assert!(missing.message().contains("`:b`"));
        let unknown = statement.values(&given(json!({"a": 1, "b": 2, "c": 3}))).expect_err("c is unknown");
        assert!(unknown.message().contains("`:c`"));
    }

    #[test]
    fn places_become_numbers() {
        let check = |syntax, statement: &str, text: &str, places: usize| {
            let (found, in_lists) = numbered(statement, syntax);
            assert_eq!((found.as_str(), in_lists.len()), (text, places), "{statement}");
        };
        check(Syntax::Postgres, "select ?, '?', ? -- ?", "select $1, '?', $2 -- ?", 2);
        check(Syntax::Postgres, r"select data \? 'a', $1", "select data ? 'a', $1", 0);
        check(Syntax::Sqlite, "select ?, ?2", "select ?, ?2", 1);
        check(Syntax::Mysql, "select ?, \"?\" # ?", "select ?, \"?\" # ?", 1);
        let few =
            bound("select ?, ?", &Parameters::Positional(vec![json!(1)]), Syntax::Mysql).expect_err("one is missing");
        assert!(few.message().contains("positional parameters (`?`) is 2, but the number of values is 1"), "{few}");
    }

    #[test]
    fn mysql_has_its_own_texts_and_comments() {
        let check = |statement, expected| check_in(Syntax::Mysql, statement, expected);
        check("select :a, :b, :a", expect![[r#"select ?, ?, ? ["a", "b", "a"]"#]]);
        check(r#"select '\':a', "\":b", `:c`, :d"#, expect![[r#"select '\':a', "\":b", `:c`, ? ["d"]"#]]);
        check("select 1 # :a\n, 2 -- :b\n, 5--:c", expect!["select 1 # :a\n, 2 -- :b\n, 5--? [\"c\"]"]);
        check("select /* :a /* :b */ :c", expect![[r#"select /* :a /* :b */ ? ["c"]"#]]);
        check("select @a := :a, $:b", expect![[r#"select @a := ?, $? ["a", "b"]"#]]);
    }

    #[test]
    fn names_have_letters_of_all_scripts() {
        check("select :größe, größe:x, :名", expect![[r#"select $1, größe:x, $2 ["größe", "名"]"#]]);
        assert_eq!(Statement::parse("select :gro\u{308}ße", Syntax::Sqlite).names, ["gro\u{308}ße"]);
    }

    #[test]
    fn a_list_is_not_one_value_of_in() {
        for (syntax, hint) in
            [(Syntax::Sqlite, "json_each"), (Syntax::Postgres, "any(:name)"), (Syntax::Mysql, "json_contains")]
        {
            let refused = |statement: &str, parameters: Parameters| {
                let refused = bound(statement, &parameters, syntax).expect_err(statement);
                assert!(refused.message().contains("the value is a list"), "{refused}");
                assert!(format!("{refused:?}").contains(hint), "{refused:?}");
            };
            let named = || Parameters::Named(Map::from_iter([("l".to_owned(), json!([1, 2]))]));
            for statement in
                ["select 1 where x in (:l)", "select 1 where x not IN /* a */ ( :l )", "select x in(1, f(2), :l)"]
            {
                refused(statement, named());
            }
            refused("select 1 where x in (?)", Parameters::Positional(vec![json!([1])]));
            for statement in [
                "select 1 where x in ((:l))",
                "select 1 where x not in ((1), (:l))",
                "select 1 where x in (values (:l))",
                "select 1 where (x, y) in ((1, :l), (2, 3))",
                "select 1 where x in (case when y then (:l) end)",
            ] {
                refused(statement, named());
            }
            for statement in [
                "select f(:l)",
                "select 1 where x in (select value from json_each(:l))",
                "select 1 where x in (with l as (select value from json_each(:l)) select value from l)",
                "select 1 where x in (json_extract(:l, '$[0]'))",
                "select 1 where x in (1, 2) and f((:l))",
                "select x = any(:l)",
                "select :in, (:l)",
            ] {
                let parameters = Parameters::Named(match named() {
                    Parameters::Named(mut named) if statement.contains(":in") => {
                        named.insert("in".to_owned(), json!(1));
                        named
                    }
                    Parameters::Named(named) => named,
                    Parameters::Positional(_) => Map::new(),
                });
                assert!(bound(statement, &parameters, syntax).is_ok(), "{statement}");
            }
            // Functions of PostgreSQL take arrays.
            let coalesced = bound("select 1 where x in (coalesce(:l, 0))", &named(), syntax);
            assert_eq!(coalesced.is_ok(), syntax == Syntax::Postgres);
        }
    }

    #[test]
    fn a_comment_that_is_never_closed_is_refused() {
        for (statement, syntax, ok) in [
            ("select 1\n/* why; select 2", Syntax::Sqlite, false),
            ("select 1\n/*/", Syntax::Mysql, false),
            ("select 1\n/* a /* b */", Syntax::Postgres, false),
            ("select 1\n/* a /* b */", Syntax::Sqlite, true),
            ("select '/*', 1 -- /*", Syntax::Postgres, true),
        ] {
            match bound(statement, &Parameters::default(), syntax) {
                Ok(_) => assert!(ok, "{statement}"),
                Err(problem) => {
                    assert!(!ok, "{statement}: {problem}");
                    let wanted = "line 2 of the statement begins a comment that is never closed";
                    assert!(problem.message().contains(wanted), "{problem}");
                }
            }
        }
    }

    #[test]
    fn bytes_are_a_parameter() {
        let given = Parameters::Positional(vec![json!({"$bytes": "3q0="})]);
        let (_, values) = bound("select ?", &given, Syntax::Mysql).expect("bytes");
        assert!(matches!(&values[0], SqlValue::Bytes(bytes) if *bytes == [0xde, 0xad]));
        let wrong = Parameters::Named(Map::from_iter([("b".to_owned(), json!({"$bytes": "*"}))]));
        let refused = bound("select :b", &wrong, Syntax::Sqlite).expect_err("no base64");
        assert!(refused.message().contains("parameter `:b`"), "{refused}");
    }

    fn syntaxes() -> impl Strategy<Value = Syntax> {
        prop_oneof![Just(Syntax::Sqlite), Just(Syntax::Postgres), Just(Syntax::Mysql)]
    }

    proptest! {
        /// No string makes the scanner panic or loop, and without a colon nothing changes.
        #[test]
        fn texts_without_colons_stay_as_they_are(text in "[^:]{0,60}", syntax in syntaxes()) {
            let parsed = Statement::parse(&text, syntax);
            prop_assert_eq!(&parsed.text, &text);
            prop_assert!(parsed.names.is_empty());
        }

        #[test]
        fn any_text_is_taken(text in "\\PC{0,60}", syntax in syntaxes()) {
            let _ = Statement::parse(&text, syntax);
            let _ = numbered(&text, syntax);
        }

        /// Quoted text is unchanged, and a parameter after it is found.
        #[test]
        fn what_is_quoted_stays(inner in "[a-z: #$-]{0,20}", way in 0usize..3, syntax in syntaxes()) {
            let (open, close) = [("'", "'"), ("\"", "\""), ("/* ", " */")][way];
            let statement = format!("select {open}{inner}{close}, :p");
            let parsed = Statement::parse(&statement, syntax);
            let sign = match syntax { Syntax::Sqlite => "?1", Syntax::Postgres => "$1", Syntax::Mysql => "?" };
            prop_assert_eq!(parsed.text, format!("select {open}{inner}{close}, {sign}"));
            prop_assert_eq!(parsed.names, ["p"]);
        }

        /// The statement has one placeholder per value, and each refers to its name.
        #[test]
        fn every_place_has_its_value(names in proptest::collection::vec("[a-c]", 1..8), syntax in syntaxes()) {
            let places: Vec<String> = names.iter().map(|name| format!(":{name}")).collect();
            let parsed = Statement::parse(&format!("select {}", places.join(", ")), syntax);
            let written: Vec<&str> = parsed.text["select ".len()..].split(", ").collect();
            prop_assert_eq!(written.len(), names.len());
            for (place, (written, name)) in written.into_iter().zip(&names).enumerate() {
                let number = written[1..].parse::<usize>().unwrap_or(place + 1);
                prop_assert_eq!(&parsed.names[number - 1], name);
            }
        }
    }
}
