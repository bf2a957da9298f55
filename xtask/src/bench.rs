//! `cargo xtask bench`: what Blockyard costs, against references that are measured in the same run.
//! It writes `target/bench/results.md` and `results.json`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::postgres::{PASSWORD, Postgres};
use crate::setup::{self, Need};
use crate::{Result, run};

/// Prefect, whose blocks are the reference (https://pypi.org/project/prefect/).
const PREFECT: &str = "prefect==3.9.1";
/// Processes whose start is measured.
const STARTS: usize = 40;
/// Blocks of a small and of a large yard.
const FEW: u64 = 1_000;
const MANY: u64 = 1_000_000;

/// A row of the table. Times are in seconds.
struct Row {
    number: &'static str,
    what: String,
    ours: f64,
    /// What it is compared with, and that figure.
    reference: Option<(String, f64)>,
    /// What is to be reached, in words, and whether it was.
    reach: &'static str,
    reached: Option<bool>,
}

pub(crate) fn run_all() -> Result {
    setup::toolchain()?;
    let missing = setup::programs(&[Need { program: "sqlite3", package: "sqlite3" }]);
    if !missing.is_empty() {
        return Err("a large yard is made with sqlite3, which is not there".to_owned());
    }
    let (binary, program) = setup::release()?;
    setup::binary()?;
    let bundles = setup::bundles()?;
    let zoo = bundles.iter().find(|(name, _)| *name == "zoo").map(|(_, file)| file).ok_or("there is no bundle zoo")?;

    let folder = tempfile::Builder::new().prefix("blockyard-bench-").tempdir().map_err(|error| error.to_string())?;
    let yard = Bench { binary, program, folder: folder.path().to_owned() };
    let mut rows = Vec::new();
    let prefect = prefect();
    let reference = |key: &str| match &prefect {
        Ok(measured) => percentile(&numbers(&measured[key]), 50),
        Err(_) => None,
    };

    println!("bench: a yard in SQLite with {FEW} blocks");
    let sqlite = format!("sqlite:{}", yard.folder.join("yard.db").display());
    yard.make(&sqlite, zoo)?;
    yard.fill(FEW)?;
    let small = yard.measure(&sqlite)?;
    let figure = |measured: &serde_json::Value, key: &str, percent: usize| {
        percentile(&numbers(&measured[key]), percent).ok_or_else(|| format!("`{key}` was not measured"))
    };
    for (key, what) in [("open_plain", "with a secret"), ("open_built", "that builds on two others, three secrets")] {
        for percent in [50, 99] {
            let ours = figure(&small, key, percent)?;
            let reached = (percent == 50 && key == "open_plain").then_some(ours <= 100e-6);
            rows.push(Row {
                number: "P1",
                what: format!("open a block {what}, p{percent}"),
                ours,
                reference: reference("load_seconds")
                    .filter(|_| percent == 50)
                    .map(|time| ("Prefect, Secret.load p50".to_owned(), time)),
                reach: "p50 ≤ 100 µs",
                reached,
            });
        }
    }
    for percent in [50, 99] {
        let ours = figure(&small, "save", percent)?;
        rows.push(Row {
            number: "P2",
            what: format!("save a revision, durable, p{percent}"),
            ours,
            reference: reference("save_seconds")
                .filter(|_| percent == 50)
                .map(|time| ("Prefect, save(overwrite) p50".to_owned(), time)),
            reach: "p50 ≤ 2 ms",
            reached: (percent == 50).then_some(ours <= 2e-3),
        });
    }
    let sync = fsync(&yard.folder)?;
    rows.push(Row {
        number: "P2",
        what: "this disk: write 4 KiB and fdatasync, p50".to_owned(),
        ours: sync,
        reference: None,
        reach: "the floor of a durable save",
        reached: None,
    });
    println!("bench: blockyard show, as a process");
    let start = percentile(&yard.starts(&sqlite)?, 50).ok_or("no process was measured")?;
    rows.push(Row {
        number: "P4",
        what: "blockyard show, as a process, p50".to_owned(),
        ours: start,
        reference: reference("inspect_seconds").map(|time| ("prefect block inspect p50".to_owned(), time)),
        reach: "≤ 15 ms",
        reached: Some(start <= 15e-3),
    });
    println!("bench: the same yard with {MANY} blocks");
    yard.fill(MANY)?;
    let large = yard.measure(&sqlite)?;
    for (key, what) in [("open_plain", "open a block"), ("list", "first page of a type's list")] {
        let (before, after) = (figure(&small, key, 50)?, figure(&large, key, 50)?);
        rows.push(Row {
            number: "P7",
            what: format!("{what} among {MANY} blocks, p50"),
            ours: after,
            reference: Some((format!("among {FEW}"), before)),
            reach: "≤ 1.5 times",
            reached: Some(after <= 1.5 * before),
        });
    }
    postgres(&yard, zoo, &mut rows)?;
    write(&rows, prefect.err().as_deref())
}

