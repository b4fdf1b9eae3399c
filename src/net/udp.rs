//! UDP sockets, and which of our addresses leads to a peer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// What we ask of the kernel for signalling: a burst of some thousand messages waits here while we think.
/// The kernel caps it at `net.core.rmem_max` without an error.
const SIGNALLING_BUFFER: usize = 4 << 20;

/// Opens a signalling socket.
pub(super) fn open_for_signalling(address: SocketAddr) -> io::Result<UdpSocket> {
    open(address, Some(SIGNALLING_BUFFER))
}

/// Opens a non-blocking UDP socket; `buffer`: octets wanted of the kernel for receiving.
pub(super) fn open(address: SocketAddr, buffer: Option<usize>) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if let Some(octets) = buffer {
        // A smaller buffer than asked for is no reason not to start.
        let _ = socket.set_recv_buffer_size(octets);
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Which of our addresses the system would use towards this peer. Nothing is sent.
///
/// # Errors
/// When no route leads there.
pub fn address_towards(peer: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_on_this_machine_is_reached_from_loopback() {
        let towards = address_towards("127.0.0.1:9".parse().unwrap()).unwrap();
        assert_eq!(towards, IpAddr::from([127, 0, 0, 1]));
    }
}
