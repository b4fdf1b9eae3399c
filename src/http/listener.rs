//! Accepts connections, not too many, and drops those that sleep.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: a connection's idleness is measured in real time"
)]

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, Sleep};

/// Connections at a time; further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 1024;
/// A connection on which nothing moves for this long is closed. Event streams send a comment every 15 s.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// A connection that was not sent a single octet by then never asked anything whole.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(45);
/// Requests that run when the shutdown begins may take this long to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(
    /// Its address.
    pub SocketAddr,
);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Connected<Self> for Peer {
    fn connect_info(peer: Self) -> Self {
        peer
    }
}

/// Serves `router` on `listener` until `shutdown`, then gives running requests five seconds.
///
/// # Errors
/// None today: what fails is a connection, not the listener.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = Bounded {
        listener,
        places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
    };
    let (draining, drain) = oneshot::channel();
    let shutdown = async move {
        shutdown.await;
        // The other end is gone when the server ended by itself.
        let _ = draining.send(());
    };
    let service = router.into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(listener, service).with_graceful_shutdown(shutdown);
    let give_up = async {
        if drain.await.is_err() {
            std::future::pending::<()>().await;
        }
        let _ = tokio::time::timeout(DRAIN, std::future::pending::<()>()).await;
    };
    tokio::select! {
        ended = server.into_future() => ended,
        () = give_up => Ok(()),
    }
}

/// A TCP listener with a bounded number of connections.
#[derive(Debug)]
pub struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Awake<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        // Tokio's own listener waits a second when the system has no descriptors left.
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::trace!(%error, "a connection cannot be set to send at once");
        }
        (Awake::new(stream, place), peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that fails with `TimedOut` once nothing moves on it.
#[derive(Debug)]
pub struct Awake<S> {
    stream: S,
    deadline: Pin<Box<Sleep>>,
    answered: bool,
    _place: Option<OwnedSemaphorePermit>,
}

impl<S> Awake<S> {
    fn new(stream: S, place: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            stream,
            deadline: Box::pin(tokio::time::sleep_until(
                Instant::now() + FIRST_ANSWER_WITHIN,
            )),
            answered: false,
            _place: place,
        }
    }

    fn moved(&mut self, wrote: bool) {
        self.answered |= wrote;
        if self.answered {
            self.deadline.as_mut().reset(Instant::now() + IDLE_MAX);
        }
    }

    fn poll_asleep<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Awake<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(result) => {
                self.moved(false);
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_asleep(context),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Awake<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, octets) {
            Poll::Ready(result) => {
                self.moved(true);
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_asleep(context),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_its_request_is_dropped() {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut server = Awake::new(server, None);
        let begin = Instant::now();
        let dripping = async {
            for _ in 0..100 {
                if client.write_all(b"G").await.is_err() {
                    break;
                }
                let _ = tokio::time::timeout(Duration::from_secs(5), std::future::pending::<()>())
                    .await;
            }
        };
        let reading = async {
            let mut octet = [0; 1];
            loop {
                if let Err(error) = server.read_exact(&mut octet).await {
                    break error.kind();
                }
            }
        };
        let kind =
            tokio::select! { kind = reading => kind, () = dripping => panic!("still served") };
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert_eq!(begin.elapsed().as_secs(), FIRST_ANSWER_WITHIN.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_answered_may_rest_but_not_sleep() {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut server = Awake::new(server, None);
        server.write_all(b"answer").await.unwrap();
        let mut octets = [0; 6];
        client.read_exact(&mut octets).await.unwrap();
        let begin = Instant::now();
        let error = server.read_exact(&mut octets).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begin.elapsed().as_secs(), IDLE_MAX.as_secs());
    }
}
