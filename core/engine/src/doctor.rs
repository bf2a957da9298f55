//! Checks the integrity of a yard, without calling remote services.

use blockyard_model::{Address, Revision};
use blockyard_store::BlockFilter;

use crate::call::{Check, CheckStep};
use crate::reference::type_of;
use crate::time::{now, timestamp};
use crate::unused::UNUSED_DAYS;
use crate::yard::bundle_bytes;
use crate::{Error, Yard, YardConfig};

/// Page size when blocks are listed.
const PAGE: u32 = 500;
/// Maximum number of findings of one kind to list. Further findings are counted.
const MAX_LISTED: usize = 20;

impl Yard {
    /// Opens a yard and checks it completely: database, key, bundles, the seal and the secrets of
    /// every revision, references, and the audit trail. Modifies nothing. `progress` is called with the
    /// name of each step.
    ///
    /// A yard or a key that cannot be opened is a finding, not an error, and ends the check. Other
    /// findings do not end it.
    pub async fn doctor(url: &str, config: YardConfig, progress: &mut (dyn FnMut(&str) + Send)) -> Check {
        let mut steps = Vec::new();
        match Self::open_with(url, config).await {
            Ok(yard) => {
                steps.push(passed("open", format!("{} with the key {}", yard.info().yard, yard.info().key_id)));
                yard.run_checks(&mut steps, progress).await;
                yard.close().await;
            }
            Err(error) => steps.push(failed("open", &with_cause(&error))),
        }
        Check { passed: steps.iter().all(|step| step.status != "failed"), steps, log: Vec::new() }
    }

    async fn run_checks(&self, steps: &mut Vec<CheckStep>, progress: &mut (dyn FnMut(&str) + Send)) {
        progress("the database");
        steps.push(match self.store().integrity().await {
            Ok(failures) => found("database", "integrity check passed".to_owned(), &failures),
            Err(error) => failed("database", &with_cause(&error.into())),
        });
        progress("the key");
        steps.push(match self.store().read_yard().await {
            Ok(record) => match &record.next_key {
                Some(next) => warned(
                    "key",
                    format!("a rotation to the key {} is not finished; rotate the key again to finish it", next.id),
                ),
                None => passed("key", format!("{} opens the yard", record.key.id)),
            },
            Err(error) => failed("key", &with_cause(&error.into())),
        });
        progress("the bundles");
        steps.push(self.examine_bundles().await.unwrap_or_else(|error| failed("bundles", &with_cause(&error))));
        progress("the blocks");
        steps.push(self.examine_blocks(progress).await.unwrap_or_else(|error| failed("blocks", &with_cause(&error))));
        progress("the bundles of the blocks");
        steps.push(self.examine_versions().await.unwrap_or_else(|error| failed("versions", &with_cause(&error))));
        progress("the grants");
        steps.push(self.examine_grants().await.unwrap_or_else(|error| failed("grants", &with_cause(&error))));
        progress("the audit trail");
        steps.push(match self.check_audit().await {
            Ok(chain) => {
                let head = chain.head.map(|head| format!(", the newest hash is {head}")).unwrap_or_default();
                let failures: Vec<String> = chain.broken.into_iter().collect();
                found("audit", format!("{} lines{head}", chain.lines), &failures)
            }
            Err(error) => failed("audit", &with_cause(&error)),
        });
    }

    async fn examine_bundles(&self) -> Result<CheckStep, Error> {
        let mut bundles = self.store().bundles().await?;
        // Their revisions open with them.
        bundles.extend(self.store().uninstalled_bundles().await?);
        let mut failures = Vec::new();
        for bundle in &bundles {
            // Checks the digest of the bytes and the validity of the manifest.
            let checked = async {
                bundle_bytes(self.store(), &bundle.digest, &bundle.name).await?;
                self.manifest(&bundle.digest).await
            };
            if let Err(error) = checked.await {
                failures.push(with_cause(&error));
            }
        }
        Ok(found("bundles", format!("{} unchanged since installation", bundles.len()), &failures))
    }

