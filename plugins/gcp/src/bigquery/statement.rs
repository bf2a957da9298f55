//! GoogleSQL statements and their named parameters: `:name`, as everywhere in Blockyard, or
//! `@name`, the BigQuery syntax. String literals, quoted identifiers and comments contain no
//! parameters.

use std::collections::BTreeSet;

use blockyard_sdk::sql::lexer::{Kind, Syntax, Token, tokens};

/// A statement, split into tokens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statement<'text> {
    tokens: Vec<Token<'text>>,
}

impl<'text> Statement<'text> {
    pub(crate) fn parse(statement: &'text str) -> Self {
        Self { tokens: tokens(statement, Syntax::BigQuery).collect() }
    }

    /// Returns the names of the parameters.
    pub(crate) fn names(&self) -> BTreeSet<&'text str> {
        self.tokens.iter().filter(|token| token.kind == Kind::Parameter).map(Token::name).collect()
    }

    /// Returns the statement in BigQuery syntax.
    pub(crate) fn text(&self) -> String {
        written(&self.tokens, "")
    }

    /// Returns one statement, or one transaction, that runs the statement atomically for `sets`
    /// sets of parameters. Set numbers are appended to the names, starting at 0: parameter `a` of
    /// set 7 is `a_7`.
    pub(crate) fn repeated(&self, sets: usize) -> String {
        let each = |tokens: &[Token<'_>]| (0..sets).map(|set| written(tokens, &format!("_{set}"))).collect::<Vec<_>>();
        if let Some((before, row, after)) = self.single_row() {
            return format!("{}{}{}", written(before, ""), each(row).join(", "), written(after, ""));
        }
        // A comment at the end would contain the semicolon that is appended.
        let end = self.tokens.iter().rposition(|token| !is_filler(token)).map_or(0, |last| last + 1);
        let statements = each(&self.tokens[..end]);
        format!("BEGIN TRANSACTION;\n{};\nCOMMIT TRANSACTION;", statements.join(";\n"))
    }

    /// Splits an `INSERT … VALUES (…)` of a single row into the tokens before the row, the row, and
    /// the tokens after it. Returns `None` for other statements.
    fn single_row(&self) -> Option<(&[Token<'text>], &[Token<'text>], &[Token<'text>])> {
        let mut significant = self.tokens.iter().enumerate().filter(|(_, token)| !token.is_trivia());
        significant.next().filter(|(_, first)| first.is_word("insert"))?;
        significant.find(|(_, token)| token.is_word("values"))?;
        let (begin, _) = significant.next().filter(|(_, token)| token.is_operator("("))?;
        let mut depth = 0;
        let length = self.tokens[begin..].iter().position(|token| {
            depth += i32::from(token.is_operator("(")) - i32::from(token.is_operator(")"));
            depth == 0
        })?;
        let (row, after) = self.tokens[begin..].split_at(length + 1);
        let has_values = row.iter().filter(|token| !token.is_trivia()).count() > 2;
        (has_values && after.iter().all(is_filler)).then_some((&self.tokens[..begin], row, after))
    }
}

/// Checks for a token without an effect at the end of a statement.
fn is_filler(token: &Token<'_>) -> bool {
    token.is_trivia() || token.is_operator(";")
}

fn written(tokens: &[Token<'_>], suffix: &str) -> String {
    tokens
        .iter()
        .map(|token| match token.kind {
            Kind::Parameter => format!("@{}{suffix}", token.name()),
            _ => token.text.to_owned(),
        })
        .collect()
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
    fn colon_and_at_parameters_are_equivalent() {
        check("select :a, @b, :a", "select @a, @b, @a", &["a", "b"]);
        check("where x=:from_date and y<@n2", "where x=@from_date and y<@n2", &["from_date", "n2"]);
        check("values(:a,:b)", "values(@a,@b)", &["a", "b"]);
    }

    #[test]
    fn quoted_text_and_comments_contain_no_parameters() {
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
    fn insert_repeats_its_row_for_each_set_of_parameters() {
        for (statement, expected) in [
            (
                "INSERT INTO `d.t` (a, b) VALUES (:a, lower(:b));",
                "INSERT INTO `d.t` (a, b) VALUES (@a_0, lower(@b_0)), (@a_1, lower(@b_1));",
            ),
            (
                "update d.t set a = :a where b = :b;",
                "BEGIN TRANSACTION;\nupdate d.t set a = @a_0 where b = @b_0;\nupdate d.t set a = @a_1 where b = @b_1;\nCOMMIT TRANSACTION;",
            ),
            ("-- rows\ninsert d.t values (:a) -- end", "-- rows\ninsert d.t values (@a_0), (@a_1) -- end"),
            (
                "delete from d.t where a = :a -- old;\n;",
                "BEGIN TRANSACTION;\ndelete from d.t where a = @a_0;\ndelete from d.t where a = @a_1;\nCOMMIT TRANSACTION;",
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
        fn arbitrary_text_does_not_panic(text in "\\PC{0,60}") {
            let _ = Statement::parse(&text).repeated(2);
        }

        #[test]
        fn text_without_parameters_is_unchanged(text in "[^:@]{0,60}") {
            prop_assert_eq!(Statement::parse(&text).text(), text);
        }

        /// Quoted text is unchanged, and a parameter after it is found.
        #[test]
        fn quoted_text_is_unchanged(inner in "[a-z: #@$-]{0,20}", way in 0usize..5) {
            let (open, close) = [("'", "'"), ("\"", "\""), ("/* ", " */"), ("`", "`"), ("'''", "'''")][way];
            let statement = format!("select {open}{inner}{close}, :p");
            prop_assert_eq!(Statement::parse(&statement).text(), format!("select {open}{inner}{close}, @p"));
        }
    }
}
