//! Questions for lists, maps and variants.

use blockyard::Json;
use blockyard::model::form::{Field, Kind, Variant};
use blockyard::model::visible;
use serde_json::json;

use super::{Interview, label};
use crate::prompt::{self, Row, Typed};
use crate::terminal::Failure;

impl Interview<'_> {
    /// Asks for the elements of a list, until the user ends it.
    pub(super) async fn ask_list(&mut self, list: &Field<'_>) -> Result<(), Failure> {
        let skips = std::mem::take(&mut self.skips_optional);
        let (smallest, largest) = list.size();
        let mut count = self.value(list).and_then(Json::as_array).map_or(0, Vec::len);
        if count > 0 {
            let rows =
                [Row::new("add", format!("keep {count} and add more")), Row::new("new", "begin with an empty list")];
            if prompt::choose(&format!("{}: ", label(list)), &rows, 0)? == Some(1) {
                self.put(list, json!([]), None)?;
                count = 0;
            }
        }
        let ends = if list.required {
            "An empty answer ends the list."
        } else {
            "An empty answer ends the list, or leaves it out."
        };
        self.note(ends);
        loop {
            let mut element = list.element(count);
            element.required = (count as u64) < smallest;
            if largest.is_some_and(|largest| count as u64 >= largest) {
                break;
            }
            if is_structured(&element) && !self.wants_another(list, count, element.required)? {
                break;
            }
            if count == 0 {
                self.put(list, json!([]), None)?;
            }
            let is_group = element.kind == Kind::Group;
            element.required |= is_group;
            self.asked.retain(|pointer| !pointer.is_within(&element.pointer));
            self.ask(&element).await?;
            if self.value(&element).is_none() {
                break;
            }
            count += 1;
        }
        self.skips_optional = skips;
        self.end_of(list, count)
    }

    /// Stores an empty list or map if it is required, and leaves it out otherwise.
    fn end_of(&mut self, field: &Field<'_>, count: usize) -> Result<(), Failure> {
        let empty = if field.kind == Kind::Map { json!({}) } else { json!([]) };
        match (count, field.required) {
            (0, true) => self.put(field, empty, None),
            (0, false) => {
                self.leave_out(field);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn wants_another(&mut self, list: &Field<'_>, count: usize, required: bool) -> Result<bool, Failure> {
        if required {
            return Ok(true);
        }
        let rows = [Row::new("no", "end of the list"), Row::new("yes", "add an element")];
        let name = visible::line(&list.pointer.dotted());
        Ok(prompt::choose(&format!("{name}, element {}: ", count + 1), &rows, 0)? == Some(1))
    }

    /// Asks for the entries of a map, until the user ends it.
    pub(super) async fn ask_map(&mut self, map: &Field<'_>) -> Result<(), Failure> {
        let skips = std::mem::take(&mut self.skips_optional);
        self.note("Each entry has a name and a value. An empty name ends the entries.");
        loop {
            let count = self.value(map).and_then(Json::as_object).map_or(0, serde_json::Map::len);
            let name = visible::line(&map.pointer.dotted());
            let name = match prompt::line(&format!("{name}, name of entry {}: ", count + 1), "")? {
                Typed::Text(name) if !name.trim().is_empty() => name.trim().to_owned(),
                Typed::Text(_) | Typed::Escape if count as u64 >= map.size().0 => {
                    self.skips_optional = skips;
                    return self.end_of(map, count);
                }
                Typed::Text(_) | Typed::Escape => {
                    self.complain(&format!("at least {} entries are required", map.size().0));
                    continue;
                }
            };
            if count == 0 {
                self.put(map, json!({}), None)?;
            }
            let entry = map.entry(&name);
            self.asked.retain(|pointer| !pointer.is_within(&entry.pointer));
            self.ask(&entry).await?;
        }
    }

    /// Asks for the form of a value, and for the value in this form.
    pub(super) async fn ask_variant(&mut self, field: &Field<'_>, variants: &[Variant]) -> Result<(), Failure> {
        let mut rows: Vec<Row> = Vec::new();
        if !field.required {
            rows.push(Row::new("-", "leave out"));
        }
        rows.extend(variants.iter().map(|variant| Row::new(variant.title.clone(), variant.description.clone())));
        let first = rows.len() - variants.len();
        let before = self.variants.get(&field.pointer).copied();
        let selected = before.map_or(0, |before| before + first);
        let option = loop {
            match prompt::choose(&format!("{}: ", label(field)), &rows, selected)? {
                Some(index) if index >= first => break index - first,
                None if field.required => self.complain("a value is required"),
                _ => {
                    self.leave_out(field);
                    return Ok(());
                }
            }
        };
        if before != Some(option) {
            self.leave_out(field);
        }
        self.variants.insert(field.pointer.clone(), option);
        let mut chosen = field.variant(option);
        chosen.required = true;
        chosen.description = String::new();
        self.asked.retain(|pointer| !pointer.is_within(&field.pointer));
        self.ask(&chosen).await
    }
}

/// Returns whether an element is asked by more than one prompt, so that an empty answer cannot end the
/// list.
fn is_structured(element: &Field<'_>) -> bool {
    matches!(element.kind, Kind::Group | Kind::List | Kind::Map | Kind::Variant(_) | Kind::Constant(_))
}
