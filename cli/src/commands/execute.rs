//! `blockyard execute`: runs a statement that writes to a database.

use blockyard::{Error, Json, PinnedAddress};
use serde_json::json;

use super::query::{counted, statement};
use super::{DONE, Outcome};
use crate::arguments::Execute;
use crate::context::Context;
use crate::fields::parameter;

pub(super) async fn run(arguments: Execute, context: &Context) -> Outcome {
    let address: PinnedAddress = arguments.address.parse().map_err(Error::from)?;
    let parameters =
        arguments.param.iter().map(|text| parameter(text)).collect::<Result<serde_json::Map<String, Json>, _>>()?;
    let statement = statement(&arguments.statement)?;
    let yard = context.open().await?;
    let database = yard.open_block(&address).await?.as_database()?;
    let rows = database.execute(&statement, parameters).await?;
    context.terminal.document(&json!({ "rows_affected": rows }), || format!("{} affected", counted(rows)))?;
    yard.close().await;
    Ok(DONE)
}
