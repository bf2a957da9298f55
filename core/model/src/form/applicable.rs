//! The part of a value whose fields apply.

use serde_json::{Map, Value};

use super::field::{Field, Kind};

impl Field<'_> {
    /// Returns the part of a value whose fields apply, as if a user had answered one field after the
    /// other. A user interface keeps every answer, and saves those that apply: if the user chooses
    /// another variant and then the first one again, no answer is lost.
    #[must_use]
    pub fn applicable(&self, value: &Value) -> Value {
        match (&self.kind, value) {
            (Kind::Group, Value::Object(members)) => self.applicable_members(members),
            (Kind::List, Value::Array(elements)) => {
                elements.iter().enumerate().map(|(index, element)| self.element(index).applicable(element)).collect()
            }
            (Kind::Map, Value::Object(entries)) => {
                let entry = |(name, entry): (&String, &Value)| (name.clone(), self.entry(name).applicable(entry));
                entries.iter().map(entry).collect::<Map<_, _>>().into()
            }
            _ => value.clone(),
        }
    }

    fn applicable_members(&self, members: &Map<String, Value>) -> Value {
        let mut found = Value::Object(Map::new());
        let mut seen: Vec<String> = Vec::new();
        while let Some(next) = self.members(&found).into_iter().find(|member| !seen.contains(&member.name)) {
            if let Some(member) = members.get(&next.name) {
                found[&next.name] = next.applicable(member);
            }
            seen.push(next.name);
        }
        for (name, member) in members {
            if !seen.contains(name)
                && let Some(field) = self.other_member(name, &found)
            {
                found[name] = field.applicable(member);
            }
        }
        found
    }
}
