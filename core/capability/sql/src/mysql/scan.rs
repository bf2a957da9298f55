//! Scanner for the parts of a statement outside of strings, quoted identifiers and comments.
//!
//! A read is protected by the server, because its transaction is `READ ONLY`. Such a transaction
//! does not prevent three things, which are detected here: `INTO OUTFILE`, which writes a file on
//! the server; row locks, which block other clients; and statements that end the transaction. A
//! comment that MySQL executes could hide any of them, so such comments are refused. The end of a
//! string depends on the server's SQL mode. Therefore the statement is scanned in each of the
//! possible ways, and refused if any of them detects a problem.

use blockyard_call::Problem;

use crate::statement::Access;

/// First words of statements that only read.
const READING: [&str; 8] = ["select", "with", "values", "table", "show", "explain", "describe", "desc"];

/// First words of statements that begin or end a transaction, or run a text that does.
const TRANSACTION_CONTROL: [&str; 10] =
    ["begin", "start", "commit", "rollback", "savepoint", "release", "xa", "prepare", "execute", "deallocate"];

/// The quotes in which a backslash escapes: both, or only the single ones if `ANSI_QUOTES` makes
/// the double ones delimit identifiers, or none if `NO_BACKSLASH_ESCAPES` is set.
#[derive(Debug, Clone, Copy)]
enum Backslash {
    Both,
    Single,
    Never,
}

/// The start of a `--` comment: `--` before white space, a control character or the end of the
/// text, or, with `sql_mode=ORACLE` in MariaDB, any `--`.
#[derive(Debug, Clone, Copy)]
enum Dashes {
    BeforeSpace,
    Any,
}

/// An element of a statement outside of strings, quoted identifiers and comments.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Sign(char),
    /// `/*! … */`: a comment to other servers, and a part of the statement to MySQL.
    Executed,
}

/// The ways in which a server may read a statement, depending on its SQL mode.
const SYNTAXES: [(Backslash, Dashes); 6] = [
    (Backslash::Both, Dashes::BeforeSpace),
    (Backslash::Single, Dashes::BeforeSpace),
    (Backslash::Never, Dashes::BeforeSpace),
    (Backslash::Both, Dashes::Any),
    (Backslash::Single, Dashes::Any),
    (Backslash::Never, Dashes::Any),
];

impl Token {
    /// Returns a control character that is not common white space. Servers differ in whether it
    /// ends words and comments.
    fn is_control(&self) -> Option<char> {
        match self {
            Self::Sign(sign) if sign.is_control() => Some(*sign),
            _ => None,
        }
    }
}

/// Refuses statements that would end a transaction of the host and, in an operation with the effect
/// `read`, statements that do not only read.
pub(super) fn check(text: &str, access: Access) -> Result<(), Problem> {
    for (backslash, dashes) in SYNTAXES {
        let tokens = tokens(text, backslash, dashes);
        if let Some(character) = tokens.iter().find_map(Token::is_control) {
            return Err(Problem::new(
                "invalid",
                format!("the statement has the control character {character:?} outside of a string, which servers interpret differently"),
            )
            .hint("replace it with a space"));
        }
        if tokens.contains(&Token::Executed) {
            return Err(Problem::new(
                "invalid",
                "the statement has a comment `/*! … */` that the server would execute",
            )
            .hint("move its contents into the statement"));
        }
        let first = tokens.iter().find_map(|token| match token {
            Token::Word(word) => Some(word.as_str()),
            Token::Sign('(' | ';') => None,
            _ => Some(""),
        });
        let first = first.unwrap_or_default();
        if access == Access::ReadOnly {
            reads(first, &tokens)?;
        }
        if TRANSACTION_CONTROL.contains(&first) {
            return Err(Problem::new(
                "invalid",
                format!("`{first}` is not supported: the host begins and ends transactions"),
            )
            .hint("use `execute-many` to run a statement with many sets of parameters in one transaction"));
        }
    }
    Ok(())
}

fn reads(first: &str, tokens: &[Token]) -> Result<(), Problem> {
    let refused = |what: &str| {
        Err(Problem::new("effect", format!("the operation only reads, and the statement {what}"))
            .hint("use `execute` for statements that change something"))
    };
    if !READING.contains(&first) {
        return refused(&format!("begins with `{first}`"));
    }
    let follow = |expected: &[&str]| follow(tokens, expected);
    if follow(&["into", "outfile"]) || follow(&["into", "dumpfile"]) {
        return refused("writes a file on the server");
    }
    if follow(&["for", "update"]) || follow(&["for", "share"]) || follow(&["lock", "in", "share", "mode"]) {
        return refused("locks the rows that it reads");
    }
    Ok(())
}

/// Checks whether words follow each other.
fn follow(tokens: &[Token], expected: &[&str]) -> bool {
    tokens.windows(expected.len()).any(|window| {
        window.iter().zip(expected).all(|(token, expected)| matches!(token, Token::Word(word) if word == expected))
    })
}

/// Checks whether a statement locks tables for the session: `lock tables`, and `flush tables` with
/// `with read lock` or `for export`. If it could be read in several ways, one of them is sufficient.
pub(super) fn locks_tables(text: &str) -> bool {
    SYNTAXES.into_iter().any(|(backslash, dashes)| {
        let tokens = tokens(text, backslash, dashes);
        let mut words = tokens.iter().filter_map(|token| match token {
            Token::Word(word) => Some(word.as_str()),
            _ => None,
        });
        match words.next() {
            Some("lock") => matches!(words.next(), Some("table" | "tables")),
            Some("flush") => follow(&tokens, &["with", "read", "lock"]) || follow(&tokens, &["for", "export"]),
            _ => false,
        }
    })
}

fn tokens(text: &str, backslash: Backslash, dashes: Dashes) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = match next {
            '\'' => quoted(rest, !matches!(backslash, Backslash::Never)),
            '"' => quoted(rest, matches!(backslash, Backslash::Both)),
            '`' => quoted(rest, false),
            '#' => line(rest),
            '-' if is_dash_comment(rest, dashes) => line(rest),
            '/' if rest.starts_with("/*!") || rest.starts_with("/*M!") => {
                tokens.push(Token::Executed);
                3
            }
            '/' if rest.starts_with("/*") => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
            next if is_of_word(next) => {
                let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..length].to_ascii_lowercase()));
                length
            }
            next => {
                if !matches!(next, ' ' | '\t' | '\n' | '\r') {
                    tokens.push(Token::Sign(next));
                }
                next.len_utf8()
            }
        };
        rest = &rest[skipped..];
    }
    tokens
}

fn is_of_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '$') || !character.is_ascii()
}

/// Checks for the start of a comment. `5--2` is 7, except in Oracle mode.
fn is_dash_comment(rest: &str, dashes: Dashes) -> bool {
    let Some(after) = rest.strip_prefix("--") else { return false };
    matches!(dashes, Dashes::Any) || after.is_empty() || after.starts_with(|c: char| c <= ' ' || c == '\x7f')
}

fn line(rest: &str) -> usize {
    rest.find('\n').map_or(rest.len(), |end| end + 1)
}

/// Returns the length of a quoted string or identifier. A doubled quote is an escaped one.
fn quoted(rest: &str, backslash: bool) -> usize {
    let bytes = rest.as_bytes();
    let quote = bytes[0];
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if backslash => at += 2,
            byte if byte == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
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

    proptest! {
        #[test]
        fn the_scanner_does_not_panic(text in "\\PC{0,60}") {
            let _ = check(&text, Access::ReadOnly);
        }

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
