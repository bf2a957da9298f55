//! Blocks of other bundles that depend on a block which is upgraded. They must keep working: each
//! requires a type, or an interface that the new version of the type must still implement.

use blockyard_host::Bundle;
use blockyard_model::reference::PermittedTarget;
use blockyard_model::{Address, BlockType, Pointer, SplitDocument, Violation};

use crate::reference::type_of;
use crate::{Error, Yard};

impl Yard {
    /// Returns a violation for each reference to a block that the new version of its type does not
    /// fit any more. Blocks of the same bundle are upgraded, too, and are omitted.
    pub(crate) async fn broken_references(
        &self,
        address: &Address,
        (old, new): (&BlockType, &BlockType),
        bundle: &Bundle,
    ) -> Result<Vec<Violation>, Error> {
        if old.interfaces.iter().all(|interface| new.interfaces.contains(interface)) {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for (user, pointer) in self.store().users_of(address).await? {
            if bundle.manifest().block_type(&user.type_slug).is_some() {
                continue;
            }
            let Some(record) = self.store().block(&user, None).await? else { continue };
            let manifest = self.manifest(&record.bundle).await?;
            let document = SplitDocument { config: record.config, ..SplitDocument::default() };
            let references = document.references(&type_of(&manifest, &user)?.schema).into_iter();
            let own = references.filter(|reference| reference.pointer == pointer && reference.target == *address);
            let broken = own.filter(|reference| !reference.permitted.iter().any(|permitted| fits(permitted, new)));
            found.extend(broken.map(|reference| {
                let required: Vec<String> = reference.permitted.iter().map(ToString::to_string).collect();
                let (field, required) = (pointer.dotted(), required.join(" or "));
                let message =
                    format!("block `{user}` (field `{field}`) requires {required}, which the new version is not");
                Violation::new(Pointer::default(), message)
            }));
        }
        Ok(found)
    }
}

fn fits(permitted: &PermittedTarget, block_type: &BlockType) -> bool {
    match permitted {
        PermittedTarget::Type(slug) => block_type.slug == *slug,
        PermittedTarget::Interface(name) => block_type.interfaces.contains(name),
    }
}
