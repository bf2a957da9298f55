//! What is installed and what registries offer: `search`, `info`, `registries`, `outdated`, `bundles`,
//! `uninstall`, `gc`, `verify` and unused grants.

use std::fs;

use blockyard::model::Schema;
use blockyard_tests::{Backend, TestYard, attack, binary, on_both, root, run_command};
use expect_test::expect;
use serde_json::{Value, json};

use crate::install::sec;
use crate::prompts::Conversation;

on_both!(
    bundle_in_use_is_not_uninstalled,
    uninstalled_version_opens_old_revisions_and_is_dropped_when_unused,
    search_and_info_describe_bundles_that_are_not_installed,
    outdated_lists_newer_and_withdrawn_releases,
    verify_names_a_damaged_bundle,
    damaged_bundle_is_repaired_by_installing_it,
    verify_detects_a_changed_manifest_signature_or_grant,
    uses_of_capabilities_are_recorded_and_unused_grants_listed,
    documents_match_their_schemas,
    published_permissions_are_compared_with_the_preceding_release,
);

/// Publishes a version of the bundle `sec` in the registry folder `acme`. Returns the folder.
fn publish(yard: &TestYard, version: &str, capabilities: &[&str]) -> String {
    let file = sec(yard, version, capabilities, &json!({"url": {"type": "string"}}), &[]);
    let [folder, key] = ["acme", "key"].map(|name| yard.path(name).display().to_string());
    yard.ok(&["publish", &file, "--registry", &folder, "--name", "acme", "--new-signing-key", &key]);
    folder
}

/// Returns the installed versions of the bundle `sec`, as `bundles` lists them.
fn installed(yard: &TestYard) -> Vec<Value> {
    let bundles = yard.json(&["bundles"])["bundles"].as_array().expect("bundles").clone();
    bundles.into_iter().filter(|bundle| bundle["name"] == "sec").collect()
}

fn versions(yard: &TestYard) -> Vec<String> {
    installed(yard).iter().map(|bundle| bundle["version"].as_str().expect("a version").to_owned()).collect()
}

fn bundle_in_use_is_not_uninstalled(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    yard.create("zoo-keeper/bob", &json!({ "name": "Bob" }));
    let refused = yard.fails(6, &["uninstall", "zoo", "--yes"]);
    assert!(refused.contains("bundle `zoo` is in use by `zoo-keeper/ada` ("), "{refused}");
    assert!(refused.contains("`zoo-keeper/bob` (") && refused.contains("`blockyard upgrade zoo`"), "{refused}");
    assert!(refused.contains("`blockyard delete zoo-keeper/ada`"), "{refused}");
    let output = yard.run(&["uninstall", "zoo", "--yes", "--json"]);
    let error: Value = serde_json::from_str(&output.stderr).expect("an error");
    assert_eq!(error["error"]["details"]["used_by"].as_array().map(Vec::len), Some(2), "{error}");
    // Without a terminal, nothing is done without agreement.
    for name in ["zoo-keeper/ada", "zoo-keeper/bob"] {
        yard.ok(&["delete", name]);
    }
    let refused = yard.fails(2, &["uninstall", "zoo"]);
    assert!(refused.contains("confirm with `--yes`"), "{refused}");
    yard.ok(&["uninstall", "zoo", "--yes"]);
    assert_eq!(
        yard.fails(3, &["uninstall", "zoo", "--yes"]).lines().next(),
        Some("error: bundle `zoo` is not installed")
    );
    for wrong in ["zoo@", "zoo@1", "Zoo", "zoo@>=1.0.0"] {
        yard.fails(2, &["uninstall", wrong, "--yes"]);
    }
    let audit = yard.json(&["audit", "--limit", "20"])["audit"].to_string();
    assert!(audit.contains("\"uninstall\"") && audit.contains("\"revoke\""), "{audit}");
}

