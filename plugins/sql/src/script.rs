//! Splitting of SQL scripts into statements.

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::lexer::{Kind, Token, tokens};

use crate::Dialect;

/// Splits a script at semicolons, except in strings, quoted identifiers, comments, and the bodies
/// of triggers and routines. A string, quoted identifier or comment that is never closed is an
/// error, because it would contain the statements that follow it.
pub(crate) fn statements(script: &str, dialect: Dialect) -> Result<Vec<&str>> {
    let mut found = Vec::new();
    let mut statement = Current::default();
    let mut begin = 0;
    for token in tokens(script, dialect.syntax()) {
        if !token.is_closed {
            return Err(unclosed(&token, script, "script"));
        }
        if token.is_operator(";") && statement.depth == 0 {
            if statement.is_something {
                found.push(script[begin..token.at].trim());
            }
            (begin, statement) = (token.at + token.text.len(), Current::default());
        } else {
            statement.take(&token);
        }
    }
    if statement.is_something {
        found.push(script[begin..].trim());
    }
    Ok(found)
}

/// Returns the error for a string, quoted identifier or comment that is never closed. `document` is the
/// statement or the script that contains it.
pub(crate) fn unclosed(token: &Token<'_>, text: &str, document: &str) -> Problem {
    let line = text[..token.at].matches('\n').count() + 1;
    let (name, hint) = match token.kind {
        Kind::DollarString => ("a dollar-quoted string", "close it with the same `$tag$`"),
        Kind::QuotedIdentifier => {
            ("a quoted name", "close it with the same quote; inside of the name, double the quote")
        }
        Kind::Comment => ("a comment", "close it with `*/`; in PostgreSQL, each `/*` inside of it needs its own"),
        _ => ("a string", "close it with the same quote; inside of the string, double the quote"),
    };
    Problem::invalid(format!("line {line} of the {document} begins {name} that is never closed")).hint(hint)
}

/// Returns the first word of the statement if it starts or ends a transaction.
pub(crate) fn transaction_word(statement: &str, dialect: Dialect) -> Option<String> {
    let mut words = tokens(statement, dialect.syntax()).filter(|token| token.kind == Kind::Word);
    let first = words.next()?.text.to_lowercase();
    let to_savepoint = first == "rollback" && words.next().is_some_and(|second| second.is_word("to"));
    let is = matches!(first.as_str(), "begin" | "start" | "commit" | "rollback" | "end" | "abort") && !to_savepoint;
    is.then_some(first)
}

/// State of the current statement.
#[derive(Default)]
struct Current {
    /// `true` if the statement contains more than white space and comments.
    is_something: bool,
    /// `true` if the statement begins with `create`.
    creates: bool,
    /// `true` after the first parenthesis, which is followed by column or argument names.
    past_head: bool,
    has_body: bool,
    /// Number of `begin` and `case` without a matching `end`.
    depth: usize,
    last: String,
}

impl Current {
    fn take(&mut self, token: &Token<'_>) {
        if token.is_trivia() && !is_executable(token.text) {
            return;
        }
        if token.kind != Kind::Word {
            self.is_something = true;
            self.past_head |= token.is_operator("(");
            // The `end` before a semicolon is complete.
            self.last.clear();
            return;
        }
        let word = token.text.to_lowercase();
        if !self.is_something {
            self.creates = word == "create";
        }
        self.is_something = true;
        match word.as_str() {
            "trigger" | "function" | "procedure" | "event" if self.creates && !self.past_head => {
                self.has_body = true;
            }
            // `end case` closes the `case` that `end` has already closed.
            "case" if self.last == "end" => {}
            "begin" | "case" if self.has_body => self.depth += 1,
            "end" if self.has_body => self.depth = self.depth.saturating_sub(1),
            // `end if` does not close a `begin`, so the effect of `end` is reverted.
            "if" | "loop" | "while" | "repeat" if self.has_body && self.last == "end" => self.depth += 1,
            _ => {}
        }
        self.last = word;
    }
}

