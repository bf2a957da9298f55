//! GoogleSQL statements and their named parameters: `:name`, as everywhere in Blockyard, or
//! `@name`, the BigQuery syntax ("Lexical structure and syntax", BigQuery). String literals, quoted
//! identifiers and comments contain no parameters.

use std::collections::BTreeSet;

/// A statement, split into parameters, opaque text and other text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pieces: Vec<Piece>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// A string literal, quoted identifier or comment.
    Opaque(String),
    /// Other text. Each parenthesis and semicolon is a separate `Plain`.
    Plain(String),
    Parameter(String),
}

impl Statement {
    pub(crate) fn parse(statement: &str) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut plain = String::new();
        let mut rest = statement;
        while let Some(next) = rest.chars().next() {
            let skipped = opaque(rest);
            let name = match next {
                ':' => identifier(&rest[1..]),
                '@' if !rest.starts_with("@@") => identifier(&rest[1..]),
                _ => "",
            };
            // `label:LOOP` contains no parameter: a parameter never directly follows an identifier.
            let follows_name = plain.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let (piece, length) = if skipped > 0 {
                (Some(Piece::Opaque(rest[..skipped].to_owned())), skipped)
            } else if !name.is_empty() && !follows_name {
                (Some(Piece::Parameter(name.to_owned())), 1 + name.len())
            } else if matches!(next, '(' | ')' | ';') {
                (Some(Piece::Plain(next.to_string())), 1)
            } else {
                // Consumes an entire identifier or `@@name`, so that no parameter is found within
                // it.
                let signs = rest.len() - rest.trim_start_matches('@').len();
                let name = identifier(&rest[signs..]);
                (None, if name.is_empty() { next.len_utf8() } else { signs + name.len() })
            };
            match piece {
                Some(piece) => pieces.extend([Piece::Plain(std::mem::take(&mut plain)), piece]),
                None => plain.push_str(&rest[..length]),
            }
            rest = &rest[length..];
        }
        pieces.push(Piece::Plain(plain));
        pieces.retain(|piece| !matches!(piece, Piece::Plain(text) if text.is_empty()));
        Self { pieces }
    }

    /// Returns the names of the parameters.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Parameter(name) => Some(name.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Returns the statement in BigQuery syntax.
    pub(crate) fn text(&self) -> String {
        written(&self.pieces, "")
    }

    /// Returns one statement, or one transaction, that runs the statement atomically for `sets`
    /// sets of parameters. Set numbers are appended to the names, starting at 0: parameter `a` of
    /// set 7 is `a_7`.
    pub(crate) fn repeated(&self, sets: usize) -> String {
        let each = |pieces: &[Piece]| (0..sets).map(|set| written(pieces, &format!("_{set}"))).collect::<Vec<_>>();
        if let Some((before, row, after)) = self.single_row() {
            return format!("{}{}{}", written(before, ""), each(row).join(", "), written(after, ""));
        }
        let statements = each(&self.pieces);
        let statements: Vec<&str> = statements.iter().map(|text| text.trim_end().trim_end_matches(';')).collect();
        format!("BEGIN TRANSACTION;\n{};\nCOMMIT TRANSACTION;", statements.join(";\n"))
    }

    /// Splits an `INSERT … VALUES (…)` of a single row into the pieces before the row, the row, and
    /// the pieces after it. Returns `None` for other statements.
    fn single_row(&self) -> Option<(&[Piece], &[Piece], &[Piece])> {
        let plain = |piece: &Piece| match piece {
            Piece::Plain(text) => Some(text.trim().to_ascii_lowercase()),
            _ => None,
        };
        let is = |piece: &Piece, sign: &str| plain(piece).as_deref() == Some(sign);
        let inserts = self.pieces.first().and_then(plain).is_some_and(|text| identifier(&text) == "insert");
        let ends_with_values = |text: String| {
            text.strip_suffix("values").is_some_and(|rest| !rest.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        let before = self.pieces.iter().position(|piece| plain(piece).is_some_and(ends_with_values))?;
        let begin = before + 1;
        let mut depth = 0;
        let length = self.pieces[begin..].iter().position(|piece| {
            depth += i32::from(is(piece, "(")) - i32::from(is(piece, ")"));
            depth == 0
        })?;
        let (row, after) = self.pieces[begin..].split_at(length + 1);
        let ends = after.iter().all(|piece| plain(piece).is_some_and(|text| text.is_empty() || text == ";"));
        (inserts && ends && row.len() > 2).then_some((&self.pieces[..begin], row, after))
    }
}

fn written(pieces: &[Piece], suffix: &str) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Opaque(text) | Piece::Plain(text) => text.clone(),
            Piece::Parameter(name) => format!("@{name}{suffix}"),
        })
        .collect()
}

