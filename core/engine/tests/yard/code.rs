//! Every error code that can occur without a remote service, with its kind and its fields.
//! `commit-unknown` and `network-not-granted` require a server; tests/e2e produces them.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard::model::{BundleName, SecretValue};
use blockyard::{
    Agreement, AuditLine, Content, Deadline, Error, KeySource, LockedRequest, NewKey, Project, ProjectLock, Provenance,
    Registry, RemoteAccess, RemoteError, RemoteRegistry, RemoteUrl, Request, RotateTo, SigningKey, Staged, Trust,
    TrustTarget, Wanted, Yard, YardConfig,
};
use blockyard_store::{KeyRecord, Store};
use semver::VersionReq;
use serde_json::{Value, json};

use crate::fixture::{self, TestYard, at, component, config, document, in_folder, install_zoo, source, zoo};

on_both!(
    no_yard,
    yard_exists,
    wrong_key,
    key_unavailable,
    name_taken,
    name_taken_by_deleted,
    deleted,
    revision_moved,
    in_use,
    bundle_in_use,
    secret_destroyed,
    unknown_type,
    bundle_uninstalled,
    not_installed,
    not_granted,
    consent_needed,
    upgrade_blocked,
    deadline_exceeded,
    not_a_bundle,
    foreign_imports,
    rotation_under_way,
    source_not_permitted,
    no_registry,
    registry_not_signed,
    signer_changed,
    lock_source_unknown,
    lock_mismatch,
    release_changed,
);

/// A valid key that is not the key of a test's yard.
const OTHER_KEY: &str = "d3Jvbmcga2V5LCB3cm9uZyBrZXksIHdyb25nIGtleSE=";

/// Checks the kind, the code and the fields of an error.
#[track_caller]
fn is<T>(result: Result<T, Error>, kind: &str, code: &str, fields: Value) {
    let error = result.err().expect("an error");
    let found = error.as_code().map(|code| (code.as_str(), code.fields().unwrap_or_default()));
    assert_eq!((error.kind().as_str(), found), (kind, Some((code, fields))), "{error}");
}

/// Returns the URL of a location without a yard, next to the yard.
fn elsewhere(yard: &TestYard) -> String {
    match yard.url().strip_prefix("sqlite:") {
        Some(_) => format!("sqlite:{}", yard.path("nowhere.db").display()),
        None => format!("{}_nowhere", yard.url()),
    }
}

async fn no_yard(yard: &TestYard) {
    let opened = Yard::open_with(&elsewhere(yard), config(yard.folder())).await;
    is(opened, "not-found", "no-yard", Value::Null);
}

async fn yard_exists(yard: &TestYard) {
    let made = Yard::init(yard.url(), NewKey::File(None), config(yard.folder())).await;
    is(made, "conflict", "yard-exists", Value::Null);
}

async fn wrong_key(yard: &TestYard) {
    let key = KeySource::Base64(SecretValue::new(OTHER_KEY.to_owned()));
    is(yard.open_with(key).await, "denied", "wrong-key", Value::Null);
}

async fn key_unavailable(yard: &TestYard) {
    let key = KeySource::File(yard.path("missing.key"));
    is(yard.open_with(key).await, "denied", "key-unavailable", Value::Null);
}

async fn name_taken(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    let again = yard.try_create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    is(again, "conflict", "name-taken", json!({"address": "zoo-keeper/ada"}));
}

async fn name_taken_by_deleted(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    yard.yard.delete(&at("zoo-keeper/ada")).await.unwrap();
    let again = yard.try_create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    is(again, "conflict", "name-taken-by-deleted", json!({"address": "zoo-keeper/ada"}));
}

async fn deleted(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    yard.yard.delete(&at("zoo-keeper/ada")).await.unwrap();
    let fields = json!({"address": "zoo-keeper/ada"});
    is(yard.yard.block("zoo-keeper/ada").await, "not-found", "deleted", fields.clone());
    is(yard.yard.show(&"zoo-keeper/ada".parse().unwrap()).await, "not-found", "deleted", fields.clone());
    is(yard.yard.delete(&at("zoo-keeper/ada")).await, "not-found", "deleted", fields);
}

