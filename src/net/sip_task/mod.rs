#![expect(
    clippy::disallowed_methods,
    reason = "shell: owns the signalling sockets, their clock and their task"
)]
//! The node's one SIP endpoint, its sockets and its timers: one task, one owner, no locks.
//!
//! ```text
//!  datagrams ──► ┌──────────────┐ ──Invited──► ingress (bounded: when full, 503)
//!  commands  ──► │   Endpoint   │ ──DialogEvent──► the call that owns the dialog (64)
//!  deadlines ──► │  (the core)  │ ──Transmit──► datagrams
//!                └──────────────┘ ··· each line of the wire ···► tap (who is slow loses lines)
//! ```
//!
//! Every protocol decision is the core's. What is decided here is only what a queue can decide, see [`routes`].
//! Calls wait for signalling (64 commands in all), never the other way round, so that the two cannot deadlock.

mod ourselves;
mod routes;
mod tap;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::{Duration, Instant};

use baton_core::sip::endpoint::{
    Command, CommandError, Config, Counters, DialogEvent, DialogId, Endpoint, Event, Flow,
    InviteError, Invited, OutgoingInvite, Readiness, Transport,
};
use baton_core::sip::trunk::Trunks;
use baton_core::vocab::Entropy;
use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

use ourselves::Ourselves;
use routes::{Orphan, Routes};
pub use tap::{Direction, WireLine};

/// Events of one dialog that its call has not taken yet.
pub const DIALOG_QUEUE: usize = 64;
/// Commands of all calls that wait for signalling.
const COMMAND_QUEUE: usize = 64;
/// New calls that ingress has not taken yet; the next one is answered 503.
const INGRESS_QUEUE: usize = 256;
/// Lines of the wire that a watcher may be behind.
const TAP_QUEUE: usize = 1024;
/// The largest UDP payload there is.
const DATAGRAM: usize = 65_536;
/// Datagrams, or commands, taken in one wake before the others have their turn.
const TURN: usize = 64;
/// When no timer runs.
const IDLE: Duration = Duration::from_hours(1);

/// A new call, with the events of its dialog from the first one on.
#[derive(Debug)]
pub struct Arrived {
    /// The INVITE.
    pub invited: Box<Invited>,
    /// What happens in its dialog. Dropping it hangs up.
    pub events: mpsc::Receiver<DialogEvent>,
}

/// A call we place.
#[derive(Debug)]
pub struct Placed {
    /// Its dialog.
    pub dialog: DialogId,
    /// What happens in it. Dropping it hangs up.
    pub events: mpsc::Receiver<DialogEvent>,
}

/// A request that signalling could not take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SipError {
    /// The dialog's state forbids it.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The call cannot be placed.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// Signalling has stopped.
    #[error("signalling has stopped")]
    Stopped,
}

enum Request {
    Invite {
        invite: Box<OutgoingInvite>,
        reply: oneshot::Sender<Result<Placed, InviteError>>,
    },
    Command {
        dialog: DialogId,
        command: Command,
        reply: oneshot::Sender<Result<(), CommandError>>,
    },
    Readiness(Readiness),
    Trunks(Trunks),
    Counters(oneshot::Sender<Counters>),
}

/// The way to signalling; clone it freely. When the last one is gone, signalling stops.
#[derive(Debug, Clone)]
pub struct SipHandle {
    requests: mpsc::Sender<Request>,
    tap: broadcast::Sender<WireLine>,
    addresses: Vec<SocketAddr>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Invite { .. } => "Invite",
            Self::Command { .. } => "Command",
            Self::Readiness(_) => "Readiness",
            Self::Trunks(_) => "Trunks",
            Self::Counters(_) => "Counters",
        })
    }
}

impl SipHandle {
    /// Places a call.
    ///
    /// # Errors
    /// [`SipError::Invite`] when it cannot be placed as asked, [`SipError::Stopped`].
    pub async fn invite(&self, invite: OutgoingInvite) -> Result<Placed, SipError> {
        let (reply, placed) = oneshot::channel();
        let invite = Box::new(invite);
        self.ask(Request::Invite { invite, reply }).await?;
        Ok(placed.await.map_err(|_| SipError::Stopped)??)
    }

    /// Says something in a dialog.
    ///
    /// # Errors
    /// [`SipError::Command`] when the dialog's state forbids it, [`SipError::Stopped`].
    pub async fn command(&self, dialog: DialogId, command: Command) -> Result<(), SipError> {
        let (reply, done) = oneshot::channel();
        let request = Request::Command {
            dialog,
            command,
            reply,
        };
        self.ask(request).await?;
        Ok(done.await.map_err(|_| SipError::Stopped)??)
    }

