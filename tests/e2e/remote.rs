//! Installing from registries that are folders of files behind HTTPS: certificates, redirects,
//! limits, credentials, the cache and `--offline`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use blockyard_tests::web::{Answer, RecordedRequest, Web};
use blockyard_tests::{CommandOutput, TestYard, available, binary, on_both, run_command};
use serde_json::{Value, json};

use crate::registries::{change_index, index, installed, key_of, publish, text};

on_both!(signed_bundle_is_installed_over_https, changed_key_of_a_server_is_rejected);

const INSTALL: [&str; 3] = ["install", "sec", "--yes"];

/// Returns an empty yard.
fn empty() -> TestYard {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard
}

/// Answers requests with the files of a folder. The entity tag is the digest of the file.
fn files(folder: impl Into<PathBuf>) -> impl Fn(&RecordedRequest) -> Answer + Send + Sync + 'static {
    let folder = folder.into();
    move |request| {
        let path = request.target.trim_start_matches('/').split('?').next().unwrap_or_default();
        let Ok(bytes) = fs::read(folder.join(path)) else { return Answer::status(404) };
        let etag = format!("\"{}\"", blockyard_tests::oci::digest(&bytes));
        if request.header("if-none-match") == etag {
            return Answer::status(304);
        }
        Answer::text(bytes).header("etag", &etag)
    }
}

/// Makes a server the registry `acme` of the user's configuration, with the CA of the harness.
fn configure(yard: &TestYard, web: &Web) {
    configure_with(yard, &web.url(), &format!(", ca = \"{}\"", Web::authority().display()));
}

fn configure_with(yard: &TestYard, url: &str, more: &str) {
    yard.configure(&format!("[registries]\nacme = {{ url = \"{url}\"{more} }}\n"));
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
    output.stderr
}

fn downloads(web: &Web, ending: &str) -> usize {
    web.requests().iter().filter(|request| request.target.ends_with(ending)).count()
}

fn signed_bundle_is_installed_over_https(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", "acme", "key");
    let key = key_of(&registry);
    let web = Web::start_secure(files(&registry));
    configure(yard, &web);
    let review = exits(yard, 2, &["install", "sec"]);
    assert!(review.contains(&format!("source: registry {}/", web.url())), "{review}");
    assert!(review.contains(&format!("signer: {key}")), "{review}");
    exits(yard, 0, &INSTALL);
    let (version, source) = installed(yard).remove(0);
    assert_eq!(version, "0.1.0");
    assert_eq!(source, format!("registry {}/ signed {key} (acme: sec 0.1.0)", web.url()));
    // The file was downloaded once, and the index is validated each time.
    assert_eq!((downloads(&web, "/sec-0.1.0.wasm"), downloads(&web, "/registry.toml")), (1, 2));
    // The URL of the index is the same registry as that of its folder.
    let url = format!("{}/registry.toml", web.url());
    configure_with(yard, &url, &format!(", ca = \"{}\"", Web::authority().display()));
    exits(yard, 0, &INSTALL);
    exits(yard, 0, &[&INSTALL[..], &["--registry", &url]].concat());
    assert_eq!(installed(yard).len(), 1);
}

fn changed_key_of_a_server_is_rejected(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", "acme", "key");
    let web = Web::start_secure(files(&registry));
    configure(yard, &web);
    exits(yard, 0, &INSTALL);
    let old = key_of(&registry);
    fs::remove_dir_all(&registry).expect("gone");
    publish(yard, "0.2.0", "acme", "other-key");
    let refused = exits(yard, 5, &INSTALL);
    assert!(refused.contains(&old) && refused.contains(&key_of(&registry)), "{refused}");
    // The server cannot become unsigned, nor excuse itself from signatures.
    change_index(&registry, &format!("key = \"{}\"", key_of(&registry)), "unsigned = true");
    assert!(exits(yard, 5, &INSTALL).contains("signed its releases before"));
}

