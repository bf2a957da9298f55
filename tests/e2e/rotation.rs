//! Rotation of a yard's key: complete, partial, killed midway, resumed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_tests::{Backend, CommandOutput, TestYard, available, binary, on_both, run_command};
use serde_json::{Value, json};

on_both!(
    rotated_blocks_open_with_the_new_key_only,
    rotation_to_the_environment_requires_that_key,
    invalid_new_key_changes_nothing,
    rotation_stores_the_new_key_in_the_keyring,
    interrupted_rotation_allows_reads_and_creations,
    interrupted_rotation_requires_the_old_key,
    interrupted_rotation_requires_the_new_key_for_rotated_blocks,
    interrupted_rotation_resumes_only_to_its_original_location,
    killed_rotation_resumes,
    concurrent_rotations_leave_one_key,
);

/// Number of blocks that are rewrapped together. A rotation that stops has rewrapped a multiple of
/// it.
const BATCH: u64 = 200;

/// Returns a key of 32 identical bytes in base64.
fn key(byte: u8) -> String {
    STANDARD.encode([byte; 32])
}

/// Runs a command with an additional environment variable.
fn with(yard: &TestYard, variable: &str, value: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> CommandOutput {
    run_command(yard.command(arguments).env(variable, value), None)
}

fn rotate(yard: &TestYard) -> Value {
    yard.json(&["key", "rotate"])
}

/// Returns the path of the key file at this location.
fn file(location: &Value) -> PathBuf {
    let location = location.as_str().expect("a location");
    location.strip_prefix("file:").expect("a key in a file").into()
}

/// Checks whether a command failed because its key is not the yard's key.
fn refused(result: &CommandOutput) -> bool {
    result.code == 5 && result.stderr.contains("is not this yard's key")
}

fn rotated_blocks_open_with_the_new_key_only(yard: &TestYard) {
    let before = yard.json(&["key", "status"]);
    yard.keeper("ada", "first badge");
    yard.ok_with_input(&["set", "zoo-keeper/ada", "--secret", "badge=-"], "second badge");
    yard.keeper("bob", "bob's badge");
    yard.ok(&["delete", "zoo-keeper/bob"]);
    let mut old = yard.key_file();
    for _ in 0..2 {
        let done = rotate(yard);
        assert_eq!((&done["moved"], &done["resumed"]), (&json!(2), &json!(false)));
        assert_eq!(file(&done["old_location"]), old);
        let new = file(&done["location"]);
        assert!(old.exists(), "older backups need the old key");
        for arguments in [&["list"][..], &["reveal", "zoo-keeper/ada", "badge", "--yes"], &["key", "rotate"]] {
            assert!(refused(&with(yard, "BLOCKYARD_KEY_FILE", &old, arguments)));
        }
        assert_eq!(with(yard, "BLOCKYARD_KEY_FILE", &new, &["list", "--count"]).stdout, "1\n");
        assert_eq!(yard.reveal("zoo-keeper/ada", "badge"), "second badge");
        assert_eq!(yard.reveal("zoo-keeper/ada@1", "badge"), "first badge");
        let mode = fs::metadata(&new).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "only its owner can read it");
        old = new;
    }
    yard.ok(&["restore", "zoo-keeper/bob"]);
    assert_eq!(yard.reveal("zoo-keeper/bob", "badge"), "bob's badge");
    yard.ok(&["doctor"]);
    let after = yard.json(&["key", "status"]);
    assert_eq!((&after["available"], &after["blocks"], &after["rotation"]), (&json!(true), &json!(2), &json!(null)));
    assert_ne!(after["key_id"], before["key_id"]);
    let audit = yard.json(&["audit"]);
    let rotations = audit["audit"].as_array().expect("lines").iter().filter(|line| line["action"] == "rotate");
    let moves: Vec<&Value> = rotations.map(|line| &line["detail"]).collect();
    assert_eq!((moves.len(), &moves[0]["from"], &moves[1]["from"]), (2, &moves[1]["to"], &before["key_id"]));
}

