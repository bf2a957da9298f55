//! P6: a million rows of five columns to Arrow through the bundle `sql`, compared with sqlx
//! directly and with ADBC, Arrow's own drivers (<https://pypi.org/project/adbc-driver-manager/>).

use std::process::{Command, Stdio};

use serde_json::Value;

use super::table::{Row, Unit};
use super::{Bench, json, percentile, venv};
use crate::postgres::{PASSWORD, Postgres};
use crate::setup::{self, Need};
use crate::{Result, run};

const ADBC: [&str; 4] =
    ["adbc-driver-manager==1.13.0", "adbc-driver-postgresql==1.13.0", "adbc-driver-sqlite==1.13.0", "pyarrow==26.0.1"];
const FEW: u64 = 100_000;
const MANY: u64 = 1_000_000;
/// Number of processes per figure; their median counts.
const PROCESSES: usize = 5;

/// Columns of the table `people`: an integer, two strings and two floats, all non-null.
const COLUMNS: &str = "i as id, 'person number ' || i as name, 'city ' || (i % 1000) as city,
    150.0 + i % 50 as height, 50.0 + i % 40 / 3.0 as weight";

pub(super) fn measure(
    bench: &Bench,
    postgres: Option<&Postgres>,
    rows: &mut Vec<Row>,
    missing: &mut Vec<String>,
) -> Result {
    setup::need(&Need { program: "sqlite3", package: "sqlite3" })?;
    println!("bench: conversion of {MANY} rows to Arrow");
    let url = bench.sqlite("rows.db");
    bench.make(&url, &["sql"])?;
    let python = match venv("adbc", &ADBC) {
        Ok(python) => Some(python),
        Err(reason) => {
            missing.push(format!("ADBC: {reason}"));
            None
        }
    };

    let file = bench.folder.join("people.db");
    let people = format!(
        "create table people (id integer not null, name text not null, city text not null, height real not null, weight real not null);
         with recursive n (i) as (select 1 union all select i + 1 from n where i < {MANY}) insert into people select {COLUMNS} from n"
    );
    run(Command::new("sqlite3").arg(&file).arg(people))?;
    let database = format!("database={}", file.display());
    create(bench, &url, &["sql-database/lite", "--set", "dialect=sqlite", "--set", &database])?;
    let sqlx = format!("sqlite:{}", file.display());
    let lite = Source { bench, url: &url, name: "SQLite", address: "sql-database/lite", sqlx, python: python.clone() };
    // The target is ADBC: for SQLite, sqlx alone switches threads for each row.
    lite.measure(rows, "≥ ADBC, constant memory", |ours, _, adbc| adbc.map(|adbc| ours >= adbc))?;

    let Some(server) = postgres else {
        missing.push("rows from PostgreSQL: PostgreSQL is not installed".to_owned());
        return Ok(());
    };
    let port = server.port.to_string();
    let people = format!(
        "create table people as select id::bigint as id, name, city, height::float8, weight::float8
         from (select {COLUMNS} from generate_series(1, {MANY}) as n (i)) as people"
    );
    let mut psql = Command::new(setup::find("psql").ok_or("psql is not installed")?);
    psql.args(["-q", "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-c", &people]).env("PGPASSWORD", PASSWORD);
    run(&mut psql)?;
    let (port_field, variable) = (format!("port={port}"), "password=env:PGPASSWORD");
    let mut flags = vec!["sql-database/pg", "--set", "dialect=postgres", "--set", "host=127.0.0.1"];
    flags.extend(["--set", &port_field, "--set", "database=postgres", "--set", "username=postgres"]);
    flags.extend(["--secret", variable]);
    create(bench, &url, &flags)?;
    let sqlx = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let pg = Source { bench, url: &url, name: "PostgreSQL", address: "sql-database/pg", sqlx, python };
    pg.measure(rows, "≥ 0.9 of sqlx, constant memory", |ours, sqlx, _| Some(ours >= 0.9 * sqlx))
}

