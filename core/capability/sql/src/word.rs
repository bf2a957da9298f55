//! The first word of a statement, as the servers of PostgreSQL and SQLite read it. MySQL has
//! [`scan`](super::mysql) instead, because it reads a statement in one of several ways.
//!
//! The word serves for error messages, and protects nothing by itself. In an operation with the
//! effect `read`, PostgreSQL reports before the statement runs that it returns rows, and SQLite's
//! authorizer sees what the statement does. Afterwards both are asked whether the transaction is
//! still the one that the host began.

use blockyard_call::Problem;
use blockyard_model::capability::Dialect;

use crate::lexer::{Kind, MYSQL, POSTGRES, SQLITE, tokens};

/// First words of statements that begin or end a transaction, or manage prepared statements that
/// may do so. A guest must use `begin` and `commit` instead, so that the host knows the state of a
/// connection that it reuses.
const TRANSACTION_CONTROL: [&str; 10] =
    ["begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "prepare", "deallocate"];
/// Maximum number of characters of a word in an error message. All known words are shorter.
const MAX_CHARACTERS: usize = 32;

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

/// Returns the problem of a statement that does not only read.
pub(super) fn not_reading(reason: &str) -> Problem {
    Problem::new("effect", format!("the operation only reads, and the statement {reason}"))
        .hint("use `execute` for statements that change something")
}

/// Returns the first word of a statement in lower case, after white space, comments, parentheses
/// and empty statements; an empty string if something else precedes it. A dollar sign ends the word,
/// so that a check refuses `commit$1` like `commit`.
pub(super) fn first_word(text: &str, dialect: Dialect) -> String {
    let rules = match dialect {
        Dialect::Postgres => &POSTGRES,
        Dialect::Sqlite => &SQLITE,
        // The rules with which every `--` begins a comment. With the others, a statement that begins
        // with dashes is not valid.
        Dialect::Mysql => &MYSQL[3],
    };
    let mut tokens = tokens(text, rules);
    let first = tokens.find(|token| !(token.is_trivia() || token.is_operator("(") || token.is_operator(";")));
    let word = first.filter(|token| token.kind == Kind::Word).and_then(|token| token.text.split('$').next());
    shortened(word.unwrap_or_default())
}

/// Returns a word in lower case, with a limited length.
pub(super) fn shortened(word: &str) -> String {
    word.chars().take(MAX_CHARACTERS).collect::<String>().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for text in [";commit", "; ;\n;(commit", "\x0b\x0ccommit", "-- a\ncommit", "/**/commit", "commit$1", "commit'"]
        {
            assert_eq!((postgres(text), sqlite(text)), ("commit".into(), "commit".into()), "{text:?}");
        }
        assert_eq!((sqlite("\u{feff}commit"), postgres("\u{a0}commit")), ("commit".into(), "\u{a0}commit".into()));
        for text in ["", "1commit", "$commit", "'commit'", "\"commit\"", "/*/ select 1"] {
            assert_eq!((postgres(text), sqlite(text)), (String::new(), String::new()), "{text:?}");
        }
    }

    #[test]
    fn a_number_sign_starts_a_comment_of_mysql() {
        for (dialect, word) in [(Dialect::Mysql, "lock"), (Dialect::Postgres, ""), (Dialect::Sqlite, "")] {
            assert_eq!(first_word("# flush\r# flush\n/* a */ lock tables t write", dialect), word, "{dialect:?}");
        }
    }
}
