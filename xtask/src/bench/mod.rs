//! `cargo xtask bench [P3 P6 …]`: measures Blockyard against references in the same run. Writes
//! `target/bench/results.md` and `results.json`. Other load on the machine affects all figures, so
//! runs of a reference and of Blockyard alternate.

mod processes;
mod rows;
mod sandbox;
mod table;
mod transfer;
mod yards;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::postgres::{PASSWORD, Postgres};
use crate::setup::{self, Need};
use crate::{Result, run};

/// Number of process starts that are not counted.
const WARM_STARTS: usize = 3;

/// Runs all benchmarks, or the groups that contain the given numbers.
pub(crate) fn measure(numbers: &[String]) -> Result {
    let known = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "P11", "P12", "P13"];
    if let Some(unknown) = numbers.iter().find(|number| !known.contains(&number.as_str())) {
        return Err(format!("unknown benchmark `{unknown}`; expected one of {}", known.join(", ")));
    }
    let wanted = |own: &[&str]| numbers.is_empty() || own.iter().any(|own| numbers.iter().any(|number| number == own));
    setup::toolchain()?;
    let (binary, program) = setup::optimized()?;
    setup::binary()?;
    let mut bundles = setup::bundles()?;
    bundles.push(("bench".to_owned(), setup::bundle("bench", "bench/guest")?));
    let folder = tempfile::Builder::new().prefix("blockyard-bench-").tempdir().map_err(|error| error.to_string())?;
    let bench = Bench { binary, program, bundles, folder: folder.path().to_owned() };
    let (mut rows, mut missing) = (Vec::new(), Vec::new());

    let needs =
        [Need { program: "initdb", package: "postgresql" }, Need { program: "psql", package: "postgresql-client" }];
    let postgres = if !wanted(&["P1", "P2", "P6"]) {
        None
    } else if setup::programs(&needs).is_empty() {
        Some(Postgres::durable()?)
    } else {
        missing.push("PostgreSQL is not installed".to_owned());
        None
    };
    if wanted(&["P1", "P2", "P4", "P7"]) {
        yards::measure(&bench, &mut rows, &mut missing)?;
        if let Some(server) = &postgres {
            yards::on_postgres(&bench, server, &mut rows)?;
        }
    }
    if wanted(&["P12"]) {
        processes::binary(&bench, &mut rows)?;
    }
    if wanted(&["P3", "P8", "P9", "P10"]) {
        sandbox::measure(&bench, &mut rows)?;
    }
    if wanted(&["P11", "P13"]) {
        processes::commands(&bench, &mut rows, &mut missing)?;
    }
    if wanted(&["P5"]) {
        transfer::measure(&bench, &mut rows, &mut missing)?;
    }
    if wanted(&["P6"]) {
        self::rows::measure(&bench, postgres.as_ref(), &mut rows, &mut missing)?;
    }
    table::write(&rows, &missing)
}

/// Programs, bundles and files of a benchmark run.
struct Bench {
    binary: PathBuf,
    program: PathBuf,
    bundles: Vec<(String, PathBuf)>,
    folder: PathBuf,
}

impl Bench {
    fn command(&self, program: &Path, url: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("BLOCKYARD_YARD", url)
            // 32 arbitrary bytes.
            .env("BLOCKYARD_KEY", "YmxvY2t5YXJkIGZpeHR1cmUga2V5LCAzMiBieXRlcyE=")
            .env("PGPASSWORD", PASSWORD)
            .env("HOME", &self.folder)
            .env("XDG_CACHE_HOME", self.folder.join("cache"));
        command
    }

    fn sqlite(&self, file: &str) -> String {
        format!("sqlite:{}", self.folder.join(file).display())
    }

    fn bundle(&self, name: &str) -> Result<&Path> {
        let found = self.bundles.iter().find(|(known, _)| *known == name);
        found.map(|(_, file)| file.as_path()).ok_or_else(|| format!("unknown bundle `{name}`"))
    }

    /// Creates a yard with bundles.
    fn make(&self, url: &str, bundles: &[&str]) -> Result {
        run(self.command(&self.binary, url).args(["init", "--key", "env", "--quiet"]).stdout(Stdio::null()))?;
        let mut install = self.command(&self.binary, url);
        install.args(["install", "--yes", "--quiet"]).stdout(Stdio::null());
        for name in bundles {
            install.arg(self.bundle(name)?);
        }
        run(&mut install)
    }

    /// Creates a block.
    fn create(&self, url: &str, words: &[&str]) -> Result {
        let mut command = self.command(&self.binary, url);
        run(command.args(["create", "--quiet"]).args(words).stdout(Stdio::null()))
    }
}

/// Measures the run time of a process, `count` times.
fn starts(count: usize, command: impl Fn() -> Command) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for start in 0..count + WARM_STARTS {
        let started = Instant::now();
        run(command().stdout(Stdio::null()))?;
        if start >= WARM_STARTS {
            times.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(times)
}

/// Returns the Python interpreter of a virtual environment with the given packages, creating it if
/// necessary.
fn venv(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let environment = setup::target().join("bench").join(name);
    let python = environment.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let installed = run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages));
        if let Err(reason) = installed {
            // An incomplete environment would be mistaken for a complete one.
            let _ = std::fs::remove_dir_all(&environment);
            return Err(reason);
        }
    }
    Ok(python)
}

fn json(command: &mut Command) -> Result<Value> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{command:?} failed ({})", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

fn percentile(times: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() * percent / 100).min(sorted.len().checked_sub(1)?)).copied()
}
