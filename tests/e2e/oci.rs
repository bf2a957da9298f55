//! Publishing to and installing from OCI registries: Debian's `docker-registry`, which has no
//! referrers, and one of the harness with referrers, tokens and lists in pages.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use blockyard::model::Schema;
use blockyard::{RemoteAccess, RemoteError, RemoteRegistry, Wanted, open_remote};
use blockyard_tests::oci::{OciOptions, OciRegistry, digest, issued};
use blockyard_tests::web::RecordedRequest;
use blockyard_tests::{CommandOutput, TestYard, available, environment, free_port, on_both, root, run_command};
use serde_json::{Value, json};

use crate::install::sec;
use crate::registries::{installed, text};

on_both!(published_bundle_is_installed_by_its_key, changed_or_unsigned_release_is_rejected);

const OPEN: OciOptions = OciOptions { referrers: false, catalog: false, login: None, identity: None };

/// Returns an empty yard.
fn empty() -> TestYard {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard
}

/// Returns a command with a cache of its own, which is not shared with other tests.
fn command(yard: &TestYard, arguments: &[&str]) -> Command {
    let mut command = yard.command(arguments);
    command.env("XDG_CACHE_HOME", yard.path("cache"));
    command
}

fn run(yard: &TestYard, arguments: &[&str]) -> CommandOutput {
    run_command(&mut command(yard, arguments), None)
}

#[track_caller]
fn exits(yard: &TestYard, code: i32, arguments: &[&str]) -> String {
    let output = run(yard, arguments);
    assert_eq!(output.code, code, "{arguments:?}: {}{}", output.stdout, output.stderr);
    output.stderr + &output.stdout
}

/// Publishes a version of the bundle `sec`, signed with the key in the file `key`.
fn publish(yard: &TestYard, version: &str, registry: &str, key: &str) -> CommandOutput {
    let file = sec(yard, version, &["log"], &json!({"url": {"type": "string"}}), &[]);
    let key = text(yard.path(key));
    run(yard, &["publish", &file, "--registry", registry, "--new-signing-key", &key, "--json"])
}

#[track_caller]
fn published(yard: &TestYard, version: &str, registry: &str) -> Value {
    let output = publish(yard, version, registry, "key");
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    serde_json::from_str::<Value>(&output.stdout).expect("JSON")["published"][0].clone()
}

fn install<'a>(registry: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["install", "sec", "--yes", "--registry", registry], more].concat()
}

fn published_bundle_is_installed_by_its_key(yard: &TestYard) {
    let registry = OciRegistry::start(OPEN);
    let url = registry.url();
    let release = published(yard, "0.1.0", &url);
    assert_eq!((&release["changed"], &release["file"]), (&json!(true), &json!(format!("{url}/sec:0.1.0"))));
    published(yard, "0.2.0", &url);
    published(yard, "0.3.0-beta.1", &url);
    let key = release["key"].as_str().expect("a key");
    let review = exits(yard, 2, &["install", "sec", "--registry", &url]);
    assert!(review.contains(&format!("signer: {key}")) && review.contains("sec 0.2.0"), "{review}");
    exits(yard, 0, &["install", "sec@=0.1.0", "--yes", "--registry", &url]);
    exits(yard, 0, &install(&url, &[]));
    let sources: Vec<String> = installed(yard).into_iter().map(|(_, source)| source).collect();
    assert!(sources[0].starts_with(&format!("registry {url}/ signed {key} ")), "{sources:?}");
    let refused = exits(yard, 3, &["install", "sec@^9", "--registry", &url]);
    for line in ["0.3.0-beta.1 in", "0.2.0 in", "0.1.0 in"] {
        assert!(refused.contains(line), "{refused}");
    }
    // A bundle that the registry does not have, and tags that are not versions.
    let manifest = registry.manifest("acme/sec", "0.2.0");
    registry.store_manifest("acme/sec", "latest", &manifest);
    let refused = exits(yard, 3, &["install", "other", "--registry", &url]);
    assert!(refused.contains("no registry has a bundle `other`"), "{refused}");
}

