#![expect(
    clippy::disallowed_methods,
    reason = "shell: owns the signalling sockets, their clock and their task"
)]
//! The node's one SIP endpoint, its sockets and its timers: one task, one owner, no locks.
//!
//! ```text
//!  datagrams ──► ┌──────────────┐ ──Invited──► ingress (bounded: when full, 503)
//!  streams   ──► │   Endpoint   │ ──DialogEvent──► the call that owns the dialog (64)
//!  commands  ──► │  (the core)  │ ──Transmit──► datagrams, streams
//!  deadlines ──► └──────────────┘ ··· each line of the wire ···► tap (who is slow loses lines)
//! ```
//!
//! Connections belong to [`super::streams`], which this task owns too; sending by one never waits.
//!
//! Every protocol decision is the core's. What is decided here is only what a queue can decide, see [`routes`].
//! Calls wait for signalling (64 commands in all), never the other way round, so that the two cannot deadlock.

mod locate;
mod ourselves;
mod routes;
mod tap;
mod triage;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::{Duration, Instant};

use baton_core::sip::endpoint::{
    Command, CommandError, Config, Counters, DialogEvent, DialogId, Endpoint, Event, Flow,
    InviteError, Invited, LocateId, OutgoingInvite, Readiness, Transmit, Transport, Ways,
};
use baton_core::sip::locate::LocateError;
use baton_core::sip::registration::Standing;
use baton_core::sip::trunk::Trunks;
use baton_core::vocab::Entropy;
use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::admission::{Admission, Place};
use super::dns::Dns;
use super::listen::{Listener, Listening};
use super::streams::{self, Streams};
use super::tls::Tls;
use locate::{Located, Locator};
use ourselves::Ourselves;
use routes::{Orphan, Routes};
pub use tap::{Direction, WireLine};
use triage::Triage;

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
/// Between two looks whether all requests have been answered.
const SETTLE: Duration = Duration::from_millis(10);
/// Of these, new calls, while there is more to read.
const NEW_CALLS: usize = 8;
/// When no timer runs.
const IDLE: Duration = Duration::from_hours(1);

/// A new call, with the events of its dialog from the first one on.
#[derive(Debug)]
pub struct Arrived {
    /// The INVITE.
    pub invited: Box<Invited>,
    /// What happens in its dialog. Dropping it hangs up.
    pub events: mpsc::Receiver<DialogEvent>,
    /// Its place on this node, where there is admission: held as long as anything of the call is left.
    pub place: Option<Place>,
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
    /// The URI leads nowhere.
    #[error(transparent)]
    Locate(#[from] LocateError),
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
    Unanswered(oneshot::Sender<usize>),
    Registrations(oneshot::Sender<Vec<(String, Standing)>>),
    Streams(oneshot::Sender<streams::Counters>),
    Tls(Tls),
    Name {
        remote: SocketAddr,
        name: String,
    },
}

/// The way to signalling; clone it freely. When the last one is gone, signalling stops.
#[derive(Debug, Clone)]
pub struct SipHandle {
    requests: mpsc::Sender<Request>,
    tap: broadcast::Sender<WireLine>,
    addresses: Vec<Listening>,
    locator: Locator,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Invite { .. } => "Invite",
            Self::Command { .. } => "Command",
            Self::Readiness(_) => "Readiness",
            Self::Trunks(_) => "Trunks",
            Self::Counters(_) => "Counters",
            Self::Unanswered(_) => "Unanswered",
            Self::Registrations(_) => "Registrations",
            Self::Streams(_) => "Streams",
            Self::Tls(_) => "Tls",
            Self::Name { .. } => "Name",
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

