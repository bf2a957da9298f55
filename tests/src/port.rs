//! Ports for programs that are started with the number of their port.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports below those that operating systems assign to connections and to listeners on port 0. An
/// assigned port could be taken again before the program listens on it, and a connection to a port
/// without a listener could even be connected to itself.
const PORTS: std::ops::Range<u16> = 12_000..30_000;

/// Returns a free port of this machine that no other test of this process gets.
///
/// # Panics
/// If all ports are in use.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run at the same time begin at different ports.
    let first = u16::try_from(std::process::id().wrapping_mul(37) % u32::from(PORTS.end - PORTS.start)).unwrap_or(0);
    for _ in PORTS {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start);
        let port = PORTS.start + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}");
}
