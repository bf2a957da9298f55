//! Completion of words, in real shells.

use std::path::Path;

use blockyard_tests::{TestYard, available, binary, on_both, run_command};
use serde_json::json;

on_both!(names_in_the_yard_are_completed, names_are_completed_without_the_key);

/// Returns the shells of this machine.
fn shells() -> Vec<&'static str> {
    if available("BLOCKYARD_TEST_SHELLS") { vec!["bash", "zsh", "fish"] } else { vec!["bash"] }
}

/// Runs a script in a shell that has `blockyard` in its path and uses a yard. Returns the lines that
/// it prints.
fn run(yard: &TestYard, shell: &str, script: &str) -> Vec<String> {
    let mut command = yard.program(shell);
    let folder = Path::new(&binary()).parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").expect("a path");
    command.env("PATH", format!("{folder}:{path}")).args(["-c", script]);
    let output = run_command(&mut command, None);
    assert_eq!(output.stderr, "", "{shell}: {script}");
    output.stdout.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

/// Completes the last of these words, as the shell does. zsh adds descriptions after a colon.
fn completed(yard: &TestYard, shell: &str, words: &[&str]) -> Vec<String> {
    let last = words.last().expect("a word");
    let quoted = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let script = match shell {
        "bash" => format!(
            "source <(blockyard completions bash)\nCOMP_WORDS=({quoted}) COMP_CWORD={} COMP_TYPE=9\n\
             _clap_complete_blockyard blockyard '{last}' '' 2>/dev/null\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.len() - 1
        ),
        "zsh" => format!(
            "compdef() {{ }}\n_describe() {{ print -rl -- \"${{(@P)3}}\" }}\nsource <(blockyard completions zsh)\n\
             words=({quoted}) CURRENT={}\n_clap_dynamic_completer_blockyard",
            words.len()
        ),
        _ => format!("blockyard completions fish | source\ncomplete -C '{}'", words.join(" ")),
    };
    let mut lines = run(yard, shell, &script);
    if shell == "zsh" {
        for line in &mut lines {
            *line = line.replace("\\:", "\u{0}").split(':').next().unwrap_or_default().replace('\u{0}', ":");
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn names_in_the_yard_are_completed(yard: &TestYard) {
    yard.keeper("ada", "badge");
    yard.keeper("bob", "badge");
    yard.create("zoo-cage/lion", &json!({"animal": "lion", "place": {"house": "cats", "code": "c0de"}}));
    for shell in shells() {
        let complete = |words: &[&str]| completed(yard, shell, &[&["blockyard"], words].concat());
        assert_eq!(complete(&["show", "zoo-k"]), ["zoo-keeper/ada", "zoo-keeper/bob"], "{shell}");
        assert_eq!(complete(&["history", "zoo-cage/"]), ["zoo-cage/lion"], "{shell}");
        assert_eq!(complete(&["show", "zoo-keeper/c"]), [""; 0], "{shell}");
        // zsh adds the slash itself.
        let types: Vec<String> =
            complete(&["create", "zoo-c"]).iter().map(|word| word.trim_end_matches('/').to_owned()).collect();
        assert_eq!(types, ["zoo-cage"], "{shell}");
        assert_eq!(complete(&["type", "sql"]), ["sql-database"], "{shell}");
        assert_eq!(complete(&["types", "--interface", "data"]), ["database"], "{shell}");
        assert_eq!(complete(&["grants", "z"]), ["zoo"], "{shell}");
        assert_eq!(complete(&["call", "zoo-cage/lion", "lo"]), ["look"], "{shell}");
        assert_eq!(complete(&["reveal", "zoo-keeper/ada", "b"]), ["badge"], "{shell}");
        assert_eq!(complete(&["set", "zoo-cage/lion", "--unset", "ani"]), ["animal"], "{shell}");
        assert!(complete(&["sho"]).contains(&"show".to_owned()), "{shell}");
        assert!(complete(&["show", "--js"]).contains(&"--json".to_owned()), "{shell}");
    }
}

fn names_are_completed_without_the_key(yard: &TestYard) {
    yard.keeper("ada", "badge");
    std::fs::remove_file(yard.key_file()).expect("the key");
    assert_eq!(yard.run(&["list"]).code, 5);
    assert_eq!(completed(yard, "bash", &["blockyard", "show", "zoo"]), ["zoo-keeper/ada"]);
    // A yard that cannot be opened has no names, and no messages.
    let elsewhere = ["blockyard", "--yard", "sqlite:/missing/yard.db", "show", "zoo"];
    assert_eq!(completed(yard, "bash", &elsewhere), [""; 0]);
    assert!(!Path::new("/missing").exists());
}

#[test]
fn names_with_special_characters_are_not_offered() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    let properties =
        json!({"plain": {"type": "string"}, "a$(touch hacked)": {"type": "string"}, "a;b": {"type": "string"}});
    let file = crate::install::sec(&yard, "0.1.0", &[], &properties, &[]);
    yard.ok(&["install", &file, "--yes"]);
    yard.ok(&["create", "sec/a", "--set", "plain=x"]);
    assert_eq!(completed(&yard, "bash", &["blockyard", "set", "sec/a", "--unset", ""]), ["plain"]);
    assert_eq!(completed(&yard, "bash", &["blockyard", "set", "sec/a", "--unset", "a"]), [""; 0]);
}

#[test]
fn the_project_of_another_person_names_nothing() {
    let yard = TestYard::on(blockyard_tests::Backend::Sqlite);
    yard.keeper("ada", "badge");
    let project = yard.path("project");
    std::fs::create_dir(&project).expect("a folder");
    std::fs::copy(yard.path("yard.db"), project.join("yard.db")).expect("a copy");
    std::fs::write(project.join("blockyard.toml"), "yard = \"yard.db\"\n").expect("a file");
    let script = format!(
        "unset BLOCKYARD_YARD; cd '{}'; BLOCKYARD_COMPLETE=fish blockyard -- blockyard show zoo",
        project.display()
    );
    assert_eq!(run(&yard, "bash", &script), [""; 0]);
}
