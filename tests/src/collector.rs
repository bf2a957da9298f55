//! OpenTelemetry collector that accepts OTLP/HTTP on a free port and records the requests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A collector that runs until the test process ends.
pub struct Collector {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// A received request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Request line and headers, unchanged.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Collector {
    /// Starts a collector.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let kept = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                std::thread::spawn(move || while serve(&stream, &kept).is_some() {});
            }
        });
        Self { port, requests }
    }

    /// Returns the collector's URL, for `--otlp`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the requests received so far.
    ///
    /// # Panics
    /// Never: no code panics while it holds the lock.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("nothing panics while it holds this lock").clone()
    }
}

/// Handles one request. Returns `None` at the end of the connection.
fn serve(mut stream: &TcpStream, kept: &Mutex<Vec<Request>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length?];
    reader.read_exact(&mut body).ok()?;
    kept.lock().expect("nothing panics while it holds this lock").push(Request { head, body });
    // An empty response acknowledges all data.
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n").ok()
}
