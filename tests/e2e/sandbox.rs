//! Bundles are untrusted: each attack of `tests/guests/misbehave` has its test here.

use blockyard_tests::{CommandOutput, TestYard, bundle};

const ATTACKS: [&str; 19] = [
    "nothing",
    "spin",
    "recurse",
    "allocate",
    "panic",
    "sleep",
    "create-handles",
    "flood-log",
    "return-invalid-result",
    "open-other-database",
    "create-table-in-read",
    "insert-in-read",
    "query-in-read-transaction",
    "send-password-to-host",
    "open-connections",
    "use-secret-outside-audience",
    "return-error-of-host",
    "call-at-random",
    "log-secret",
];

fn yard() -> TestYard {
    let yard = TestYard::new();
    yard.ok(&["install", &bundle("misbehave"), "--yes"]);
    std::fs::write(yard.path("token"), "token-secret-7431").expect("a file");
    let path = format!("path={}", yard.path("named.db").display());
    yard.ok(&["create", "misbehave/m", "--set", &path, "--secret", "password=@token", "--secret", "token=@token"]);
    std::fs::remove_file(yard.path("token")).expect("gone");
    yard
}

fn attack(yard: &TestYard, operation: &str, more: &[&str]) -> CommandOutput {
    let arguments: Vec<&str> = ["call", "misbehave/m", operation].iter().chain(more).copied().collect();
    yard.run(&arguments)
}

fn stopped(operation: &str, expected: &str) {
    let yard = yard();
    let output = attack(&yard, operation, &[]);
    assert_eq!(output.code, 7, "{operation}: {}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains(expected), "{operation}: {}", output.stderr);
    // Only that call fails.
    assert_eq!(attack(&yard, "nothing", &[]).stdout, "null\n");
}

#[test]
fn every_operation_of_the_guest_is_tested() {
    let yard = yard();
    let described = yard.json(&["type", "misbehave"]);
    let operations: Vec<&str> =
        described["operations"].as_array().expect("operations").iter().filter_map(|o| o["name"].as_str()).collect();
    assert_eq!(operations, ATTACKS);
}

#[test]
fn spin() {
    stopped("spin", "it used more than 30 seconds of processor time");
}

#[test]
fn recurse() {
    stopped("recurse", "its stack exceeds 512 KiB");
}

#[test]
fn allocate() {
    stopped("allocate", "it requested more than 256 MiB of memory");
}

#[test]
fn panic() {
    stopped("panic", "the zebra has left the zoo");
}

#[test]
fn create_handles() {
    stopped("create-handles", "handles");
}

#[test]
fn return_invalid_result() {
    stopped("return-invalid-result", "a result of `return-invalid-result` that is not valid");
}

#[test]
fn sleep() {
    let yard = yard();
    let mut command = yard.command(&["call", "misbehave/m", "sleep", "--timeout", "2"]);
    let began = std::time::Instant::now();
    let output = blockyard_tests::run_command(&mut command, None);
    assert_eq!(output.code, 7, "{}", output.stderr);
    assert!(output.stderr.contains("the call was stopped after 2 seconds"), "{}", output.stderr);
    assert!(began.elapsed().as_secs() < 20);
}

#[test]
fn flood_log() {
    let yard = yard();
    let output = attack(&yard, "flood-log", &[]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(!output.stderr.contains('\x1b'), "control characters in the output");
    let last = "log limit of 1000 lines or 1024 KiB per call reached; further lines are dropped\n";
    assert!(output.stderr.ends_with(last), "{}", output.stderr);
    assert!(output.stderr.len() > 1 << 19 && output.stderr.len() <= (1 << 20) + (1 << 16), "{}", output.stderr.len());
}

#[test]
fn open_other_database() {
    let yard = yard();
    let other = yard.path("yard.db").display().to_string();
    let output = attack(&yard, "open-other-database", &["--path", &other]);
    assert_eq!(output.code, 5, "{}", output.stderr);
    assert!(output.stderr.contains("the block's configuration does not name the database"), "{}", output.stderr);
}

#[test]
fn create_table_in_read() {
    let yard = yard();
    // An existing file is opened read-only.
    std::fs::write(yard.path("named.db"), "").expect("an empty database");
    let output = attack(&yard, "create-table-in-read", &[]);
    assert_eq!(output.code, 5, "{}", output.stderr);
    assert!(output.stderr.contains("the operation only reads"), "{}", output.stderr);
    assert_eq!(std::fs::read(yard.path("named.db")).expect("the file"), b"");
}

#[test]
fn insert_in_read() {
    let yard = yard();
    std::fs::write(yard.path("named.db"), "").expect("an empty database");
    let output = attack(&yard, "insert-in-read", &[]);
    assert_eq!(output.code, 7, "{}", output.stderr);
    let message = "bundle `misbehave` was stopped: a `read` operation tried to insert rows into a table";
    assert!(output.stderr.contains(message), "{}", output.stderr);
    assert_eq!(std::fs::read(yard.path("named.db")).expect("the file"), b"");
}

#[test]
fn use_secret_outside_audience() {
    let yard = yard();
    let output = attack(&yard, "use-secret-outside-audience", &[]);
    assert_eq!(output.code, 5, "{}", output.stderr);
    assert!(output.stderr.contains("the secret `/token` may not be used for databases"), "{}", output.stderr);
}

#[test]
fn log_secret() {
    let yard = yard();
    let output = attack(&yard, "log-secret", &[]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(
        output.stdout.contains("/password") && !output.stdout.contains("7431") && !output.stderr.contains("7431"),
        "{}{}",
        output.stdout,
        output.stderr
    );
    assert_eq!(yard.any_file_contains("token-secret-7431"), None);
}

#[test]
fn missing_grant_prevents_the_call() {
    let yard = yard();
    yard.ok(&["revoke", "misbehave", "clock"]);
    let output = attack(&yard, "nothing", &[]);
    assert_eq!(output.code, 5, "{}", output.stderr);
    assert!(output.stderr.contains("bundle `misbehave` needs `clock`, which is not granted"), "{}", output.stderr);
    assert!(output.stderr.contains("blockyard grant misbehave 'clock'"), "{}", output.stderr);
    yard.ok(&["grant", "misbehave", "clock"]);
    assert_eq!(attack(&yard, "nothing", &[]).code, 0);
}

#[test]
fn compiled_code_is_cached_in_a_private_folder() {
    use std::os::unix::fs::PermissionsExt as _;
    let yard = yard();
    let run = || {
        let mut command = yard.command(&["call", "misbehave/m", "nothing"]);
        blockyard_tests::run_command(command.env("XDG_CACHE_HOME", yard.path("cache")), None)
    };
    assert_eq!(run().code, 0);
    let folder = yard.path("cache/blockyard/compiled");
    assert_eq!(std::fs::metadata(&folder).expect("the cache").permissions().mode() & 0o777, 0o700);
    // Files in the cache that were modified are never trusted; the bundle is recompiled.
    let mut folders = vec![folder.clone()];
    let mut poisoned = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                std::fs::write(entry.path(), "poison").expect("written");
                poisoned += 1;
            }
        }
    }
    assert!(poisoned > 0, "the cache is empty");
    assert_eq!(run().code, 0);
    std::fs::remove_dir_all(&folder).expect("gone");
    assert_eq!(run().code, 0);
}

