//! `apply` and `plan`: confirmation, and the deletion of blocks that left a file.

use std::fs;

use blockyard::model::Schema;
use blockyard_tests::{Backend, CommandOutput, TestYard, on_both, root};
use serde_json::{Value, json};

use crate::prompts::Conversation;

on_both!(deletions_are_planned_and_require_confirmation, a_block_in_use_is_not_pruned, sets_do_not_delete_other_blocks);

/// Writes a block file with these keepers. Returns its path.
fn file(yard: &TestYard, header: &str, names: &[&str]) -> String {
    let blocks = names.iter().map(|name| format!("[blocks.\"zoo-keeper/{name}\"]\nname = \"{name}\"\n"));
    let path = yard.path("blocks.toml");
    fs::write(&path, format!("version = 1\n{header}\n{}", blocks.collect::<String>())).expect("a file");
    path.display().to_string()
}

/// Parses a document, which must match the schema of plans.
fn document(output: &CommandOutput) -> Value {
    let schema = fs::read_to_string(root().join("schemas/json/plan.json")).expect("a schema");
    let schema = Schema::compile(serde_json::from_str(&schema).expect("JSON")).expect("a valid schema");
    let document: Value = serde_json::from_str(&output.stdout).expect("one JSON document");
    assert_eq!(schema.check(&document), [], "{document}");
    document
}

fn addresses(yard: &TestYard) -> Vec<Value> {
    yard.json(&["list"])["blocks"].as_array().expect("blocks").iter().map(|block| block["address"].clone()).collect()
}

fn deletions_are_planned_and_require_confirmation(yard: &TestYard) {
    let path = file(yard, "set = \"zoo\"", &["ada", "bob"]);
    // Without a terminal and deletions, no confirmation is required.
    let applied = yard.run(&["apply", &path, "--prune", "--json"]);
    assert_eq!((applied.code, &document(&applied)["changed"]), (0, &json!(true)), "{}", applied.stderr);
    assert!(yard.ok(&["history", "zoo-keeper/bob"]).contains("apply of zoo"));
    let path = file(yard, "set = \"zoo\"", &["ada", "cy"]);
    let planned = yard.run(&["plan", &path, "--prune", "--json"]);
    assert_eq!(planned.code, 8, "{}", planned.stderr);
    let actions: Vec<Value> = document(&planned)["blocks"]
        .as_array()
        .expect("blocks")
        .iter()
        .map(|block| json!([block["action"], block["address"]]))
        .collect();
    assert_eq!(
        json!(actions),
        json!([["unchanged", "zoo-keeper/ada"], ["create", "zoo-keeper/cy"], ["delete", "zoo-keeper/bob"]])
    );
    let text = yard.run(&["plan", &path, "--prune"]).stdout;
    assert!(text.contains("would delete zoo-keeper/bob\n"), "{text}");
    assert!(text.ends_with("1 to create, 0 to change, 1 to delete, 1 unchanged\n"), "{text}");

    let refused = yard.fails(2, &["apply", &path, "--prune"]);
    assert!(refused.contains("applying the file deletes 1 block and was not confirmed"), "{refused}");
    assert!(refused.contains("hint: confirm with `--yes`"), "{refused}");
    assert_eq!(addresses(yard), ["zoo-keeper/ada", "zoo-keeper/bob"], "nothing was changed");
    let applied = yard.run(&["apply", &path, "--prune", "--yes", "-m", "bob left", "--json"]);
    assert_eq!(document(&applied)["blocks"][2]["action"], "delete");
    assert_eq!(addresses(yard), ["zoo-keeper/ada", "zoo-keeper/cy"]);
    assert_eq!(yard.json(&["audit", "--block", "zoo-keeper/bob"])["audit"][0]["detail"]["reason"], "bob left");
    assert_eq!(yard.run(&["plan", &path, "--prune"]).code, 0);
    let again = yard.ok(&["apply", &path, "--prune"]);
    assert_eq!(again.trim(), "0 created, 0 changed, 2 unchanged");
    yard.ok(&["restore", "zoo-keeper/bob"]);
    yard.ok(&["doctor"]);
}

