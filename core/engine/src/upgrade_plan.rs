//! Plans an upgrade: shows what a new version of a bundle changes, and converts every block without
//! saving it.

use std::collections::{BTreeMap, BTreeSet};

use blockyard_model::type_difference::{TypeDifference, type_differences};
use blockyard_model::{Address, Digest, Manifest};
use blockyard_store::{BlockFilter, BlockSummary};
use serde::{Deserialize, Serialize};

use crate::error::need_as_json;
use crate::install::Staged;
use crate::migration::{Conversion, ConversionReport, StoredBlock};
use crate::review::Review;
use crate::{Error, Json, Patch, Yard};

/// Number of blocks that are listed at once.
const PAGE: u32 = 500;

/// Values that the user supplies for blocks, such as those of new required fields.
pub type Answers = BTreeMap<Address, Patch>;

/// Changes that an upgrade would make. It can be stored and shown later, without the code of the
/// bundle. It contains no secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpgradePlan {
    /// Bundle name.
    pub bundle: String,
    /// Newest other installed version, to which permissions and types are compared.
    pub from: Option<String>,
    /// Version that the blocks are moved to.
    pub version: String,
    /// sha256 of that version.
    pub sha256: String,
    /// `true` if that version is installed.
    pub installed: bool,
    /// Changed permissions, with the agreement that each requires.
    pub permissions: Vec<PermissionChange>,
    /// Changed fields and operations, by block type.
    pub types: Vec<TypeDifference>,
    /// Blocks that use another version, sorted by address.
    pub blocks: Vec<PlannedUpgrade>,
}

/// A line of the review of the new version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PermissionChange {
    /// Fact or change, as text.
    pub text: String,
    /// Agreement that the line requires in scripts: `{"grant": CAPABILITY}` or `"replace"`. `None`
    /// if the line permits no more than before.
    pub needs: Option<Json>,
}

/// Planned upgrade of a block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedUpgrade {
    /// Block address, `TYPE/NAME`.
    pub address: String,
    /// Newest revision of the block when the plan was made.
    pub revision: u64,
    /// Version of the bundle that the block uses.
    pub from: String,
    /// sha256 of that version.
    pub from_sha256: String,
    /// Planned action.
    pub action: UpgradeAction,
    /// Result of the conversion.
    pub report: ConversionReport,
    /// Number of purges of the block when the plan was made.
    pub purges: u64,
}

/// Planned action for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpgradeAction {
    /// The block gets a new revision, validated by the new version.
    Upgrade,
    /// The block keeps its version, because the new version does not define its type.
    Keep,
    /// The block cannot be converted, which prevents the upgrade.
    Fail,
    /// The bundle crashed or exceeded a limit, which prevents the upgrade.
    Crash,
}

impl UpgradePlan {
    /// Returns `true` if an upgrade would change anything.
    #[must_use]
    pub fn changes_anything(&self) -> bool {
        !self.installed || self.blocks.iter().any(|block| block.action != UpgradeAction::Keep)
    }

    /// Returns the blocks that prevent the upgrade.
    pub fn failed(&self) -> impl Iterator<Item = &PlannedUpgrade> {
        self.blocks.iter().filter(|block| matches!(block.action, UpgradeAction::Fail | UpgradeAction::Crash))
    }

    /// Returns `true` if the bundle or its use of secrets gets wider permissions.
    #[must_use]
    pub fn is_wider(&self) -> bool {
        self.permissions.iter().any(|line| line.needs.is_some())
    }

    /// Returns additional uses of secrets, of all blocks.
    pub(crate) fn wider_uses(&self) -> impl Iterator<Item = String> {
        self.blocks.iter().flat_map(|block| block.report.wider.clone())
    }
}