fn uninstalled_version_opens_old_revisions_and_is_dropped_when_unused(yard: &TestYard) {
    let url = json!({"url": {"type": "string"}});
    for version in ["0.1.0", "0.2.0", "0.3.0"] {
        yard.ok(&["install", &sec(yard, version, &["log"], &url, &[]), "--yes"]);
        if version == "0.1.0" {
            yard.ok(&["create", "sec/old", "--set", "url=a"]);
        }
    }
    assert_eq!(versions(yard), ["0.1.0", "0.2.0", "0.3.0"]);
    let blocks: Vec<u64> = installed(yard).iter().filter_map(|bundle| bundle["blocks"].as_u64()).collect();
    assert_eq!(blocks, [1, 0, 0]);
    yard.fails(6, &["uninstall", "sec@0.1.0", "--yes"]);
    yard.fails(6, &["uninstall", "sec", "--yes"]);
    yard.ok(&["uninstall", "sec@0.3.0", "--yes"]);
    yard.ok(&["create", "sec/new", "--set", "url=b"]);
    assert_eq!(yard.json(&["show", "sec/new"])["bundle"]["version"], "0.2.0");
    yard.ok(&["delete", "sec/old"]);
    yard.ok(&["uninstall", "sec@0.1.0", "--yes"]);
    assert_eq!(versions(yard), ["0.2.0"]);
    let dropped = yard.json(&["gc"]);
    assert_eq!(dropped["dropped"].as_array().map(Vec::len), Some(1), "{dropped}");
    assert_eq!(
        (&dropped["dropped"][0]["version"], &dropped["bytes"]),
        (&json!("0.3.0"), &dropped["dropped"][0]["bytes"])
    );
    assert!(yard.ok(&["gc"]).starts_with("nothing to drop"));
    // The deleted block comes back with the bytes that validated it, and `doctor` reports them.
    yard.ok(&["restore", "sec/old"]);
    assert!(yard.ok(&["show", "sec/old"]).contains("uses bundle `sec` 0.1.0, which is uninstalled, while 0.2.0"));
    let called = run_command(&mut yard.command(&["call", "sec/old", "nothing"]), None);
    assert_eq!(called.code, 3, "the bundle is loaded, and has no such operation: {}", called.stderr);
    let doctor = yard.ok(&["doctor"]);
    assert!(doctor.contains("`sec/old` uses bundle `sec` 0.1.0, which is uninstalled"), "{doctor}");
    yard.ok(&["verify"]);
    // Reinstalling the same bytes makes it current again.
    yard.ok(&["install", &yard.path("sec-0.1.0.wasm").display().to_string(), "--yes"]);
    assert_eq!(versions(yard).len(), 2);
}

