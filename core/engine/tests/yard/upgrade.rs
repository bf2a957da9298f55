//! Upgrades: what a plan shows, which blocks are moved, and what a migration must not do.
//!
//! The bundle `lamps` is WebAssembly text whose `migrate` returns a constant, so that a case decides
//! what a well-behaved or a malicious bundle returns.

use blockyard::model::BundleName;
use blockyard::{
    Address, Agreement, Answers, AuditFilter, Error, Given, Patch, Staged, UpgradeAction, UpgradePlan, UpgradeTarget,
    Upgraded, Yard,
};
use expect_test::expect;
use serde_json::{Value, json};

use crate::fixture::{TestYard, at, block, component, config, document, rejected, setting, source, zoo};

on_both!(
    a_plan_lists_all_changes_and_changes_nothing,
    an_upgrade_moves_every_block_and_its_secrets,
    both_versions_are_usable_and_a_rollback_returns_to_the_old_one,
    a_block_that_cannot_be_converted_prevents_the_upgrade,
    a_value_of_the_user_completes_a_block,
    an_additional_capability_requires_its_grant,
    a_moved_secret_is_not_sent_further_without_agreement,
    a_migration_cannot_redirect_a_secret_by_a_field,
    a_migration_cannot_select_another_server_or_database,
    a_migration_cannot_turn_a_secret_into_plain_configuration,
    a_migration_cannot_add_sources_or_references,
    a_field_that_becomes_a_secret_is_sealed,
    a_block_that_changed_since_the_plan_is_a_conflict,
    a_block_that_was_created_since_the_plan_is_a_conflict,
    blocks_of_a_removed_type_keep_their_version,
    references_between_upgraded_blocks_stay,
    an_interface_that_other_blocks_require_cannot_be_lost,
    an_installed_version_is_a_target,
    a_named_older_version_is_a_target,
    a_crash_of_migrate_prevents_the_upgrade,
    deleted_blocks_are_left_alone,
);

/// Schema of a secret that may be sent to these origins.
fn secret_for(audience: &[&str]) -> Value {
    json!({"type": ["string", "null"], "writeOnly": true, "format": "password", "x-secret": {"audience": audience}})
}

const ORIGIN: &str = "https://lamps.example";

/// Returns the manifest of the bundle `lamps`: one type with these properties.
fn lamps(version: &str, type_version: u32, properties: &Value, required: &[&str]) -> Value {
    json!({
        "manifest": 1, "name": "lamps", "version": version, "wit": "0.1", "capabilities": ["log"],
        "types": [{
            "slug": "lamp", "version": type_version,
            "schema": {
                "type": "object", "additionalProperties": false, "properties": properties, "required": required,
            },
            "operations": [{"name": "glow", "effect": "read", "arguments": {"type": "object"}, "result": {}}],
        }],
    })
}

/// Version 1.0.0: a host with a token.
fn first() -> Value {
    let reference = json!({
        "type": "object", "additionalProperties": false, "required": ["$block"], "x-block": "lamp",
        "properties": {"$block": {"type": "string"}},
    });
    let properties = json!({
        "host": {"type": "string"}, "note": {"type": "string"}, "token": secret_for(&[ORIGIN, "https://{config.host}"]),
        "beside": reference,
    });
    lamps("1.0.0", 1, &properties, &["host"])
}

/// Version 2.0.0: other names, and a required field.
fn second() -> Value {
    let mut manifest = first();
    manifest["version"] = json!("2.0.0");
    let lamp = &mut manifest["types"][0];
    lamp["version"] = json!(2);
    let properties = lamp["schema"]["properties"].as_object_mut().unwrap();
    let host = properties.remove("host").unwrap();
    let token = secret_for(&[ORIGIN, "https://{config.server}"]);
    properties.remove("token");
    properties.remove("note");
    properties.insert("server".to_owned(), host);
    properties.insert("key".to_owned(), token);
    properties.insert("room".to_owned(), json!({"type": "string"}));
    lamp["schema"]["required"] = json!(["server", "room"]);
    manifest
}

