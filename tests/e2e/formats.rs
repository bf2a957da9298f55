//! Yards with other format versions: older yards are upgraded, newer ones are rejected unchanged.

use std::process::{Command, Stdio};

use blockyard_tests::environment::program;
use blockyard_tests::{Backend, CommandOutput, TestYard, available, bundle, on_both, root, run_command};
use serde_json::{Value, json};

on_both!(
    newer_format_is_rejected_without_changes,
    yard_with_sealed_serializations_opens,
    yard_with_sealed_serializations_accepts_changes,
    seal_covers_the_stored_bytes,
);

/// Key of the yards in `fixtures/yards`.
const KEY: &str = "YmxvY2t5YXJkIGZpeHR1cmUga2V5LCAzMiBieXRlcyE=";

/// Permission for the secret sources that the yards in `fixtures/yards` use.
const PERMITTED: &str = "[sources]\nallow = [\"env:FIXTURE_*\"]\n";

/// A yard of format 1, created by a version of Blockyard that used it.
struct OldYard(TestYard);

impl OldYard {
    fn new() -> Self {
        let yard = TestYard::empty();
        let fixture = root().join("tests/fixtures/yards/format-1.db");
        std::fs::copy(fixture, yard.path("yard.db")).expect("a copy of the old yard");
        // The yard was created on another machine, so its sources require permission.
        yard.configure(PERMITTED);
        Self(yard)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.0.command(arguments);
        command.env("BLOCKYARD_KEY", KEY).env("FIXTURE_PW", "sourced-secret");
        command
    }

    fn run(&self, arguments: &[&str]) -> CommandOutput {
        run_command(&mut self.command(arguments), None)
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.code, 0, "{arguments:?}: {}{}", output.stdout, output.stderr);
        output.stdout
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[arguments, &["--json"]].concat())).expect("one JSON document")
    }

    /// Returns the action and the subject of the audit lines, oldest first.
    fn trail(&self) -> Vec<(String, String)> {
        let trail = self.json(&["audit"]);
        let word = |line: &Value, field: &str| line[field].as_str().expect("a word").to_owned();
        let lines = trail["audit"].as_array().expect("lines").iter().rev();
        lines.map(|line| (word(line, "action"), word(line, "subject"))).collect()
    }

    /// Returns whether `doctor` passed, and its detail on the audit trail.
    fn doctor(&self) -> (bool, String) {
        let report = self.run(&["doctor", "--json"]);
        let report: Value = serde_json::from_str(&report.stdout).expect("one JSON document");
        let steps = report["steps"].as_array().expect("steps");
        let audit = steps.iter().find(|step| step["name"] == "audit").expect("the step `audit`");
        (report["passed"] == json!(true), audit["detail"].as_str().unwrap_or_default().to_owned())
    }

    fn format(&self) -> Option<String> {
        self.0.sql("select max(version) from _sqlx_migrations")
    }
}

#[test]
fn reading_commands_open_an_old_yard() {
    for arguments in [
        &["list"][..],
        &["show", "sql-database/warehouse@1"],
        &["history", "sql-database/warehouse"],
        &["diff", "sql-database/warehouse@1", "sql-database/warehouse"],
        &["bundles"],
        &["types"],
        &["type", "sql-database"],
        &["grants"],
        &["audit"],
        &["key", "status"],
    ] {
        // Any command can be the first one, which upgrades the yard.
        let yard = OldYard::new();
        assert!(yard.json(arguments).is_object(), "{arguments:?}");
    }
    assert!(OldYard::new().ok(&["export"]).contains("[blocks.\"sql-database/warehouse\"]"));
}

#[test]
fn old_yard_preserves_its_contents() {
    let yard = OldYard::new();
    assert_eq!(yard.json(&["list"])["blocks"].as_array().map(Vec::len), Some(3));
    let config = |port: u16| {
        json!({ "database": "warehouse", "dialect": "postgres", "host": "127.0.0.1", "options": { "sslmode": "disable" },
                "password": "********", "port": port, "username": "loader" })
    };
    assert_eq!(yard.json(&["show", "sql-database/warehouse@1"])["config"], config(5432));
    assert_eq!(yard.json(&["show", "sql-database/warehouse"])["config"], config(5433));
    let history = yard.json(&["history", "sql-database/warehouse"]);
    let changed: Vec<&Value> =
        history["revisions"].as_array().expect("revisions").iter().map(|revision| &revision["changed"]).collect();
    assert_eq!(json!(changed), json!([["port"], ["password (secret)"], []]));
    assert_eq!(history["revisions"][0]["author"], json!("ada@vm"));
    // The origins are those of the audit trail, and no revision has a reason.
    let origin =
        |number: usize| json!([history["revisions"][number]["action"], history["revisions"][number]["reason"]]);
    assert_eq!(json!([origin(0), origin(2)]), json!([["set", null], ["create", null]]));
    for (address, secret) in [
        ("sql-database/warehouse@1", "first-fixture-secret"),
        ("sql-database/warehouse@2", "second-fixture-secret"),
        ("sql-database/warehouse@3", "second-fixture-secret"),
        ("sql-database/sourced", "sourced-secret"),
    ] {
        assert_eq!(yard.ok(&["reveal", address, "password", "--yes"]), secret, "{address}");
    }
    assert_eq!(yard.json(&["doctor"])["passed"], json!(true));
}

