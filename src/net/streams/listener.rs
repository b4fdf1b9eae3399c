#![expect(
    clippy::disallowed_methods,
    reason = "shell: one task per listening socket, which waits when the system has no room"
)]
//! Accepts connections and hands them to the owner of all connections, who decides which of them may stay.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use baton_core::sip::endpoint::Transport;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// How long accepting waits after the system had no room for a connection.
const BREATH: Duration = Duration::from_millis(50);

/// What a listening socket brings.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A connection.
    Connection {
        transport: Transport,
        stream: TcpStream,
        remote: SocketAddr,
    },
    /// The system has no room for another: somebody has to go.
    NoRoom,
}

/// Accepts until nobody wants connections any more. A full queue leaves the rest in the kernel's.
pub(super) async fn accept(
    transport: Transport,
    listener: TcpListener,
    accepted: mpsc::Sender<Accepted>,
) {
    loop {
        let (next, wait) = match listener.accept().await {
            Ok((stream, remote)) => {
                let connection = Accepted::Connection {
                    transport,
                    stream,
                    remote,
                };
                (connection, false)
            }
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                (Accepted::NoRoom, true)
            }
        };
        if accepted.send(next).await.is_err() {
            return;
        }
        if wait {
            tokio::time::sleep(BREATH).await;
        }
    }
}

/// Errors of a connection that was gone before it was accepted: accept(2) tells them as its own.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
