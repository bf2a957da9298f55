//! `edit`: a block in an editor.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use blockyard_tests::{CommandOutput, TestYard, on_both, run_command};
use serde_json::json;

on_both!(
    edited_block_is_saved_and_keeps_its_secrets,
    unchanged_file_saves_nothing,
    invalid_file_saves_nothing_and_is_retained,
    concurrent_change_is_detected,
);

fn with_cage(yard: &TestYard) {
    yard.create("zoo-cage/lion", &json!({ "animal": "lion", "place": { "house": "cats", "code": "c0de" } }));
}

/// Runs `edit` with a shell script as the editor. `$1` is the file.
fn edit(yard: &TestYard, script: &str) -> CommandOutput {
    let editor = yard.path("an editor");
    fs::write(&editor, format!("#!/bin/sh\nset -e\n{script}\n")).expect("a file");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o700)).expect("permissions");
    let mut command = yard.command(&["edit", "zoo-cage/lion"]);
    // An editor with an argument, at a path with a space.
    command.env("EDITOR", format!("'{}'", editor.display())).env("TMPDIR", yard.path(""));
    run_command(&mut command, None)
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
