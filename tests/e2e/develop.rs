//! The tools of bundle authors on the crate that `blockyard new` creates: `build`, `inspect --reproduce`, `test`
//! and `dev`, with the binary and cargo only.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use blockyard::model::Schema;
use blockyard_tests::environment::with_cargo;
use blockyard_tests::{CommandOutput, TestYard, root, run_command};
use serde_json::{Value, json};

/// Time within which a step of `dev` ends. The first build compiles all dependencies.
const STEP: Duration = Duration::from_secs(600);

/// Returns a command that runs the binary with cargo.
fn command(yard: &TestYard, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = yard.command(arguments);
    command.current_dir(folder).env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_NET_OFFLINE", "true");
    with_cargo(command)
}

fn run(yard: &TestYard, folder: &Path, arguments: &[&str]) -> CommandOutput {
    run_command(&mut command(yard, folder, arguments), None)
}

#[track_caller]
fn exits(yard: &TestYard, folder: &Path, code: i32, arguments: &[&str]) -> String {
    let output = run(yard, folder, arguments);
    assert_eq!(output.code, code, "{arguments:?}: {}{}", output.stdout, output.stderr);
    output.stdout + &output.stderr
}

/// Creates the crate `acme`. Returns its folder.
fn acme(yard: &TestYard) -> PathBuf {
    yard.ok(&["new", "acme"]);
    yard.path("acme")
}

/// Replaces text in a file.
#[track_caller]
fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("a file");
    assert!(text.contains(from), "{} does not contain `{from}`", path.display());
    fs::write(path, text.replace(from, to)).expect("a file");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() && entry.file_name() != "target" {
            copy(&path, &target);
        } else if path.is_file() {
            fs::copy(&path, &target).expect("a file");
        }
    }
}

#[test]
fn a_bundle_is_reproduced_in_another_folder() {
    let yard = TestYard::empty();
    let first = acme(&yard);
    let home = yard.path(".");
    exits(&yard, &home, 0, &["build", "acme"]);
    // A space in the path, and flags of the user that bundles do not use.
    let second = yard.path("other folder/acme");
    copy(&first, &second);
    fs::create_dir(second.join(".cargo")).expect("a folder");
    fs::write(second.join(".cargo/config.toml"), "[build]\nrustflags = [\"--cfg\", \"x\"]\n").expect("a file");
    let file = home.join("acme-0.1.0.wasm").display().to_string();
    let shown = exits(&yard, &second, 0, &["inspect", &file, "--reproduce"]);
    assert!(shown.contains("acme 0.1.0 is reproduced: sha256") && shown.contains("built with rustc 1."), "{shown}");
    assert!(shown.contains("`build.rustflags` of cargo's configuration are not used"), "{shown}");
    // Another source has other sections.
    replace(&second.join("src/lib.rs"), "Token for the API.", "Access token for the API.");
    let shown = exits(&yard, &home, 1, &["inspect", &file, "--reproduce", "other folder/acme"]);
    for expected in ["acme 0.1.0 is not reproduced", "differs       manifest (", "reason        the source, "] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    replace(&second.join("Cargo.toml"), "version = \"0.1.0\"", "version = \"0.2.0\"");
    let output = run(&yard, &second, &["inspect", &file, "--reproduce", "--json"]);
    let document: Value = serde_json::from_str(&output.stdout).expect("a document");
    let reasons = document["reproduction"]["reasons"].to_string();
    assert!(reasons.contains("the crate is bundle `acme` 0.2.0, the file is `acme` 0.1.0"), "{reasons}");
    check_schema("inspect", &document);
    let refused = exits(&yard, &home, 3, &["inspect", &file, "--reproduce", "."]);
    assert!(refused.contains("is not the folder of a crate"), "{refused}");
}

fn check_schema(name: &str, document: &Value) {
    let text = fs::read_to_string(root().join(format!("schemas/json/{name}.json"))).expect("a schema");
    let schema = Schema::compile(serde_json::from_str(&text).expect("JSON")).expect("a valid schema");
    assert_eq!(schema.check(document), [], "{document}");
}

/// Adds a crate that the crate `acme` depends on.
fn dependency(yard: &TestYard, name: &str, source: &str) {
    let folder = yard.path(name);
    fs::create_dir_all(folder.join("src")).expect("a folder");
    let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.3.0\"\nedition = \"2024\"\n");
    fs::write(folder.join("Cargo.toml"), manifest).expect("a file");
    fs::write(folder.join("src/lib.rs"), source).expect("a file");
    let line = format!("[dependencies]\n{name} = {{ path = \"../{name}\" }}\n");
    replace(&yard.path("acme/Cargo.toml"), "[dependencies]\n", &line);
}