fn create(bench: &Bench, url: &str, words: &[&str]) -> Result {
    run(bench.command(&bench.binary, url).args(["create", "--quiet"]).args(words).stdout(Stdio::null()))
}

/// A database and the ways to read its rows.
struct Source<'a> {
    bench: &'a Bench,
    url: &'a str,
    name: &'static str,
    address: &'static str,
    /// URL for sqlx and ADBC.
    sqlx: String,
    python: Option<std::path::PathBuf>,
}

impl Source<'_> {
    fn measure(
        &self,
        rows: &mut Vec<Row>,
        reach: &'static str,
        reached: impl Fn(f64, f64, Option<f64>) -> Option<bool>,
    ) -> Result {
        // Alternating runs expose all to the same load of the machine.
        let (mut ours, mut sqlx, mut adbc) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..PROCESSES {
            ours.push(self.ours(MANY)?);
            sqlx.push(self.sqlx(MANY)?);
            adbc.extend(self.adbc(MANY)?);
        }
        let few = self.ours(FEW)?;
        let rate = |runs: &[Value]| {
            let rates: Vec<f64> = runs.iter().filter_map(|run| Some(MANY as f64 / run["seconds"].as_f64()?)).collect();
            percentile(&rates, 50)
        };
        let nothing = || "nothing was measured".to_owned();
        let (ours_rate, sqlx, adbc) = (rate(&ours).ok_or_else(nothing)?, rate(&sqlx).ok_or_else(nothing)?, rate(&adbc));
        let peak = |run: &Value| run["peak"].as_f64().ok_or_else(nothing);
        // The first process compiles the bundle, which requires additional memory.
        let (few, many) = (peak(&few)?, peak(ours.last().ok_or_else(nothing)?)?);
        let flat = many <= 1.1 * few;
        let row = |what: String, unit, ours, reference, reached| Row {
            number: "P6",
            what,
            unit,
            ours,
            reference: Some(reference),
            reach,
            reached,
        };
        let what = format!("{}: rows to Arrow, through the bundle", self.name);
        let verdict = reached(ours_rate, sqlx, adbc).map(|fast| fast && flat);
        let compared = ("sqlx directly".to_owned(), sqlx);
        rows.push(row(what.clone(), Unit::PerSecond, ours_rate, compared, verdict));
        if let Some(adbc) = adbc {
            rows.push(row(what, Unit::PerSecond, ours_rate, ("ADBC".to_owned(), adbc), verdict));
        }
        let what = format!("{}: peak memory of the process, {MANY} rows", self.name);
        rows.push(row(what, Unit::Bytes, many, (format!("{FEW} rows"), few), Some(flat)));
        Ok(())
    }

    fn ours(&self, limit: u64) -> Result<Value> {
        let mut command = self.bench.command(&self.bench.program, self.url);
        counted(command.args(["rows", self.url, self.address, &select(limit)]), limit)
    }

    fn sqlx(&self, limit: u64) -> Result<Value> {
        let mut command = self.bench.command(&self.bench.program, self.url);
        counted(command.args(["rows-by-hand", &self.sqlx, &select(limit)]), limit)
    }

    fn adbc(&self, limit: u64) -> Result<Option<Value>> {
        let Some(python) = &self.python else { return Ok(None) };
        let mut command = self.bench.command(python, self.url);
        command.arg(setup::root().join("xtask/reference/adbc.py")).args([&self.sqlx, &select(limit)]);
        counted(&mut command, limit).map(Some)
    }
}

fn select(limit: u64) -> String {
    format!("select id, name, city, height, weight from people limit {limit}")
}

/// Runs a command and returns its figures, if it returned all rows.
fn counted(command: &mut Command, rows: u64) -> Result<Value> {
    let measured = json(command)?;
    if measured["rows"] == rows { Ok(measured) } else { Err(format!("{command:?} returned {} rows", measured["rows"])) }
}