fn changed_or_unsigned_release_is_rejected(yard: &TestYard) {
    let registry = OciRegistry::start(OPEN);
    let url = registry.url();
    published(yard, "0.1.0", &url);
    exits(yard, 0, &install(&url, &[]));
    published(yard, "0.2.0", &url);
    let good = registry.manifest("acme/sec", "0.2.0");
    let annotation = |name: &str, value: Value| {
        let mut manifest = good.clone();
        manifest["annotations"][name] = value;
        if manifest["annotations"][name].is_null() {
            manifest["annotations"].as_object_mut().expect("an object").remove(name);
        }
        registry.store_manifest("acme/sec", "0.2.0", &manifest);
    };
    let old = registry.manifest("acme/sec", "0.1.0")["annotations"]["dev.blockyard.signature"].clone();
    for (name, value, words) in [
        ("dev.blockyard.signature", old, "the signature of `sec` 0.2.0 is not valid"),
        ("dev.blockyard.signature", Value::Null, "is not signed"),
        ("dev.blockyard.key", json!("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"), "another key"),
        ("dev.blockyard.key", Value::Null, "signed its releases before"),
    ] {
        annotation(name, value);
        let refused = exits(yard, 5, &install(&url, &["--replace"]));
        assert!(refused.contains(words), "{name}: {refused}");
    }
    // A withdrawn release is not selected, and one that is not a bundle is named.
    annotation("dev.blockyard.yanked", json!("true"));
    exits(yard, 0, &install(&url, &[]));
    annotation("org.opencontainers.image.title", json!("other"));
    let warned = exits(yard, 0, &install(&url, &[]));
    assert!(warned.contains("`sec`: release 0.2.0: its annotation"), "{warned}");
    // Other bytes under the digest. The cache has the right ones.
    fs::remove_dir_all(yard.path("cache/blockyard/registries")).expect("gone");
    registry.store_manifest("acme/sec", "0.2.0", &good);
    registry.corrupt_blobs("acme/sec");
    let refused = exits(yard, 5, &install(&url, &["--replace"]));
    assert!(refused.contains("does not match the digest in the registry"), "{refused}");
    assert_eq!(installed(yard).len(), 1);
}

#[test]
fn published_release_is_never_replaced() {
    let yard = empty();
    let registry = OciRegistry::start(OPEN);
    let url = registry.url();
    published(&yard, "0.1.0", &url);
    let before = registry.manifest("acme/sec", "0.1.0");
    assert_eq!(published(&yard, "0.1.0", &url)["changed"], false, "the same bytes change nothing");
    // The permissions are shown before anything is uploaded.
    let wider = sec(&yard, "0.0.9", &["log", "clock"], &json!({}), &[]);
    let signing_key = text(yard.path("key"));
    let shown = exits(&yard, 0, &["publish", &wider, "--registry", &url, "--signing-key", &signing_key]);
    assert!(shown.starts_with("permissions of sec 0.0.9, compared with 0.1.0:\n! new capability `clock`"), "{shown}");
    let other = sec(&yard, "0.1.0", &["log", "clock"], &json!({}), &[]);
    let key = text(yard.path("key"));
    let conflict = ["publish", &other, "--registry", &url, "--signing-key", &key];
    let refused = exits(&yard, 6, &conflict);
    assert!(refused.contains("`sec` 0.1.0 is already published with other content"), "{refused}");
    // A server that cannot tell whether the version exists.
    for status in [401, 403, 429, 500] {
        registry.fail_manifests(status);
        let code = if status < 404 { 5 } else { 1 };
        exits(&yard, code, &conflict);
        assert_eq!(publish(&yard, "0.9.0", &url, "key").code, code);
    }
    registry.fail_manifests(0);
    assert_eq!(registry.manifest("acme/sec", "0.1.0"), before);
    assert!(
        registry
            .requests()
            .iter()
            .all(|request| !request.target.ends_with("/manifests/0.9.0") || request.method == "GET")
    );
    // Another key does not continue a bundle.
    let refused = publish(&yard, "0.2.0", &url, "other-key");
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("has `sec` 0.1.0 signed with"), "{}", refused.stderr);
    // Nothing can be uploaded to a folder of files.
    let refused = publish(&yard, "0.2.0", "http://127.0.0.1:1/r", "key");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
}

