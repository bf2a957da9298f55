//! TCP proxy that a test can interrupt, to simulate network failures.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A proxy to a server on this machine. Dropping it closes its connections.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    disconnected: AtomicBool,
    loses_commits: AtomicBool,
    closed: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts a proxy to the server on this port.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::<State>::default();
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                // While interrupted, the connection is closed immediately, as by a server that
                // shuts down.
                if !shared.disconnected.load(Ordering::SeqCst) {
                    shared.join(client, server);
                }
            }
        });
        Self { port, state }
    }

    /// Returns the port that clients connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes all connections and rejects new ones.
    pub fn disconnect(&self) {
        self.state.disconnected.store(true, Ordering::SeqCst);
        self.state.close_all();
    }

    /// Forwards each `COMMIT` of a PostgreSQL client to the server, and closes the connection in
    /// place of the response. The connection must not be encrypted.
    pub fn lose_commits(&self) {
        self.state.loses_commits.store(true, Ordering::SeqCst);
    }

    /// Accepts new connections again.
    pub fn reconnect(&self) {
        self.state.disconnected.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        self.state.close_all();
        // The thread checks `closed` only when it accepts a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let state = self.clone();
        let loses_response = Arc::<AtomicBool>::default();
        let is_lost = loses_response.clone();
        if let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) {
            std::thread::spawn(move || {
                forward(from, to, |bytes| {
                    if state.loses_commits.load(Ordering::SeqCst) && bytes.windows(COMMIT.len()).any(|b| b == COMMIT) {
                        loses_response.store(true, Ordering::SeqCst);
                    }
                    true
                });
            });
        }
        if let (Ok(from), Ok(to)) = (server.try_clone(), client.try_clone()) {
            std::thread::spawn(move || forward(from, to, |_| !is_lost.load(Ordering::SeqCst)));
        }
        let mut connections = self.connections.lock().expect("nothing panics while it holds this lock");
        connections.extend([client, server]);
    }

    fn close_all(&self) {
        for connection in self.connections.lock().expect("nothing panics while it holds this lock").drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// The end of PostgreSQL's message for the query `COMMIT`.
const COMMIT: &[u8] = b"COMMIT\0";

/// Forwards bytes until the connection ends, or until `passes` returns false.
fn forward(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(&[u8]) -> bool) {
    let mut bytes = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !passes(&bytes[..count]) || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