#[test]
fn only_the_user_can_accept_an_unsigned_server() {
    let yard = empty();
    let registry = publish(&yard, "0.1.0", "acme", "key");
    change_index(&registry, &format!("key = \"{}\"", key_of(&registry)), "unsigned = true");
    let web = Web::start_secure(files(&registry));
    configure(&yard, &web);
    let refused = exits(&yard, 5, &INSTALL);
    assert!(refused.contains("the registry `acme` is not signed"), "{refused}");
    let accepted = format!(", unsigned = true, ca = \"{}\"", Web::authority().display());
    configure_with(&yard, &web.url(), &accepted);
    exits(&yard, 0, &INSTALL);
}

#[test]
fn certificates_are_verified_for_each_registry() {
    let yard = empty();
    let registry = publish(&yard, "0.1.0", "acme", "key");
    let web = Web::start_secure(files(&registry));
    configure_with(&yard, &web.url(), "");
    let refused = exits(&yard, 5, &INSTALL);
    assert!(refused.contains("registry `acme` is not available"), "{refused}");
    assert!(refused.contains("the certificate of `https://127.0.0.1:"), "{refused}");
    assert!(refused.contains("set `ca` for the registry"), "{refused}");
    // The CA of one registry does not vouch for another.
    let other = Web::start_secure(files(yard.path("nothing")));
    let ca = Web::authority().display();
    yard.configure(&format!(
        "[registries]\nother = {{ url = \"{}\", ca = \"{ca}\" }}\nacme = \"{}\"\n",
        other.url(),
        web.url()
    ));
    let refused = exits(&yard, 5, &[&INSTALL[..], &["--registry", &web.url()]].concat());
    assert!(refused.contains("the certificate of"), "{refused}");
    let expired = Web::start_expired(files(&registry));
    configure(&yard, &expired);
    let refused = exits(&yard, 5, &INSTALL);
    assert!(refused.contains("the certificate of") && refused.contains("xpired"), "{refused}");
    assert!(expired.requests().is_empty());
    assert!(web.requests().is_empty(), "no request was sent to a server without a valid certificate");
}

#[test]
fn unusable_ca_file_is_an_error() {
    let yard = empty();
    let registry = publish(&yard, "0.1.0", "acme", "key");
    let web = Web::start_secure(files(&registry));
    let ca = yard.path("ca.pem");
    configure_with(&yard, &web.url(), &format!(", ca = \"{}\"", ca.display()));
    for (content, reason) in [
        (None, "No such file"),
        (Some("not PEM"), "contains no PEM-encoded certificate"),
        (Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "invalid peer certificate"),
    ] {
        if let Some(content) = content {
            fs::write(&ca, content).expect("a file");
        }
        let refused = exits(&yard, 5, &INSTALL);
        assert!(refused.contains("the file of CA certificates") && refused.contains(reason), "{refused}");
        assert!(refused.contains("registry `acme`"), "{refused}");
    }
    // A valid certificate beside a broken one is not a valid file.
    let good = fs::read_to_string(Web::authority()).expect("a certificate");
    fs::write(&ca, format!("{good}-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")).expect("a file");
    assert!(exits(&yard, 5, &INSTALL).contains("it is not PEM"));
    assert_eq!(web.connections(), 0);
    fs::write(&ca, good).expect("a file");
    exits(&yard, 0, &INSTALL);
}