#[test]
fn old_yard_accepts_changes() {
    let yard = OldYard::new();
    assert_eq!(yard.json(&["set", "sql-database/warehouse", "--set", "port=5434"])["revision"], json!(4));
    assert_eq!(yard.ok(&["reveal", "sql-database/warehouse", "password", "--yes"]), "second-fixture-secret");
    yard.ok(&["rollback", "sql-database/warehouse@1"]);
    assert_eq!(yard.ok(&["reveal", "sql-database/warehouse", "password", "--yes"]), "first-fixture-secret");
    yard.ok(&["delete", "sql-database/warehouse"]);
    yard.ok(&["restore", "sql-database/warehouse"]);
    yard.ok(&["purge", "sql-database/warehouse", "--yes"]);
    assert_ne!(yard.run(&["reveal", "sql-database/warehouse@1", "password", "--yes"]).code, 0);
    yard.ok(&["install", &bundle("zoo"), "--yes"]);
    yard.ok(&["create", "zoo-keeper/ada", "--set", "name=Ada"]);
    yard.ok(&["create", "zoo-keeper/bob", "--set", "name=Bob", "--set", "teacher=zoo-keeper/ada"]);
    assert_eq!(yard.run(&["delete", "zoo-keeper/ada"]).code, 6);
    assert_eq!(yard.json(&["doctor"])["passed"], json!(true));
}

#[test]
fn audit_trail_of_an_old_yard_is_continued_and_verified() {
    let yard = OldYard::new();
    let old = [
        ("install", "sql"),
        ("create", "sql-database/flights"),
        ("create", "sql-database/warehouse"),
        ("set", "sql-database/warehouse"),
        ("set", "sql-database/warehouse"),
        ("create", "sql-database/sourced"),
    ]
    .map(|(action, subject)| (action.to_owned(), subject.to_owned()));
    assert_eq!(yard.trail(), old);
    yard.ok(&["set", "sql-database/warehouse", "--set", "port=5434"]);
    let trail = yard.trail();
    assert_eq!(trail[..6], old);
    assert_eq!(trail[6..], [("set".to_owned(), "sql-database/warehouse".to_owned())]);
    let (passed, audit) = yard.doctor();
    assert!(passed && audit.contains("7 lines"), "{audit}");
    if !available("BLOCKYARD_TEST_SQLITE3") {
        return;
    }
    let change = "update audit set subject = 'sql-database/other' where id = 3";
    assert_eq!(yard.0.sql(change), None, "the trail is append-only");
    assert!(yard.0.sql(&format!("drop trigger audit_stays; {change}")).is_some());
    let (passed, audit) = yard.doctor();
    assert!(!passed && audit.contains("does not match its hash"), "{audit}");
    assert_eq!(yard.run(&["doctor"]).code, 1);
    assert!(yard.0.sql("update audit set subject = 'sql-database/warehouse' where id = 3").is_some());
    assert!(yard.doctor().0, "the trail is intact again");
    assert!(yard.0.sql("drop trigger audit_is_kept; delete from audit where id = 2").is_some());
    let (passed, audit) = yard.doctor();
    assert!(!passed && audit.contains("are missing"), "{audit}");
}

