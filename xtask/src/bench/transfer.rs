//! P5: transfers of an object of 1 GiB from and to a local server, through a bundle, compared with
//! reqwest: a server that discards the data, and a Cloud Storage server.

use serde_json::Value;

use super::table::{Row, Unit};
use super::{Bench, json};
use crate::Result;
use crate::cloud::{self, CloudStorage};

pub(super) fn measure(bench: &Bench, rows: &mut Vec<Row>, missing: &mut Vec<String>) -> Result {
    println!("bench: transfers of 1 GiB from and to a server");
    let url = bench.sqlite("transfer.db");
    bench.make(&url, &["bench"])?;
    let measured = json(bench.command(&bench.program, &url).args(["transfer", &url]))?;
    let down = "1 GiB from a server, through the bundle";
    add(rows, &measured, [down, "1 GiB to a server, through the bundle"], "during these transfers, 2 × 1 GiB")?;

    let program = match cloud::fake_gcs_server() {
        Ok(program) => program,
        Err(reason) => {
            missing.push(format!("Cloud Storage: {reason}"));
            return Ok(());
        }
    };
    println!("bench: transfers from and to a Cloud Storage server");
    let url = bench.sqlite("storage.db");
    bench.make(&url, &["gcp"])?;
    let server = CloudStorage::start(&program, &["zoo"])?;
    let measured = json(bench.command(&bench.program, &url).args(["storage", &url, &server.url()]))?;
    let down = "1 GiB from Cloud Storage, through `gcs-bucket`, CRC32C compared";
    add(rows, &measured, [down, "256 MiB to Cloud Storage, likewise"], "during these transfers")
}

/// Adds the rows of the measured downloads and uploads.
fn add(rows: &mut Vec<Row>, measured: &Value, what: [&str; 2], passing: &str) -> Result {
    let figure = |key: &str| measured[key].as_f64().ok_or_else(|| format!("`{key}` was not measured"));
    for (key, what) in ["down", "up"].into_iter().zip(what) {
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
        what: format!("memory over idle {passing}"),
        unit: Unit::Bytes,
        ours: memory,
        reference: None,
        reach: "≤ 64 MiB",
        reached: Some(memory <= f64::from(64 << 20)),
    });
    Ok(())
}
