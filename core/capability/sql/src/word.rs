//! The first word of a statement, as the servers of PostgreSQL and SQLite read it. MySQL has
//! [`scan`](super::mysql) instead, because it reads a statement in one of several ways.
//!
//! The word serves for error messages, and protects nothing by itself. In an operation with the
//! effect `read`, PostgreSQL reports before the statement runs that it returns rows, and SQLite's
//! authorizer sees what the statement does. Afterwards both are asked whether the transaction is
//! still the one that the host began.

use blockyard_call::Problem;
use blockyard_model::capability::Dialect;

/// First words of statements that begin or end a transaction, or manage prepared statements that
/// may do so. A guest must use `begin` and `commit` instead, so that the host knows the state of a
/// connection that it reuses.
const TRANSACTION_CONTROL: [&str; 10] =
    ["begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "prepare", "deallocate"];

/// Refuses a statement that begins or ends a transaction.
pub(super) fn no_transaction_control(text: &str, dialect: Dialect) -> Result<(), Problem> {
    let word = first_word(text, dialect);
    if TRANSACTION_CONTROL.contains(&word.as_str()) {
        return Err(transaction_control(&word));
    }
    Ok(())
}

/// Returns the problem of a statement that begins or ends a transaction.
pub(super) fn transaction_control(word: &str) -> Problem {
    Problem::new("invalid", format!("`{word}` is not supported: the host begins and ends transactions"))
        .hint("use `execute-many` to run a statement with many sets of parameters in one transaction")
}

/// Returns the first word of a statement in lower case, after white space, comments, parentheses
/// and empty statements.
pub(super) fn first_word(text: &str, dialect: Dialect) -> String {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| is_space(c, dialect) || matches!(c, '(' | ';'));
        if rest.starts_with("--") || rest.starts_with('#') && dialect == Dialect::Mysql {
            rest = &rest[line_comment(rest, dialect)..];
        } else if rest.starts_with("/*") {
            rest = &rest[block_comment(rest, dialect)..];
        } else {
            break;
        }
    }
    let is_of_word = |c: &char| c.is_ascii_alphanumeric() || *c == '_' || !c.is_ascii();
    rest.chars().take_while(is_of_word).take(32).collect::<String>().to_ascii_lowercase()
}

/// Checks for white space as each server defines it. Other Unicode white space, such as U+00A0, is
/// a letter to both. SQLite skips a byte order mark.
pub(super) fn is_space(character: char, dialect: Dialect) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
        || character == '\u{feff}' && dialect == Dialect::Sqlite
}

/// Returns the length of a `--` comment. A carriage return ends it in PostgreSQL, and does not in
/// SQLite.
pub(super) fn line_comment(text: &str, dialect: Dialect) -> usize {
    let ends: &[char] = if dialect == Dialect::Postgres { &['\n', '\r'] } else { &['\n'] };
    text.find(ends).map_or(text.len(), |end| end + 1)
}

/// Returns the length of a block comment, which extends to the end of the text if it is not closed.
/// Block comments nest in PostgreSQL only.
pub(super) fn block_comment(text: &str, dialect: Dialect) -> usize {
    if dialect != Dialect::Postgres {
        return text.get(2..).and_then(|inner| inner.find("*/")).map_or(text.len(), |end| end + 4);
    }
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0usize, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_server_ends_comments_in_its_own_way() {
        let postgres = |text: &str| first_word(text, Dialect::Postgres);
        let sqlite = |text: &str| first_word(text, Dialect::Sqlite);
        assert_eq!(
            (postgres("--\rCOMMIT /*\nselect 1 */"), sqlite("--\rCOMMIT /*\nselect 1 */")),
            ("commit".into(), "select".into())
        );
        assert_eq!(
            (postgres("/* /* */ commit */ select"), sqlite("/* /* */ commit")),
            ("select".into(), "commit".into())
        );
        for text in [";commit", "; ;\n;(commit", "\x0b\x0ccommit", "-- a\ncommit", "/**/commit"] {
            assert_eq!((postgres(text), sqlite(text)), ("commit".into(), "commit".into()), "{text:?}");
        }
        assert_eq!((sqlite("\u{feff}commit"), postgres("\u{a0}commit")), ("commit".into(), "\u{a0}commit".into()));
        assert_eq!(
            (postgres("/* select"), sqlite("/*/ select 1"), postgres("")),
            (String::new(), String::new(), String::new())
        );
    }

    #[test]
    fn a_number_sign_starts_a_comment_of_mysql() {
        for (dialect, word) in [(Dialect::Mysql, "lock"), (Dialect::Postgres, ""), (Dialect::Sqlite, "")] {
            assert_eq!(first_word("# flush\r# flush\n/* a */ lock tables t write", dialect), word, "{dialect:?}");
        }
    }

    proptest! {
        #[test]
        fn the_tokenizer_does_not_panic(text in "\\PC{0,60}", pieces in "[-/*;(# \n\r]{0,30}") {
            for dialect in [Dialect::Postgres, Dialect::Sqlite, Dialect::Mysql] {
                let _ = (first_word(&text, dialect), first_word(&(pieces.clone() + &text), dialect));
            }
        }
    }
}
