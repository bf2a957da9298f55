//! Statements that the host refuses before the server sees them.
//!
//! A read is protected by the server, because its transaction is `READ ONLY`. Such a transaction
//! does not prevent three things, which are detected here: `INTO OUTFILE`, which writes a file on
//! the server; row locks, which block other clients; and statements that end the transaction. A
//! comment that MySQL executes could hide any of them, so such comments are refused. The tokens of a
//! statement depend on the server's SQL mode. Therefore the statement is split by the rules of each
//! mode, and refused if any of them shows a problem.

use blockyard_call::Problem;

use crate::lexer::{Kind, MYSQL, Rules, Token, tokens};
use crate::statement::Access;
use crate::word::{not_reading, shortened, transaction_control};

/// First words of statements that only read.
const READING: [&str; 8] = ["select", "with", "values", "table", "show", "explain", "describe", "desc"];

/// First words of statements that begin or end a transaction, or run a text that does.
const TRANSACTION_CONTROL: [&str; 10] =
    ["begin", "start", "commit", "rollback", "savepoint", "release", "xa", "prepare", "execute", "deallocate"];

/// First words of statements whose columns the server may report only when they run.
const DESCRIBED_LATER: [&str; 4] = ["show", "explain", "describe", "desc"];

/// Refuses statements that would end a transaction of the host and, in an operation with the effect
/// `read`, statements that do not only read.
pub(super) fn check(text: &str, access: Access) -> Result<(), Problem> {
    MYSQL.iter().try_for_each(|rules| check_by(rules, text, access))
}

/// Checks a statement as a server with these rules reads it.
fn check_by(rules: &'static Rules, text: &str, access: Access) -> Result<(), Problem> {
    let tokens = unquoted(text, rules);
    if let Some(character) = tokens.iter().find_map(control_character) {
        return Err(Problem::new(
            "invalid",
            format!("the statement has the control character {character:?} outside of a string, which servers interpret differently"),
        )
        .hint("replace it with a space"));
    }
    if tokens.iter().any(|token| token.kind == Kind::ConditionalComment) {
        return Err(Problem::new("invalid", "the statement has a comment `/*! … */` that the server would execute")
            .hint("move its contents into the statement"));
    }
    let first = tokens.iter().find(|token| !(token.is_operator("(") || token.is_operator(";")));
    let first = first.filter(|token| token.kind == Kind::Word).map_or(String::new(), |token| shortened(token.text));
    if access == Access::ReadOnly {
        only_reads(&first, &tokens)?;
    }
    if TRANSACTION_CONTROL.contains(&first.as_str()) {
        return Err(transaction_control(&first));
    }
    Ok(())
}

/// Returns the tokens outside of strings, quoted identifiers, comments and white space. A quoted
/// token between two keywords does not hide that one follows the other.
fn unquoted<'text>(text: &'text str, rules: &'static Rules) -> Vec<Token<'text>> {
    let is_quoted = |token: &Token<'_>| matches!(token.kind, Kind::String | Kind::QuotedIdentifier);
    tokens(text, rules).filter(|token| !(token.is_trivia() || is_quoted(token))).collect()
}

/// Returns a control character that is not common white space. Servers differ in whether it ends
/// words and comments.
fn control_character(token: &Token<'_>) -> Option<char> {
    token.text.chars().next().filter(|first| token.kind == Kind::Operator && first.is_control())
}