#[test]
fn publication_ends_with_what_a_consumer_sees() {
    let yard = empty();
    let registry = OciRegistry::start(OPEN);
    published(&yard, "0.1.0", &registry.url());
    registry.corrupt_blobs("acme/sec");
    let refused = publish(&yard, "0.1.0", &registry.url(), "key");
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot be resolved and verified"), "{}", refused.stderr);
}

#[test]
fn signature_in_a_referrer_is_found() {
    let yard = empty();
    for referrers in [true, false] {
        let registry = OciRegistry::start(OciOptions { referrers, ..OPEN });
        let url = registry.url();
        published(&yard, "0.1.0", &url);
        let mut manifest = registry.manifest("acme/sec", "0.1.0");
        let annotations = manifest.as_object_mut().expect("an object").remove("annotations").expect("annotations");
        let subject = registry.store_manifest("acme/sec", "0.1.0", &manifest);
        let refused = exits(&yard, 5, &install(&url, &[]));
        assert!(refused.contains("is not signed"), "{refused}");
        let artifact = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.blockyard.release.v1+json",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2},
            "layers": [], "subject": {"mediaType": manifest["mediaType"], "digest": subject, "size": 1},
            "annotations": annotations,
        });
        let artifact_digest = registry.store_manifest("acme/sec", "signature", &artifact);
        if !referrers {
            // The tag that the specification defines for registries without the API.
            let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
                {"mediaType": artifact["mediaType"], "digest": artifact_digest, "size": 1,
                 "artifactType": artifact["artifactType"]},
            ]});
            registry.store_manifest("acme/sec", &subject.replace(':', "-"), &index);
        }
        let review = exits(&yard, 2, &["install", "sec", "--registry", &url]);
        assert!(review.contains("signer: RW"), "{review}");
    }
}

