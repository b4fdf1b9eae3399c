//! Listening sockets for SIP, and errors that tell an operator which setting to change.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use baton_core::sip::endpoint::Transport;
use socket2::{Domain, Protocol, Socket, Type};

use super::udp;

/// Connections that the kernel may hold for us before we take them.
const BACKLOG: i32 = 1024;

/// A socket that could not be opened; its text is for the operator.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {wanted} ({setting}): {fault}")]
pub struct ListenError {
    /// What was asked for.
    pub wanted: Listening,
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

/// A transport at an address: `tcp:192.0.2.10:5060`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// How.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        };
        write!(f, "{transport}:{}", self.address)
    }
}

/// An open socket that SIP comes in by.
#[derive(Debug)]
pub enum Listener {
    /// Datagrams.
    Udp(UdpSocket),
    /// Streams, encrypted or not.
    Stream(Transport, TcpListener),
}

/// Opens a signalling socket.
///
/// * `wanted`: port 0 lets the system choose.
/// * `setting`: where it came from, for the error.
/// * returns a non-blocking socket. IPv6 sockets take IPv6 only, so that `0.0.0.0` and `[::]` can stand side by side.
///
/// # Errors
/// [`ListenError`] when the address cannot be bound.
pub fn listen(wanted: Listening, setting: &str) -> Result<Listener, ListenError> {
    let Listening { transport, address } = wanted;
    let opened = match transport {
        Transport::Udp => udp::open_for_signalling(address).map(Listener::Udp),
        Transport::Tcp | Transport::Tls => {
            open_stream(address).map(|listener| Listener::Stream(transport, listener))
        }
    };
    opened.map_err(|error| ListenError {
        wanted,
        setting: setting.to_owned(),
        fault: error.into(),
    })
}

impl Listener {
    /// Where it listens: the port the system chose, if it was asked to.
    ///
    /// # Errors
    /// In the system's words.
    pub fn listening(&self) -> io::Result<Listening> {
        let (transport, address) = match self {
            Self::Udp(socket) => (Transport::Udp, socket.local_addr()?),
            Self::Stream(transport, listener) => (*transport, listener.local_addr()?),
        };
        Ok(Listening { transport, address })
    }
}

fn open_stream(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart need not wait for the old connections' last minute.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(transport: Transport, address: &str) -> Listening {
        Listening {
            transport,
            address: address.parse().unwrap(),
        }
    }

    #[test]
    fn a_taken_port_is_reported_with_its_setting_and_the_fix() {
        for (transport, name) in [(Transport::Udp, "udp"), (Transport::Tls, "tls")] {
            let first = listen(wanted(transport, "127.0.0.1:0"), "[sip] listen").unwrap();
            let taken = first.listening().unwrap();
            let error = listen(taken, "[sip] listen").unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "cannot listen on {name}:{} ([sip] listen): address in use; stop the other program or choose another port",
                    taken.address
                )
            );
        }
    }

    #[test]
    fn an_address_of_another_machine_is_told_apart() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let error = listen(wanted(transport, "192.0.2.1:0"), "[sip] listen").unwrap_err();
            assert!(matches!(error.fault, BindFault::NotOurs), "{error}");
        }
    }

    #[test]
    fn both_address_families_and_both_transports_can_listen_on_one_port() {
        let v4 = listen(wanted(Transport::Udp, "0.0.0.0:0"), "[sip] listen").unwrap();
        let port = v4.listening().unwrap().address.port();
        for (transport, address) in [(Transport::Tcp, "0.0.0.0"), (Transport::Udp, "[::]")] {
            // A machine without IPv6, or whose port is taken for TCP, has nothing to check here.
            let address = format!("{address}:{port}");
            if let Ok(other) = listen(wanted(transport, &address), "[sip] listen") {
                assert_eq!(other.listening().unwrap().address.port(), port);
            }
        }
    }
}
