//! Splitting of SQL scripts into statements.

use blockyard_sdk::prelude::*;

use crate::parameters::{Syntax, opaque, unclosed};

/// Splits a script at semicolons, except in strings, quoted identifiers, comments, and the bodies
/// of triggers and routines. A string, quoted identifier or comment that is never closed is an
/// error, because it would contain the statements that follow it.
pub(crate) fn statements(script: &str, syntax: Syntax) -> Result<Vec<&str>> {
    let mut found = Vec::new();
    let mut statement = Current::default();
    let (mut begin, mut at) = (0, 0);
    while let Some(next) = script[at..].chars().next() {
        let rest = &script[at..];
        if let Some(unclosed) = unclosed(rest, syntax) {
            return Err(unclosed.problem(script, at, "script"));
        }
        let skipped = opaque(rest, syntax);
        if skipped > 0 {
            statement.take(&rest[..skipped]);
            at += skipped;
        } else {
            at += next.len_utf8();
            if next == ';' && statement.depth == 0 {
                if statement.is_something {
                    found.push(script[begin..at - 1].trim());
                }
                (begin, statement) = (at, Current::default());
            } else {
                statement.is_something |= !next.is_whitespace();
                statement.past_head |= next == '(';
            }
        }
    }
    if statement.is_something {
        found.push(script[begin..].trim());
    }
    Ok(found)
}

/// Returns the first word of the statement if it starts or ends a transaction.
pub(crate) fn transaction_word(statement: &str, syntax: Syntax) -> Option<String> {
    let mut words = Vec::new();
    let mut at = 0;
    while words.len() < 2
        && let Some(next) = statement[at..].chars().next()
    {
        let skipped = opaque(&statement[at..], syntax);
        if let Some(word) = word(&statement[at..at + skipped]) {
            words.push(word);
        }
        at += skipped.max(next.len_utf8());
    }
    let first = words.first()?;
    let to_savepoint = first == "rollback" && words.get(1).is_some_and(|second| second == "to");
    let is = matches!(first.as_str(), "begin" | "start" | "commit" | "rollback" | "end" | "abort") && !to_savepoint;
    is.then(|| first.clone())
}

/// State of the current statement.
#[derive(Default)]
struct Current {
    /// `true` if the statement contains more than whitespace and comments.
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
    fn take(&mut self, piece: &str) {
        let is_comment = ["--", "#", "/*"].iter().any(|begin| piece.starts_with(begin)) && !piece.starts_with("/*!");
        let Some(word) = word(piece) else {
            self.is_something |= !is_comment;
            return;
        };
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

/// Returns a word in lower case, or `None` for strings, quoted identifiers, comments and
/// punctuation.
fn word(piece: &str) -> Option<String> {
    let is_word = !piece.is_empty() && piece.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_word.then(|| piece.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(script: &str, syntax: Syntax) -> Vec<&str> {
        statements(script, syntax).expect("statements")
    }

    #[test]
    fn semicolons_end_statements_but_not_in_texts_and_comments() {
        for syntax in [Syntax::Sqlite, Syntax::Postgres, Syntax::Mysql] {
            let script = "select 'a;b' ; /* ; */ -- ;\n ;; select \"x;y\"\n;\n-- the end";
            let wanted = ["select 'a;b'", "select \"x;y\""];
            assert_eq!(split(script, syntax), wanted, "{syntax:?}");
        }
        assert_eq!(split("select $x$;$x$; select 1", Syntax::Postgres), ["select $x$;$x$", "select 1"]);
        assert_eq!(split("", Syntax::Sqlite), Vec::<&str>::new());
    }

    #[test]
    fn bodies_stay_whole() {
        let trigger =
            "create trigger t after insert on a begin update b set c = case when 1 then 2 end; delete from d; end";
        assert_eq!(split(&format!("{trigger}; select 1"), Syntax::Sqlite), [trigger, "select 1"]);
        let routine =
            "create procedure p() begin if 1 then select 1; end if; case 1 when 1 then select 2; end case; end";
        assert_eq!(split(&format!("{routine}; select 1;"), Syntax::Mysql), [routine, "select 1"]);
        let function = "create function f() returns int language sql begin atomic select 1; end";
        assert_eq!(split(&format!("{function};select 2"), Syntax::Postgres), [function, "select 2"]);
        let table = "create table log (event text, begin_at text, begin text)";
        assert_eq!(split(&format!("{table}; select 1"), Syntax::Sqlite), [table, "select 1"]);
        let plain = "select case when 1 then 2 end";
        assert_eq!(split(&format!("{plain}; select 1"), Syntax::Sqlite), [plain, "select 1"]);
    }

    #[test]
    fn a_script_closes_what_it_opens() {
        use Syntax::{Mysql, Postgres, Sqlite};
        for (open, syntaxes, what) in [
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
            for syntax in syntaxes {
                let problem = statements(&format!("select 1;\n\n{open}"), *syntax).expect_err(open);
                let wanted = format!("line 3 of the script begins {what} that is never closed");
                assert!(problem.message().contains(&wanted), "{syntax:?}: {problem}");
            }
        }
    }

    #[test]
    fn what_ends_a_transaction_is_known() {
        let word = |text: &str| transaction_word(text, Syntax::Postgres);
        assert_eq!(word("/* so */ COMMIT").as_deref(), Some("commit"));
        assert_eq!(word("begin").as_deref(), Some("begin"));
        assert_eq!(word("rollback").as_deref(), Some("rollback"));
        assert_eq!(word("rollback to savepoint a"), None);
        assert_eq!(word("select 'commit'"), None);
    }
}
