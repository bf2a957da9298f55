//! Conversion of a large result to Arrow (P6): through the bundle `sql`, and with sqlx directly.
//! The columns are an integer, two strings and two floats. Batches are inspected and dropped, as a
//! writer would do.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_array::builder::{Float64Builder, Int64Builder, StringBuilder};
use arrow_ipc::reader::StreamDecoder;
use arrow_schema::{DataType, Field, Schema};
use futures_util::{Stream, StreamExt as _};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ColumnIndex, Database, Decode, PgPool, Row, SqlitePool, Type};

use crate::{Outcome, open_with_cache, resident};

/// Number of rows per batch of the sqlx reference, equal to the host's.
const BATCH: usize = 8 << 10;

pub(crate) async fn through_the_bundle(url: &str, address: &str, statement: &str) -> Outcome<Value> {
    let yard = open_with_cache(url).await?;
    let block = yard.block(address).await?;
    // Establishes the connection and loads the code.
    block.call("fetch-one", json!({ "statement": "select 1 as one" })).await?;
    let started = Instant::now();
    let reply = block.call("query", json!({ "statement": statement })).await?;
    let (_, mut stream) = reply.output.ok_or("the query returned no stream")?;
    let (mut decoder, mut rows, mut bytes) = (StreamDecoder::new(), 0, 0);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|problem| problem.message)?;
        bytes += chunk.len();
        let mut buffer = arrow_buffer(chunk);
        while let Some(batch) = decoder.decode(&mut buffer)? {
            rows += batch.num_rows();
        }
    }
    let document = measured(started, rows, bytes)?;
    drop(stream);
    yard.close().await;
    Ok(document)
}

fn arrow_buffer(bytes: bytes::Bytes) -> arrow_buffer::Buffer {
    bytes.into()
}

fn measured(started: Instant, rows: usize, bytes: usize) -> Outcome<Value> {
    let seconds = started.elapsed().as_secs_f64();
    Ok(json!({ "seconds": seconds, "rows": rows, "bytes": bytes, "peak": resident()?.0 }))
}

/// Measures sqlx directly. `server` is `postgres://…` or `sqlite:…`.
pub(crate) async fn sqlx_directly(server: &str, statement: &str) -> Outcome<Value> {
    let statement = AssertSqlSafe(statement.to_owned());
    if server.starts_with("sqlite:") {
        let pool = SqlitePool::connect(server).await?;
        sqlx::query("select 1").execute(&pool).await?;
        let started = Instant::now();
        let (rows, bytes) = batches(sqlx::query(statement).fetch(&pool)).await?;
        measured(started, rows, bytes)
    } else {
        let pool = PgPool::connect(server).await?;
        sqlx::query("select 1").execute(&pool).await?;
        let started = Instant::now();
        let (rows, bytes) = batches(sqlx::query(statement).fetch(&pool)).await?;
        measured(started, rows, bytes)
    }
}

async fn batches<R>(mut stream: impl Stream<Item = sqlx::Result<R>> + Unpin) -> Outcome<(usize, usize)>
where
    R: Row,
    usize: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> f64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> &'r str: Decode<'r, R::Database> + Type<R::Database>,
    R::Database: Database,
{
    let fields = ["id", "name", "city", "height", "weight"].into_iter().zip([
        DataType::Int64,
        DataType::Utf8,
        DataType::Utf8,
        DataType::Float64,
        DataType::Float64,
    ]);
    let schema = Arc::new(Schema::new(fields.map(|(name, kind)| Field::new(name, kind, true)).collect::<Vec<_>>()));
    let mut id = Int64Builder::new();
    let (mut name, mut city) = (StringBuilder::new(), StringBuilder::new());
    let (mut height, mut weight) = (Float64Builder::new(), Float64Builder::new());
    let (mut rows, mut bytes, mut open) = (0, 0, true);
    while open {
        match stream.next().await {
            Some(row) => {
                let row = row?;
                id.append_option(row.try_get(0)?);
                name.append_option(row.try_get::<Option<&str>, _>(1)?);
                city.append_option(row.try_get::<Option<&str>, _>(2)?);
                height.append_option(row.try_get(3)?);
                weight.append_option(row.try_get(4)?);
                rows += 1;
                if rows % BATCH != 0 {
                    continue;
                }
            }
            None => open = false,
        }
        let batch = RecordBatch::try_new(
            schema.clone(),
            vec![
                Arc::new(id.finish()),
                Arc::new(name.finish()),
                Arc::new(city.finish()),
                Arc::new(height.finish()),
                Arc::new(weight.finish()),
            ],
        )?;
        bytes += batch.get_array_memory_size();
    }
    Ok((rows, bytes))
}
