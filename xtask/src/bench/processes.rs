//! P11, P12 and P13: the binary, and commands as processes, which is how scripts use Blockyard.

use std::path::Path;

use super::table::{Row, Unit};
use super::{Bench, percentile, starts};
use crate::setup::{self, Need};
use crate::{Result, run};

/// Number of processes whose run time is measured.
const STARTS: usize = 40;
/// Targets for the size of the binary in bytes, and for the time of `--version` in seconds.
const BINARY: f64 = 45e6;
const VERSION: f64 = 3e-3;
/// A statement with a result of one row.
const STATEMENT: &str = "SELECT 1 AS one";

/// Measures the binary.
pub(super) fn binary(bench: &Bench, rows: &mut Vec<Row>) -> Result {
    println!("bench: the binary");
    let size = std::fs::metadata(&bench.binary).map_err(|error| error.to_string())?.len();
    rows.push(row("P12", "size of the binary".to_owned(), Unit::Bytes, size as f64, None, "≤ 45 MB", BINARY));
    let version = start(bench, &bench.binary, "", &["--version"])?;
    rows.push(row("P12", "`blockyard --version`, p50".to_owned(), Unit::Seconds, version, None, "≤ 3 ms", VERSION));
    Ok(())
}

/// Measures a process that calls an operation, and one that queries a database.
pub(super) fn commands(bench: &Bench, rows: &mut Vec<Row>, missing: &mut Vec<String>) -> Result {
    println!("bench: a process that makes one call");
    let url = bench.sqlite("processes.db");
    bench.make(&url, &["bench", "sql"])?;
    let compiled = bench.folder.join("bench.cwasm");
    run(bench.command(&bench.program, &url).arg("precompile").arg(bench.bundle("bench")?).arg(&compiled))?;
    bench.create(&url, &["bench/b", "--set", "note=none"])?;
    let call = start(bench, &bench.binary, &url, &["call", "bench/b", "nothing"])?;
    let bare = start(bench, &bench.program, &url, &["bare", &compiled.display().to_string()])?;
    rows.push(row(
        "P11",
        "`blockyard call` of a no-op operation, as a process, p50".to_owned(),
        Unit::Seconds,
        call,
        Some(("wasmtime alone with the precompiled component, p50".to_owned(), bare)),
        "≤ 30 ms, and ≤ 3 times",
        30e-3_f64.min(3.0 * bare),
    ));

    println!("bench: a process that queries SQLite");
    bench.create(&url, &["sql-database/memory", "--set", "dialect=sqlite", "--set", "database=:memory:"])?;
    let query = start(bench, &bench.binary, &url, &["query", "sql-database/memory", STATEMENT])?;
    let reference = if setup::programs(&[Need { program: "sqlite3", package: "sqlite3" }]).is_empty() {
        let shell = start(bench, Path::new("sqlite3"), &url, &[":memory:", STATEMENT])?;
        Some(("`sqlite3` with the same statement, p50".to_owned(), shell))
    } else {
        missing.push("The SQLite shell is not installed".to_owned());
        None
    };
    rows.push(row(
        "P13",
        "`blockyard query` of one row of SQLite, as a process, p50".to_owned(),
        Unit::Seconds,
        query,
        reference,
        "≤ 25 ms, and ≤ 1.5 times P11",
        25e-3_f64.min(1.5 * call),
    ));
    Ok(())
}

/// Returns the median run time of a process in seconds.
fn start(bench: &Bench, program: &Path, url: &str, words: &[&str]) -> Result<f64> {
    let times = starts(STARTS, || {
        let mut command = bench.command(program, url);
        command.args(words);
        command
    })?;
    percentile(&times, 50).ok_or_else(|| "no process was measured".to_owned())
}

/// Returns a row whose figure must be at most `target`.
fn row(
    number: &'static str,
    what: String,
    unit: Unit,
    ours: f64,
    reference: Option<(String, f64)>,
    reach: &'static str,
    target: f64,
) -> Row {
    Row { number, what, unit, ours, reference, reach, reached: Some(ours <= target) }
}
