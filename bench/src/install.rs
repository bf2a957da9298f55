//! Installation of a bundle into a new yard, compared with compiling the same bytes, and a second
//! installation of the same bytes (P8). Nothing is cached.

use std::path::Path;
use std::time::Instant;

use blockyard::{Agreement, BundleSource, NewKey, Yard, YardConfig};
use serde_json::{Value, json};
use wasmtime::component::Component;

use crate::{Outcome, bare};

const TRIES: usize = 9;

pub(crate) async fn measure(wasm: &Path) -> Outcome<Value> {
    let bytes = std::fs::read(wasm)?;
    let engine = bare::engine()?;
    let (mut installs, mut repeats, mut compiles) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..=TRIES {
        let started = Instant::now();
        drop(Component::from_binary(&engine, &bytes)?);
        let compiled = started.elapsed().as_secs_f64();

        let folder = std::env::temp_dir().join(format!("blockyard-bench-install-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let url = format!("sqlite:{}", folder.join("yard.db").display());
        let yard = Yard::init(&url, NewKey::File(None), YardConfig::default()).await?;
        let installed = install(&yard, wasm).await?;
        let repeated = install(&yard, wasm).await?;
        yard.close().await;
        std::fs::remove_dir_all(&folder)?;
        // The first iteration is a warm-up.
        if number > 0 {
            installs.push(installed);
            repeats.push(repeated);
            compiles.push(compiled);
        }
    }
    Ok(json!({ "install": installs, "again": repeats, "compile": compiles, "bytes": bytes.len() }))
}

/// Installs a file. Returns the time in seconds.
async fn install(yard: &Yard, wasm: &Path) -> Outcome<f64> {
    let started = Instant::now();
    let staged = yard.stage(std::fs::read(wasm)?, BundleSource::file(wasm)).await?;
    yard.install(staged, &Agreement::Everything).await?;
    Ok(started.elapsed().as_secs_f64())
}