/// Returns the length in bytes of the string literal, quoted identifier or comment that `rest`
/// starts with, or 0.
fn opaque(rest: &str) -> usize {
    let prefix = ["rb", "br", "r", "b"].into_iter().find(|prefix| {
        let begins = rest.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        begins && rest[prefix.len()..].starts_with(['\'', '"'])
    });
    let at = prefix.map_or(0, str::len);
    let text = &rest[at..];
    match text.as_bytes() {
        [b'\'', b'\'', b'\'', ..] => at + quoted(text, "'''"),
        [b'"', b'"', b'"', ..] => at + quoted(text, "\"\"\""),
        [b'\'', ..] => at + quoted(text, "'"),
        [b'"', ..] => at + quoted(text, "\""),
        [b'`', ..] => quoted(text, "`"),
        [b'#', ..] | [b'-', b'-', ..] => rest.find('\n').map_or(rest.len(), |end| end + 1),
        [b'/', b'*', ..] => rest[2..].find("*/").map_or(rest.len(), |end| 2 + end + 2),
        _ => 0,
    }
}

/// Returns the length in bytes of a quoted string. A backslash escapes the following quote even in
/// raw strings.
fn quoted(text: &str, quotes: &str) -> usize {
    let mut characters = text[quotes.len()..].char_indices();
    while let Some((at, character)) = characters.next() {
        let at = quotes.len() + at;
        if text[at..].starts_with(quotes) {
            return at + quotes.len();
        }
        if character == '\\' {
            characters.next();
        }
    }
    text.len()
}

/// Returns the identifier that `text` starts with, or an empty string.
fn identifier(text: &str) -> &str {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    if starts { &text[..end] } else { "" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(statement: &str, text: &str, names: &[&str]) {
        let parsed = Statement::parse(statement);
        assert_eq!((parsed.text().as_str(), parsed.names()), (text, names.iter().copied().collect()), "{statement}");
    }

    #[test]
    fn both_forms_of_names_are_one() {
        check("select :a, @b, :a", "select @a, @b, @a", &["a", "b"]);
        check("where x=:from_date and y<@n2", "where x=@from_date and y<@n2", &["from_date", "n2"]);
        check("values(:a,:b)", "values(@a,@b)", &["a", "b"]);
    }

    #[test]
    fn what_is_no_parameter_stays() {
        for statement in [
            r#"select ':a', "@b", `c:d`"#,
            r#"select 'it\':s @a', r'\':b', '''tri ' @p''', """q " @q""", b'@c', rb"@d""#,
            "select 1 -- :a\n # @b\n /* :c */",
            "set n = n + @@row_count; label:LOOP; bar'x'",
            "select 'open :a",
        ] {
            check(statement, statement, &[]);
        }
        check("select /* :a */ :b -- :c\n, :d", "select /* :a */ @b -- :c\n, @d", &["b", "d"]);
        check(r"select r'\\' , :a", r"select r'\\' , @a", &["a"]);
    }

    #[test]
    fn one_row_becomes_many() {
        for (statement, expected) in [
            (
                "INSERT INTO `d.t` (a, b) VALUES (:a, lower(:b));",
                "INSERT INTO `d.t` (a, b) VALUES (@a_0, lower(@b_0)), (@a_1, lower(@b_1));",
            ),
            (
                "update d.t set a = :a where b = :b;",
                "BEGIN TRANSACTION;\nupdate d.t set a = @a_0 where b = @b_0;\nupdate d.t set a = @a_1 where b = @b_1;\nCOMMIT TRANSACTION;",
            ),
            (
                "insert d.t values (:a), (2)",
                "BEGIN TRANSACTION;\ninsert d.t values (@a_0), (2);\ninsert d.t values (@a_1), (2);\nCOMMIT TRANSACTION;",
            ),
            (
                "insert d.my_values (a) select :a",
                "BEGIN TRANSACTION;\ninsert d.my_values (a) select @a_0;\ninsert d.my_values (a) select @a_1;\nCOMMIT TRANSACTION;",
            ),
        ] {
            assert_eq!(Statement::parse(statement).repeated(2), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC{0,60}") {
            let _ = Statement::parse(&text).repeated(2);
        }

        #[test]
        fn texts_without_signs_stay_as_they_are(text in "[^:@]{0,60}") {
            prop_assert_eq!(Statement::parse(&text).text(), text);
        }

        /// Quoted text is unchanged, and a parameter after it is found.
        #[test]
        fn what_is_quoted_stays(inner in "[a-z: #@$-]{0,20}", way in 0usize..5) {
            let (open, close) = [("'", "'"), ("\"", "\""), ("/* ", " */"), ("`", "`"), ("'''", "'''")][way];
            let parsed = Statement::parse(&format!("select {open}{inner}{close}, :p"));
            prop_assert_eq!(parsed.text(), format!("select {open}{inner}{close}, @p"));
        }
    }
}
