//! Two bundles with three releases each, `vet` and `kennel`, are locked and upgraded together. Blocks
//! of `kennel` refer to a block of a third bundle.

use std::fs;

use blockyard_tests::{TestYard, bundle, on_both, run_command};
use serde_json::{Value, json};

on_both!(
    each_bundle_is_upgraded_completely_or_not_at_all,
    one_bundle_is_upgraded_and_the_other_is_not,
    upgrade_is_refused_for_a_block_that_does_not_convert,
    two_bundles_are_locked_and_installed_on_another_machine,
);

const RELEASES: [&str; 3] = ["1.0.0", "1.1.0", "2.0.0"];

/// Values and permissions that the releases 2.0.0 need.
const ANSWERS: [&str; 9] = [
    "--yes",
    "--grant",
    "http https://data.vet.example",
    "--grant",
    "http https://feed.kennel.example",
    "--set",
    "vet-clinic/north:region=eu",
    "--set",
    "kennel-run/a:keeper=Ada",
];

/// Publishes the releases of both bundles in a registry folder. Returns the folder.
fn registry(yard: &TestYard) -> String {
    let (folder, key) = (yard.path("animals").display().to_string(), yard.path("key").display().to_string());
    for release in RELEASES {
        for name in ["vet", "kennel"] {
            let file = bundle(&format!("{name}_{}", release.replace('.', "_")));
            yard.ok(&["publish", &file, "--registry", &folder, "--name", "animals", "--new-signing-key", &key]);
        }
    }
    folder
}

/// Installs both bundles in release 1.0.0, and creates a clinic, and a run that refers to a database. Returns
/// the registry.
fn with_run(yard: &TestYard) -> String {
    let registry = registry(yard);
    yard.ok(&["install", "vet@=1.0.0", "kennel@=1.0.0", "--registry", &registry, "--yes"]);
    yard.create("vet-clinic/north", &json!({"address": "north.example:8443", "token": "north-secret"}));
    let database = yard.path("dogs.db").display().to_string();
    yard.create("sql-database/dogs", &json!({"dialect": "sqlite", "database": database}));
    let run = json!({"size": "4x6", "code": "run-secret", "register": {"$block": "sql-database/dogs"}});
    yard.create("kennel-run/a", &run);
    registry
}

/// Returns the versions of the bundles that the newest revisions of both blocks use.
fn used(yard: &TestYard) -> [String; 2] {
    ["vet-clinic/north", "kennel-run/a"].map(|address| {
        let block = yard.json(&["show", address]);
        block["bundle"]["version"].as_str().expect("a version").to_owned()
    })
}

fn describe(yard: &TestYard) -> String {
    yard.json(&["call", "kennel-run/a", "describe"]).as_str().expect("text").to_owned()
}

fn each_bundle_is_upgraded_completely_or_not_at_all(yard: &TestYard) {
    let registry = with_run(yard);
    let upgrade = ["upgrade", "--registry", registry.as_str()];
    let planned = yard.run(&[&upgrade[..], &["--plan"]].concat());
    for shown in ["vet 1.0.0 → 2.0.0", "kennel 1.0.0 → 2.0.0", "+ keeper (required)", "+ region (required)"] {
        assert!(planned.stdout.contains(shown), "{shown}: {}", planned.stdout);
    }
    // Nothing is given, or everything but the permission and the value of one bundle.
    let without_kennel: Vec<&str> = [&ANSWERS[..3], &ANSWERS[5..7]].concat();
    for (given, code, versions) in [
        (&ANSWERS[..1], 4, ["1.0.0", "1.0.0"]),
        (&[&ANSWERS[..3], &ANSWERS[7..]].concat()[..], 2, ["1.0.0", "1.0.0"]),
        (&without_kennel[..], 4, ["2.0.0", "1.0.0"]),
        (&[&ANSWERS[..1], &ANSWERS[7..]].concat()[..], 2, ["2.0.0", "1.0.0"]),
    ] {
        let output = yard.run(&[&upgrade[..], given].concat());
        assert_eq!(output.code, code, "{given:?}: {}{}", output.stdout, output.stderr);
        assert_eq!(used(yard), versions, "{given:?}");
        let bundles = yard.json(&["bundles"]);
        let kennels = bundles["bundles"].as_array().expect("bundles").iter().filter(|own| own["name"] == "kennel");
        assert_eq!(kennels.map(|own| own["version"].clone()).collect::<Vec<_>>(), ["1.0.0"], "{given:?}");
    }
    let done = yard.json(&[&upgrade[..], &ANSWERS[..1], &ANSWERS[3..5], &ANSWERS[7..]].concat());
    assert_eq!(done["upgraded"].as_array().map(Vec::len), Some(1), "{done}");
    assert_eq!(used(yard), ["2.0.0", "2.0.0"]);
    assert_eq!(describe(yard), "kennel 2.0.0: 4 by 6, opened by Ada, listed in sql-database/dogs");
    assert_eq!(yard.reveal("kennel-run/a", "code"), "run-secret");
    assert_eq!(yard.reveal("vet-clinic/north", "access_token"), "north-secret");
    yard.ok(&["verify"]);
    yard.ok(&["doctor"]);
}

