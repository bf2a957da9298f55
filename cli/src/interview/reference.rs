//! Questions for references to other blocks.

use std::collections::BTreeSet;

use blockyard::model::form::Field;
use blockyard::model::reference::{PermittedTarget, block_marker};
use blockyard::{BlockFilter, Error};

use super::{Interview, label};
use crate::prompt::{self, Row};
use crate::terminal::Failure;

/// Maximum number of blocks that are listed. With more of them, the address is typed.
const LISTED: u32 = 1_000;

impl Interview<'_> {
    /// Asks for a block that the reference accepts.
    pub(super) async fn ask_reference(
        &mut self,
        field: &Field<'_>,
        targets: &[PermittedTarget],
    ) -> Result<(), Failure> {
        let types = self.types(targets).await?;
        let accepted: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let creates: Vec<String> = types.iter().map(|slug| format!("`blockyard create {slug}/NAME`")).collect();
        let create = match creates.as_slice() {
            [] => "no installed bundle has such a type".to_owned(),
            commands => format!("create one with {}", commands.join(" or ")),
        };
        loop {
            let blocks = self.blocks(&types).await?;
            if blocks.is_empty() {
                self.note(&format!("References {}. There is none; {create}.", accepted.join(" or ")));
            } else {
                self.note(&format!("References {}. For a new one: {create}.", accepted.join(" or ")));
            }
            if blocks.len() > LISTED as usize {
                return self.ask_text(field).await;
            }
            let mut rows: Vec<Row> = Vec::new();
            if !field.required {
                rows.push(Row::new("-", "leave out"));
            }
            let first = rows.len();
            rows.extend(blocks.iter().map(|address| Row::new(address.clone(), "")));
            rows.push(Row::new("list again", "after creating the block in another terminal"));
            let current = self.value(field).and_then(|value| field.text(value));
            let selected = rows.iter().position(|row| Some(&row.label) == current.as_ref()).unwrap_or(0);
            match prompt::choose(&format!("{}: ", label(field)), &rows, selected)? {
                Some(index) if index == rows.len() - 1 => continue,
                Some(index) if index >= first => {
                    self.put(field, block_marker(&rows[index].label), None)?;
                    let problems = self.problems(field).await;
                    if problems.is_empty() {
                        return Ok(());
                    }
                    problems.iter().for_each(|problem| self.complain(problem));
                }
                None if field.required => self.complain("a value is required"),
                chosen => {
                    self.skips_optional |= chosen.is_none();
                    self.leave_out(field);
                    return Ok(());
                }
            }
        }
    }

    /// Returns the block types that match one of the targets.
    async fn types(&self, targets: &[PermittedTarget]) -> Result<BTreeSet<String>, Error> {
        let mut types = BTreeSet::new();
        for target in targets {
            match target {
                PermittedTarget::Type(slug) => {
                    types.insert(slug.to_string());
                }
                PermittedTarget::Interface(name) => {
                    types.extend(self.yard.types(Some(name)).await?.into_iter().map(|view| view.slug));
                }
            }
        }
        Ok(types)
    }

    /// Returns the addresses of the blocks of these types, and at most one more than are listed.
    async fn blocks(&self, types: &BTreeSet<String>) -> Result<Vec<String>, Error> {
        let filter = BlockFilter {
            types: Some(types.iter().cloned().collect()),
            limit: Some(LISTED + 1),
            ..BlockFilter::default()
        };
        Ok(self.yard.list(filter, None).await?.into_iter().map(|block| block.address).collect())
    }
}
