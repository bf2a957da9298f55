//! Concurrent writers, and writers that are killed while they save.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use blockyard_tests::{Backend, TestYard, on_both};
use serde_json::{Value, json};

on_both!(
    ten_thousand_saves_by_eight_processes_are_all_there,
    two_that_build_on_each_other_at_once_make_no_circle,
    a_block_that_is_deleted_while_another_takes_it_up_is_there_or_was_never_taken,
    kills_at_any_moment_leave_the_old_or_the_new,
    a_rotation_that_is_killed_goes_on,
);

const WRITERS: u64 = 8;
const SAVES: u64 = 10_000;
const BLOCKS: u64 = 40;

/// Returns the number of kills per test. After each one the yard is opened and examined, which
/// takes time, so the number is lower where many tests share a machine.
fn kill_count() -> u64 {
    match std::env::var("BLOCKYARD_TEST_KILLS") {
        Ok(number) => number.parse().expect("a number of kills"),
        Err(_) if std::env::var_os("CI").is_some() => 40,
        Err(_) => 200,
    }
}

/// Returns a command that runs a program in the environment of a yard.
fn within(yard: &TestYard, program: &str) -> Command {
    let mut command = yard.program(program);
    command.env("BLOCKYARD_KEY_FILE", yard.key_file());
    command
}

fn ten_thousand_saves_by_eight_processes_are_all_there(yard: &TestYard) {
    for block in 0..BLOCKS {
        yard.ok(&["create", &format!("zoo-cage/c{block}"), "--set", "animal=egg", "-q"]);
    }
    let lines = |yard: &TestYard| yard.json(&["audit", "--limit", "1000000"])["audit"].as_array().map_or(0, Vec::len);
    let before = lines(yard);
    let writers: Vec<Child> = (0..WRITERS)
        .map(|writer| {
            within(yard, env!("CARGO_BIN_EXE_concurrent_writer"))
                .args([yard.url(), writer.to_string(), (SAVES / WRITERS).to_string(), BLOCKS.to_string()])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it runs")
        })
        .collect();
    let mut reported: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    // Threads read the output, so that no writer waits for its reader.
    let outputs: Vec<_> = writers
        .into_iter()
        .map(|writer| std::thread::spawn(move || writer.wait_with_output().expect("it ends")))
        .collect();
    for output in outputs {
        let output = output.join().expect("the output");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let (address, revision) = line.split_once(' ').expect("an address and a revision");
            let fresh = reported.entry(address.to_owned()).or_default().insert(revision.parse().expect("a revision"));
            assert!(fresh, "two writers received the same revision: {line}");
        }
    }
    assert_eq!(reported.values().map(BTreeSet::len).sum::<usize>() as u64, SAVES);
    for (address, revisions) in &reported {
        let newest = yard.json(&["show", address])["newest"].as_u64().expect("a revision");
        let expected: BTreeSet<u64> = (2..=newest).collect();
        assert_eq!(*revisions, expected, "{address}");
    }
    // Every revision of every block opens, and the audit trail is intact and contains each save.
    yard.ok(&["doctor"]);
    assert_eq!(lines(yard) - before, usize::try_from(SAVES).expect("few enough"));
}

fn two_that_build_on_each_other_at_once_make_no_circle(yard: &TestYard) {
    for round in 0..10 {
        let (one, other) = (format!("zoo-keeper/one-{round}"), format!("zoo-keeper/other-{round}"));
        for address in [&one, &other] {
            yard.ok(&["create", address, "--set", "name=N", "-q"]);
        }
        let pair = [(&one, &other), (&other, &one)];
        let codes: Vec<Option<i32>> =
            at_once(pair.map(|(from, to)| yard.command(&["set", from, "--set", &format!("teacher={to}")])));
        let done = codes.iter().filter(|code| **code == Some(0)).count();
        assert_eq!(done, 1, "exactly one of the two saves must succeed: {codes:?}");
    }
    yard.ok(&["doctor"]);
}

fn a_block_that_is_deleted_while_another_takes_it_up_is_there_or_was_never_taken(yard: &TestYard) {
    for round in 0..10 {
        let (teacher, pupil) = (format!("zoo-keeper/teacher-{round}"), format!("zoo-keeper/pupil-{round}"));
        for address in [&teacher, &pupil] {
            yard.ok(&["create", address, "--set", "name=N", "-q"]);
        }
        let teaches = format!("teacher={teacher}");
        let codes = at_once([yard.command(&["delete", &teacher]), yard.command(&["set", &pupil, "--set", &teaches])]);
        assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    }
    yard.ok(&["doctor"]);
}

