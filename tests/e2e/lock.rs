//! Bundles of a project: installed by its lock file, the same on every machine, and never more than
//! the user agrees to.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use blockyard_tests::environment::program;
use blockyard_tests::{Backend, CommandOutput, TestYard, available, on_both, run_command};
use serde_json::{Value, json};

use crate::faults::in_mount_namespace;
use crate::install::sec;
use crate::prompts::Conversation;

on_both!(
    bundles_of_a_project_are_installed_and_locked,
    another_machine_installs_the_same_bytes,
    changed_release_is_rejected_unless_its_bytes_are_installed,
    locked_rejects_every_difference,
    lock_grants_nothing,
    named_bundles_are_locked_within_the_requirement,
    second_install_waits_for_the_first,
    doctor_compares_the_lock_with_the_yard,
);

/// A folder `project` with a project file and a registry `acme`, and a user with a yard.
struct Machine<'a> {
    yard: &'a TestYard,
}

impl<'a> Machine<'a> {
    /// Creates a trusted project that requires `sec` 0.1.
    fn new(yard: &'a TestYard) -> Self {
        let machine = Self { yard };
        fs::create_dir(machine.path("")).expect("a folder");
        machine.publish("0.1.0", &["log"]);
        machine.require("^0.1");
        machine
    }

    /// Creates the machine of another user, with a copy of a project.
    fn with_copy(yard: &'a TestYard, original: &Machine<'_>) -> Self {
        let machine = Self { yard };
        let copied = program("cp").arg("-r").arg(original.path("")).arg(yard.path("")).status().expect("cp runs");
        assert!(copied.success());
        machine.ok(&["trust"]);
        machine
    }

    /// Returns a path in the folder of the project.
    fn path(&self, name: &str) -> PathBuf {
        self.yard.path("project").join(name)
    }

    /// Publishes a version of the bundle `sec`.
    fn publish(&self, version: &str, capabilities: &[&str]) {
        let file = sec(self.yard, version, capabilities, &json!({"url": {"type": "string"}}), &[]);
        let (registry, key) = (self.path("acme").display().to_string(), self.yard.path("key").display().to_string());
        self.yard.ok(&["publish", &file, "--registry", &registry, "--name", "acme", "--new-signing-key", &key]);
    }

    /// Writes the project file, and trusts it.
    fn require(&self, requirement: &str) {
        let text = format!("[registries]\nacme = \"acme\"\n\n[bundles]\nsec = \"{requirement}\"\n");
        fs::write(self.path("blockyard.toml"), text).expect("a file");
        self.ok(&["trust"]);
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.path("blockyard.lock")).expect("a lock file")
    }

    fn set_lock(&self, text: &str) {
        fs::write(self.path("blockyard.lock"), text).expect("a file");
    }

    /// Changes the lock file. Returns its text.
    fn change_lock(&self, from: &str, to: &str) -> String {
        let text = self.lock();
        assert!(text.contains(from), "{from}: {text}");
        let text = text.replacen(from, to, 1);
        self.set_lock(&text);
        text
    }

    /// Changes the index of the registry.
    fn change_index(&self, from: &str, to: &str) {
        let index = self.path("acme/registry.toml");
        let text = fs::read_to_string(&index).expect("an index");
        assert!(text.contains(from), "{from}: {text}");
        fs::write(index, text.replacen(from, to, 1)).expect("a file");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.yard.command(arguments);
        command.current_dir(self.path(""));
        command
    }

    fn run(&self, arguments: &[&str]) -> CommandOutput {
        run_command(&mut self.command(arguments), None)
    }

    /// Runs a command that must succeed. Returns both its outputs.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.code, 0, "{arguments:?}: {}{}", output.stdout, output.stderr);
        output.stdout + &output.stderr
    }

    /// Runs a command that must fail with this exit code. Returns its standard error.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.code, code, "{arguments:?}: {}{}", output.stdout, output.stderr);
        assert_eq!(output.stdout, "", "{arguments:?} printed data and failed");
        self.yard.without_locations(&output.stderr)
    }

    /// Returns the versions and digests of the installed bundle `sec`.
    fn installed(&self) -> Vec<(String, String)> {
        let bundles = self.yard.json(&["bundles"]);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let of_sec = bundles["bundles"].as_array().expect("bundles").iter().filter(|bundle| bundle["name"] == "sec");
        of_sec.map(|bundle| (text(&bundle["version"]), text(&bundle["sha256"]))).collect()
    }

    fn versions(&self) -> Vec<String> {
        self.installed().into_iter().map(|(version, _)| version).collect()
    }
}

