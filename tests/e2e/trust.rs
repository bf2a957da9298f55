//! Files that another person can write decide nothing for this user: project files, yards that come
//! with a folder, and registries.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use blockyard_tests::environment::program;
use blockyard_tests::{Backend, CommandOutput, TestYard, bundle, run_command};
use serde_json::Value;

use crate::prompts::Conversation;

/// A user who works in folders of other people, with an empty home folder.
struct Victim(TestYard);

impl Victim {
    fn new() -> Self {
        Self(TestYard::empty())
    }

    /// Returns a folder that another person filled.
    fn folder(&self) -> PathBuf {
        let folder = self.0.path("given/project");
        fs::create_dir_all(&folder).expect("folders");
        folder.canonicalize().expect("its path")
    }

    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = self.0.command(arguments);
        command.current_dir(folder).env_remove("BLOCKYARD_YARD");
        command
    }

    /// Runs a command in a folder, as a script does, without a yard in the environment.
    fn run(&self, folder: &Path, arguments: &[&str]) -> CommandOutput {
        run_command(&mut self.command(folder, arguments), None)
    }

    /// Runs a command that must exit with this code. Returns both its outputs.
    fn exits_with(&self, code: i32, folder: &Path, arguments: &[&str]) -> String {
        let result = self.run(folder, arguments);
        assert_eq!(result.code, code, "{arguments:?}: {}{}", result.stdout, result.stderr);
        result.stdout + &result.stderr
    }
}

/// Creates a yard of an attacker, with blocks that read the victim's variable and file, and its
/// key.
fn yard_of_attacker(file: &Path) -> TestYard {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard.ok(&["install", &bundle("zoo"), &bundle("sql"), "--yes"]);
    yard.ok(&["create", "zoo-safe/variable", "--secret", "content=env:VICTIMS_TOKEN"]);
    yard.ok(&["create", "zoo-safe/file", "--secret", &format!("content=file:{}", file.display())]);
    yard.ok(&["create", "zoo-safe/through", "--secret", "content=block:zoo-safe/file"]);
    let database = format!("database={}", file.with_extension("db").display());
    yard.ok(&["create", "sql-database/cookies", "--set", "dialect=sqlite", "--set", &database]);
    yard
}