fn one_bundle_is_upgraded_and_the_other_is_not(yard: &TestYard) {
    let registry = with_run(yard);
    let upgrade = |name: &str| {
        let done =
            yard.json(&[&["upgrade", name, "--registry", &registry][..], &ANSWERS[..3], &ANSWERS[5..7]].concat());
        assert_eq!(done["upgraded"].as_array().map(Vec::len), Some(1), "{done}");
    };
    upgrade("vet");
    assert_eq!(used(yard), ["2.0.0", "1.0.0"]);
    assert_eq!(describe(yard), "kennel 1.0.0: 4x6, with a code, listed in sql-database/dogs");
    // The newest revision of a block uses it.
    yard.fails(6, &["uninstall", "kennel@1.0.0"]);
    yard.ok(&["upgrade", "kennel@1.1.0", "--registry", &registry, "--yes"]);
    assert_eq!(describe(yard), "kennel 1.1.0: 4x6, with a code, listed in sql-database/dogs");
    yard.ok(&["rollback", "kennel-run/a@1"]);
    assert_eq!(used(yard), ["2.0.0", "1.0.0"]);
}

fn upgrade_is_refused_for_a_block_that_does_not_convert(yard: &TestYard) {
    let registry = with_run(yard);
    yard.create("kennel-run/b", &json!({"size": "large"}));
    let flags = [&["upgrade", "--registry", &registry][..], &ANSWERS, &["--set", "kennel-run/b:keeper=Bo"]].concat();
    let output = yard.run(&flags);
    assert_eq!(output.code, 4, "{}{}", output.stdout, output.stderr);
    assert!((output.stdout + &output.stderr).contains("the size `large` is not `WIDTHxLENGTH`"));
    assert_eq!(used(yard), ["2.0.0", "1.0.0"]);
    yard.ok(&["set", "kennel-run/b", "--set", "size=9x9"]);
    let kennel =
        [&["upgrade", "kennel", "--registry", &registry][..], &ANSWERS[..1], &ANSWERS[3..5], &ANSWERS[7..]].concat();
    yard.ok(&[&kennel[..], &["--set", "kennel-run/b:keeper=Bo"]].concat());
    assert_eq!(yard.config("kennel-run/b")["width"], 9);
}

fn two_bundles_are_locked_and_installed_on_another_machine(yard: &TestYard) {
    let project = yard.path("project");
    fs::create_dir(&project).expect("a folder");
    fs::rename(registry(yard), project.join("animals")).expect("moved");
    let text = "[registries]\nanimals = \"animals\"\n\n[bundles]\nvet = \"^1\"\nkennel = \"=1.0.0\"\n";
    fs::write(project.join("blockyard.toml"), text).expect("a file");
    let install = |yard: &TestYard, arguments: &[&str]| {
        let in_project = |arguments: &[&str]| {
            let output = run_command(yard.command(arguments).current_dir(&project), None);
            assert_eq!(output.code, 0, "{arguments:?}: {}{}", output.stdout, output.stderr);
        };
        in_project(&["trust"]);
        in_project(arguments);
        let bundles = yard.json(&["bundles"]);
        let listed = bundles["bundles"].as_array().expect("bundles").iter();
        let ours = listed.filter(|bundle| bundle["name"] == "vet" || bundle["name"] == "kennel");
        let mut ours: Vec<[Value; 3]> =
            ours.map(|bundle| ["name", "version", "sha256"].map(|key| bundle[key].clone())).collect();
        ours.sort_by_key(|[name, ..]| name.to_string());
        ours
    };
    let first = install(yard, &["install", "--yes"]);
    let versions: Vec<&Value> = first.iter().map(|[_, version, _]| version).collect();
    assert_eq!(versions, ["1.0.0", "1.1.0"]);
    let other = TestYard::empty();
    other.ok(&["init", "--key", "file"]);
    assert_eq!(install(&other, &["install", "--locked", "--yes"]), first);
}
