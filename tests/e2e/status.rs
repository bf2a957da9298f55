//! `status`: what is in use, and the setting that chooses it.

use std::fs;

use blockyard_tests::{TestYard, run_command};
use serde_json::{Value, json};

/// Runs `status` without a setting that names the yard.
fn status(yard: &TestYard) -> Value {
    let mut command = yard.command(&["status", "--json"]);
    let output = run_command(command.env_remove("BLOCKYARD_YARD"), None);
    assert_eq!(output.code, 0, "{}", output.stderr);
    serde_json::from_str(&output.stdout).expect("JSON")
}

#[test]
fn each_setting_of_the_yard_is_named() {
    let yard = TestYard::new();
    let shown = yard.json(&["status"]);
    assert_eq!(shown["yard"]["chosen_by"], "variable BLOCKYARD_YARD");
    assert_eq!((&shown["yard"]["url"], &shown["yard"]["available"]), (&json!(yard.url()), &json!(true)));
    assert_eq!(shown["key"]["available"], true);
    let missing = format!("sqlite:{}", yard.path("other.db").display());
    let shown = yard.json(&["status", "--yard", &missing]);
    assert_eq!(shown["yard"]["chosen_by"], "--yard");
    assert_eq!((&shown["yard"]["available"], &shown["key"]), (&json!(false), &Value::Null));
    assert_eq!(shown["yard"]["problem"]["kind"], "not-found");
    let text = yard.ok(&["status", "--yard", &missing]);
    assert!(text.contains("not available (--yard): ") && text.contains("blockyard init"), "{text}");
    assert!(!yard.path("other.db").exists(), "a status creates nothing");
}

#[test]
fn project_file_is_used_only_if_it_is_trusted() {
    let yard = TestYard::new();
    assert_eq!(status(&yard)["yard"]["chosen_by"], "default");
    fs::write(yard.path("blockyard.toml"), "yard = \"sqlite:project.db\"\n").expect("a file");
    let shown = status(&yard);
    assert_eq!((&shown["project"]["trust"], &shown["yard"]["url"]), (&json!("untrusted"), &Value::Null));
    assert_eq!(shown["yard"]["chosen_by"], "project file");
    let text = run_command(yard.command(&["status"]).env_remove("BLOCKYARD_YARD"), None).stdout;
    assert!(text.contains("none (project file, which is not trusted)"), "{text}");
    let trusted = run_command(yard.command(&["trust"]).env_remove("BLOCKYARD_YARD"), None);
    assert_eq!(trusted.code, 0, "{}", trusted.stderr);
    assert_eq!(status(&yard)["project"]["trust"], "trusted");
    fs::write(yard.path("blockyard.toml"), "yard = \"sqlite:evil.db\"\n").expect("a file");
    assert_eq!(status(&yard)["project"]["trust"], "changed");
}

#[test]
fn key_that_does_not_fit_is_reported() {
    let yard = TestYard::new();
    fs::remove_file(yard.key_file()).expect("the key");
    let shown = yard.json(&["status"]);
    assert_eq!((&shown["yard"]["available"], &shown["key"]["available"]), (&json!(true), &json!(false)));
    assert!(yard.ok(&["status"]).contains("not available: key file `"));
}

#[test]
fn a_new_yard_uses_no_key_that_a_variable_overrides() {
    let yard = TestYard::empty();
    for location in ["file", "keyring"] {
        let mut command = yard.command(&["init", "--key", location]);
        let refused = run_command(command.env("BLOCKYARD_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), None);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains("BLOCKYARD_KEY is set, and takes precedence"), "{}", refused.stderr);
    }
    assert_eq!(yard.json(&["status"])["yard"]["available"], false, "no yard was created");
}