#[test]
fn registries_are_listed_in_the_order_of_the_search() {
    let yard = TestYard::empty();
    let registry = |name: &str, entries: &str| {
        fs::create_dir(yard.path(name)).expect("a folder");
        let text = format!("version = 1\nname = \"{name}\"\nunsigned = true\n{entries}");
        fs::write(yard.path(name).join("registry.toml"), text).expect("a file");
        yard.path(name).display().to_string()
    };
    let broken = "[[bundle]]\nname = \"sick\"\nrelease = [{ version = \"x\" }]\n[[bundle]]\nname = \"well\"\n";
    let (ours, theirs) = (registry("ours", broken), registry("theirs", ""));
    registry("project", "");
    yard.configure(&format!("[registries]\nours = \"{ours}\"\ngone = \"{}\"\n", yard.path("gone").display()));
    fs::write(yard.path("blockyard.toml"), "[registries]\nproject = \"project\"\n").expect("a project");
    let facts = |arguments: &[&str]| -> Vec<Value> {
        let listed = yard.json(&[&["registries"][..], arguments].concat())["registries"].clone();
        let each = listed.as_array().expect("registries").iter();
        each.map(|line| json!([line["position"], line["chosen_by"], line["registry"]["name"]])).collect()
    };
    let shipped = |listed: &mut Vec<Value>| listed.retain(|line| line[1] != "shipped");
    let mut listed = facts(&[]);
    shipped(&mut listed);
    let expected = [
        json!([null, "project file", null]),
        json!([1, "configuration", "ours"]),
        json!([null, "configuration", null]),
    ];
    assert_eq!(listed, expected);
    yard.ok(&["trust"]);
    let mut listed = facts(&[]);
    shipped(&mut listed);
    assert_eq!(listed[..2], [json!([1, "project file", "project"]), json!([2, "configuration", "ours"])]);
    assert_eq!(facts(&["--registry", &theirs]), [json!([1, "--registry", "theirs"])]);
    let output = yard.run(&["registries"]);
    assert!(output.stdout.contains("broken: registry `ours`: entry 1 (`sick`)"), "{}", output.stdout);
    assert!(output.stderr.contains("gone") && output.stderr.contains("is not used"), "{}", output.stderr);
    // One broken entry does not affect the others.
    let found = yard.json(&["search", "--registry", &ours]);
    let names: Vec<&Value> = found["bundles"].as_array().expect("bundles").iter().map(|entry| &entry["name"]).collect();
    assert_eq!(names, ["sick", "well"]);
    assert!(found["bundles"][0]["problem"].as_str().expect("a problem").contains("entry 1 (`sick`)"));
}

fn search_and_info_describe_bundles_that_are_not_installed(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", &["log"]);
    publish(yard, "0.2.0", &["log", "http https://a.example"]);
    let found = yard.json(&["search", "SEC", "--registry", &registry]);
    let entry = &found["bundles"][0];
    assert_eq!(
        (&entry["name"], &entry["release"]["version"], &entry["installed"]),
        (&json!("sec"), &json!("0.2.0"), &json!([]))
    );
    let key = entry["release"]["signer"].as_str().expect("a key").to_owned();
    assert_eq!(yard.json(&["search", "nothing", "--registry", &registry]), json!({ "bundles": [] }));
    let shown = yard.ok(&["search", "--registry", &registry]);
    assert!(shown.contains(&key[..12]) && shown.contains("0.2.0"), "{shown}");
    let info = yard.json(&["info", "sec", "--registry", &registry]);
    assert_eq!(info["problem"], Value::Null);
    assert_eq!(info["definitions"][0]["schema"]["properties"]["url"]["type"], "string");
    let capabilities: Vec<&Value> =
        info["capabilities"].as_array().expect("a list").iter().map(|view| &view["capability"]).collect();
    assert_eq!(capabilities, ["log", "http https://a.example"]);
    assert_eq!(info["releases"].as_array().map(Vec::len), Some(2));
    let shown = yard.ok(&["info", "sec", "--registry", &registry]);
    for expected in
        [&key[..], "installed     no", "http https://a.example: send requests to", "url  (text)", "0.1.0 in `acme`"]
    {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    yard.ok(&["install", "sec@=0.1.0", "--registry", &registry, "--yes"]);
    assert_eq!(yard.json(&["info", "sec", "--registry", &registry])["installed"], json!(["0.1.0"]));
    // A changed file is a problem, and what the index says is still shown.
    fs::write(format!("{registry}/sec-0.2.0.wasm"), "changed").expect("a file");
    let info = yard.json(&["info", "sec", "--registry", &registry]);
    assert!(info["problem"].as_str().expect("a problem").contains("does not match the digest"), "{info}");
    assert_eq!(info["release"]["version"], "0.2.0");
    assert_eq!(info["definitions"][0]["bundle_version"], "0.1.0", "the installed version is described");
    let missing = yard.fails(3, &["info", "secc", "--registry", &registry]);
    assert!(missing.contains("did you mean `sec`?"), "{missing}");
    assert_eq!(yard.json(&["info", "zoo", "--registry", &registry])["installed"].as_array().map(Vec::len), Some(1));
}

/// The code of the bundle loops in `describe`, which an installation runs.
#[test]
fn info_runs_no_code() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    fs::create_dir(yard.path("acme")).expect("a folder");
    fs::write(yard.path("acme/loop.wasm"), attack::attack("loop-in-describe")).expect("a file");
    let digest = std::process::Command::new("sha256sum").arg(yard.path("acme/loop.wasm")).output().expect("sha256sum");
    let digest = String::from_utf8(digest.stdout).expect("text")[..64].to_owned();
    let index = format!(
        "version = 1\nname = \"acme\"\nunsigned = true\n[[bundle]]\nname = \"loop-in-describe\"\n\
         [[bundle.release]]\nversion = \"0.1.0\"\nwit = \"0.1\"\nsource = {{ url = \"loop.wasm\" }}\nsha256 = \"{digest}\"\n"
    );
    fs::write(yard.path("acme/registry.toml"), index).expect("a file");
    let registry = yard.path("acme").display().to_string();
    let info = yard.json(&["info", "loop-in-describe", "--registry", &registry]);
    assert_eq!(info["problem"], Value::Null, "{info}");
    assert_eq!(info["release"]["signer"], Value::Null);
    assert_eq!(info["definitions"].as_array().map(Vec::len), Some(1), "{info}");
    assert!(yard.ok(&["info", "loop-in-describe", "--registry", &registry]).contains("signed by     unsigned"));
    let refused = yard.fails(4, &["install", "loop-in-describe", "--registry", &registry, "--yes"]);
    assert!(refused.contains("`describe` failed"), "{refused}");
}