    /// How each registration of ours stands, by its trunk.
    ///
    /// # Errors
    /// [`SipError::Stopped`].
    pub async fn registrations(&self) -> Result<Vec<(String, Standing)>, SipError> {
        let (reply, registrations) = oneshot::channel();
        self.ask(Request::Registrations(reply)).await?;
        registrations.await.map_err(|_| SipError::Stopped)
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

    /// Waits until every request we sent has been answered, or given up by its transaction.
    pub async fn settled(&self) {
        loop {
            let (reply, unanswered) = oneshot::channel();
            let asked = self.ask(Request::Unanswered(reply)).await;
            if asked.is_err() || unanswered.await.is_ok_and(|count| count == 0) {
                return;
            }
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// What has become of stream connections.
    ///
    /// # Errors
    /// [`SipError::Stopped`].
    pub async fn stream_counters(&self) -> Result<streams::Counters, SipError> {
        let (reply, counters) = oneshot::channel();
        self.ask(Request::Streams(reply)).await?;
        counters.await.map_err(|_| SipError::Stopped)
    }

    /// Other certificates for the connections from here on; open ones keep theirs.
    ///
    /// # Errors
    /// [`SipError::Stopped`].
    pub async fn set_tls(&self, tls: Tls) -> Result<(), SipError> {
        self.ask(Request::Tls(tls)).await
    }

    /// The name that was looked up to find this address: what the certificate there must bear, and what a TLS
    /// handshake asks for. To be told before something is sent there.
    ///
    /// # Errors
    /// [`SipError::Stopped`].
    pub async fn name_peer(&self, remote: SocketAddr, name: &str) -> Result<(), SipError> {
        let name = name.to_owned();
        self.ask(Request::Name { remote, name }).await
    }

    /// The ways to a SIP or SIPS URI, best first (RFC 3263): by which a call to it is placed. Where they are TLS, the
    /// certificates there must bear the URI's name.
    ///
    /// # Errors
    /// [`SipError::Locate`] says why there are none, [`SipError::Stopped`].
    pub async fn locate(&self, uri: &str) -> Result<Ways, SipError> {
        let located = self.locator.locate(uri).await?;
        for (remote, name) in located.names() {
            self.name_peer(remote, name).await?;
        }
        Ways::of(located.ways).ok_or_else(|| LocateError::NoRoute(uri.to_owned()).into())
    }

    /// Every message from here on, of all dialogs, by its first line. Costs nothing while nobody subscribes; one
    /// subscriber per node is meant to sort the lines by Call-ID.
    pub fn subscribe(&self) -> broadcast::Receiver<WireLine> {
        self.tap.subscribe()
    }

    /// Where it listens, in the order given to [`start`].
    pub fn addresses(&self) -> &[Listening] {
        &self.addresses
    }

    /// The first address of a transport.
    pub fn address(&self, transport: Transport) -> Option<SocketAddr> {
        let mut all = self.addresses.iter();
        all.find(|listening| listening.transport == transport)
            .map(|listening| listening.address)
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
/// * `config`: its list of what is listened on is filled in here.
/// * `listeners`: see [`super::listen::listen`]; each sends what the core wants sent from its address.
/// * `dns`: who knows where names are.
/// * `admission`: asked about each new call; `None`: only the endpoint's own limits hold.
///
/// # Errors
/// When a socket cannot be served by the runtime.
pub fn start(
    mut config: Config,
    entropy: Entropy,
    listeners: Vec<Listener>,
    streams: streams::Config,
    dns: Dns,
    admission: Option<Admission>,
) -> io::Result<Signalling> {
    let (mut bound, mut streaming, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
    for listener in listeners {
        let listening = listener.listening()?;
        addresses.push(listening);
        match listener {
            Listener::Udp(socket) => {
                socket.set_nonblocking(true)?;
                let (local, socket) = (listening.address, UdpSocket::from_std(socket)?);
                bound.push(Bound { local, socket });
            }
            Listener::Stream(transport, listener) => streaming.push((transport, listener)),
        }
    }
    config.advertised.listening = addresses
        .iter()
        .map(|listening| (listening.transport, listening.address.port()))
        .collect();
    let (requests, request_queue) = mpsc::channel(COMMAND_QUEUE);
    let (ingress, arrivals) = mpsc::channel(INGRESS_QUEUE);
    let (tap, _) = broadcast::channel(TAP_QUEUE);
    let locator = Locator::new(dns, &addresses);
    let handle = SipHandle {
        requests,
        tap: tap.clone(),
        addresses,
        locator: locator.clone(),
    };
    let mut endpoint = Endpoint::new(config, entropy);
    if let Some(gate) = admission.clone() {
        endpoint.set_gate(Box::new(gate));
    }
    let task = Task {
        endpoint,
        admission,
        sockets: bound,
        streams: Streams::start(streams, streaming)?,
        requests: request_queue,
        ingress,
        routes: Routes::default(),
        tap,
        ourselves: Ourselves::default(),
        triage: Triage::default(),
        locator,
        locating: JoinSet::new(),
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
    admission: Option<Admission>,
    sockets: Vec<Bound>,
    streams: Streams,
    requests: mpsc::Receiver<Request>,
    ingress: mpsc::Sender<Arrived>,
    routes: Routes,
    tap: broadcast::Sender<WireLine>,
    ourselves: Ourselves,
    triage: Triage,
    locator: Locator,
    /// Lookups that dialogs and registrations wait for; the core asks for no more than it has of them.
    locating: JoinSet<(LocateId, Result<Located, LocateError>)>,
}

impl Task {
    async fn run(mut self) {
        let mut scratch = vec![0; DATAGRAM];
        self.endpoint.register(Instant::now());
        loop {
            self.drain(Instant::now()).await;
            let now = Instant::now();
            let wake = [
                self.endpoint.poll_timeout(),
                self.routes.poll_timeout(),
                self.streams.poll_timeout(),
            ];
            let wake = wake.into_iter().flatten().min().unwrap_or(now + IDLE);
            let sockets = &self.sockets;
            tokio::select! {
                readable = readable(sockets) => self.read(readable, &mut scratch),
                input = self.streams.next() => self.take(input),
                Some(done) = self.locating.join_next() => self.handle_located(done),
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
                    if let Some(datagram) = self.triage.sort(flow, &scratch[..len]) {
                        self.take_message(now, flow, &datagram);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.take_waiting(now, usize::MAX);
                }
                // An ICMP error about something we sent; retransmission finds out by itself.
                Err(error) => tracing::debug!(%error, "signalling socket"),
            }
        }
        // There is more to read, and what it is about may be more urgent.
        self.take_waiting(now, NEW_CALLS);
    }

    fn take_message(&mut self, now: Instant, flow: Flow, message: &Bytes) {
        tap::tell(&self.tap, now, Direction::Received, flow, message);
        self.endpoint.handle_datagram(now, flow, message);
    }

    fn take_waiting(&mut self, now: Instant, most: usize) {
        for _ in 0..most {
            let Some((flow, datagram)) = self.triage.next() else {
                return;
            };
            self.take_message(now, flow, &datagram);
        }
    }

    /// Takes what connections brought, up to a turn's worth.
    fn take(&mut self, first: streams::Input) {
        let now = Instant::now();
        self.streams.handle(now, first);
        for _ in 1..TURN {
            let Some(next) = self.streams.try_next() else {
                return;
            };
            self.streams.handle(now, next);
        }
    }

    fn handle_stream(&mut self, now: Instant, event: streams::Event) {
        match event {
            streams::Event::Open(flow, identity) => self.endpoint.handle_connected(&flow, identity),
            streams::Event::Message(flow, message) => {
                self.take_message(now, flow, &message);
            }
            streams::Event::Broken(flow, error) => {
                tracing::debug!(%error, "a stream cannot go on");
                self.endpoint.handle_framing_error(&flow, &error);
            }
            streams::Event::Closed(flow) => self.endpoint.handle_closed(now, &flow),
            streams::Event::Unreachable(flow, why) => {
                self.endpoint.handle_send_error(now, &flow, &why);
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
            Request::Readiness(readiness) => {
                self.endpoint.set_readiness(readiness);
                if readiness == Readiness::Draining {
                    self.endpoint.unregister(now);
                }
            }
            Request::Trunks(trunks) => {
                self.endpoint.set_trunks(trunks);
                self.endpoint.register(now);
            }
            Request::Registrations(reply) => {
                let _ = reply.send(self.endpoint.registrations());
            }
            Request::Counters(reply) => {
                let mut counters = self.endpoint.counters();
                counters.shed = self.triage.dropped();
                let _ = reply.send(counters);
            }
            Request::Unanswered(reply) => {
                let _ = reply.send(self.endpoint.unanswered());
            }
            Request::Streams(reply) => {
                let _ = reply.send(self.streams.counters());
            }
            Request::Tls(tls) => self.streams.set_tls(tls),
            Request::Name { remote, name } => self.streams.name_peer(remote, name),
        }
    }

    fn handle_timeout(&mut self) {
        let now = Instant::now();
        self.endpoint.handle_timeout(now);
        for Orphan(dialog) in self.routes.handle_timeout(now) {
            self.abandon(now, dialog);
        }
        let endpoint = &self.endpoint;
        self.streams
            .handle_timeout(now, |flow| endpoint.has_dialog_on(flow));
    }

    /// Hands out what the core produced until it has nothing more: an event can make another transmit. What comes by
    /// streams is taken in between, so that an answer has left before its connection is let go.
    async fn drain(&mut self, now: Instant) {
        loop {
            while let Some(event) = self.endpoint.poll_event() {
                self.handle_event(now, event);
            }
            if let Some(Transmit { flow, payload }) = self.endpoint.poll_transmit() {
                tap::tell(&self.tap, now, Direction::Sent, flow, &payload);
                if flow.transport.is_reliable() {
                    self.streams.send(now, flow, payload);
                } else {
                    self.send_datagram(now, flow, &payload).await;
                }
            } else if let Some(event) = self.streams.poll_event() {
                self.handle_stream(now, event);
            } else {
                return;
            }
        }
    }

    async fn send_datagram(&mut self, now: Instant, flow: Flow, payload: &Bytes) {
        let sent = match self.socket_for(flow.local) {
            Some(socket) => socket.send_to(payload, flow.remote).await,
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        if let Err(error) = sent {
            self.endpoint
                .handle_send_error(now, &flow, &error.to_string());
        }
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Invited(invited) => {
                self.streams.handle_call(now, &invited.flow);
                self.arrive(now, invited);
            }
            Event::Dialog { dialog, event } => {
                if let Some(answer) = self.routes.deliver(now, dialog, event) {
                    // The call is too busy to answer this itself.
                    let _ = self.endpoint.command(now, dialog, answer);
                }
            }
            Event::Locate { id, uri } => {
                let locator = self.locator.clone();
                self.locating
                    .spawn(async move { (id, locator.locate(&uri).await) });
            }
            Event::Registration { trunk, standing } => match standing {
                Standing::Registered => tracing::info!(trunk, "registered"),
                Standing::Failed(status) => {
                    tracing::warn!(trunk, status, "not registered; it is tried again");
                }
                Standing::Trying => {}
            },
        }
    }

    fn handle_located(
        &mut self,
        done: Result<(LocateId, Result<Located, LocateError>), JoinError>,
    ) {
        // A lookup that panicked, which would be a bug, leaves its dialog with the way it has.
        let Ok((id, located)) = done else { return };
        let ways = match located {
            Ok(located) => {
                for (remote, name) in located.names() {
                    self.streams.name_peer(remote, name.to_owned());
                }
                located.ways
            }
            Err(error) => {
                tracing::debug!(%error, "a next hop was not found");
                Vec::new()
            }
        };
        self.endpoint.handle_located(Instant::now(), id, ways);
    }

    fn arrive(&mut self, now: Instant, invited: Box<Invited>) {
        let dialog = invited.dialog;
        let events = self.routes.open(now, dialog);
        let source = invited.flow.remote.ip();
        let arrived = Arrived {
            invited,
            events,
            place: self.admission.as_ref().map(|gate| gate.place(source)),
        };
        if self.ingress.try_send(arrived).is_ok() {
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