#[test]
fn concurrent_openings_migrate_an_old_yard() {
    let yard = OldYard::new();
    let openers: Vec<_> = (0..8)
        .map(|number| {
            let arguments = ["set", "sql-database/warehouse", "--set", &format!("port={}", 6000 + number)];
            yard.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs")
        })
        .collect();
    for opener in openers {
        let ended = opener.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    assert_eq!(yard.json(&["show", "sql-database/warehouse"])["newest"], json!(11));
    assert_eq!(yard.json(&["doctor"])["passed"], json!(true));
}

#[test]
fn old_yard_is_unchanged_without_its_key() {
    let yard = OldYard::new();
    let refused = yard.0.fails(5, &["list"]);
    assert!(refused.contains("BLOCKYARD_KEY"), "{refused}");
    let wrong =
        run_command(yard.command(&["list"]).env("BLOCKYARD_KEY", "d3Jvbmcga2V5LCB3cm9uZyBrZXksIHdyb25nIGtleSE="), None);
    assert_eq!(wrong.code, 5, "{wrong:?}");
    if available("BLOCKYARD_TEST_SQLITE3") {
        assert_eq!(yard.format().as_deref(), Some("1\n"));
    }
    yard.ok(&["list"]);
}

fn newer_format_is_rejected_without_changes(yard: &TestYard) {
    if yard.backend() == Backend::Sqlite && !available("BLOCKYARD_TEST_SQLITE3") {
        return;
    }
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    let newer = "insert into _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
         select 99, description, installed_on, success, checksum, execution_time from _sqlx_migrations where version = 2";
    assert!(yard.sql(newer).is_some());
    assert!(yard.sql("update yard set needs = '9.9.9'").is_some());
    let content =
        "select (select count(*) from audit), (select count(*) from revisions), (select count(*) from bundles),
         (select max(version) from _sqlx_migrations), (select key_id from yard)";
    let before = yard.sql(content);
    assert!(before.is_some());
    for arguments in [
        &["list"][..],
        &["show", "zoo-keeper/ada"],
        &["create", "zoo-keeper/bob", "--set", "name=Bob"],
        &["set", "zoo-keeper/ada", "--set", "name=Eve"],
        &["call", "zoo-keeper/ada", "introduce"],
        &["install", &bundle("sql"), "--yes"],
        &["key", "rotate"],
        &["key", "status"],
        &["export"],
        &["purge", "zoo-keeper/ada", "--yes"],
    ] {
        let refused = yard.fails(4, arguments);
        assert!(refused.contains("has format 99, which needs Blockyard 9.9.9"), "{arguments:?}: {refused}");
        assert!(refused.contains("nothing was changed"), "{arguments:?}: {refused}");
    }
    let doctor = yard.run(&["doctor"]);
    assert_eq!(doctor.code, 1);
    assert!(doctor.stdout.contains("needs Blockyard 9.9.9"), "{doctor:?}");
    assert_eq!(yard.sql(content), before);
    yard.fails(6, &["init", "--key", "file"]);
}

/// A yard of format 2, created by a version of Blockyard that used it: see `make-format-2.sh`.
struct SecondFormat(TestYard);

impl SecondFormat {
    /// Returns `None` if the `sqlite3` shell is missing, which extracts the bytes of the bundle for
    /// PostgreSQL.
    fn new(backend: Backend) -> Option<Self> {
        let yard = TestYard::empty_on(backend);
        let folder = root().join("tests/fixtures/yards");
        match backend {
            Backend::Sqlite => drop(std::fs::copy(folder.join("format-2.db"), yard.path("yard.db")).expect("a copy")),
            Backend::Postgres if !available("BLOCKYARD_TEST_SQLITE3") => return None,
            Backend::Postgres => {
                let mut shell = program("sqlite3");
                shell.arg(folder.join("format-2.db")).arg("select lower(hex(bytes)) from bundle_bytes");
                let bytes = run_command(&mut shell, None).stdout;
                let dump = std::fs::read_to_string(folder.join("format-2.sql")).expect("the dump");
                let dump = dump.replace("@BUNDLE@", &format!("\\x{}", bytes.trim()));
                let file = yard.path("dump.sql");
                std::fs::write(&file, dump.replace("yard_of_format_2", yard.schema())).expect("a file");
                yard.sql_file(&file);
            }
        }
        yard.configure(PERMITTED);
        Some(Self(yard))
    }

    fn run(&self, arguments: &[&str]) -> CommandOutput {
        let mut command = self.0.command(arguments);
        command.env("BLOCKYARD_KEY", KEY).env("FIXTURE_BADGE", "sourced-badge").env("FIXTURE_DOOR", "sourced-door");
        run_command(&mut command, None)
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.code, 0, "{arguments:?}: {}{}", output.stdout, output.stderr);
        output.stdout
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[arguments, &["--json"]].concat())).expect("one JSON document")
    }

    fn secrets_open(&self, lion: &str) {
        for (field, secret) in [
            ("place.code", "code-secret"),
            ("lock.word", "word-secret"),
            ("spares.1", "spare-1"),
            ("doors.to/the~south", "door-secret"),
            ("keeper.config.badge", "badge-two"),
        ] {
            assert_eq!(self.ok(&["reveal", lion, field, "--yes"]), secret, "{lion} {field}");
        }
    }
}

