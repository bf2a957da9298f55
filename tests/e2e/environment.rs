//! The environment of the person or machine that runs the tests does not affect their results.

use std::process::Command;

use blockyard_tests::{TestYard, run_command};

/// File that [`outputs_in_this_environment`] writes to.
const REPORT: &str = "BLOCKYARD_TEST_REPORT";

/// Settings that would change the language, the layout, the time zone, the connections or the
/// configuration of a program that inherits them.
const HOSTILE: [(&str, &str); 23] = [
    ("HOME", "/nonexistent"),
    ("LANG", "de_DE.UTF-8"),
    ("LC_ALL", "tr_TR.UTF-8"),
    ("LANGUAGE", "de"),
    ("TZ", "Asia/Kathmandu"),
    ("COLUMNS", "20"),
    ("LINES", "5"),
    ("TERM", "xterm-256color"),
    ("CLICOLOR_FORCE", "1"),
    ("RUST_LOG", "trace"),
    ("RUST_BACKTRACE", "full"),
    ("PGHOST", "db.invalid"),
    ("PGSSLMODE", "verify-full"),
    ("PGOPTIONS", "-c search_path=elsewhere"),
    ("HTTP_PROXY", "http://127.0.0.1:1"),
    ("HTTPS_PROXY", "http://127.0.0.1:1"),
    ("ALL_PROXY", "socks5://127.0.0.1:1"),
    ("SSL_CERT_FILE", "/nonexistent"),
    ("XDG_CONFIG_HOME", "/nonexistent/config"),
    ("XDG_DATA_HOME", "/nonexistent/data"),
    ("BLOCKYARD_JSON", "1"),
    ("BLOCKYARD_CONFIG", "/nonexistent/config.toml"),
    ("BLOCKYARD_OTLP", "http://127.0.0.1:1"),
];

/// SQL expression that depends on the time zone of the process, and has no digits.
const LOCAL_TIME: &str = "replace(time(0, 'unixepoch', 'localtime'), '00:00:00', 'midnight')";

/// Runs commands through the harness and returns their exit codes and all their outputs, without what
/// differs between two runs in the same environment.
fn outputs() -> String {
    let yard = TestYard::with_sqlite();
    // Listed separately, because the digits of the outputs are masked.
    let mut codes = Vec::new();
    let mut outputs = String::new();
    for arguments in [
        &["--help"][..],
        &["create", "--help"],
        &["list"],
        &["list", "--json"],
        &["history", "sql-database/flights"],
        &["show", "sql-database/flights"],
        &["query", "sql-database/flights", &format!("select {LOCAL_TIME} as midnight, 'ä' as text")],
        &["show", "sql-database/missing"],
        &["set", "sql-database/flights", "--set", "dialect=nonsense"],
    ] {
        let ran = yard.run(arguments);
        codes.push(ran.code);
        outputs.push_str(&format!("{arguments:?}\n{}{}", ran.stdout, ran.stderr));
    }
    format!("{codes:?}\n{}", without_times(&yard.without_locations(&outputs)))
}

/// Replaces each number by `0`, and each sequence of a character that is not a letter by one: times
/// differ in their digits and in the number of their decimals, and with them the width of a table.
fn without_times(text: &str) -> String {
    let mut masked = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_digit() { '0' } else { c };
        if c.is_alphabetic() || !masked.ends_with(c) {
            masked.push(c);
        }
    }
    masked.replace(":0.0", ":0")
}

/// Returns the names of the variables that a program of the harness receives.
fn names() -> String {
    let environment = run_command(&mut TestYard::empty().program("env"), None).stdout;
    let mut names: Vec<&str> =
        environment.lines().filter_map(|line| line.split_once('=').map(|(name, _)| name)).collect();
    names.sort_unstable();
    names.join(" ")
}

#[test]
fn hostile_environment_does_not_change_output() {
    let folder = TestYard::empty();
    let report = folder.path("report");
    // This test program, with the same commands, in the hostile environment.
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["environment::outputs_in_this_environment", "--exact", "--ignored"])
        .envs(HOSTILE)
        .env(REPORT, &report)
        .output()
        .expect("it runs");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let hostile = std::fs::read_to_string(report).expect("the report");
    assert_eq!(hostile, format!("{}\n{}", names(), outputs()));
}

#[test]
#[ignore = "run by `hostile_environment_does_not_change_output`, in another environment"]
fn outputs_in_this_environment() {
    let Some(report) = std::env::var_os(REPORT) else { return };
    std::fs::write(report, format!("{}\n{}", names(), outputs())).expect("a file");
}