/// Checks for a comment that MySQL or MariaDB executes.
fn is_executable(comment: &str) -> bool {
    comment.starts_with("/*!") || comment.starts_with("/*M!")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn split(script: &str, dialect: Dialect) -> Vec<&str> {
        statements(script, dialect).expect("statements")
    }

    #[test]
    fn semicolons_in_strings_and_comments_do_not_end_statements() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql] {
            let script = "select 'a;b' ; /* ; */ -- ;\n ;; select \"x;y\"\n;\n-- the end";
            let expected = ["select 'a;b'", "select \"x;y\""];
            assert_eq!(split(script, dialect), expected, "{dialect:?}");
        }
        assert_eq!(split("select $x$;$x$; select 1", Dialect::Postgres), ["select $x$;$x$", "select 1"]);
        assert_eq!(split("", Dialect::Sqlite), Vec::<&str>::new());
    }

    #[test]
    fn words_can_contain_dollar_signs() {
        for script in ["select a$b$c; select 2", "select 1 as a$$; select '$$'"] {
            assert_eq!(split(script, Dialect::Postgres).len(), 2, "{script}");
        }
    }

    #[test]
    fn executable_comments_are_statements() {
        for comment in ["/*! set @a = 1 */", "/*M!100100 set @a = 1 */"] {
            assert_eq!(split(&format!("{comment}; /* no */;"), Dialect::Mysql), [comment]);
        }
    }

    #[test]
    fn routine_bodies_are_not_split() {
        let trigger =
            "create trigger t after insert on a begin update b set c = case when 1 then 2 end; delete from d; end";
        assert_eq!(split(&format!("{trigger}; select 1"), Dialect::Sqlite), [trigger, "select 1"]);
        let routine =
            "create procedure p() begin if 1 then select 1; end if; case 1 when 1 then select 2; end case; end";
        assert_eq!(split(&format!("{routine}; select 1;"), Dialect::Mysql), [routine, "select 1"]);
        let nested = "create procedure p() begin begin select 1; end; if 1 then select 1; end if; \
                      case 1 when 1 then select 2; end case; end";
        assert_eq!(split(&format!("{nested}; select 1;"), Dialect::Mysql), [nested, "select 1"]);
        let function = "create function f() returns int language sql begin atomic select 1; end";
        assert_eq!(split(&format!("{function};select 2"), Dialect::Postgres), [function, "select 2"]);
        let table = "create table log (event text, begin_at text, begin text)";
        assert_eq!(split(&format!("{table}; select 1"), Dialect::Sqlite), [table, "select 1"]);
        let plain = "select case when 1 then 2 end";
        assert_eq!(split(&format!("{plain}; select 1"), Dialect::Sqlite), [plain, "select 1"]);
    }

    #[test]
    fn unclosed_strings_and_comments_are_rejected() {
        use Dialect::{Mysql, Postgres, Sqlite};
        for (open, dialects, token) in [
            ("/* why; select 2", &[Sqlite, Postgres, Mysql][..], "a comment"),
            ("/* a /* b */; select 2", &[Postgres], "a comment"),
            ("/*/; select 2", &[Sqlite, Postgres, Mysql], "a comment"),
            ("select 'a; select 2", &[Sqlite, Postgres, Mysql], "a string"),
            ("select E'a\\'; select 2", &[Postgres], "a string"),
            ("select \"a; select 2", &[Mysql], "a string"),
            ("select \"a; select 2", &[Sqlite, Postgres], "a quoted name"),
            ("select `a; select 2", &[Sqlite, Mysql], "a quoted name"),
            ("select [a; select 2", &[Sqlite], "a quoted name"),
            ("select $x$ a $$; select 2", &[Postgres], "a dollar-quoted string"),
        ] {
            for dialect in dialects {
                let problem = statements(&format!("select 1;\n\n{open}"), *dialect).expect_err(open);
                let expected = format!("line 3 of the script begins {token} that is never closed");
                assert!(problem.message().contains(&expected), "{dialect:?}: {problem}");
            }
        }
    }

    #[test]
    fn transaction_statements_are_recognized() {
        let word = |text: &str| transaction_word(text, Dialect::Postgres);
        assert_eq!(word("/* so */ COMMIT").as_deref(), Some("commit"));
        assert_eq!(word("begin").as_deref(), Some("begin"));
        assert_eq!(word("rollback").as_deref(), Some("rollback"));
        assert_eq!(word("rollback to savepoint a"), None);
        assert_eq!(word("select 'commit'"), None);
    }

    proptest! {
        /// A script splits into the statements that it consists of.
        #[test]
        fn joined_statements_are_split_again(
            all in proptest::collection::vec("select( (:[a-z]|[0-9]{1,3}|'[a-z; /*-]{0,6}'|\"[;a-z]{0,5}\"|/\\* [a-z;']{0,5} \\*/|, x)){0,5}", 0..6),
            dialect in select(vec![Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql]),
        ) {
            let script: String = all.iter().flat_map(|statement| [statement.as_str(), " ;\n"]).collect();
            let expected: Vec<&str> = all.iter().map(|statement| statement.trim()).collect();
            prop_assert_eq!(split(&script, dialect), expected);
        }
    }
}