    /// Whether new calls are taken from here on.
    ///
    /// # Errors
    /// [`SipError::Stopped`].
    pub async fn set_readiness(&self, readiness: Readiness) -> Result<(), SipError> {
        self.ask(Request::Readiness(readiness)).await
    }

    /// Who may call from here on.
    ///
    /// # Errors
    /// [`SipError::Stopped`].
    pub async fn set_trunks(&self, trunks: Trunks) -> Result<(), SipError> {
        self.ask(Request::Trunks(trunks)).await
    }

    /// The endpoint's counters.
    ///
    /// # Errors
    /// [`SipError::Stopped`].
    pub async fn counters(&self) -> Result<Counters, SipError> {
        let (reply, counters) = oneshot::channel();
        self.ask(Request::Counters(reply)).await?;
        counters.await.map_err(|_| SipError::Stopped)
    }

    /// Every message from here on, of all dialogs, by its first line. Costs nothing while nobody subscribes; one
    /// subscriber per node is meant to sort the lines by Call-ID.
    pub fn subscribe(&self) -> broadcast::Receiver<WireLine> {
        self.tap.subscribe()
    }

    /// Where it listens, in the order given to [`start`].
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    async fn ask(&self, request: Request) -> Result<(), SipError> {
        self.requests
            .send(request)
            .await
            .map_err(|_| SipError::Stopped)
    }
}

/// Signalling, running.
#[derive(Debug)]
pub struct Signalling {
    /// The way in.
    pub handle: SipHandle,
    /// New calls. Dropping it refuses them (503).
    pub arrivals: mpsc::Receiver<Arrived>,
    /// Ends when the last handle is gone.
    pub task: JoinHandle<()>,
}

/// Starts signalling on these sockets, within a tokio runtime.
///
/// * `sockets`: see [`super::udp::listen`]; each sends what the core wants sent from its address.
///
/// # Errors
/// When a socket cannot be served by the runtime.
pub fn start(
    config: Config,
    entropy: Entropy,
    sockets: Vec<std::net::UdpSocket>,
) -> io::Result<Signalling> {
    let mut bound = Vec::new();
    for socket in sockets {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let socket = UdpSocket::from_std(socket)?;
        bound.push(Bound { local, socket });
    }
    let (requests, request_queue) = mpsc::channel(COMMAND_QUEUE);
    let (ingress, arrivals) = mpsc::channel(INGRESS_QUEUE);
    let (tap, _) = broadcast::channel(TAP_QUEUE);
    let handle = SipHandle {
        requests,
        tap: tap.clone(),
        addresses: bound.iter().map(|b| b.local).collect(),
    };
    let task = Task {
        endpoint: Endpoint::new(config, entropy),
        sockets: bound,
        requests: request_queue,
        ingress,
        routes: Routes::default(),
        tap,
        ourselves: Ourselves::default(),
    };
    Ok(Signalling {
        handle,
        arrivals,
        task: tokio::spawn(task.run()),
    })
}

struct Bound {
    local: SocketAddr,
    socket: UdpSocket,
}

struct Task {
    endpoint: Endpoint,
    sockets: Vec<Bound>,
    requests: mpsc::Receiver<Request>,
    ingress: mpsc::Sender<Arrived>,
    routes: Routes,
    tap: broadcast::Sender<WireLine>,
    ourselves: Ourselves,
}

impl Task {
    async fn run(mut self) {
        let mut scratch = vec![0; DATAGRAM];
        loop {
            self.drain(Instant::now()).await;
            let now = Instant::now();
            let wake = [self.endpoint.poll_timeout(), self.routes.poll_timeout()];
            let wake = wake.into_iter().flatten().min().unwrap_or(now + IDLE);
            let sockets = &self.sockets;
            tokio::select! {
                readable = readable(sockets) => self.read(readable, &mut scratch),
                request = self.requests.recv() => match request {
                    Some(request) => self.handle_requests(request),
                    None => return,
                },
                () = tokio::time::sleep_until(wake.into()) => self.handle_timeout(),
            }
        }
    }

