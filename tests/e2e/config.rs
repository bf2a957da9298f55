//! `config`: each setting with its value and its origin.

use std::fs;
use std::process::Command;

use blockyard::model::Schema;
use blockyard_tests::{TestYard, root, run_command};
use serde_json::{Value, json};

/// Runs `config`. The document must match its schema.
fn config(command: &mut Command) -> Value {
    let schema = fs::read_to_string(root().join("schemas/json/config.json")).expect("a schema");
    let schema = Schema::compile(serde_json::from_str(&schema).expect("JSON")).expect("a valid schema");
    let output = run_command(command, None);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let document: Value = serde_json::from_str(&output.stdout).expect("one JSON document");
    assert_eq!(schema.check(&document), [], "{document}");
    document
}

/// Returns value, origin and name of the origin of a setting.
fn setting(document: &Value, name: &str) -> Value {
    let settings = document["settings"].as_array().expect("settings");
    let found = settings.iter().find(|setting| setting["name"] == name).unwrap_or_else(|| panic!("{name}: {document}"));
    json!([found["value"], found["origin"], found["from"]])
}

fn note(document: &Value, name: &str) -> String {
    let settings = document["settings"].as_array().expect("settings");
    let found = settings.iter().find(|setting| setting["name"] == name).expect(name);
    found["note"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn each_origin_is_named() {
    let yard = TestYard::new();
    let missing = format!("sqlite:{}", yard.path("other.db").display());
    let shown = config(&mut yard.command(&["config", "--json"]));
    assert_eq!(setting(&shown, "yard"), json!([yard.url(), "variable", "BLOCKYARD_YARD"]));
    assert_eq!(setting(&shown, "json"), json!([true, "option", "--json"]));
    assert_eq!(setting(&shown, "progress"), json!([true, "default", null]));
    assert_eq!(setting(&shown, "otlp"), json!([null, "default", null]));
    // The same value as an option and as a variable: the option decides.
    let shown = config(&mut yard.command(&["config", "--json", "--yard", &yard.url()]));
    assert_eq!(setting(&shown, "yard"), json!([yard.url(), "option", "--yard"]));
    let shown = config(&mut yard.command(&["config", "--json", "--yard", &missing]));
    assert_eq!(setting(&shown, "yard"), json!([missing, "option", "--yard"]));
    assert!(note(&shown, "yard").starts_with("not available: no yard found"), "{shown}");
    assert!(!yard.path("other.db").exists(), "nothing was created");
    let mut command = yard.command(&["config", "--json", "--no-progress"]);
    let shown =
        config(command.env_remove("BLOCKYARD_YARD").env("NO_COLOR", "1").env("EDITOR", "ed").env_remove("VISUAL"));
    let value = setting(&shown, "yard");
    assert!(value[0].as_str().is_some_and(|url| url.ends_with("blockyard/yard.db")), "{value}");
    assert_eq!((&value[1], &value[2]), (&json!("default"), &Value::Null));
    assert_eq!(setting(&shown, "progress"), json!([false, "option", "--no-progress"]));
    assert_eq!(setting(&shown, "color"), json!(["never", "variable", "NO_COLOR"]));
    assert_eq!(setting(&shown, "editor"), json!(["ed", "variable", "EDITOR"]));
    let mut command = yard.command(&["config"]);
    let shown = config(command.env("BLOCKYARD_JSON", "true").env("BLOCKYARD_NO_PROGRESS", "true"));
    assert_eq!(setting(&shown, "json"), json!([true, "variable", "BLOCKYARD_JSON"]));
    assert_eq!(setting(&shown, "progress"), json!([false, "variable", "BLOCKYARD_NO_PROGRESS"]));
    let text = yard.ok(&["config", "--yard", &missing]);
    assert!(text.contains("--yard") && text.contains("variable BLOCKYARD_YARD sets the option --yard"), "{text}");
}

#[test]
fn settings_of_files_are_listed_with_their_file() {
    let yard = TestYard::new();
    yard.configure(&format!(
        "[yards.prod]\nurl = \"{}\"\n[registries]\nacme = \"/srv/acme\"\n[sources]\nallow = [\"env:WAREHOUSE_*\"]\n",
        yard.url()
    ));
    let shown = config(&mut yard.command(&["config", "--json", "--yard", "prod"]));
    let file = setting(&shown, "configuration")[0].clone();
    assert_eq!(setting(&shown, "yards.prod"), json!([yard.url(), "configuration", file]));
    assert_eq!(setting(&shown, "yard"), json!([yard.url(), "option", "--yard"]));
    assert_eq!(setting(&shown, "registry"), json!(["/srv/acme", "configuration", file]));
    assert_eq!(setting(&shown, "sources.allow"), json!([["env:WAREHOUSE_*"], "configuration", file]));
    assert_eq!(setting(&shown, "key")[1], "yard");

    let project = yard.path("blockyard.toml");
    fs::write(&project, "yard = \"sqlite:project.db\"\n[registries]\nown = \"registry\"\n").expect("a file");
    let without_variable = || {
        let mut command = yard.command(&["config", "--json"]);
        command.env_remove("BLOCKYARD_YARD");
        command
    };
    let shown = config(&mut without_variable());
    assert_eq!(setting(&shown, "yard"), json!([null, "project", project]));
    assert_eq!(
        (note(&shown, "yard"), note(&shown, "project")),
        ("the project file is not trusted".into(), "untrusted".into())
    );
    assert!(note(&shown, "registry").starts_with("not used: the project file"), "{shown}");
    let trusted = run_command(yard.command(&["trust"]).env_remove("BLOCKYARD_YARD"), None);
    assert_eq!(trusted.code, 0, "{}", trusted.stderr);
    let shown = config(&mut without_variable());
    assert_eq!(
        setting(&shown, "yard"),
        json!([format!("sqlite:{}", yard.path("project.db").display()), "project", project])
    );
    assert_eq!(setting(&shown, "project"), json!([project, "default", null]));
    assert_eq!(setting(&shown, "registry")[1], "project");
}

#[test]
fn secrets_in_settings_are_not_shown() {
    let yard = TestYard::new();
    yard.configure(
        "[yards.prod]\nurl = \"postgres://loader:canary-in-file@127.0.0.1:1/yard?connect_timeout=1\"\n\
         [registries]\nacme = \"https://registry.example/acme\"\n",
    );
    let key = "Y2FuYXJ5LWtleS1jYW5hcnkta2V5LWNhbmFyeS1rZXk=";
    for arguments in [&["config", "--json"][..], &["config"], &["config", "--json", "--yard", "prod"]] {
        let mut command = yard.command(arguments);
        command
            .env("BLOCKYARD_KEY", key)
            .env("BLOCKYARD_REGISTRY_TOKEN_ACME", "canary-token")
            .env("BLOCKYARD_SIGNING_PASSWORD", "canary-password")
            .env("BLOCKYARD_SECRET", "password=canary-secret")
            .env("BLOCKYARD_SEKRET", "canary-typo");
        let output = run_command(&mut command, None);
        assert_eq!(output.code, 0, "{}", output.stderr);
        let all = output.stdout + &output.stderr;
        assert!(!all.contains("canary") && !all.contains(key), "{all}");
        assert!(all.contains("BLOCKYARD_SEKRET"), "{all}");
    }
    let mut command = yard.command(&["config", "--json"]);
    command.env("BLOCKYARD_KEY", key).env("BLOCKYARD_REGISTRY_TOKEN_ACME", "canary-token");
    let shown = config(command.env("BLOCKYARD_SECRET", "x=canary-secret").env("BLOCKYARD_SEKRET", "x"));
    assert_eq!(setting(&shown, "key"), json!([null, "variable", "BLOCKYARD_KEY"]));
    assert_eq!(setting(&shown, "registries.acme.token"), json!([null, "variable", "BLOCKYARD_REGISTRY_TOKEN_ACME"]));
    assert_eq!(setting(&shown, "yards.prod")[0], "postgres://loader@127.0.0.1:1/yard?connect_timeout=1");
    let variables = shown["variables"].as_array().expect("variables");
    let known = |name: &str| variables.iter().find(|variable| variable["name"] == name).expect(name).clone();
    assert_eq!(known("BLOCKYARD_SECRET")["option"], "--secret");
    assert_eq!(known("BLOCKYARD_SEKRET"), json!({"name": "BLOCKYARD_SEKRET", "option": null, "known": false}));
    // A yard that is given by a malformed URL, which may contain a password.
    for url in ["postgres://loader:canary@host:port/x", "mysql://loader:canary@host/x", "loader:canary@host"] {
        let shown = run_command(&mut yard.command(&["config", "--json", "--yard", url]), None);
        assert_eq!(shown.code, 0, "{}", shown.stderr);
        assert!(!(shown.stdout.clone() + &shown.stderr).contains("canary"), "{}", shown.stdout);
    }
}