#[test]
fn hostile_servers_are_rejected() {
    let yard = empty();
    let registry = publish(&yard, "0.1.0", "acme", "key");
    let good = files(&registry);
    let plain = Web::start(files(&registry));
    let plain_url = plain.url();
    let mode = std::sync::Arc::new(std::sync::Mutex::new(""));
    let current = mode.clone();
    let web = Web::start_secure(move |request| {
        let is_index = request.target.ends_with(".toml");
        match *current.lock().expect("no panic") {
            "index redirects" if is_index => Answer::redirect(302, &format!("{plain_url}/registry.toml")),
            "file redirects" if !is_index => Answer::redirect(307, &format!("{plain_url}/sec-0.1.0.wasm")),
            "endless" => Answer::redirect(301, &request.target),
            "large index" if is_index => Answer { more: 100 << 20, ..Answer::default() },
            "large file" if !is_index => Answer { more: 100 << 20, ..Answer::default() },
            "other bytes" if !is_index => Answer::text("\0asm"),
            "not TOML" if is_index => Answer::text("<html>\u{1b}[31m"),
            "not UTF-8" if is_index => Answer::text(vec![0xff, 0xfe]),
            "error" => Answer { status: 503, ..Answer::text("\u{1b}[31mmaintenance\nhint: run `curl evil`") },
            "missing file" if !is_index => Answer::status(404),
            _ => good(request),
        }
    });
    configure(&yard, &web);
    for (case, code, words) in [
        ("index redirects", 5, "which is not permitted"),
        ("file redirects", 5, "which is not permitted"),
        ("endless", 5, "more than 5 redirects"),
        ("large index", 4, "is larger than 16777216 bytes"),
        ("large file", 4, "is larger than 67108864 bytes"),
        ("other bytes", 5, "does not match the digest in the registry"),
        ("not TOML", 4, "registry `acme` is not available"),
        ("not UTF-8", 4, "it is not UTF-8 text"),
        ("error", 1, "with status 503"),
        ("missing file", 3, "with status 404"),
    ] {
        *mode.lock().expect("no panic") = case;
        let refused = exits(&yard, code, &INSTALL);
        assert!(refused.contains(words), "{case}: {refused}");
        assert!(!refused.contains('\u{1b}') && !refused.contains("\nhint: run"), "{case}: {refused}");
        assert!(installed(&yard).is_empty(), "{case}");
    }
    assert!(plain.requests().is_empty(), "no request was sent without encryption");
    *mode.lock().expect("no panic") = "";
    exits(&yard, 0, &INSTALL);
}

#[test]
fn names_in_an_index_do_not_lead_elsewhere() {
    let yard = empty();
    let registry = publish(&yard, "0.1.0", "acme", "key");
    let text = index(&registry);
    let cdn = Web::start_secure(files(&registry));
    let web = Web::start_secure(files(&registry));
    configure(&yard, &web);
    for url in
        ["../sec-0.1.0.wasm", "/sec-0.1.0.wasm", "//127.0.0.1/x.wasm", "file:///etc/passwd", "http://127.0.0.1:1/x"]
    {
        fs::write(format!("{registry}/registry.toml"), text.replace("sec-0.1.0.wasm", url)).expect("a file");
        exits(&yard, 4, &INSTALL);
    }
    assert_eq!(downloads(&web, ".wasm"), 0);
    // Source code is not offered by a server, and one broken entry does not affect the others.
    let broken = "[[bundle]]\nname = \"broken\"\n[[bundle.release]]\nversion = \"1.0.0\"\nwit = \"0.1\"\nsource = { path = \"a\" }\n";
    let absolute = text.replace("sec-0.1.0.wasm", &format!("{}/sec-0.1.0.wasm", cdn.url()));
    fs::write(format!("{registry}/registry.toml"), format!("{absolute}\n{broken}")).expect("a file");
    let refused = exits(&yard, 4, &["install", "broken", "--yes"]);
    assert!(refused.contains("a registry on a server does not offer"), "{refused}");
    exits(&yard, 0, &INSTALL);
    assert_eq!((downloads(&web, ".wasm"), downloads(&cdn, ".wasm")), (0, 1));
}

#[test]
fn local_registry_may_name_files_on_servers() {
    let yard = empty();
    let registry = publish(&yard, "0.1.0", "acme", "key");
    let web = Web::start(files(&registry));
    change_index(&registry, "sec-0.1.0.wasm", &format!("{}/sec-0.1.0.wasm", web.url()));
    exits(&yard, 0, &[&INSTALL[..], &["--registry", &registry]].concat());
    assert_eq!(web.requests().len(), 1);
}

