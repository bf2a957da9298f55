//! Upgrades the blocks of a bundle: installs the new version and saves a new revision of every block
//! in one transaction, or changes nothing.

use std::collections::BTreeSet;

use blockyard_model::{Address, Capability, Pointer, Revision, RevisionOrigin, Violation};
use blockyard_registry::component;
use blockyard_store::{BlockUpgrade, NewBundle, NewSigner, Upgrade};
use serde::Serialize;
use serde_json::json;

use crate::install::Staged;
use crate::migration::Conversion;
use crate::review::{Agreement, Review};
use crate::save::SealedRevision;
use crate::upgrade_plan::{Answers, PlannedUpgrade, UpgradeAction, UpgradePlan};
use crate::{Code, Error, ErrorKind, Json, Yard};

/// Result of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Upgraded {
    /// Bundle name.
    pub bundle: String,
    /// Version of the bundle.
    pub version: String,
    /// sha256 of the component file.
    pub sha256: String,
    /// `true` if the version was installed by the upgrade.
    pub installed: bool,
    /// Upgraded blocks.
    pub blocks: Vec<UpgradedBlock>,
    /// Addresses of the blocks that keep their version.
    pub kept: Vec<String>,
}

/// An upgraded block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpgradedBlock {
    /// Block address, `TYPE/NAME`.
    pub address: String,
    /// Number of the new revision.
    pub revision: u64,
    /// Version of the bundle before.
    pub from: String,
}

/// Revisions that are ready to be saved. Each is sealed, so no secret is held in plain text.
struct Prepared<'a> {
    revision: SealedRevision<'a>,
    planned: &'a PlannedUpgrade,
    next: u64,
}

impl Yard {
    /// Executes an upgrade plan. Every block is converted again, and all new revisions are saved in
    /// one transaction, together with the new version of the bundle. The sealed revisions of all
    /// blocks are held in memory until then, so that the transaction is short.
    ///
    /// # Errors
    /// Returns an error, and changes nothing, if a block cannot be converted, if the agreement does
    /// not cover the plan, or if a block was changed since the plan was made.
    pub async fn upgrade(
        &self,
        staged: &Staged,
        plan: &UpgradePlan,
        answers: &Answers,
        agreement: &Agreement,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Upgraded, Error> {
        if plan.sha256 != staged.bundle.digest().to_string() {
            return Err(Error::new(ErrorKind::Conflict, "the plan is for another version of the bundle"));
        }
        plan.require_success()?;
        if !plan.changes_anything() {
            return Ok(upgraded(plan, &[]));
        }
        let review = staged.review.clone().of_upgrade(plan.wider_uses());
        let grants = review.agreed_grants(agreement)?;
        let addresses: Vec<Address> =
            plan.blocks.iter().map(|block| block.address.parse()).collect::<Result<_, _>>()?;
        let moving = plan.blocks.iter().zip(&addresses).filter(|(block, _)| block.action == UpgradeAction::Upgrade);
        let moving: Vec<(&PlannedUpgrade, &Address)> = moving.collect();
        let mut prepared = Vec::with_capacity(moving.len());
        for (planned, address) in &moving {
            prepared.push(self.prepare(staged, planned, address, answers).await?);
            progress(prepared.len() as u64, moving.len() as u64);
        }
        let manifest = staged.bundle.manifest();
        let kept = addresses.iter().filter(|address| manifest.block_type(&address.type_slug).is_none());
        let kept: BTreeSet<Address> = kept.cloned().collect();
        let source = staged.source.to_string();
        let signer = staged.source.registry_key();
        let signer =
            signer.map(|(registry, key)| NewSigner { registry, key, replaces: staged.replaced_key.as_deref() });
        let new = |manifest_text| NewBundle {
            digest: staged.bundle.digest(),
            manifest,
            manifest_text,
            bytes: &staged.bytes,
            source: &source,
            grants: &grants,
            reviewed: &staged.reviewed,
            signer,
            signature: staged.signature.as_deref(),
        };
        let new = if staged.already { None } else { Some(new(component::manifest(&staged.bytes)?)) };
        let blocks: Vec<BlockUpgrade<'_>> = prepared.iter().map(|block| self.block_upgrade(plan, block)).collect();
        let upgrade = Upgrade {
            name: &manifest.name,
            digest: staged.bundle.digest(),
            bundle: new.as_ref(),
            blocks: &blocks,
            kept: &kept,
        };
        let detail = detail(staged, plan, &review, &grants);
        let line = self.line_of_change("upgrade", &manifest.name, detail);
        let saved = self.store().upgrade_blocks(&upgrade, line).await;
        self.grant_cache().clear();
        saved?;
        Ok(upgraded(plan, &prepared))
    }

    /// Converts a block as planned, and seals its new revision.
    async fn prepare<'a>(
        &'a self,
        staged: &Staged,
        planned: &'a PlannedUpgrade,
        address: &'a Address,
        answers: &Answers,
    ) -> Result<Prepared<'a>, Error> {
        let stored = self.stored_block(address).await?;
        let record = &stored.record;
        let changed = |message: String| {
            let code = Code::RevisionMoved { address: address.clone(), newest: record.newest.number() };
            Error::new(ErrorKind::Conflict, message).code(code)
        };
        if record.deleted_at.is_some() || record.newest.number() != planned.revision || record.purges != planned.purges
        {
            return Err(changed(format!("block `{address}` was changed since the upgrade was planned")));
        }
        self.check_reason_of(record).await?;
        let Conversion { document, report, .. } = self.convert(&stored, &staged.bundle, answers.get(address)).await?;
        // A dependency may have changed, and with it the servers that receive a secret.
        if report != planned.report {
            return Err(changed(format!("the upgrade of block `{address}` has another result than planned")));
        }
        let data_key = self.data_key(record).await?;
        let next = record.newest.next();
        let origin = RevisionOrigin::Upgrade(planned.from.clone());
        let revision = SealedRevision::new(self, &staged.bundle, address, next, &document, &data_key, &origin)?;
        Ok(Prepared { revision, planned, next: next.number() })
    }

    /// Returns the new revision of a block with its line of the audit trail, which names both
    /// versions.
    fn block_upgrade<'a>(&self, plan: &UpgradePlan, prepared: &'a Prepared<'_>) -> BlockUpgrade<'a> {
        let Prepared { revision, planned, next } = prepared;
        let revision = revision.borrow();
        let detail = json!({
            "revision": next,
            "bundle": plan.sha256,
            "version": plan.version,
            "from_bundle": planned.from_sha256,
            "from_version": planned.from,
        });
        let line = self.line_of_change("upgrade", revision.address, detail);
        let from = Revision::new(planned.revision).unwrap_or(Revision::FIRST);
        BlockUpgrade { revision, from, purges: planned.purges, line }
    }
}