/// Code whose `migrate` returns this configuration.
fn migrating(config: &Value) -> String {
    let text = config.to_string();
    assert!(text.len() < 480, "it must fit before the manifest");
    let length = u32::try_from(text.len()).unwrap().to_le_bytes();
    let bytes = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    format!(
        r#"(data (i32.const 512) "\00\00\00\00\20\02\00\00{}")
        (data (i32.const 544) "{}")
        (func $migrate (param i32 i32 i32 i32 i32) (result i32) (i32.const 512))"#,
        bytes(&length),
        bytes(text.as_bytes()),
    )
}

/// The configuration that a good migration of `lamp/a` returns, without the required `room`.
fn migrated() -> Value {
    json!({"server": "a.example", "key": {"$secret": "/token"}})
}

async fn stage(yard: &TestYard, manifest: &Value, code: &str) -> Staged {
    yard.yard.stage(component(manifest, code), source()).await.unwrap()
}

/// Installs version 1.0.0 and creates `lamp/a` with a token.
async fn with_lamp(yard: &TestYard) {
    let staged = stage(yard, &first(), "").await;
    yard.yard.install(staged, &Agreement::Everything).await.unwrap();
    yard.create("lamp/a", json!({"host": "a.example", "note": "in the hall", "token": "token-secret"})).await;
}

async fn plan(yard: &TestYard, staged: &Staged, answers: &Answers) -> UpgradePlan {
    yard.yard.plan_upgrade(staged, answers, &mut |_, _| ()).await.unwrap()
}

fn answers(address: &str, patch: Patch) -> Answers {
    Answers::from([(at(address), patch)])
}

fn in_hall() -> Answers {
    answers("lamp/a", setting("room", json!("hall")))
}

fn yes() -> Agreement {
    Agreement::Given(Given { yes: true, ..Given::default() })
}

async fn upgrade(
    yard: &TestYard,
    staged: &Staged,
    plan: &UpgradePlan,
    answers: &Answers,
    agreement: &Agreement,
) -> Result<Upgraded, Error> {
    yard.yard.upgrade(staged, plan, answers, agreement, &mut |_, _| ()).await
}

/// Plans and executes an upgrade of `lamp/a` with code that returns `config`.
async fn upgraded_to(
    yard: &TestYard,
    manifest: &Value,
    config: &Value,
    agreement: &Agreement,
) -> Result<Upgraded, Error> {
    let staged = stage(yard, manifest, &migrating(config)).await;
    let plan = plan(yard, &staged, &in_hall()).await;
    upgrade(yard, &staged, &plan, &in_hall(), agreement).await
}

/// Returns the versions of `lamps` that are installed.
async fn versions(yard: &TestYard) -> Vec<String> {
    let bundles = yard.yard.bundles().await.unwrap().into_iter();
    bundles.filter(|bundle| bundle.name == "lamps").map(|bundle| bundle.version).collect()
}

/// Returns the version of the bundle that a block uses.
async fn version_of(yard: &TestYard, address: &str) -> String {
    yard.yard.show(&address.parse().unwrap()).await.unwrap().bundle.unwrap().version
}

/// Checks that nothing was changed by an upgrade of `lamp/a` that failed.
async fn is_unchanged(yard: &TestYard) {
    assert_eq!(versions(yard).await, ["1.0.0"]);
    assert_eq!((yard.newest("lamp/a").await, version_of(yard, "lamp/a").await), (1, "1.0.0".to_owned()));
    assert_eq!(yard.reveal("lamp/a", "token").await, "token-secret");
}

