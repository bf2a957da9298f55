//! The lexer agrees with each server on the ends of strings, quoted identifiers and comments: for
//! random statements, both find the same number of parameters outside of them.

use blockyard_call::Problem;
use blockyard_model::capability::Dialect;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{Access, Claimed, Pooled, Server, Slot, execute, mysql, postgres, run, sqlite, statement};
use crate::lexer::{Kind, MYSQL, POSTGRES, Rules, SQLITE, tokens};

/// Statements per server and SQL mode.
const CASES: u32 = 1_000;
/// Delimiters of expressions, and of comments before an expression.
const DELIMITERS: [(&str, &str); 22] = [
    ("'", "'"),
    ("e'", "'"),
    ("E'", "'\n'a'"),
    ("E'a'\n -- b\n'", "'"),
    ("u&'", "'"),
    ("n'", "'"),
    ("1 \"", "\""),
    ("1 u&\"", "\""),
    ("1 `", "`"),
    ("1 [", "]"),
    ("$$", "$$"),
    ("$a$", "$a$"),
    ("/*", "*/ 1"),
    ("/* /*", "*/ 1"),
    ("/* /*", "*/ */ 1"),
    ("--", "\n 1"),
    ("-- ", "\n 1"),
    ("--\x01", "\n 1"),
    ("--\x7f", "\n 1"),
    ("-- ", "\r 1"),
    ("# ", "\n 1"),
    ("1.5", ""),
];
/// Fragments between the delimiters. `P` stands for a parameter.
const FRAGMENTS: [&str; 27] = [
    "'",
    "''",
    "\\",
    "\\'",
    "\\\\",
    "\"",
    "\\\"",
    "`",
    "]",
    "$$",
    "$a$",
    "$b$",
    "/*",
    "*/",
    "--",
    "-- ",
    "\n",
    "\r",
    "a",
    "é",
    "P",
    ",P,",
    "',P,'",
    "\",P,1 \"",
    "`,P,1 `",
    "*/ P,/*",
    "\n P,-- ",
];

fn statements(dialect: Dialect) -> impl Strategy<Value = String> {
    let fragments = prop::collection::vec(select(&FRAGMENTS[..]), 0..4).prop_map(|fragments| fragments.concat());
    let quoted =
        (select(&DELIMITERS[..]), fragments).prop_map(|((open, close), inner)| format!("{open}{inner}{close}"));
    let expressions = prop::collection::vec(quoted, 1..4).prop_map(|expressions| expressions.join(", "));
    expressions.prop_map(move |expressions| match dialect {
        Dialect::Postgres => format!("select {expressions}").replace('P', "$1::text"),
        // In SQLite, `$a` is a parameter, too.
        Dialect::Sqlite | Dialect::Mysql => format!("select {expressions}").replace('$', "").replace('P', "?"),
    })
}

/// Returns the number of parameters that the server finds in a statement.
async fn found_by_server(slot: &Slot, text: &str) -> Result<usize, Problem> {
    let mut claimed = Claimed::of(slot)?;
    let found = match claimed.start()? {
        Pooled::Postgres(session) => postgres::count_parameters(session, text).await,
        Pooled::Sqlite(session) => sqlite::count_parameters(session, text).await,
        Pooled::Mysql(session) => mysql::count_parameters(session, text).await,
    };
    claimed.finish();
    found
}

/// Returns the number of parameters that the lexer finds: of those in PostgreSQL, the highest one.
fn found_by_lexer(text: &str, rules: &'static Rules) -> usize {
    let parameters = tokens(text, rules).filter(|token| token.kind == Kind::Parameter);
    match parameters.clone().filter_map(|token| token.text.strip_prefix('$')?.parse().ok()).max() {
        Some(highest) => highest,
        None => parameters.count(),
    }
}

/// Compares the lexer with the server, in a session with this SQL mode.
fn the_lexer_agrees(server: &Server, mode: Option<&str>, rules: &'static Rules) {
    let slot = server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        if let Some(mode) = mode {
            run(&slot, &format!("set sql_mode = '{mode}'")).await;
        }
        slot
    });
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (accepted, with_parameters) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let checked = runner.run(&statements(server.dialect), |text| {
        if let Ok(found) = server.runtime.block_on(found_by_server(&slot, &text)) {
            prop_assert_eq!(found_by_lexer(&text, rules), found, "{:?} in the mode {:?}", text, mode);
            accepted.set(accepted.get() + 1);
            with_parameters.set(with_parameters.get() + u32::from(found > 0));
        }
        Ok(())
    });
    checked.unwrap();
    // A server that accepts no statement would agree.
    let (accepted, with_parameters) = (accepted.get(), with_parameters.get());
    assert!(accepted > CASES / 20 && with_parameters > CASES / 200, "{mode:?}: {accepted}, {with_parameters}");
    server.runtime.block_on(async { drop(slot) });
}

#[test]
fn in_postgres_the_lexer_agrees() {
    let Some(server) = Server::postgres() else { return };
    the_lexer_agrees(&server, None, &POSTGRES);
}

#[test]
fn in_sqlite_the_lexer_agrees() {
    the_lexer_agrees(&Server::memory(), None, &SQLITE);
}

#[test]
fn in_mysql_the_lexer_agrees_in_each_mode() {
    let Some(server) = Server::mysql() else { return };
    // The mode `ORACLE` of MariaDB includes `ANSI_QUOTES`.
    for (mode, rules) in [
        ("", &MYSQL[0]),
        ("ANSI_QUOTES", &MYSQL[1]),
        ("NO_BACKSLASH_ESCAPES", &MYSQL[2]),
        ("ORACLE", &MYSQL[1]),
        ("ORACLE,NO_BACKSLASH_ESCAPES", &MYSQL[2]),
    ] {
        the_lexer_agrees(&server, Some(mode), rules);
    }
}

/// A number or `\N` ends without white space, so it does not hide the keyword after it.
#[test]
fn in_mysql_a_keyword_directly_after_a_number_is_found() {
    let Some(server) = Server::mysql() else { return };
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadOnly).await;
        for (text, message) in [
            ("select 1 from information_schema.tables where 1=1.5for update", "locks the rows"),
            ("select 1 from information_schema.tables where 1=.5for update", "locks the rows"),
            ("select 1 from information_schema.tables where 1=1e0for update", "locks the rows"),
            ("select 1 from information_schema.tables where \\Nfor update", "locks the rows"),
            ("select \\Ninto outfile '/tmp/blockyard-canary'", "writes a file"),
            ("select 1.5into outfile '/tmp/blockyard-canary'", "writes a file"),
        ] {
            found_by_server(&slot, text).await.unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
            let refused = execute(Claimed::of(&slot).unwrap(), statement(text, &[], Access::ReadOnly)).await;
            let refused = refused.unwrap_err();
            assert!(refused.message.contains(message), "{text}: {refused:?}");
        }
    });
}