fn yard_with_sealed_serializations_opens(yard: &TestYard) {
    let Some(old) = SecondFormat::new(yard.backend()) else { return };
    assert_eq!(old.json(&["list"])["blocks"].as_array().map(Vec::len), Some(5));
    for revision in ["@1", "@2", "@3", "@4", ""] {
        old.secrets_open(&format!("zoo-cage/lion{revision}"));
    }
    assert_eq!(old.ok(&["reveal", "zoo-keeper/ada@1", "badge", "--yes"]), "badge-one");
    let notes = &old.json(&["show", "zoo-cage/lion@1"])["config"]["notes"];
    assert_eq!(notes["big"], json!(18_446_744_073_709_551_615_u64));
    assert_eq!(notes["third"].as_f64(), Some(0.333_333_333_333_333_3));
    assert_eq!(notes["m"].as_f64(), Some(1e-7));
    assert_eq!(notes["nested"]["b"][2], json!({"x": true, "y": null}));
    assert_eq!(old.json(&["history", "zoo-cage/lion"])["revisions"].as_array().map(Vec::len), Some(4));
    assert!(old.ok(&["call", "zoo-cage/inner", "look"]).contains("Ada Löwe"));
    assert_eq!(old.ok(&["reveal", "zoo-keeper/bob", "badge", "--yes"]), "sourced-badge");
    old.ok(&["call", "zoo-cage/lion", "open-all"]);
    old.ok(&["export"]);
    assert_eq!(old.json(&["doctor"])["passed"], json!(true));
}

fn yard_with_sealed_serializations_accepts_changes(yard: &TestYard) {
    let Some(old) = SecondFormat::new(yard.backend()) else { return };
    old.ok(&["set", "zoo-cage/lion", "--set", "warmth=1e2"]);
    old.secrets_open("zoo-cage/lion");
    old.ok(&["rollback", "zoo-cage/lion@2"]);
    old.secrets_open("zoo-cage/lion");
    old.ok(&["restore", "zoo-keeper/deleted"]);
    old.ok(&["key", "rotate", "--to", "file"]);
    let run = |arguments: &[&str]| {
        let mut command = old.0.command(arguments);
        run_command(command.env("FIXTURE_BADGE", "sourced-badge").env("FIXTURE_DOOR", "sourced-door"), None)
    };
    assert_eq!(run(&["reveal", "zoo-cage/lion@1", "place.code", "--yes"]).stdout, "code-secret");
    assert_eq!(run(&["purge", "zoo-cage/lion", "--yes"]).code, 0);
    assert_eq!(run(&["show", "zoo-cage/lion@1"]).code, 0);
    assert_eq!(run(&["doctor"]).code, 0);
}

/// A different text for the same document counts as a change, so that the seal does not depend on
/// how a program parses and serializes JSON.
fn seal_covers_the_stored_bytes(yard: &TestYard) {
    if yard.backend() == Backend::Sqlite && !available("BLOCKYARD_TEST_SQLITE3") {
        return;
    }
    yard.create("zoo-cage/c", &json!({"animal": "newt", "warmth": 1.5, "notes": {"b": 1, "a": 2}}));
    yard.disable_triggers("revisions");
    let set = |text: &str| yard.sql(&format!("update revisions set config = '{text}'")).expect("changed");
    let stored = r#"{"animal":"newt","notes":{"a":2,"b":1},"warmth":1.5}"#;
    assert_eq!(yard.sql("select config from revisions").as_deref().map(str::trim), Some(stored));
    for other in [
        r#"{"animal":"newt","notes":{"b":1,"a":2},"warmth":1.5}"#,
        r#"{"animal":"newt", "notes":{"a":2,"b":1},"warmth":1.5}"#,
        r#"{"animal":"newt","notes":{"a":2,"b":1},"warmth":1.50}"#,
        r#"{"animal":"newt","notes":{"a":2,"b":1},"warmth":15e-1}"#,
        r#"{"animal":"\u006eewt","notes":{"a":2,"b":1},"warmth":1.5}"#,
    ] {
        set(other);
        let refused = yard.fails(5, &["show", "zoo-cage/c"]);
        assert!(refused.contains("was modified by a program other than Blockyard"), "{other}: {refused}");
    }
    set(stored);
    yard.ok(&["show", "zoo-cage/c"]);
}
