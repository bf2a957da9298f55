//! Memory of an idle process with loaded bundles (P10). Compiled code is loaded from a cache, as in
//! every process except the first.

use std::path::Path;

use serde_json::{Value, json};

use crate::{Outcome, bare, open_with_cache, resident};

pub(crate) async fn idle(url: &str, addresses: &[&str]) -> Outcome<Value> {
    let yard = open_with_cache(url).await?;
    let mut blocks = Vec::new();
    for address in addresses {
        blocks.push(yard.block(address).await?);
    }
    let (_, bytes) = resident()?;
    yard.close().await;
    Ok(json!({ "bytes": bytes, "bundles": blocks.len() }))
}

pub(crate) fn idle_bare(cache: &Path, files: &[&str]) -> Outcome<Value> {
    let engine = bare::engine()?;
    let mut components = Vec::new();
    for file in files {
        components.push(bare::cached(&engine, cache, Path::new(file))?);
    }
    let (_, bytes) = resident()?;
    Ok(json!({ "bytes": bytes, "bundles": components.len() }))
}
