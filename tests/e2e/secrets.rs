//! Secrets: sealed, used, and never seen.

use blockyard_tests::TestYard;
use serde_json::json;

const FLAGS: [&str; 8] =
    ["--set", "dialect=postgres", "--set", "host=127.0.0.1", "--set", "database=d", "--set", "username=u"];

fn create_with(yard: &TestYard, name: &str, secret: &str) {
    let address = format!("sql-database/{name}");
    let arguments: Vec<&str> = ["create", &address, "--secret", "password=-"].into_iter().chain(FLAGS).collect();
    let made = yard.run_with_input(&arguments, secret);
    assert_eq!(made.code, 0, "{}", made.stderr);
}

#[test]
fn a_secret_is_in_no_file_and_no_output() {
    let yard = TestYard::new();
    let secret = "zebra-Crossing+42/x";
    create_with(&yard, "w", secret);
    yard.ok(&["set", "sql-database/w", "--set", "port=1"]);
    let mut said = String::new();
    for arguments in [
        &["show", "sql-database/w"][..],
        &["show", "sql-database/w@1", "--json"],
        &["history", "sql-database/w", "--json"],
        &["list", "--json", "-v", "-v"],
        &["audit", "--json"],
        &["query", "sql-database/w", "select 1", "-v", "-v"],
        &["check", "sql-database/w", "--json"],
        &["create", "sql-database/w", "--set", "dialect=sqlite"],
    ] {
        let ran = yard.run(arguments);
        said.push_str(&ran.stdout);
        said.push_str(&ran.stderr);
    }
    assert!(said.contains("********"), "{said}");
    for form in [secret.to_owned(), "emVicmEtQ3Jvc3NpbmcrNDIveA".to_owned(), "zebra-Crossing%2B42%2Fx".to_owned()] {
        assert!(!said.contains(&form), "{said}");
        assert_eq!(yard.any_file_contains(&form), None);
    }
}

#[test]
fn odd_secrets_are_kept() {
    let yard = TestYard::new();
    for (name, secret) in [
        ("lines", "-----BEGIN KEY-----\nline \"two\" 'quoted'\n-----END KEY-----".to_owned()),
        ("long", "x".repeat(64 << 10)),
        ("empty", String::new()),
        ("unicode", "pässwörd🦓".to_owned()),
    ] {
        create_with(&yard, name, &secret);
        // A revision that is made from it opens and seals it again.
        yard.ok(&["set", &format!("sql-database/{name}"), "--set", "port=1"]);
        let shown = yard.json(&["show", &format!("sql-database/{name}")]);
        assert_eq!(shown["config"]["password"], json!("********"), "{name}");
    }
}

#[test]
fn a_secret_in_a_file_is_stored_or_sourced() {
    let yard = TestYard::new();
    std::fs::write(yard.path("password"), "from-a-file-9127").expect("a file");
    let stored: Vec<&str> =
        ["create", "sql-database/stored", "--secret", "password=@password"].into_iter().chain(FLAGS).collect();
    yard.ok(&stored);
    std::fs::remove_file(yard.path("password")).expect("gone");
    assert_eq!(yard.any_file_contains("from-a-file-9127"), None);

    let source = format!("password=file:{}", yard.path("later").display());
    let sourced: Vec<&str> = ["create", "sql-database/sourced", "--secret", &source].into_iter().chain(FLAGS).collect();
    yard.ok(&sourced);
    let refused = yard.fails(5, &["query", "sql-database/sourced", "select 1"]);
    assert!(refused.contains("cannot be read from `file:FOLDER/later`"), "{refused}");
    let shown = yard.json(&["show", "sql-database/sourced"]);
    assert_eq!(shown["config"]["password"]["$source"], json!(format!("file:{}", yard.path("later").display())));
}

#[test]
fn a_moved_ciphertext_does_not_open() {
    let yard = TestYard::new();
    create_with(&yard, "a", "first-secret-1");
    create_with(&yard, "b", "second-secret-2");
    if !blockyard_tests::available("BLOCKYARD_TEST_SQLITE3") {
        return;
    }
    let mut sqlite = std::process::Command::new("sqlite3");
    sqlite
        .arg(yard.path("yard.db"))
        .arg("update secrets set sealed = (select sealed from secrets where block = 1) where block = 2");
    assert_eq!(blockyard_tests::ran(&mut sqlite, None).code, 0);
    let refused = yard.fails(5, &["query", "sql-database/b", "select 1"]);
    assert!(refused.contains("the sealed value does not open"), "{refused}");
}

#[test]
fn the_database_itself_refuses_to_overwrite() {
    let yard = TestYard::with_sqlite();
    if !blockyard_tests::available("BLOCKYARD_TEST_SQLITE3") {
        return;
    }
    for statement in [
        "update revisions set config = '{}'",
        "delete from revisions",
        "update blocks set name = 'x'",
        "delete from audit",
    ] {
        let mut sqlite = std::process::Command::new("sqlite3");
        sqlite.arg(yard.path("yard.db")).arg(statement);
        assert_ne!(blockyard_tests::ran(&mut sqlite, None).code, 0, "{statement}");
    }
}

#[test]
fn a_changed_configuration_is_noticed_before_the_password_goes_there() {
    let yard = TestYard::new();
    create_with(&yard, "w", "first-secret-1");
    if !blockyard_tests::available("BLOCKYARD_TEST_SQLITE3") {
        return;
    }
    let mut sqlite = std::process::Command::new("sqlite3");
    sqlite
        .arg(yard.path("yard.db"))
        .arg("drop trigger revisions_stay; update revisions set config = replace(config, '127.0.0.1', '127.0.0.2')");
    assert_eq!(blockyard_tests::ran(&mut sqlite, None).code, 0);
    for arguments in
        [&["query", "sql-database/w", "select 1"][..], &["show", "sql-database/w"], &["check", "sql-database/w"]]
    {
        let refused = yard.fails(5, arguments);
        assert!(refused.contains("block `sql-database/w@1` was changed by something else than Blockyard"), "{refused}");
    }
}

#[test]
fn changed_bytes_of_a_bundle_are_noticed() {
    let yard = TestYard::with_sqlite();
    if !blockyard_tests::available("BLOCKYARD_TEST_SQLITE3") {
        return;
    }
    let mut sqlite = std::process::Command::new("sqlite3");
    sqlite.arg(yard.path("yard.db")).arg("update bundle_bytes set bytes = cast(bytes || x'00' as blob)");
    assert_eq!(blockyard_tests::ran(&mut sqlite, None).code, 0);
    let refused = yard.fails(5, &["query", "sql-database/flights", "select 1"]);
    assert!(refused.contains("the bytes of bundle `sql` in the yard are not those that were installed"), "{refused}");
}
