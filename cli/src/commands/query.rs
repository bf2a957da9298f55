//! `query`: rows of a `database`, in the format that is wanted.

use std::path::Path;

use blockyard::{Error, Json, PinnedAddress};

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
    let by_file = arguments.out.as_deref().and_then(Format::of_file);
    let format =
        arguments.format.or(by_file).unwrap_or(if context.terminal.json { Format::Json } else { Format::Table });
    let yard = context.open().await?;
    let database = yard.open_block(&address).await?.as_database()?;
    let stream = database.query(&statement, parameters).await?;
    let destination = Destination::new(arguments.out.as_deref())?;
    let to_file = matches!(destination, Destination::File { .. });
    let (rows, cut) = tabular::convert(stream, format, destination, context.progress()).await?;
    if cut {
        context.terminal.note(&format!("the table shows the first of {rows} rows; another `--format` has all"));
    }
    if to_file {
        context.terminal.note(&format!("{rows} rows written"));
    }
    yard.close().await;
    Ok(DONE)
}

/// A statement, or the text of the file after `@`.
pub(super) fn statement(text: &str) -> Result<String, Error> {
    match text.strip_prefix('@') {
        Some(path) => read(Path::new(path)),
        None => Ok(text.to_owned()),
    }
}
