//! Plans and applies block files, and exports blocks to them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use blockyard_host::Bundle;
use blockyard_model::{Address, RevisionOrigin, SetName, SplitDocument};
use blockyard_store::{BlockFilter, BlockRecord, StoreError};
use serde::Serialize;
use serde_json::json;

use crate::blockfile::BlockFile;
use crate::compare::{FieldChange, compare};
use crate::reference::type_of;
use crate::revision::deleted;
use crate::{Error, ErrorKind, Yard};

/// Page size when all blocks are exported.
const PAGE: u32 = 500;

/// The changes that a block file would make, in the order of application: dependencies first, then
/// deletions, dependents first.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    deletions: Vec<Deletion>,
    origin: RevisionOrigin,
}

/// The planned change of a block.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedBlock {
    /// Block address, `TYPE/NAME`.
    pub address: String,
    /// Planned action.
    pub action: PlanAction,
    /// Changed fields. For secrets, only the fact that they differ.
    pub changes: Vec<FieldChange>,
    /// Revision that was saved. Omitted if the plan was not applied, or if the block is unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// Planned action for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanAction {
    /// The block does not exist and would be created.
    Create,
    /// The block differs from the file and would be changed.
    Change,
    /// The block equals the file.
    Unchanged,
    /// The file created the block, does not contain it any more, and the block would be deleted.
    Delete,
}

#[derive(Debug)]
struct Step {
    planned: PlannedBlock,
    address: Address,
    bundle: Bundle,
    document: SplitDocument,
    before: Option<BlockRecord>,
}

#[derive(Debug)]
struct Deletion {
    planned: PlannedBlock,
    record: BlockRecord,
}

impl Plan {
    /// Records another origin of the revisions than [`RevisionOrigin::Apply`], such as an editor.
    #[must_use]
    pub fn with_origin(self, origin: RevisionOrigin) -> Self {
        Self { origin, ..self }
    }

    /// Returns the blocks of the file and those to delete, in the order of application.
    #[must_use]
    pub fn blocks(&self) -> Vec<&PlannedBlock> {
        let steps = self.steps.iter().map(|step| &step.planned);
        steps.chain(self.deletions.iter().map(|deletion| &deletion.planned)).collect()
    }

    /// Returns `true` if applying the plan would change any block.
    #[must_use]
    pub fn changes_anything(&self) -> bool {
        self.blocks().iter().any(|planned| planned.action != PlanAction::Unchanged)
    }
}

impl Yard {
    /// Adds the given blocks to a file, or all blocks if `addresses` is empty. Comments in the file
    /// are retained. Returns the number of blocks.
    ///
    /// # Errors
    /// Returns an error if one of the blocks does not exist.
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

