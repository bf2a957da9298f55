//! `blockyard query`: runs a read-only statement and prints its rows in the requested format.

use blockyard::{Error, ErrorKind};

use crate::arguments::Query;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::output::Destination;
use crate::statement::counted;
use crate::tabular::{self, Format};

pub(super) async fn run(arguments: Query, context: &Context) -> Outcome {
    let parameters = arguments.statement.parameters()?;
    let statement = arguments.statement.text()?;
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
    let database = yard.open_block(&arguments.statement.address).await?.as_database()?;
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