async fn revision_moved(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    yard.set("zoo-keeper/ada", json!({"name": "Eve"})).await;
    for expected in [1, 3] {
        let expected = blockyard::Revision::new(expected).unwrap();
        let saved = yard.yard.set(&at("zoo-keeper/ada"), document(json!({"name": "Bob"})), Some(expected)).await;
        is(saved, "conflict", "revision-moved", json!({"address": "zoo-keeper/ada", "newest": 2}));
    }
    assert_eq!(yard.config("zoo-keeper/ada").await, json!({"name": "Eve"}));
}

async fn in_use(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    yard.create("zoo-cage/cat", json!({"animal": "cat", "keeper": fixture::block("zoo-keeper/ada")})).await;
    let fields = json!({"used_by": [{"address": "zoo-cage/cat", "field": "keeper"}]});
    is(yard.yard.delete(&at("zoo-keeper/ada")).await, "conflict", "in-use", fields);
}

async fn bundle_in_use(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    let fields = json!({"bundle": "zoo", "used_by": [{"address": "zoo-keeper/ada", "version": "1.0.0"}]});
    is(yard.yard.plan_uninstall(&BundleName::new("zoo").unwrap(), None).await, "conflict", "bundle-in-use", fields);
}

async fn secret_destroyed(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-secret"})).await;
    yard.yard.purge(&at("zoo-keeper/ada")).await.unwrap();
    let revealed = yard.yard.reveal(&"zoo-keeper/ada".parse().unwrap(), "badge").await;
    is(revealed, "denied", "secret-destroyed", json!({"address": "zoo-keeper/ada", "field": "badge"}));
}

async fn unknown_type(yard: &TestYard) {
    let created = yard.try_create("zoo-keper/ada", json!({})).await;
    is(created, "not-found", "unknown-type", json!({"type": "zoo-keper", "any_installed": true}));
}

async fn bundle_uninstalled(yard: &TestYard) {
    let plan = yard.yard.plan_uninstall(&BundleName::new("zoo").unwrap(), None).await.unwrap();
    yard.yard.uninstall(plan).await.unwrap();
    let created = yard.try_create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    is(created, "not-found", "bundle-uninstalled", json!({"bundle": "zoo", "version": "1.0.0"}));
}

async fn not_installed(yard: &TestYard) {
    let planned = yard.yard.plan_uninstall(&BundleName::new("zo").unwrap(), None).await;
    is(planned, "not-found", "not-installed", json!({"bundle": "zo"}));
}

async fn not_granted(yard: &TestYard) {
    let mut manifest = zoo();
    manifest["version"] = json!("1.1.0");
    manifest["capabilities"] = json!(["clock", "reveal"]);
    let code = r#"(import "blockyard:bundle/clock@0.1.0" "now" (func $now (result i64)))"#;
    let staged = yard.yard.stage(component(&manifest, code), source()).await.unwrap();
    yard.yard.install(staged, &Agreement::Everything).await.unwrap();
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    let name = BundleName::new("zoo").unwrap();
    assert!(yard.yard.revoke(&name, &"clock".parse().unwrap()).await.unwrap());
    let called = yard.yard.block("zoo-keeper/ada").await.unwrap().call("introduce", json!({})).await;
    is(called, "denied", "not-granted", json!({"bundle": "zoo", "capabilities": ["clock"]}));
}

async fn consent_needed(yard: &TestYard) {
    let mut manifest = zoo();
    manifest["version"] = json!("1.1.0");
    manifest["capabilities"] = json!(["reveal", "random"]);
    let staged = yard.yard.stage(component(&manifest, ""), source()).await.unwrap();
    let given = blockyard::Given { yes: true, ..blockyard::Given::default() };
    let installed = yard.yard.install(staged, &Agreement::Given(given)).await;
    let error = installed.unwrap_err();
    let fields = error.as_code().unwrap().fields().unwrap();
    assert_eq!((error.kind().as_str(), error.as_code().unwrap().as_str()), ("usage", "consent-needed"));
    assert_eq!(
        (&fields["bundle"], &fields["version"], &fields["agreement"]),
        (&json!("zoo"), &json!("1.1.0"), &json!(false))
    );
    assert_eq!(fields["open"][0]["need"], json!({"grant": "random"}));
}