#[test]
fn unavailable_registry_is_not_passed_over() {
    let yard = empty();
    let registry = publish(&yard, "0.1.0", "acme", "key");
    // No server listens on port 1.
    let closed = "http://127.0.0.1:1/r";
    let refused = exits(&yard, 1, &[&INSTALL[..], &["--registry", closed, "--registry", &registry]].concat());
    assert!(refused.contains("registry `http://127.0.0.1:1/r` is not available"), "{refused}");
    assert!(installed(&yard).is_empty());
    exits(&yard, 0, &[&INSTALL[..], &["--registry", &registry, "--registry", closed]].concat());
    for (url, words) in [
        ("http://r.example/a", "is not encrypted"),
        ("https://u:hunter2@r.example/a", "has credentials"),
        ("file:///r", "is not the address of a registry"),
        ("oci://r.example", "has no namespace"),
    ] {
        let refused = exits(&yard, 2, &[&INSTALL[..], &["--registry", url]].concat());
        assert!(refused.contains(words) && !refused.contains("hunter2"), "{url}: {refused}");
    }
}

#[test]
fn offline_uses_the_cache_and_opens_no_connection() {
    let yard = empty();
    let registry = publish(&yard, "0.1.0", "acme", "key");
    let web = Web::start_secure(files(&registry));
    configure(&yard, &web);
    let offline = [&INSTALL[..], &["--offline"]].concat();
    let missing = exits(&yard, 3, &offline);
    assert!(missing.contains("registry `acme` is not available"), "{missing}");
    assert!(missing.contains(&format!("`{}/registry.toml` is not in the cache", web.url())), "{missing}");
    assert_eq!(web.connections(), 0);
    // The index is in the cache, but not the file.
    exits(&yard, 3, &["install", "other"]);
    let missing = exits(&yard, 3, &offline);
    assert!(missing.contains("sec-0.1.0.wasm` is not in the cache"), "{missing}");
    exits(&yard, 2, &["install", "sec"]);
    drop(web);
    exits(&yard, 0, &offline);
    assert_eq!(installed(&yard)[0].0, "0.1.0");
    assert_eq!(mode(&yard.path("cache/blockyard/registries")), 0o700);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).expect("a folder").permissions().mode() & 0o777
}

/// Verifying a signature needs no network: neither a local registry nor the cache opens a socket.
#[test]
fn installation_works_without_a_network() {
    if !available("BLOCKYARD_TEST_MOUNTS") {
        return;
    }
    let yard = empty();
    let registry = publish(&yard, "0.1.0", "acme", "key");
    let web = Web::start_secure(files(&registry));
    configure(&yard, &web);
    exits(&yard, 2, &["install", "sec"]);
    for more in [&["--offline"][..], &["--registry", &registry]] {
        let other = TestYard::empty();
        let mut isolated = other.program("unshare");
        isolated.args(["--user", "--map-current-user", "--net", &binary()]).args(INSTALL).args(more);
        isolated.env("XDG_CACHE_HOME", yard.path("cache"));
        isolated.env("BLOCKYARD_CONFIG", yard.path(".config/blockyard/config.toml"));
        let output = run_command(&mut isolated, None);
        assert_eq!(output.code, 0, "{more:?}: {}", output.stderr);
        assert_eq!(installed(&other).len(), 1);
    }
}

/// Makes all files in the cache look as if they had last been used 31 days ago.
fn age_cache(yard: &TestYard) {
    let time = SystemTime::now() - Duration::from_secs(31 * 24 * 60 * 60);
    for folder in ["components", "documents"] {
        let folder = yard.path("cache/blockyard/registries").join(folder);
        for file in fs::read_dir(folder).expect("a folder").flatten() {
            fs::File::open(file.path()).and_then(|file| file.set_modified(time)).expect("a file");
        }
    }
}

