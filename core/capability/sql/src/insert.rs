//! Rows to insert: the table and its columns, and the row or set of parameters that a database refuses.

use blockyard_call::Problem;
use blockyard_model::capability::Dialect;
use serde_json::json;

use crate::bindings::blockyard::bundle::sql::Value;
use crate::literal;

/// Failure of a bulk operation.
pub(super) struct Refused {
    /// Index of the set or row that failed, from 0; `None` if the failure is not specific to one.
    pub(super) index: Option<usize>,
    pub(super) problem: Problem,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { index: None, problem }
    }
}

impl Refused {
    pub(super) fn at(index: usize, problem: Problem) -> Self {
        Self { index: Some(index), problem }
    }

    /// Converts the failure to a problem that names the set of parameters.
    pub(super) fn of_sets(self) -> Problem {
        let Self { index, problem } = self;
        match index {
            None => problem,
            Some(index) => {
                Problem { message: format!("set {} of the parameters: {}", index + 1, problem.message), ..problem }
            }
        }
    }

    /// Converts the failure to a problem whose details contain the number of the row, from 1.
    pub(super) fn of_rows(self) -> Problem {
        let Self { index, problem } = self;
        let Some(index) = index else { return problem };
        let mut details = problem
            .details
            .as_deref()
            .map_or_else(|| json!({}), |text| serde_json::from_str(text).expect("the host writes details as JSON"));
        details["row"] = (index + 1).into();
        problem.details(&details)
    }
}

/// A table, and those of its columns for which rows have values. The names are quoted identifiers,
/// so that no name can be read as SQL.
pub(super) struct InsertTarget {
    dialect: Dialect,
    /// Name of the schema as given, without quotes.
    pub(super) schema: Option<String>,
    /// Name of the table as given, without quotes.
    pub(super) name: String,
    /// Names of the columns as given, without quotes.
    pub(super) names: Vec<String>,
    /// Quoted identifier of the table, with its schema.
    pub(super) table: String,
    /// Quoted identifiers of the columns.
    pub(super) columns: Vec<String>,
}

impl InsertTarget {
    pub(super) fn new(dialect: Dialect, table: &[String], columns: &[String]) -> Result<Self, Problem> {
        let Some(name) = table.last().filter(|_| table.len() <= 2) else {
            return Err(Problem::new("invalid", "the name of a table must have one part, or two with its schema"));
        };
        if columns.is_empty() {
            return Err(Problem::new("invalid", "no columns were given for the rows"));
        }
        for (what, name) in table.iter().map(|name| ("table", name)).chain(columns.iter().map(|name| ("column", name)))
        {
            if name.is_empty() {
                return Err(Problem::new("invalid", format!("the name of a {what} is empty")));
            }
            if name.contains('\0') {
                let name = name.replace('\0', "\\0");
                return Err(Problem::new(
                    "invalid",
                    format!("the name of the {what} `{name}` contains a NUL character"),
                ));
            }
        }
        let quoted = |name: &String| match dialect {
            Dialect::Mysql => format!("`{}`", name.replace('`', "``")),
            Dialect::Postgres | Dialect::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
        };
        Ok(Self {
            dialect,
            schema: (table.len() == 2).then(|| table[0].clone()),
            name: name.clone(),
            names: columns.to_vec(),
            table: table.iter().map(quoted).collect::<Vec<_>>().join("."),
            columns: columns.iter().map(quoted).collect(),
        })
    }

    /// Returns the `INSERT` statement for this number of rows.
    pub(super) fn statement(&self, rows: usize) -> String {
        let mut statement = format!("insert into {} ({}) values ", self.table, self.columns.join(", "));
        let width = self.columns.len();
        for at in 0..rows * width {
            statement.push_str(match (at, at % width) {
                (0, _) => "(",
                (_, 0) => "), (",
                _ => ", ",
            });
            match self.dialect {
                Dialect::Postgres => statement.push_str(&format!("${}", at + 1)),
                Dialect::Sqlite | Dialect::Mysql => statement.push('?'),
            }
        }
        statement.push(')');
        statement
    }
}

/// Checks that no list among the parameters contains bytes, for databases and types without arrays.
pub(super) fn check_lists(parameters: &[Value]) -> Result<(), Problem> {
    for (index, value) in parameters.iter().enumerate() {
        literal::without_bytes_in_list(value)
            .map_err(|reason| Problem::new("invalid", format!("parameter {}: {reason}", index + 1)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_of_an_insert_are_quoted() {
        let into = InsertTarget::new(Dialect::Postgres, &names(&["s", "a\"; drop table x; --"]), &names(&["n"])).ok();
        assert_eq!(
            into.expect("a table").statement(2),
            "insert into \"s\".\"a\"\"; drop table x; --\" (\"n\") values ($1), ($2)"
        );
        let into = InsertTarget::new(Dialect::Mysql, &names(&["t"]), &names(&["a`b", "c"])).ok();
        assert_eq!(into.expect("a table").statement(2), "insert into `t` (`a``b`, `c`) values (?, ?), (?, ?)");
        for (table, columns) in
            [(&[][..], &["n"][..]), (&["a", "b", "c"], &["n"]), (&["t"], &[]), (&["t\0"], &["n"]), (&["t"], &[""])]
        {
            assert!(
                InsertTarget::new(Dialect::Sqlite, &names(table), &names(columns)).is_err(),
                "{table:?} {columns:?}"
            );
        }
    }
}
