//! Events for `-v` and for a program's own subscriber: the block, the code, the destination and the
//! duration of calls, but never a value.

use std::io::Write;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use blockyard::{KeySource, Yard};
use blockyard_tests::{TestYard, available, bundle};
use serde_json::json;
use tracing_subscriber::fmt::format::FmtSpan;

/// Word in every value of these tests, which occurs nowhere else.
const CANARY: &str = "whinchat";

/// Checks whether a text contains the canary, in plaintext, base64 or hexadecimal digits.
fn leaks(text: &str) -> bool {
    let hex = hex::encode(CANARY);
    // At each offset, without the characters that depend on adjacent bytes.
    let encoded = (0..3usize).map(|offset| {
        let encoded = STANDARD_NO_PAD.encode([&vec![0; offset], CANARY.as_bytes()].concat());
        encoded[(offset * 4).div_ceil(3)..(offset + CANARY.len()) / 3 * 4].to_owned()
    });
    encoded.chain([CANARY.to_owned(), hex]).any(|form| text.contains(&form))
}

fn canary(of: &str) -> String {
    format!("{CANARY}-{of}")
}

/// Creates a yard with a keeper with a badge, a safe and a database.
fn yard() -> TestYard {
    let yard = TestYard::with_sqlite();
    yard.ok(&["install", &bundle("zoo"), &bundle("misbehave"), "--yes"]);
    yard.keeper("ada", &canary("badge"));
    yard.ok_with_input(&["create", "zoo-safe/s", "--secret", "content=-"], &canary("content"));
    yard.ok_with_input(&["create", "misbehave/m", "--secret", "password=-"], &canary("password"));
    yard.ok(&["execute", "sql-database/flights", "create table t (a text)"]);
    yard
}

/// Runs a command with this verbosity flag. Returns standard error.
fn trace_output(yard: &TestYard, verbose: &str, arguments: &[&str]) -> String {
    let arguments: Vec<&str> = [verbose].iter().chain(arguments).copied().collect();
    yard.run(&arguments).stderr
}

#[test]
fn trace_names_block_digest_and_outcome() {
    let yard = yard();
    let digest = yard.json(&["bundles"])["bundles"]
        .as_array()
        .expect("bundles")
        .iter()
        .find(|bundle| bundle["name"] == "sql")
        .and_then(|bundle| bundle["sha256"].as_str().map(str::to_owned))
        .expect("the digest");
    let output = trace_output(&yard, "-v", &["query", "sql-database/flights", "select 1 as one", "--format", "csv"]);
    let ended = output.lines().find(|line| line.ends_with(": ended")).unwrap_or_else(|| panic!("{output}"));
    for part in [
        "call{block=sql-database/flights revision=1 bundle=sql ",
        &format!("digest={digest} "),
        "operation=\"query\" effect=\"read\"",
        "outcome=\"ok\" bytes=",
        "elapsed_ms=",
    ] {
        assert!(ended.contains(part), "{part}: {ended}");
    }
    assert!(!ended.contains("bytes=0 "), "the stream has bytes: {ended}");
    // Host calls are nested in the span of the call.
    for part in ["call{block=sql-database/flights", "host-call{function=\"sql.open\" dialect=\"sqlite\" elapsed_ms="] {
        assert!(output.lines().any(|line| line.contains(part) && line.ends_with(": done")), "{part}: {output}");
    }
    assert!(!output.contains("into-arrow"), "{output}");
    let more =
        self::trace_output(&yard, "-vv", &["query", "sql-database/flights", "select 1 as one", "--format", "csv"]);
    assert!(more.contains("host-call{function=\"sql.rows.into-arrow\""), "{more}");
    // Without the flag, nothing is printed.
    assert_eq!(yard.run(&["query", "sql-database/flights", "select 1 as one"]).stderr, "");
}

#[test]
fn trace_of_a_failed_call_has_the_error_kind() {
    let yard = yard();
    let output = trace_output(&yard, "-v", &["call", "misbehave/m", "panic"]);
    assert!(output.lines().any(|line| line.contains("outcome=\"bundle\"") && line.ends_with(": ended")), "{output}");
    let output = self::trace_output(&yard, "-v", &["query", "sql-database/flights", "select nothing"]);
    assert!(output.contains("a host call failed code=\"invalid\""), "{output}");
}

#[test]
fn verbosity_flags_may_follow_the_operation() {
    let yard = yard();
    for flags in [&["-v"][..], &["--verbose"], &["-vv"]] {
        let arguments: Vec<&str> = ["call", "misbehave/m", "nothing"].iter().chain(flags).copied().collect();
        let result = yard.run(&arguments);
        assert_eq!((result.code, result.stdout.as_str()), (0, "null\n"), "{}", result.stderr);
        assert!(result.stderr.contains("call{block=misbehave/m revision=1"), "{flags:?}: {}", result.stderr);
    }
    let default_output = yard.run(&["call", "misbehave/m", "log-secret"]);
    assert!(default_output.stderr.contains("the password is"), "{}", default_output.stderr);
    for flag in ["-q", "--quiet"] {
        let result = yard.run(&["call", "misbehave/m", "log-secret", flag]);
        assert_eq!((result.code, result.stderr.as_str()), (0, ""), "{flag}");
    }
}