/// Copies the attacker's yard with its key into a folder, as `tar xp`, `cp -a` and `rsync -a` do.
fn unpack(yard: &TestYard, folder: &Path) {
    for file in ["yard.db", "yard.key"] {
        let _ = fs::remove_file(folder.join(file));
        let copied = program("cp").arg("-a").arg(yard.path(file)).arg(folder).status().expect("cp runs");
        assert!(copied.success());
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// A server that must not receive a connection.
struct Trap(TcpListener);

impl Trap {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("it does not wait");
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").port()
    }

    fn was_visited(&self) -> bool {
        self.0.accept().is_ok()
    }
}

#[test]
fn project_file_cannot_send_a_password_to_a_server() {
    let (victim, trap) = (Victim::new(), Trap::new());
    let (folder, port) = (victim.folder(), trap.port());
    fs::write(victim.0.path(".pgpass"), "*:*:*:*:my-real-password\n").expect("a file");
    chmod(&victim.0.path(".pgpass"), 0o600);
    // A project file may not use a name that the user has given to a server either.
    victim.0.configure(&format!("[yards.prod]\nurl = \"postgres://u@127.0.0.1:{port}/d?sslmode=disable\"\n"));
    let server = format!("host=127.0.0.1&port={port}&user=victim&sslmode=disable");
    let addresses = [
        format!("postgres:?{server}"),
        format!("postgres:/x?{server}"),
        format!("postgresql:x?{server}"),
        format!("postgresql:?{server}"),
        format!("POSTGRES:?{server}"),
        format!("postgres://victim@127.0.0.1:{port}/d?sslmode=disable"),
        format!("postgres:\\t//victim@127.0.0.1:{port}/d"),
        format!("sqlite:postgres:?{server}"),
        format!(" postgres:?{server}"),
        "prod".to_owned(),
    ];
    for address in addresses {
        fs::write(folder.join("blockyard.toml"), format!("yard = \"{address}\"\n")).expect("a file");
        for arguments in [&["list"][..], &["init", "--key", "file"], &["doctor"], &["key", "status"], &["trust"]] {
            if address == "prod" && arguments == ["trust"] {
                continue;
            }
            let mut command = victim.command(&folder, arguments);
            let result = run_command(command.env("PGPASSWORD", "my-real-password"), None);
            let code = if address == "prod" { 5 } else { 4 };
            assert_eq!(result.code, code, "{address} {arguments:?}: {}{}", result.stdout, result.stderr);
            assert!(result.stderr.contains("blockyard.toml"), "{}", result.stderr);
            assert!(!result.stderr.contains("victim@"), "{}", result.stderr);
            assert!(!trap.was_visited(), "{address} {arguments:?}");
        }
    }
}

#[test]
fn yard_in_a_project_folder_is_not_opened_untrusted() {
    let victim = Victim::new();
    let folder = victim.folder();
    let private = victim.0.path("id_rsa");
    fs::write(&private, "victims-private-key").expect("a file");
    let attacker = yard_of_attacker(&private);
    unpack(&attacker, &folder);
    fs::write(folder.join("blockyard.toml"), "yard = \"sqlite:yard.db\"\n").expect("a file");
    fs::create_dir(folder.join("deep")).expect("a folder");
    for folder in [&folder, &folder.join("deep")] {
        for arguments in [
            &["list"][..],
            &["call", "zoo-safe/variable", "read"],
            &["call", "zoo-safe/file", "read"],
            &["reveal", "zoo-safe/through", "content", "--yes"],
            &["query", "sql-database/cookies", "select 1"],
            &["install", &bundle("zoo"), "--yes"],
            &["doctor"],
            &["key", "status"],
        ] {
            let mut command = victim.command(folder, arguments);
            let refused = run_command(command.env("VICTIMS_TOKEN", "victims-token"), None);
            assert_eq!(refused.code, 5, "{arguments:?}: {}{}", refused.stdout, refused.stderr);
            assert_eq!(refused.stdout, "", "{arguments:?}");
            for expected in ["blockyard.toml", "is not trusted", "`blockyard trust ", "`--yard`"] {
                assert!(refused.stderr.contains(expected), "{}", refused.stderr);
            }
        }
    }
    // A yard on the command line takes precedence over the project file.
    victim.exits_with(3, &folder, &["list", "--yard", "sqlite:none.db"]);
    // Once trusted, the yard is opened, but still reads nothing of this machine.
    victim.exits_with(0, &folder, &["trust"]);
    assert!(victim.exits_with(0, &folder, &["list"]).contains("zoo-safe/variable"));
    reads_nothing_of_this_machine(&victim, &folder, &private);
}

/// Checks that a yard which others may have written reads no variable and no file, however it is
/// specified.
fn reads_nothing_of_this_machine(victim: &Victim, folder: &Path, private: &Path) {
    let address = format!("sqlite:{}", folder.join("yard.db").display());
    for (block, source) in [
        ("zoo-safe/variable", "env:VICTIMS_TOKEN".to_owned()),
        ("zoo-safe/file", format!("file:{}", private.canonicalize().expect("its path").display())),
        ("zoo-safe/through", format!("file:{}", private.canonicalize().expect("its path").display())),
    ] {
        for arguments in [
            &["call", block, "read"][..],
            &["check", block],
            &["reveal", block, "content", "--yes"],
            &["reveal", block, "content", "--yes", "--yard", &address],
        ] {
            let mut command = victim.command(folder, arguments);
            let refused = run_command(command.env("VICTIMS_TOKEN", "victims-token"), None);
            assert_eq!(refused.code, 5, "{arguments:?}: {}{}", refused.stdout, refused.stderr);
            assert!(!format!("{}{}", refused.stdout, refused.stderr).contains("victims-"), "{}", refused.stderr);
            let hint = format!("add `{source}` to `allow` in `[sources]`");
            assert!(refused.stderr.contains(&hint), "{hint}: {}", refused.stderr);
            assert!(refused.stderr.contains("`blockyard trust "), "{}", refused.stderr);
        }
    }
}

#[test]
fn adopted_yard_reads_sources_while_only_its_user_can_write_it() {
    let victim = Victim::new();
    let folder = victim.folder();
    let private = victim.0.path("id_rsa");
    fs::write(&private, "victims-private-key").expect("a file");
    unpack(&yard_of_attacker(&private), &folder);
    let file = folder.join("yard.db");
    let address = format!("sqlite:{}", file.display());
    let reveal = ["reveal", "zoo-safe/file", "content", "--yes", "--yard", &address];
    victim.exits_with(5, &folder, &reveal);
    let output = victim.exits_with(0, &folder, &["trust", "yard.db"]);
    assert!(output.contains("may use environment variables and files"), "{output}");
    assert_eq!(victim.exits_with(0, &folder, &reveal), "victims-private-key");
    for (path, loose, tight) in
        [(&file, 0o666, 0o600), (&file, 0o620, 0o600), (&folder, 0o777, 0o755), (&folder, 0o1777, 0o755)]
    {
        chmod(path, loose);
        let refused = victim.exits_with(5, &folder, &reveal);
        assert!(refused.contains("can be written by other users"), "{refused}");
        assert!(victim.exits_with(0, &folder, &["trust", "yard.db"]).contains("note: this is not permitted while"));
        chmod(path, tight);
    }
    // A parent folder that others can rename.
    let above = folder.parent().expect("a folder").to_owned();
    chmod(&above, 0o777);
    victim.exits_with(5, &folder, &reveal);
    chmod(&above, 0o755);
    assert_eq!(victim.exits_with(0, &folder, &reveal), "victims-private-key");
    // A link leads to the same yard; a copy in another folder is a different yard.
    symlink(&file, folder.join("link.db")).expect("a link");
    symlink(folder.join("yard.key"), folder.join("link.key")).expect("a link");
    let linked = format!("sqlite:{}", folder.join("link.db").display());
    victim.exits_with(0, &folder, &["reveal", "zoo-safe/file", "content", "--yes", "--yard", &linked]);
    fs::create_dir(folder.join("copy")).expect("a folder");
    for name in ["yard.db", "yard.key"] {
        fs::copy(folder.join(name), folder.join("copy").join(name)).expect("copied");
    }
    chmod(&folder.join("copy/yard.key"), 0o600);
    let copied = format!("sqlite:{}", folder.join("copy/yard.db").display());
    victim.exits_with(5, &folder, &["reveal", "zoo-safe/file", "content", "--yes", "--yard", &copied]);
    victim.exits_with(0, &folder, &["trust", "yard.db", "--revoke"]);
    victim.exits_with(5, &folder, &reveal);
}

#[test]
fn replaced_yard_at_a_trusted_path_is_not_opened() {
    let victim = Victim::new();
    let folder = victim.folder();
    fs::write(folder.join("blockyard.toml"), "yard = \"sqlite:yard.db\"\n").expect("a file");
    let private = victim.0.path("id_rsa");
    fs::write(&private, "victims-private-key").expect("a file");
    // Trusted before a yard existed, then created by the user: the yard belongs to the user, with
    // its sources.
    victim.exits_with(0, &folder, &["trust", "."]);
    victim.exits_with(0, &folder, &["init", "--key", "file"]);
    victim.exits_with(0, &folder, &["install", &bundle("zoo"), "--yes"]);
    let source = format!("content=file:{}", private.display());
    victim.exits_with(0, &folder, &["create", "zoo-safe/own", "--secret", &source]);
    assert_eq!(victim.exits_with(0, &folder, &["call", "zoo-safe/own", "read"]), "victims-private-key");
    // An attacker replaces the yard.
    unpack(&yard_of_attacker(&private), &folder);
    for arguments in [&["list"][..], &["call", "zoo-safe/file", "read"], &["key", "status"]] {
        let refused = victim.exits_with(5, &folder, arguments);
        assert!(refused.contains("yard.db` of the project") && refused.contains("`blockyard trust "), "{refused}");
    }
    let found = victim.run(&folder, &["doctor"]);
    assert_ne!(found.code, 0);
    assert!(!found.stdout.contains("blocks"), "{}", found.stdout);
    // Trusting the current yard opens it, but not its next replacement.
    victim.exits_with(0, &folder, &["trust"]);
    victim.exits_with(0, &folder, &["list"]);
    victim.exits_with(5, &folder, &["call", "zoo-safe/file", "read"]);
    unpack(&yard_of_attacker(&private), &folder);
    victim.exits_with(5, &folder, &["list"]);
}

#[test]
fn trust_ends_when_the_file_changes_or_with_revoke() {
    let victim = Victim::new();
    let folder = victim.folder();
    let file = folder.join("blockyard.toml");
    fs::write(&file, "yard = \"sqlite:a.db\"\n").expect("a file");
    victim.exits_with(0, &folder, &["trust"]);
    victim.exits_with(0, &folder, &["init", "--key", "file"]);
    fs::write(&file, "yard = \"sqlite:b.db\"\n").expect("a file");
    let changed = victim.exits_with(5, &folder, &["list"]);
    assert!(changed.contains("changed since it was trusted"), "{changed}");
    let listed: Value =
        serde_json::from_str(&victim.exits_with(0, &folder, &["trust", "--list", "--json"])).expect("JSON");
    let states: Vec<(&str, &str)> = listed["trusted"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["kind"].as_str().expect("a kind"), one["state"].as_str().expect("a state")))
        .collect();
    assert_eq!(states, [("made-yard", "trusted"), ("project", "changed")]);
    // Restoring the same bytes restores the trust.
    fs::write(&file, "yard = \"sqlite:a.db\"\n").expect("a file");
    victim.exits_with(0, &folder, &["list"]);
    victim.exits_with(0, &folder, &["trust", "--revoke", "blockyard.toml"]);
    victim.exits_with(5, &folder, &["list"]);
    assert!(victim.exits_with(3, &folder, &["trust", "--revoke"]).contains("is trusted"));
    victim.exits_with(3, &folder, &["trust", "nowhere"]);
    victim.exits_with(3, &victim.0.path("given"), &["trust"]);
    // A file that does not affect the yard requires no trust.
    fs::write(&file, "[bundles]\nsql = \"^0.1\"\n").expect("a file");
    assert!(victim.exits_with(3, &folder, &["list"]).contains("no yard found"));
    // Only this user can write the stored decisions.
    let decisions = victim.0.path(".local/share/blockyard/trust");
    assert_eq!(fs::metadata(&decisions).expect("a folder").permissions().mode() & 0o777, 0o700);
    for entry in fs::read_dir(&decisions).expect("a folder").flatten() {
        assert_eq!(entry.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    }
    fs::write(&file, "yard = \"sqlite:a.db\"\n").expect("a file");
    victim.exits_with(0, &folder, &["trust"]);
    chmod(&decisions, 0o777);
    assert!(victim.exits_with(5, &folder, &["list"]).contains("are not used"));
}

#[test]
fn links_to_project_files_and_yards_are_rejected() {
    let victim = Victim::new();
    let folder = victim.folder();
    // A project that the user trusts, and a link to its file from a folder of another person.
    let own = victim.0.path("own");
    fs::create_dir(&own).expect("a folder");
    fs::write(own.join("blockyard.toml"), "yard = \"sqlite:yard.db\"\n").expect("a file");
    victim.exits_with(0, &own, &["trust"]);
    victim.exits_with(0, &own, &["init", "--key", "file"]);
    symlink(own.join("blockyard.toml"), folder.join("blockyard.toml")).expect("a link");
    for arguments in [&["list"][..], &["trust"], &["init"]] {
        assert!(victim.exits_with(5, &folder, arguments).contains("is not a regular file"));
    }
    // A link in the path of the yard.
    fs::remove_file(folder.join("blockyard.toml")).expect("gone");
    for path in ["link/yard.db", "yard.db"] {
        fs::write(folder.join("blockyard.toml"), format!("yard = \"sqlite:{path}\"\n")).expect("a file");
        let _ = symlink(&own, folder.join("link"));
        let _ = symlink(own.join("yard.db"), folder.join("yard.db"));
        for arguments in [&["trust"][..], &["list"]] {
            assert!(victim.exits_with(5, &folder, arguments).contains("blockyard.toml"));
        }
    }
}

#[test]
fn terminal_prompts_for_trust_once() {
    let victim = Victim::new();
    let folder = victim.folder();
    fs::write(folder.join("blockyard.toml"), "yard = \"sqlite:yard.db\"\n").expect("a file");
    let on_terminal = |arguments: &[&str]| Conversation::with(&mut victim.command(&folder, arguments));
    // An empty answer means no.
    for answer in ["", "n", "what?"] {
        let mut prompt = on_terminal(&["init", "--key", "file"]);
        prompt.answer("trust this file? [y/N]", answer);
        let (code, output) = prompt.end();
        assert_eq!(code, 5, "{output}");
        assert!(output.contains("is not trusted. It configures:"), "{output}");
        assert!(output.contains("yard.db`, which does not exist yet"), "{output}");
    }
    assert!(!folder.join("yard.db").exists());
    let mut accepted = on_terminal(&["init", "--key", "file"]);
    accepted.answer("trust this file? [y/N]", "y");
    let (code, output) = accepted.end();
    assert_eq!(code, 0, "{output}");
    for again in [on_terminal(&["list"]), on_terminal(&["list", "--json"])] {
        let (code, output) = again.end();
        assert_eq!(code, 0, "{output}");
        assert!(!output.contains("trust"), "{output}");
    }
    victim.exits_with(0, &folder, &["list"]);
    fs::write(folder.join("blockyard.toml"), "yard = \"sqlite:yard.db\"\n# changed\n").expect("a file");
    let mut changed = on_terminal(&["list"]);
    changed.answer("changed since it was trusted", "n");
    assert_eq!(changed.end().0, 5);
    // If the prompt cannot explain what it is about, it is not shown.
    for flag in ["--quiet", "--json"] {
        assert_eq!(on_terminal(&["list", flag]).end().0, 5, "{flag}");
    }
}

#[test]
fn permitted_sources_are_matched_by_their_resolved_path() {
    let victim = Victim::new();
    let folder = victim.folder();
    let secrets = folder.join("secrets");
    fs::create_dir_all(secrets.join("deep")).expect("folders");
    for (path, content) in
        [("db", "the-password"), (".hidden", "hidden"), ("deep/db", "deep"), ("../outside", "outside")]
    {
        fs::write(secrets.join(path), content).expect("a file");
    }
    symlink(folder.join("outside"), secrets.join("link")).expect("a link");
    symlink(secrets.join("db"), folder.join("way-in")).expect("a link");
    let attacker = TestYard::on(Backend::Sqlite);
    let address = |name: &str| format!("zoo-safe/{name}");
    let cases = [
        ("plain", format!("file:{}/db", secrets.display()), Some("the-password")),
        ("detour", format!("file:{}/deep/../db", secrets.display()), Some("the-password")),
        ("way-in", format!("file:{}/way-in", folder.display()), Some("the-password")),
        ("hidden", format!("file:{}/.hidden", secrets.display()), None),
        ("below", format!("file:{}/deep/db", secrets.display()), None),
        ("escape", format!("file:{}/../outside", secrets.display()), None),
        ("link", format!("file:{}/link", secrets.display()), None),
        ("variable", "env:WAREHOUSE_PASSWORD".to_owned(), Some("the-variable")),
        ("other", "env:AWS_SECRET".to_owned(), None),
    ];
    for (name, source, _) in &cases {
        attacker.ok(&["create", &address(name), "--secret", &format!("content={source}")]);
    }
    unpack(&attacker, &folder);
    let yard = format!("sqlite:{}", folder.join("yard.db").display());
    victim.0.configure(&format!("[sources]\nallow = [\"env:WAREHOUSE_*\", \"file:{}/*\"]\n", secrets.display()));
    for (name, source, content) in &cases {
        let arguments = ["reveal", &address(name), "content", "--yes", "--yard", &yard];
        let mut command = victim.command(&folder, &arguments);
        let result = run_command(command.env("WAREHOUSE_PASSWORD", "the-variable").env("AWS_SECRET", "outside"), None);
        match content {
            Some(content) => {
                assert_eq!((result.code, result.stdout.as_str()), (0, *content), "{source}: {}", result.stderr)
            }
            None => assert_eq!((result.code, result.stdout.as_str()), (5, ""), "{source}: {}", result.stderr),
        }
    }
}

#[test]
fn postgres_yard_reads_only_permitted_sources() {
    if !blockyard_tests::available("BLOCKYARD_TEST_POSTGRES_PORT") {
        return;
    }
    let yard = TestYard::on(Backend::Postgres);
    yard.ok(&["create", "zoo-safe/home", "--secret", "content=env:HOME"]);
    let refused = yard.fails(5, &["reveal", "zoo-safe/home", "content", "--yes"]);
    assert!(refused.contains("can be written by everyone with access to its database"), "{refused}");
    assert!(refused.contains("add `env:HOME` to `allow` in `[sources]`"), "{refused}");
    yard.configure("[sources]\nallow = [\"env:HOME\"]\n");
    yard.ok(&["reveal", "zoo-safe/home", "content", "--yes"]);
}

#[test]
fn relative_source_paths_are_rejected() {
    let yard = TestYard::on(Backend::Sqlite);
    for path in ["secret", "./secret", "../secret", "~/secret"] {
        let source = format!("content=file:{path}");
        let refused = yard.fails(4, &["create", "zoo-safe/box", "--secret", &source]);
        assert!(refused.contains("write an absolute path"), "{refused}");
        let file = format!("version = 1\n[blocks.\"zoo-safe/box\"]\ncontent = \"file:{path}\"\n");
        yard.fails_with_input(4, &["apply", "-"], &file);
    }
    // Relative database paths are rejected as well, because they depend on the current folder.
    let refused =
        yard.fails(4, &["create", "sql-database/x", "--set", "dialect=sqlite", "--set", "database=visitors.db"]);
    assert!(refused.contains("must be an absolute path"), "{refused}");
}

#[test]
fn configuration_writable_by_others_is_rejected() {
    let yard = TestYard::on(Backend::Sqlite);
    let file = yard.path(".config/blockyard/config.toml");
    yard.configure("[sources]\nallow = [\"env:A\"]\n");
    yard.ok(&["list"]);
    for (path, loose, tight) in
        [(file.clone(), 0o666, 0o644), (file.clone(), 0o620, 0o600), (yard.path(".config"), 0o777, 0o755)]
    {
        chmod(&path, loose);
        let refused = yard.fails(5, &["list"]);
        assert!(refused.contains("another user could change it"), "{refused}");
        chmod(&path, tight);
    }
    for (text, expected) in [
        ("[source]\nallow = []", "did you mean `sources`?"),
        ("[sources]\nallowed = []", "did you mean `allow`?"),
        ("[sources]\nallow = [\"file:secrets/*\"]", "is not an absolute path"),
        ("[sources]\nallow = [\"file:/run/**\"]", "name each folder"),
        ("[yards.x]\nurl = \"sqlite:yard.db\"", "is a relative path"),
    ] {
        yard.configure(text);
        assert!(yard.fails(4, &["list"]).contains(expected), "{text}");
    }
    // The file in the environment variable is used instead, and must exist.
    let elsewhere = yard.path("elsewhere.toml");
    fs::write(&elsewhere, "").expect("a file");
    let with = |path: &Path| run_command(yard.command(&["list"]).env("BLOCKYARD_CONFIG", path), None).code;
    assert_eq!(with(&elsewhere), 0);
    assert_eq!(with(&yard.path("none.toml")), 3);
}

/// Writes a registry and a crate into an attacker's folder. Building the crate would leave a trace.
fn create_malicious_registry(folder: &Path) -> PathBuf {
    let registry = "version = 1\nname = \"blockyard\"\nunsigned = true\n[[bundle]]\nname = \"sql\"\n\
        [[bundle.release]]\nversion = \"0.1.0\"\nwit = \"0.1\"\nsource = { path = \"crate\" }\n";
    fs::write(folder.join("registry.toml"), registry).expect("a file");
    fs::create_dir_all(folder.join("crate/src")).expect("folders");
    fs::create_dir_all(folder.join("deep/work")).expect("folders");
    let manifest = "[package]\nname = \"sql\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n";
    fs::write(folder.join("crate/Cargo.toml"), manifest).expect("a file");
    fs::write(folder.join("crate/src/lib.rs"), "").expect("a file");
    folder.join("deep/work")
}

/// Creates programs that log their working folder, and a `PATH` with them before the real ones.
fn install_logging_tools(victim: &Victim) -> (String, PathBuf) {
    let tools = victim.0.path("tools");
    fs::create_dir_all(&tools).expect("a folder");
    let log = tools.join("log");
    fs::write(&log, "").expect("a file");
    for name in ["cargo", "rustc", "rustup"] {
        let script = format!("#!/bin/sh\nprintf '%s %s\\n' {name} \"$(pwd -P)\" >> '{}'\nexit 1\n", log.display());
        fs::write(tools.join(name), script).expect("a file");
        chmod(&tools.join(name), 0o755);
    }
    (format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default()), log)
}

