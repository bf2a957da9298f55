//! Download and upload of an object (P5): through a bundle, which forwards the body by handle, and
//! with reqwest directly. Both discard the downloaded bytes and upload the same bytes at full
//! speed.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Instant;

use blockyard::model::Capability;
use blockyard::{Block, Deadline, Input, Patch};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::{Outcome, open, resident};

/// Size of the object in bytes.
const SIZE: u64 = 1 << 30;
/// Size of a stream chunk in bytes, equal to that of file reads.
const CHUNK: usize = 256 << 10;
/// Number of iterations; the best result counts, because other load on the machine can only slow it
/// down.
const TRIES: usize = 3;

pub(crate) async fn measure(url: &str) -> Outcome<Value> {
    let server = serve()?;
    let yard = open(url).await?;
    yard.grant(&"bench".parse()?, &format!("http {server}").parse::<Capability>()?).await?;
    let patch = Patch::setting([("note", "none"), ("base_url", &server)]);
    yard.create(&"bench/transfer".parse()?, patch).await?;
    let block = yard.block("bench/transfer").await?;
    block.call("nothing", json!({})).await?;
    let (idle, _) = resident()?;

    let client = reqwest::Client::builder().no_proxy().build()?;
    let object = format!("{server}/object");
    let mut best = [0.0_f64; 4];
    for _ in 0..TRIES {
        best[0] = best[0].max(rate(down(&block)).await?);
        best[2] = best[2].max(rate(up(&block)).await?);
    }
    let (peak, _) = resident()?;
    for _ in 0..TRIES {
        best[1] = best[1].max(rate(download_directly(&client, &object)).await?);
        best[3] = best[3].max(rate(upload_directly(&client, &object)).await?);
    }
    yard.close().await;
    let [down, down_reqwest, up, up_reqwest] = best;
    Ok(json!({
        "down": down, "down_reqwest": down_reqwest, "up": up, "up_reqwest": up_reqwest,
        "memory_over_idle": peak.saturating_sub(idle),
    }))
}

/// Returns bytes per second.
async fn rate(work: impl Future<Output = Outcome<u64>>) -> Outcome<f64> {
    let started = Instant::now();
    let bytes = work.await?;
    if bytes != SIZE {
        return Err(format!("received {bytes} bytes, expected {SIZE}").into());
    }
    Ok(bytes as f64 / started.elapsed().as_secs_f64())
}

async fn down(block: &Block) -> Outcome<u64> {
    let (_, mut bytes) = block.call("fetch", json!({})).await?.output.ok_or("no bytes")?;
    let mut count = 0;
    while let Some(chunk) = bytes.next().await {
        count += chunk.map_err(|problem| problem.message)?.len() as u64;
    }
    Ok(count)
}

async fn download_directly(client: &reqwest::Client, object: &str) -> Outcome<u64> {
    let mut bytes = client.get(object).send().await?.bytes_stream();
    let mut count = 0;
    while let Some(chunk) = bytes.next().await {
        count += chunk?.len() as u64;
    }
    Ok(count)
}

async fn up(block: &Block) -> Outcome<u64> {
    let stream = stream::iter(chunks().map(Ok)).boxed();
    let input = Input { media_type: "application/octet-stream".to_owned(), size: Some(SIZE), stream };
    block.call_with("store", json!({}), Some(input), Deadline::default()).await?;
    Ok(SIZE)
}

async fn upload_directly(client: &reqwest::Client, object: &str) -> Outcome<u64> {
    let body = reqwest::Body::wrap_stream(stream::iter(chunks().map(Ok::<_, std::io::Error>)));
    client.put(object).header("content-length", SIZE).body(body).send().await?.error_for_status()?;
    Ok(SIZE)
}

fn chunks() -> impl Iterator<Item = Bytes> + Send {
    let chunk = Bytes::from(vec![7; CHUNK]);
    (0..SIZE / CHUNK as u64).map(move |_| chunk.clone())
}

/// Starts a threaded server that sends the object, or reads and discards a request body.
fn serve() -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let origin = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            std::thread::spawn(move || answer(stream));
        }
    });
    Ok(origin)
}

/// Handles the requests of a connection sequentially.
fn answer(mut stream: std::net::TcpStream) -> std::io::Result<()> {
    let chunk = vec![7; CHUNK];
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut head = Vec::new();
        let end = loop {
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            head.extend_from_slice(&buffer[..read]);
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        if head.starts_with(b"GET") {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n")?;
            for _ in 0..SIZE / CHUNK as u64 {
                stream.write_all(&chunk)?;
            }
        } else {
            let mut left = SIZE - (head.len() - end) as u64;
            while left > 0 {
                let read = stream.read(&mut buffer)? as u64;
                if read == 0 {
                    return Ok(());
                }
                left = left.saturating_sub(read);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        }
    }
}
