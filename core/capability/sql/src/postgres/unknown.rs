//! Types that the driver does not know: multiranges, and types of later server versions. The driver
//! fails on a result with such a column, so the server is asked for the types and casts these
//! columns to text.

use std::collections::HashMap;

use blockyard_call::Problem;
use sqlx::postgres::{PgColumn, PgConnection};
use sqlx::{AssertSqlSafe, Column as _, Executor as _, Row as _, SqlSafeStr as _};

use super::error::{is_about_a_type, is_unknown_type, problem, unknown_type};
use super::foreign;
use super::format::TextForm;
use super::many::ParameterType;
use super::prepare::describe;
use crate::insert::InsertTarget;

/// A column of a type that the driver does not know.
pub(super) struct Unknown {
    /// The server's name of the type.
    pub(super) type_name: String,
    pub(super) form: TextForm,
}

/// A statement with only columns that the driver knows. `unknown` has one entry per column.
pub(super) struct Known {
    pub(super) text: String,
    pub(super) unknown: Vec<Option<Unknown>>,
}

/// Rewrites a statement so that columns of unknown types are cast to text.
pub(super) async fn cast(connection: &mut PgConnection, text: &str) -> Result<Known, Problem> {
    let failed = |error: sqlx::Error| problem(&error);
    // Returns one row of nulls, without running the statement.
    let outline = format!(
        "select blockyard.* from (select 1) as one left join (\n{}\n) as blockyard on false",
        foreign::without_parameters(foreign::body(text))
    );
    // The types are reported only in the simple protocol, which accepts several statements.
    // Therefore the text is first prepared in the extended protocol: the server refuses more than
    // one statement there, before the driver fails on the types.
    match connection.prepare(AssertSqlSafe(outline.as_str()).into_sql_str()).await {
        Ok(_) => {}
        Err(error) if is_about_a_type(&error) => {}
        Err(_) => return Err(unknown_type()),
    }
    let row = connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(outline))).await.map_err(|_| unknown_type())?;
    let oids: Vec<Option<u32>> = row.columns().iter().map(oid).collect();
    let types = types(connection, &oids).await.map_err(failed)?;
    let forms: Vec<_> = oids.iter().map(|oid| oid.and_then(|oid| types.get(&oid))).collect();
    if forms.iter().all(Option::is_none) {
        return Err(unknown_type());
    }
    let casts: Vec<Option<TextForm>> = forms.iter().map(|form| form.map(|(_, form)| *form)).collect();
    let names: Vec<&str> = row.columns().iter().map(PgColumn::name).collect();
    let unknown = forms
        .iter()
        .map(|form| form.map(|(type_name, form)| Unknown { type_name: type_name.to_ascii_lowercase(), form: *form }));
    Ok(Known { text: foreign::cast_named_columns(text, &casts, &names), unknown: unknown.collect() })
}

/// Returns the types of the columns of an `INSERT` statement that has a column of an unknown type.
/// Each column is described separately; those that the driver does not know are sent as text.
pub(super) async fn column_types(
    connection: &mut PgConnection,
    into: &InsertTarget,
) -> Result<Vec<ParameterType>, Problem> {
    let mut types = Vec::new();
    for (name, column) in into.names.iter().zip(&into.columns) {
        let alone = format!("insert into {} ({column}) values ($1)", into.table);
        let expected = match describe(connection, &alone, 1).await {
            Ok((_, known)) => known.into_iter().next().map(ParameterType::Known).ok_or_else(unknown_type)?,
            Err(failed) if is_unknown_type(&failed) => ParameterType::Unknown(text_form(connection, into, name).await?),
            Err(failed) => return Err(failed),
        };
        types.push(expected);
    }
    Ok(types)
}

/// Returns the text form of a column's type, according to the catalog.
async fn text_form(connection: &mut PgConnection, into: &InsertTarget, column: &str) -> Result<TextForm, Problem> {
    let query = "select t.typcategory = 'A' from pg_catalog.pg_attribute a \
                 join pg_catalog.pg_type t on t.oid = a.atttypid \
                 where a.attrelid = to_regclass($1) and a.attname::text = $2 and not a.attisdropped";
    let is_array: Option<bool> = sqlx::query_scalar(query)
        .bind(&into.table)
        .bind(column)
        .fetch_optional(connection)
        .await
        .map_err(|error| problem(&error))?;
    Ok(if is_array == Some(true) { TextForm::Json } else { TextForm::Words })
}

fn oid(column: &PgColumn) -> Option<u32> {
    column.type_info().oid().map(|oid| oid.0)
}

/// Returns the names of the types that the driver cannot read, directly or because of a type that
/// they are composed of.
async fn types(
    connection: &mut PgConnection,
    oids: &[Option<u32>],
) -> Result<HashMap<u32, (String, TextForm)>, sqlx::Error> {
    let list = oids.iter().flatten().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let query = format!(
        "with recursive needed(root, oid) as (
           select t.oid, t.oid from pg_catalog.pg_type t where t.oid = any(array[{list}]::oid[])
           union
           select n.root, d.oid from needed n join pg_catalog.pg_type t on t.oid = n.oid
           cross join lateral (
             select t.typelem union all select t.typbasetype
             union all select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = t.oid
             union all select a.atttypid from pg_catalog.pg_attribute a
               where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
           ) as d(oid) where d.oid <> 0
         )
         select n.root::int8, pg_catalog.format_type(n.root, null)::text, bool_or(r.typcategory = 'A')
         from needed n join pg_catalog.pg_type t on t.oid = n.oid join pg_catalog.pg_type r on r.oid = n.root
         group by n.root
         having bool_or(t.typtype not in ('b', 'c', 'd', 'e', 'p', 'r')
           or t.typcategory not in ('A', 'B', 'C', 'D', 'E', 'G', 'I', 'N', 'P', 'R', 'S', 'T', 'U', 'V', 'X'))"
    );
    let rows: Vec<(i64, String, bool)> = sqlx::query_as(AssertSqlSafe(query)).fetch_all(connection).await?;
    let form = |is_array| if is_array { TextForm::Json } else { TextForm::Words };
    let known =
        rows.into_iter().filter_map(|(oid, name, is_array)| Some((u32::try_from(oid).ok()?, (name, form(is_array)))));
    Ok(known.collect())
}
