//! Connections of HTTP requests. The host name is resolved once, all of its addresses are vetted,
//! and the connection is made to one of these addresses. The name is not resolved again, which
//! prevents DNS rebinding.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use blockyard_call::limits;
use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::net::TcpStream;
use tower_service::Service;

use super::network::check_address;

/// Resolves a host name and a port to addresses. Outside of tests this is the system's resolver.
pub(super) type Resolve = Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// A connector that connects to vetted addresses only.
#[derive(Clone)]
pub(super) struct CheckedConnector {
    /// Networks that are not public and may be reached.
    pub(super) networks: Arc<[IpNet]>,
    pub(super) resolve: Resolve,
    /// No name is resolved, and no connection is made.
    pub(super) is_isolated: bool,
}

/// Failure to connect.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("host `{host}` does not resolve: {reason}")]
    Unresolved { host: String, reason: io::Error },
    #[error("`{host}` has the address {address}, which is {what}")]
    NotPublic { host: String, address: IpAddr, what: &'static str },
    #[error("`{host}` cannot be reached: {reason}")]
    Unreachable { host: String, reason: io::Error },
    #[error("`{host}` is not contacted: this sandbox has no network")]
    Isolated { host: String },
    #[error("`{host}` did not answer within {} seconds", limits::CONNECT_TIME.as_secs())]
    Late { host: String },
}

pub(super) fn system_resolver() -> Resolve {
    Arc::new(|host, port| Box::pin(async move { Ok(tokio::net::lookup_host((host.as_str(), port)).await?.collect()) }))
}

impl CheckedConnector {
    async fn connect(self, host: String, port: u16) -> Result<TcpStream, ConnectError> {
        if self.is_isolated {
            return Err(ConnectError::Isolated { host });
        }
        let addresses = match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => (self.resolve)(host.clone(), port)
                .await
                .map_err(|reason| ConnectError::Unresolved { host: host.clone(), reason })?,
        };
        for address in &addresses {
            check_address(address.ip(), &self.networks).map_err(|what| ConnectError::NotPublic {
                host: host.clone(),
                address: address.ip().to_canonical(),
                what,
            })?;
        }
        let mut last = io::Error::other("the host has no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // A request is written at once, so Nagle's algorithm would only delay it.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(ConnectError::Unreachable { host, reason: last })
    }
}

impl Service<http::Uri> for CheckedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().to_owned();
            let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
            let connecting = connector.connect(host.clone(), uri.port_u16().unwrap_or(default));
            let connected = tokio::time::timeout(limits::CONNECT_TIME, connecting).await;
            connected.unwrap_or(Err(ConnectError::Late { host })).map(TokioIo::new)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn connector(networks: &[&str], responses: Vec<Vec<&'static str>>) -> (CheckedConnector, Arc<AtomicUsize>) {
        let lookups = Arc::new(AtomicUsize::new(0));
        let counter = lookups.clone();
        let resolve: Resolve = Arc::new(move |_, port| {
            let addresses = &responses[counter.fetch_add(1, Ordering::SeqCst).min(responses.len() - 1)];
            let addresses =
                addresses.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), port)).collect();
            Box::pin(async move { Ok(addresses) })
        });
        let networks = networks.iter().map(|text| text.parse().expect("a network")).collect();
        (CheckedConnector { networks, resolve, is_isolated: false }, lookups)
    }

    #[tokio::test]
    async fn a_name_with_a_private_address_is_rejected() {
        for addresses in
            [vec!["127.0.0.1"], vec!["8.8.8.8", "10.0.0.1"], vec!["::ffff:169.254.169.254"], vec!["fd00:ec2::254"]]
        {
            let (connector, _) = connector(&[], vec![addresses]);
            let refused = connector.connect("rebind.example".to_owned(), 80).await.expect_err("must be refused");
            assert!(matches!(refused, ConnectError::NotPublic { .. }), "{refused}");
        }
    }

    #[tokio::test]
    async fn connections_use_the_validated_address() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        // The second answer is a different address, and must not be requested.
        let (connector, lookups) = connector(&["127.0.0.1/32"], vec![vec!["127.0.0.1"], vec!["127.0.0.2"]]);
        let stream = connector.connect("rebind.example".to_owned(), port).await.expect("a connection");
        assert_eq!(stream.peer_addr().expect("an address"), listener.local_addr().expect("an address"));
        assert_eq!(lookups.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn an_isolated_sandbox_resolves_and_connects_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        for host in ["a.example", "127.0.0.1"] {
            let (connector, lookups) = connector(&["127.0.0.1/32"], vec![vec!["127.0.0.1"]]);
            let isolated = CheckedConnector { is_isolated: true, ..connector };
            let refused = isolated.connect(host.to_owned(), port).await.expect_err("must be refused");
            assert!(matches!(refused, ConnectError::Isolated { .. }), "{refused}");
            assert_eq!(lookups.load(Ordering::SeqCst), 0);
        }
    }

    #[tokio::test]
    async fn literal_addresses_are_validated() {
        for host in ["127.0.0.1", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254"] {
            let (connector, lookups) = connector(&[], vec![vec!["8.8.8.8"]]);
            let refused = connector.connect(host.to_owned(), 80).await.expect_err("must be refused");
            assert!(matches!(refused, ConnectError::NotPublic { .. }), "{refused}");
            assert_eq!(lookups.load(Ordering::SeqCst), 0);
        }
    }
}