async fn upgrade_blocked(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    let mut manifest = zoo();
    manifest["version"] = json!("1.1.0");
    manifest["types"][0]["schema"]["properties"]["age"] = json!({"type": "integer"});
    manifest["types"][0]["schema"]["required"] = json!(["name", "age"]);
    let staged = yard.yard.stage(component(&manifest, ""), source()).await.unwrap();
    let answers = blockyard::Answers::new();
    let plan = yard.yard.plan_upgrade(&staged, &answers, &mut |_, _| ()).await.unwrap();
    let upgraded = yard.yard.upgrade(&staged, &plan, &answers, &Agreement::Everything, &mut |_, _| ()).await;
    let error = upgraded.unwrap_err();
    let code = error.as_code().unwrap();
    assert_eq!((error.kind().as_str(), code.as_str()), ("invalid", "upgrade-blocked"));
    let fields = json!({"bundle": "zoo", "version": "1.1.0", "blocks": ["zoo-keeper/ada"]});
    assert_eq!(code.fields(), Some(fields));
}

async fn deadline_exceeded(yard: &TestYard) {
    let mut manifest = zoo();
    manifest["version"] = json!("1.1.0");
    let endless = component(&manifest, "(func $invoke (type $call) (loop $again (br $again)) (unreachable))");
    let staged = yard.yard.stage(endless, source()).await.unwrap();
    yard.yard.install(staged, &Agreement::Everything).await.unwrap();
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    let block = yard.yard.block("zoo-keeper/ada").await.unwrap();
    let called = block.call_with("introduce", json!({}), None, Deadline::within(Duration::from_millis(300))).await;
    is(called, "bundle", "deadline-exceeded", Value::Null);
}

async fn not_a_bundle(yard: &TestYard) {
    let module = b"\0asm\x01\0\0\0".to_vec();
    for bytes in [module, b"text".to_vec(), Vec::new()] {
        is(yard.yard.stage(bytes, source()).await, "invalid", "not-a-bundle", Value::Null);
    }
}

async fn foreign_imports(yard: &TestYard) {
    let module = wat::parse_str("(module (import \"env\" \"now\" (func)))").unwrap();
    let built = blockyard::assemble(&module, Provenance::default()).await;
    is(built, "invalid", "foreign-imports", json!({ "imports": ["env now"] }));
    let interface = "wasi:clocks/wall-clock@0.2.0";
    let component = wat::parse_str(format!("(component (import \"{interface}\" (instance)))")).unwrap();
    let fields = json!({ "imports": [interface] });
    is(blockyard::assemble_file(&component).await, "invalid", "foreign-imports", fields.clone());
    is(yard.yard.stage(component, source()).await, "invalid", "foreign-imports", fields);
}

async fn rotation_under_way(yard: &TestYard) {
    // Another process began a rotation, and was interrupted.
    let store = Store::open(yard.url().parse().unwrap()).await.unwrap();
    let next = KeyRecord { id: "next".to_owned(), location: "file:next.key".to_owned(), canary: vec![1] };
    let line = AuditLine {
        at: 0,
        actor: "eve@zoo".to_owned(),
        action: "begin-rotate".to_owned(),
        subject: store.yard().id.clone(),
        detail: "{}".to_owned(),
    };
    store.begin_rotation(&store.yard().key.id, &next, line).await.unwrap();
    store.close().await;
    let keyring = yard.yard.rotate_key(&RotateTo::Keyring, &mut |_, _| ()).await;
    is(keyring, "conflict", "rotation-under-way", Value::Null);
    // The new key is not on this machine.
    let resumed = yard.yard.rotate_key(&RotateTo::Same, &mut |_, _| ()).await;
    is(resumed, "denied", "rotation-under-way", Value::Null);
}

async fn source_not_permitted(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": {"$source": "env:BADGE"}})).await;
    // A program that does not record which yards its user created.
    let config = YardConfig { trust: None, ..config(yard.folder()) };
    let opened = Yard::open_with(yard.url(), config).await.unwrap();
    let revealed = opened.reveal(&"zoo-keeper/ada".parse().unwrap(), "badge").await;
    is(revealed, "denied", "source-not-permitted", json!({"source": "env:BADGE", "yard": null}));
    opened.close().await;
}

#[test]
fn not_a_yard() {
    in_folder(async |folder| {
        std::fs::write(folder.join("notes.txt"), "not a database").unwrap();
        let url = format!("sqlite:{}", folder.join("notes.txt").display());
        is(Yard::open_with(&url, config(folder)).await, "invalid", "not-a-yard", Value::Null);
    });
}