#[test]
fn mistakes_in_a_crate_have_their_messages() {
    let yard = TestYard::empty();
    let folder = acme(&yard);
    let source = folder.join("src/lib.rs");
    let manifest = folder.join("Cargo.toml");
    let (good, good_manifest) =
        (fs::read_to_string(&source).expect("a file"), fs::read_to_string(&manifest).expect("a file"));
    let fails = |expected: &[&str]| {
        let refused = exits(&yard, &folder, 4, &["build"]);
        for expected in expected {
            assert!(refused.contains(expected), "{expected}: {refused}");
        }
        fs::write(&source, &good).expect("a file");
        fs::write(&manifest, &good_manifest).expect("a file");
    };
    replace(&manifest, "\"cdylib\"", "\"lib\"");
    fails(&["produces no WebAssembly module: add `crate-type = [\"cdylib\"]`"]);
    fs::write(&source, "").expect("a file");
    fails(&["the module is not a bundle", "add `bundle!` of the SDK to `src/lib.rs` of the crate"]);
    replace(&source, "    base_url: String,", "    base_url: String,\n    /// When.\n    at: std::time::Instant,");
    fails(&["does not compile", "Instant"]);
    replace(&source, "types: [Acme]", "types: [Acme, Acme]");
    fails(&["type `acme`: is defined twice"]);
    let declaration = "#[link(wasm_import_module = \"wasi_snapshot_preview1\")]\nunsafe extern \"C\" {\n    \
                       fn random_get(at: *mut u8, length: usize) -> i32;\n}\npub fn random() -> i32 {\n    \
                       let mut byte = 0;\n    unsafe { random_get(&raw mut byte, 1) }\n}\n";
    dependency(&yard, "dice", declaration);
    replace(
        &source,
        "    format!(\"{}/{}\"",
        "    let base_url = if dice::random() == 7 { path } else { base_url };\n    format!(\"{}/{}\"",
    );
    fails(&[
        "the module imports `wasi_snapshot_preview1 random_get`",
        "is declared by the crate `dice 0.3.0`, a dependency",
        "remove `dice` from the dependencies",
    ]);
    exits(&yard, &folder, 0, &["build"]);
}

#[test]
fn a_bundle_is_tested() {
    let yard = TestYard::empty();
    let folder = acme(&yard);
    let output = run(&yard, &folder, &["test", "--json"]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.stderr));
    check_schema("test", &document);
    assert_eq!((output.code, &document["passed"]), (0, &json!(true)), "{document}");
    let names: Vec<&str> =
        document["results"].as_array().expect("results").iter().filter_map(|result| result["name"].as_str()).collect();
    for expected in [
        "`cargo test`",
        "`describe` is deterministic",
        "acme: schemas",
        "acme: `check` with nothing granted",
        "acme: `get` without a network",
        "acme: no secret in output",
        "acme: limits",
    ] {
        assert!(names.contains(&expected), "{expected}: {names:?}");
    }
    // Version 2 renames a field, and stored configurations of version 1 are converted.
    crate::new::change_type(&folder.join("src/lib.rs"));
    let upgrades = folder.join("tests/upgrades");
    fs::create_dir_all(&upgrades).expect("a folder");
    let case = json!({
        "type": "acme", "version": 1, "config": {"base_url": "https://a.example", "token": {"$secret": "/token"}},
        "expected": {"url": "https://a.example", "token": {"$secret": "/token"}}
    });
    fs::write(upgrades.join("one.json"), case.to_string()).expect("a file");
    let shown = exits(&yard, &folder, 0, &["test"]);
    assert!(shown.contains("ok       migrate tests/upgrades/one.json"), "{shown}");
    // Findings of each kind.
    let mut wrong = case;
    wrong["expected"]["url"] = json!("https://b.example");
    fs::write(upgrades.join("two.json"), wrong.to_string()).expect("a file");
    let source = folder.join("src/lib.rs");
    replace(
        &source,
        "assert_eq!(reply.result(), &json!([\"lion\"]))",
        "assert_eq!(reply.result(), &json!([\"tiger\"]))",
    );
    replace(&source, "description: \"Acme\"", "description: \" \"");
    replace(&source, "    url: String,", "    url: String,\n    /// Password.\n    password: Option<String>,");
    replace(&source, "Self { url: old.base_url,", "Self { url: old.base_url, password: None,");
    replace(&source, "capabilities: [", "capabilities: [\"clock\", ");
    replace(&source, "http::get(join(", "if path != \"x\" { panic!(\"lion\") }\n        http::get(join(");
    let failed = exits(&yard, &folder, 1, &["test"]);
    for expected in [
        "failed   `cargo test`: see the output of cargo above",
        "failed   description of the bundle: the bundle has no description",
        "field `password` is named like a secret, but is not declared as one",
        "the bundle requests `clock`, but its code does not use `clock`",
        "failed   acme: `get` without a network: bundle `acme` crashed: panicked",
        "failed   migrate tests/upgrades/two.json: the result is not the expected one",
        "test result: FAILED",
    ] {
        assert!(failed.contains(expected), "{expected}: {failed}");
    }
    fs::write(upgrades.join("bad.json"), "{}").expect("a file");
    let refused = exits(&yard, &folder, 4, &["test"]);
    assert!(refused.contains("`tests/upgrades/bad.json` is not a stored configuration"), "{refused}");
    assert!(exits(&yard, &yard.path("."), 3, &["test", "."]).contains("is not the folder of a crate"));
}

