//! Block type `sql-database`: SQLite, PostgreSQL, and MySQL or MariaDB, with the standard interface
//! `database`.

mod array;
mod arrow_file;
mod bytes_text;
mod catalog;
mod check;
mod codec;
mod column_type;
mod connection;
mod csv_file;
mod database;
mod dialect;
mod footer;
mod kind;
mod list;
mod load;
mod ndjson;
mod number;
mod parameters;
mod parquet_file;
mod reader;
mod rows;
mod script;
mod style;
mod unload;
mod validation;

use blockyard_sdk::prelude::*;

pub use database::SqlDatabase;
use dialect::Dialect;

bundle! {
    name: "sql",
    description: "SQL databases: SQLite, PostgreSQL, MySQL and MariaDB",
    types: [SqlDatabase],
    capabilities: ["sql sqlite", "sql postgres", "sql mysql", "clock"],
}