#[test]
fn registries_are_readable_without_a_yard() {
    let yard = TestYard::empty();
    let registry = publish(&yard, "0.1.0", &["log"]);
    assert_eq!(yard.json(&["search", "--registry", &registry])["bundles"][0]["installed"], json!([]));
    let info = yard.json(&["info", "sec", "--registry", &registry]);
    assert_eq!(info["capabilities"][0]["capability"], "log");
    assert_eq!(info["types"], json!(["sec"]));
    assert_eq!((&info["installed"], &info["problem"]), (&json!([]), &Value::Null));
    assert_eq!(info["definitions"][0]["schema"]["properties"]["url"]["type"], "string", "the release is read");
    assert_eq!(yard.json(&["registries", "--registry", &registry])["registries"][0]["registry"]["bundles"], 1);
    let missing = yard.fails(3, &["outdated", "--registry", &registry]);
    assert!(missing.contains("no yard found"), "{missing}");
    assert!(!yard.path("yard.db").exists());
}

fn outdated_lists_newer_and_withdrawn_releases(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", &["log"]);
    yard.ok(&["install", "sec", "--registry", &registry, "--yes"]);
    yard.ok(&["create", "sec/x", "--set", "url=a"]);
    let found = yard.json(&["outdated", "--registry", &registry]);
    assert_eq!(found["outdated"], json!([]));
    let unknown: Vec<&Value> =
        found["unknown"].as_array().expect("a list").iter().map(|entry| &entry["name"]).collect();
    assert_eq!(unknown, ["sql", "zoo"]);
    publish(yard, "0.2.0", &["log"]);
    publish(yard, "0.3.0-beta.1", &["log"]);
    let found = yard.json(&["outdated", "--registry", &registry])["outdated"][0].clone();
    assert_eq!(
        json!([found["name"], found["installed"], found["newer"]["version"], found["yanked"], found["blocks"]]),
        json!(["sec", "0.1.0", "0.2.0", false, 1])
    );
    let shown = yard.run(&["outdated", "--registry", &registry]);
    assert!(shown.stdout.contains("0.2.0") && shown.stderr.contains("`blockyard upgrade --plan`"), "{shown:?}");
    yard.configure(&format!("[registries]\nacme = \"{registry}\"\n"));
    let listed = installed(yard);
    assert_eq!((&listed[0]["update"], &listed[0]["blocks"]), (&json!("0.2.0"), &json!(1)));
    assert_eq!(listed[0]["signer"], found["newer"]["signer"]);
    let shown = yard.ok(&["bundles"]);
    assert!(shown.contains("0.2.0") && shown.contains("unsigned"), "{shown}");
    // The releases are listed from the newest to the oldest.
    let path = format!("{registry}/registry.toml");
    let mut index: toml::Table = fs::read_to_string(&path).expect("an index").parse().expect("TOML");
    for release in index["bundle"][0]["release"].as_array_mut().expect("releases") {
        release.as_table_mut().expect("a release").insert("yanked".to_owned(), true.into());
    }
    fs::write(path, index.to_string()).expect("a file");
    let found = yard.json(&["outdated"])["outdated"][0].clone();
    assert_eq!(json!([found["newer"], found["yanked"]]), json!([null, true]));
    let info = yard.ok(&["info", "sec"]);
    assert!(info.contains("0.1.0 in `acme`, installed, withdrawn"), "{info}");
}

