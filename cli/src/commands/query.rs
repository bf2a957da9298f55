//! `blockyard query`: runs a read-only statement and prints its rows in the requested format.

use std::path::Path;

use blockyard::{Error, ErrorKind, Json, PinnedAddress};

use super::{DONE, Outcome};
use crate::arguments::Query;
use crate::context::Context;
use crate::fields::{parameter, read};
use crate::output::Destination;
use crate::tabular::{self, Format};

pub(super) async fn run(arguments: Query, context: &Context) -> Outcome {
    let address: PinnedAddress = arguments.address.parse().map_err(Error::from)?;
    let parameters =
        arguments.param.iter().map(|text| parameter(text)).collect::<Result<serde_json::Map<String, Json>, _>>()?;
    let statement = statement(&arguments.statement)?;
    let by_file = match arguments.out.as_deref() {
        Some(path) if path.as_os_str() != "-" && arguments.format.is_none() => {
            Some(Format::of_file(path).ok_or_else(|| {
                Error::new(
                    ErrorKind::Usage,
                    format!("cannot determine the row format from the extension of `{}`", path.display()),
                )
                .hint("use `--format`, or a file name that ends with .json, .ndjson, .csv, .arrow or .parquet")
            })?)
        }
        _ => None,
    };
    let format =
        arguments.format.or(by_file).unwrap_or(if context.terminal.json { Format::Json } else { Format::Table });
    let mut destination = Destination::new(arguments.out.as_deref())?;
    if format.is_json() {
        destination.json();
    }
    if format.is_binary() && destination.is_terminal() {
        return Err(Error::new(
            ErrorKind::Usage,
            "Arrow and Parquet are binary formats and are not printed on a terminal",
        )
        .hint("write to a file with `--out FILE`, or to a pipe")
        .into());
    }
    let yard = context.open().await?;
    let database = yard.open_block(&address).await?.as_database()?;
    let stream = database.query(&statement, parameters).await?;
    let to_file = matches!(destination, Destination::File { .. });
    let (rows, cut) = tabular::convert(stream, format, destination, context.progress()).await?;
    if cut {
        context
            .terminal
            .note(&format!("the table shows only the first of {rows} rows; use another `--format` to get all"));
    }
    if to_file {
        let written = if cut { format!("the first of {rows} rows") } else { counted(rows) };
        context.terminal.note(&format!("{written} written"));
    }
    yard.close().await;
    Ok(DONE)
}

/// Returns the statement, reading it from a file if the argument begins with `@`.
pub(super) fn statement(text: &str) -> Result<String, Error> {
    match text.strip_prefix('@') {
        Some(path) => read(Path::new(path)),
        None => Ok(text.to_owned()),
    }
}

/// Formats a row count: `1 row`, `2 rows`.
pub(super) fn counted(rows: u64) -> String {
    format!("{rows} row{}", if rows == 1 { "" } else { "s" })
}
