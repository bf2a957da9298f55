//! Plan of an upgrade of many blocks (P8): each is opened, converted and validated.

use std::path::Path;
use std::time::Instant;

use blockyard::{Agreement, Answers, BundleSource, NewKey, Patch, UpgradeAction, Yard, YardConfig};
use serde_json::{Value, json};

use crate::Outcome;

/// Number of blocks.
const BLOCKS: usize = 10_000;

/// Creates blocks of the type `vet-clinic` with the version in `old`, and plans their upgrade to the
/// version in `new`.
pub(crate) async fn measure(old: &Path, new: &Path) -> Outcome<Value> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("yard.db").display());
    let yard = Yard::init(&url, NewKey::File(None), YardConfig::default()).await?;
    let staged = yard.stage(std::fs::read(old)?, BundleSource::file(old)).await?;
    yard.install(staged, &Agreement::Everything).await?;
    for number in 0..BLOCKS {
        let patch = Patch::setting([("address", "clinic.example:443")]);
        yard.create(&format!("vet-clinic/c{number}").parse()?, patch).await?;
    }
    let staged = yard.stage(std::fs::read(new)?, BundleSource::file(new)).await?;
    let started = Instant::now();
    let plan = yard.plan_upgrade(&staged, &Answers::new(), &mut |_, _| ()).await?;
    let seconds = started.elapsed().as_secs_f64();
    if plan.blocks.iter().filter(|block| block.action == UpgradeAction::Upgrade).count() != BLOCKS {
        return Err("a block cannot be upgraded".into());
    }
    yard.close().await;
    Ok(json!({ "plan": seconds, "blocks": BLOCKS }))
}