#[test]
fn tokens_are_requested_per_repository() {
    let yard = empty();
    let login = Some(("ada", "hunter2"));
    let registry = OciRegistry::start(OciOptions { login, ..OPEN });
    let url = registry.url();
    let refused = exits(&yard, 5, &install(&url, &[]));
    assert!(refused.contains("tried ") && refused.contains("a token without credentials from"), "{refused}");
    assert!(refused.contains("hint: name the registry in `[registries]` of your configuration"), "{refused}");
    assert!(refused.contains(&format!("`docker login {}`", registry.host())), "{refused}");
    fs::create_dir(yard.path(".docker")).expect("a folder");
    let config = format!(r#"{{"auths": {{"{}": {{"username": "ada", "password": "hunter2"}}}}}}"#, registry.host());
    fs::write(yard.path(".docker/config.json"), config).expect("a file");
    published(&yard, "0.1.0", &url);
    exits(&yard, 0, &install(&url, &[]));
    let requests = registry.requests();
    let asked = |request: &&RecordedRequest| request.target.starts_with("/token");
    let tokens: Vec<&str> = requests.iter().filter(asked).map(|request| request.target.as_str()).collect();
    assert!(tokens.iter().all(|target| target.contains("scope=repository%3Aacme%2Fsec%3Apull")), "{tokens:?}");
    // The password is sent to the token service only, and a token only to the repository.
    for request in requests.iter().filter(|request| !asked(request)) {
        assert!(!request.header("authorization").starts_with("Basic"), "{request:?}");
    }
    // Another host that issues tokens does not receive the password.
    let other = OciRegistry::start(OciOptions { login, ..OPEN });
    registry.set_token_service(&format!("http://{}/token", other.host().replace("127.0.0.1", "localhost")));
    let refused = exits(&yard, 5, &install(&url, &[]));
    assert!(refused.contains("not sent to the other host `http://localhost:"), "{refused}");
    assert!(other.requests().iter().all(|request| request.header("authorization").is_empty()));
    assert_eq!(other.requests().len(), 1, "a token without credentials is requested");
    // A token of the variable is used as it is, and is preferred to the password.
    let before = registry.requests().len();
    yard.configure(&format!("[registries]\nacme-1 = \"{url}\"\n"));
    let token = issued("repository:acme/sec:pull");
    let mut with_token = command(&yard, &["install", "sec", "--yes"]);
    with_token.env("BLOCKYARD_REGISTRY_TOKEN_ACME_1", &token);
    assert_eq!(run_command(&mut with_token, None).code, 0);
    let later = registry.requests().split_off(before);
    assert!(
        !later.is_empty() && later.iter().all(|request| request.header("authorization") == format!("Bearer {token}"))
    );
}

/// Writes the `config.json` of docker.
fn docker_config(yard: &TestYard, config: &Value) {
    fs::create_dir_all(yard.path(".docker")).expect("a folder");
    fs::write(yard.path(".docker/config.json"), config.to_string()).expect("a file");
}

/// Returns the values of `Authorization` and the bodies of all requests that a registry received.
fn received(registry: &OciRegistry) -> String {
    let text = |request: &RecordedRequest| {
        format!("{} {}\n", request.header("authorization"), String::from_utf8_lossy(&request.body))
    };
    registry.requests().iter().filter(|request| request.target.starts_with("/token")).map(text).collect()
}

/// The header for the user `ada` and the password `hunter2`.
const BASIC: &str = "Basic YWRhOmh1bnRlcjI=";

#[test]
fn password_is_sent_to_the_named_token_service_only() {
    let yard = empty();
    let options = OciOptions { login: Some(("ada", "hunter2")), ..OPEN };
    let [registry, service, other] = [(); 3].map(|()| OciRegistry::start(options));
    let url = registry.url();
    let origin = format!("http://{}", service.host().replace("127.0.0.1", "localhost"));
    registry.set_token_service(&format!("{origin}/token"));
    docker_config(&yard, &json!({"auths": {registry.host(): {"username": "ada", "password": "hunter2"}}}));
    // Without the setting, the error names it.
    let setting = format!("token-service = \"{origin}\"");
    let refused = exits(&yard, 5, &install(&url, &[]));
    let hint = format!("if `{origin}` may receive your credentials for `{}`, set `{setting}`", registry.host());
    assert!(refused.contains(&hint) && !refused.contains("hunter2"), "{refused}");
    assert!(!received(&service).contains("Basic"), "{}", received(&service));
    // With it, the password is sent to the service, and neither to the registry nor to another service.
    let configure = |setting: &str| {
        yard.configure(&format!("[registries]\nacme-1 = {{ url = \"{url}\", {setting} }}\n"));
    };
    configure(&setting);
    published(&yard, "0.1.0", &url);
    exits(&yard, 0, &["install", "sec", "--yes"]);
    assert!(received(&service).contains(BASIC), "{}", received(&service));
    registry.set_token_service(&format!("http://{}/token", other.host()));
    let refused = exits(&yard, 5, &["install", "sec", "--yes"]);
    let reason = format!("because its `token-service` is `{origin}`");
    assert!(refused.contains(&reason) && !refused.contains("hunter2"), "{refused}");
    assert!(!other.requests().is_empty() && !received(&other).contains("Basic"), "{}", received(&other));
    assert!(registry.requests().iter().all(|request| !request.header("authorization").starts_with("Basic")));
    // Only an origin is a setting.
    configure(&format!("token-service = \"{origin}/token\""));
    let refused = exits(&yard, 4, &["install", "sec", "--yes"]);
    assert!(refused.contains("write only an origin such as `https://auth.example`"), "{refused}");
}

#[test]
fn project_file_cannot_name_a_token_service() {
    let yard = empty();
    let options = OciOptions { login: Some(("ada", "hunter2")), ..OPEN };
    let [registry, thief] = [(); 2].map(|()| OciRegistry::start(options));
    let origin = format!("http://{}", thief.host().replace("127.0.0.1", "localhost"));
    registry.set_token_service(&format!("{origin}/token"));
    docker_config(&yard, &json!({"auths": {registry.host(): {"username": "ada", "password": "hunter2"}}}));
    let project = yard.path("project");
    fs::create_dir(&project).expect("a folder");
    let write = |entry: &str| {
        let text = format!("[registries]\nours = {{ url = \"{}\"{entry} }}\n", registry.url());
        fs::write(project.join("blockyard.toml"), text).expect("a file");
    };
    let run = || {
        let output = run_command(command(&yard, &["install", "sec", "--yes"]).current_dir(&project), None);
        (output.code, output.stderr)
    };
    write("");
    yard.ok(&["trust", &text(project.clone())]);
    let (code, refused) = run();
    assert!(code == 5 && refused.contains("not sent to the other host"), "{code}: {refused}");
    write(&format!(", token-service = \"{origin}\""));
    let (code, refused) = run();
    assert_eq!(code, 4, "{refused}");
    let reason = "`registries.ours` has a `token-service`, which receives your password: \
                  set it in `[registries]` of your own configuration";
    assert!(refused.contains(reason), "{refused}");
    assert!(!thief.requests().is_empty() && !received(&thief).contains("Basic"), "{}", received(&thief));
}

#[test]
fn identity_token_is_exchanged_for_tokens() {
    let yard = empty();
    let options = OciOptions { identity: Some("r3fresh"), ..OPEN };
    let [registry, service] = [(); 2].map(|()| OciRegistry::start(options));
    let (url, host) = (registry.url(), registry.host());
    let entry = |token: &str| json!({"auths": {&host: {"auth": "YWRhOg==", "identitytoken": token}}});
    docker_config(&yard, &entry("r3fresh"));
    published(&yard, "0.1.0", &url);
    exits(&yard, 0, &install(&url, &[]));
    let form = "grant_type=refresh_token&service=harness&scope=repository%3Aacme%2Fsec%3Apull&client_id=blockyard";
    assert!(received(&registry).contains(&format!("{form}&refresh_token=r3fresh")), "{}", received(&registry));
    // Another token service receives it only if the user names it.
    let origin = format!("http://{}", service.host().replace("127.0.0.1", "localhost"));
    registry.set_token_service(&format!("{origin}/token"));
    let refused = exits(&yard, 5, &install(&url, &[]));
    assert!(refused.contains(&format!("the identity token for `{host}`: not sent to the other host")), "{refused}");
    assert!(!received(&service).contains("r3fresh"), "{}", received(&service));
    yard.configure(&format!("[registries]\nacme = {{ url = \"{url}\", token-service = \"{origin}\" }}\n"));
    exits(&yard, 0, &install(&url, &[]));
    assert!(received(&service).contains("refresh_token=r3fresh"), "{}", received(&service));
    // An identity token that is rejected is not quoted.
    docker_config(&yard, &entry("wr0ng"));
    let refused = exits(&yard, 5, &install(&url, &[]));
    let reason = format!("the identity token for `{host}`: rejected by the server");
    assert!(refused.contains(&reason) && !refused.contains("wr0ng"), "{refused}");
}

/// Runs `doctor --online` and returns what it says of the credentials of the only registry, with its
/// kind.
fn credentials(yard: &TestYard, variables: &[(&str, &str)]) -> (String, String) {
    let mut document = command(yard, &["doctor", "--online", "--json"]);
    let output = run_command(document.envs(variables.iter().copied()), None);
    let report: Value = serde_json::from_str(&output.stdout).expect("one document");
    let schema = fs::read_to_string(root().join("schemas/json/doctor.json")).expect("a schema");
    let schema = Schema::compile(serde_json::from_str(&schema).expect("JSON")).expect("a valid schema");
    assert_eq!(schema.check(&report), [], "{report}");
    let step = report["steps"].as_array().expect("steps").last().expect("a step").clone();
    let shown = run_command(command(yard, &["doctor", "--online"]).envs(variables.iter().copied()), None);
    let said = step["registries"][0]["credentials"].as_str().expect("text").to_owned();
    assert!(shown.stdout.contains(&format!("`: credentials: {said}\n")), "{}", shown.stdout);
    for text in [output.stdout, output.stderr, shown.stdout, shown.stderr] {
        assert!(["hunter2", "r3fresh", "token-"].iter().all(|secret| !text.contains(secret)), "{text}");
    }
    (step["registries"][0]["kind"].as_str().expect("a kind").to_owned(), said)
}

#[test]
fn doctor_names_the_credentials_of_each_registry() {
    let yard = empty();
    let options = OciOptions { catalog: true, login: Some(("ada", "hunter2")), identity: Some("r3fresh"), ..OPEN };
    let registry = OciRegistry::start(options);
    let host = registry.host();
    yard.configure(&format!("[registries]\nacme-1 = \"{}\"\n", registry.url()));
    let said = |kind: &str, credentials: &str| (kind.to_owned(), credentials.to_owned());
    assert_eq!(credentials(&yard, &[]), said("anonymous", "none (anonymous)"));
    let token = issued("registry:catalog:*");
    assert_eq!(
        credentials(&yard, &[("BLOCKYARD_REGISTRY_TOKEN_ACME_1", &token)]),
        said("variable", "the variable BLOCKYARD_REGISTRY_TOKEN_ACME_1")
    );
    let path = text(yard.path(".docker/config.json"));
    docker_config(&yard, &json!({"auths": {&host: {"username": "ada", "password": "hunter2"}}}));
    assert_eq!(credentials(&yard, &[]), said("password", &format!("the password of `ada` in `{path}`")));
    docker_config(&yard, &json!({"auths": {&host: {"identitytoken": "r3fresh"}}}));
    assert_eq!(credentials(&yard, &[]), said("identity-token", &format!("an identity token in `{path}`")));
    // A credential helper, which answers with a password or with an identity token.
    docker_config(&yard, &json!({"credHelpers": {&host: "harness"}}));
    let helper = yard.path(".docker/docker-credential-harness");
    let variable = format!("{}:{}", text(yard.path(".docker")), std::env::var("PATH").unwrap_or_default());
    for (user, secret, expected) in [
        ("ada", "hunter2", "the credential helper `docker-credential-harness`"),
        ("<token>", "r3fresh", "an identity token of the credential helper `docker-credential-harness`"),
    ] {
        let answer = json!({"Username": user, "Secret": secret});
        let staged = yard.path("helper");
        fs::write(&staged, format!("#!/bin/sh\nread -r host\necho '{answer}'\n")).expect("a file");
        fs::set_permissions(&staged, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
        fs::rename(&staged, &helper).expect("a helper");
        assert_eq!(credentials(&yard, &[("PATH", &variable)]), said("helper", expected));
    }
}

#[test]
fn oci_registry_works_offline_from_the_cache() {
    let yard = empty();
    let registry = OciRegistry::start(OciOptions { referrers: true, ..OPEN });
    let url = registry.url();
    published(&yard, "0.1.0", &url);
    let offline = install(&url, &["--offline"]);
    let missing = exits(&yard, 3, &offline);
    assert!(missing.contains("/v2/acme/sec/tags/list?n=1000` is not in the cache"), "{missing}");
    exits(&yard, 2, &["install", "sec", "--registry", &url]);
    let requests = registry.requests().len();
    exits(&yard, 0, &offline);
    assert_eq!(registry.requests().len(), requests);
}

#[test]
fn catalog_lists_the_bundles_of_a_namespace() {
    let yard = empty();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for catalog in [true, false] {
        let registry = OciRegistry::start(OciOptions { catalog, ..OPEN });
        for version in ["0.1.0", "0.2.0", "0.3.0"] {
            published(&yard, version, &registry.url());
        }
        let manifest = registry.manifest("acme/sec", "0.1.0");
        for other in ["acme/deep/sec", "acme2/sec", "acme", "acme/Not_a_name"] {
            registry.store_manifest(other, "0.1.0", &manifest);
        }
        let url = registry.url().parse().expect("a URL");
        let name = Some("acme".to_owned());
        let remote = RemoteRegistry { name, url, ca: None, unsigned: false, token: None, token_service: None };
        let opened = runtime.block_on(open_remote(&remote, Wanted::All, &RemoteAccess::default()));
        let entries: Vec<(&str, usize)> =
            opened.entries.iter().map(|entry| (entry.name.as_str(), entry.releases.len())).collect();
        match catalog {
            true => assert_eq!((entries, opened.unavailable), (vec![("sec", 3)], None)),
            false => assert!(matches!(opened.unavailable, Some(RemoteError::NotListed { .. })), "{opened:?}"),
        }
        yard.configure(&format!("[registries]\nacme = \"{}\"\n", registry.url()));
        let shown = exits(&yard, 0, &["search", "sec"]);
        match catalog {
            true => assert!(shown.contains("0.3.0") && !shown.contains("warning"), "{shown}"),
            false => assert!(
                shown.contains("warning: registry `acme` is left out: ") && shown.contains("does not list its bundles"),
                "{shown}"
            ),
        }
    }
}

/// Debian's registry.
struct DockerRegistry {
    process: Child,
    port: u16,
}

impl DockerRegistry {
    fn start(yard: &TestYard) -> Self {
        let port = free_port();
        let config = yard.path("registry.yml");
        let folder = yard.path("registry");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
                folder.display()
            ),
        )
        .expect("a file");
        let mut command = environment::program("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("docker-registry starts");
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "docker-registry does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { process, port }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn docker_registry_stores_and_offers_bundles() {
    if !available("BLOCKYARD_TEST_DOCKER_REGISTRY") {
        return;
    }
    let yard = empty();
    let registry = DockerRegistry::start(&yard);
    let url = format!("oci://127.0.0.1:{}/acme/bundles", registry.port);
    assert_eq!(published(&yard, "0.1.0", &url)["changed"], true);
    assert_eq!(published(&yard, "0.1.0", &url)["changed"], false);
    published(&yard, "0.2.0", &url);
    exits(&yard, 0, &install(&url, &[]));
    assert_eq!(installed(&yard)[0].0, "0.2.0");
    exits(&yard, 3, &["install", "other", "--registry", &url]);
    let other = sec(&yard, "0.1.0", &["log", "clock"], &json!({}), &[]);
    exits(&yard, 6, &["publish", &other, "--registry", &url, "--signing-key", &text(yard.path("key"))]);
    // Another program sees the component file under its digest.
    let blob = format!("http://127.0.0.1:{}/v2/acme/bundles/sec/manifests/0.2.0", registry.port);
    let mut curl = environment::program("curl");
    curl.args(["--silent", "--fail", "-H", "accept: application/vnd.oci.image.manifest.v1+json", &blob]);
    let manifest: Value = serde_json::from_str(&run_command(&mut curl, None).stdout).expect("a manifest");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    let file = fs::read(yard.path("sec-0.2.0.wasm")).expect("a file");
    assert_eq!(manifest["layers"][0]["digest"], digest(&file));
    // Without the server, the cache is enough.
    drop(registry);
    exits(&yard, 0, &install(&url, &["--offline"]));
    exits(&yard, 1, &install(&url, &[]));
}