#[test]
fn key_destination_needed() {
    in_folder(async |folder| {
        let url = format!("sqlite:{}", folder.join("yard.db").display());
        let yard = Yard::init(&url, NewKey::File(None), config(folder)).await.unwrap();
        yard.close().await;
        let file = folder.join("yard.key");
        let key = std::fs::read_to_string(&file).unwrap().trim().to_owned();
        std::fs::remove_file(file).unwrap();
        let key = KeySource::Base64(SecretValue::new(key));
        let yard = Yard::open_with(&url, YardConfig { key, ..config(folder) }).await.unwrap();
        let rotated = yard.rotate_key(&RotateTo::Same, &mut |_, _| ()).await;
        is(rotated, "usage", "key-destination-needed", Value::Null);
        yard.close().await;
    });
}

#[test]
fn key_variable_needed() {
    in_folder(async |folder| {
        let url = format!("sqlite:{}", folder.join("yard.db").display());
        let key = NewKey::Given(SecretValue::new(OTHER_KEY.to_owned()));
        let yard = Yard::init(&url, key, config(folder)).await.unwrap();
        let rotated = yard.rotate_key(&RotateTo::Same, &mut |_, _| ()).await;
        is(rotated, "usage", "key-variable-needed", Value::Null);
        yard.close().await;
    });
}

async fn find(yard: &TestYard, registries: &[Registry]) -> Result<blockyard::Found, Error> {
    let name = BundleName::new("zoo").unwrap();
    let request = Request { name: &name, requirement: &VersionReq::STAR, accepted_key: None };
    yard.yard.find(&request, registries, &mut |_| ()).await
}

async fn no_registry(yard: &TestYard) {
    is(find(yard, &[]).await, "not-found", "no-registry", json!({"bundle": "zoo"}));
}

async fn registry_not_signed(yard: &TestYard) {
    let folder = yard.path("acme");
    let (key, _) = SigningKey::generate().unwrap();
    blockyard::publish(&folder, "acme", &component(&zoo(), ""), &key, &|_| ()).unwrap();
    let index = std::fs::read_to_string(folder.join("registry.toml")).unwrap();
    let without_key = index.replace(&format!("key = \"{}\"", key.public()), "");
    std::fs::write(folder.join("registry.toml"), without_key).unwrap();
    let found = find(yard, &[Registry::read(&folder).unwrap()]).await;
    is(found, "denied", "registry-not-signed", json!({"registry": "acme"}));
}

async fn signer_changed(yard: &TestYard) {
    let folder = yard.path("acme");
    let [(first, _), (second, _)] = [SigningKey::generate().unwrap(), SigningKey::generate().unwrap()];
    let mut manifest = zoo();
    manifest["version"] = json!("1.1.0");
    blockyard::publish(&folder, "acme", &component(&manifest, ""), &first, &|_| ()).unwrap();
    let found = find(yard, &[Registry::read(&folder).unwrap()]).await.unwrap();
    let Content::Component(bytes) = found.content else { panic!("it is a file") };
    let staged = yard.yard.stage_release(bytes, found.release).await.unwrap();
    yard.yard.install(staged, &Agreement::Everything).await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    blockyard::publish(&folder, "acme", &component(&manifest, ""), &second, &|_| ()).unwrap();
    let found = find(yard, &[Registry::read(&folder).unwrap()]).await;
    let fields = json!({"bundle": "zoo", "pinned": first.public().as_str(), "offered": second.public().as_str()});
    is(found, "denied", "signer-changed", fields);
}

/// Creates a project with a registry, and locks `zoo` 1.1.0. `change` changes the text of the lock
/// file.
async fn lock(yard: &TestYard, change: impl FnOnce(String) -> String) -> (ProjectLock, Registry) {
    let folder = yard.path("shared");
    let (key, _) = SigningKey::generate().unwrap();
    let mut manifest = zoo();
    manifest["version"] = json!("1.1.0");
    blockyard::publish(&folder.join("acme"), "acme", &component(&manifest, ""), &key, &|_| ()).unwrap();
    let registry = Registry::read(&folder.join("acme")).unwrap();
    let mut lock = empty_lock(&folder).await.unwrap();
    let found = find(yard, std::slice::from_ref(&registry)).await.unwrap();
    let staged = stage(yard, found).await;
    let release = staged.lock_entry(lock.project()).unwrap();
    assert!(lock.update([(staged.name().clone(), release)].into()).unwrap());
    let text = std::fs::read_to_string(lock.path()).unwrap();
    drop(lock);
    std::fs::write(folder.join("blockyard.lock"), change(text)).unwrap();
    (empty_lock(&folder).await.unwrap(), registry)
}

