#![expect(
    clippy::disallowed_methods,
    reason = "shell: owns every stream connection and its task"
)]
//! Every TCP and TLS connection of signalling: who may have one, by which one a message goes, when one ends.
//!
//! ```text
//!  listener tasks ──accepted──►┌─────────┐──Message, Open, Closed──► sip_task
//!  one task per connection ───►│ Streams │◄──Transmit── (never waits)
//!        ▲   news (bounded)    └────┬────┘
//!        └──────── outbox (bounded) ┘
//! ```
//!
//! | file | owns |
//! |---|---|
//! | [`limits`] | numbers and deadlines |
//! | [`census`] | who has to go when there are too many |
//! | [`connection`] | one connection: opened, read, written, ended |
//! | `outbox` | what waits to be written to it |
//! | [`listener`] | accepting |
//! | [`opening`] | connecting, and TLS handshakes |
//!
//! A message goes by the connection of its flow; by one we opened to the same peer; or one is opened, and the message
//! waits in its outbox. A peer that does not read loses its connection when its outbox is full; nobody waits for it.

mod census;
mod connection;
mod limits;
mod listener;
mod opening;
mod outbox;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use baton_core::sip::endpoint::{Flow, Transport};
use baton_core::sip::message::framing::FramingError;
use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use self::census::{Census, ConnectionId, Worth};
use self::connection::{End, News, Opener, Said, Teller};
use self::listener::Accepted;
use self::outbox::{Outbox, outbox};
use super::tls::Tls;
pub use limits::Limits;

/// News of all connections that signalling has not taken yet; behind it each connection waits with what it read.
const NEWS: usize = 256;
/// Accepted connections that signalling has not taken yet; behind it they wait in the kernel.
const ACCEPTED: usize = 64;
/// Between two looks for idle connections.
const SWEEP: Duration = Duration::from_secs(30);
/// Other flows by which one connection is known.
const ALIASES: usize = 4;
/// Peers whose names are remembered.
const NAMES: usize = 4_096;

/// What the streams are made of.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Numbers and deadlines.
    pub limits: Limits,
    /// Without it neither accepts nor opens TLS connections.
    pub tls: Option<Tls>,
}

/// What has become of connections since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Open now, or being opened.
    pub open: u64,
    /// Came to us.
    pub accepted: u64,
    /// We opened, or tried to.
    pub connected: u64,
    /// Closed for another, past a limit.
    pub closed_by_limit: u64,
    /// Closed at a deadline: no first message, an unfinished one, or idle.
    pub closed_by_deadline: u64,
    /// Closed because the peer did not read.
    pub closed_unread: u64,
    /// Closed because what came was no SIP, or had no end.
    pub closed_for_framing: u64,
    /// TLS handshakes of peers that failed.
    pub failed_handshakes: u64,
    /// Peers that could not be connected to.
    pub unreachable: u64,
}

/// What signalling must know.
#[derive(Debug)]
pub(super) enum Event {
    /// A connection is open; its peer proved these names.
    Open(Flow, Vec<String>),
    /// A message.
    Message(Flow, Bytes),
    /// The last of a stream: answer it if it can be answered.
    Broken(Flow, FramingError),
    /// A connection is gone.
    Closed(Flow),
    /// Nobody could be connected to.
    Unreachable(Flow, String),
}

/// What the streams wait for.
#[derive(Debug)]
pub(super) struct Input(Arrival);

#[derive(Debug)]
enum Arrival {
    Accepted(Accepted),
    News(News),
}

enum Step {
    Tell(Event),
    /// Everything it said has been answered: let go of it.
    Leave(ConnectionId, Option<String>),
}

#[derive(Debug)]
struct Connection {
    /// How core and peer know it; ours by the listening address, not by the port we opened it from.
    flows: Vec<Flow>,
    remote: SocketAddr,
    outbox: Outbox,
    task: AbortHandle,
    /// The peer's names once it is open.
    identity: Option<Vec<String>>,
    /// Whom its certificate was to name, if we opened it.
    name: Option<String>,
}