    async fn examine_blocks(&self, progress: &mut (dyn FnMut(&str) + Send)) -> Result<CheckStep, Error> {
        let (mut blocks, mut revisions) = (0_u64, 0_u64);
        let lost = self.store().blocks_without_newest().await?;
        let mut failures: Vec<String> =
            lost.iter().map(|address| format!("the newest revision of block `{address}` is missing")).collect();
        for deleted in [false, true] {
            let mut filter = BlockFilter { deleted, limit: Some(PAGE), ..BlockFilter::default() };
            loop {
                let page = self.store().blocks(&filter).await?;
                let Some(last) = page.last() else { break };
                filter.after = Some(last.address.clone());
                for block in &page {
                    match self.examine_block(&block.address, block.newest, deleted).await {
                        Ok(count) => revisions += count,
                        Err(error) => {
                            let message = with_cause(&error);
                            let named = message.contains(&block.address.to_string());
                            failures.push(if named {
                                message
                            } else {
                                format!("block `{}`: {message}", block.address)
                            });
                        }
                    }
                    blocks += 1;
                }
                progress(&format!("the blocks: {blocks}"));
            }
        }
        Ok(found("blocks", format!("{blocks} blocks with {revisions} revisions can be opened"), &failures))
    }

    /// Finds blocks that use an older version of their bundle than the newest installed one.
    async fn examine_versions(&self) -> Result<CheckStep, Error> {
        let versions = self.versions().await?;
        let mut older = Vec::new();
        let mut filter = BlockFilter { limit: Some(PAGE), ..BlockFilter::default() };
        loop {
            let page = self.store().blocks(&filter).await?;
            let Some(last) = page.last() else { break };
            filter.after = Some(last.address.clone());
            for block in &page {
                let Some(digest) = &block.bundle else { continue };
                match self.bundle_use(&versions, digest, &block.address.type_slug).await? {
                    Some(used) if !used.is_current() => older.push(format!("`{}` uses {used}", block.address)),
                    _ => {}
                }
            }
        }
        if older.is_empty() {
            return Ok(passed("versions", "all blocks use the newest installed version of their bundle".to_owned()));
        }
        Ok(warned("versions", summary(&older)))
    }

    /// Finds grants that no call uses.
    async fn examine_grants(&self) -> Result<CheckStep, Error> {
        let found = self.unused_grants(timestamp(now())).await?;
        if found.unused.is_empty() {
            return Ok(passed("grants", "no grant is known to be unused".to_owned()));
        }
        let unused: Vec<String> = found
            .unused
            .iter()
            .map(|grant| {
                format!("bundle `{}` has not used `{}` for {UNUSED_DAYS} days", grant.bundle, grant.capability)
            })
            .collect();
        Ok(warned("grants", summary(&unused)))
    }

    /// Checks that every revision can be opened, that none is missing, and that all dependencies of
    /// the newest revision exist. Returns the number of revisions.
    async fn examine_block(&self, address: &Address, newest: Revision, deleted: bool) -> Result<u64, Error> {
        let history = self.store().history(address).await?;
        for (revision, expected) in history.iter().rev().zip(1_u64..) {
            if revision.record.revision.number() != expected {
                return Err(Error::new(
                    crate::ErrorKind::Denied,
                    format!("revision {expected} of block `{address}` is missing"),
                ));
            }
            let document = self.unseal(&revision.record).await?;
            let manifest = self.manifest(&revision.record.bundle).await?;
            type_of(&manifest, address)?;
            drop(document);
        }
        if history.first().is_none_or(|first| first.record.revision != newest) {
            return Err(Error::new(
                crate::ErrorKind::Denied,
                format!("the revisions of block `{address}` do not match its recorded newest revision"),
            ));
        }
        if !deleted && let Some((record, parts)) = self.store().block_with_dependencies(address, None).await? {
            let document = self.unseal(&record).await?;
            self.resolve_block(&record, &document, parts).await?;
        }
        Ok(history.len() as u64)
    }
}

fn step(name: &str, status: &str, detail: String) -> CheckStep {
    CheckStep { name: name.to_owned(), status: status.to_owned(), detail: Some(detail), milliseconds: None }
}

fn passed(name: &str, detail: String) -> CheckStep {
    step(name, "passed", detail)
}

fn warned(name: &str, detail: String) -> CheckStep {
    step(name, "warning", detail)
}

fn failed(name: &str, detail: &str) -> CheckStep {
    step(name, "failed", detail.to_owned())
}

fn found(name: &str, detail: String, failures: &[String]) -> CheckStep {
    if failures.is_empty() {
        return passed(name, detail);
    }
    failed(name, &summary(failures))
}

/// Joins findings on one line, and abbreviates long lists.
fn summary(findings: &[String]) -> String {
    let mut summary: Vec<String> = findings.iter().take(MAX_LISTED).cloned().collect();
    if findings.len() > MAX_LISTED {
        summary.push(format!("and {} more", findings.len() - MAX_LISTED));
    }
    summary.join("; ")
}

fn with_cause(error: &Error) -> String {
    let mut with_cause = vec![error.to_string()];
    with_cause.extend(error.causes());
    with_cause.join(": ")
}
