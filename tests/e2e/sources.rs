//! Secrets in external sources: read at each call, never stored, never replaced by a fallback.

use std::fs;

use blockyard_tests::environment::program;
use blockyard_tests::{CommandOutput, TestYard, on_both, run_command};
use serde_json::{Value, json};

on_both!(
    source_is_read_at_each_call,
    unreadable_source_is_an_error_without_fallback,
    nested_source_error_names_the_owning_block,
    oversized_pipe_source_is_rejected,
    block_source_is_a_reference,
    source_chain_is_limited_to_eight_blocks,
    one_trailing_newline_is_stripped_from_every_source,
    invalid_source_is_rejected_without_quoting_it,
);

/// Runs a command with a door key in its environment, or without one.
fn with_door(yard: &TestYard, key: Option<&str>, arguments: &[&str]) -> CommandOutput {
    let mut command = yard.command(arguments);
    if let Some(key) = key {
        command.env("DOOR_KEY", key);
    }
    run_command(&mut command, None)
}

fn source_is_read_at_each_call(yard: &TestYard) {
    yard.permit_sources();
    let file = format!("content=file:{}", yard.path("door").display());
    yard.ok(&["create", "zoo-safe/variable", "--secret", "content=env:DOOR_KEY"]);
    yard.ok(&["create", "zoo-safe/file", "--secret", &file]);
    yard.ok(&["create", "zoo-safe/other", "--secret", "content=block:zoo-safe/file"]);
    for key in ["first-key-1", "second-key-2"] {
        let read = with_door(yard, Some(key), &["call", "zoo-safe/variable", "read"]);
        assert_eq!(read.stdout, key, "{}", read.stderr);
        // Editors end files with a newline.
        fs::write(yard.path("door"), format!("{key}\r\n")).expect("a file");
        assert_eq!(yard.ok(&["call", "zoo-safe/file", "read"]), key);
        assert_eq!(yard.reveal("zoo-safe/other", "content"), key);
    }
    fs::remove_file(yard.path("door")).expect("gone");
    assert_eq!(yard.any_file_contains("second-key-2"), None);
    assert_eq!(yard.config("zoo-safe/variable"), json!({"content": {"$source": "env:DOOR_KEY"}}));
    assert_eq!(yard.json(&["show", "zoo-safe/variable"])["revision"], json!(1));
}

fn unreadable_source_is_an_error_without_fallback(yard: &TestYard) {
    yard.permit_sources();
    yard.keeper("ada", "the old badge");
    let file = format!("file:{}", yard.path("none").display());
    let address = "zoo-keeper/ada";
    for (source, reason) in
        [("env:DOOR_KEY", "the environment variable `DOOR_KEY` is not set"), (&file, "No such file")]
    {
        yard.ok(&["set", address, "--secret", &format!("badge={source}")]);
        for arguments in [
            &["call", address, "show-badge"][..],
            &["call", address, "introduce"],
            &["check", address],
            &["reveal", address, "badge", "--yes"],
        ] {
            let refused = yard.fails(5, arguments);
            let source = yard.without_locations(source);
            let expected = format!("the secret `badge` of block `{address}` cannot be read from `{source}`");
            assert!(refused.contains(&expected) && refused.contains(reason), "{refused}");
            assert!(!refused.contains("the old badge"), "{refused}");
        }
    }
    // A command that needs no secret does not read the source.
    assert_eq!(yard.json(&["show", address])["revision"], json!(3));
    let audit = yard.json(&["audit", "--block", address])["audit"].clone();
    assert!(audit.as_array().expect("lines").iter().all(|line| line["action"] != "reveal"), "{audit}");
}

fn nested_source_error_names_the_owning_block(yard: &TestYard) {
    yard.permit_sources();
    yard.ok(&["create", "zoo-keeper/ada", "--set", "name=Ada", "--secret", "badge=env:DOOR_KEY"]);
    yard.ok(&["create", "zoo-cage/lion", "--set", "animal=lion", "--set", "keeper=zoo-keeper/ada"]);
    yard.ok(&["create", "zoo-cage/house", "--set", "animal=cats", "--set", "inside=zoo-cage/lion"]);
    let refused = yard.fails(5, &["call", "zoo-cage/house", "open-all"]);
    assert!(
        refused.contains("the secret `badge` of block `zoo-keeper/ada` cannot be read from `env:DOOR_KEY`"),
        "{refused}"
    );
    let result = with_door(yard, Some("a key"), &["call", "zoo-cage/house", "look"]);
    assert!(result.stdout.contains("\"keeper\": \"Ada\""), "{}{}", result.stdout, result.stderr);
}

/// The size of a pipe is not known in advance: the number of bytes read has the same limit.
fn oversized_pipe_source_is_rejected(yard: &TestYard) {
    yard.permit_sources();
    let door = yard.path("door");
    let mkfifo = program("mkfifo").arg(&door).status().expect("it runs");
    assert!(mkfifo.success());
    yard.ok(&["create", "zoo-safe/box", "--secret", &format!("content=file:{}", door.display())]);
    std::thread::spawn(move || fs::write(door, "k".repeat((1 << 20) + 1)));
    let read = yard.run(&["reveal", "zoo-safe/box", "content", "--yes"]);
    assert_eq!((read.code, read.stdout.len()), (5, 0), "{}", read.stderr);
    assert!(
        read.stderr.contains("the secret `content` of block `zoo-safe/box` cannot be read from"),
        "{}",
        read.stderr
    );
}