fn damage(yard: &TestYard) {
    let sec = "where digest in (select digest from bundles where name = 'sec')";
    let changed = match yard.backend() {
        Backend::Sqlite => "cast(bytes || x'00' as blob)",
        Backend::Postgres => "bytes || '\\x00'::bytea",
    };
    yard.sql(&format!("update bundle_bytes set bytes = {changed} {sec}")).expect("changed");
}

/// Returns the result of verifying the bundle `sec`.
fn verified(yard: &TestYard, code: i32) -> Value {
    let output = yard.run(&["verify", "--json"]);
    assert_eq!(output.code, code, "{}{}", output.stdout, output.stderr);
    let document: Value = serde_json::from_str(&output.stdout).expect("one document");
    let bundles = document["bundles"].as_array().expect("bundles");
    assert_eq!(document["passed"], json!(code == 0));
    for bundle in bundles.iter().filter(|bundle| bundle["name"] != "sec") {
        assert_eq!(bundle["problems"], json!([]), "the others passed");
    }
    bundles.iter().find(|bundle| bundle["name"] == "sec").expect("the bundle").clone()
}

fn verify_names_a_damaged_bundle(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", &["log"]);
    yard.ok(&["install", "sec", "--registry", &registry, "--yes"]);
    let passed = verified(yard, 0);
    assert_eq!(
        (&passed["signature"], &passed["installed"], &passed["problems"]),
        (&json!("valid"), &json!(true), &json!([]))
    );
    if !yard.has_shell() {
        return;
    }
    damage(yard);
    let failed = verified(yard, 5);
    let checks: Vec<&Value> =
        failed["problems"].as_array().expect("problems").iter().map(|problem| &problem["check"]).collect();
    assert_eq!(checks, ["digest", "signature"]);
    let output = yard.run(&["verify"]);
    assert!(output.stderr.contains("`sec` 0.1.0: its bytes were changed"), "{}", output.stderr);
    assert!(output.stdout.contains("failed") && output.stdout.contains("passed"), "{}", output.stdout);
}

fn damaged_bundle_is_repaired_by_installing_it(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", &["log"]);
    yard.ok(&["install", "sec", "--registry", &registry, "--yes"]);
    if !yard.has_shell() {
        return;
    }
    damage(yard);
    verified(yard, 5);
    let again = yard.json(&["install", "sec", "--registry", &registry, "--yes"]);
    assert_eq!(again["installed"][0]["changed"], true);
    assert_eq!(verified(yard, 0)["signature"], "valid");
}