#[test]
fn current_folder_selects_neither_registry_nor_crate() {
    let victim = Victim::new();
    let folder = victim.folder();
    let work = create_malicious_registry(&folder);
    let (path, log) = install_logging_tools(&victim);
    let install = |folder: &Path, arguments: &[&str]| {
        let arguments: Vec<&str> = ["install", "--yes"].iter().chain(arguments).copied().collect();
        run_command(victim.command(folder, &arguments).env("PATH", &path), None)
    };
    let built = || fs::read_to_string(&log).expect("the log");
    // A word without a slash is a name, regardless of the files in the folder.
    fs::write(work.join("sql"), "not a bundle").expect("a file");
    fs::create_dir(work.join("http")).expect("a folder");
    fs::write(work.join("http/Cargo.toml"), "[package]").expect("a file");
    for (folder, word) in [(&work, "sql"), (&folder, "sql"), (&work, "http"), (&folder, "crate"), (&work, "sql@0.1")] {
        let refused = install(folder, &[word]);
        assert_eq!(refused.code, 3, "{word}: {}{}", refused.stdout, refused.stderr);
        assert!(refused.stderr.contains("no registry is configured"), "{}", refused.stderr);
    }
    for word in ["..", "~", "sql.", ".sql"] {
        let refused = install(&work, &[word]);
        assert_eq!(refused.code, 2, "{word}: {}", refused.stderr);
        assert!(refused.stderr.contains("a path has a `/`"), "{}", refused.stderr);
    }
    assert_eq!(built(), "");
    // A registry that the user specifies offers source code; building it requires a separate
    // approval.
    for registry in ["../..", "../../registry.toml"] {
        let refused = install(&work, &["sql", "--registry", registry]);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        let crate_folder = folder.join("crate").display().to_string();
        assert!(refused.stderr.contains(&crate_folder) && refused.stderr.contains("`--build`"), "{}", refused.stderr);
    }
    assert_eq!(built(), "");
    let installed = install(&work, &["sql", "--registry", "../..", "--build"]);
    assert!(
        installed.stderr.contains(&format!("compiling {}", folder.join("crate").display())),
        "{}",
        installed.stderr
    );
    assert_ne!(built(), "");
    // Registries of an untrusted project file are not used either.
    fs::write(&log, "").expect("a file");
    fs::write(folder.join("blockyard.toml"), "[registries]\nours = \"registry.toml\"\n").expect("a file");
    let refused = install(&work, &["sql", "--build"]);
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("`blockyard trust "), "{}", refused.stderr);
    let own = format!("sqlite:{}", victim.0.path("own.db").display());
    let refused = install(&work, &["sql", "--build", "--yard", &own]);
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert_eq!(built(), "");
    victim.exits_with(0, &work, &["trust"]);
    let trusted = install(&work, &["sql"]);
    assert_eq!(trusted.code, 2, "{}", trusted.stderr);
    assert!(trusted.stderr.contains("`--build`"), "{}", trusted.stderr);
}