impl Yard {
    /// Plans the upgrade of all blocks of a bundle to a staged version. Changes nothing. `progress`
    /// is called with the number of finished blocks and of all blocks.
    ///
    /// Documents are held for one block at a time; the plan holds the changes of each block.
    ///
    /// # Errors
    /// Returns an error if a block cannot be opened, or if the yard cannot be read. Blocks that cannot
    /// be converted are part of the plan.
    pub async fn plan_upgrade(
        &self,
        staged: &Staged,
        answers: &Answers,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<UpgradePlan, Error> {
        let manifest = staged.bundle.manifest();
        let (installed, _) = self.installed_versions(&manifest.name).await?;
        let other = installed.iter().rfind(|old| old.manifest.version != manifest.version);
        let from = other.map(|old| old.manifest.clone());
        let mut blocks = Vec::new();
        let slugs = slugs(staged, installed.iter().map(|old| &*old.manifest));
        let mut filter = BlockFilter { types: Some(slugs), limit: Some(PAGE), ..BlockFilter::default() };
        let (mut done, all) = (0, self.store().count_blocks(&filter).await?);
        loop {
            let page = self.store().blocks(&filter).await?;
            let Some(last) = page.last() else { break };
            filter.after = Some(last.address.clone());
            for summary in &page {
                if let Some(old) = summary.bundle.filter(|digest| *digest != staged.bundle.digest()) {
                    blocks.push(self.plan_block(staged, summary, &old, answers.get(&summary.address)).await?);
                }
                done += 1;
                progress(done, all);
            }
        }
        let mut plan = UpgradePlan {
            bundle: manifest.name.to_string(),
            from: from.as_ref().map(|old| old.version.to_string()),
            version: manifest.version.to_string(),
            sha256: staged.bundle.digest().to_string(),
            installed: staged.already,
            permissions: Vec::new(),
            types: from.map(|old| type_differences(manifest, &old)).unwrap_or_default(),
            blocks,
        };
        plan.permissions = permissions(&staged.review.clone().of_upgrade(plan.wider_uses()));
        Ok(plan)
    }

    async fn plan_block(
        &self,
        staged: &Staged,
        summary: &BlockSummary,
        old: &Digest,
        supplied: Option<&Patch>,
    ) -> Result<PlannedUpgrade, Error> {
        let address = &summary.address;
        let mut planned = PlannedUpgrade {
            address: address.to_string(),
            revision: summary.newest.number(),
            from: self.manifest(old).await?.version.to_string(),
            from_sha256: old.to_string(),
            action: UpgradeAction::Keep,
            report: ConversionReport::default(),
            purges: 0,
        };
        if staged.bundle.manifest().block_type(&address.type_slug).is_none() {
            return Ok(planned);
        }
        let stored = self.stored_block(address).await?;
        planned.revision = stored.record.newest.number();
        planned.purges = stored.record.purges;
        let Conversion { report, crashed, .. } = self.convert(&stored, &staged.bundle, supplied).await?;
        planned.action = match (crashed, report.problems.is_empty()) {
            (true, _) => UpgradeAction::Crash,
            (false, false) => UpgradeAction::Fail,
            (false, true) => UpgradeAction::Upgrade,
        };
        planned.report = report;
        Ok(planned)
    }

    /// Reads the newest revision of a block, and those of its dependencies.
    pub(crate) async fn stored_block(&self, address: &Address) -> Result<StoredBlock, Error> {
        match self.store().block_with_dependencies(address, None).await? {
            Some((record, dependencies)) => Ok(StoredBlock { record, dependencies }),
            None => Err(self.missing(address, None).await),
        }
    }
}

/// Returns the slugs of all types that versions of the bundle define.
fn slugs<'a>(staged: &'a Staged, installed: impl Iterator<Item = &'a Manifest>) -> Vec<String> {
    let all = installed.chain([staged.bundle.manifest()]).flat_map(|manifest| &manifest.types);
    let slugs: BTreeSet<String> = all.map(|block_type| block_type.slug.to_string()).collect();
    slugs.into_iter().collect()
}

fn permissions(review: &Review) -> Vec<PermissionChange> {
    let lines = review.lines.iter();
    lines
        .map(|line| PermissionChange { text: line.text.clone(), needs: line.needs.as_ref().map(need_as_json) })
        .collect()
}