/// Returns the value of a key in the only entry of a lock file.
fn locked(lock: &str, key: &str) -> String {
    let table: toml::Table = lock.parse().expect("TOML");
    table["bundle"][0][key].as_str().expect("text").to_owned()
}

#[test]
fn install_without_a_project_explains_what_to_do() {
    let yard = TestYard::new();
    let refused = yard.fails(2, &["install"]);
    for expected in ["no bundle was named", "`blockyard install sql`", "`[bundles]`"] {
        assert!(refused.contains(expected), "{expected}: {refused}");
    }
    fs::write(yard.path("blockyard.toml"), "[bundles]\n").expect("a file");
    assert!(yard.fails(2, &["install"]).contains("blockyard.toml` lists no bundles"));
    assert!(
        yard.fails(2, &["install", "sql", "--locked"]).contains("`--locked` was given, and `FOLDER/blockyard.toml`")
    );
}

fn bundles_of_a_project_are_installed_and_locked(yard: &TestYard) {
    let machine = Machine::new(yard);
    machine.ok(&["trust", "--revoke"]);
    let refused = machine.fails(5, &["install", "--yes"]);
    assert!(refused.contains("blockyard.toml` is not trusted") && refused.contains("`blockyard trust "), "{refused}");
    assert!(refused.contains("requires the bundle `sec` with a version that fits `^0.1`"), "{refused}");
    machine.ok(&["trust"]);
    // The review is shown as usual, and nothing is locked without agreement.
    let refused = machine.fails(2, &["install"]);
    assert!(refused.contains("signer: RW") && refused.contains("confirm with `--yes`"), "{refused}");
    assert!(!machine.path("blockyard.lock").exists());
    let installed: Value =
        serde_json::from_str(&machine.run(&["install", "--yes", "--json"]).stdout).expect("one document");
    assert_eq!(installed["lock"]["changed"], true);
    let lock = machine.lock();
    assert_eq!(machine.installed(), [("0.1.0".to_owned(), locked(&lock, "sha256"))]);
    assert!(lock.contains("source = { registry = \"acme\", path = \"acme\" }"), "{lock}");
    assert!(lock.contains("capabilities = [\n    \"log\",\n]"), "{lock}");
    let folder = yard.path("").canonicalize().expect("a folder");
    assert!(!lock.contains(&folder.display().to_string()), "no path of this machine: {lock}");
    // A newer version is not installed while the locked one fits.
    machine.publish("0.1.1", &["log"]);
    assert!(machine.ok(&["install"]).contains("already installed, nothing changed: sec 0.1.0"));
    assert_eq!((machine.lock(), machine.versions()), (lock.clone(), vec!["0.1.0".to_owned()]));
    // The requirement changes: `--locked` changes nothing, and a plain installation locks again.
    machine.require(">=0.1.1");
    let refused = machine.fails(6, &["install", "--locked", "--yes"]);
    assert!(refused.contains("`sec` is locked at 0.1.0, which does not fit `>=0.1.1`"), "{refused}");
    assert_eq!((machine.lock(), machine.versions()), (lock, vec!["0.1.0".to_owned()]));
    let output = machine.ok(&["install", "--yes"]);
    assert!(output.contains("`sec` is locked at 0.1.0: selecting a version that fits `>=0.1.1`"), "{output}");
    assert!(output.contains("updated "), "{output}");
    assert_eq!(locked(&machine.lock(), "version"), "0.1.1");
    assert_eq!(machine.versions(), ["0.1.0", "0.1.1"]);
}