async fn a_plan_lists_all_changes_and_changes_nothing(yard: &TestYard) {
    with_lamp(yard).await;
    let staged = stage(yard, &second(), &migrating(&migrated())).await;
    let mut steps = Vec::new();
    let plan =
        yard.yard.plan_upgrade(&staged, &Answers::new(), &mut |done, all| steps.push((done, all))).await.unwrap();
    assert_eq!(steps, [(1, 1)]);
    assert_eq!((plan.from.as_deref(), plan.version.as_str(), plan.installed), (Some("1.0.0"), "2.0.0", false));
    let fields: Vec<String> = plan.types[0]
        .fields
        .iter()
        .map(|field| format!("{} {:?} required={}", field.field, field.change, field.required))
        .collect();
    expect![[r#"
        host Removed required=true
        key Added required=false
        note Removed required=false
        room Added required=true
        server Added required=true
        token Removed required=false"#]]
    .assert_eq(&fields.join("\n"));
    let lamp = &plan.blocks[0];
    assert_eq!((lamp.address.as_str(), lamp.revision, lamp.action), ("lamp/a", 1, UpgradeAction::Fail));
    let changes: Vec<String> = lamp
        .report
        .changes
        .iter()
        .map(|change| format!("{} {:?} {:?}", change.field, change.change, change.before))
        .collect();
    // The removed note is listed with its value.
    assert_eq!(
        changes,
        ["host Removed Some(String(\"a.example\"))", "note Removed Some(String(\"in the hall\"))", "server Added None",]
    );
    assert_eq!(serde_json::to_value(&lamp.report.moved).unwrap(), json!([{"from": "token", "to": "key"}]));
    assert_eq!(lamp.report.problems[0].pointer, "/room");
    assert_eq!(lamp.report.problems[0].message, "is missing, and it is required");
    // The plan is complete without the code of the bundle, and contains no secret.
    let stored = serde_json::to_string(&plan).unwrap();
    assert!(!stored.contains("token-secret"), "{stored}");
    assert_eq!(serde_json::from_str::<UpgradePlan>(&stored).unwrap(), plan);
    is_unchanged(yard).await;
}

async fn an_upgrade_moves_every_block_and_its_secrets(yard: &TestYard) {
    with_lamp(yard).await;
    let (old, staged) = (
        yard.yard.show(&"lamp/a".parse().unwrap()).await.unwrap().bundle_sha256,
        stage(yard, &second(), &migrating(&migrated())).await,
    );
    let plan = plan(yard, &staged, &in_hall()).await;
    assert_eq!(plan.blocks[0].action, UpgradeAction::Upgrade);
    let done = upgrade(yard, &staged, &plan, &in_hall(), &yes()).await.unwrap();
    assert!(done.installed);
    assert_eq!((done.blocks[0].address.as_str(), done.blocks[0].revision), ("lamp/a", 2));
    assert_eq!(yard.config("lamp/a").await, json!({"server": "a.example", "room": "hall", "key": "********"}));
    assert_eq!(yard.reveal("lamp/a", "key").await, "token-secret");
    let history = yard.yard.history(&at("lamp/a")).await.unwrap();
    assert_eq!((history[0].action.as_deref(), history[0].bundle_version.as_str()), (Some("upgrade"), "2.0.0"));
    // The audit trail names both versions by their digests.
    let filter = AuditFilter { subject: Some("lamp/a".to_owned()), ..AuditFilter::default() };
    let lines = yard.yard.audit(&filter).await.unwrap();
    let line = lines.iter().find(|line| line.action == "upgrade").expect("a line");
    let detail: Value = serde_json::from_str(&line.detail).unwrap();
    assert_eq!((&detail["from_bundle"], &detail["bundle"]), (&json!(old), &json!(plan.sha256)));
    let lines = yard.yard.audit(&AuditFilter::default()).await.unwrap();
    let line = lines.iter().find(|line| line.subject == "lamps" && line.action == "upgrade").expect("a line");
    assert!(line.detail.contains("\"version\":\"2.0.0\""), "{}", line.detail);
    assert!(Yard::doctor(yard.url(), config(yard.folder()), &mut |_| ()).await.passed);
    // There is nothing left to do.
    let again = self::plan(yard, &staged, &Answers::new()).await;
    assert!(again.blocks.is_empty());
}

async fn both_versions_are_usable_and_a_rollback_returns_to_the_old_one(yard: &TestYard) {
    with_lamp(yard).await;
    upgraded_to(yard, &second(), &migrated(), &yes()).await.unwrap();
    // The same process calls both versions.
    for address in ["lamp/a", "lamp/a@1"] {
        let block = yard.yard.block(address).await.unwrap();
        block.call("glow", json!({})).await.unwrap();
    }
    let saved = yard.yard.rollback(&at("lamp/a"), blockyard::Revision::FIRST).await.unwrap();
    assert_eq!(saved.map(blockyard::Revision::number), Some(3));
    assert_eq!(version_of(yard, "lamp/a").await, "1.0.0");
    assert_eq!(yard.config("lamp/a").await, json!({"host": "a.example", "note": "in the hall", "token": "********"}));
    assert_eq!(yard.reveal("lamp/a", "token").await, "token-secret");
    yard.yard.block("lamp/a").await.unwrap().call("glow", json!({})).await.unwrap();
    // It can be upgraded again, to the installed version.
    let staged = stage(yard, &second(), &migrating(&migrated())).await;
    let plan = plan(yard, &staged, &in_hall()).await;
    upgrade(yard, &staged, &plan, &in_hall(), &yes()).await.unwrap();
    assert_eq!((yard.newest("lamp/a").await, version_of(yard, "lamp/a").await), (4, "2.0.0".to_owned()));
}

async fn a_block_that_cannot_be_converted_prevents_the_upgrade(yard: &TestYard) {
    with_lamp(yard).await;
    yard.create("lamp/b", json!({"host": "b.example"})).await;
    // The handle of the token is invalid for `lamp/b`, which has none.
    let staged = stage(yard, &second(), &migrating(&migrated())).await;
    let plan = plan(yard, &staged, &in_hall()).await;
    let refused = rejected(upgrade(yard, &staged, &plan, &in_hall(), &Agreement::Everything).await);
    expect![[r#"
        invalid: bundle `lamps` was not upgraded to 2.0.0: 1 block cannot be converted
        block `lamp/b` is not valid
          /key: the migration returned a handle of a secret that the block does not have
          code: upgrade-blocked blocks=["lamp/b"] bundle="lamps" version="2.0.0"
    "#]]
    .assert_eq(&refused);
    is_unchanged(yard).await;
}

async fn a_value_of_the_user_completes_a_block(yard: &TestYard) {
    with_lamp(yard).await;
    let staged = stage(yard, &second(), &migrating(&migrated())).await;
    // A wrong value, an unknown field, and a secret with its field.
    let wrong = plan(yard, &staged, &answers("lamp/a", setting("room", json!(7)))).await;
    assert_eq!(wrong.blocks[0].report.problems[0].pointer, "/room");
    let wrong = plan(yard, &staged, &answers("lamp/a", document(json!({"room": "hall", "rom": "x"})))).await;
    assert_eq!(wrong.blocks[0].report.problems[0].pointer, "/rom");
    let own = answers("lamp/a", document(json!({"room": "hall", "key": "own-secret"})));
    let plan = plan(yard, &staged, &own).await;
    assert_eq!(plan.blocks[0].report.problems, []);
    upgrade(yard, &staged, &plan, &own, &yes()).await.unwrap();
    assert_eq!(yard.reveal("lamp/a", "key").await, "own-secret");
    yard.no_file_contains("own-secret");
}

async fn an_additional_capability_requires_its_grant(yard: &TestYard) {
    with_lamp(yard).await;
    let mut manifest = second();
    manifest["capabilities"] = json!(["log", "http https://more.example"]);
    let lacking = upgraded_to(yard, &manifest, &migrated(), &yes()).await.expect_err("an error");
    let fields = lacking.as_code().unwrap().fields().unwrap();
    assert_eq!(lacking.kind().as_str(), "usage");
    assert_eq!(fields["open"][0]["need"], json!({"grant": "http https://more.example"}));
    assert!(lacking.to_string().contains("bundle `lamps` was not upgraded to 2.0.0"), "{lacking}");
    is_unchanged(yard).await;
    let grants = vec!["http https://more.example".parse().unwrap()];
    let given = Agreement::Given(Given { yes: true, grants, replace: false });
    upgraded_to(yard, &manifest, &migrated(), &given).await.unwrap();
    let grants = yard.yard.grants(Some(&BundleName::new("lamps").unwrap())).await.unwrap();
    assert!(serde_json::to_string(&grants).unwrap().contains("https://more.example"));
}

async fn a_moved_secret_is_not_sent_further_without_agreement(yard: &TestYard) {
    with_lamp(yard).await;
    let mut manifest = second();
    manifest["types"][0]["schema"]["properties"]["key"] = secret_for(&[ORIGIN, "https://evil.example"]);
    let staged = stage(yard, &manifest, &migrating(&migrated())).await;
    let plan = plan(yard, &staged, &in_hall()).await;
    let expected = "`lamp/a`: secret `key`: it may be sent to `https://evil.example`";
    assert_eq!(plan.blocks[0].report.wider, [expected]);
    assert!(plan.is_wider());
    let refused = upgrade(yard, &staged, &plan, &in_hall(), &yes()).await.expect_err("an error");
    let open = refused.as_code().unwrap().fields().unwrap()["open"].clone();
    assert_eq!(open, json!([{"change": expected, "need": "replace"}]));
    is_unchanged(yard).await;
    let replace = Agreement::Given(Given { yes: true, grants: Vec::new(), replace: true });
    upgrade(yard, &staged, &plan, &in_hall(), &replace).await.unwrap();
    assert_eq!(yard.reveal("lamp/a", "key").await, "token-secret");
}

/// The audience stays `https://{config.…}`, but the migration writes another host.
async fn a_migration_cannot_redirect_a_secret_by_a_field(yard: &TestYard) {
    with_lamp(yard).await;
    let redirected = json!({"server": "evil.example", "key": {"$secret": "/token"}});
    let staged = stage(yard, &second(), &migrating(&redirected)).await;
    let plan = plan(yard, &staged, &in_hall()).await;
    assert_eq!(plan.blocks[0].report.wider, ["`lamp/a`: secret `key`: it may be sent to `https://evil.example`"]);
    assert!(upgrade(yard, &staged, &plan, &in_hall(), &yes()).await.is_err());
    is_unchanged(yard).await;
    // Neither does a plan without the line help: the blocks are converted again.
    let mut forged = plan.clone();
    forged.blocks[0].report.wider.clear();
    let refused = rejected(upgrade(yard, &staged, &forged, &in_hall(), &yes()).await);
    assert!(refused.contains("has another result than planned"), "{refused}");
    is_unchanged(yard).await;
}

/// The block has no secret, but its fields decide what the bundle may access.
async fn a_migration_cannot_select_another_server_or_database(yard: &TestYard) {
    let with_access = |mut manifest: Value, host: &str, database: &str| {
        manifest["capabilities"] = json!(["log", format!("http https://{{config.{host}}}"), "sql sqlite"]);
        manifest["types"][0]["schema"]["x-sql"] = json!({"database": format!("/{database}")});
        manifest
    };
    let staged = stage(yard, &with_access(first(), "host", "note"), "").await;
    yard.yard.install(staged, &Agreement::Everything).await.unwrap();
    yard.create("lamp/a", json!({"host": "a.example", "note": "/data/a.db"})).await;
    let manifest = with_access(second(), "server", "room");
    for (server, room, wider) in [
        ("a.example", "/data/a.db", &[][..]),
        ("evil.example", "/data/a.db", &["`lamp/a`: requests may be sent to `https://evil.example`"]),
        (
            "a.example",
            "/home/ada/private.db",
            &["`lamp/a`: the database `/home/ada/private.db` may be opened, or with weaker protection"],
        ),
    ] {
        let staged = stage(yard, &manifest, &migrating(&json!({"server": server, "room": room}))).await;
        let plan = plan(yard, &staged, &Answers::new()).await;
        assert_eq!(plan.blocks[0].report.wider, wider);
        let refused = upgrade(yard, &staged, &plan, &Answers::new(), &yes()).await;
        let grant = "{\"grant\":\"http https://{config.server}\"}";
        assert!(refused.unwrap_err().as_code().unwrap().fields().unwrap()["open"].to_string().contains(grant));
    }
    assert_eq!(version_of(yard, "lamp/a").await, "1.0.0");
}

async fn a_migration_cannot_turn_a_secret_into_plain_configuration(yard: &TestYard) {
    with_lamp(yard).await;
    let mut manifest = second();
    // Any value is valid there, also the marker of a secret.
    manifest["types"][0]["schema"]["properties"]["leak"] = json!({});
    let leaking = json!({"server": "a.example", "leak": {"$secret": "/token"}});
    let refused = rejected(upgraded_to(yard, &manifest, &leaking, &Agreement::Everything).await);
    assert!(refused.contains("/leak: the secret `token` would become plain configuration"), "{refused}");
    is_unchanged(yard).await;
    // The same without a migration: only the schema says so.
    let mut plain = first();
    plain["version"] = json!("1.1.0");
    plain["types"][0]["schema"]["properties"]["token"] = json!({});
    let refused = rejected(upgraded_to(yard, &plain, &json!({}), &Agreement::Everything).await);
    assert!(refused.contains("/token: the secret `token` would become plain configuration"), "{refused}");
    is_unchanged(yard).await;
}

async fn a_migration_cannot_add_sources_or_references(yard: &TestYard) {
    with_lamp(yard).await;
    yard.create("lamp/b", json!({"host": "b.example", "token": "other-secret"})).await;
    yard.yard.delete(&at("lamp/b")).await.unwrap();
    let source = json!({"server": "a.example", "key": {"$source": "file:/etc/passwd"}});
    let refused = rejected(upgraded_to(yard, &second(), &source, &Agreement::Everything).await);
    assert!(refused.contains("/key: the migration returned a secret source"), "{refused}");
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    let mut manifest = second();
    manifest["types"][0]["schema"]["properties"]["beside"]["x-block"] = json!("zoo-keeper");
    let reference = json!({"server": "a.example", "beside": {"$block": "zoo-keeper/ada"}});
    let refused = rejected(upgraded_to(yard, &manifest, &reference, &Agreement::Everything).await);
    assert!(refused.contains("/beside: the migration refers to block `zoo-keeper/ada`"), "{refused}");
    is_unchanged(yard).await;
}

async fn a_field_that_becomes_a_secret_is_sealed(yard: &TestYard) {
    with_lamp(yard).await;
    let mut manifest = first();
    manifest["version"] = json!("1.1.0");
    manifest["types"][0]["schema"]["properties"]["note"] = secret_for(&[ORIGIN]);
    let staged = stage(yard, &manifest, "").await;
    let plan = plan(yard, &staged, &Answers::new()).await;
    let replace = Agreement::Given(Given { yes: true, grants: Vec::new(), replace: true });
    upgrade(yard, &staged, &plan, &Answers::new(), &replace).await.unwrap();
    assert_eq!(yard.config("lamp/a").await["note"], "********");
    assert_eq!(yard.reveal("lamp/a", "note").await, "in the hall");
}

async fn a_block_that_changed_since_the_plan_is_a_conflict(yard: &TestYard) {
    with_lamp(yard).await;
    let staged = stage(yard, &second(), &migrating(&migrated())).await;
    let plan = plan(yard, &staged, &in_hall()).await;
    yard.set("lamp/a", json!({"note": "in the cellar"})).await;
    let refused = rejected(upgrade(yard, &staged, &plan, &in_hall(), &yes()).await);
    expect![[r#"
        conflict: block `lamp/a` was changed since the upgrade was planned
          code: revision-moved address="lamp/a" newest=2
    "#]]
    .assert_eq(&refused);
    assert_eq!(
        (versions(yard).await, version_of(yard, "lamp/a").await),
        (vec!["1.0.0".to_owned()], "1.0.0".to_owned())
    );
}

async fn a_block_that_was_created_since_the_plan_is_a_conflict(yard: &TestYard) {
    with_lamp(yard).await;
    let staged = stage(yard, &second(), &migrating(&migrated())).await;
    let plan = plan(yard, &staged, &in_hall()).await;
    yard.create("lamp/late", json!({"host": "late.example"})).await;
    let refused = rejected(upgrade(yard, &staged, &plan, &in_hall(), &yes()).await);
    assert!(refused.starts_with("conflict: block `lamp/late` was changed in the meantime"), "{refused}");
    is_unchanged(yard).await;
}

async fn blocks_of_a_removed_type_keep_their_version(yard: &TestYard) {
    with_lamp(yard).await;
    let mut manifest = second();
    manifest["types"][0]["slug"] = json!("lantern");
    manifest["types"][0]["schema"]["properties"].as_object_mut().unwrap().remove("beside");
    let staged = stage(yard, &manifest, "").await;
    let plan = plan(yard, &staged, &Answers::new()).await;
    assert_eq!(plan.blocks[0].action, UpgradeAction::Keep);
    let done = upgrade(yard, &staged, &plan, &Answers::new(), &yes()).await.unwrap();
    assert_eq!((done.blocks.len(), done.kept), (0, vec!["lamp/a".to_owned()]));
    assert_eq!((versions(yard).await.len(), version_of(yard, "lamp/a").await), (2, "1.0.0".to_owned()));
    assert_eq!(yard.reveal("lamp/a", "token").await, "token-secret");
}

async fn references_between_upgraded_blocks_stay(yard: &TestYard) {
    with_lamp(yard).await;
    yard.create("lamp/b", json!({"host": "a.example", "token": "b-secret", "beside": block("lamp/a")})).await;
    let mut manifest = first();
    manifest["version"] = json!("1.1.0");
    manifest["types"][0]["schema"]["properties"]["color"] = json!({"type": "string"});
    let staged = stage(yard, &manifest, "").await;
    let plan = plan(yard, &staged, &Answers::new()).await;
    let done = upgrade(yard, &staged, &plan, &Answers::new(), &yes()).await.unwrap();
    assert_eq!(done.blocks.len(), 2);
    assert_eq!(yard.used_by("lamp/a").await, ["lamp/b beside"]);
    assert_eq!(yard.reveal("lamp/b", "token").await, "b-secret");
    assert!(rejected(yard.yard.delete(&at("lamp/a")).await).contains("is in use"));
    yard.yard.block("lamp/b").await.unwrap().call("glow", json!({})).await.unwrap();
    yard.set("lamp/b", json!({"color": "red"})).await;
}

async fn an_interface_that_other_blocks_require_cannot_be_lost(yard: &TestYard) {
    let reference = json!({
        "type": "object", "additionalProperties": false, "required": ["$block"],
        "x-block": {"interface": "secret-store"}, "properties": {"$block": {"type": "string"}},
    });
    let staged = stage(yard, &lamps("1.0.0", 1, &json!({"papers": reference}), &[]), "").await;
    yard.yard.install(staged, &Agreement::Everything).await.unwrap();
    for name in ["used", "unused"] {
        yard.create(&format!("zoo-safe/{name}"), json!({"content": "safe-secret"})).await;
    }
    yard.create("lamp/a", json!({"papers": block("zoo-safe/used")})).await;
    let mut manifest = zoo();
    manifest["version"] = json!("1.1.0");
    manifest["types"][2]["interfaces"] = json!([]);
    let staged = stage(yard, &manifest, "").await;
    let plan = plan(yard, &staged, &Answers::new()).await;
    let failed: Vec<(&str, &str)> =
        plan.failed().map(|block| (block.address.as_str(), block.report.problems[0].message.as_str())).collect();
    let expected =
        "block `lamp/a` (field `papers`) requires a block that implements `secret-store`, which the new version is not";
    assert_eq!(failed, [("zoo-safe/used", expected)]);
}

async fn an_installed_version_is_a_target(yard: &TestYard) {
    with_lamp(yard).await;
    let mut manifest = first();
    manifest["version"] = json!("1.1.0");
    let staged = stage(yard, &manifest, "").await;
    yard.yard.install(staged, &yes()).await.unwrap();
    let name = BundleName::new("lamps").unwrap();
    let UpgradeTarget::Installed(digest) = yard.yard.upgrade_target(&name, None, &[]).await.unwrap() else {
        panic!("no registry offers a release")
    };
    let staged = yard.yard.stage_installed(&digest).await.unwrap();
    let plan = plan(yard, &staged, &Answers::new()).await;
    assert!(plan.installed && plan.changes_anything() && !plan.is_wider());
    assert!(upgrade(yard, &staged, &plan, &Answers::new(), &Agreement::Given(Given::default())).await.is_err());
    let done = upgrade(yard, &staged, &plan, &Answers::new(), &yes()).await.unwrap();
    assert!(!done.installed && done.blocks.len() == 1);
    assert_eq!(version_of(yard, "lamp/a").await, "1.1.0");
    let missing = yard.yard.upgrade_target(&BundleName::new("circus").unwrap(), None, &[]).await;
    assert!(rejected(missing).starts_with("not-found: bundle `circus` is not installed"));
}

async fn a_named_older_version_is_a_target(yard: &TestYard) {
    with_lamp(yard).await;
    upgraded_to(yard, &second(), &migrated(), &yes()).await.unwrap();
    let name = BundleName::new("lamps").unwrap();
    let target = async |requirement: &str| {
        let requirement = semver::VersionReq::parse(requirement).unwrap();
        yard.yard.upgrade_target(&name, Some(&requirement), &[]).await
    };
    let UpgradeTarget::Installed(digest) = target("=1.0.0").await.unwrap() else { panic!("it is installed") };
    let staged = yard.yard.stage_installed(&digest).await.unwrap();
    // No migration leads back: the fields of the newer version are unknown.
    let plan = plan(yard, &staged, &Answers::new()).await;
    assert_eq!(plan.blocks[0].action, UpgradeAction::Fail);
    assert!(
        plan.blocks[0].report.problems.iter().any(|problem| problem.message.contains("unknown field `server`")
            || problem.message.contains("would become plain configuration")),
        "{plan:?}"
    );
    assert!(target("=3.0.0").await.is_err());
}

async fn a_crash_of_migrate_prevents_the_upgrade(yard: &TestYard) {
    with_lamp(yard).await;
    let code = "(func $migrate (param i32 i32 i32 i32 i32) (result i32) (unreachable))";
    let staged = stage(yard, &second(), code).await;
    let plan = plan(yard, &staged, &Answers::new()).await;
    assert_eq!(plan.blocks[0].action, UpgradeAction::Crash);
    let refused = rejected(upgrade(yard, &staged, &plan, &Answers::new(), &Agreement::Everything).await);
    assert!(refused.starts_with("bundle: bundle `lamps` was not upgraded"), "{refused}");
    is_unchanged(yard).await;
}

async fn deleted_blocks_are_left_alone(yard: &TestYard) {
    with_lamp(yard).await;
    yard.create("lamp/gone", json!({"host": "gone.example", "token": "gone-secret"})).await;
    yard.yard.delete(&at("lamp/gone")).await.unwrap();
    upgraded_to(yard, &second(), &migrated(), &yes()).await.unwrap();
    yard.yard.restore(&at("lamp/gone")).await.unwrap();
    assert_eq!(version_of(yard, "lamp/gone").await, "1.0.0");
    assert_eq!(yard.reveal("lamp/gone", "token").await, "gone-secret");
}

/// More blocks than a page of the plan. On SQLite only, because it is about the number.
#[test]
fn all_pages_are_upgraded_at_once() {
    crate::fixture::on_sqlite(async |yard| {
        with_lamp(yard).await;
        for number in 0..1_100 {
            yard.create(&format!("lamp/l{number}"), json!({"host": "a.example"})).await;
        }
        let mut manifest = first();
        manifest["version"] = json!("1.1.0");
        let staged = stage(yard, &manifest, "").await;
        let mut steps: Vec<(u64, u64)> = Vec::new();
        let plan =
            yard.yard.plan_upgrade(&staged, &Answers::new(), &mut |done, all| steps.push((done, all))).await.unwrap();
        assert_eq!((steps.len(), steps.last()), (1_101, Some(&(1_101, 1_101))));
        let done = upgrade(yard, &staged, &plan, &Answers::new(), &yes()).await.unwrap();
        assert_eq!(done.blocks.len(), 1_101);
        let sorted = plan.blocks.is_sorted_by_key(|block| block.address.parse::<Address>().unwrap());
        assert!(sorted);
    });
}