#[test]
fn traces_contain_no_values_at_any_verbosity() {
    let yard = yard();
    let statement = format!("select '{}' as word, :word as other, 'open' as open", canary("literal"));
    let wrong = format!("select '{}' from nowhere", canary("wrong"));
    let insert = format!("insert into t values ('{}')", canary("inserted"));
    let parameter = format!("word={}", canary("parameter"));
    let argument = format!(r#"{{"path": "/{}"}}"#, canary("argument"));
    let calls: [&[&str]; 8] = [
        &["query", "sql-database/flights", &statement, "--param", &parameter, "--out", "out.csv", "--format", "csv"],
        &["execute", "sql-database/flights", &insert],
        // SQLite and the guest repeat values in their errors, so these calls contain none.
        &["query", "sql-database/flights", "select 1 from nowhere"],
        &["call", "zoo-keeper/ada", "introduce"],
        &["call", "zoo-safe/s", "read", "--out", "content"],
        &["call", "misbehave/m", "log-secret"],
        &["call", "misbehave/m", "flood-log"],
        &["check", "sql-database/flights"],
    ];
    for verbose in ["-v", "-vv", "-vvv"] {
        for call in calls {
            let output = trace_output(&yard, verbose, call);
            assert!(output.contains(": ended"), "{verbose} {call:?}: {output}");
            assert!(!leaks(&output), "{verbose} {call:?}: {output}");
        }
        // An error is printed once; the lines of the trace do not repeat it.
        for call in [
            &["query", "sql-database/flights", wrong.as_str()][..],
            &["call", "misbehave/m", "open-other-database", "--args", &argument],
        ] {
            let output = trace_output(&yard, verbose, call);
            let (trace, _) = output.split_once("error:").unwrap_or_else(|| panic!("{output}"));
            assert!(trace.contains(": ended") && !leaks(trace), "{verbose} {call:?}: {trace}");
        }
    }
    assert!(leaks(&std::fs::read_to_string(yard.path("content")).expect("the file")), "the canary must be detected");
}

/// Output of a subscriber.
#[derive(Clone, Default)]
struct RecordedEvents(Arc<Mutex<Vec<u8>>>);

impl Write for RecordedEvents {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nothing panics while it holds this lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn library_events_contain_no_values() {
    let yard = yard();
    let recorded = RecordedEvents::default();
    let writer = recorded.clone();
    // Installed for the whole process, because it must cover tasks and threads of libraries.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let key = KeySource::File(yard.key_file());
    let open = Yard::open(&yard.url(), key).await.expect("the yard opens");
    let statement = format!("select '{}' as word, :word as other", canary("literal"));
    let mut blocks = vec!["sql-database/flights"];
    if available("BLOCKYARD_TEST_POSTGRES_PORT") {
        let port = format!("port={}", std::env::var("BLOCKYARD_TEST_POSTGRES_PORT").expect("the port"));
        let flags = ["--set", "dialect=postgres", "--set", "host=127.0.0.1", "--set", "username=postgres"];
        let server = ["--set", &port, "--set", "database=postgres", "--secret", "password=-"];
        for (address, password) in [
            ("sql-database/pg", std::env::var("BLOCKYARD_TEST_POSTGRES_PASSWORD").expect("the password")),
            ("sql-database/refused", canary("password")),
        ] {
            let arguments: Vec<&str> = ["create", address].into_iter().chain(flags).chain(server).collect();
            yard.ok_with_input(&arguments, &password);
            blocks.push(address);
        }
    }
    if available("BLOCKYARD_TEST_MARIADB_PORT") {
        let port = format!("port={}", std::env::var("BLOCKYARD_TEST_MARIADB_PORT").expect("the port"));
        let flags = ["--set", "dialect=mysql", "--set", "host=127.0.0.1", "--set", "username=blockyard"];
        let server = ["--set", &port, "--set", "database=information_schema", "--secret", "password=-"];
        let arguments: Vec<&str> = ["create", "sql-database/my"].into_iter().chain(flags).chain(server).collect();
        yard.ok_with_input(&arguments, &std::env::var("BLOCKYARD_TEST_MARIADB_PASSWORD").expect("the password"));
        blocks.push("sql-database/my");
    }
    for address in blocks {
        let block = open.block(address).await.expect("the block");
        let parameters = json!({ "statement": statement, "parameters": {"word": canary("parameter")} });
        let fetched = block.call("fetch-one", parameters).await;
        assert_eq!(fetched.is_ok(), address != "sql-database/refused", "{fetched:?}");
        if let Ok(reply) = fetched {
            assert!(leaks(&reply.result.to_string()), "the canary must be detected");
        }
    }
    let safe = open.block("zoo-safe/s").await.expect("the block");
    // A program may call blocks in separate tasks.
    let read = tokio::spawn(async move { safe.call("read", json!({})).await.map(drop) });
    read.await.expect("the task").expect("the content");
    open.close().await;
    let recorded =
        String::from_utf8_lossy(&recorded.0.lock().expect("nothing panics while it holds this lock")).into_owned();
    assert!(recorded.contains("call{block=sql-database/flights"), "no events were recorded");
    assert!(
        recorded.contains("operation=\"read\" effect=\"read\" outcome=\"ok\" bytes=0"),
        "missing event of an unread stream: {recorded}"
    );
    let password = std::env::var("BLOCKYARD_TEST_POSTGRES_PASSWORD").unwrap_or_else(|_| CANARY.to_owned());
    let other = std::env::var("BLOCKYARD_TEST_MARIADB_PASSWORD").unwrap_or_else(|_| CANARY.to_owned());
    let leak = recorded.lines().find(|line| leaks(line) || line.contains(&password) || line.contains(&other));
    assert_eq!(leak, None);
}
