//! `-m` and `history`: the reason and the origin of each revision.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use blockyard::model::Schema;
use blockyard_tests::{TestYard, on_both, root, run_command};
use serde_json::{Value, json};

on_both!(reasons_and_origins_are_in_the_history, a_reason_is_one_visible_line, a_reason_with_a_secret_changes_nothing);

/// Returns the revisions of a block, newest first. The document must match its schema.
fn history(yard: &TestYard, address: &str) -> Vec<Value> {
    let schema = fs::read_to_string(root().join("schemas/json/history.json")).expect("a schema");
    let schema = Schema::compile(serde_json::from_str(&schema).expect("JSON")).expect("a valid schema");
    let document = yard.json(&["history", address]);
    assert_eq!(schema.check(&document), [], "{document}");
    document["revisions"].as_array().expect("revisions").clone()
}

fn reasons_and_origins_are_in_the_history(yard: &TestYard) {
    yard.ok(&["create", "zoo-keeper/ada", "--set", "name=Ada", "-m", "new keeper"]);
    yard.ok(&["set", "zoo-keeper/ada", "--set", "name=Ida", "--message", "married, see #12"]);
    yard.ok(&["rollback", "zoo-keeper/ada@1", "-m", "a mistake"]);
    let file = "version = 1\n[blocks.\"zoo-keeper/ada\"]\nname = \"Eva\"\n";
    yard.ok_with_input(&["apply", "-", "-m", "from the file"], file);
    let editor = yard.path("editor");
    fs::write(&editor, "#!/bin/sh\nsed -i 's/Eva/Eve/' \"$1\"\n").expect("a file");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o700)).expect("permissions");
    let mut command = yard.command(&["edit", "zoo-keeper/ada"]);
    let edited = run_command(command.env("EDITOR", &editor).env("BLOCKYARD_MESSAGE", "by the variable"), None);
    assert_eq!(edited.code, 0, "{}", edited.stderr);
    yard.ok(&["copy", "zoo-keeper/ada@2", "zoo-keeper/ida", "-m", "her sister"]);
    yard.ok(&["set", "zoo-keeper/ida", "--set", "name=Ina"]);
    let of = |address: &str| -> Vec<Value> {
        history(yard, address).iter().map(|revision| json!([revision["action"], revision["reason"]])).collect()
    };
    assert_eq!(
        json!(of("zoo-keeper/ada")),
        json!([
            ["edit", "by the variable"],
            ["apply", "from the file"],
            ["rollback", "a mistake"],
            ["set", "married, see #12"],
            ["create", "new keeper"],
        ])
    );
    assert_eq!(json!(of("zoo-keeper/ida")), json!([["set", null], ["copy", "her sister"]]));
    assert_eq!(history(yard, "zoo-keeper/ida")[1]["copied_from"], "zoo-keeper/ada@2");
    let text = yard.ok(&["history", "zoo-keeper/ada"]);
    assert!(text.contains("rollback to 1") && text.contains("married, see #12"), "{text}");
    assert!(yard.ok(&["history", "zoo-keeper/ida"]).contains("copy of zoo-keeper/ada@2"));
    // Without reasons, the table has no column for them.
    yard.ok(&["create", "zoo-keeper/bob", "--set", "name=Bob"]);
    assert!(!yard.ok(&["history", "zoo-keeper/bob"]).contains("reason"));

    yard.ok(&["delete", "zoo-keeper/ada", "-m", "left"]);
    yard.ok(&["restore", "zoo-keeper/ada", "-m", "is back"]);
    yard.ok(&["purge", "zoo-keeper/ada", "--yes", "-m", "lost badge"]);
    let audit = yard.json(&["audit", "--block", "zoo-keeper/ada", "--limit", "3"]);
    let lines: Vec<&Value> = audit["audit"].as_array().expect("lines").iter().map(|line| &line["detail"]).collect();
    assert_eq!(
        lines.iter().map(|detail| detail["reason"].as_str().unwrap_or_default()).collect::<Vec<_>>(),
        ["lost badge", "is back", "left"]
    );
    assert_eq!(history(yard, "zoo-keeper/ada").len(), 5);
    yard.ok(&["doctor"]);
}

fn a_reason_is_one_visible_line(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    let long = "x".repeat(1_001);
    for (reason, message) in [
        ("", "the reason is empty"),
        ("   ", "the reason is empty"),
        ("a\nb", "control character"),
        ("\u{1b}[2J", "control character"),
        ("pay \u{202e}evil", "invisible character at position 5"),
        (long.as_str(), "the reason has 1001 characters; the maximum is 1000"),
    ] {
        for command in [&["set", "zoo-keeper/ada", "--set", "name=Eve"][..], &["delete", "zoo-keeper/ada"]] {
            let refused = yard.fails(2, &[command, &["-m", reason]].concat());
            assert!(refused.contains(message), "{refused}");
            assert!(!refused.contains('\u{1b}') && refused.len() < 400, "{refused}");
        }
    }
    let longest = "é".repeat(1_000);
    yard.ok(&["set", "zoo-keeper/ada", "--set", "name=Eve", "-m", &longest]);
    assert_eq!(history(yard, "zoo-keeper/ada")[0]["reason"], json!(longest));
}

fn a_reason_with_a_secret_changes_nothing(yard: &TestYard) {
    yard.keeper("ada", "badge-canary");
    let leak = ["-m", "the badge was badge-canary"];
    for command in [
        &["set", "zoo-keeper/ada", "--set", "name=Eve"][..],
        &["set", "zoo-keeper/ada", "--unset", "badge"],
        &["copy", "zoo-keeper/ada", "zoo-keeper/eve"],
        &["delete", "zoo-keeper/ada"],
        &["purge", "zoo-keeper/ada", "--yes"],
    ] {
        let refused = yard.fails(4, &[command, &leak].concat());
        assert!(refused.contains("the reason contains the secret `badge` of the block"), "{refused}");
        assert!(!refused.contains("canary"), "{refused}");
    }
    assert_eq!(yard.json(&["list"])["blocks"].as_array().map(Vec::len), Some(1));
    assert_eq!(history(yard, "zoo-keeper/ada").len(), 1);
    assert!(!yard.ok(&["audit", "--json"]).contains("canary"));
}
