//! Finds the blocks that a block file does not contain any more: those that an earlier version of the
//! file created.

use std::collections::{BTreeMap, BTreeSet};

use blockyard_model::{Address, Pointer, Reference, Revision, RevisionOrigin, SetName, visible};
use blockyard_store::BlockRecord;

use crate::{Code, Error, ErrorKind, Usage, Yard};

impl Yard {
    /// Returns the blocks to delete because the file of a set does not contain them, dependents before
    /// their dependencies. `planned` contains the blocks of the file, with the references that they
    /// will have.
    ///
    /// A block belongs to a set if the file of the set created it, which its sealed first revision
    /// states, and if no other file was applied to it since.
    ///
    /// # Errors
    /// Returns an error that lists the dependents if a block that is not to be deleted depends on one
    /// that is.
    pub(crate) async fn prunable(
        &self,
        set: &SetName,
        planned: &BTreeMap<Address, Vec<Reference>>,
    ) -> Result<Vec<BlockRecord>, Error> {
        let origin = RevisionOrigin::Apply(Some(set.clone())).to_string();
        let mut records = BTreeMap::new();
        for address in self.store().blocks_of_set(set, &origin).await? {
            if planned.contains_key(&address) {
                continue;
            }
            // Both have a verified seal: another program must not select the blocks to delete.
            let first = self.record(&address, Some(Revision::FIRST)).await?;
            let newest = self.record(&address, None).await?;
            let is_live = newest.deleted_at.is_none() && newest.set.as_deref() == Some(set.as_str());
            if is_live && first.origin.as_deref() == Some(origin.as_str()) {
                records.insert(address, newest);
            }
        }
        let mut users: BTreeMap<Address, BTreeSet<Address>> = BTreeMap::new();
        let mut blocked: BTreeMap<Address, Vec<Usage>> = BTreeMap::new();
        for address in records.keys() {
            let inside = users.entry(address.clone()).or_default();
            for (user, pointer) in self.remaining_users(address, planned).await? {
                if records.contains_key(&user) {
                    inside.insert(user);
                } else {
                    let usage = Usage { address: user, field: pointer.dotted() };
                    blocked.entry(address.clone()).or_default().push(usage);
                }
            }
        }
        if blocked.is_empty() { Ok(dependents_first(records, users)) } else { Err(in_use(blocked)) }
    }

    /// Returns the references to a block after the file is applied.
    async fn remaining_users(
        &self,
        address: &Address,
        planned: &BTreeMap<Address, Vec<Reference>>,
    ) -> Result<Vec<(Address, Pointer)>, Error> {
        let mut users = self.store().users_of(address).await?;
        users.retain(|(user, _)| !planned.contains_key(user));
        for (user, references) in planned {
            let own = references.iter().filter(|reference| reference.target == *address);
            users.extend(own.map(|reference| (user.clone(), reference.pointer.clone())));
        }
        Ok(users)
    }
}

/// Sorts blocks so that each precedes its dependencies. References form no cycle.
fn dependents_first(
    mut records: BTreeMap<Address, BlockRecord>,
    mut users: BTreeMap<Address, BTreeSet<Address>>,
) -> Vec<BlockRecord> {
    let mut sorted = Vec::with_capacity(records.len());
    while let Some(address) = users.iter().find(|(_, users)| users.is_empty()).map(|(address, _)| address.clone()) {
        users.remove(&address);
        for remaining in users.values_mut() {
            remaining.remove(&address);
        }
        sorted.extend(records.remove(&address));
    }
    // Concurrent saves can make the references look like a cycle; the deletion checks them again.
    sorted.extend(records.into_values());
    sorted
}

/// Returns the error for blocks that cannot be deleted, with all dependents.
fn in_use(blocked: BTreeMap<Address, Vec<Usage>>) -> Error {
    let mut message = "the file does not contain blocks that other blocks depend on".to_owned();
    for (address, users) in &blocked {
        // A field may be the key of a map, which is untrusted text.
        let user = |user: &Usage| format!("`{}` (`{}`)", user.address, visible::line(&user.field));
        let users: Vec<String> = users.iter().map(user).collect();
        message.push_str(&format!("\n  `{address}`: required by {}", users.join(", ")));
    }
    let used_by = blocked.into_values().flatten().collect();
    Error::new(ErrorKind::Conflict, message)
        .multi_line()
        .code(Code::InUse { used_by })
        .hint("keep the blocks in the file, or change the dependent blocks first")
}