#[test]
fn unused_downloads_are_removed_by_gc() {
    let yard = empty();
    let registry = publish(&yard, "0.1.0", "acme", "key");
    let web = Web::start_secure(files(&registry));
    configure(&yard, &web);
    // Without an agreement, the bundle is downloaded and not installed.
    exits(&yard, 2, &["install", "sec"]);
    let offline = ["install", "sec", "--offline"];
    // The index and the component are read, and therefore stay.
    age_cache(&yard);
    exits(&yard, 2, &offline);
    let gc = |arguments: &[&str]| {
        let output = run(&yard, &[&["gc"][..], arguments].concat());
        assert_eq!(output.code, 0, "{}", output.stderr);
        output
    };
    assert!(gc(&[]).stdout.contains("\n0 unused cache entries removed: 0 bytes"));
    age_cache(&yard);
    let document: Value = serde_json::from_str(&gc(&["--json"]).stdout).expect("JSON");
    assert_eq!((&document["cache"]["entries"], &document["cache"]["damaged"]), (&json!(2), &json!([])), "{document}");
    let missing = exits(&yard, 3, &offline);
    assert!(missing.contains("is not in the cache"), "{missing}");
    exits(&yard, 2, &["install", "sec"]);
    let (folder, name) = ("components", format!("{}.wasm", "0".repeat(64)));
    let damaged = yard.path("cache/blockyard/registries").join(folder).join(name);
    fs::write(&damaged, "\0asm other").expect("a file");
    age_cache(&yard);
    let warned = gc(&[]).stderr;
    assert!(warned.contains(&format!("the cache entry `{}` is damaged", damaged.display())), "{warned}");
    assert!(damaged.exists(), "the entry is evidence");
}

#[test]
fn damaged_cache_entry_is_named_and_left() {
    let yard = empty();
    let registry = publish(&yard, "0.1.0", "acme", "key");
    let web = Web::start_secure(files(&registry));
    configure(&yard, &web);
    exits(&yard, 2, &["install", "sec"]);
    let cache = yard.path("cache/blockyard/registries");
    let only = |folder: &str| {
        let mut files = fs::read_dir(cache.join(folder)).expect("a folder").flatten();
        let file = files.next().expect("an entry").path();
        assert!(files.next().is_none(), "no partial file is left");
        file
    };
    let (component, document) = (only("components"), only("documents"));
    fs::write(&component, "\0asm other").expect("a file");
    fs::write(&document, "{}").expect("a file");
    for (path, offline) in [(&document, true), (&component, false)] {
        if !offline {
            fs::remove_file(&document).expect("gone");
            exits(&yard, 3, &["install", "other"]);
        }
        let refused = exits(&yard, 5, &[&INSTALL[..], &["--offline"]].concat());
        assert!(refused.contains(&format!("the cache entry `{}` is damaged", path.display())), "{refused}");
    }
    let warned = exits(&yard, 0, &INSTALL);
    assert!(warned.contains(&format!("warning: the cache entry `{}` is damaged", component.display())), "{warned}");
    assert_eq!(fs::read(&component).expect("a file"), b"\0asm other", "the entry is evidence");
}

/// Starts a server that requires a token, in front of the files of a folder.
fn guarded(folder: &str, token: &'static str) -> Web {
    let files = files(folder);
    Web::start_secure(move |request| match request.header("authorization") {
        sent if sent == format!("Bearer {token}") => files(request),
        _ => Answer::status(401).header("www-authenticate", "Bearer"),
    })
}

