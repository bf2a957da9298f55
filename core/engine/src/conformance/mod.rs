//! Conformance of a bundle: tests for its author, in the sandbox of the host, without a network and files.
//!
//! The bundle is installed in a yard in memory. Its block types are used with sample blocks that are made from the
//! schemas, and whose secrets are canaries.

mod calls;
mod lint;
mod migrate;
mod outcome;
mod sample;
mod upgrade_case;

use std::collections::BTreeSet;
use std::path::Path;

use blockyard_host::{Sandbox, SandboxConfig};
use blockyard_model::BundleName;
use blockyard_registry::{component, sections};
use serde_json::Value;

pub use self::outcome::{ConformanceResult, ConformanceStatus};
pub use self::upgrade_case::UpgradeCase;

use crate::inspect::PACKAGE;
use crate::source::BundleSource;
use crate::{Agreement, Capability, Error, Yard, YardConfig};

/// Interfaces whose capability the SDK requests for every bundle.
const OF_THE_SDK: [&str; 2] = ["log", "secrets"];

/// URL of the yard in memory, of which no file is created.
const YARD: &str = "sqlite:conformance.db";

/// Tests a component file. `upgrades` are stored configurations of earlier versions.
///
/// # Errors
/// Returns an error if the file is not a bundle, or if the tests cannot run. What a test finds is part of the results.
pub async fn conformance(bytes: &[u8], upgrades: &[UpgradeCase]) -> Result<Vec<ConformanceResult>, Error> {
    crate::inspect(bytes)?;
    let text = component::manifest(bytes)?.to_owned();
    let manifest: Value = serde_json::from_str(&text).unwrap_or_default();
    let mut results = described(bytes, &manifest).await?;
    results.push(capabilities(bytes, &manifest)?);
    results.push(ConformanceResult::of("description of the bundle", lint::bundle(&manifest)));
    for described in manifest["types"].as_array().into_iter().flatten() {
        let slug = described["slug"].as_str().unwrap_or_default();
        results.push(ConformanceResult::of(format!("{slug}: schemas"), lint::block_type(described)));
    }
    if results.iter().any(|result| result.name == MATCHES && result.status == ConformanceStatus::Failed) {
        // Such a bundle cannot be installed.
        return Ok(results);
    }
    let config = YardConfig { isolated: true, actor: "conformance".to_owned(), ..YardConfig::default() };
    let yard = Yard::in_memory(YARD, config).await?;
    let staged = yard.stage(bytes.to_owned(), BundleSource::file(Path::new("conformance.wasm"))).await?;
    let name = staged.name().clone();
    yard.install(staged, &Agreement::Everything).await?;
    let tested = installed(&yard, &name, &text, upgrades).await;
    yard.close().await;
    results.extend(tested?);
    Ok(results)
}

/// Tests the calls and the migrations of an installed bundle.
async fn installed(
    yard: &Yard,
    name: &BundleName,
    manifest: &str,
    upgrades: &[UpgradeCase],
) -> Result<Vec<ConformanceResult>, Error> {
    let mut results = calls::run(yard, name, manifest).await?;
    results.extend(migrate::run(yard, upgrades).await?);
    Ok(results)
}

/// Name of the test that compares the manifest.
const MATCHES: &str = "manifest equals `describe`";

/// Compares the results of two calls of `describe`, and the manifest with them.
async fn described(bytes: &[u8], manifest: &Value) -> Result<Vec<ConformanceResult>, Error> {
    let sandbox = Sandbox::new(&SandboxConfig { isolated: true, ..SandboxConfig::default() })?;
    let first = sandbox.load(bytes.to_owned().into()).await?;
    let second = sandbox.load(bytes.to_owned().into()).await?;
    let differs = first.manifest_text() != second.manifest_text();
    let differs = differs.then(|| "two calls returned different manifests".to_owned());
    let described: Option<Value> = serde_json::from_str(first.manifest_text()).ok();
    let other = described.as_ref() != Some(manifest);
    let other = other
        .then(|| "the embedded manifest differs from the one that `describe` returns; rebuild the bundle".to_owned());
    Ok(vec![
        ConformanceResult::of("`describe` is deterministic", differs.into_iter().collect()),
        ConformanceResult::of(MATCHES, other.into_iter().collect()),
    ])
}

/// Compares the requested capabilities with the imported interfaces. The host rejects the import of a capability that
/// is not requested.
fn capabilities(bytes: &[u8], manifest: &Value) -> Result<ConformanceResult, Error> {
    let imports = sections::imports(bytes)?;
    let imported: BTreeSet<&str> = imports
        .iter()
        .filter_map(|name| name.strip_prefix(PACKAGE))
        .map(|name| name.split('@').next().unwrap_or(name))
        .collect();
    let requested = manifest["capabilities"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let requested: Vec<Capability> = requested.filter_map(|text| text.parse().ok()).collect();
    let unused = requested.iter().filter(|capability| {
        !imported.contains(capability.interface()) && !OF_THE_SDK.contains(&capability.interface())
    });
    let findings = unused.map(|capability| {
        format!("the bundle requests `{capability}`, but its code does not use `{}`", capability.interface())
    });
    Ok(ConformanceResult::of("requested capabilities are used", findings.collect()))
}