/// The same on a server with its own durability on.
fn postgres(yard: &Bench, zoo: &Path, rows: &mut Vec<Row>) -> Result {
    let needs =
        [Need { program: "initdb", package: "postgresql" }, Need { program: "psql", package: "postgresql-client" }];
    if !setup::programs(&needs).is_empty() {
        println!("bench: SKIPPED PostgreSQL, which is not there");
        return Ok(());
    }
    println!("bench: a yard in PostgreSQL");
    let server = Postgres::durable()?;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
    yard.make(&url, zoo)?;
    let measured = yard.measure(&url)?;
    for (number, key, what) in [
        ("P1", "open_plain", "PostgreSQL on this machine: open a block with a secret, p50"),
        ("P1", "open_built", "PostgreSQL on this machine: open a block that builds on two others, p50"),
        ("P2", "save", "PostgreSQL on this machine: save a revision, durable, p50"),
    ] {
        let ours = percentile(&numbers(&measured[key]), 50).ok_or("it was not measured")?;
        rows.push(Row { number, what: what.to_owned(), ours, reference: None, reach: "", reached: None });
    }
    Ok(())
}

struct Bench {
    binary: PathBuf,
    program: PathBuf,
    folder: PathBuf,
}

impl Bench {
    fn command(&self, program: &Path, url: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("BLOCKYARD_YARD", url)
            // 32 bytes that mean nothing.
            .env("BLOCKYARD_KEY", "YmxvY2t5YXJkIGZpeHR1cmUga2V5LCAzMiBieXRlcyE=")
            .env("PGPASSWORD", PASSWORD)
            .env("HOME", &self.folder)
            .env("XDG_CACHE_HOME", self.folder.join("cache"));
        command
    }

    fn make(&self, url: &str, zoo: &Path) -> Result {
        run(self.command(&self.binary, url).args(["init", "--key", "env", "--quiet"]))?;
        run(self.command(&self.binary, url).args(["install", "--yes", "--quiet"]).arg(zoo).stdout(Stdio::null()))?;
        run(self.command(&self.program, url).args(["make", url]))
    }

    fn measure(&self, url: &str) -> Result<serde_json::Value> {
        json(self.command(&self.program, url).args(["measure", url]))
    }