fn block_source_is_a_reference(yard: &TestYard) {
    yard.permit_sources();
    yard.create("zoo-safe/box", &json!({"content": "what lies in it"}));
    yard.ok(&["create", "zoo-cage/lion", "--set", "animal=lion", "--set", "place.house=cats"]);
    yard.ok(&["set", "zoo-cage/lion", "--secret", "place.code=block:zoo-safe/box"]);
    assert_eq!(yard.reveal("zoo-cage/lion", "place.code"), "what lies in it");
    assert_eq!(
        yard.json(&["show", "zoo-safe/box"])["used_by"],
        json!([{"address": "zoo-cage/lion", "field": "place.code"}])
    );
    let refused = yard.fails(6, &["delete", "zoo-safe/box"]);
    assert!(
        refused.contains("block `zoo-safe/box` is in use: `zoo-cage/lion` (`place.code`) depends on it"),
        "{refused}"
    );
    let refused: Value = serde_json::from_str(&yard.fails(6, &["delete", "zoo-safe/box", "--json"])).expect("JSON");
    assert_eq!(refused["error"]["code"], json!("in-use"));
    assert_eq!(refused["error"]["details"], json!({"used_by": [{"address": "zoo-cage/lion", "field": "place.code"}]}));

    yard.ok(&["create", "zoo-safe/outer", "--secret", "content=block:zoo-safe/box"]);
    for (target, circle) in
        [("box", "`zoo-safe/box` → `zoo-safe/box`"), ("outer", "`zoo-safe/box` → `zoo-safe/outer` → `zoo-safe/box`")]
    {
        let refused = yard.fails(4, &["set", "zoo-safe/box", "--secret", &format!("content=block:zoo-safe/{target}")]);
        assert!(refused.contains(&format!("/content: would create a cycle of references: {circle}")), "{refused}");
    }

    yard.ok(&["delete", "zoo-safe/outer"]);
    yard.ok(&["set", "zoo-cage/lion", "--secret", "place.code=env:DOOR_KEY"]);
    yard.ok(&["delete", "zoo-safe/box"]);
}

fn source_chain_is_limited_to_eight_blocks(yard: &TestYard) {
    yard.permit_sources();
    let safe = |number: usize, source: &str| format!("[blocks.\"zoo-safe/s{number}\"]\ncontent = \"{source}\"\n");
    let mut file = "version = 1\n".to_owned() + &safe(0, "env:DOOR_KEY");
    file.extend((1..10).map(|number| safe(number, &format!("block:zoo-safe/s{}", number - 1))));
    yard.ok_with_input(&["apply", "-"], &file);
    let reveal = |number: usize| {
        let address = format!("zoo-safe/s{number}");
        with_door(yard, Some("a key"), &["reveal", &address, "content", "--yes"])
    };
    assert_eq!(reveal(8).stdout, "a key");
    let refused = reveal(9);
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("the chain of secret stores is longer than 8 blocks"), "{}", refused.stderr);
    // Every block in the chain is named.
    let missing = yard.fails(5, &["reveal", "zoo-safe/s2", "content", "--yes"]);
    for expected in
        ["`zoo-safe/s2` cannot be read from `block:zoo-safe/s1`", "`zoo-safe/s0` cannot be read from `env:DOOR_KEY`"]
    {
        assert!(missing.contains(expected), "{missing}");
    }
}

fn invalid_source_is_rejected_without_quoting_it(yard: &TestYard) {
    for source in ["plain-9127", "env:", "file:", "block:plain-9127", "block:zoo-safe/box@1", "vault:plain-9127"] {
        let secret = format!("content={source}");
        let refused = yard.fails(2, &["create", "zoo-safe/box", "--secret", &secret]);
        assert!(refused.contains("the value after `--secret content=` is not a secret source"), "{refused}");
        assert!(!refused.contains("plain-9127"), "{refused}");
    }
}

fn one_trailing_newline_is_stripped_from_every_source(yard: &TestYard) {
    yard.permit_sources();
    let pem = "-----BEGIN KEY-----\nAA==\n-----END KEY-----";
    let cases = [
        ("word\n", "word"),
        ("word\r\n", "word"),
        ("word\n\n", "word\n"),
        (" word ", " word "),
        (&format!("{pem}\n"), pem),
        (pem, pem),
    ];
    for (number, (text, secret)) in cases.into_iter().enumerate() {
        let file = yard.path("door");
        fs::write(&file, text).expect("a file");
        let (at, source) = (format!("content=@{}", file.display()), format!("content=file:{}", file.display()));
        let address = |kind: &str| format!("zoo-safe/{kind}{number}");
        yard.ok(&["create", &address("at"), "--secret", &at]);
        yard.ok_with_input(&["create", &address("stdin"), "--secret", "content=-"], text);
        yard.ok(&["create", &address("file"), "--secret", &source]);
        yard.ok(&["create", &address("env"), "--secret", "content=env:DOOR_KEY"]);
        for kind in ["at", "stdin", "file", "env"] {
            let revealed = with_door(yard, Some(text), &["reveal", &address(kind), "content", "--yes"]);
            assert_eq!(revealed.stdout, secret, "{kind} {text:?}: {}", revealed.stderr);
        }
    }
}
