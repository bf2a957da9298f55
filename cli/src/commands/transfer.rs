//! `blockyard transfer`: copies the rows of a query to a table of another database.

use blockyard::Json;
use futures_util::StreamExt as _;
use indicatif::HumanBytes;
use serde_json::{Map, json};

use crate::arguments::Transfer;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::statement::counted;

pub(super) async fn run(arguments: Transfer, context: &Context) -> Outcome {
    let Transfer { statement, to, table, schema, mode } = arguments;
    let parameters = statement.parameters()?;
    let text = statement.text()?;
    let yard = context.open().await?;
    let source = yard.open_block(&statement.address).await?.as_database()?;
    let target = yard.open_block(&to).await?;
    // Before the statement runs.
    target.can_load_rows()?;
    let mut options = Map::new();
    options.insert("table".to_owned(), json!(table));
    for (name, value) in [("schema", schema), ("mode", mode)] {
        options.extend(value.map(|value| (name.to_owned(), json!(value))));
    }
    let progress = context.progress();
    let mut bytes = 0;
    let rows = source.query(&text, parameters).await?.inspect(move |chunk| {
        bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        progress.count(|| format!("{} transferred", HumanBytes(bytes)));
    });
    let result = target.load_rows(options, rows.boxed()).await?;
    context.terminal.document(&result, || {
        let rows = result.get("rows").and_then(Json::as_u64).map_or("the rows".to_owned(), counted);
        format!("transferred {rows} to table `{table}` of `{to}`")
    })?;
    yard.close().await;
    Ok(DONE)
}