/// All connections.
pub(super) struct Streams {
    limits: Limits,
    tls: Option<Tls>,
    census: Census,
    connections: HashMap<ConnectionId, Connection>,
    by_flow: HashMap<Flow, ConnectionId>,
    /// Those we opened.
    by_peer: HashMap<(Transport, SocketAddr), ConnectionId>,
    names: HashMap<SocketAddr, String>,
    last: u64,
    steps: VecDeque<Step>,
    sweep: Option<Instant>,
    news: mpsc::Sender<News>,
    news_queue: mpsc::Receiver<News>,
    accepted_queue: mpsc::Receiver<Accepted>,
    /// Accepting ends with this.
    _listening: JoinSet<()>,
    /// Kept, so that a node that accepts nothing waits for ever instead of spinning.
    _accepted: mpsc::Sender<Accepted>,
    counters: Counters,
}

impl Streams {
    /// Starts accepting on these sockets, within a tokio runtime.
    pub(super) fn start(
        config: Config,
        listeners: Vec<(Transport, std::net::TcpListener)>,
    ) -> io::Result<Self> {
        let (news, news_queue) = mpsc::channel(NEWS);
        let (accepted, accepted_queue) = mpsc::channel(ACCEPTED);
        let mut listening = JoinSet::new();
        for (transport, listener) in listeners {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            listening.spawn(listener::accept(transport, listener, accepted.clone()));
        }
        let Limits {
            connections,
            per_source,
            ..
        } = config.limits;
        Ok(Self {
            limits: config.limits,
            tls: config.tls,
            census: Census::new(connections, per_source),
            connections: HashMap::new(),
            by_flow: HashMap::new(),
            by_peer: HashMap::new(),
            names: HashMap::new(),
            last: 0,
            steps: VecDeque::new(),
            sweep: None,
            news,
            news_queue,
            accepted_queue,
            _listening: listening,
            _accepted: accepted,
            counters: Counters::default(),
        })
    }

    /// Waits for something to happen. Cancel-safe.
    pub(super) async fn next(&mut self) -> Input {
        tokio::select! {
            Some(news) = self.news_queue.recv() => Input(Arrival::News(news)),
            Some(accepted) = self.accepted_queue.recv() => Input(Arrival::Accepted(accepted)),
            // Both senders are kept here, so neither queue ends.
            else => std::future::pending().await,
        }
    }

    /// What has happened already.
    pub(super) fn try_next(&mut self) -> Option<Input> {
        let news = self.news_queue.try_recv().ok().map(Arrival::News);
        let accepted = || self.accepted_queue.try_recv().ok().map(Arrival::Accepted);
        news.or_else(accepted).map(Input)
    }

    /// Takes note of what happened; [`Streams::poll_event`] tells what it means.
    pub(super) fn handle(&mut self, now: Instant, Input(input): Input) {
        match input {
            Arrival::Accepted(Accepted::Connection {
                transport,
                stream,
                remote,
            }) => self.accept(now, transport, stream, remote),
            Arrival::Accepted(Accepted::NoRoom) => {
                if let Some(victim) = self.census.expendable() {
                    self.evict(victim);
                }
            }
            Arrival::News(News { from, said }) => self.hear(now, from, said),
        }
    }

