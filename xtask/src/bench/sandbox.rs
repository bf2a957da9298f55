//! P3, P8, P9 and P10: the sandbox, compared with wasmtime alone.

use std::process::Command;

use serde_json::Value;

use super::table::{Row, Unit};
use super::{Bench, json, numbers, percentile};
use crate::Result;

/// Number of processes whose memory is measured; the first ones fill the caches.
const PROCESSES: usize = 5;

pub(super) fn measure(bench: &Bench, rows: &mut Vec<Row>) -> Result {
    let url = bench.sqlite("sandbox.db");
    bench.make(&url, &["bench", "zoo", "sql"])?;
    calls(bench, &url, rows)?;
    install(bench, &url, rows)?;
    upgrade(bench, &url, rows)?;
    memory(bench, &url, rows)
}

fn calls(bench: &Bench, url: &str, rows: &mut Vec<Row>) -> Result {
    println!("bench: sequential and concurrent calls");
    let measured = json(bench.command(&bench.program, url).args(["calls", url]).arg(bench.bundle("bench")?))?;
    for percent in [50, 99] {
        let ours = figure(&measured, "call", percent)?;
        let bare = figure(&measured, "call_bare", percent)?;
        rows.push(Row {
            number: "P3",
            what: format!("call a no-op operation, p{percent}"),
            unit: Unit::Seconds,
            ours,
            reference: Some((format!("wasmtime alone, new store, p{percent}"), bare)),
            reach: "≤ 2.0 times",
            reached: (percent == 50).then_some(ours <= 2.0 * bare),
        });
    }
    rows.push(Row {
        number: "P3",
        what: "open a block and call it, p50".to_owned(),
        unit: Unit::Seconds,
        ours: figure(&measured, "open_and_call", 50)?,
        reference: None,
        reach: "",
        reached: None,
    });
    let rate = |key: &str| measured[key].as_f64().ok_or_else(|| format!("`{key}` was not measured"));
    let (alone, at_once) = (rate("per_second_alone")?, rate("per_second_at_once")?);
    rows.push(Row {
        number: "P9",
        what: "64 concurrent calls that wait 10 ms each".to_owned(),
        unit: Unit::PerSecond,
        ours: at_once,
        reference: Some(("sequential calls".to_owned(), alone)),
        reach: "≥ 40 times",
        reached: Some(at_once >= 40.0 * alone),
    });
    if measured["spun"] != true {
        return Err("the spinning guest ended too early".to_owned());
    }
    let (without, with) = (figure(&measured, "without_spinner", 99)?, figure(&measured, "with_spinner", 99)?);
    rows.push(Row {
        number: "P9",
        what: "63 such calls and a spinning guest: p99 of the calls".to_owned(),
        unit: Unit::Seconds,
        ours: with,
        reference: Some(("without the spinning guest".to_owned(), without)),
        reach: "at most 20 ms more",
        reached: Some(with - without <= 20e-3),
    });
    Ok(())
}

fn install(bench: &Bench, url: &str, rows: &mut Vec<Row>) -> Result {
    for name in ["zoo", "sql"] {
        println!("bench: installing the bundle {name}");
        let measured = json(bench.command(&bench.program, url).arg("install").arg(bench.bundle(name)?))?;
        let (ours, compile) = (figure(&measured, "install", 50)?, figure(&measured, "compile", 50)?);
        let size = measured["bytes"].as_u64().unwrap_or(0) / 1000;
        rows.push(Row {
            number: "P8",
            what: format!("install a bundle of {size} KB from its file, p50"),
            unit: Unit::Seconds,
            ours,
            reference: Some(("Component::new of the same bytes, p50".to_owned(), compile)),
            reach: "≤ 1.5 times",
            reached: Some(ours <= 1.5 * compile),
        });
        let again = figure(&measured, "again", 50)?;
        rows.push(Row {
            number: "P8",
            what: format!("install the same {size} KB again, p50"),
            unit: Unit::Seconds,
            ours: again,
            reference: None,
            reach: "≤ 30 ms",
            reached: Some(again <= 30e-3),
        });
    }
    Ok(())
}

fn upgrade(bench: &Bench, url: &str, rows: &mut Vec<Row>) -> Result {
    println!("bench: planning the upgrade of many blocks");
    let (old, new) = (bench.bundle("vet_1_0_0")?, bench.bundle("vet_1_1_0")?);
    let measured = json(bench.command(&bench.program, url).arg("upgrade").args([old, new]))?;
    let seconds = measured["plan"].as_f64().ok_or("the plan was not measured")?;
    rows.push(Row {
        number: "P8",
        what: format!("plan the upgrade of {} blocks", measured["blocks"]),
        unit: Unit::Seconds,
        ours: seconds,
        reference: None,
        reach: "≤ 5 s",
        reached: Some(seconds <= 5.0),
    });
    Ok(())
}

fn memory(bench: &Bench, url: &str, rows: &mut Vec<Row>) -> Result {
    println!("bench: memory of a process with three bundles");
    bench.create(url, &["zoo-keeper/ada", "--set", "name=Ada"])?;
    bench.create(url, &["sql-database/memory", "--set", "dialect=sqlite", "--set", "database=:memory:"])?;
    let mut ours = bench.command(&bench.program, url);
    ours.args(["idle", url, "bench/b", "zoo-keeper/ada", "sql-database/memory"]);
    let mut bare = bench.command(&bench.program, url);
    bare.arg("idle-bare").arg(bench.folder.join("bare-cache"));
    for name in ["bench", "zoo", "sql"] {
        bare.arg(bench.bundle(name)?);
    }
    let least = |command: &mut Command| -> Result<f64> {
        let mut all = Vec::new();
        for _ in 0..PROCESSES {
            all.extend(json(command)?["bytes"].as_f64());
        }
        percentile(&all, 0).ok_or_else(|| "no memory was measured".to_owned())
    };
    let (ours, bare) = (least(&mut ours)?, least(&mut bare)?);
    rows.push(Row {
        number: "P10",
        what: "memory of an idle process with three bundles loaded".to_owned(),
        unit: Unit::Bytes,
        ours,
        reference: Some(("wasmtime alone with the same three".to_owned(), bare)),
        reach: "≤ 1.3 times",
        reached: Some(ours <= 1.3 * bare),
    });
    Ok(())
}

fn figure(measured: &Value, key: &str, percent: usize) -> Result<f64> {
    percentile(&numbers(&measured[key]), percent).ok_or_else(|| format!("`{key}` was not measured"))
}