#[test]
fn return_error_of_host() {
    // Only the host can deny a capability, which has another exit code.
    let output = attack(&yard(), "return-error-of-host", &[]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("it was the host"), "{}", output.stderr);
}

/// Calls the host in random order: the host must not fail, and the next call must not be affected.
/// Runs for two seconds, or for the number of minutes in `BLOCKYARD_TEST_LONG`.
#[test]
#[allow(clippy::print_stdout, reason = "prints the number of sequences of a long run")]
fn call_at_random() {
    use std::time::{Duration, Instant};
    let yard = yard();
    let minutes: Option<f64> = std::env::var("BLOCKYARD_TEST_LONG").ok().and_then(|text| text.parse().ok());
    let end =
        Instant::now() + minutes.map_or(Duration::from_secs(2), |minutes| Duration::from_secs_f64(minutes * 60.0));
    // Each long run uses other sequences; each short run uses the same ones.
    let first = minutes.map_or(0, |_| u64::from(std::process::id()) << 20);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let key = blockyard::KeySource::File(yard.key_file());
        let opened = blockyard::Yard::open(&yard.url(), key).await.expect("the yard");
        let block = opened.block("misbehave/m").await.expect("the block");
        let (mut done, mut ended) = (0, std::collections::BTreeMap::<String, u32>::new());
        for seed in first.. {
            if Instant::now() > end {
                break;
            }
            let called = block.call("call-at-random", serde_json::json!({"seed": seed, "calls": 120})).await;
            match called {
                Ok(reply) => {
                    assert_eq!(reply.result, 120);
                    done += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), blockyard::ErrorKind::Bundle, "seed {seed}: {error:?}");
                    *ended.entry(error.to_string()).or_default() += 1;
                }
            }
        }
        println!("{done} sequences completed; errors of the others: {ended:#?}");
        assert!(done > 0, "{ended:#?}");
        assert_eq!(
            block.call("nothing", serde_json::json!({})).await.expect("an answer").result,
            serde_json::Value::Null
        );
        opened.close().await;
    });
    yard.ok(&["doctor"]);
}