/// A running `blockyard dev`.
struct Session {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Session {
    fn start(yard: &TestYard, folder: &Path, arguments: &[&str]) -> Self {
        let mut command = command(yard, folder, arguments);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
        let (sender, lines) = channel();
        let output = BufReader::new(child.stderr.take().expect("its output"));
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits until the session waits for changes. Returns the lines since the last call.
    #[track_caller]
    fn idle(&mut self) -> String {
        let (started, mut text) = (Instant::now(), String::new());
        loop {
            let left = STEP.saturating_sub(started.elapsed());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("{}\n{text}", self.seen.join("\n")));
            self.seen.push(line.clone());
            if line == "waiting for changes" {
                return text;
            }
            text.push_str(&line);
            text.push('\n');
        }
    }

    /// Interrupts the session. Returns its exit code.
    fn interrupt(mut self) -> Option<i32> {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::INT).expect("a signal");
        self.child.wait().expect("it ends").code()
    }
}

#[test]
fn changes_are_built_and_installed_in_a_scratch_yard() {
    let yard = TestYard::empty();
    let folder = acme(&yard);
    let source = folder.join("src/lib.rs");
    let mut session = Session::start(&yard, &folder, &["dev"]);
    let first = session.idle();
    for expected in [
        "watching `src` and Cargo.toml of ",
        "installed acme 0.1.0 (sha256",
        "capability `http {config.base_url}`",
        "blockyard create acme/NAME --set base_url=… --secret token --yard sqlite:",
        "blockyard call acme/NAME get --path … --yard",
    ] {
        assert!(first.contains(expected), "{expected}: {first}");
    }
    assert!(!yard.path("yard.db").exists(), "only the scratch yard is used");
    // A second terminal.
    let scratch = format!("sqlite:{}", folder.join("target/blockyard-dev/yard.db").display());
    let create =
        ["create", "acme/main", "--set", "base_url=https://a.invalid", "--secret", "token=-", "--yard", &scratch];
    yard.ok_with_input(&create, "t0ken");
    // A broken build leaves the bundle installed.
    replace(&source, "fn join(", "fn join_(");
    let broken = session.idle();
    assert!(broken.contains("does not compile") && broken.contains("cannot find function `join`"), "{broken}");
    assert!(broken.contains("acme 0.1.0 (sha256") && broken.contains("remains installed"), "{broken}");
    assert_eq!(yard.json(&["show", "acme/main", "--yard", &scratch])["revision"], 1);
    // The next build moves the block to it, checks it, and grants what it requests.
    replace(&source, "fn join_(", "fn join(");
    replace(&source, "capabilities: [", "capabilities: [\"clock\", ");
    let check = "    /// Checks the configuration.\n    #[check]\n    fn check(&self) -> Vec<Step> {\n        \
                 blockyard_sdk::log::warn(\"roar\");\n        let status = \
                 blockyard_sdk::StepStatus::Passed;\n        \
                 vec![Step { name: \"configured\".into(), status, detail: None, milliseconds: None }]\n    }\n\n";
    let at = "    /// Returns the JSON document at a path.\n";
    replace(&source, at, &format!("{check}{at}"));
    let changed = session.idle();
    assert!(changed.contains("the new build requires more than before"), "{changed}");
    assert!(changed.contains("`clock`"), "{changed}");
    assert!(changed.contains("check acme/main: passed   configured"), "{changed}");
    assert!(changed.contains("log acme/main: Warn: roar"), "{changed}");
    assert_eq!(yard.json(&["show", "acme/main", "--yard", &scratch])["revision"], 2);
    assert_eq!(session.interrupt(), Some(130));
    // The blocks survive a restart, here in a session without notifications.
    let mut session = Session::start(&yard, &folder, &["dev", "--poll"]);
    let again = session.idle();
    assert!(again.contains("by comparing files each second"), "{again}");
    assert!(again.contains("is installed already") && again.contains("check acme/main: passed"), "{again}");
    assert_eq!(session.interrupt(), Some(130));
    assert!(yard.fails(3, &["dev", "."]).contains("is not the folder of a crate"));
}