fn rotation_to_the_environment_requires_that_key(yard: &TestYard) {
    yard.keeper("ada", "badge");
    let reveal = ["reveal", "zoo-keeper/ada", "badge", "--yes"];
    let old = yard.key_file();
    let done = with(yard, "NEXT_KEY", key(1), &["key", "rotate", "--to", "env:NEXT_KEY"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.contains("NEXT_KEY, which every command requires"), "{}", done.stdout);
    assert!(refused(&with(yard, "BLOCKYARD_KEY_FILE", &old, &reveal)));
    let missing = yard.fails(5, &reveal);
    assert!(missing.contains("the yard's key is not in the environment variable `NEXT_KEY`"), "{missing}");
    assert!(refused(&with(yard, "NEXT_KEY", key(2), &reveal)));
    assert_eq!(with(yard, "NEXT_KEY", key(1), &reveal).stdout, "badge");
    assert_eq!(with(yard, "BLOCKYARD_KEY", key(1), &reveal).stdout, "badge");
    // Blockyard cannot store a new key in an environment variable.
    let same = with(yard, "NEXT_KEY", key(1), &["key", "rotate"]);
    assert_eq!(same.code, 2, "{}", same.stderr);
    assert!(same.stderr.contains("name it with `--to env:NAME`"), "{}", same.stderr);
    let own = with(yard, "NEXT_KEY", key(1), &["key", "rotate", "--to", "env:NEXT_KEY"]);
    assert!(own.code == 2 && own.stderr.contains("the new key is already the yard's key"), "{}", own.stderr);
    // Rotates back to a file, which is found without being named.
    let rotated = with(yard, "NEXT_KEY", key(1), &["key", "rotate", "--to", "file", "--json"]);
    let rotated: Value = serde_json::from_str(&rotated.stdout).expect("JSON");
    assert!(file(&rotated["location"]).exists());
    assert_eq!(yard.ok(&reveal), "badge");
}

fn invalid_new_key_changes_nothing(yard: &TestYard) {
    yard.keeper("ada", "badge");
    let before = (yard.json(&["key", "status"]), yard.json(&["audit"]));
    let to = ["key", "rotate", "--to", "env:NEXT_KEY"];
    assert!(yard.fails(5, &to).contains("is not in the environment variable `NEXT_KEY`"));
    let text = with(yard, "NEXT_KEY", "l3t-me-in!", &to);
    assert!(text.code == 5 && text.stderr.contains("NEXT_KEY is not a key"), "{}", text.stderr);
    assert!(!text.stderr.contains("l3t-me-in!"), "{}", text.stderr);
    for location in ["pocket", "env:", "file:/tmp/x", ""] {
        let refused = yard.fails(2, &["key", "rotate", "--to", location]);
        assert!(refused.contains("use `keyring`, `file` or `env:NAME`"), "{refused}");
    }
    // Without a session, the keyring is not available, and no other location is used instead.
    assert!(yard.fails(5, &["key", "rotate", "--to", "keyring"]).contains("keyring failed"));
    assert_eq!((yard.json(&["key", "status"]), yard.json(&["audit"])), before);
}

/// Runs a script with a separate Secret Service.
fn with_keyring(yard: &TestYard, script: &str) -> CommandOutput {
    let script = format!(
        "set -e\nprintf pw | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1\nblockyard={}\n{script}",
        binary()
    );
    let mut session = yard.program("dbus-run-session");
    session.args(["--", "bash", "-c", &script]);
    fs::create_dir_all(yard.path("run")).expect("a folder");
    session.env("XDG_RUNTIME_DIR", yard.path("run"));
    run_command(&mut session, None)
}

fn rotation_stores_the_new_key_in_the_keyring(yard: &TestYard) {
    if !available("BLOCKYARD_TEST_KEYRING") {
        return;
    }
    yard.keeper("ada", "badge");
    let old = yard.key_file();
    let output = with_keyring(
        yard,
        r#"reveal="reveal zoo-keeper/ada badge --yes"
        lookup() { secret-tool lookup service blockyard username "$1" | wc -c; }
        account() { $blockyard key status --json | sed -n 's/.*"location": "keyring:\(.*\)",\?/\1/p'; }
        $blockyard key rotate --to keyring | sed -n 's/.*\(the operating system.s keyring\).*/to \1/p'
        $blockyard $reveal; echo
        first=$(account); lookup "$first"
        $blockyard key rotate -q >/dev/null
        $blockyard $reveal; echo
        second=$(account); lookup "$second"
        test "$first" != "$second"
        BLOCKYARD_KEY=$(secret-tool lookup service blockyard username "$first") $blockyard $reveal || echo "exit $?"
        secret-tool clear service blockyard username "$second"
        $blockyard $reveal || echo "exit $?""#,
    );
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    // Base64 of 32 bytes has 44 characters.
    assert_eq!(
        output.stdout, "to the operating system's keyring\nbadge\n44\nbadge\n44\nexit 5\nexit 5\n",
        "{}",
        output.stderr
    );
    for expected in ["the key from BLOCKYARD_KEY is not this yard's key", "keyring has no key for this yard"] {
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
    assert!(refused(&with(yard, "BLOCKYARD_KEY_FILE", &old, &["list"])));
    assert!(yard.fails(5, &["list"]).contains("keyring failed"));
}

/// Creates this number of keepers without a badge.
fn create_keepers(yard: &TestYard, count: u64) {
    let mut file = "version = 1\n".to_owned();
    file.extend((0..count).map(|number| format!("[blocks.\"zoo-keeper/k{number}\"]\nname = \"K\"\n")));
    yard.ok_with_input(&["apply", "-", "--quiet"], &file);
}

/// Creates a trigger that runs before a data key is rewrapped. Returns the statement that drops it.
fn before_each_move(yard: &TestYard, sqlite: &str, postgres: &str) -> &'static str {
    match yard.backend() {
        Backend::Sqlite => {
            yard.sql(&format!("create trigger moving before update of key_id on blocks {sqlite}")).expect("a trigger");
            "drop trigger moving"
        }
        Backend::Postgres => {
            let function = format!(
                "create function moving() returns trigger language plpgsql as $$ begin {postgres}; return new; end $$"
            );
            yard.sql(&function).expect("a function");
            yard.sql("create trigger moving before update of key_id on blocks for each row execute function moving()")
                .expect("a trigger");
            "drop trigger moving on blocks"
        }
    }
}

/// Starts a rotation of 212 blocks that stops after its first batch: `zoo-keeper/ada` is rewrapped,
/// and `zoo-keeper/bob` is not. Returns the files of the old and the new key.
fn interrupt_rotation(yard: &TestYard) -> (PathBuf, PathBuf) {
    yard.keeper("ada", "ada's badge");
    create_keepers(yard, 210);
    yard.keeper("bob", "bob's badge");
    let old = yard.key_file();
    let enough = format!("(select count(*) from blocks where key_id = new.key_id) >= {BATCH}");
    let undo = before_each_move(
        yard,
        &format!("when {enough} begin select raise(abort, 'no more'); end"),
        &format!("if {enough} then raise exception 'no more'; end if"),
    );
    assert_eq!(yard.run(&["key", "rotate"]).code, 1);
    yard.sql(undo).expect("undone");
    assert_eq!(progress(yard), Some((BATCH, 12)));
    (old, file(&yard.json(&["key", "status"])["rotation"]["location"]))
}

/// Returns the numbers of rewrapped and remaining blocks of the current rotation, if there is one.
fn progress(yard: &TestYard) -> Option<(u64, u64)> {
    // The key may be missing, which the exit code reports.
    let output = yard.run(&["key", "status", "--json"]);
    let status: Value = serde_json::from_str(&output.stdout).expect("JSON");
    Some((status["rotation"]["moved"].as_u64()?, status["rotation"]["left"].as_u64()?))
}

fn badges(yard: &TestYard) -> [String; 2] {
    ["zoo-keeper/ada", "zoo-keeper/bob"].map(|address| yard.reveal(address, "badge"))
}

fn interrupted_rotation_allows_reads_and_creations(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    let (old, _) = interrupt_rotation(yard);
    assert_eq!(badges(yard), ["ada's badge", "bob's badge"]);
    yard.keeper("eve", "eve's badge");
    assert_eq!(progress(yard), Some((BATCH + 1, 12)), "a new block uses the new key");
    yard.ok_with_input(&["set", "zoo-keeper/bob", "--secret", "badge=-"], "another badge");
    yard.ok(&["purge", "zoo-keeper/k209", "--yes"]);
    let doctor = yard.ok(&["doctor"]);
    assert!(doctor.contains("rotate the key again to finish it"), "{doctor}");
    assert!(yard.ok(&["key", "status"]).contains("finish it with `blockyard key rotate`"));

    let left = progress(yard).expect("a rotation in progress").1;
    let done = rotate(yard);
    assert_eq!((&done["resumed"], &done["moved"]), (&json!(true), &json!(left)));
    assert_eq!(badges(yard), ["ada's badge", "another badge"]);
    assert_eq!(yard.reveal("zoo-keeper/eve", "badge"), "eve's badge");
    assert!(refused(&with(yard, "BLOCKYARD_KEY_FILE", &old, &["list"])));
    yard.ok(&["doctor"]);
}

fn interrupted_rotation_requires_the_old_key(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    let (old, new) = interrupt_rotation(yard);
    let away = yard.path("away.key");
    fs::rename(&old, &away).expect("moved");
    let reveal = |name: &str| {
        with(yard, "BLOCKYARD_KEY_FILE", &new, &["reveal", &format!("zoo-keeper/{name}"), "badge", "--yes"])
    };
    assert_eq!(reveal("ada").stdout, "ada's badge");
    let bob = reveal("bob");
    assert_eq!((bob.code, bob.stdout.as_str()), (5, ""), "{}", bob.stderr);
    let failed = with(yard, "BLOCKYARD_KEY_FILE", &new, &["key", "rotate"]);
    assert_eq!(failed.code, 5);
    assert_eq!(progress(yard), Some((BATCH, 12)));
    fs::rename(&away, &old).expect("moved back");
    assert_eq!(rotate(yard)["moved"], json!(12));
    fs::remove_file(&old).expect("gone");
    assert_eq!(badges(yard), ["ada's badge", "bob's badge"]);
    // The errors name the missing key.
    let expected = format!("key file `{}` does not exist", old.display());
    for message in [failed.stderr, bob.stderr] {
        assert!(message.contains(&expected), "{message}");
    }
}

fn interrupted_rotation_requires_the_new_key_for_rotated_blocks(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    let (_, new) = interrupt_rotation(yard);
    let away = yard.path("away.key");
    fs::rename(&new, &away).expect("moved");
    assert_eq!(yard.reveal("zoo-keeper/bob", "badge"), "bob's badge");
    let expected = yard.without_locations(&format!("key file `{}` does not exist", new.display()));
    for arguments in [&["reveal", "zoo-keeper/ada", "badge", "--yes"][..], &["key", "rotate"]] {
        let refused = yard.fails(5, arguments);
        assert!(refused.contains(&expected), "{refused}");
    }
    // A block that is created in the meantime is not lost, regardless of its key.
    yard.keeper("eve", "eve's badge");
    fs::rename(&away, &new).expect("moved back");
    rotate(yard);
    assert_eq!(yard.reveal("zoo-keeper/eve", "badge"), "eve's badge");
    assert_eq!(badges(yard), ["ada's badge", "bob's badge"]);
}

fn interrupted_rotation_resumes_only_to_its_original_location(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    let (_, new) = interrupt_rotation(yard);
    let elsewhere = with(yard, "NEXT_KEY", key(1), &["key", "rotate", "--to", "env:NEXT_KEY"]);
    assert_eq!(elsewhere.code, 6, "{}", elsewhere.stderr);
    let expected =
        format!("a rotation to the key in `file:{}` is in progress", new.file_name().expect("a name").display());
    assert!(elsewhere.stderr.contains(&expected), "{}", elsewhere.stderr);
    assert!(elsewhere.stderr.contains("finish it with `blockyard key rotate`"), "{}", elsewhere.stderr);
    yard.fails(6, &["key", "rotate", "--to", "keyring"]);
    assert_eq!(progress(yard), Some((BATCH, 12)));
    let done = yard.json(&["key", "rotate", "--to", "file"]);
    assert_eq!((&done["resumed"], file(&done["location"])), (&json!(true), new));
    assert_eq!(badges(yard), ["ada's badge", "bob's badge"]);
}

fn killed_rotation_resumes(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    yard.keeper("ada", "ada's badge");
    create_keepers(yard, 600);
    yard.keeper("bob", "bob's badge");
    let old = yard.key_file();
    // Slows down the database, so that the rotation can be killed midway.
    let undo = before_each_move(
        yard,
        "begin select count(*) from
         (with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) select i from n); end",
        "perform pg_sleep(0.005)",
    );
    let mut moved = 0;
    for _ in 0..2 {
        let mut command = yard.command(&["key", "rotate"]);
        let mut rotating = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        while progress(yard).is_none_or(|(now, _)| now <= moved) {
            assert!(rotating.try_wait().expect("a child").is_none(), "the rotation ended before it was killed");
        }
        rotating.kill().expect("kill -9");
        rotating.wait().expect("it ends");
        let (now, left) = progress(yard).expect("a rotation in progress");
        assert_eq!((now + left, now % BATCH, left > 0), (602, 0, true), "only complete batches were rewrapped");
        assert_eq!(badges(yard), ["ada's badge", "bob's badge"]);
        moved = now;
    }
    yard.sql(undo).expect("undone");
    let done = rotate(yard);
    assert_eq!((&done["resumed"], &done["moved"]), (&json!(true), &json!(602 - moved)));
    assert_eq!(badges(yard), ["ada's badge", "bob's badge"]);
    assert!(refused(&with(yard, "BLOCKYARD_KEY_FILE", &old, &["list"])));
    yard.ok(&["doctor"]);
}

fn concurrent_rotations_leave_one_key(yard: &TestYard) {
    yard.keeper("ada", "ada's badge");
    create_keepers(yard, 210);
    yard.keeper("bob", "bob's badge");
    let rotating: Vec<_> = (0..5)
        .map(|_| {
            let mut command = yard.command(&["key", "rotate"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
        })
        .collect();
    let mut done = 0;
    for rotation in rotating {
        let output = rotation.wait_with_output().expect("it ends");
        let message = String::from_utf8_lossy(&output.stderr);
        // A later process joins the rotation, or fails because the key was changed in the meantime.
        assert!(matches!(output.status.code(), Some(0 | 5 | 6)), "{message}");
        done += u32::from(output.status.success());
    }
    assert!(done > 0);
    assert_eq!(progress(yard), None);
    assert_eq!(badges(yard), ["ada's badge", "bob's badge"]);
    yard.ok(&["doctor"]);
}