fn at_once<const N: usize>(commands: [Command; N]) -> Vec<Option<i32>> {
    let started = commands.map(|mut command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs")
    });
    started.into_iter().map(|mut child| child.wait().expect("it ends").code()).collect()
}

/// Returns the visible state of a block: its revision and animal, or that it is deleted; null if
/// the block does not exist.
fn state(yard: &TestYard, address: &str) -> Value {
    let shown = yard.run(&["show", address, "--json"]);
    if shown.code == 0 {
        let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
        return json!({ "revision": shown["newest"], "animal": shown["config"]["animal"], "deleted": false });
    }
    let error: Value = serde_json::from_str(&shown.stderr).expect("JSON");
    assert_eq!(shown.code, 3, "{error}");
    if error["error"]["code"] == json!("deleted") { json!({ "deleted": true }) } else { Value::Null }
}

fn kills_at_any_moment_leave_the_old_or_the_new(yard: &TestYard) {
    let mut random = RandomNumbers::new();
    let mut finished = 0;
    for kill in 0..kill_count() {
        let address = format!("zoo-cage/c{}", random.below(4));
        let before = state(yard, &address);
        let animal = format!("animal={kill}");
        let command: Vec<&str> = match (&before, random.below(4)) {
            (Value::Null, _) => vec!["create", &address, "--set", &animal, "--json-config", "secret.json"],
            (before, _) if before["deleted"] == json!(true) => vec!["restore", &address],
            (_, 0) => vec!["delete", &address],
            _ => vec!["set", &address, "--set", &animal],
        };
        std::fs::write(yard.path("secret.json"), r#"{"spares": ["spare-1", "spare-2"]}"#).expect("a file");
        let ended = run_and_kill(yard, &command, &mut random);
        finished += u64::from(ended);
        let after = state(yard, &address);
        let new = match command[0] {
            "create" => json!({ "revision": 1, "animal": kill.to_string(), "deleted": false }),
            "set" => json!({
                "revision": before["revision"].as_u64().map(|revision| revision + 1),
                "animal": kill.to_string(), "deleted": false
            }),
            "delete" => json!({ "deleted": true }),
            // The state before the deletion is not known here, only that the block is restored.
            _ if after["deleted"] == json!(false) => after.clone(),
            _ => before.clone(),
        };
        assert!(after == before || after == new, "{command:?}: {before} became {after}, seed {}", random.seed);
        assert!(!ended || after == new, "{command:?} succeeded without effect");
        if kill % 10 == 9 {
            yard.ok(&["doctor"]);
        }
    }
    yard.ok(&["doctor"]);
    // At least one command must be killed before it finishes, otherwise the test proves nothing.
    assert!(finished < kill_count(), "none of {} commands was killed before it finished", kill_count());
}

fn a_rotation_that_is_killed_goes_on(yard: &TestYard) {
    let mut random = RandomNumbers::new();
    for block in 0..30 {
        let config = format!(r#"{{"animal": "newt", "spares": ["spare-{block}"]}}"#);
        let created = yard.run_with_input(&["create", &format!("zoo-cage/c{block}"), "--json-config", "-"], &config);
        assert_eq!(created.code, 0, "{}", created.stderr);
    }
    for _ in 0..kill_count() / 4 {
        run_and_kill(yard, &["key", "rotate"], &mut random);
        yard.ok(&["doctor"]);
        let revealed = yard.ok(&["reveal", "zoo-cage/c7", "spares.0", "--yes"]);
        assert_eq!(revealed, "spare-7");
    }
    yard.ok(&["key", "rotate"]);
    assert_eq!(yard.json(&["key", "status"])["rotation"], Value::Null);
    yard.ok(&["doctor"]);
}

/// Runs a command and kills it (SIGKILL) after a random delay. Returns whether it had finished.
fn run_and_kill(yard: &TestYard, arguments: &[&str], random: &mut RandomNumbers) -> bool {
    let mut child = yard.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    // A command takes some tens of milliseconds, and longer on a server.
    let longest = if yard.backend() == Backend::Sqlite { 60_000 } else { 90_000 };
    std::thread::sleep(Duration::from_micros(random.below(longest)));
    let _ = child.kill();
    child.wait().expect("it ends").success()
}

/// Random number generator (xorshift64, Marsaglia 2003). A failed test prints the seed.
struct RandomNumbers {
    seed: u64,
    state: u64,
}

impl RandomNumbers {
    fn new() -> Self {
        use std::hash::{BuildHasher as _, RandomState};
        let seed = RandomState::new().hash_one(std::process::id()) | 1;
        Self { seed, state: seed }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }
}
