//! Validation of a configuration beyond its schema.

use blockyard_sdk::prelude::*;

use super::{BigqueryWarehouse, table};

/// Returns the mistakes in the names of the dataset, the project and the labels.
pub(super) fn violations(warehouse: &BigqueryWarehouse) -> Vec<Violation> {
    let mut violations = Vec::new();
    if warehouse.dataset.as_deref().is_some_and(|dataset| !table::is_identifier(dataset)) {
        violations.push(Violation::new("/dataset", "is not a valid dataset name: letters, digits and `_`"));
    }
    if warehouse.project.as_deref().is_some_and(|project| project.is_empty() || project.contains(['/', '?', '#', '%']))
    {
        violations.push(Violation::new("/project", "is not a valid project ID"));
    }
    for name in warehouse.labels.keys() {
        let known = |c: char| c.is_lowercase() || c.is_numeric() || c == '_' || c == '-';
        if !name.starts_with(char::is_lowercase) || !name.chars().all(known) || name.chars().count() > 63 {
            let pointer = format!("/labels/{}", name.replace('~', "~0").replace('/', "~1"));
            violations.push(Violation::new(
                pointer,
                "is not a valid label name: 1 to 63 characters of `a-z`, `0-9`, `_`, `-`",
            ));
        }
    }
    violations
}