fn verify_detects_a_changed_manifest_signature_or_grant(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", &["log"]);
    yard.ok(&["install", "sec", "--registry", &registry, "--yes"]);
    if !yard.has_shell() {
        return;
    }
    let check = |change: &str, back: &str, check: &str, message: &str| {
        yard.sql(change).expect(change);
        let failed = verified(yard, 5);
        let problem = &failed["problems"][0];
        assert_eq!(problem["check"], check, "{failed}");
        assert!(problem["message"].as_str().expect("a message").contains(message), "{failed}");
        yard.sql(back).expect(back);
        verified(yard, 0);
    };
    check(
        "update bundles set manifest = replace(manifest, '\"log\"', '\"log\",\"clock\"') where name = 'sec'",
        "update bundles set manifest = replace(manifest, '\"log\",\"clock\"', '\"log\"') where name = 'sec'",
        "manifest",
        "the manifest in the yard differs",
    );
    check(
        "update bundles set signature = replace(signature, 'sec', 'sek') where name = 'sec'",
        "update bundles set signature = replace(signature, 'sek', 'sec') where name = 'sec'",
        "signature",
        "its signature is not valid",
    );
    check(
        "insert into grants (bundle, capability, granted_at) values ('sec', 'reveal', 0)",
        "delete from grants where bundle = 'sec' and capability = 'reveal'",
        "grants",
        "`reveal` is granted, but no installed version requests it",
    );
    // A bundle of an earlier version of Blockyard has no stored signature.
    yard.sql("update bundles set signature = null where name = 'sec'").expect("removed");
    assert_eq!(verified(yard, 0)["signature"], "not-stored");
}

fn uses_of_capabilities_are_recorded_and_unused_grants_listed(yard: &TestYard) {
    let database = format!("database={}", yard.path("flights.db").display());
    yard.ok(&["create", "sql-database/flights", "--set", "dialect=sqlite", "--set", &database]);
    yard.ok(&["execute", "sql-database/flights", "create table t (a int)"]);
    let lines = yard.json(&["audit", "--block", "sql-database/flights"])["audit"].clone();
    let call = lines.as_array().expect("lines").iter().find(|line| line["action"] == "call").expect("the call").clone();
    let used = call["detail"]["used"].as_array().expect("used capabilities").clone();
    assert!(used.contains(&json!("sql sqlite")) && !used.contains(&json!("sql postgres")), "{call}");
    // The yard is new, so nothing can be said yet.
    let output = yard.run(&["grants", "--unused"]);
    assert!(output.code == 0 && output.stderr.contains("uses are recorded since"), "{output:?}");
    assert_eq!(yard.json(&["grants", "--unused"])["unused"], json!([]));
    assert!(yard.ok(&["doctor"]).contains("no grant is known to be unused"));
    if !yard.has_shell() {
        return;
    }
    yard.sql("update yard set created_at = 0, uses_since = null").expect("an old yard");
    assert_eq!(yard.json(&["grants", "--unused"])["unused"], json!([]), "the grants are new");
    yard.sql("update grants set granted_at = 0 where bundle = 'sql'").expect("old grants");
    let unused = yard.json(&["grants", "--unused"])["unused"].clone();
    let capabilities: Vec<&str> =
        unused.as_array().expect("grants").iter().filter_map(|grant| grant["capability"].as_str()).collect();
    assert!(capabilities.contains(&"sql postgres") && !capabilities.contains(&"sql sqlite"), "{capabilities:?}");
    let output = yard.run(&["grants", "sql", "--unused"]);
    assert!(output.stderr.contains(&format!("`blockyard revoke sql '{}'`", capabilities[0])), "{}", output.stderr);
    assert_eq!(yard.json(&["grants", "zoo", "--unused"])["unused"], json!([]));
    yard.fails(3, &["grants", "other", "--unused"]);
    let doctor = yard.ok(&["doctor"]);
    assert!(doctor.contains("bundle `sql` has not used `sql postgres` for 30 days"), "{doctor}");
    assert!(doctor.contains("hint: list them with `blockyard grants --unused`"), "{doctor}");
}

