//! The yard's key: behavior without a key, with a wrong one, and on a second machine.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_tests::{Backend, CommandOutput, TestYard, available, bundle, on_both, run_command};
use serde_json::json;

on_both!(
    explicit_key_is_not_rotated_to_a_default_location,
    missing_key_error_names_the_searched_locations,
    wrong_key_is_rejected,
    key_file_readable_by_others_is_rejected,
    key_status_requires_no_key,
    key_is_not_stored_in_the_yard,
);

/// Runs a command with an environment variable that selects the key.
fn with(yard: &TestYard, variable: &str, value: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> CommandOutput {
    run_command(yard.command(arguments).env(variable, value), None)
}

fn missing_key_error_names_the_searched_locations(yard: &TestYard) {
    yard.keeper("ada", "badge");
    yard.ok(&["export", "--out", "blocks.toml"]);
    let before = yard.json(&["audit"]);
    let (key, away) = (yard.key_file(), yard.path("away.key"));
    std::fs::rename(&key, &away).expect("moved");
    let expected = yard.without_locations(&format!("key file `{}` does not exist", key.display()));
    let zoo = bundle("zoo");
    let commands: [&[&str]; 19] = [
        &["list"],
        &["show", "zoo-keeper/ada"],
        &["history", "zoo-keeper/ada"],
        &["create", "zoo-keeper/bob", "--set", "name=Bob"],
        &["set", "zoo-keeper/ada", "--set", "name=Bob"],
        &["rollback", "zoo-keeper/ada@1"],
        &["delete", "zoo-keeper/ada"],
        &["purge", "zoo-keeper/ada", "--yes"],
        &["reveal", "zoo-keeper/ada", "badge", "--yes"],
        &["call", "zoo-keeper/ada", "introduce"],
        &["check", "zoo-keeper/ada"],
        &["export"],
        &["plan", "blocks.toml"],
        &["apply", "blocks.toml"],
        &["key", "rotate"],
        &["revoke", "zoo", "reveal"],
        &["install", &zoo, "--yes"],
        &["audit"],
        &["types"],
    ];
    for arguments in commands {
        let refused = yard.fails(5, arguments);
        assert!(refused.contains(&expected), "{arguments:?}: {refused}");
        assert!(refused.contains("give the yard's key with BLOCKYARD_KEY (base64) or BLOCKYARD_KEY_FILE"), "{refused}");
    }
    let doctor = yard.run(&["doctor"]);
    assert_eq!(doctor.code, 1);
    assert!(yard.without_locations(&doctor.stdout).contains(&expected), "{}", doctor.stdout);
    assert!(!key.exists(), "no other key was created");
    std::fs::rename(&away, &key).expect("moved back");
    assert_eq!(yard.json(&["audit"]), before);
}

fn wrong_key_is_rejected(yard: &TestYard) {
    let write = |name: &str, text: &[u8]| {
        let path = yard.path(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        path.display().to_string()
    };
    let other = STANDARD.encode([7; 32]);
    let not_base64 = "l3t-me-in!";
    let key_of_31 = STANDARD.encode([7; 31]);
    for (variable, value, expected) in [
        ("BLOCKYARD_KEY", other.clone(), "the key from BLOCKYARD_KEY is not this yard's key"),
        ("BLOCKYARD_KEY", not_base64.to_owned(), "BLOCKYARD_KEY is not a key\n  caused by: the key is not base64"),
        ("BLOCKYARD_KEY", key_of_31.clone(), "the key has 31 bytes, but must have 32"),
        (
            "BLOCKYARD_KEY_FILE",
            write("other.key", other.as_bytes()),
            "the key from `FOLDER/other.key` is not this yard's",
        ),
        (
            "BLOCKYARD_KEY_FILE",
            write("text.key", not_base64.as_bytes()),
            "FOLDER/text.key\n  caused by: the key is not base64",
        ),
        ("BLOCKYARD_KEY_FILE", write("short.key", key_of_31.as_bytes()), "the key has 31 bytes, but must have 32"),
        ("BLOCKYARD_KEY_FILE", write("bytes.key", &[0xff; 32]), "FOLDER/bytes.key"),
        ("BLOCKYARD_KEY_FILE", write("empty.key", b""), "the key has 0 bytes, but must have 32"),
        (
            "BLOCKYARD_KEY_FILE",
            yard.path("none.key").display().to_string(),
            "key file `FOLDER/none.key` does not exist",
        ),
        ("BLOCKYARD_KEY_FILE", yard.path(".").display().to_string(), "key file `FOLDER/.`"),
    ] {
        let refused = with(yard, variable, &value, &["create", "zoo-keeper/ada", "--set", "name=Ada"]);
        let message = yard.without_locations(&refused.stderr);
        assert_eq!(refused.code, 5, "{value}: {message}");
        assert!(message.contains(expected), "{value}: {message}");
        assert!(message.contains("  hint: "), "{value}: {message}");
        for text in [&other, not_base64, &key_of_31] {
            assert!(!message.contains(text), "{message}");
        }
    }
    let own = std::fs::read_to_string(yard.key_file()).expect("the key");
    assert_eq!(with(yard, "BLOCKYARD_KEY", own.trim(), &["list", "--count"]).stdout, "0\n");
}

fn key_file_readable_by_others_is_rejected(yard: &TestYard) {
    let key = yard.key_file();
    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("chmod");
        let path = yard.without_locations(&key.display().to_string());
        let refused = yard.fails(5, &["create", "zoo-keeper/ada", "--set", "name=Ada"]);
        assert!(refused.contains(&format!("key file `{path}` can be read by others (mode {mode:o})")), "{refused}");
        assert!(refused.contains(&format!("run `chmod 600 {path}`")), "{refused}");
    }
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    assert_eq!(yard.ok(&["list", "--count"]), "0\n");
}

fn key_status_requires_no_key(yard: &TestYard) {
    yard.keeper("ada", "badge");
    let key = yard.key_file();
    let with_it = yard.json(&["key", "status"]);
    assert_eq!(with_it["location"], json!(format!("file:{}", key.display())));
    let found = |status: &serde_json::Value| json!([status["available"], status["reason"], status["blocks"]]);
    assert_eq!(found(&with_it), json!([true, null, 1]));
    std::fs::remove_file(&key).expect("gone");
    let without = yard.run(&["key", "status", "--json"]);
    assert_eq!(without.code, 5, "{}", without.stderr);
    let without: serde_json::Value = serde_json::from_str(&without.stdout).expect("JSON");
    let reason = format!("key file `{}` does not exist", key.display());
    assert_eq!(found(&without), json!([false, reason, 1]));
    assert_eq!(without["key_id"], with_it["key_id"]);
    assert!(yard.run(&["key", "status"]).stdout.contains("not available: "));
    let wrong = with(yard, "BLOCKYARD_KEY", STANDARD.encode([7; 32]), &["key", "status"]);
    assert!(wrong.stdout.contains("the key from BLOCKYARD_KEY is not this yard's key"), "{}", wrong.stdout);
}

fn key_is_not_stored_in_the_yard(yard: &TestYard) {
    yard.keeper("ada", "badge");
    let key = std::fs::read_to_string(yard.key_file()).expect("the key");
    let bytes = STANDARD.decode(key.trim()).expect("base64");
    let rows: Vec<u8> = match yard.backend() {
        Backend::Sqlite => std::fs::read(yard.path("yard.db")).expect("the yard"),
        Backend::Postgres => ["yard", "blocks", "revisions", "secrets", "audit"]
            .iter()
            .flat_map(|table| yard.sql(&format!("select t::text from {table} t")).expect("its rows").into_bytes())
            .collect(),
    };
    let hex = hex::encode(&bytes);
    for form in [key.trim().as_bytes(), hex.as_bytes(), &bytes] {
        assert!(!rows.windows(form.len()).any(|window| window == form), "the key is in the yard");
    }
}

/// Runs a command as on another machine: the same server, but another home folder.
fn elsewhere(yard: &TestYard, arguments: &[&str], key_file: Option<&Path>) -> CommandOutput {
    let mut command: Command = yard.command(arguments);
    command.env("HOME", yard.path("elsewhere"));
    if let Some(file) = key_file {
        command.env("BLOCKYARD_KEY_FILE", file);
    }
    run_command(&mut command, None)
}

#[test]
fn second_machine_requires_the_key() {
    if !available("BLOCKYARD_TEST_POSTGRES_PORT") {
        return;
    }
    let yard = TestYard::on(Backend::Postgres);
    yard.keeper("ada", "shared badge");
    let reveal = ["reveal", "zoo-keeper/ada", "badge", "--yes"];
    let key = yard.key_file();
    let folder = yard.path("elsewhere/.local/share/blockyard/keys");
    let own = folder.join(key.file_name().expect("a name"));

    let without = elsewhere(&yard, &reveal, None);
    let expected = format!("key file `{}` does not exist", own.display());
    assert_eq!((without.code, without.stderr.contains(&expected)), (5, true), "{}", without.stderr);
    assert!(!own.exists(), "no other key was created");

    assert_eq!(elsewhere(&yard, &reveal, Some(&key)).stdout, "shared badge");

    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::copy(&key, &own).expect("copied");
    assert_eq!(elsewhere(&yard, &reveal, None).stdout, "shared badge");
    let saved = elsewhere(&yard, &["create", "zoo-keeper/bob", "--set", "name=Bob"], None);
    assert_eq!(saved.code, 0, "{}", saved.stderr);
    assert_eq!(yard.json(&["show", "zoo-keeper/bob"])["config"]["name"], json!("Bob"));

    std::fs::write(&own, STANDARD.encode([7; 32])).expect("another key");
    let wrong = elsewhere(&yard, &reveal, None);
    assert_eq!(wrong.code, 5);
    let expected = format!("the key from `file:{}` is not this yard's key", own.display());
    assert!(wrong.stderr.contains(&expected), "{}", wrong.stderr);
    // If another key file is requested explicitly, the key in the default location is not used.
    assert_eq!(elsewhere(&yard, &reveal, Some(&yard.path("none.key"))).code, 5);
}

fn explicit_key_is_not_rotated_to_a_default_location(yard: &TestYard) {
    yard.keeper("ada", "badge");
    let elsewhere = yard.path("elsewhere.key");
    std::fs::rename(yard.key_file(), &elsewhere).expect("moved");
    let with_key =
        |arguments: &[&str]| run_command(yard.command(arguments).env("BLOCKYARD_KEY_FILE", &elsewhere), None);
    let refused = with_key(&["key", "rotate"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("so the location for the new key is unknown"), "{}", refused.stderr);
    assert_eq!(with_key(&["reveal", "zoo-keeper/ada", "badge", "--yes"]).stdout, "badge");
    // With an explicit destination, the rotation succeeds.
    let rotated = with_key(&["key", "rotate", "--to", "file"]);
    assert_eq!(rotated.code, 0, "{}", rotated.stderr);
    assert_eq!(yard.reveal("zoo-keeper/ada", "badge"), "badge");
}
