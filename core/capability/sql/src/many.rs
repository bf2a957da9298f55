//! Bulk operations: one statement with many sets of parameters, and inserting rows into a table.

use blockyard_call::Problem;
use blockyard_model::capability::Dialect;
use serde_json::json;

use super::pool::Pooled;
use super::{Access, Claimed, literal, mysql, postgres, sqlite};
use crate::bindings::blockyard::bundle::sql::{Execution, Value};

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
    fn of_sets(self) -> Problem {
        let Self { index, problem } = self;
        match index {
            None => problem,
            Some(index) => {
                Problem { message: format!("set {} of the parameters: {}", index + 1, problem.message), ..problem }
            }
        }
    }

    /// Converts the failure to a problem whose details contain the number of the row, from 1.
    fn of_rows(self) -> Problem {
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

/// Runs the statement once for each set of parameters, in the open transaction.
pub(super) async fn execute(
    pooled: &mut Pooled,
    text: &str,
    sets: Vec<Vec<Value>>,
    access: Access,
) -> Result<Execution, Problem> {
    // PostgreSQL has arrays, and reports which parameters are arrays.
    if !matches!(pooled, Pooled::Postgres(_)) {
        for (index, set) in sets.iter().enumerate() {
            check_lists(set).map_err(|problem| Refused::at(index, problem).of_sets())?;
        }
    }
    let executed = match pooled {
        Pooled::Postgres(session) => postgres::execute_many(session, text, sets, access).await,
        Pooled::Sqlite(session) => sqlite::execute_many(session, text, sets).await,
        Pooled::Mysql(session) => mysql::execute_many(session, text, sets, access).await,
    };
    executed.map_err(Refused::of_sets)
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
    fn new(dialect: Dialect, table: &[String], columns: &[String]) -> Result<Self, Problem> {
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

/// Inserts rows into a table, in the open transaction. Returns their number.
pub(super) async fn insert(
    mut claimed: Claimed,
    table: &[String],
    columns: &[String],
    rows: Vec<Vec<Value>>,
) -> Result<u64, Problem> {
    let pooled = claimed.start()?;
    let dialect = match pooled {
        Pooled::Postgres(_) => Dialect::Postgres,
        Pooled::Sqlite(_) => Dialect::Sqlite,
        Pooled::Mysql(_) => Dialect::Mysql,
    };
    let inserted = match check(dialect, table, columns, &rows) {
        Err(refused) => Err(refused),
        Ok(_) if rows.is_empty() => Ok(0),
        Ok(into) => match pooled {
            Pooled::Postgres(session) => postgres::insert(session, &into, &rows).await,
            Pooled::Sqlite(session) => sqlite::insert(session, &into, rows).await,
            Pooled::Mysql(session) => mysql::insert(session, &into, &rows).await,
        },
    };
    claimed.finish();
    inserted.map_err(Refused::of_rows)
}

/// Checks that no list among the parameters contains bytes, for databases and types without arrays.
pub(super) fn check_lists(parameters: &[Value]) -> Result<(), Problem> {
    for (index, value) in parameters.iter().enumerate() {
        literal::without_bytes_in_list(value)
            .map_err(|reason| Problem::new("invalid", format!("parameter {}: {reason}", index + 1)))?;
    }
    Ok(())
}

fn check(dialect: Dialect, table: &[String], columns: &[String], rows: &[Vec<Value>]) -> Result<InsertTarget, Refused> {
    let into = InsertTarget::new(dialect, table, columns)?;
    match rows.iter().position(|row| row.len() != columns.len()) {
        None => Ok(into),
        Some(index) => {
            let message = format!("the row has {} values for {} columns", rows[index].len(), columns.len());
            Err(Refused::at(index, Problem::new("invalid", message)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_stay_names() {
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
