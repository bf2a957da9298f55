//! `blockyard execute`: runs a statement that writes to a database.

use serde_json::json;

use crate::arguments::Statement;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::statement::counted;

pub(super) async fn run(arguments: &Statement, context: &Context) -> Outcome {
    let parameters = arguments.parameters()?;
    let statement = arguments.text()?;
    let yard = context.open().await?;
    let database = yard.open_block(&arguments.address).await?.as_database()?;
    let rows = database.execute(&statement, parameters).await?;
    context.terminal.document(&json!({ "rows_affected": rows }), || format!("{} affected", counted(rows)))?;
    yard.close().await;
    Ok(DONE)
}
