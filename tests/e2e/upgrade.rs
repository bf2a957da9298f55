//! `blockyard upgrade` with real releases: plans, agreement, answers, and processes that are killed.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use blockyard_tests::{Backend, CommandOutput, TestYard, bundle, on_both};
use serde_json::{Value, json};

use crate::prompts::Conversation;

on_both!(
    upgrade_shows_its_plan_and_moves_every_block,
    exit_code_of_a_plan_states_its_result,
    upgrade_changes_nothing_until_values_and_grants_are_given,
    both_versions_serve_calls_and_rollback_returns_to_the_old_one,
    answers_are_read_from_toml_and_json,
    upgrade_to_a_minor_version_needs_yes_only,
    upgrade_without_a_bundle_upgrades_all,
    older_version_must_be_named,
    killed_upgrade_leaves_the_old_version,
);

/// The origin that release 2.0.0 requests in addition.
const ORIGIN: &str = "http https://data.vet.example";

/// Publishes the releases of the bundle `vet` in a registry folder. Returns the folder.
fn registry(yard: &TestYard, releases: &[&str]) -> String {
    let (folder, key) = (yard.path("vets").display().to_string(), yard.path("key").display().to_string());
    for release in releases {
        let file = bundle(&format!("vet_{}", release.replace('.', "_")));
        yard.ok(&["publish", &file, "--registry", &folder, "--name", "vets", "--new-signing-key", &key]);
    }
    folder
}

/// Installs release 1.0.0 and creates `vet-clinic/north` and a patient of it. Returns the registry
/// with all releases.
fn with_clinic(yard: &TestYard) -> String {
    let registry = registry(yard, &["1.0.0", "1.1.0", "2.0.0"]);
    yard.ok(&["install", "vet@=1.0.0", "--registry", &registry, "--yes"]);
    yard.create(
        "vet-clinic/north",
        &json!({"address": "north.example:8443", "fax": "+1 555", "token": "north-secret"}),
    );
    yard.ok(&["create", "vet-patient/rex", "--set", "name=Rex", "--set", "clinic=vet-clinic/north"]);
    registry
}

/// Returns the installed versions of `vet`, and the version and the revision that `vet-clinic/north`
/// uses.
fn state(yard: &TestYard) -> (Vec<String>, String, u64) {
    let bundles = yard.json(&["bundles"]);
    let of_vet = bundles["bundles"].as_array().expect("bundles").iter().filter(|bundle| bundle["name"] == "vet");
    let versions = of_vet.map(|bundle| bundle["version"].as_str().expect("a version").to_owned()).collect();
    let north = yard.json(&["show", "vet-clinic/north"]);
    let used = north["bundle"]["version"].as_str().expect("a version").to_owned();
    (versions, used, north["newest"].as_u64().expect("a revision"))
}

fn old_state() -> (Vec<String>, String, u64) {
    (vec!["1.0.0".to_owned()], "1.0.0".to_owned(), 1)
}

fn upgrade<'a>(registry: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["upgrade", "vet", "--registry", registry][..], more].concat()
}

/// The flags of a complete upgrade to 2.0.0.
const ALL: [&str; 5] = ["--yes", "--grant", ORIGIN, "--set", "vet-clinic/north:region=eu"];

/// Runs `upgrade --plan --json`, which must end with this exit code and print no error.
fn plan_as_json(yard: &TestYard, expected: i32, arguments: &[&str]) -> Value {
    let CommandOutput { code, stdout, stderr } = yard.run(&[arguments, &["--json"]].concat());
    assert_eq!(code, expected, "{arguments:?}: {stdout}{stderr}");
    assert!(!stderr.contains("error"), "{stderr}");
    serde_json::from_str(&stdout).expect("one JSON document")
}

fn describe(yard: &TestYard, address: &str) -> String {
    yard.json(&["call", address, "describe"]).as_str().expect("text").to_owned()
}