    /// Blocks beside the measured ones, straight into the yard's file: copies under other names. They
    /// would not open, and nobody does.
    fn fill(&self, blocks: u64) -> Result {
        let sql = format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
             CREATE TEMP TABLE fill AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {blocks})
                 SELECT i, 'f' || i || '-' || (i * 7919 % 1000003) AS name FROM n;
             INSERT OR IGNORE INTO blocks (type, name, newest, data_key, key_id, created_at)
                 SELECT b.type, f.name, 1, b.data_key, b.key_id, b.created_at FROM fill f, blocks b WHERE b.name = 'plain';
             INSERT OR IGNORE INTO revisions (block, revision, bundle, checksum, config, seal, author, created_at)
                 SELECT b.id, 1, r.bundle, r.checksum, r.config, r.seal, r.author, r.created_at
                 FROM fill f JOIN blocks b ON b.type = 'zoo-cage' AND b.name = f.name,
                      (SELECT r.* FROM revisions r JOIN blocks p ON p.id = r.block WHERE p.name = 'plain' AND r.revision = 1) r;
             PRAGMA wal_checkpoint(TRUNCATE);"
        );
        run(Command::new("sqlite3").arg(self.folder.join("yard.db")).arg(sql).stdout(Stdio::null()))
    }

    fn starts(&self, url: &str) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for start in 0..STARTS + 3 {
            let begun = Instant::now();
            run(self.command(&self.binary, url).args(["show", "zoo-cage/plain"]).stdout(Stdio::null()))?;
            if start >= 3 {
                times.push(begun.elapsed().as_secs_f64());
            }
        }
        Ok(times)
    }
}

/// What a durable write costs here at the least.
fn fsync(folder: &Path) -> Result<f64> {
    use std::io::Write as _;
    let text = |error: std::io::Error| error.to_string();
    let mut file = std::fs::File::create(folder.join("fsync")).map_err(text)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        file.write_all(&[7; 4096]).map_err(text)?;
        file.sync_data().map_err(text)?;
        times.push(begun.elapsed().as_secs_f64());
    }
    percentile(&times, 50).ok_or_else(|| "nothing was measured".to_owned())
}

/// Prefect's own figures, in an environment of its own.
fn prefect() -> Result<serde_json::Value> {
    println!("bench: Prefect, as the reference");
    let environment = setup::target().join("bench/prefect");
    let python = environment.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", PREFECT]))?;
    }
    let script = setup::root().join("xtask/reference/prefect.py");
    json(Command::new(&python).arg(script).args(["--blocks", "200", "--saves", "100", "--inspects", "5"]))
}

fn json(command: &mut Command) -> Result<serde_json::Value> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{command:?} failed ({})", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

fn numbers(list: &serde_json::Value) -> Vec<f64> {
    list.as_array().into_iter().flatten().filter_map(serde_json::Value::as_f64).collect()
}

fn percentile(times: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() * percent / 100).min(sorted.len().checked_sub(1)?)).copied()
}

fn write(rows: &[Row], no_reference: Option<&str>) -> Result {
    let mut table =
        "| # | what | ours | reference | times | reach | reached |\n|---|---|---|---|---|---|---|\n".to_owned();
    let mut documents = Vec::new();
    for Row { number, what, ours, reference, reach, reached } in rows {
        let compared = reference.as_ref().map_or("".to_owned(), |(name, time)| format!("{}: {name}", shown(*time)));
        let times = reference.as_ref().map_or("".to_owned(), |(_, time)| {
            if time > ours { format!("{:.0} faster", time / ours) } else { format!("{:.2}", ours / time) }
        });
        let word = match reached {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        table
            .push_str(&format!("| {number} | {what} | {} | {compared} | {times} | {reach} | {word} |\n", shown(*ours)));
        documents.push(serde_json::json!({
            "number": number, "what": what, "seconds": ours, "reached": reached, "reach": reach,
            "reference": reference.as_ref().map(|(name, time)| serde_json::json!({ "name": name, "seconds": time })),
        }));
    }
    if let Some(reason) = no_reference {
        table.push_str(&format!("\nPrefect was not measured: {reason}\n"));
    }
    let folder = setup::target().join("bench");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let document = serde_json::json!({ "rows": documents, "reference_missing": no_reference });
    std::fs::write(folder.join("results.json"), format!("{document:#}\n")).map_err(|error| error.to_string())?;
    std::fs::write(folder.join("results.md"), &table).map_err(|error| error.to_string())?;
    println!("{table}");
    println!("written to {}", folder.join("results.md").display());
    Ok(())
}

fn shown(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}