async fn empty_lock(folder: &Path) -> Result<ProjectLock, Error> {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("blockyard.toml"), "[bundles]\nzoo = \"^1\"\n").unwrap();
    let project = Project::read(&folder.join("blockyard.toml")).unwrap();
    ProjectLock::acquire(&project, None, "test", &mut |_| ()).await
}

async fn stage(yard: &TestYard, found: blockyard::Found) -> Staged {
    let Content::Component(bytes) = found.content else { panic!("it is a file") };
    yard.yard.stage_release(bytes, found.release).await.unwrap()
}

async fn find_locked(yard: &TestYard, lock: &ProjectLock, registries: &[Registry]) -> Result<blockyard::Found, Error> {
    let name = BundleName::new("zoo").unwrap();
    let request = LockedRequest { name: &name, lock, accepted_key: None, exact: true };
    yard.yard.find_locked(&request, registries, &mut |_| ()).await
}

async fn lock_source_unknown(yard: &TestYard) {
    let (lock, registry) = lock(yard, |text| text.replace("path = \"acme\"", "path = \"other\"")).await;
    let found = find_locked(yard, &lock, &[registry]).await;
    let fields = json!({"bundle": "zoo", "source": "`acme` in `other`"});
    is(found, "denied", "lock-source-unknown", fields);
}

async fn lock_mismatch(yard: &TestYard) {
    let (lock, registry) = lock(yard, |text| text.replace("capabilities = [", "capabilities = [\"random\",")).await;
    let staged = stage(yard, find_locked(yard, &lock, &[registry]).await.unwrap()).await;
    let name = BundleName::new("zoo").unwrap();
    let request = LockedRequest { name: &name, lock: &lock, accepted_key: None, exact: true };
    let error = staged.check_lock(&request).unwrap_err();
    let differences = error.as_code().unwrap().fields().unwrap()["differences"].clone();
    assert!(differences[0].as_str().unwrap().starts_with("`capabilities` is locked as "), "{differences}");
    is(Err::<(), _>(error), "denied", "lock-mismatch", json!({"bundle": "zoo", "differences": differences}));
}

async fn release_changed(yard: &TestYard) {
    let (lock, registry) = lock(yard, |text| text).await;
    let locked = registry.entries[0].releases[0].sha256.unwrap().to_string();
    let offered = "0".repeat(64);
    let folder = registry.base.to_string();
    let index = Path::new(&folder).join("registry.toml");
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replacen(&format!("sha256 = \"{locked}\""), &format!("sha256 = \"{offered}\""), 1))
        .unwrap();
    let found = find_locked(yard, &lock, &[Registry::read(Path::new(&folder)).unwrap()]).await;
    let fields = json!({"bundle": "zoo", "version": "1.1.0", "locked": locked, "offered": offered});
    is(found, "denied", "release-changed", fields);
}

#[test]
fn lock_invalid() {
    in_folder(async |folder| {
        std::fs::write(folder.join("blockyard.lock"), "version = 2\n").unwrap();
        is(empty_lock(folder).await, "invalid", "lock-invalid", json!({"path": folder.join("blockyard.lock")}));
    });
}

#[test]
fn lock_outdated() {
    in_folder(async |folder| {
        let missing = empty_lock(folder).await.unwrap().require_current();
        is(missing, "conflict", "lock-outdated", json!({"differences": []}));
        std::fs::write(folder.join("blockyard.lock"), "version = 1\n").unwrap();
        let outdated = empty_lock(folder).await.unwrap().require_current();
        is(outdated, "conflict", "lock-outdated", json!({"differences": ["`zoo` is not locked"]}));
    });
}

#[test]
fn signing_password_needed() {
    // An empty key of minisign that is protected by a password: its algorithm is `Sc`, scrypt.
    let bytes = [b"EdScB2", &[0; 152][..]].concat();
    let text = format!("untrusted comment: a key\n{}\n", STANDARD.encode(bytes));
    let key = SigningKey::parse(&text, None).map_err(Error::from);
    is(key, "denied", "signing-password-needed", Value::Null);
}

