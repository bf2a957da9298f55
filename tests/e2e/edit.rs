//! `edit`: a block in an editor.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use blockyard_tests::{Backend, CommandOutput, TestYard, on_both, run_command};
use serde_json::json;

use crate::prompts::Conversation;

on_both!(
    edited_block_is_saved_and_keeps_its_secrets,
    unchanged_file_saves_nothing,
    invalid_file_saves_nothing_and_is_retained,
    concurrent_change_is_detected,
    changes_survive_an_editor_that_fails,
);

fn with_cage(yard: &TestYard) {
    yard.create("zoo-cage/lion", &json!({ "animal": "lion", "place": { "house": "cats", "code": "c0de" } }));
}

/// Runs `edit` with a shell script as the editor. `$1` is the file.
fn edit(yard: &TestYard, script: &str) -> CommandOutput {
    run_command(&mut edit_command(yard, script), None)
}

fn edit_command(yard: &TestYard, script: &str) -> Command {
    let editor = yard.path("an editor");
    fs::write(&editor, format!("#!/bin/sh\nset -e\n{script}\n")).expect("a file");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o700)).expect("permissions");
    let mut command = yard.command(&["edit", "zoo-cage/lion"]);
    // An editor with an argument, at a path with a space.
    command.env("EDITOR", format!("'{}'", editor.display())).env("TMPDIR", yard.path(""));
    command
}

/// Returns the files that an edit left behind.
fn left(yard: &TestYard) -> Vec<String> {
    let entries = fs::read_dir(yard.path("")).expect("the folder").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("blockyard-")).collect()
}

fn edited_block_is_saved_and_keeps_its_secrets(yard: &TestYard) {
    with_cage(yard);
    let script = "cat \"$1\"; stat -c %a \"$(dirname \"$1\")\"; sed -i 's/= \"lion\"/= \"tiger\"/' \"$1\"";
    let output = edit(yard, script);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.starts_with("# Save this file") && output.stdout.contains("\n700\n"), "{}", output.stdout);
    assert!(!output.stdout.contains("c0de") && output.stdout.contains("changed zoo-cage/lion@2"), "{}", output.stdout);
    assert_eq!(yard.config("zoo-cage/lion")["animal"], "tiger");
    assert_eq!(yard.reveal("zoo-cage/lion", "place.code"), "c0de");
    assert_eq!(left(yard), [""; 0]);
}

fn unchanged_file_saves_nothing(yard: &TestYard) {
    with_cage(yard);
    for script in ["true", "touch \"$1\"", "echo '# a comment' >> \"$1\""] {
        let output = edit(yard, script);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(yard.json(&["show", "zoo-cage/lion"])["newest"], 1, "{script}");
    }
    let failed = edit(yard, "exit 3");
    assert_eq!(failed.code, 2, "{}", failed.stderr);
    assert!(failed.stderr.contains("nothing was saved"), "{}", failed.stderr);
    let mut command = yard.command(&["edit", "zoo-cage/lion"]);
    let refused = run_command(command.env_remove("EDITOR").env_remove("VISUAL"), None);
    assert!(refused.code == 2 && refused.stderr.contains("no editor is set"), "{}", refused.stderr);
}

fn invalid_file_saves_nothing_and_is_retained(yard: &TestYard) {
    with_cage(yard);
    for (script, message) in [
        ("echo '[[' >> \"$1\"", "TOML"),
        ("echo 'animl = \"cat\"' >> \"$1\"", "unknown field"),
        ("sed -i 's#cage/lion#cage/tiger#' \"$1\"", "must contain the block `zoo-cage/lion` and no other"),
        (": > \"$1\"", "the file has no `version`"),
    ] {
        let output = edit(yard, script);
        assert_eq!(output.code, 4, "{script}: {}", output.stderr);
        assert!(output.stderr.contains(message), "{script}: {}", output.stderr);
        let [folder] = left(yard).try_into().expect("one folder");
        assert!(output.stderr.contains(&format!("{folder}/zoo-cage-lion.toml`")), "{}", output.stderr);
        fs::remove_dir_all(yard.path(&folder)).expect("the folder");
        assert_eq!(yard.json(&["show", "zoo-cage/lion"])["newest"], 1, "{script}");
    }
}

fn concurrent_change_is_detected(yard: &TestYard) {
    with_cage(yard);
    let binary = blockyard_tests::binary();
    let script = format!("'{}' set zoo-cage/lion --set animal=puma; sed -i 's/= \"lion\"/= \"tiger\"/' \"$1\"", binary);
    let output = edit(yard, &script);
    assert_eq!(output.code, 6, "{}", output.stderr);
    assert!(output.stderr.contains("revision 2 is newer than 1"), "{}", output.stderr);
    assert_eq!(yard.config("zoo-cage/lion")["animal"], "puma");
}

/// Returns the content of the only file that an edit left behind, and deletes it.
fn take_left(yard: &TestYard) -> String {
    let [folder] = left(yard).try_into().expect("one folder");
    let folder = yard.path(&folder);
    let text = fs::read_to_string(std::path::Path::new(&folder).join("zoo-cage-lion.toml")).expect("the edited text");
    fs::remove_dir_all(folder).expect("the folder");
    text
}

fn changes_survive_an_editor_that_fails(yard: &TestYard) {
    with_cage(yard);
    let output = edit(yard, "sed -i 's/= \"lion\"/= \"tiger\"/' \"$1\"; exit 3");
    assert_eq!(output.code, 2, "{}", output.stderr);
    assert!(output.stderr.contains("the edited text is in"), "{}", output.stderr);
    assert!(take_left(yard).contains("\"tiger\""));
    // Without changes, nothing is left.
    assert_eq!(edit(yard, "exit 3").code, 2);
    assert_eq!(left(yard), [""; 0]);
}

#[test]
fn rejected_text_survives_all_answers_on_a_terminal() {
    let yard = TestYard::on(Backend::Sqlite);
    with_cage(&yard);
    // The second start of the editor fails.
    let script = "grep -q animl \"$1\" && exit 3; echo 'animl = \"cat\"' >> \"$1\"";
    let mut refused = Conversation::with(&mut edit_command(&yard, script));
    refused.answer("edit the file again? [y/N]", "y");
    refused.answer("edit the file again? [y/N]", "n");
    let (code, shown) = refused.end();
    assert!(code == 2 && shown.contains("unknown field") && shown.contains("the edited text is in"), "{shown}");
    assert!(take_left(&yard).contains("animl"));

    let mut interrupted = Conversation::with(&mut edit_command(&yard, script));
    interrupted.interrupt("edit the file again? [y/N]");
    let (code, shown) = interrupted.end();
    assert!(code == 130 && shown.contains("the edited text is in"), "{shown}");
    assert!(take_left(&yard).contains("animl"));
}

#[test]
fn interrupt_is_for_the_editor() {
    let yard = TestYard::on(Backend::Sqlite);
    with_cage(&yard);
    let script = "sed -i 's/= \"lion\"/= \"tiger\"/' \"$1\"; echo ready; sleep 3";
    let mut edit = Conversation::with(&mut edit_command(&yard, script));
    edit.interrupt("ready");
    let (code, shown) = edit.end();
    assert!(code == 0 && shown.contains("changed zoo-cage/lion@2"), "{shown}");
}
