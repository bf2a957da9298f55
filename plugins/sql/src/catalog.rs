//! Queries for the tables and views of a database and their columns.

use blockyard_sdk::prelude::*;

use crate::Dialect;

/// A table or view.
#[data]
pub(crate) struct Table {
    /// Schema; omitted for SQLite.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    /// Name of the table or view.
    name: String,
    /// `table` or `view`.
    kind: String,
}

/// A column of a table or view.
#[data]
pub(crate) struct TableColumn {
    /// Column name.
    pub(crate) name: String,
    /// Type name of the database.
    pub(crate) type_name: String,
    /// `true` if the column can be null.
    nullable: bool,
    /// Default expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    /// `true` if the column is part of the primary key.
    primary_key: bool,
}

/// Returns the query for tables and views. Its parameter `:schema_name` may be null.
pub(crate) fn tables(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => {
            "select null as schema_name, name, type as kind from sqlite_schema \
             where type in ('table', 'view') and name not like 'sqlite~_%' escape '~' and :schema_name is null \
             order by name"
        }
        Dialect::Postgres => {
            "select n.nspname::text as schema_name, c.relname::text as name, \
             case when c.relkind in ('v', 'm') then 'view' else 'table' end as kind \
             from pg_class c join pg_namespace n on n.oid = c.relnamespace \
             where c.relkind in ('r', 'p', 'f', 'v', 'm') and not c.relispartition \
             and case when :schema_name::text is null \
             then n.nspname !~ '^pg_' and n.nspname <> 'information_schema' else n.nspname = :schema_name::text end \
             order by 1, 2"
        }
        Dialect::Mysql => {
            "select cast(table_schema as char) as schema_name, cast(table_name as char) as name, \
             case when table_type like '%VIEW' then 'view' else 'table' end as kind from information_schema.tables \
             where table_schema = coalesce(:schema_name, database()) order by 2"
        }
    }
}

/// Returns the query for the columns of `:table_name`, in order. `:schema_name` may be null.
pub(crate) fn columns(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => {
            "select name, type as type_name, case when \"notnull\" or pk and lower(type) = 'integer' \
             and (select count(*) from pragma_table_info(:table_name) where pk) = 1 then 0 else 1 end as nullable, \
             dflt_value as default_value, case when pk then 1 else 0 end as primary_key \
             from pragma_table_xinfo(:table_name) where hidden <> 1 and :schema_name is null order by cid"
        }
        Dialect::Postgres => {
            "select a.attname::text as name, format_type(a.atttypid, a.atttypmod) as type_name, \
             case when a.attnotnull then 0 else 1 end as nullable, pg_get_expr(d.adbin, d.adrelid) as default_value, \
             case when exists (select 1 from pg_index i where i.indrelid = a.attrelid and i.indisprimary \
             and a.attnum = any(i.indkey)) then 1 else 0 end as primary_key \
             from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace \
             left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
             where c.relname = :table_name::text and c.relkind in ('r', 'p', 'f', 'v', 'm') \
             and case when :schema_name::text is null then pg_table_is_visible(c.oid) else n.nspname = :schema_name::text end \
             and a.attnum > 0 and not a.attisdropped order by a.attnum"
        }
        Dialect::Mysql => {
            "select cast(column_name as char) as name, cast(column_type as char) as type_name, \
             case is_nullable when 'YES' then 1 else 0 end as nullable, cast(column_default as char) as default_value, \
             case column_key when 'PRI' then 1 else 0 end as primary_key from information_schema.columns \
             where table_schema = coalesce(:schema_name, database()) and table_name = :table_name order by ordinal_position"
        }
    }
}

/// Returns the query for the types of the columns that `describe-table` does not describe completely,
/// in the form that `ColumnType` parses. Its parameters are the table and the schema, which may be null.
pub(crate) fn stored_types(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Sqlite => None,
        // A domain is replaced by its base type. `list`, `range` and `record` are followed by the
        // types that they consist of, one per line.
        Dialect::Postgres => Some(
            "with recursive resolved(number, name, type, modifier, lists) as ( \
             select a.attnum, a.attname, a.atttypid, a.atttypmod, 0 from pg_catalog.pg_attribute a \
             join pg_catalog.pg_class c on c.oid = a.attrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
             where c.relname = $1::text and c.relkind in ('r', 'p', 'f', 'v', 'm') \
             and case when $2::text is null then pg_catalog.pg_table_is_visible(c.oid) else n.nspname = $2::text end \
             and a.attnum > 0 and not a.attisdropped \
             union all \
             select r.number, r.name, case t.typtype when 'd' then t.typbasetype else e.oid end, \
             case t.typtype when 'd' then t.typtypmod else r.modifier end, \
             case t.typtype when 'd' then r.lists else r.lists + 1 end \
             from resolved r join pg_catalog.pg_type t on t.oid = r.type \
             left join pg_catalog.pg_type e on e.typarray = t.oid where t.typtype = 'd' or e.oid is not null) \
             select r.name::text as name, repeat('list' || chr(10), r.lists) || case t.typtype when 'e' then 'enum' \
             when 'c' then 'record' || chr(10) || coalesce((select string_agg(case f.typtype when 'e' then 'enum' \
             else pg_catalog.format_type(a.atttypid, a.atttypmod) end, chr(10) order by a.attnum) \
             from pg_catalog.pg_attribute a join pg_catalog.pg_type f on f.oid = a.atttypid \
             where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped), '') \
             when 'r' then 'range' || chr(10) || (select pg_catalog.format_type(g.rngsubtype, null) \
             from pg_catalog.pg_range g where g.rngtypid = t.oid) \
             else pg_catalog.format_type(r.type, r.modifier) end as type_name \
             from resolved r join pg_catalog.pg_type t on t.oid = r.type left join pg_catalog.pg_type e on e.typarray = t.oid \
             where t.typtype <> 'd' and e.oid is null order by r.number",
        ),
        Dialect::Mysql => Some(
            "select cast(column_name as char) as name, concat(cast(column_type as char), ' not null') as type_name \
             from information_schema.columns where data_type = 'timestamp' and is_nullable = 'NO' \
             and table_name = ? and table_schema = coalesce(?, database())",
        ),
    }
}

impl Table {
    pub(crate) fn read(row: &Map<String, Value>) -> Self {
        let text = |column: &str| row.get(column).and_then(Value::as_str).map(str::to_owned);
        Self {
            schema: text("schema_name"),
            name: text("name").unwrap_or_default(),
            kind: text("kind").unwrap_or_default(),
        }
    }
}

impl TableColumn {
    pub(crate) fn read(row: &Map<String, Value>) -> Self {
        let text = |column: &str| row.get(column).and_then(Value::as_str).map(str::to_owned);
        let yes = |column: &str| row.get(column).and_then(Value::as_i64) == Some(1);
        Self {
            name: text("name").unwrap_or_default(),
            type_name: text("type_name").unwrap_or_default(),
            nullable: yes("nullable"),
            // MariaDB reports a missing default of a nullable column as `NULL`.
            default: text("default_value").filter(|default| default != "NULL"),
            primary_key: yes("primary_key"),
        }
    }
}