#[test]
fn token_is_sent_to_its_registry_only() {
    let yard = empty();
    let registry = publish(&yard, "0.1.0", "acme", "key");
    let cdn = Web::start_secure(files(&registry));
    change_index(&registry, "sec-0.1.0.wasm", &format!("{}/sec-0.1.0.wasm", cdn.url()));
    let web = guarded(&registry, "t0ken-value");
    configure(&yard, &web);
    let refused = exits(&yard, 5, &INSTALL);
    assert!(refused.contains("BLOCKYARD_REGISTRY_TOKEN_ACME: not set"), "{refused}");
    assert!(refused.contains("config.json`: does not exist"), "{refused}");
    assert!(refused.contains("hint: set a token for it in BLOCKYARD_REGISTRY_TOKEN_ACME"), "{refused}");
    let with = |token: &str, arguments: &[&str]| {
        run_command(command(&yard, arguments).env("BLOCKYARD_REGISTRY_TOKEN_ACME", token), None)
    };
    let refused = with("wr0ng-value", &INSTALL);
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("BLOCKYARD_REGISTRY_TOKEN_ACME: rejected by the server"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("wr0ng-value"), "{}", refused.stderr);
    // A project file that uses the name for another server does not receive the token.
    let thief = guarded(&registry, "t0ken-value");
    let project = yard.path("project");
    fs::create_dir(&project).expect("a folder");
    fs::write(project.join("blockyard.toml"), format!("[registries]\nacme = \"{}\"\n", thief.url())).expect("a file");
    yard.ok(&["trust", &text(project.clone())]);
    let mut stolen = command(&yard, &INSTALL);
    stolen.current_dir(&project).env("BLOCKYARD_REGISTRY_TOKEN_ACME", "t0ken-value");
    stolen.env("SSL_CERT_FILE", Web::authority());
    assert_eq!(run_command(&mut stolen, None).code, 5);
    assert!(!thief.requests().is_empty() && sent(&thief) == 0);
    // Neither does the server that has the files.
    let installed = with("t0ken-value", &INSTALL);
    assert_eq!(installed.code, 0, "{}", installed.stderr);
    assert_eq!((downloads(&cdn, ".wasm"), sent(&cdn)), (1, 0));
    // A project file that names the URL has the settings of the user's entry: its `ca` and its token.
    fs::write(project.join("blockyard.toml"), format!("[registries]\nours = \"{}\"\n", web.url())).expect("a file");
    yard.ok(&["trust", &text(project.clone())]);
    let mut ours = command(&yard, &INSTALL);
    ours.current_dir(&project).env("BLOCKYARD_REGISTRY_TOKEN_ACME", "t0ken-value");
    let output = run_command(&mut ours, None);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains("already installed"), "{}", output.stdout);
}

/// Returns the number of requests with credentials.
fn sent(web: &Web) -> usize {
    web.requests().iter().filter(|request| !request.header("authorization").is_empty()).count()
}

#[test]
fn password_of_docker_is_used_when_the_server_asks() {
    let yard = empty();
    let registry = publish(&yard, "0.1.0", "acme", "key");
    let files = files(&registry);
    let web = Web::start_secure(move |request| match request.header("authorization") {
        "Basic YWRhOmh1bnRlcjI=" => files(request),
        _ => Answer::status(401).header("www-authenticate", "Basic realm=\"acme\""),
    });
    configure(&yard, &web);
    let docker = yard.path("docker");
    fs::create_dir(&docker).expect("a folder");
    let host = format!("127.0.0.1:{}", web.port());
    let run = |config: &str| {
        fs::write(docker.join("config.json"), config).expect("a file");
        let path = format!("{}:{}", docker.display(), std::env::var("PATH").unwrap_or_default());
        run_command(command(&yard, &INSTALL).env("DOCKER_CONFIG", &docker).env("PATH", path), None)
    };
    let refused = run(&format!(r#"{{"auths": {{"{host}0": {{"auth": "YWRhOmh1bnRlcjI="}}}}}}"#));
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("no password for `{host}`")), "{}", refused.stderr);
    let refused = run(&format!(r#"{{"auths": {{"{host}": {{"auth": "YWRhOndyb25n"}}}}}}"#));
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("the password of `ada`: rejected"), "{}", refused.stderr);
    // A credential helper is asked for the host.
    let helper = docker.join("docker-credential-harness");
    let script = format!(
        "#!/bin/sh\nread -r host\n[ \"$1 $host\" = \"get {host}\" ] && echo '{{\"Username\": \"ada\", \"Secret\": \"hunter2\"}}'\n"
    );
    fs::write(&helper, script).expect("a file");
    fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    let installed = run(&format!(r#"{{"credHelpers": {{"{host}": "harness"}}}}"#));
    assert_eq!(installed.code, 0, "{}", installed.stderr);
    assert!(!installed.stderr.contains("warning"), "{}", installed.stderr);
    fs::remove_dir_all(yard.path("cache")).expect("gone");
    let again = run(&format!(r#"{{"auths": {{"https://{host}/v1/": {{"auth": "YWRhOmh1bnRlcjI="}}}}}}"#));
    assert_eq!(again.code, 0, "{}", again.stderr);
}