#[test]
fn registry_unreadable() {
    let read = Registry::read(Path::new("/nonexistent")).map_err(Error::from);
    is(read, "not-found", "registry-unreadable", Value::Null);
}

#[test]
fn registry_credentials() {
    let (host, variable) = ("r.example".to_owned(), Some("BLOCKYARD_REGISTRY_TOKEN_ACME".to_owned()));
    let tried = vec!["BLOCKYARD_REGISTRY_TOKEN_ACME: not set".to_owned()];
    let (url, token_service) = ("https://r.example/".to_owned(), Some("https://auth.example".to_owned()));
    let refused = RemoteError::Credentials { url, host, variable, token_service, tried };
    let fields = json!({
        "host": "r.example", "variable": "BLOCKYARD_REGISTRY_TOKEN_ACME", "token_service": "https://auth.example",
    });
    is(Err::<(), _>(Error::from(refused)), "denied", "registry-credentials", fields);
}

#[test]
fn not_cached() {
    in_folder(async |folder| {
        let url = "https://r.example/".parse::<RemoteUrl>().unwrap();
        let name = Some("acme".to_owned());
        let registry = RemoteRegistry { name, url, ca: None, unsigned: false, token: None, token_service: None };
        let access = RemoteAccess { offline: true, cache: Some(folder.join("cache")), ..RemoteAccess::default() };
        let opened = blockyard::open_remote(&registry, Wanted::All, &access).await;
        let error = Error::from(opened.unavailable.unwrap());
        let fields = json!({"url": "https://r.example/registry.toml"});
        is(Err::<(), _>(error), "not-found", "not-cached", fields);
    });
}

/// Creates a project whose yard another user filled, and returns its folder.
async fn project(folder: &Path) -> Project {
    let shared = folder.join("shared");
    std::fs::create_dir(&shared).unwrap();
    let url = format!("sqlite:{}", shared.join("yard.db").display());
    let theirs = YardConfig { trust: Some(Trust::in_folder(folder.join("their-trust"))), ..YardConfig::default() };
    let yard = Yard::init(&url, NewKey::File(None), theirs).await.unwrap();
    install_zoo(&yard).await;
    yard.close().await;
    std::fs::write(shared.join("blockyard.toml"), "yard = \"sqlite:yard.db\"\n").unwrap();
    Project::read(&shared.join("blockyard.toml")).unwrap()
}

#[test]
fn project_yard_untrusted() {
    in_folder(async |folder| {
        let project = project(folder).await;
        let url = format!("sqlite:{}", folder.join("shared/yard.db").display());
        let opened = Yard::open_with(&url, YardConfig { project: Some(project), ..config(folder) }).await;
        is(opened, "denied", "project-yard-untrusted", json!({"folder": folder.join("shared")}));
    });
}

#[cfg(unix)]
#[test]
fn project_file_irregular() {
    in_folder(async |folder| {
        std::fs::write(folder.join("other.toml"), "").unwrap();
        std::os::unix::fs::symlink(folder.join("other.toml"), folder.join("blockyard.toml")).unwrap();
        let read = Project::read(&folder.join("blockyard.toml"));
        is(read, "denied", "project-file-irregular", Value::Null);
        is(TrustTarget::at(folder), "denied", "project-file-irregular", Value::Null);
    });
}

#[test]
fn nothing_trusted() {
    in_folder(async |folder| {
        let trust = Trust::in_folder(folder.join("trust"));
        is(trust.revoke(&folder.join("yard.db")), "not-found", "nothing-trusted", Value::Null);
    });
}

#[test]
fn trust_unreadable() {
    in_folder(async |folder| {
        let project = project(folder).await;
        let trust = Trust::in_folder(folder.join("trust"));
        trust.trust_project(&project).await.unwrap();
        for entry in std::fs::read_dir(folder.join("trust")).unwrap().flatten() {
            std::fs::write(entry.path(), "not JSON").unwrap();
        }
        is(trust.state(&project), "denied", "trust-unreadable", Value::Null);
        is(trust.list(), "denied", "trust-unreadable", Value::Null);
    });
}
