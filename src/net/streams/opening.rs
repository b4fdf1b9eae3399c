//! Connecting, and TLS handshakes: each within its deadline, with a reason when it fails.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::connection::{End, Opened};
use super::limits::Limits;
use crate::net::tls::names;

/// What a peer may leave unacknowledged before its connection counts as broken: well within timer F, so that a request
/// can still take its other way.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// A silent connection is asked this often whether anybody is there.
const ALIVE: Duration = Duration::from_mins(1);

/// Whom to connect to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) remote: SocketAddr,
    pub(super) limits: Limits,
}

/// Small messages leave at once, and a dead peer is found out.
pub(super) fn tune(stream: &TcpStream) {
    // Each of these only makes a good connection better.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(ALIVE));
}

/// A connection without a handshake.
pub(super) fn ready(stream: TcpStream) -> impl Future<Output = Result<Opened<TcpStream>, End>> {
    std::future::ready(Ok(Opened {
        stream,
        identity: Vec::new(),
    }))
}

/// Connects.
pub(super) async fn connect(target: Target) -> Result<Opened<TcpStream>, End> {
    let stream = reach(target).await.map_err(End::Unopened)?;
    Ok(Opened {
        stream,
        identity: Vec::new(),
    })
}

/// Connects to a peer that must prove its name.
pub(super) async fn connect_tls(
    target: Target,
    connector: TlsConnector,
    name: ServerName<'static>,
) -> Result<Opened<client::TlsStream<TcpStream>>, End> {
    let stream = reach(target).await.map_err(End::Unopened)?;
    let shaking = connector.connect(name, stream);
    match timeout(target.limits.handshake, shaking).await {
        Ok(Ok(stream)) => Ok(Opened {
            identity: identity(stream.get_ref().1.peer_certificates()),
            stream,
        }),
        Ok(Err(error)) => Err(End::Unopened(format!("TLS: {error}"))),
        Err(_) => Err(End::Unopened("TLS: no handshake in time".to_owned())),
    }
}

/// The handshake of a peer that came to us.
pub(super) async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    until: Instant,
) -> Result<Opened<server::TlsStream<TcpStream>>, End> {
    match timeout_at(until, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Ok(Opened {
            identity: identity(stream.get_ref().1.peer_certificates()),
            stream,
        }),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            Err(End::Handshake)
        }
        Err(_) => Err(End::Deadline),
    }
}

async fn reach(target: Target) -> Result<TcpStream, String> {
    let connecting = TcpStream::connect(target.remote);
    let stream = timeout(target.limits.connect, connecting)
        .await
        .map_err(|_| "nobody answers".to_owned())?
        .map_err(|error| error.to_string())?;
    tune(&stream);
    Ok(stream)
}

/// The names of a chain's first certificate, which the handshake has verified.
fn identity(chain: Option<&[CertificateDer<'_>]>) -> Vec<String> {
    chain
        .and_then(<[_]>::first)
        .map(names::of)
        .unwrap_or_default()
}