fn a_block_in_use_is_not_pruned(yard: &TestYard) {
    yard.ok(&["apply", &file(yard, "set = \"zoo\"", &["ada"])]);
    yard.create("zoo-keeper/pupil", &json!({ "name": "Pupil", "teacher": { "$block": "zoo-keeper/ada" } }));
    let path = file(yard, "set = \"zoo\"", &["bob"]);
    for command in [&["plan"][..], &["apply", "--yes"]] {
        let refused = yard.fails(6, &[command, &[&path, "--prune"]].concat());
        assert!(refused.contains("`zoo-keeper/ada`: required by `zoo-keeper/pupil` (`teacher`)"), "{refused}");
    }
    assert_eq!(addresses(yard), ["zoo-keeper/ada", "zoo-keeper/pupil"]);
}

fn sets_do_not_delete_other_blocks(yard: &TestYard) {
    yard.create("zoo-keeper/by-hand", &json!({ "name": "by-hand" }));
    yard.ok(&["apply", &file(yard, "", &["no-set"])]);
    yard.ok(&["apply", &file(yard, "set = \"north\"", &["north", "moved"])]);
    yard.ok(&["apply", &file(yard, "set = \"south\"", &["south", "moved"])]);
    yard.ok(&["apply", &file(yard, "set = \"north\"", &[]), "--prune", "--yes"]);
    assert_eq!(addresses(yard), ["zoo-keeper/by-hand", "zoo-keeper/moved", "zoo-keeper/no-set", "zoo-keeper/south"]);
    let refused = yard.fails(4, &["apply", &file(yard, "", &[]), "--prune", "--yes"]);
    assert!(refused.contains("the file names no set"), "{refused}");
}

/// A user who can write the database, but does not have the key, marks a block as one of the set.
#[test]
fn forged_set_does_not_delete_a_block() {
    let yard = TestYard::on(Backend::Postgres);
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    yard.ok(&["apply", &file(&yard, "set = \"zoo\"", &["bob"])]);
    let path = file(&yard, "set = \"zoo\"", &[]);
    assert!(yard.sql("update blocks set set_name = 'zoo'").is_some());
    assert!(!yard.run(&["plan", &path, "--prune"]).stdout.contains("ada"));
    yard.disable_triggers("revisions");
    assert!(yard.sql("update revisions set origin = 'apply:zoo'").is_some());
    let refused = yard.fails(5, &["apply", &path, "--prune", "--yes"]);
    assert!(refused.contains("block `zoo-keeper/ada@1` was modified by a program other than Blockyard"), "{refused}");
    assert_eq!(addresses(&yard), ["zoo-keeper/ada", "zoo-keeper/bob"]);
}

#[test]
fn apply_on_a_terminal_shows_the_plan_and_asks() {
    let yard = TestYard::on(Backend::Sqlite);
    let path = file(&yard, "set = \"zoo\"", &["ada"]);
    let mut refused = Conversation::begin(&yard, &["apply", &path]);
    refused.wait_for("would create zoo-keeper/ada");
    refused.answer("apply these changes? [y/N]", "n");
    let (code, output) = refused.end();
    assert_eq!(code, 2, "{output}");
    assert!(output.contains("applying the file changes 1 block and was not confirmed"), "{output}");
    assert!(addresses(&yard).is_empty());
    // The question approves the plan, so it is shown even with `--quiet`.
    let mut accepted = Conversation::begin(&yard, &["apply", &path, "--quiet"]);
    accepted.wait_for("1 to create, 0 to change, 0 unchanged");
    accepted.answer("apply these changes? [y/N]", "y");
    let (code, output) = accepted.end();
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("created zoo-keeper/ada@1"), "{output}");
    let path = file(&yard, "set = \"zoo\"", &["bob"]);
    let (code, output) = Conversation::begin(&yard, &["apply", &path, "--prune", "--yes"]).end();
    assert_eq!(code, 0, "{output}");
    assert!(!output.contains("[y/N]") && output.contains("deleted zoo-keeper/ada"), "{output}");
    // If nothing changes, there is no question.
    let (code, output) = Conversation::begin(&yard, &["apply", &path, "--prune"]).end();
    assert_eq!(code, 0, "{output}");
    assert!(!output.contains("[y/N]"), "{output}");
}
