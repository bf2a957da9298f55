//! Measures Blockyard from within a program that embeds it, and the same work without it.
//! `cargo xtask bench` runs it in the profile `dist` and collects its output: one JSON document per
//! run, with times in seconds, one number per iteration.
//!
//! | arguments | measures |
//! |---|---|
//! | `make URL`, `measure URL` | opening, saving and listing blocks, in a yard with the bundle `zoo` |
//! | `calls URL WASM` | sequential and concurrent calls of the bundle `bench`, and of bare wasmtime |
//! | `transfer URL` | transfers from and to a server, through the bundle `bench` and directly |
//! | `storage URL SERVER` | transfers from and to Cloud Storage, through `gcs-bucket` and directly |
//! | `install WASM` | installing a bundle, and only compiling it |
//! | `upgrade OLD NEW` | plan of an upgrade of many blocks |
//! | `precompile WASM CWASM`, `bare CWASM` | a process that makes one call, without Blockyard |
//! | `idle URL ADDRESS…`, `idle-bare CACHE WASM…` | memory of a process with loaded bundles |
//! | `rows URL ADDRESS STATEMENT`, `rows-by-hand SERVER STATEMENT` | conversion of a result to Arrow |

#![allow(clippy::print_stdout, reason = "the task parses the output")]

mod bare;
mod calls;
mod install;
mod memory;
mod rows;
mod storage;
mod transfer;
mod upgrade;
mod yard;

use std::path::Path;
use std::time::Instant;

use blockyard::{KeySource, SourcePattern, Yard, YardConfig};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Number of warm-up iterations that are not counted.
const WARM: usize = 50;

#[tokio::main]
async fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let document = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["make", url] => return yard::make(url).await,
        ["precompile", wasm, compiled] => return bare::precompile(Path::new(wasm), Path::new(compiled)),
        ["bare", compiled] => return bare::call_once(Path::new(compiled)).await,
        ["measure", url] => yard::measure(url).await?,
        ["calls", url, wasm] => calls::measure(url, Path::new(wasm)).await?,
        ["storage", url, server] => storage::measure(url, server).await?,
        ["transfer", url] => transfer::measure(url).await?,
        ["install", wasm] => install::measure(Path::new(wasm)).await?,
        ["upgrade", old, new] => upgrade::measure(Path::new(old), Path::new(new)).await?,
        ["idle", url, addresses @ ..] => memory::idle(url, addresses).await?,
        ["idle-bare", cache, files @ ..] => memory::idle_bare(Path::new(cache), files)?,
        ["rows", url, address, statement] => rows::through_the_bundle(url, address, statement).await?,
        ["rows-by-hand", server, statement] => rows::sqlx_directly(server, statement).await?,
        _ => return Err("unknown arguments; see the module documentation of bench/src/main.rs".into()),
    };
    println!("{document}");
    Ok(())
}

async fn open(url: &str) -> Result<Yard, blockyard::Error> {
    Yard::open_with(url, config()).await
}

/// The measured blocks read the server's password from an environment variable.
fn config() -> YardConfig {
    let sources = vec![SourcePattern::Environment("PGPASSWORD".to_owned())];
    YardConfig { key: KeySource::from_environment(), sources, ..YardConfig::default() }
}

/// Opens a yard like [`open`], with the command line's cache of compiled code.
async fn open_with_cache(url: &str) -> Result<Yard, blockyard::Error> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(|folder| Path::new(&folder).join("blockyard/compiled"));
    Yard::open_with(url, YardConfig { cache, ..config() }).await
}

async fn times<E>(tries: usize, work: impl AsyncFn(usize) -> Result<(), E>) -> Result<Vec<f64>, E> {
    let mut times = Vec::with_capacity(tries);
    for number in 0..WARM + tries {
        let started = Instant::now();
        work(number).await?;
        if number >= WARM {
            times.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(times)
}

/// Returns the peak and the current resident memory of this process in bytes.
fn resident() -> Outcome<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| -> Outcome<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such field")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? << 10)
    };
    Ok((field("VmHWM:")?, field("VmRSS:")?))
}