    /// Plans the changes that a file would make, with the same checks as a save.
    ///
    /// # Errors
    /// Returns an error with all violations if blocks in the file are invalid. Returns an error if
    /// a block type is not installed, if a block is deleted, or if the blocks of the file form a
    /// cycle.
    pub async fn plan(&self, file: &BlockFile) -> Result<Plan, Error> {
        let addresses = file.addresses()?;
        let planned: BTreeSet<Address> = addresses.iter().cloned().collect();
        let mut steps = Vec::with_capacity(addresses.len());
        let mut targets: BTreeMap<Address, Vec<Address>> = BTreeMap::new();
        let mut problems = Vec::new();
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
            let (document, mut wrong) = file.config(&address, schema, stored.as_ref());
            // An unchanged document is not validated again: it may contain destroyed secrets, for
            // example.
            let found = match stored.as_ref() == Some(&document) {
                true => Vec::new(),
                false => self.problems(&bundle, &address, &document, Some(&planned)).await?,
            };
            // A rejected value is reported once, and not a second time as a missing value.
            let reported_pointers: Vec<_> = wrong.iter().map(|violation| violation.pointer.clone()).collect();
            wrong.extend(
                found
                    .into_iter()
                    .filter(|own| !reported_pointers.iter().any(|reported| own.pointer.is_within(reported))),
            );
            if !wrong.is_empty() {
                wrong.sort_by(|a, b| a.pointer.cmp(&b.pointer));
                problems.push((format!("block `{address}`"), wrong));
                continue;
            }
            let own = document.references(schema).into_iter().map(|reference| reference.target);
            targets.insert(address.clone(), own.collect());
            let nothing = SplitDocument { config: json!({}), ..SplitDocument::default() };
            let changes = compare(stored.as_ref().unwrap_or(&nothing), &document);
            let action = match &before {
                None => PlanAction::Create,
                Some(_) if changes.is_empty() => PlanAction::Unchanged,
                Some(_) => PlanAction::Change,
            };
            let planned = PlannedBlock { address: address.to_string(), action, changes, revision: None };
            steps.push(Step { planned, address, bundle, document, before });
        }
        if !problems.is_empty() {
            return Err(Error::all_violations(&problems));
        }
        let order = self.order(&steps, targets).await?;
        steps.sort_by_key(|step| order.iter().position(|address| *address == step.address));
        Ok(Plan { steps, deletions: Vec::new(), origin: RevisionOrigin::Apply(file.set()?) })
    }

    /// Plans as [`plan`](Self::plan) does, and the deletion of the blocks that the set of the file
    /// created and that the file does not contain any more. Blocks that were created otherwise, or that
    /// are in another file, are never deleted.
    ///
    /// # Errors
    /// Same as [`plan`](Self::plan). Returns an error if the file names no set, or, with a list, if
    /// other blocks depend on those to delete.
    pub async fn plan_with_deletions(&self, file: &BlockFile) -> Result<Plan, Error> {
        let Some(set) = file.set()? else {
            let message = "the file names no set, so the blocks that it created are not known";
            return Err(Error::new(ErrorKind::Invalid, message)
                .hint("add `set = \"NAME\"` below `version = 1`; it applies to blocks that are created from then on"));
        };
        let mut plan = self.plan(file).await?;
        let mut planned = BTreeMap::new();
        for Step { address, bundle, document, .. } in &plan.steps {
            let schema = &type_of(bundle.manifest(), address)?.schema;
            planned.insert(address.clone(), document.references(schema));
        }
        plan.deletions = self.prunable(&set, &planned).await?.into_iter().map(Deletion::of).collect();
        Ok(plan)
    }

    /// Returns the blocks of a file with all their dependencies, sorted topologically: each block
    /// after its dependencies. References come from the file or, for blocks that are not in the
    /// file, from the yard. In this order, no intermediate save creates a cycle.
    async fn order(&self, steps: &[Step], mut targets: BTreeMap<Address, Vec<Address>>) -> Result<Vec<Address>, Error> {
        let mut unknown: Vec<Address> = targets.values().flatten().cloned().collect();
        while let Some(address) = unknown.pop() {
            if let Entry::Vacant(vacant) = targets.entry(address) {
                let own = self.store().targets_of(vacant.key()).await?;
                unknown.extend(own.iter().cloned());
                vacant.insert(own);
            }
        }
        let mut walk = Walk { targets: &targets, path: Vec::new(), done: Vec::new(), seen: BTreeSet::new() };
        for step in steps {
            walk.visit(&step.address)?;
        }
        Ok(walk.done)
    }

    /// Applies a plan. Each block is saved or deleted atomically. If a block was changed since it was
    /// planned, application stops there; blocks that were already applied are retained. To continue,
    /// plan again and apply the new plan. `progress` is called with each block's address.
    ///
    /// # Errors
    /// Returns an error if a block was changed since it was planned, or if the reason contains a
    /// secret of one of the blocks. Otherwise, same as [`create`](Self::create), [`set`](Self::set) and
    /// [`delete`](Self::delete).
    pub async fn apply(&self, plan: Plan, progress: &mut (dyn FnMut(&str) + Send)) -> Result<Vec<PlannedBlock>, Error> {
        let Plan { steps, deletions, origin } = plan;
        // Checked before the first save, so that a rejected reason changes nothing.
        for Step { document, before, .. } in &steps {
            self.check_reason(document)?;
            if let Some(before) = before {
                self.check_reason_of(before).await?;
            }
        }
        for deletion in &deletions {
            self.check_reason_of(&deletion.record).await?;
        }
        let mut done = Vec::with_capacity(steps.len() + deletions.len());
        for step in steps {
            progress(&step.planned.address);
            done.push(self.apply_step(step, &origin).await?);
        }
        for Deletion { planned, record } in deletions {
            progress(&planned.address);
            let detail = json!({ "revision": record.newest.number(), "by": origin.action(), "set": record.set });
            let line = self.line_of_change("delete", &record.address, detail);
            match self.store().delete_block(&record.address, Some(record.newest), line).await {
                Ok(()) => done.push(planned),
                Err(
                    StoreError::Moved { address, .. }
                    | StoreError::NoBlock(address)
                    | StoreError::DeletedOrNot { address, .. },
                ) => return Err(changed_since(&address)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    /// Saves a block of a file, and records the set of the file.
    async fn apply_step(&self, step: Step, origin: &RevisionOrigin) -> Result<PlannedBlock, Error> {
        let Step { mut planned, address, bundle, document, before } = step;
        let Some(before) = before else {
            let saved = self.insert(&bundle, &address, &document, origin).await?;
            planned.revision = Some(saved.number());
            return Ok(planned);
        };
        if planned.action != PlanAction::Unchanged {
            let saved = self.save(&before, &bundle, &document, origin).await?;
            planned.revision = Some(saved.ok_or_else(|| changed_since(&address))?.number());
        }
        if let RevisionOrigin::Apply(set) = origin
            && before.set.as_deref() != set.as_ref().map(SetName::as_str)
        {
            let detail = json!({ "set": set.as_ref().map(SetName::as_str) });
            let line = self.line_of_change("assign-set", &address, detail);
            self.store().assign_set(&address, set.as_ref(), line).await?;
        }
        Ok(planned)
    }
}

impl Deletion {
    fn of(record: BlockRecord) -> Self {
        let address = record.address.to_string();
        let planned = PlannedBlock { address, action: PlanAction::Delete, changes: Vec::new(), revision: None };
        Self { planned, record }
    }
}

fn changed_since(address: &Address) -> Error {
    Error::new(ErrorKind::Conflict, format!("block `{address}` was changed since the plan was made"))
        .hint("plan again; blocks that were already applied are retained")
}

/// A depth-first traversal of the reference graph.
struct Walk<'a> {
    targets: &'a BTreeMap<Address, Vec<Address>>,
    /// Path from the start of the traversal to the current block.
    path: Vec<&'a Address>,
    done: Vec<Address>,
    seen: BTreeSet<&'a Address>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, address: &Address) -> Result<(), Error> {
        let Some((address, targets)) = self.targets.get_key_value(address) else { return Ok(()) };
        if let Some(begun) = self.path.iter().position(|other| *other == address) {
            let cycle = self.path[begun..].iter().chain([&address]);
            let path: Vec<String> = cycle.map(|address| format!("`{address}`")).collect();
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the references of these blocks would form a cycle: {}", path.join(" → ")),
            ));
        }
        if !self.seen.insert(address) {
            return Ok(());
        }
        self.path.push(address);
        for target in targets {
            self.visit(target)?;
        }
        self.path.pop();
        self.done.push(address.clone());
        Ok(())
    }
}