#[test]
fn registries_are_read_from_the_user_configuration() {
    let victim = Victim::new();
    let folder = victim.folder();
    let work = create_malicious_registry(&folder);
    victim.0.configure(&format!("[registries]\nacme = \"{}\"\n", folder.display()));
    let found = victim.exits_with(2, &victim.0.path("given"), &["install", "sql", "--yes"]);
    assert!(found.contains("`--build`"), "{found}");
    // Registries of an untrusted project file are ignored, with a note.
    let shared = victim.0.path("given/shared");
    fs::create_dir_all(&shared).expect("a folder");
    fs::write(shared.join("blockyard.toml"), "[registries]\nours = \"registry.toml\"\n").expect("a file");
    let found = victim.exits_with(2, &shared, &["install", "sql", "--yes"]);
    assert!(found.contains("its registries are not used"), "{found}");
    // No server listens on port 1.
    victim.0.configure("[registries]\nacme = \"https://127.0.0.1:1/registry\"\n");
    assert!(victim.exits_with(1, &work, &["install", "sql", "--yes"]).contains("registry `acme` is not available"));
}

#[test]
fn crate_is_built_in_its_own_folder() {
    let victim = Victim::new();
    let folder = victim.folder();
    create_malicious_registry(&folder);
    let (path, log) = install_logging_tools(&victim);
    let own = victim.0.path("own");
    fs::create_dir_all(&own).expect("a folder");
    let crate_folder = own.join("crate");
    fs::rename(folder.join("crate"), &crate_folder).expect("moved");
    let crate_folder = crate_folder.canonicalize().expect("its path");
    let named = crate_folder.display().to_string();
    for arguments in [&["build", &named][..], &["install", &named, "--yes"], &["install", "../../own/crate", "--yes"]] {
        fs::write(&log, "").expect("a file");
        let result = run_command(victim.command(&folder, arguments).env("PATH", &path), None);
        assert_ne!(result.code, 0);
        assert!(result.stderr.contains(&format!("compiling {named}")), "{}", result.stderr);
        let started = fs::read_to_string(&log).expect("the log");
        assert!(!started.is_empty(), "{}", result.stderr);
        // Configuration of cargo and rustup in the current folder could run any program.
        for line in started.lines() {
            assert!(line.ends_with(&format!(" {named}")), "{arguments:?}: {line}");
        }
    }
    // Files above a crate that others can write are rejected before anything runs.
    fs::write(&log, "").expect("a file");
    for name in ["Cargo.toml", "rust-toolchain.toml"] {
        fs::write(own.join(name), "").expect("a file");
        chmod(&own.join(name), 0o666);
        let refused = run_command(victim.command(&folder, &["build", &named]).env("PATH", &path), None);
        assert_eq!(refused.code, 5, "{}", refused.stderr);
        assert!(refused.stderr.contains(name), "{}", refused.stderr);
        fs::remove_file(own.join(name)).expect("gone");
    }
    assert_eq!(fs::read_to_string(&log).expect("the log"), "");
}