fn documents_match_their_schemas(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", &["log"]);
    let broken = "\n[[bundle]]\nname = \"sick\"\nrelease = [{ version = \"x\" }]\n";
    let path = format!("{registry}/registry.toml");
    fs::write(&path, fs::read_to_string(&path).expect("an index") + broken).expect("a file");
    yard.configure(&format!("[registries]\nacme = \"{registry}\"\ngone = \"{}\"\n", yard.path("gone").display()));
    let registries = ["--registry", &registry];
    let run = |schema: &str, arguments: &[&str]| {
        let text = fs::read_to_string(root().join(format!("schemas/json/{schema}.json"))).expect("a schema");
        let schema = Schema::compile(serde_json::from_str(&text).expect("JSON")).expect("a valid schema");
        let output = yard.run(&[arguments, &["--json"]].concat());
        let document: Value = serde_json::from_str(&output.stdout).expect("one JSON document");
        assert_eq!(schema.check(&document), [], "{arguments:?}: {document}");
    };
    for _ in 0..2 {
        run("search", &[&["search"][..], &registries].concat());
        for name in ["sec", "sick", "sql"] {
            run("info", &[&["info", name][..], &registries].concat());
        }
        run("registries", &["registries"]);
        run("outdated", &[&["outdated"][..], &registries].concat());
        run("bundles", &["bundles"]);
        run("verify", &["verify"]);
        run("unused-grants", &["grants", "--unused"]);
        run("doctor", &["doctor"]);
        run("gc", &["gc"]);
        // In the second round, one bundle is from the registry and another one is outdated.
        yard.ok(&[&["install", "sec", "--yes"][..], &registries].concat());
        publish(yard, "0.2.0", &["log"]);
    }
    if yard.has_shell() {
        damage(yard);
        yard.sql("update yard set created_at = 0, uses_since = null").expect("an old yard");
        yard.sql("update grants set granted_at = 0").expect("old grants");
        run("verify", &["verify"]);
        run("doctor", &["doctor", "--online"]);
        run("unused-grants", &["grants", "--unused"]);
    }
    run("uninstall", &["uninstall", "sec", "--yes"]);
    run("gc", &["gc"]);
    let [first, wider] = [("0.3.0", &["log"][..]), ("0.4.0", &["clock"][..])]
        .map(|(version, capabilities)| sec(yard, version, capabilities, &json!({}), &[]));
    let key = yard.path("key").display().to_string();
    run("publish", &["publish", &first, &wider, &wider, "--registry", &registry, "--signing-key", &key]);
}

