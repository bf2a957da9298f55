//! Download and upload of an object of Cloud Storage (P5): through `gcs-bucket`, like `cp`, and
//! with reqwest directly. Both compute the CRC32C checksum of the object while streaming, and
//! compare it.

use std::time::Instant;

use blockyard::{Block, Input, PutOptions};
use bytes::Bytes;
use crc::{CRC_32_ISCSI, Crc, Table};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::{Outcome, open, resident};

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// Size of the downloaded object in bytes.
const DOWN: usize = 1 << 30;
/// Size of the uploaded object in bytes. It is smaller because the test server reads the entire
/// object again for each chunk.
const UP: usize = 256 << 20;
/// Upload chunk size in bytes, equal to the bundle's.
const CHUNK: usize = 16 << 20;
/// Size of a stream chunk in bytes, equal to that of file reads.
const BODY_CHUNK: usize = 256 << 10;
/// Number of iterations; the best result counts, because other load on the machine can only slow it
/// down.
const TRIES: usize = 3;

pub(crate) async fn measure(url: &str, server: &str) -> Outcome<Value> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let objects = format!("{server}/upload/storage/v1/b/zoo/o");
    // Streamed, because peak memory includes everything that this process ever allocated.
    let body = reqwest::Body::wrap_stream(stream::iter(chunks(DOWN).map(Ok::<_, std::io::Error>)));
    let media = client.post(format!("{objects}?uploadType=media&name=object")).header("content-length", DOWN);
    media.body(body).send().await?.error_for_status()?;

    let yard = open(url).await?;
    yard.grant(&"gcp".parse()?, &format!("http {server}").parse()?).await?;
    let create = async |address: &str, texts: &[(&str, &str)]| -> Outcome<Block> {
        crate::yard::create(&yard, address, texts, &[]).await?;
        Ok(yard.block(address).await?)
    };
    create("gcp-credentials/b", &[("endpoint", server)]).await?;
    let block = create("gcs-bucket/b", &[("credentials", "gcp-credentials/b"), ("bucket", "zoo")]).await?;
    let storage = block.as_object_storage()?;
    storage.stat("object").await?;
    let (idle, _) = resident()?;

    let (mut down, mut up, mut down_reqwest, mut up_reqwest) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for _ in 0..TRIES {
        let started = Instant::now();
        let (_, mut pieces) = storage.get("object").await?;
        let mut count = 0;
        while let Some(piece) = pieces.next().await {
            count += piece.map_err(|problem| problem.message)?.len();
        }
        down = down.max(rate(count, DOWN, started)?);

        let started = Instant::now();
        let stream = stream::iter(chunks(UP).map(Ok)).boxed();
        let input = Input { media_type: "application/octet-stream".to_owned(), size: Some(UP as u64), stream };
        let object = storage.put("up", input, &PutOptions::default()).await?;
        up = up.max(rate(usize::try_from(object.size)?, UP, started)?);
    }
    let (peak, _) = resident()?;
    for _ in 0..TRIES {
        let started = Instant::now();
        let (count, _) = download(&client, &format!("{server}/storage/v1/b/zoo/o/object")).await?;
        down_reqwest = down_reqwest.max(rate(count, DOWN, started)?);

        let started = Instant::now();
        let count = upload(&client, &format!("{objects}?uploadType=resumable&name=by-hand")).await?;
        up_reqwest = up_reqwest.max(rate(count, UP, started)?);
    }
    yard.close().await;
    Ok(json!({
        "down": down, "down_reqwest": down_reqwest, "up": up, "up_reqwest": up_reqwest,
        "memory_over_idle": peak.saturating_sub(idle),
    }))
}

/// Returns bytes per second, or an error if bytes are missing.
fn rate(count: usize, expected: usize, started: Instant) -> Outcome<f64> {
    if count != expected {
        return Err(format!("received {count} bytes, expected {expected}").into());
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

fn chunks(size: usize) -> impl Iterator<Item = Bytes> + Send {
    let piece = Bytes::from(vec![7; BODY_CHUNK]);
    (0..size / BODY_CHUNK).map(move |_| piece.clone())
}

/// Requests the object's metadata, downloads it and compares its checksum.
async fn download(client: &reqwest::Client, object: &str) -> Outcome<(usize, u32)> {
    let resource: Value = serde_json::from_slice(&client.get(object).send().await?.bytes().await?)?;
    let mut bytes = client.get(format!("{object}?alt=media")).send().await?.error_for_status()?.bytes_stream();
    let (mut count, mut digest) = (0, CRC32C.digest());
    while let Some(piece) = bytes.next().await {
        let piece = piece?;
        count += piece.len();
        digest.update(&piece);
    }
    let sum = digest.finalize();
    compare(&resource, sum)?;
    Ok((count, sum))
}

/// Uploads in chunks with a resumable session.
async fn upload(client: &reqwest::Client, address: &str) -> Outcome<usize> {
    let session = client.post(address).header("content-type", "application/json").body("{}").send().await?;
    let session = session.headers().get("location").ok_or("no session")?.to_str()?.to_owned();
    let (mut at, mut digest, mut chunk) = (0, CRC32C.digest(), Vec::new());
    for piece in chunks(UP) {
        digest.update(&piece);
        chunk.extend_from_slice(&piece);
        if chunk.len() < CHUNK && at + chunk.len() < UP {
            continue;
        }
        let end = at + chunk.len();
        let total = if end == UP { UP.to_string() } else { "*".to_owned() };
        let range = format!("bytes {at}-{}/{total}", end - 1);
        let sent = client.put(&session).header("content-range", range).body(std::mem::take(&mut chunk)).send().await?;
        let answer = sent.bytes().await?;
        at = end;
        if end == UP {
            compare(&serde_json::from_slice(&answer)?, digest.clone().finalize())?;
        }
    }
    Ok(at)
}

/// Compares the checksum in the encoding of Cloud Storage: big-endian, in base64.
fn compare(resource: &Value, sum: u32) -> Outcome {
    use base64::Engine as _;
    let sum = base64::engine::general_purpose::STANDARD.encode(sum.to_be_bytes());
    if resource["crc32c"] == sum { Ok(()) } else { Err(format!("CRC32C {} is not {sum}", resource["crc32c"]).into()) }
}
