//! Blocks as code: what a file would change in a yard, and changing it.

use std::collections::{BTreeMap, BTreeSet};

use blockyard_host::Bundle;
use blockyard_model::{Address, Revision, SealedDocument};
use blockyard_store::{BlockFilter, BlockRecord};
use serde::Serialize;
use serde_json::json;

use crate::blockfile::BlockFile;
use crate::compare::{FieldChange, compare};
use crate::reference::type_of;
use crate::revision::deleted;
use crate::{Error, ErrorKind, Yard};

/// Blocks that are read at once when all are exported.
const PAGE: u32 = 500;

/// What a file would change, in the order in which it would: what a block builds on comes before it.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
}

/// What would become of a block.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedBlock {
    /// `TYPE/NAME`.
    pub address: String,
    /// What would be done.
    pub action: PlanAction,
    /// Field by field; of a secret only that it differs.
    pub changes: Vec<FieldChange>,
    /// The revision that applying saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// What would be done with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanAction {
    /// It is not there yet.
    Create,
    /// It is there, and differs.
    Change,
    /// It is there as the file has it.
    Unchanged,
}

#[derive(Debug)]
struct Step {
    planned: PlannedBlock,
    address: Address,
    bundle: Bundle,
    document: SealedDocument,
    before: Option<BlockRecord>,
}

impl Plan {
    /// The blocks of the file, in the order of applying.
    #[must_use]
    pub fn blocks(&self) -> Vec<&PlannedBlock> {
        self.steps.iter().map(|step| &step.planned).collect()
    }

    /// Whether anything would change.
    #[must_use]
    pub fn changes_anything(&self) -> bool {
        self.steps.iter().any(|step| step.planned.action != PlanAction::Unchanged)
    }
}

impl Yard {
    /// Puts blocks into a file: these, or all. What the file has already keeps its comments.
    ///
    /// # Errors
    /// One of them is not there.
    pub async fn export(&self, addresses: &[Address], file: &mut BlockFile) -> Result<u64, Error> {
        let mut count = 0;
        if addresses.is_empty() {
            let mut filter = BlockFilter { limit: Some(PAGE), ..BlockFilter::default() };
            loop {
                let page = self.store().blocks(&filter).await?;
                let Some(last) = page.last() else { return Ok(count) };
                filter.after = Some(last.address.clone());
                for block in &page {
                    self.export_one(&block.address, file).await?;
                    count += 1;
                }
            }
        }
        for address in addresses {
            self.export_one(address, file).await?;
            count += 1;
        }
        Ok(count)
    }

    async fn export_one(&self, address: &Address, file: &mut BlockFile) -> Result<(), Error> {
        let record = self.live_record(address, None).await?;
        let manifest = self.manifest(&record.bundle).await?;
        file.put(address, &type_of(&manifest, address)?.schema, &record.config);
        Ok(())
    }

    /// What a file would change. Everything is checked as a save would be.
    ///
    /// # Errors
    /// A block in the file is not valid, with all problems; a type is not installed; a block is
    /// deleted; the blocks of the file build on each other in a circle.
    pub async fn plan(&self, file: &BlockFile) -> Result<Plan, Error> {
        let addresses = file.addresses()?;
        let planned: BTreeSet<Address> = addresses.iter().cloned().collect();
        let mut steps = Vec::with_capacity(addresses.len());
        let mut targets: BTreeMap<Address, Vec<Address>> = BTreeMap::new();
        for address in addresses {
            let before = self.store().block(&address, None).await?;
            if before.as_ref().is_some_and(|record| record.deleted_at.is_some()) {
                return Err(deleted(&address));
            }
            let bundle = match &before {
                Some(record) => self.bundle(&record.bundle).await?,
                None => self.bundle_of_type(&address.type_slug).await?,
            };
            let stored = match &before {
                Some(record) => Some(self.unseal(record).await?),
                None => None,
            };
            let schema = &type_of(bundle.manifest(), &address)?.schema;
            let document = file
                .config(&address, schema, stored.as_ref())
                .map_err(|violations| Error::violations(&format!("block `{address}`"), &violations))?;
            self.check_document(&bundle, &address, &document, &planned).await?;
            let own = document.references(schema).into_iter().map(|reference| reference.target);
            targets.insert(address.clone(), own.filter(|target| planned.contains(target)).collect());
            let changes = compare(&stored.unwrap_or_default(), &document);
            let action = match &before {
                None => PlanAction::Create,
                Some(_) if changes.is_empty() => PlanAction::Unchanged,
                Some(_) => PlanAction::Change,
            };
            let planned = PlannedBlock { address: address.to_string(), action, changes, revision: None };
            steps.push(Step { planned, address, bundle, document, before });
        }
        Ok(Plan { steps: ordered(steps, &targets)? })
    }

    /// Does what a plan says. Each block is saved as a whole; one that was saved by somebody else
    /// since the plan was made stops it there, and what was saved before stays. Planning again and
    /// applying that goes on where it stopped.
    ///
    /// # Errors
    /// A save came first; what [`create`](Self::create) and [`set`](Self::set) say.
    pub async fn apply(&self, plan: Plan, said: &mut (dyn FnMut(&str) + Send)) -> Result<Vec<PlannedBlock>, Error> {
        let mut done = Vec::with_capacity(plan.steps.len());
        for Step { mut planned, address, bundle, document, before } in plan.steps {
            said(&planned.address);
            let saved = match (planned.action, &before) {
                (PlanAction::Unchanged, _) => None,
                (_, None) => Some(self.insert(&bundle, &address, &document).await?),
                (_, Some(before)) => {
                    let saved = self.save(before, &bundle, &document, "set", json!({ "by": "apply" })).await?;
                    Some(saved.ok_or_else(|| {
                        Error::new(
                            ErrorKind::Conflict,
                            format!("block `{address}` was saved by somebody else since the plan was made"),
                        )
                        .hint("plan again; what was applied before it stays")
                    })?)
                }
            };
            planned.revision = saved.map(Revision::number);
            done.push(planned);
        }
        Ok(done)
    }
}

/// Steps so that each block comes after those of the file that it builds on, else in the order of
/// the file.
fn ordered(steps: Vec<Step>, targets: &BTreeMap<Address, Vec<Address>>) -> Result<Vec<Step>, Error> {
    let mut waiting = steps;
    let mut done: BTreeSet<Address> = BTreeSet::new();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let before = ordered.len();
        let mut later = Vec::new();
        for step in waiting {
            let ready = targets.get(&step.address).is_none_or(|own| own.iter().all(|target| done.contains(target)));
            if ready {
                done.insert(step.address.clone());
                ordered.push(step);
            } else {
                later.push(step);
            }
        }
        if ordered.len() == before {
            let names: Vec<String> = later.iter().map(|step| format!("`{}`", step.address)).collect();
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the blocks of the file build on each other in a circle: {}", names.join(", ")),
            ));
        }
        waiting = later;
    }
    Ok(ordered)
}
