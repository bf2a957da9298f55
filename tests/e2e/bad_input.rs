//! Each mistake has a specific message and exit code, and leaves the yard unchanged.

use blockyard_tests::{TestYard, bundle};
use expect_test::{Expect, expect};

const GOOD: [&str; 4] = ["--set", "dialect=sqlite", "--set", "database=/tmp/x.db"];

/// Checks the message of a command that must fail, and that the content of the yard is unchanged.
fn check(yard: &TestYard, code: i32, arguments: &[&str], expected: Expect) {
    let before = yard.run(&["list", "--json"]).stdout;
    expected.assert_eq(&yard.fails(code, arguments));
    assert_eq!(yard.run(&["list", "--json"]).stdout, before, "{arguments:?} changed the yard");
}

fn create<'a>(address: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ["create", address].iter().chain(more).copied().collect()
}

#[test]
fn errors_for_addresses_and_names() {
    let yard = TestYard::with_sqlite();
    check(
        &yard,
        2,
        &create("sql-database/Bad_Name", &GOOD),
        expect![[r#"
        error: block name `Bad_Name` has the character `B` at position 1; names are 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit
    "#]],
    );
    check(
        &yard,
        2,
        &create("flights", &GOOD),
        expect![[r#"
        error: `flights` is not an address; an address is `TYPE/NAME`, for example `sql-database/flights`
    "#]],
    );
    check(
        &yard,
        2,
        &create("sql-database/a@2", &GOOD),
        expect![[r#"
        error: `sql-database/a@2` contains a revision, but only a block is accepted; write `TYPE/NAME`
    "#]],
    );
    check(
        &yard,
        6,
        &create("sql-database/flights", &GOOD),
        expect![[r#"
        error: block `sql-database/flights` already exists
          hint: change it with `blockyard set sql-database/flights`, or choose another name
    "#]],
    );
    check(
        &yard,
        3,
        &create("sql-databse/x", &GOOD),
        expect![[r#"
        error: no installed bundle has a block type `sql-databse`
          hint: did you mean `sql-database`?
    "#]],
    );
    check(
        &yard,
        3,
        &["show", "sql-database/flight"],
        expect![[r#"
        error: block `sql-database/flight` not found
          hint: did you mean `sql-database/flights`?
    "#]],
    );
    check(
        &yard,
        3,
        &["show", "sql-database/flights@7"],
        expect![[r#"
        error: block `sql-database/flights` has no revision 7; its newest is 1
    "#]],
    );
    check(
        &yard,
        3,
        &["show", "gcs-bucket/zoo"],
        expect![[r#"
        error: no installed bundle has a block type `gcs-bucket`
          hint: list the types with `blockyard types`, or install a bundle with `blockyard install NAME`
    "#]],
    );
}

#[test]
fn errors_for_documents() {
    let yard = TestYard::with_sqlite();
    check(
        &yard,
        4,
        &create("sql-database/x", &["--set", "dialect=sqlit", "--set", "databse=/tmp/x.db", "--set", "port=many"]),
        expect![[r#"
            error: block `sql-database/x` is not valid
              /database: is missing, and it is required
              /databse: unknown field `databse`; did you mean `database`?
              /dialect: must be one of `sqlite`, `postgres`, `mysql`; did you mean `sqlite`?
              /port: must be of type `integer` or `null`, not `string`
        "#]],
    );
    check(
        &yard,
        4,
        &create("sql-database/x", &["--set", "dialect=sqlite", "--set", "database=x.db", "--set", "host=h"]),
        expect![[r#"
            error: block `sql-database/x` is not valid
              /database: must be an absolute path, or `:memory:`, so that it does not depend on the current directory
              /host: is not supported for SQLite
        "#]],
    );
    check(
        &yard,
        2,
        &create("sql-database/x", &["--set", "dialect=postgres", "--set", "password=hunter22"]),
        expect![[r#"
        error: field `password` is a secret; on a command line it would stay in the shell's history
          hint: use `--secret password` to be prompted, `--secret password=-` for standard input, or `--secret password=env:NAME`
    "#]],
    );
    check(
        &yard,
        2,
        &create("sql-database/x", &["--set", "dialect=postgres", "--secret", "password=hunter22"]),
        expect![[r#"
        error: the value after `--secret password=` is not a secret source
          hint: do not pass a secret on the command line, because the shell records it in its history
          hint: use `--secret password` to be prompted, `password=-` for standard input, `password=@FILE`, `password=env:NAME` or `password=file:PATH`
    "#]],
    );
    check(
        &yard,
        2,
        &create("sql-database/x", &["--set", "dialect=postgres", "--secret", "password"]),
        expect![[r#"
        error: cannot prompt for the secret `password` without a terminal
          hint: use `--secret password=-` for standard input, `password=@FILE`, `password=env:NAME` or `password=file:PATH`
    "#]],
    );
    check(
        &yard,
        4,
        &create("sql-database/x", &["--set", "dialect=postgres", "--secret", "pasword=env:PW"]),
        expect![[r#"
        error: the list of secrets is not valid
          /pasword: is not a secret field of `sql-database`; did you mean `password`?
    "#]],
    );
    check(
        &yard,
        2,
        &["set", "sql-database/flights"],
        expect![[r#"
        error: no changes specified
          hint: use `--set FIELD=VALUE`, `--secret FIELD`, `--json-config FILE` or `--unset FIELD`
    "#]],
    );
    check(
        &yard,
        3,
        &["set", "sql-database/flights", "--unset", "databas"],
        expect![[r#"
        error: the block has no field `databas` to unset
          hint: did you mean `database`?
    "#]],
    );
    let masked = yard.run_with_input(&["set", "sql-database/flights", "--secret", "password=-"], "********");
    assert_eq!(masked.code, 4, "{}", masked.stderr);
}

#[test]
fn call_names_a_missing_secret_source() {
    let yard = TestYard::new();
    yard.ok(&create(
        "sql-database/w",
        &[
            "--set",
            "dialect=postgres",
            "--set",
            "host=127.0.0.1",
            "--set",
            "database=d",
            "--set",
            "username=u",
            "--secret",
            "password=env:NO_SUCH_VARIABLE",
        ],
    ));
    check(
        &yard,
        5,
        &["query", "sql-database/w", "select 1"],
        expect![[r#"
        error: the secret `password` of block `sql-database/w` cannot be read from `env:NO_SUCH_VARIABLE`
          caused by: the environment variable `NO_SUCH_VARIABLE` is not set
          hint: set `NO_SUCH_VARIABLE` in the environment of Blockyard
    "#]],
    );
}

#[test]
fn errors_for_calls() {
    let yard = TestYard::with_sqlite();
    check(
        &yard,
        3,
        &["call", "sql-database/flights", "fetch-on"],
        expect![[r#"
        error: type `sql-database` has no operation `fetch-on`
          hint: did you mean `fetch-one`?
          hint: it has `query`, `execute`, `execute-many`, `fetch-one`, `fetch-many`, `fetch-all`, `script`, `load`, `unload`, `tables`, `describe-table`
    "#]],
    );
    check(
        &yard,
        2,
        &["call", "sql-database/flights"],
        expect![[r#"
        error: no operation specified for `sql-database/flights`
          hint: choose one of `query`, `execute`, `execute-many`, `fetch-one`, `fetch-many`, `fetch-all`, `script`, `load`, `unload`, `tables`, `describe-table`
    "#]],
    );
    check(
        &yard,
        4,
        &["call", "sql-database/flights", "fetch-many", "--args", r#"{"statment": "select 1", "size": "x"}"#],
        expect![[r#"
        error: the call of `fetch-many` is not valid
          /size: must be of type `integer`, not `string`
          /statement: is missing, and it is required
          /statment: unknown field `statment`; did you mean `statement`?
    "#]],
    );
    check(
        &yard,
        1,
        &["query", "sql-database/flights", "select 1"],
        expect![[r#"
        error: database file `FOLDER/flights.db` does not exist
          hint: run a statement with `execute`, which creates the file
    "#]],
    );
    yard.ok(&["execute", "sql-database/flights", "create table t (a integer)"]);
    check(
        &yard,
        1,
        &["query", "sql-database/flights", "selec 1"],
        expect![[r#"
        error: near "selec": syntax error
    "#]],
    );
    check(
        &yard,
        1,
        &["query", "sql-database/flights", "select :a", "--param", "b=1"],
        expect![[r#"
        error: the statement has parameters without a value: `:a`
    "#]],
    );
}

#[test]
fn errors_for_yards_and_keys() {
    let yard = TestYard::empty();
    expect![[r#"
        error: no yard found at `YARD`
          hint: create one with `blockyard init`, or name another with `--yard`
    "#]]
    .assert_eq(&yard.fails(3, &["list"]));
    yard.ok(&["init", "--key", "file"]);
    expect![[r#"
        error: a yard already exists at `YARD`
          hint: use it as it is, or name another address with `--yard`
    "#]]
    .assert_eq(&yard.fails(6, &["init"]));

    let key = std::fs::read(yard.path("yard.key")).expect("the key");
    std::fs::remove_file(yard.path("yard.key")).expect("gone");
    expect![[r#"
        error: key file `FOLDER/yard.key` does not exist
          hint: give the yard's key with BLOCKYARD_KEY (base64) or BLOCKYARD_KEY_FILE
    "#]]
    .assert_eq(&yard.fails(5, &["list"]));
    std::fs::write(yard.path("yard.key"), &key).expect("a file");
    assert!(yard.fails(5, &["list"]).contains("can be read by others (mode 644)"));

    let database = std::fs::read(yard.path("yard.db")).expect("the yard");
    std::fs::write(yard.path("yard.db"), "this is no database, and it is long enough to look at").expect("a file");
    expect![[r#"
        error: `YARD` is not a yard
          hint: name the yard's own file with `--yard sqlite:PATH`
    "#]]
    .assert_eq(&yard.fails(4, &["list"]));
    std::fs::write(yard.path("yard.db"), &database[..database.len() / 2]).expect("a file");
    let damaged = yard.fails(4, &["list"]);
    assert!(damaged.contains("the yard `YARD` is damaged"), "{damaged}");
    expect![[r#"
        error: `mysql:…` is not the address of a yard
          hint: use the form `sqlite:PATH` or `postgres://USER@HOST/DATABASE?schema=NAME`
    "#]]
    .assert_eq(&yard.fails(2, &["list", "--yard", "mysql://x"]));
}

#[test]
fn foreign_database_is_not_changed() {
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", "sql-database/flights", "create table t (a integer)"]);
    let before = std::fs::read(yard.path("flights.db")).expect("the file");
    let url = format!("sqlite:{}", yard.path("flights.db").display());
    assert!(yard.fails(4, &["list", "--yard", &url]).contains("is not a yard"));
    let after = std::fs::read(yard.path("flights.db")).expect("the file");
    // SQLite records a change of the journal mode in the header. The content is unchanged.
    assert_eq!(before.len(), after.len());
    assert_eq!(before[100..], after[100..]);
}

#[test]
fn errors_for_bundles() {
    let yard = TestYard::new();
    std::fs::write(yard.path("text.wasm"), "hello").expect("a file");
    check(
        &yard,
        4,
        &["install", "text.wasm", "--yes"],
        expect![[r#"
        error: not a bundle: not a WebAssembly component
          hint: build the bundle with `blockyard build`
    "#]],
    );
    std::fs::write(yard.path("module.wasm"), b"\0asm\x01\0\0\0").expect("a file");
    check(
        &yard,
        4,
        &["install", "module.wasm", "--yes"],
        expect![[r#"
        error: not a bundle: a core WebAssembly module, not a component
          hint: build the bundle with `blockyard build`
    "#]],
    );
    std::fs::write(yard.path("empty.wasm"), b"\0asm\x0d\0\x01\0").expect("a file");
    let refused = yard.fails(4, &["install", "empty.wasm", "--yes"]);
    assert!(refused.starts_with("error: the component is not a bundle"), "{refused}");
    check(
        &yard,
        3,
        &["install", "nowhere.wasm", "--yes"],
        expect![[r#"
        error: `nowhere.wasm` cannot be read
          caused by: No such file or directory (os error 2)
    "#]],
    );
    check(
        &yard,
        3,
        &["install", "sql", "--yes"],
        expect![[r#"
        error: no registry is configured
          hint: name a registry with `--registry PATH`, or in `[registries]` of your configuration
          hint: a file or a crate is named by its path, as in `./sql`
    "#]],
    );
    check(
        &yard,
        3,
        &["install", "./nowhere", "--yes"],
        expect![[r#"
        error: `./nowhere` is not the folder of a crate: it has no Cargo.toml
    "#]],
    );
    // A bundle without a manifest section.
    let bytes = std::fs::read(bundle("sql")).expect("the bundle");
    let marker = b"blockyard:manifest";
    let at = bytes.windows(marker.len()).rposition(|window| window == marker).expect("the section");
    let mut renamed = bytes.clone();
    renamed[at..at + marker.len()].copy_from_slice(b"somebody:something");
    std::fs::write(yard.path("bare.wasm"), &renamed).expect("a file");
    check(
        &yard,
        4,
        &["install", "bare.wasm", "--yes"],
        expect![[r#"
        error: the component has no manifest (custom section `blockyard:manifest`)
          hint: build the bundle with `blockyard build`
    "#]],
    );
    // A manifest that requests fewer capabilities than the code.
    let mut lying = bytes.clone();
    let text = b"\"clock\"";
    let at = lying.windows(text.len()).rposition(|window| window == text).expect("the capability");
    lying[at..at + text.len()].copy_from_slice(b"\"log\"  ");
    std::fs::write(yard.path("lying.wasm"), &lying).expect("a file");
    let refused = yard.fails(4, &["install", "lying.wasm", "--yes"]);
    assert!(refused.contains("differs from its embedded manifest"), "{refused}");
    // A truncated file is rejected without a crash, regardless of the position.
    for part in 1..20 {
        std::fs::write(yard.path("part.wasm"), &bytes[..bytes.len() * part / 20]).expect("a file");
        yard.fails(4, &["install", "part.wasm", "--yes"]);
    }
}

#[test]
fn install_without_approval_fails() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    let output = yard.run(&["install", &bundle("sql")]);
    assert_eq!(output.code, 2, "{}", output.stderr);
    assert!(
        output.stderr.contains("open the SQLite, PostgreSQL and MySQL databases that its blocks name"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("confirm with `--yes`"), "{}", output.stderr);
    assert_eq!(yard.json(&["bundles"])["bundles"].as_array().map(Vec::len), Some(0));
}

#[test]
fn errors_are_json_on_request() {
    let yard = TestYard::with_sqlite();
    let refused = yard.fails(3, &["show", "sql-database/flight", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&refused).expect("one JSON document");
    assert_eq!(error["error"]["kind"], "not-found");
    assert_eq!(error["error"]["hints"][0], "did you mean `sql-database/flights`?");
}

#[test]
fn usage_errors_are_json_on_request() {
    let yard = TestYard::empty();
    for arguments in [&["bogus", "--json"][..], &["check", "--json"], &["list", "--limit", "-1", "--json"]] {
        let output = yard.run(arguments);
        assert_eq!(output.code, 2, "{}", output.stderr);
        let error: serde_json::Value = serde_json::from_str(&output.stderr).expect("one JSON document");
        assert_eq!(error["error"]["kind"], "usage");
    }
}

#[test]
fn connection_options_are_validated() {
    let yard = TestYard::new();
    let address = [
        "sql-database/x",
        "--set",
        "dialect=postgres",
        "--set",
        "host=h",
        "--set",
        "database=d",
        "--set",
        "username=u",
    ];
    let arguments: Vec<&str> = ["create"]
        .into_iter()
        .chain(address)
        .chain(["--set", "options.sslmod=x", "--set", "options.sslmode=y"])
        .collect();
    check(
        &yard,
        4,
        &arguments,
        expect![[r#"
        error: block `sql-database/x` is not valid
          /options/sslmod: is not a known option; the options are `sslmode` and `application_name`
          /options/sslmode: must be one of `disable`, `prefer`, `require`, `verify-ca`, `verify-full`
    "#]],
    );
}

#[test]
fn help_is_shown_after_an_invalid_address() {
    let yard = TestYard::new();
    for arguments in [&["show", "no-slash", "--help"][..], &["--json", "create", "A/B", "-h"], &["set", "-h", "x"]] {
        let help = yard.ok(arguments);
        assert!(help.contains("Usage: blockyard "), "{arguments:?}: {help}");
    }
}