fn another_machine_installs_the_same_bytes(yard: &TestYard) {
    let ada = Machine::new(yard);
    ada.ok(&["install", "--yes"]);
    // In the meantime there is a newer version, and the locked one is withdrawn.
    ada.publish("0.1.1", &["log"]);
    ada.change_index("version = \"0.1.0\"\n", "version = \"0.1.0\"\nyanked = true\n");
    let other = TestYard::on(yard.backend());
    let bob = Machine::with_copy(&other, &ada);
    let lock = bob.lock();
    assert_ne!(ada.path(""), bob.path(""));
    bob.ok(&["install", "--locked", "--yes"]);
    assert_eq!(bob.installed(), ada.installed());
    assert_eq!(bob.lock(), lock);
    // Without the lock, the withdrawn version is not installed.
    fs::remove_file(bob.path("blockyard.lock")).expect("gone");
    bob.ok(&["install", "--yes"]);
    assert_eq!(bob.versions(), ["0.1.0", "0.1.1"]);
    // A registry that is not inside the project is locked by its name.
    fs::remove_file(bob.path("blockyard.lock")).expect("gone");
    let elsewhere = other.path("elsewhere");
    fs::rename(bob.path("acme"), &elsewhere).expect("moved");
    let elsewhere = elsewhere.display().to_string();
    bob.ok(&["install", "--yes", "--registry", &elsewhere]);
    assert!(bob.lock().contains("source = { registry = \"acme\" }\n"), "{}", bob.lock());
    bob.ok(&["install", "--locked", "--registry", &elsewhere]);
}

fn changed_release_is_rejected_unless_its_bytes_are_installed(yard: &TestYard) {
    let ada = Machine::new(yard);
    ada.ok(&["install", "--yes"]);
    let (lock, installed) = (ada.lock(), ada.installed());
    // The owner of the registry publishes other bytes under the same version, with the same key.
    fs::remove_dir_all(ada.path("acme")).expect("gone");
    ada.publish("0.1.0", &["log", "clock"]);
    let index = fs::read_to_string(ada.path("acme/registry.toml")).expect("an index");
    let index: toml::Table = index.parse().expect("TOML");
    let offered = index["bundle"][0]["release"][0]["sha256"].as_str().expect("a digest").to_owned();
    let other = TestYard::on(yard.backend());
    let bob = Machine::with_copy(&other, &ada);
    for flags in [&["--yes"][..], &["--yes", "--locked"], &["--yes", "--replace", "--grant", "clock"]] {
        let refused = bob.fails(5, &[&["install"][..], flags].concat());
        let expected = ["the registry changed `sec` 0.1.0 after it was published", "blockyard.lock`, line 5"];
        for expected in expected.into_iter().chain([locked(&lock, "sha256").as_str(), &offered]) {
            assert!(refused.contains(expected), "{expected}: {refused}");
        }
        assert!(refused.contains("yards that have the locked bytes continue to use them"), "{refused}");
    }
    assert!(bob.installed().is_empty());
    // The yard that has the locked bytes uses them, with a warning.
    let output = ada.ok(&["install", "--locked"]);
    assert!(output.contains("already installed") && output.contains("warning: the registry changed"), "{output}");
    // It does so without the registry, too.
    fs::remove_dir_all(ada.path("acme")).expect("gone");
    assert!(ada.ok(&["install"]).contains("already installed"));
    assert_eq!((ada.lock(), ada.installed()), (lock, installed));
}

fn locked_rejects_every_difference(yard: &TestYard) {
    let machine = Machine::new(yard);
    let refused = machine.fails(6, &["install", "--locked", "--yes"]);
    assert!(
        refused.contains("lock file `")
            && refused.contains("` does not exist")
            && refused.contains("`blockyard install`"),
        "{refused}"
    );
    // Locks the release, in another yard.
    let other = TestYard::on(Backend::Sqlite);
    let writer = Machine::with_copy(&other, &machine);
    writer.ok(&["install", "--yes"]);
    machine.set_lock(&writer.lock());
    let good = machine.lock();
    let signer = locked(&good, "signer");
    let stranger = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    for (from, to, expected) in [
        (signer.as_str(), stranger, "has another key than the lock file"),
        (&locked(&good, "sha256"), &"0".repeat(64), "the registry changed `sec` 0.1.0"),
        ("\"log\"", "\"log\",\n    \"clock\"", "`capabilities` is locked as `clock`, `log`, found `log`"),
        (", path = \"acme\"", ", path = \"other\"", "line 5: `sec` is locked to the registry `acme` in `other`"),
        (", path = \"acme\"", ", url = \"https://evil.example/r\"", "at `https://evil.example/r`, which is not in use"),
        (", path = \"acme\"", "", "`sec` is locked to the registry `acme`, which is not in use"),
    ] {
        machine.set_lock(&good);
        let changed = machine.change_lock(from, to);
        for flags in [&["--locked", "--yes"][..], &["--yes"]] {
            let refused = machine.fails(5, &[&["install"][..], flags].concat());
            assert!(refused.contains(expected), "{expected}: {refused}");
        }
        assert!(machine.installed().is_empty());
        assert_eq!(machine.lock(), changed);
    }
    // A release that was unsigned when it was locked.
    machine.set_lock(&good);
    machine.change_lock(&signer, "unsigned");
    assert!(machine.fails(5, &["install", "--locked", "--yes"]).contains("`signer` is locked as unsigned"));
    // Bundles that are not locked, by name or by path.
    machine.set_lock(&good);
    for named in ["zoo", "sec@^2", "./sec.wasm"] {
        let refused = machine.fails(6, &["install", named, "--locked", "--yes"]);
        assert!(refused.contains(&format!("`{named}` is not locked")), "{refused}");
    }
    assert!(machine.installed().is_empty());
    machine.ok(&["install", "sec", "--locked", "--yes"]);
    assert_eq!(machine.lock(), good);
}

