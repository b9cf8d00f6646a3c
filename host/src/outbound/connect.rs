//! Opens connections to receivers: lookup, address guard, TCP, TLS, HTTP/1.1.
//!
//! HTTP/1.1 alone, also where a receiver offers HTTP/2: one HTTP/2 connection would join the fates of all webhooks, and of
//! all companies, at one host (docs/decisions/0011-http-1-1-to-receivers.md).

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tower::Service;

use super::fault::{self, TargetAddress};
use super::guard::Guard;
use super::lookups::Lookups;
use super::target::Target;

/// Bounds connection setup: DNS, TCP and TLS together.
pub(super) const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bounds the head of an answer, in bytes. The buffer for it takes up to twice as much.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Bounds the headers of an answer: far more than any proxy adds, because a 200 with many headers is still a success.
const MAX_HEADERS: usize = 1_024;

/// An open connection, which takes one request at a time.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) opened_at: Instant,
}

/// Opens connections.
pub(super) struct Connector {
    pub(super) guard: Guard,
    pub(super) lookups: Lookups,
    /// Connections that may be opened over IPv6 and IPv4 at once: for these an attempt has two sockets.
    pub(super) second_sockets: Semaphore,
}

/// The connection to open.
pub(super) struct Opening<'a> {
    /// The company that takes a part of the lookups for it.
    pub(super) company: &'a str,
    pub(super) target: &'a Target,
    /// `None`: without TLS.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Bounds the whole of it, from the call.
    pub(super) time: Duration,
    /// Ends it earlier.
    pub(super) deadline: Instant,
}

impl Connector {
    /// Opens a connection.
    ///
    /// # Errors
    /// The reason, as a text for the webhook's owner.
    pub(super) async fn connect(&self, opening: Opening<'_>) -> Result<Connection, String> {
        let Opening { company, target, tls, time, deadline } = opening;
        let (address, deadline) = (TargetAddress::of(target.url()), deadline.min(Instant::now() + time));
        // An IP literal is never looked up; the guard has checked it.
        let ips = match target.literal() {
            Some(ip) => vec![ip],
            None => timeout_at(deadline, self.lookup(company, target))
                .await
                .unwrap_or_else(|_| Err(fault::lookup_timed_out(&address, time)))?,
        };
        let opening = async {
            let tcp = self.dial(target, ips, time).await;
            let tcp = tcp.map_err(|error| fault::connect_failed(&error, &address, time))?;
            let Some(tls) = tls else { return handshake(TokioIo::new(tcp)).await };
            let name = address.host.trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(name.to_owned())
                .map_err(|_| format!("TLS: the host {} cannot stand in a certificate", address.host))?;
            let stream = TlsConnector::from(tls).connect(name, tcp).await;
            let stream = stream.map_err(|error| fault::connect_failed(&error, &address, time))?;
            handshake(TokioIo::new(stream)).await
        };
        timeout_at(deadline, opening).await.unwrap_or_else(|_| Err(fault::connect_timed_out(&address, time)))
    }

    /// Returns the addresses of the target's name that the guard allows: those that are dialled are those that it checked.
    async fn lookup(&self, company: &str, target: &Target) -> Result<Vec<IpAddr>, String> {
        let ips = self.lookups.addresses(company, target.host()).await;
        let ips = ips.map_err(|error| fault::lookup_failed(target.host(), &error))?;
        let allowed = self.guard.retain_allowed(target.transport(), target.host(), ips);
        let allowed = allowed.map_err(|refused| refused.to_string())?;
        if allowed.is_empty() {
            return Err(fault::lookup_failed(target.host(), &"the name has no addresses"));
        }
        Ok(allowed)
    }

    /// Connects to one of the addresses: IPv6 and IPv4 side by side (RFC 8305), each with its part of the time; one after the
    /// other if too many connections are opened at the moment.
    async fn dial(&self, target: &Target, ips: Vec<IpAddr>, time: Duration) -> Result<TcpStream, impl Error + use<>> {
        let port = target.transport().port;
        let has_both = ips.iter().any(IpAddr::is_ipv4) && ips.iter().any(IpAddr::is_ipv6);
        let second_socket = has_both.then(|| self.second_sockets.try_acquire().ok()).flatten();
        let checked = CheckedAddresses(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
        let mut connector = HttpConnector::new_with_resolver(checked);
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(time));
        if second_socket.is_none() {
            connector.set_happy_eyeballs_timeout(None);
        }
        connector.call(target.uri().clone()).await.map(TokioIo::into_inner)
    }
}

/// A resolver that knows the answer.
#[derive(Clone)]
struct CheckedAddresses(Vec<SocketAddr>);

impl Service<Name> for CheckedAddresses {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        std::future::ready(Ok(std::mem::take(&mut self.0).into_iter()))
    }
}

/// Starts HTTP/1.1 on an open stream. A task of its own drives the connection until either side closes it.
async fn handshake(io: impl Read + Write + Unpin + Send + 'static) -> Result<Connection, String> {
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD_BYTES);
    let (sender, connection) = builder.handshake(io).await.map_err(|error| fault::request_failed(&error).text)?;
    tokio::spawn(async move {
        // The request that was in flight gets the error.
        let _ = connection.await;
    });
    Ok(Connection { sender, opened_at: Instant::now() })
}
