//! Listening UDP sockets, and errors that tell an operator which setting to change.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// What we ask of the kernel for signalling: a burst of some thousand messages waits here while we think.
/// The kernel caps it at `net.core.rmem_max` without an error.
const SIGNALLING_BUFFER: usize = 4 << 20;

/// A socket that could not be opened; its text is for the operator.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on udp:{address} ({setting}): {fault}")]
pub struct ListenError {
    /// What was asked for.
    pub address: SocketAddr,
    /// The setting it came from, as people write it: `[sip] listen`.
    pub setting: String,
    /// What is wrong, and what to do.
    pub fault: BindFault,
}

/// Why an address cannot be bound, with its fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindFault {
    /// Another socket has it.
    #[error("address in use; stop the other program or choose another port")]
    InUse,
    /// Not an address of this machine.
    #[error(
        "no interface of this machine has that address; use 0.0.0.0 or one of its own addresses"
    )]
    NotOurs,
    /// A low port, or a sandbox.
    #[error("permission denied; choose a port above 1023 or grant CAP_NET_BIND_SERVICE")]
    Forbidden,
    /// Anything else, in the system's words.
    #[error("{0}")]
    Other(io::Error),
}

impl From<io::Error> for BindFault {
    fn from(error: io::Error) -> Self {
        let known = [
            (io::ErrorKind::AddrInUse, Self::InUse),
            (io::ErrorKind::AddrNotAvailable, Self::NotOurs),
            (io::ErrorKind::PermissionDenied, Self::Forbidden),
        ];
        let found = known.into_iter().find(|(kind, _)| *kind == error.kind());
        found.map_or(Self::Other(error), |(_, fault)| fault)
    }
}

/// Opens a signalling socket.
///
/// * `address`: port 0 lets the system choose.
/// * `setting`: where the address came from, for the error.
/// * returns a non-blocking socket. IPv6 sockets take IPv6 only, so that `0.0.0.0` and `[::]` can stand side by side.
///
/// # Errors
/// [`ListenError`] when the address cannot be bound.
pub fn listen(address: SocketAddr, setting: &str) -> Result<UdpSocket, ListenError> {
    open(address, Some(SIGNALLING_BUFFER)).map_err(|error| ListenError {
        address,
        setting: setting.to_owned(),
        fault: error.into(),
    })
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
    fn a_taken_port_is_reported_with_its_setting_and_the_fix() {
        let first = listen("127.0.0.1:0".parse().unwrap(), "[sip] listen").unwrap();
        let taken = first.local_addr().unwrap();
        let error = listen(taken, "[sip] listen").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot listen on udp:{taken} ([sip] listen): address in use; stop the other program or choose another port"
            )
        );
    }

    #[test]
    fn an_address_of_another_machine_is_told_apart() {
        let error = listen("192.0.2.1:0".parse().unwrap(), "[sip] listen").unwrap_err();
        assert!(matches!(error.fault, BindFault::NotOurs), "{error}");
    }

    #[test]
    fn a_peer_on_this_machine_is_reached_from_loopback() {
        let towards = address_towards("127.0.0.1:9".parse().unwrap()).unwrap();
        assert_eq!(towards, IpAddr::from([127, 0, 0, 1]));
    }

    #[test]
    fn both_address_families_can_listen_on_one_port() {
        let v4 = listen("0.0.0.0:0".parse().unwrap(), "[sip] listen").unwrap();
        let port = v4.local_addr().unwrap().port();
        // A machine without IPv6 has nothing to check here.
        if let Ok(v6) = listen(SocketAddr::new("::".parse().unwrap(), port), "[sip] listen") {
            assert_eq!(v6.local_addr().unwrap().port(), port);
        }
    }
}