fn lock_grants_nothing(yard: &TestYard) {
    let machine = Machine::new(yard);
    machine.ok(&["install", "--yes"]);
    // A colleague locks a version that requests more.
    let other = TestYard::on(Backend::Sqlite);
    machine.publish("0.1.1", &["clock", "log"]);
    let colleague = Machine::with_copy(&other, &machine);
    colleague.ok(&["install", "sec@=0.1.1", "--yes"]);
    machine.set_lock(&colleague.lock());
    let refused = machine.fails(2, &["install", "--yes", "--locked"]);
    assert!(refused.contains("`--grant 'clock'` accepts: new capability `clock`"), "{refused}");
    assert_eq!(machine.versions(), ["0.1.0"]);
    machine.ok(&["install", "--yes", "--locked", "--grant", "clock"]);
    assert_eq!(machine.versions(), ["0.1.0", "0.1.1"]);
}

#[test]
fn hostile_lock_files_are_rejected() {
    let yard = TestYard::on(Backend::Sqlite);
    let machine = Machine::new(&yard);
    machine.ok(&["install", "--yes"]);
    let good = machine.lock();
    for (from, to, expected) in [
        ("version = 1\n", "version = 1\n<<<<<<< HEAD\n", "line 3: contains the marker of a merge conflict"),
        ("version = 1\n", "version = 9\n", "line 2: format version 9 is not supported"),
        ("path = \"acme\"", "path = \"../acme\"", "line 7: `source.path`: is not a path inside the folder"),
        ("path = \"acme\"", "path = \"/etc\"", "line 7: `source.path`: is not a path inside the folder"),
        ("path = \"acme\"", "url = \"file:///etc\"", "line 7: `source.url`: is not the"),
        ("registry = \"acme\"", "registry = \"\\u001b]0;x\\u0007\"", "line 7: `source.registry` contains control"),
        ("\"log\"", "\"\\u202elog\"", "`capabilities` contains control"),
        ("\"log\"", "\"root\"", "`capabilities`: "),
        ("name = \"sec\"", "name = \"../sec\"", "line 5: `name`: "),
        ("[[bundle]]", "[[bundle]]\ninstall = \"evil.sh\"", "line 5: unknown field `install`"),
    ] {
        machine.set_lock(&good);
        let changed = machine.change_lock(from, to);
        for arguments in [&["install", "--yes"][..], &["install", "--locked", "--yes"], &["install", "sec", "--yes"]] {
            let refused = machine.fails(4, arguments);
            assert!(
                refused.contains(&format!("blockyard.lock`: {expected}")) || refused.contains(expected),
                "{refused}"
            );
            assert!(refused.contains("/blockyard.lock`: line "), "{refused}");
            assert!(!refused.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{refused:?}");
        }
        assert_eq!(machine.lock(), changed);
    }
    machine.set_lock(&format!("{good}{}", "#".repeat(1 << 20)));
    assert!(machine.fails(4, &["install", "--yes"]).contains("it has more than 1048576 bytes"));
    // A link could be used to overwrite a file of the user, or to read one.
    let private = yard.path("private");
    fs::write(&private, &good).expect("a file");
    fs::remove_file(machine.path("blockyard.lock")).expect("gone");
    symlink(&private, machine.path("blockyard.lock")).expect("a link");
    assert!(machine.fails(5, &["install", "--yes"]).contains("blockyard.lock` is not a regular file"));
    assert_eq!(fs::read_to_string(&private).expect("a file"), good);
    fs::remove_file(machine.path("blockyard.lock")).expect("gone");
    assert!(program("mkfifo").arg(machine.path("blockyard.lock")).status().expect("mkfifo runs").success());
    assert!(machine.fails(5, &["install", "--yes"]).contains("is not a regular file"));
}

fn named_bundles_are_locked_within_the_requirement(yard: &TestYard) {
    let machine = Machine::new(yard);
    machine.ok(&["install", "sec", "--yes"]);
    machine.publish("0.1.1", &["log"]);
    machine.publish("0.2.0", &["log"]);
    // Without a requirement, the lock decides; with one, it is locked again.
    assert!(machine.ok(&["install", "sec", "--yes"]).contains("already installed, nothing changed: sec 0.1.0"));
    machine.ok(&["install", "sec@=0.1.1", "--yes"]);
    assert_eq!(locked(&machine.lock(), "version"), "0.1.1");
    let output = machine.ok(&["install", "sec@=0.2.0", "--yes"]);
    assert!(output.contains("`sec` was installed, but not locked: 0.2.0 does not fit `^0.1`"), "{output}");
    let file = sec(yard, "0.1.2", &["log"], &json!({"url": {"type": "string"}}), &[]);
    let output = machine.ok(&["install", &file, "sec", "--yes", "--replace"]);
    assert!(output.contains("`sec` was installed, but not locked: it is not from a registry"), "{output}");
    assert_eq!(locked(&machine.lock(), "version"), "0.1.1");
    assert_eq!(machine.versions(), ["0.1.0", "0.1.1", "0.2.0", "0.1.2"]);
    // A project file that is not trusted decides nothing, and its lock file is left alone.
    let lock = machine.lock();
    machine.ok(&["trust", "--revoke"]);
    let registry = machine.path("acme").display().to_string();
    let output = machine.ok(&["install", "sec@=0.1.0", "--registry", &registry, "--yes"]);
    assert!(output.contains("its bundles and its lock file are not used"), "{output}");
    assert_eq!(machine.lock(), lock);
    // Bundles of other projects do not concern the lock file.
    let output = machine.ok(&["install", &blockyard_tests::bundle("zoo")]);
    assert!(!output.contains("blockyard.lock"), "{output}");
}

fn second_install_waits_for_the_first(yard: &TestYard) {
    let machine = Machine::new(yard);
    // The first one holds the lock while it asks its user.
    let mut first = Conversation::with(&mut machine.command(&["install"]));
    first.wait_for("grant this?");
    let mut command = machine.command(&["install", "--yes"]);
    let mut second = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(second.stderr.take().expect("its output")).lines();
    let waiting = lines.next().expect("a line").expect("text");
    let holder = format!("waiting for `blockyard install` (process {}), which is changing", first.pid());
    assert!(waiting.contains(&holder) && waiting.contains("blockyard.lock"), "{waiting}");
    first.answer("", "y");
    let (code, output) = first.end();
    assert_eq!(code, 0, "{output}");
    // Drained, so that the second one does not wait for its reader.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let output = second.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{rest:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("already installed"), "{rest:?}");
    // Two at once, from the beginning.
    machine.publish("0.1.1", &["log"]);
    machine.require(">=0.1.1");
    let spawn = || machine.command(&["install", "--yes"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let both = [spawn().expect("it runs"), spawn().expect("it runs")];
    for child in both {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    machine.ok(&["install", "--locked"]);
    assert_eq!(machine.versions(), ["0.1.0", "0.1.1"]);
    assert_eq!(locked(&machine.lock(), "version"), "0.1.1");
    let records = yard.path(".local/share/blockyard/locks");
    assert_eq!(fs::read_dir(records).expect("a folder").count(), 0, "no record is left over");
}

#[test]
fn full_disk_preserves_the_old_lock() {
    if !available("BLOCKYARD_TEST_MOUNTS") {
        return;
    }
    let yard = TestYard::on(Backend::Sqlite);
    let machine = Machine::new(&yard);
    machine.ok(&["install", "--yes"]);
    machine.publish("0.1.1", &["log"]);
    machine.ok(&["install", &yard.path("sec-0.1.1.wasm").display().to_string(), "--yes", "--replace"]);
    machine.require(">=0.1.1");
    // The yard is on another disk than the project.
    let output = in_mount_namespace(
        &yard,
        r#"set -e
        mkdir disk && mount -t tmpfs -o size=1m tmpfs disk
        cp -r project disk/ && cd disk/project
        $BLOCKYARD trust -q
        files=$(ls -A | wc -l)
        head -c 1m /dev/zero > ../filler 2>/dev/null || true
        code=0
        $BLOCKYARD install --yes 2>../../error || code=$?
        echo "exit $code"
        cat ../../error
        cmp blockyard.lock ../../project/blockyard.lock && echo "the old file remains"
        [ $(ls -A | wc -l) = $files ] && echo "no file is left over"
        rm ../filler
        $BLOCKYARD install --yes -q && grep 'version = "0.1.1"' blockyard.lock
        "#,
    );
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    for expected in
        ["exit 1", "blockyard.lock` cannot be written", "the old file remains", "no file is left over", "\"0.1.1\""]
    {
        assert!(output.stdout.contains(expected), "{expected}: {}{}", output.stdout, output.stderr);
    }
}

#[test]
fn killed_install_leaves_the_old_or_the_new_lock() {
    let yard = TestYard::on(Backend::Sqlite);
    let machine = Machine::new(&yard);
    machine.publish("0.1.1", &["log"]);
    let requirements = ["=0.1.0", "=0.1.1"];
    let locks = requirements.map(|requirement| {
        machine.require(requirement);
        machine.ok(&["install", "--yes"]);
        machine.lock()
    });
    assert_ne!(locks[0], locks[1]);
    for (requirement, milliseconds) in requirements.iter().cycle().zip((10..400).step_by(30)) {
        machine.require(requirement);
        let mut command = machine.command(&["install", "--yes"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().expect("killed");
        child.wait().expect("it ends");
        assert!(locks.contains(&machine.lock()), "after {milliseconds} ms: {}", machine.lock());
    }
    // The lock of the killed program ended with it, and its record is ignored.
    machine.require("=0.1.0");
    machine.ok(&["install", "--yes"]);
    assert_eq!(machine.lock(), locks[0]);
}

fn doctor_compares_the_lock_with_the_yard(yard: &TestYard) {
    let machine = Machine::new(yard);
    let check = |code: i32, expected: &str| {
        let output = machine.run(&["doctor"]);
        assert_eq!(output.code, code, "{}{}", output.stdout, output.stderr);
        let line = output.stdout.lines().find(|line| line.contains("  lock ")).expect("a line").to_owned();
        assert!(line.contains(expected), "{expected}: {line}");
    };
    check(0, "`blockyard.lock` does not exist: run `blockyard install`");
    machine.ok(&["install", "--yes"]);
    check(0, "all 1 locked bundles are installed");
    let good = machine.lock();
    machine.change_lock(&locked(&good, "sha256"), &"0".repeat(64));
    check(1, "`sec` 0.1.0 is locked with sha256 0000");
    machine.set_lock(&good);
    machine.change_lock("version = \"0.1.0\"", "version = \"0.1.7\"");
    check(1, "`sec` 0.1.7 is locked, but not installed: run `blockyard install`");
    machine.set_lock(&good);
    machine.require("^0.2");
    check(1, "`sec` is locked at 0.1.0, which does not fit `^0.2`: run `blockyard install`");
    machine.require("*");
    machine.publish("0.2.0", &["log"]);
    machine.ok(&["install", &yard.path("sec-0.2.0.wasm").display().to_string(), "--yes", "--replace"]);
    check(0, "new blocks use 0.2.0, which is installed, too: run `blockyard install sec@=0.2.0`");
    machine.set_lock("version = 1\n=======\n");
    check(1, "blockyard.lock`: line 2: contains the marker of a merge conflict");
    machine.ok(&["trust", "--revoke"]);
    check(0, "is not trusted: run `blockyard trust`");
}