    /// The next thing signalling must know, after it has sent what the last one made it send.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        loop {
            match self.steps.pop_front()? {
                Step::Tell(event) => return Some(event),
                Step::Leave(id, unreachable) => self.leave(id, unreachable.as_deref()),
            }
        }
    }

    /// Sends a message, now or when its connection is open. What cannot be sent is told as an event of its flow.
    pub(super) fn send(&mut self, now: Instant, flow: Flow, message: Bytes) {
        let id = match self.connection_for(&flow) {
            Some(id) => id,
            None => match self.connect(now, flow) {
                Ok(id) => id,
                Err(why) => {
                    self.steps
                        .push_back(Step::Tell(Event::Unreachable(flow, why)));
                    return;
                }
            },
        };
        self.census.note(now, id, Worth::Silent);
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        if connection.outbox.post(message).is_err() {
            self.counters.closed_unread += 1;
            tracing::debug!(remote = %connection.remote, "a peer does not read: closed");
            self.cut(id);
        }
    }

    /// A call came, or goes, by this flow.
    pub(super) fn handle_call(&mut self, now: Instant, flow: &Flow) {
        if let Some(id) = self.by_flow.get(flow) {
            self.census.note(now, *id, Worth::Needed);
        }
    }

    /// The name that the certificate of the peer at this address must bear.
    pub(super) fn name_peer(&mut self, remote: SocketAddr, name: String) {
        if self.names.len() >= NAMES {
            self.names.clear();
        }
        self.names.insert(remote, name);
    }

    /// Other certificates from here on; open connections keep theirs.
    pub(super) fn set_tls(&mut self, tls: Tls) {
        self.tls = Some(tls);
    }

    /// Closes what has been idle for too long and has no dialog.
    ///
    /// * `has_dialog`: asked for each idle flow.
    pub(super) fn handle_timeout(&mut self, now: Instant, has_dialog: impl Fn(&Flow) -> bool) {
        if self.sweep.is_none_or(|at| at > now) {
            return;
        }
        self.sweep = (self.census.len() > 0).then(|| now + self.rhythm());
        let Some(then) = now.checked_sub(self.limits.idle) else {
            return; // the machine's clock is younger than that
        };
        for id in self.census.idle_since(then) {
            let flows = self.connections.get(&id).map(|found| &found.flows);
            if flows.is_some_and(|flows| flows.iter().any(&has_dialog)) {
                self.census.note(now, id, Worth::Needed);
                continue;
            }
            self.counters.closed_by_deadline += 1;
            self.cut(id);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.sweep
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            open: self.connections.len() as u64,
            ..self.counters
        }
    }

    /// How often idle connections are looked for.
    fn rhythm(&self) -> Duration {
        SWEEP.min(self.limits.idle / 2)
    }

    /// The connection of this flow, or one of ours to the same peer.
    fn connection_for(&mut self, flow: &Flow) -> Option<ConnectionId> {
        if let Some(id) = self.by_flow.get(flow) {
            return Some(*id);
        }
        let id = *self.by_peer.get(&(flow.transport, flow.remote))?;
        let name = self.name_of(flow);
        let connection = self.connections.get_mut(&id)?;
        if connection.name != name || connection.flows.len() > ALIASES {
            return None; // verified for somebody else
        }
        connection.flows.push(*flow);
        self.by_flow.insert(*flow, id);
        if let Some(identity) = connection.identity.clone() {
            self.steps
                .push_back(Step::Tell(Event::Open(*flow, identity)));
        }
        Some(id)
    }

    fn accept(
        &mut self,
        now: Instant,
        transport: Transport,
        stream: TcpStream,
        remote: SocketAddr,
    ) {
        let Ok(local) = stream.local_addr() else {
            return; // it is gone already
        };
        let flow = Flow {
            transport,
            local,
            remote,
        };
        let acceptor = match transport {
            Transport::Tls => match self.tls.as_ref().and_then(Tls::acceptor) {
                Some(acceptor) => Some(acceptor.clone()),
                None => return, // its certificate was taken away
            },
            Transport::Udp | Transport::Tcp => None,
        };
        opening::tune(&stream);
        self.counters.accepted += 1;
        let since = tokio::time::Instant::from_std(now);
        self.open(now, flow, Some(remote), None, |seat| {
            let Seat {
                teller,
                mail,
                limits,
            } = seat;
            let opener = Opener::Peer(since);
            let task = if let Some(acceptor) = acceptor {
                let until = since + limits.first_message;
                let opening = opening::shake_hands(acceptor, stream, until);
                tokio::spawn(connection::run(teller, opening, opener, limits, mail))
            } else {
                let opening = opening::ready(stream);
                tokio::spawn(connection::run(teller, opening, opener, limits, mail))
            };
            task.abort_handle()
        });
    }

    fn connect(&mut self, now: Instant, flow: Flow) -> Result<ConnectionId, String> {
        let name = self.name_of(&flow);
        let target = opening::Target {
            remote: flow.remote,
            limits: self.limits,
        };
        let tls = match flow.transport {
            Transport::Tls => {
                let tls = self.tls.as_ref().ok_or("TLS is not set up")?;
                let named = name.clone().unwrap_or_else(|| flow.remote.ip().to_string());
                let named = rustls::pki_types::ServerName::try_from(named)
                    .map_err(|_| "the peer's name cannot be in a certificate")?;
                Some((tls.connector().clone(), named))
            }
            Transport::Udp | Transport::Tcp => None,
        };
        self.counters.connected += 1;
        let id = self.open(now, flow, None, name, |seat| {
            let Seat {
                teller,
                mail,
                limits,
            } = seat;
            let task = if let Some((connector, named)) = tls {
                let opening = opening::connect_tls(target, connector, named);
                tokio::spawn(connection::run(teller, opening, Opener::Us, limits, mail))
            } else {
                let opening = opening::connect(target);
                tokio::spawn(connection::run(teller, opening, Opener::Us, limits, mail))
            };
            task.abort_handle()
        });
        self.by_peer.insert((flow.transport, flow.remote), id);
        Ok(id)
    }

    /// Makes room for a connection, and puts it into every table.
    fn open(
        &mut self,
        now: Instant,
        flow: Flow,
        source: Option<SocketAddr>,
        name: Option<String>,
        start: impl FnOnce(Seat) -> AbortHandle,
    ) -> ConnectionId {
        self.last += 1;
        let id = ConnectionId(self.last);
        if let Some(victim) = self.census.admit(now, id, source.map(|source| source.ip())) {
            self.evict(victim);
        }
        let (outbox, mail) = outbox();
        let task = start(Seat {
            teller: Teller {
                id,
                news: self.news.clone(),
            },
            mail,
            limits: self.limits,
        });
        let connection = Connection {
            flows: vec![flow],
            remote: flow.remote,
            outbox,
            task,
            identity: None,
            name,
        };
        self.connections.insert(id, connection);
        self.by_flow.insert(flow, id);
        self.sweep.get_or_insert(now + self.rhythm());
        id
    }

    /// News of a connection that is gone are no news.
    fn hear(&mut self, now: Instant, id: ConnectionId, said: Said) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let flow = connection.flows[0];
        match said {
            Said::Open(identity) => {
                connection.identity = Some(identity.clone());
                for flow in &connection.flows {
                    let open = Event::Open(*flow, identity.clone());
                    self.steps.push_back(Step::Tell(open));
                }
            }
            Said::Message(message) => {
                self.census.note(now, id, Worth::Spoke);
                self.steps
                    .push_back(Step::Tell(Event::Message(flow, message)));
            }
            Said::Ping => self.census.note(now, id, Worth::Silent),
            Said::Ended(end) => self.end(id, flow, end),
        }
    }

    fn end(&mut self, id: ConnectionId, flow: Flow, end: End) {
        let mut unreachable = None;
        match end {
            End::Gone => {}
            End::Framing(error) => {
                self.counters.closed_for_framing += 1;
                self.steps.push_back(Step::Tell(Event::Broken(flow, error)));
            }
            End::Deadline => self.counters.closed_by_deadline += 1,
            End::Handshake => self.counters.failed_handshakes += 1,
            End::Unopened(why) => {
                self.counters.unreachable += 1;
                unreachable = Some(why);
            }
        }
        self.steps.push_back(Step::Leave(id, unreachable));
    }

    /// Closed for another.
    fn evict(&mut self, id: ConnectionId) {
        self.counters.closed_by_limit += 1;
        self.cut(id);
    }

    /// Closes at once; what it has not written is lost.
    fn cut(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get(&id) {
            connection.task.abort();
        }
        self.leave(id, None);
    }

    /// Forgets a connection and tells of each of its flows. Its task writes what is left by itself.
    fn leave(&mut self, id: ConnectionId, unreachable: Option<&str>) {
        self.census.forget(id);
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        for flow in connection.flows {
            if self.by_flow.get(&flow) == Some(&id) {
                self.by_flow.remove(&flow);
                let event = match unreachable {
                    Some(why) => Event::Unreachable(flow, why.to_owned()),
                    None => Event::Closed(flow),
                };
                self.steps.push_back(Step::Tell(event));
            }
            let peer = (flow.transport, flow.remote);
            if self.by_peer.get(&peer) == Some(&id) {
                self.by_peer.remove(&peer);
            }
        }
    }

    /// The name that the peer of a TLS flow must prove; its address when nobody named it.
    fn name_of(&self, flow: &Flow) -> Option<String> {
        match flow.transport {
            Transport::Tls => self.names.get(&flow.remote).cloned(),
            Transport::Udp | Transport::Tcp => None,
        }
    }
}

/// What a connection's task is given.
struct Seat {
    teller: Teller,
    mail: outbox::Mail,
    limits: Limits,
}
