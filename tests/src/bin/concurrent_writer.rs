//! One of several concurrent writers of a yard, run as a separate process by a test: `concurrent_writer URL
//! WRITER SAVES BLOCKS`.
//!
//! It saves as fast as possible through the crate `blockyard`, as any program would, and prints a
//! line `TYPE/NAME REVISION` for each save that was acknowledged.

#![allow(clippy::print_stdout, reason = "the test reads the output")]

use std::io::Write as _;

use blockyard::{Address, KeySource, Patch, Yard};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, writer, saves, blocks] = arguments.as_slice() else {
        return Err("concurrent_writer URL WRITER SAVES BLOCKS".into());
    };
    let (writer, saves, blocks): (u64, u64, u64) = (writer.parse()?, saves.parse()?, blocks.parse()?);
    let yard = Yard::open(url, KeySource::from_environment()).await?;
    for save in 0..saves {
        // All writers save the same blocks, in different orders.
        let address: Address = format!("zoo-cage/c{}", (save * (2 * writer + 1) + writer) % blocks).parse()?;
        let patch = Patch::setting([("animal", format!("newt {writer} {save}"))]);
        let saved = yard.set(&address, patch, None).await?.ok_or("the save changed nothing")?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{address} {saved}")?;
    }
    yard.close().await;
    Ok(())
}
