//! Flights of a month and a carrier: downloaded, cleaned, stored in a bucket as Parquet, and loaded
//! into the warehouse. Uses the same blocks as `flights.sh`; it knows only their addresses and the
//! three parameters.
//!
//! Usage: `flights-etl YEAR MONTH CARRIER`, with the yard in `BLOCKYARD_YARD`.

#![allow(clippy::print_stdout, reason = "prints a summary")]

use std::error::Error;

use blockyard::{Block, CallReply, Deadline, Input, Json, KeySource, PutOptions, Yard};
use serde_json::json;

const RESET: &str = include_str!("../reset.sql");
const DEPARTURES: &str = include_str!("../departures.sql");

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [year, month, carrier] = arguments.as_slice() else { return Err("expected YEAR MONTH CARRIER".into()) };
    let (number, path) = (|text: &str| text.parse::<u32>(), format!("{year}/{month}/{carrier}.parquet"));

    let yard = Yard::open(&std::env::var("BLOCKYARD_YARD")?, KeySource::from_environment()).await?;
    let web = yard.block("http-endpoint/flights").await?;
    let staging = yard.block("sql-database/staging").await?;
    let lake = yard.block("gcs-bucket/lake").await?;
    let warehouse = yard.block("bigquery-warehouse/flights").await?;

    staging.call("execute", json!({ "statement": RESET })).await?;
    let raw = web.call("get", json!({ "path": format!("{year}/{month}/flights.csv") })).await?;
    let loaded = pass_on(raw, &staging, "load", json!({ "table": "raw_flights", "format": "csv" })).await?;
    let parameters = json!({ "year": number(year)?, "month": number(month)?, "carrier": carrier });
    let clean = json!({ "statement": DEPARTURES, "parameters": parameters, "format": "parquet" });
    let departures = staging.call("unload", clean).await?;
    let object = lake.as_object_storage()?.put(&path, input(departures)?, &PutOptions::default()).await?;
    let uri = lake.call("uri", json!({ "path": path })).await?.result;
    let load = json!({ "table": "departures", "uris": [uri], "format": "parquet" });
    let job = warehouse.call("load-uri", load).await?.result;

    println!("{} flights fetched, {} bytes stored, {} rows loaded", loaded["rows"], object.size, job["rows"]);
    yard.close().await;
    Ok(())
}

/// Passes the output of one operation to an operation of another block.
async fn pass_on(from: CallReply, to: &Block, operation: &str, arguments: Json) -> Result<Json, Box<dyn Error>> {
    let reply = to.call_with(operation, arguments, Some(input(from)?), Deadline::default()).await?;
    Ok(reply.result)
}

fn input(reply: CallReply) -> Result<Input, Box<dyn Error>> {
    let (media_type, stream) = reply.output.ok_or("the operation returned no output")?;
    Ok(Input { media_type, size: None, stream })
}
