//! P1, P2, P4 and P7: yards in SQLite and PostgreSQL, compared with the blocks of Prefect
//! (<https://pypi.org/project/prefect/>).

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::table::{Row, Unit};
use super::{Bench, json, numbers, percentile, venv};
use crate::postgres::Postgres;
use crate::setup::{self, Need};
use crate::{Result, run};

const PREFECT: &str = "prefect==3.9.1";
/// Number of processes whose run time is measured.
const STARTS: usize = 40;
/// Numbers of blocks in a small and in a large yard.
const FEW: u64 = 1_000;
const MANY: u64 = 1_000_000;

/// Measures opening, saving and listing in an SQLite yard.
pub(super) fn measure(bench: &Bench, rows: &mut Vec<Row>, missing: &mut Vec<String>) -> Result {
    let prefect = prefect();
    if let Err(reason) = &prefect {
        missing.push(format!("Prefect: {reason}"));
    }
    let reference = |key: &str, name: &str| {
        let time = prefect.as_ref().ok().and_then(|measured| percentile(&numbers(&measured[key]), 50))?;
        Some((format!("Prefect, {name} p50"), time))
    };
    println!("bench: a yard in SQLite with {FEW} blocks");
    let sqlite = bench.sqlite("yard.db");
    bench.make(&sqlite, &["zoo"])?;
    run(bench.command(&bench.program, &sqlite).args(["make", &sqlite]))?;
    fill(bench, FEW)?;
    let small = json(bench.command(&bench.program, &sqlite).args(["measure", &sqlite]))?;
    for (key, what) in [("open_plain", "with a secret"), ("open_built", "with two dependencies, three secrets")] {
        for percent in [50, 99] {
            let ours = figure(&small, key, percent)?;
            let reached = (percent == 50 && key == "open_plain").then_some(ours <= 100e-6);
            let reference = reference("load_seconds", "Secret.load").filter(|_| percent == 50);
            rows.push(row("P1", format!("open a block {what}, p{percent}"), ours, reference, "p50 ≤ 100 µs", reached));
        }
    }
    for percent in [50, 99] {
        let ours = figure(&small, "save", percent)?;
        let reached = (percent == 50).then_some(ours <= 2e-3);
        let reference = reference("save_seconds", "save(overwrite)").filter(|_| percent == 50);
        rows.push(row("P2", format!("save a revision, durable, p{percent}"), ours, reference, "p50 ≤ 2 ms", reached));
    }
    let sync = fsync(&bench.folder)?;
    let floor = "lower bound of a durable save";
    rows.push(row("P2", "this disk: write 4 KiB and fdatasync, p50".to_owned(), sync, None, floor, None));
    println!("bench: `blockyard show`, as a process");
    let start = percentile(&starts(bench, &sqlite)?, 50).ok_or("no process was measured")?;
    let inspect = reference("inspect_seconds", "prefect block inspect");
    rows.push(row(
        "P4",
        "`blockyard show`, as a process, p50".to_owned(),
        start,
        inspect,
        "≤ 15 ms",
        Some(start <= 15e-3),
    ));
    println!("bench: the same yard with {MANY} blocks");
    fill(bench, MANY)?;
    let large = json(bench.command(&bench.program, &sqlite).args(["measure", &sqlite]))?;
    for (key, what) in [("open_plain", "open a block"), ("list", "list the first page of a type")] {
        let (before, after) = (figure(&small, key, 50)?, figure(&large, key, 50)?);
        let what = format!("{what} among {MANY} blocks, p50");
        let reference = Some((format!("among {FEW}"), before));
        rows.push(row("P7", what, after, reference, "≤ 1.5 times", Some(after <= 1.5 * before)));
    }
    Ok(())
}

/// Measures opening and saving on a PostgreSQL server with durability enabled.
pub(super) fn on_postgres(bench: &Bench, server: &Postgres, rows: &mut Vec<Row>) -> Result {
    println!("bench: a yard in PostgreSQL");
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
    bench.make(&url, &["zoo"])?;
    run(bench.command(&bench.program, &url).args(["make", &url]))?;
    let measured = json(bench.command(&bench.program, &url).args(["measure", &url]))?;
    for (number, key, what) in [
        ("P1", "open_plain", "open a block with a secret, p50"),
        ("P1", "open_built", "open a block with two dependencies, p50"),
        ("P2", "save", "save a revision, durable, p50"),
    ] {
        let what = format!("PostgreSQL on this machine: {what}");
        rows.push(row(number, what, figure(&measured, key, 50)?, None, "", None));
    }
    Ok(())
}

fn row(
    number: &'static str,
    what: String,
    ours: f64,
    reference: Option<(String, f64)>,
    reach: &'static str,
    reached: Option<bool>,
) -> Row {
    Row { number, what, unit: Unit::Seconds, ours, reference, reach, reached }
}

fn figure(measured: &Value, key: &str, percent: usize) -> Result<f64> {
    percentile(&numbers(&measured[key]), percent).ok_or_else(|| format!("`{key}` was not measured"))
}

/// Inserts additional blocks directly into the yard's database: copies under other names. They
/// cannot be decrypted, but are never opened.
fn fill(bench: &Bench, blocks: u64) -> Result {
    setup::need(&Need { program: "sqlite3", package: "sqlite3" })?;
    let sql = format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
         CREATE TEMP TABLE fill AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {blocks})
             SELECT i, 'f' || i || '-' || (i * 7919 % 1000003) AS name FROM n;
         DELETE FROM fill WHERE EXISTS (SELECT 1 FROM blocks b WHERE b.type = 'zoo-cage' AND b.name = fill.name);
         INSERT INTO blocks (type, name, newest, data_key, key_id, created_at)
             SELECT b.type, f.name, 1, b.data_key, b.key_id, b.created_at FROM fill f, blocks b WHERE b.name = 'plain';
         INSERT INTO revisions (block, revision, bundle, checksum, config, seal, author, created_at)
             SELECT b.id, 1, r.bundle, r.checksum, r.config, r.seal, r.author, r.created_at
             FROM fill f JOIN blocks b ON b.type = 'zoo-cage' AND b.name = f.name,
                  (SELECT r.* FROM revisions r JOIN blocks p ON p.id = r.block WHERE p.name = 'plain' AND r.revision = 1) r;
         PRAGMA wal_checkpoint(TRUNCATE);"
    );
    run(Command::new("sqlite3").arg(bench.folder.join("yard.db")).arg(sql).stdout(Stdio::null()))
}

fn starts(bench: &Bench, url: &str) -> Result<Vec<f64>> {
    super::starts(STARTS, || {
        let mut command = bench.command(&bench.binary, url);
        command.args(["show", "zoo-cage/plain"]);
        command
    })
}

/// Returns the minimum duration of a durable write on this disk.
fn fsync(folder: &Path) -> Result<f64> {
    use std::io::Write as _;
    let text = |error: std::io::Error| error.to_string();
    let mut file = std::fs::File::create(folder.join("fsync")).map_err(text)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        file.write_all(&[7; 4096]).map_err(text)?;
        file.sync_data().map_err(text)?;
        times.push(started.elapsed().as_secs_f64());
    }
    percentile(&times, 50).ok_or_else(|| "nothing was measured".to_owned())
}

/// Measures Prefect.
fn prefect() -> Result<Value> {
    println!("bench: Prefect, as the reference");
    let python = venv("prefect", &[PREFECT])?;
    let script = setup::root().join("xtask/reference/prefect.py");
    json(Command::new(python).arg(script).args(["--blocks", "200", "--saves", "100", "--inspects", "5"]))
}
