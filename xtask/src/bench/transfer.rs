//! P5: an object of 1 GiB from and to a server on this machine, through a bundle, against reqwest.

use super::table::{Row, Unit};
use super::{Bench, json};
use crate::Result;

pub(super) fn measure(bench: &Bench, rows: &mut Vec<Row>) -> Result {
    println!("bench: an object of 1 GiB from and to a server");
    let url = bench.sqlite("transfer.db");
    bench.make(&url, &["bench"])?;
    let measured = json(bench.command(&bench.program, &url).args(["transfer", &url]))?;
    let figure = |key: &str| measured[key].as_f64().ok_or_else(|| format!("`{key}` was not measured"));
    for (key, what) in
        [("down", "1 GiB from a server, through the bundle"), ("up", "1 GiB to a server, through the bundle")]
    {
        let (ours, reference) = (figure(key)?, figure(&format!("{key}_reqwest"))?);
        rows.push(Row {
            number: "P5",
            what: format!("{what}, bytes"),
            unit: Unit::PerSecond,
            ours,
            reference: Some(("reqwest, same source and sink".to_owned(), reference)),
            reach: "≥ 0.9 of reqwest",
            reached: Some(ours >= 0.9 * reference),
        });
    }
    let memory = figure("memory_over_idle")?;
    rows.push(Row {
        number: "P5",
        what: "memory over idle while 2 × 1 GiB pass".to_owned(),
        unit: Unit::Bytes,
        ours: memory,
        reference: None,
        reach: "≤ 64 MiB",
        reached: Some(memory <= f64::from(64 << 20)),
    });
    Ok(())
}
