//! Converts stored configurations of earlier versions with `migrate`, and validates the results.

use std::collections::BTreeMap;

use blockyard_model::marker::sealed_secrets;
use blockyard_model::migration::MigratedDocument;
use blockyard_model::{Address, BlockName, BlockType, SecretValue, SplitDocument, TypeSlug, Violation};

use super::outcome::{ConformanceResult, text};
use super::upgrade_case::UpgradeCase;
use crate::{Error, Yard};

/// Value of each secret of a stored configuration.
const SECRET: &str = "canary0secret0value";

/// Tests all cases, and reports the earlier versions without a case.
pub(super) async fn run(yard: &Yard, cases: &[UpgradeCase]) -> Result<Vec<ConformanceResult>, Error> {
    let mut results = Vec::new();
    let manifests = yard.newest_manifests().await?;
    let types: Vec<&BlockType> = manifests.iter().flat_map(|manifest| &manifest.types).collect();
    for case in cases {
        let name = format!("migrate {}", case.name);
        let Some(block_type) = types.iter().find(|known| known.slug.as_str() == case.block_type) else {
            results
                .push(ConformanceResult::of(name, vec![format!("the bundle has no block type `{}`", case.block_type)]));
            continue;
        };
        let findings = if case.version >= block_type.version {
            vec![format!("version {} is not older than the version of the type, {}", case.version, block_type.version)]
        } else {
            converted(yard, block_type, case).await?
        };
        results.push(ConformanceResult::of(name, findings));
    }
    for block_type in types {
        let has = |version: u32| {
            cases.iter().any(|case| case.block_type == block_type.slug.as_str() && case.version == version)
        };
        // A version is a number of the bundle, which may be large.
        let missing: Vec<String> = (1..block_type.version)
            .take(16)
            .filter(|version| !has(*version))
            .map(|version| version.to_string())
            .collect();
        if !missing.is_empty() {
            let reason = format!("no stored configuration of version {}", missing.join(", "));
            results.push(ConformanceResult::skipped(format!("{}: migrate", block_type.slug), reason));
        }
    }
    Ok(results)
}

/// Returns the findings about one conversion.
async fn converted(yard: &Yard, block_type: &BlockType, case: &UpgradeCase) -> Result<Vec<String>, Error> {
    let slug = TypeSlug::new(case.block_type.as_str())?;
    let secrets = sealed_secrets(&case.config).into_iter();
    let secrets: BTreeMap<_, _> = secrets.map(|pointer| (pointer, SecretValue::new(SECRET.to_owned()))).collect();
    let before = SplitDocument { config: case.config.clone(), secrets };
    let bundle = yard.bundle_of_type(&slug).await?;
    let migrated = match yard.sandbox()?.migrate(&bundle, slug.as_str(), case.version, &case.config).await {
        Ok(migrated) => migrated.config,
        Err(error) => return Ok(vec![text(&error.into())]),
    };
    let mut document = match MigratedDocument::new(&before, &block_type.schema, migrated) {
        Ok(migrated) => migrated.document,
        Err(violations) => return Ok(listed(violations)),
    };
    let address = Address { type_slug: slug, name: BlockName::new("sample")? };
    let unexpected = case.expected.as_ref().is_some_and(|expected| *expected != document.config);
    let unexpected = unexpected.then(|| format!("the result is not the expected one: {}", document.config));
    if let Some(config) = document.config.as_object_mut() {
        config.extend(case.supplied.clone());
    }
    let mut findings = match yard.problems(&bundle, &address, &document, None).await {
        Ok(violations) => listed(violations),
        Err(error) => vec![text(&error)],
    };
    findings.extend(unexpected);
    Ok(findings)
}

fn listed(violations: Vec<Violation>) -> Vec<String> {
    violations.into_iter().map(|violation| format!("{}: {}", violation.pointer, violation.message)).collect()
}
