//! Elements of lists, entries of maps, and the forms of variants.

use serde_json::Value;

use super::field::{Field, untagged};
use super::view::{View, list};

impl<'a> Field<'a> {
    /// Returns the field of a list's element.
    #[must_use]
    pub fn element(&self, index: usize) -> Self {
        let layers = self.view.layers.iter().copied();
        let sources = layers.filter_map(|layer| list(layer, "prefixItems").nth(index).or_else(|| layer.get("items")));
        self.inner(index.to_string(), sources.collect())
    }

    /// Returns the field of a map's entry.
    #[must_use]
    pub fn entry(&self, name: &str) -> Self {
        self.other_member(name, &Value::Null).unwrap_or_else(|| self.inner(name.to_owned(), Vec::new()))
    }

    /// Returns the field in the form of one of its variants.
    #[must_use]
    pub fn variant(&self, index: usize) -> Self {
        let Some(choice) = untagged(self.form, &self.view) else { return self.clone() };
        let view = self.view.deciding(self.form.schema, choice, index, &self.form.steps);
        Self::new(self.form, view, self.name.clone(), self.pointer.clone(), self.required)
    }

    /// Returns the smallest and the largest number of elements or entries.
    #[must_use]
    pub fn size(&self) -> (u64, Option<u64>) {
        let limit = |name: &'static str| self.view.keywords(name).filter_map(Value::as_u64);
        let smallest = limit("minItems").chain(limit("minProperties")).max().unwrap_or(0);
        (smallest, limit("maxItems").chain(limit("maxProperties")).min())
    }

    fn inner(&self, name: String, sources: Vec<&'a Value>) -> Self {
        let view = View::of(self.form.schema, sources, &[], &self.form.steps);
        let pointer = self.pointer.child(&name);
        Self::new(self.form, view, name, pointer, true)
    }
}
