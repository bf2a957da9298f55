//! Calls in new sandboxes: sequential against bare wasmtime (P3), concurrent, and concurrent with a
//! guest in an endless loop (P9).

use std::path::Path;
use std::time::{Duration, Instant};

use blockyard::{Block, Deadline, Patch, Yard};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wasmtime::component::Component;

use crate::bare::{self, Bare};
use crate::{Outcome, open, times};

const CALLS: usize = 3_000;
/// Number of concurrent calls, equal to `limits::CONCURRENT_CALLS`.
const AT_ONCE: usize = 64;
/// Waiting time of each of these calls.
const WAIT_MILLISECONDS: u64 = 10;
/// Number of sequential waiting calls.
const ALONE: usize = 100;
/// Duration of the concurrent calls.
const CONCURRENT_TIME: Duration = Duration::from_secs(5);

pub(crate) async fn measure(url: &str, wasm: &Path) -> Outcome<Value> {
    let engine = bare::engine()?;
    let component = Component::from_file(&engine, wasm)?;
    let reference = Bare::new(engine, &component)?;

    let yard = open(url).await?;
    yard.create(&"bench/b".parse()?, Patch::setting([("note", "none")])).await?;
    let block = yard.block("bench/b").await?;
    let nothing = async |block: &Block| block.call("nothing", json!({})).await.map(drop);

    // Alternating runs expose both to the same load of the machine.
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        bare.extend(times(CALLS / 3, async |_| reference.call(r#"{"note": "none"}"#).await).await?);
        ours.extend(times(CALLS / 3, async |_| nothing(&block).await).await?);
    }
    let opened = times(CALLS / 3, async |_| nothing(&yard.block("bench/b").await?).await).await?;

    let started = Instant::now();
    for _ in 0..ALONE {
        wait(&block).await?;
    }
    let alone = ALONE as f64 / started.elapsed().as_secs_f64();
    let (concurrent, seconds) = concurrent(&block, AT_ONCE).await?;
    let at_once = concurrent.len() as f64 / seconds;

    // One permit is occupied by the spinning guest.
    let (without, _) = self::concurrent(&block, AT_ONCE - 1).await?;
    let spinner = tokio::spawn(spin(yard.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (with, _) = self::concurrent(&block, AT_ONCE - 1).await?;
    let spun = !spinner.is_finished();
    spinner.abort();
    let document = json!({
        "call": ours, "call_bare": bare, "open_and_call": opened,
        "per_second_alone": alone, "per_second_at_once": at_once,
        "without_spinner": without, "with_spinner": with, "spun": spun,
    });
    yard.close().await;
    Ok(document)
}

async fn wait(block: &Block) -> Result<(), blockyard::Error> {
    block.call("wait", json!({ "milliseconds": WAIT_MILLISECONDS })).await.map(drop)
}

/// Runs `callers` loops of calls concurrently. Returns the duration of each call and the total
/// time.
async fn concurrent(block: &Block, callers: usize) -> Outcome<(Vec<f64>, f64)> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let block = block.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            while started.elapsed() < CONCURRENT_TIME {
                let call = Instant::now();
                wait(&block).await?;
                times.push(call.elapsed().as_secs_f64());
            }
            Ok::<_, blockyard::Error>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    Ok((times, started.elapsed().as_secs_f64()))
}

async fn spin(yard: Yard) -> Result<(), blockyard::Error> {
    let block = yard.block("bench/b").await?;
    block.call_with("spin", json!({}), None, Deadline::within(Duration::from_secs(60))).await.map(drop)
}