fn upgrade_shows_its_plan_and_moves_every_block(yard: &TestYard) {
    let registry = with_clinic(yard);
    let CommandOutput { code, stdout: plan, stderr } = yard.run(&upgrade(&registry, &["--plan"]));
    assert_eq!(code, 4, "{plan}");
    assert!(!stderr.contains("error"), "{stderr}");
    for shown in [
        "vet 1.0.0 → 2.0.0",
        "! new capability `http https://data.vet.example`",
        "block type vet-clinic, version 1 → 2:",
        "  + region (required)",
        "  - fax",
        "  + operation waiting (read)",
        "vet-clinic/north@1, of version 1.0.0, cannot be converted",
        "  - fax: +1 555",
        "  ~ token: the secret moves to access_token",
        "  note by the bundle: clinics no longer have a fax number; +1 555 is not used",
        "  ! /region: is missing, and it is required",
        "vet-patient/rex@1, of version 1.0.0, is upgraded",
    ] {
        assert!(plan.contains(shown), "{shown}: {plan}");
    }
    assert!(!plan.contains("north-secret"), "{plan}");
    assert_eq!(state(yard), old_state());
    let planned = plan_as_json(yard, 4, &upgrade(&registry, &["--plan"]));
    assert_eq!(planned["plans"][0]["blocks"][0]["action"], "fail");
    assert_eq!(planned["upgraded"], json!([]));
    let done = yard.json(&upgrade(&registry, &ALL));
    assert_eq!(done["upgraded"][0]["version"], "2.0.0");
    assert_eq!(done["upgraded"][0]["blocks"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        yard.config("vet-clinic/north"),
        json!({"host": "north.example", "port": 8443, "region": "eu", "access_token": "********"})
    );
    assert_eq!(yard.reveal("vet-clinic/north", "access_token"), "north-secret");
    assert_eq!(describe(yard, "vet-patient/rex"), "Rex at vet 2.0.0: north.example:8443 in eu, no motto, with a token");
    let history = yard.json(&["history", "vet-clinic/north"])["revisions"].clone();
    assert_eq!(
        (&history[0]["action"], &history[0]["bundle_version"]),
        (&json!("upgrade"), &json!("2.0.0")),
        "{history}"
    );
    assert_eq!(history[0]["upgraded_from"], "1.0.0");
    assert!(yard.ok(&upgrade(&registry, &["--yes"])).contains("nothing to upgrade"));
    assert_eq!(yard.json(&upgrade(&registry, &["--yes"])), json!({"plans": [], "upgraded": []}));
    yard.ok(&["doctor"]);
}

fn exit_code_of_a_plan_states_its_result(yard: &TestYard) {
    let registry = with_clinic(yard);
    let plan = |code: i32, arguments: &[&str]| plan_as_json(yard, code, &[arguments, &["--plan"]].concat());
    let names = |plan: &Value| {
        let plans = plan["plans"].as_array().expect("plans").iter();
        plans.map(|plan| plan["bundle"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    // A block that lacks a value prevents the upgrade; a missing grant does not.
    assert_eq!(names(&plan(4, &upgrade(&registry, &[]))), ["vet"]);
    assert_eq!(names(&plan(4, &["upgrade", "--registry", &registry])), ["vet"]);
    let region = ["--set", "vet-clinic/north:region=eu"];
    assert_eq!(names(&plan(8, &upgrade(&registry, &region))), ["vet"]);
    assert_eq!(names(&plan(8, &["upgrade", "vet@1.1.0", "--registry", &registry])), ["vet"]);
    yard.fails(3, &["upgrade", "vet@3.0.0", "--registry", &registry, "--plan"]);
    assert_eq!(state(yard), old_state());
    yard.ok(&upgrade(&registry, &ALL));
    assert!(names(&plan(0, &upgrade(&registry, &[]))).is_empty());
    assert!(names(&plan(0, &["upgrade", "--registry", &registry])).is_empty());
}

fn upgrade_changes_nothing_until_values_and_grants_are_given(yard: &TestYard) {
    let registry = with_clinic(yard);
    let region = ["--set", "vet-clinic/north:region=eu"];
    let refused = yard.fails(4, &upgrade(&registry, &["--yes", "--grant", ORIGIN]));
    assert!(
        refused.contains("error: bundle `vet` was not upgraded to 2.0.0: 1 block cannot be converted"),
        "{refused}"
    );
    assert!(refused.contains("/region: is missing, and it is required"), "{refused}");
    assert!(refused.contains("`--set TYPE/NAME:FIELD=VALUE`"), "{refused}");
    assert_eq!(state(yard), old_state());
    for flags in [&[][..], &["--yes"], &["--grant", ORIGIN]] {
        let refused = yard.fails(2, &[&upgrade(&registry, flags)[..], &region].concat());
        assert!(refused.contains("! new capability `http https://data.vet.example`"), "{flags:?}: {refused}");
        assert_eq!(state(yard), old_state(), "{flags:?}");
    }
    let refused = yard.fails(2, &[&upgrade(&registry, &["--yes"])[..], &region].concat());
    assert!(refused.contains(&format!("confirm with `--grant '{ORIGIN}'`")), "{refused}");
    // A value for a block that is not upgraded, and a secret on the command line.
    yard.fails(3, &upgrade(&registry, &["--plan", "--set", "vet-clinic/south:region=eu"]));
    let refused = yard.fails(2, &upgrade(&registry, &["--plan", "--set", "vet-clinic/north:access_token=s3cret"]));
    assert!(refused.contains("is a secret") && !refused.contains("s3cret"), "{refused}");
    yard.fails(2, &upgrade(&registry, &["--plan", "--set", "region=eu"]));
    assert_eq!(state(yard), old_state());
    yard.ok(&upgrade(&registry, &ALL));
    assert_eq!(state(yard), (vec!["1.0.0".to_owned(), "2.0.0".to_owned()], "2.0.0".to_owned(), 2));
}

fn both_versions_serve_calls_and_rollback_returns_to_the_old_one(yard: &TestYard) {
    let registry = with_clinic(yard);
    yard.ok(&upgrade(&registry, &ALL));
    assert_eq!(describe(yard, "vet-clinic/north@1"), "vet 1.0.0: north.example:8443");
    assert!(describe(yard, "vet-clinic/north").starts_with("vet 2.0.0: "));
    yard.ok(&["rollback", "vet-clinic/north@1"]);
    yard.ok(&["rollback", "vet-patient/rex@1"]);
    assert_eq!(describe(yard, "vet-patient/rex"), "Rex at vet 1.0.0: north.example:8443");
    assert_eq!(yard.reveal("vet-clinic/north", "token"), "north-secret");
    assert_eq!(state(yard).1, "1.0.0");
    // New blocks use the newest version.
    let south = ["--set", "host=south.example", "--set", "port=1", "--set", "region=us"];
    yard.ok(&[&["create", "vet-clinic/south"][..], &south].concat());
    assert!(describe(yard, "vet-clinic/south").starts_with("vet 2.0.0: south.example:1 in us"));
    assert_eq!(describe(yard, "vet-clinic/north"), "vet 1.0.0: north.example:8443");
    // The version is installed, so moving the blocks again needs neither a registry nor a grant.
    yard.ok(&["upgrade", "vet", "--yes", "--set", "vet-clinic/north:region=eu"]);
    assert_eq!(state(yard), (vec!["1.0.0".to_owned(), "2.0.0".to_owned()], "2.0.0".to_owned(), 4));
}

fn answers_are_read_from_toml_and_json(yard: &TestYard) {
    let registry = with_clinic(yard);
    let file = yard.path("answers");
    let answers = file.display().to_string();
    fs::write(&file, "[\"vet-clinic/north\"]\nregion = \"eu\"\naccess_token = \"new-secret\"\n").expect("a file");
    let planned = plan_as_json(yard, 8, &upgrade(&registry, &["--plan", "--answers", &answers]));
    assert_eq!(planned["plans"][0]["blocks"][0]["action"], "upgrade");
    assert!(!planned.to_string().contains("new-secret"), "{planned}");
    fs::write(&file, "[\"vet-clinic/north\"]\nregion = 7\naccess_token = \"new-secret").expect("a file");
    let refused = yard.fails(4, &upgrade(&registry, &["--plan", "--answers", &answers]));
    assert!(!refused.contains("new-secret"), "{refused}");
    fs::write(&file, r#"{"vet-clinic/north": {"region": "eu", "access_token": "new-secret"}}"#).expect("a file");
    yard.ok(&upgrade(&registry, &["--yes", "--grant", ORIGIN, "--answers", &answers]));
    assert_eq!(yard.reveal("vet-clinic/north", "access_token"), "new-secret");
    fs::remove_file(&file).expect("gone");
    assert_eq!(yard.any_file_contains("new-secret"), None);
}

fn upgrade_to_a_minor_version_needs_yes_only(yard: &TestYard) {
    let registry = with_clinic(yard);
    let to = ["upgrade", "vet@1.1.0", "--registry", &registry];
    let refused = yard.fails(2, &to);
    assert!(refused.contains("+ motto") && refused.contains("confirm with `--yes`"), "{refused}");
    assert_eq!(state(yard), old_state());
    yard.ok(&[&to[..], &["--yes"]].concat());
    assert_eq!(state(yard), (vec!["1.0.0".to_owned(), "1.1.0".to_owned()], "1.1.0".to_owned(), 2));
    yard.ok(&["set", "vet-clinic/north", "--set", "motto=Purr"]);
    yard.ok(&upgrade(&registry, &ALL));
    assert_eq!(yard.config("vet-clinic/north")["motto"], "Purr");
    yard.fails(3, &["upgrade", "vet@3.0.0", "--registry", &registry]);
    yard.fails(3, &["upgrade", "circus", "--registry", &registry]);
    yard.fails(2, &["upgrade", "vet@newest", "--registry", &registry]);
}

fn upgrade_without_a_bundle_upgrades_all(yard: &TestYard) {
    let registry = with_clinic(yard);
    let output = yard.run(&["upgrade", "--registry", &registry, "--yes", "--json"]);
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert_eq!(state(yard), old_state());
    let flags: Vec<&str> = [&["upgrade", "--registry", &registry][..], &ALL].concat();
    let done = yard.json(&flags);
    assert_eq!(done["upgraded"].as_array().map(Vec::len), Some(1), "{done}");
    assert_eq!(yard.json(&flags[..4])["upgraded"], json!([]));
}

fn older_version_must_be_named(yard: &TestYard) {
    let registry = with_clinic(yard);
    yard.ok(&["install", "vet@=1.1.0", "--registry", &registry, "--yes"]);
    yard.ok(&["upgrade", "vet@1.1.0", "--yes"]);
    // A registry that offers the old release only.
    let old = TestYard::empty();
    let old = self::registry(&old, &["1.0.0"]);
    assert!(yard.ok(&["upgrade", "vet", "--registry", &old, "--yes"]).contains("nothing to upgrade"));
    assert_eq!(state(yard).1, "1.1.0");
    yard.ok(&["upgrade", "vet@1.0.0", "--yes"]);
    assert_eq!((state(yard).1, state(yard).2), ("1.0.0".to_owned(), 3));
    assert_eq!(describe(yard, "vet-clinic/north"), "vet 1.0.0: north.example:8443");
}

/// On a terminal, the command asks for missing values and for agreement.
#[test]
fn upgrade_asks_on_a_terminal() {
    let yard = TestYard::on(Backend::Sqlite);
    let registry = with_clinic(&yard);
    let mut declined = Conversation::begin(&yard, &upgrade(&registry, &[]));
    declined.wait_for("`region` of `vet-clinic/north` is missing, and it is required");
    declined.answer("region", "eu");
    declined.answer("upgrade and grant this?", "n");
    assert_eq!(declined.end().0, 5);
    assert_eq!(state(&yard), old_state());
    let mut agreed = Conversation::begin(&yard, &upgrade(&registry, &[]));
    agreed.wait_for("and it is required");
    agreed.answer("region", "eu");
    agreed.answer("upgrade and grant this?", "y");
    let (code, output) = agreed.end();
    assert_eq!(code, 0, "{output}");
    assert!(!output.contains("north-secret"), "{output}");
    assert_eq!(yard.config("vet-clinic/north")["region"], "eu");
}

/// Kills the command at different moments. Before and after, all blocks use the same version.
fn killed_upgrade_leaves_the_old_version(yard: &TestYard) {
    let registry = with_clinic(yard);
    let blocks: Vec<Value> = (0..40).map(|number| json!({"address": format!("c{number}.example:1")})).collect();
    for (number, block) in blocks.iter().enumerate() {
        yard.create(&format!("vet-clinic/c{number}"), block);
    }
    let file = yard.path("answers");
    let regions = (0..blocks.len()).map(|number| format!("\"vet-clinic/c{number}\" = {{ region = \"eu\" }}\n"));
    fs::write(&file, regions.collect::<String>()).expect("a file");
    let answers = file.display().to_string();
    let flags = [&ALL[..], &["--answers", &answers]].concat();
    let versions = |yard: &TestYard| {
        let listed = yard.json(&["list"]);
        let listed = listed["blocks"].as_array().expect("blocks").iter();
        let mut versions: Vec<String> = listed
            .filter(|block| block["bundle"]["name"] == "vet")
            .map(|block| block["bundle"]["version"].as_str().expect("a version").to_owned())
            .collect();
        assert_eq!(versions.len(), blocks.len() + 2);
        versions.dedup();
        versions
    };
    let mut killed = 0;
    // The delay doubles, so that the command is killed in every phase until it finishes.
    for milliseconds in (3..).map(|step| 2_u64.saturating_pow(step)) {
        let mut child = yard.command(&upgrade(&registry, &flags));
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        std::thread::sleep(Duration::from_millis(milliseconds));
        let _ = child.kill();
        let finished = child.wait().expect("it ends").success();
        let after = versions(yard);
        assert!(after == ["1.0.0"] || after == ["2.0.0"], "after {milliseconds} ms: {after:?}");
        yard.ok(&["doctor"]);
        if after == ["2.0.0"] {
            break;
        }
        assert!(!finished, "it succeeded without effect");
        killed += 1;
    }
    assert!(killed > 0, "the upgrade was never killed before it finished");
    assert_eq!(yard.reveal("vet-clinic/north", "access_token"), "north-secret");
    let backend = if yard.backend() == Backend::Sqlite { "SQLite" } else { "PostgreSQL" };
    assert_eq!(state(yard).1, "2.0.0", "{backend}");
}