    /// Takes what has arrived on one socket, up to a turn's worth.
    fn read(&mut self, index: usize, scratch: &mut [u8]) {
        let now = Instant::now();
        for _ in 0..TURN {
            let Bound { local, socket } = &self.sockets[index];
            match socket.try_recv_from(scratch) {
                Ok((len, remote)) => {
                    let flow = Flow {
                        transport: Transport::Udp,
                        local: self.ourselves.towards(*local, remote),
                        remote,
                    };
                    let datagram = Bytes::copy_from_slice(&scratch[..len]);
                    tap::tell(&self.tap, now, Direction::Received, flow, &datagram);
                    self.endpoint.handle_datagram(now, flow, &datagram);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP error about something we sent; retransmission finds out by itself.
                Err(error) => tracing::debug!(%error, "signalling socket"),
            }
        }
    }

    fn handle_requests(&mut self, first: Request) {
        let now = Instant::now();
        self.handle_request(now, first);
        for _ in 1..TURN {
            let Ok(next) = self.requests.try_recv() else {
                return;
            };
            self.handle_request(now, next);
        }
    }

    /// A caller that no longer waits for its reply is nobody's fault, so failed replies are passed over.
    fn handle_request(&mut self, now: Instant, request: Request) {
        match request {
            Request::Invite { invite, reply } => {
                let placed = self.endpoint.invite(now, *invite).map(|dialog| Placed {
                    dialog,
                    events: self.routes.open(now, dialog),
                });
                let _ = reply.send(placed);
            }
            Request::Command {
                dialog,
                command,
                reply,
            } => {
                let _ = reply.send(self.endpoint.command(now, dialog, command));
            }
            Request::Readiness(readiness) => self.endpoint.set_readiness(readiness),
            Request::Trunks(trunks) => self.endpoint.set_trunks(trunks),
            Request::Counters(reply) => {
                let _ = reply.send(self.endpoint.counters());
            }
        }
    }

    fn handle_timeout(&mut self) {
        let now = Instant::now();
        self.endpoint.handle_timeout(now);
        for Orphan(dialog) in self.routes.handle_timeout(now) {
            self.abandon(now, dialog);
        }
    }

    /// Hands out what the core produced until it has nothing more: an event can make another transmit.
    async fn drain(&mut self, now: Instant) {
        loop {
            while let Some(event) = self.endpoint.poll_event() {
                self.handle_event(now, event);
            }
            let Some(transmit) = self.endpoint.poll_transmit() else {
                return;
            };
            let flow = transmit.flow;
            tap::tell(&self.tap, now, Direction::Sent, flow, &transmit.payload);
            let sent = match self.socket_for(flow.local) {
                Some(socket) => socket.send_to(&transmit.payload, flow.remote).await,
                None => Err(io::ErrorKind::AddrNotAvailable.into()),
            };
            if let Err(error) = sent {
                self.endpoint
                    .handle_send_error(now, &flow, &error.to_string());
            }
        }
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Invited(invited) => self.arrive(now, invited),
            Event::Dialog { dialog, event } => {
                if let Some(answer) = self.routes.deliver(now, dialog, event) {
                    // The call is too busy to answer this itself.
                    let _ = self.endpoint.command(now, dialog, answer);
                }
            }
            // Nobody is asked yet: requests go where the dialog came from.
            Event::Locate { id, .. } => self.endpoint.handle_located(now, id, Vec::new()),
        }
    }

    fn arrive(&mut self, now: Instant, invited: Box<Invited>) {
        let dialog = invited.dialog;
        let events = self.routes.open(now, dialog);
        if self.ingress.try_send(Arrived { invited, events }).is_ok() {
            return;
        }
        self.routes.close(dialog);
        let busy = Command::Reject {
            status: 503,
            headers: vec![("Retry-After".to_owned(), "5".to_owned())],
        };
        let _ = self.endpoint.command(now, dialog, busy);
    }

    /// Ends a dialog whose call has gone without ending it: whichever of the three its state allows.
    fn abandon(&mut self, now: Instant, dialog: DialogId) {
        let headers = Vec::new;
        let ways = [
            Command::Bye { headers: headers() },
            Command::Reject {
                status: 500,
                headers: headers(),
            },
            Command::Cancel,
        ];
        for way in ways {
            if self.endpoint.command(now, dialog, way).is_ok() {
                tracing::warn!(?dialog, "a call went away without ending its dialog");
                return;
            }
        }
    }

    /// The socket that sends from `local`; when none is bound to it, one of its address family.
    fn socket_for(&self, local: SocketAddr) -> Option<&UdpSocket> {
        let exact = self.sockets.iter().find(|b| b.local == local);
        let family = || {
            self.sockets
                .iter()
                .find(|b| b.local.is_ipv4() == local.is_ipv4())
        };
        exact.or_else(family).map(|b| &b.socket)
    }
}

/// The index of a socket that has something to read.
async fn readable(sockets: &[Bound]) -> usize {
    poll_fn(|cx| {
        for (index, bound) in sockets.iter().enumerate() {
            // An error is found, and told, by reading.
            if bound.socket.poll_recv_ready(cx).is_ready() {
                return Poll::Ready(index);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests;