fn published_permissions_are_compared_with_the_preceding_release(yard: &TestYard) {
    let folder = yard.path("acme").display().to_string();
    let publish = |version: &str, capabilities: &[&str], more: &[&str]| {
        let file = sec(yard, version, capabilities, &json!({"url": {"type": "string"}}), &[]);
        let key = yard.path("key").display().to_string();
        let output =
            yard.run(&[&["publish", &file, "--registry", &folder, "--new-signing-key", &key][..], more].concat());
        assert_eq!(output.code, 0, "{}", output.stderr);
        output
    };
    assert_eq!(publish("0.1.0", &["log", "random"], &[]).stderr, "");
    expect![[r#"
        permissions of sec 0.2.0, compared with 0.1.0:
        ! new capability `http https://a.example`: send requests to https://a.example
        ! new capability `clock`: read the time
          capability `random` is no longer requested
        users of 0.1.0 must grant the new capabilities before they can upgrade
    "#]]
    .assert_eq(&publish("0.2.0", &["log", "clock", "http https://a.example"], &[]).stderr);
    assert_eq!(
        publish("0.2.1", &["log", "clock", "http https://a.example"], &[]).stderr,
        "sec 0.2.1 requests the same permissions as 0.2.0\n"
    );
    // The version is already published.
    assert_eq!(publish("0.2.1", &["log", "clock", "http https://a.example"], &[]).stderr, "");
    let output = publish("0.3.0", &["log", "reveal"], &["--json"]);
    let document: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let permissions = &document["published"][0]["permissions"];
    assert_eq!(permissions["compared_with"], "0.2.1", "{document}");
    assert_eq!(permissions["changes"][0]["needs"], json!({"grant": "reveal"}), "{document}");
    assert_eq!(permissions["changes"].as_array().map(Vec::len), Some(3), "{document}");
}

#[test]
fn doctor_reads_registries_only_when_asked() {
    let yard = TestYard::new();
    yard.configure(&format!("[registries]\ngone = \"{}\"\n", yard.path("gone").display()));
    assert_eq!(yard.json(&["doctor"])["passed"], true);
    let output = yard.run(&["doctor", "--online", "--json"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    let report: Value = serde_json::from_str(&output.stdout).expect("one document");
    let step = report["steps"].as_array().expect("steps").last().expect("a step").clone();
    assert_eq!((&step["name"], &step["status"]), (&json!("registries"), &json!("failed")));
    assert!(step["detail"].as_str().expect("a detail").contains("gone"), "{step}");
    assert_eq!(step["hint"], "list them with `blockyard registries`");
    yard.configure("");
    assert_eq!(yard.json(&["doctor", "--online"])["passed"], true);
}

#[test]
fn tables_fit_the_terminal() {
    let yard = TestYard::empty();
    fs::create_dir(yard.path("acme")).expect("a folder");
    let index = format!(
        "version = 1\nname = \"acme\"\nunsigned = true\n[[bundle]]\nname = \"acme\"\ndescription = \"{}\"\n\
         [[bundle.release]]\nversion = \"0.1.0\"\nwit = \"0.1\"\nsource = {{ path = \"x\" }}\n",
        "many words ".repeat(30)
    );
    fs::write(yard.path("acme/registry.toml"), index).expect("a file");
    for command in ["search", "registries"] {
        let line = format!("stty cols 70; exec {} {command} --registry {}", binary(), yard.path("acme").display());
        let (code, shown) = Conversation::with(yard.program("bash").args(["-c", &line])).end();
        assert_eq!(code, 0, "{shown}");
        assert!(shown.contains("acme"), "{shown}");
        let widest = shown.lines().map(|line| line.trim_end().chars().count()).max().unwrap_or(0);
        assert!((40..=70).contains(&widest), "{widest}: {shown}");
    }
    // A pipe receives each entry as one line.
    let piped = yard.ok(&["search", "--registry", &yard.path("acme").display().to_string()]);
    assert!(piped.lines().any(|line| line.contains(&"many words ".repeat(29))), "{piped}");
}

#[test]
fn catalogue_text_is_escaped() {
    let yard = TestYard::empty();
    let text = "\u{1b}[2J\u{202e}live\u{7}";
    let escaped = "\\u001b[2J\\u202Elive\\u0007";
    fs::create_dir(yard.path("acme")).expect("a folder");
    let index = format!(
        "version = 1\nname = \"acme{escaped}\"\nunsigned = true\n[[bundle]]\nname = \"acme\"\n\
         description = \"{escaped}\"\nlicense = \"{escaped}\"\ntypes = [\"{escaped}\"]\n\
         [[bundle.release]]\nversion = \"0.1.0\"\nwit = \"0.1\"\nsource = {{ path = \"x\" }}\n\
         capabilities = [\"{escaped}\"]\n[[bundle]]\nname = \"{escaped}\"\n"
    );
    fs::write(yard.path("acme/registry.toml"), index).expect("a file");
    let registry = yard.path("acme").display().to_string();
    for arguments in [&["search"][..], &["info", "acme"], &["registries"]] {
        let output = yard.run(&[arguments, &["--registry", &registry]].concat());
        assert_eq!(output.code, 0, "{arguments:?}: {}", output.stderr);
        let shown = output.stdout + &output.stderr;
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{arguments:?}: {shown:?}");
        let json = yard.json(&[arguments, &["--registry", &registry]].concat()).to_string();
        assert!(json.contains("live"), "{json}");
    }
    assert!(yard.json(&["info", "acme", "--registry", &registry])["license"] == text);
}