/// Refuses a statement whose first word is not in [`READING`], that writes a file, or that locks
/// rows.
fn only_reads(first: &str, tokens: &[Token<'_>]) -> Result<(), Problem> {
    if !READING.contains(&first) {
        return Err(not_reading(&format!("begins with `{first}`")));
    }
    let has = |keywords: &[&str]| has_keywords(tokens, keywords);
    if has(&["into", "outfile"]) || has(&["into", "dumpfile"]) {
        return Err(not_reading("writes a file on the server"));
    }
    if has(&["for", "update"]) || has(&["for", "share"]) || has(&["lock", "in", "share", "mode"]) {
        return Err(not_reading("locks the rows that it reads"));
    }
    Ok(())
}

/// Checks whether these keywords follow each other.
fn has_keywords(tokens: &[Token<'_>], keywords: &[&str]) -> bool {
    tokens
        .windows(keywords.len())
        .any(|window| window.iter().zip(keywords).all(|(token, keyword)| token.is_word(keyword)))
}

/// Checks whether a statement locks tables for the session: `lock tables`, and `flush tables` with
/// `with read lock` or `for export`. If servers could read it in several ways, one of them is
/// sufficient.
pub(super) fn locks_tables(text: &str) -> bool {
    MYSQL.iter().any(|rules| {
        let tokens = unquoted(text, rules);
        let mut words = tokens.iter().filter(|token| matches!(token.kind, Kind::Word | Kind::Number));
        match words.next() {
            Some(first) if first.is_word("lock") => {
                words.next().is_some_and(|word| word.is_word("table") || word.is_word("tables"))
            }
            Some(first) if first.is_word("flush") => {
                has_keywords(&tokens, &["with", "read", "lock"]) || has_keywords(&tokens, &["for", "export"])
            }
            _ => false,
        }
    })
}

/// Checks whether a statement begins with one of the words [`DESCRIBED_LATER`], with white space
/// around it and nothing else before it, so that all servers read it in the same way.
pub(super) fn is_described_later(text: &str) -> bool {
    let mut tokens = tokens(text, &MYSQL[0]).skip_while(|token| token.kind == Kind::Space);
    let is_known = tokens.next().is_some_and(|first| DESCRIBED_LATER.iter().any(|word| first.is_word(word)));
    is_known && tokens.next().is_none_or(|token| token.kind == Kind::Space)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<(), String> {
        check(text, Access::ReadOnly).map_err(|problem| problem.message)
    }

    #[test]
    fn reading_statements_are_accepted() {
        for text in [
            "select 1",
            " ( SELECT 1)",
            "-- why\nwith x as (select 1) select * from x",
            "# why\nshow tables",
            "select 'into outfile', \"for update\", `lock in share mode` -- into outfile",
            "select 1 /* into outfile */",
            "select 5--2 as `into`",
            "select 'it''s', 'a\\'b', \"c\\\"d\"",
        ] {
            assert_eq!(read(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn writing_statements_are_rejected() {
        for text in [
            "delete from t",
            "/* select */ commit",
            "-- select\ncommit",
            "--select\n",
            "",
            "set @a = 1",
            "handler t open",
            "call p()",
            "do sleep(1)",
            "select 1 into outfile '/tmp/x'",
            "select 1 INTO/**/DUMPFILE '/tmp/x'",
            "select * from t for update",
            "(select 1) lock in share mode",
            "select 1 /*! into outfile '/tmp/x' */",
            "select 1 /*M!100000 for update */",
            // The end of the string depends on the SQL mode.
            r"select 'a\' into outfile '/tmp/x' -- '",
            "select \"a\\\" into outfile '/tmp/x' -- \"",
            // The start of the comment depends on the server and its SQL mode.
            "select 1 --\x7f'\n into outfile '/tmp/x' -- '",
            "select 1 --'\n into outfile '/tmp/x' -- '",
            "select 1 --\x01'\n for update -- '",
            // A null, and a number with a point or an exponent, end without white space.
            "select \\Ninto outfile '/tmp/x'",
            "select 1.5into outfile '/tmp/x'",
            "select 1e5into outfile '/tmp/x'",
            "select * from t where 1=.5for update",
            "select * from t where 1=1.e0lock in share mode",
            ";commit",
            "select 1\x0b into outfile '/tmp/x'",
            "select\x0c1",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_write_does_not_end_its_transaction() {
        for text in ["commit", "/* a */ ROLLBACK", "# a\nbegin", "xa start 'a'", "/*! commit */", "execute s"] {
            assert!(check(text, Access::ReadWrite).is_err(), "{text}");
        }
        for text in ["insert into t values ('/*! commit */')", "call p()", "set @a = 1", "drop table t"] {
            assert!(check(text, Access::ReadWrite).is_ok(), "{text}");
        }
    }

    #[test]
    fn statements_that_lock_tables_are_recognized() {
        for text in [
            "lock tables t write",
            "# a\nLOCK TABLE t READ, u WRITE",
            "flush tables with read lock",
            "/* a */ flush local tables t, u WITH /* b */ READ LOCK",
            "flush tables t for export",
        ] {
            assert!(locks_tables(text), "{text}");
        }
        for text in [
            "flush tables",
            "flush tables t",
            "flush tables `with read lock`",
            "flush tables t -- for export",
            "flush status",
            "lock instance for backup",
            "unlock tables",
            "select 'lock tables t write'",
        ] {
            assert!(!locks_tables(text), "{text}");
        }
    }

    #[test]
    fn statements_that_the_server_describes_later_begin_with_their_word() {
        for text in ["show tables", " \t\r\nEXPLAIN select 1", "desc t", "describe", "show /* a */ tables"] {
            assert!(is_described_later(text), "{text}");
        }
        for text in ["/* a */ show tables", "show/**/tables", "show\x0btables", "showing", "(show tables)", ";show", ""]
        {
            assert!(!is_described_later(text), "{text}");
        }
    }

    proptest! {
        /// Words in quotes and comments are ignored, and words after them are not.
        #[test]
        fn keywords_in_strings_and_comments_are_ignored(inner in "[a-z0-9 ,;-]{0,20}", way in 0usize..5) {
            let (open, close) = [("'", "'"), ("\"", "\""), ("`", "`"), ("/* ", " */"), ("# ", "\n")][way];
            let hidden = format!("select 1 {open}{inner} into outfile {close}");
            prop_assert_eq!(read(&hidden), Ok(()));
            let seen = format!("{hidden} into outfile '/tmp/x'");
            prop_assert!(read(&seen).is_err());
        }
    }
}