impl UpgradePlan {
    /// Returns an error that lists each block that cannot be converted, with all reasons.
    ///
    /// # Errors
    /// Returns that error, of kind `Bundle` if the bundle crashed, and else of kind `Invalid`.
    pub fn require_success(&self) -> Result<(), Error> {
        let mut failed = Vec::new();
        for block in self.failed() {
            let violations = block.report.problems.iter().map(|problem| Violation {
                pointer: Pointer::new(problem.pointer.as_str()),
                message: problem.message.clone(),
                hint: problem.hint.clone(),
            });
            failed.push((block.address.parse::<Address>()?, violations.collect::<Vec<_>>()));
        }
        if failed.is_empty() {
            return Ok(());
        }
        let crashed = self.blocks.iter().any(|block| block.action == UpgradeAction::Crash);
        Err(Error::not_upgraded(&self.bundle, &self.version, &failed, crashed))
    }
}

/// Returns the details of the audit line about the bundle.
fn detail(staged: &Staged, plan: &UpgradePlan, review: &Review, grants: &BTreeSet<Capability>) -> Json {
    let wider = review.lines.iter().filter(|line| line.needs.is_some());
    let moved = plan.blocks.iter().filter(|block| block.action == UpgradeAction::Upgrade);
    json!({
        "version": plan.version,
        "sha256": plan.sha256,
        "installed": !staged.already,
        "source": staged.source.to_string(),
        "granted": grants.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "wider": wider.map(|line| line.text.as_str()).collect::<Vec<_>>(),
        "blocks": moved.count(),
    })
}

fn upgraded(plan: &UpgradePlan, prepared: &[Prepared<'_>]) -> Upgraded {
    let kept = plan.blocks.iter().filter(|block| block.action == UpgradeAction::Keep);
    Upgraded {
        bundle: plan.bundle.clone(),
        version: plan.version.clone(),
        sha256: plan.sha256.clone(),
        installed: !plan.installed,
        blocks: prepared
            .iter()
            .map(|Prepared { planned, next, .. }| UpgradedBlock {
                address: planned.address.clone(),
                revision: *next,
                from: planned.from.clone(),
            })
            .collect(),
        kept: kept.map(|block| block.address.clone()).collect(),
    }
}
