//! Real loopback sockets around a leg that does almost nothing.

use std::collections::VecDeque;

use baton_core::vocab::PTIME;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, UdpSocket as Phone};
use tokio::time::timeout;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message as Frame;

use baton_core::agent::MessageKind;

use super::*;

const SOON: Duration = Duration::from_secs(5);

/// Sends what it hears to its agent, and plays one message of the agent per tick to whoever spoke last.
#[derive(Default)]
struct Echo {
    caller: Option<SocketAddr>,
    to_agent: VecDeque<Vec<u8>>,
    said: Vec<u8>,
    playout: VecDeque<Vec<u8>>,
    packet: Option<Vec<u8>>,
    /// When each packet was played.
    played: Vec<Instant>,
    sending: Vec<u8>,
    events: VecDeque<Seen>,
    deadline: Option<Instant>,
    close: Option<u16>,
    finished: bool,
}

#[derive(Debug, PartialEq)]
enum Seen {
    Open,
    Closed { clean: bool, why: String },
    Packet,
    Level(u32),
    Played(Vec<Instant>),
    Fired(Instant),
    Goodbye,
}

enum Do {
    Report,
    Levels(u32),
    Events(u32),
    FireAt(Instant),
    CloseLink(u16),
    Panic,
    PanicAtTick,
    Finish,
}

impl MediaLeg for Echo {
    type Command = Do;
    type Event = Seen;

    fn handle_rtp(&mut self, _now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.caller = Some(from);
        self.to_agent.push_back(datagram.to_vec());
        self.events.push_back(Seen::Packet);
    }
    fn handle_link_open(&mut self, _now: Instant) {
        self.events.push_back(Seen::Open);
    }
    fn handle_link_message(&mut self, _now: Instant, message: Message<'_>) {
        if let Message::Binary(octets) = message {
            self.playout.push_back(octets.to_vec());
        }
    }
    fn handle_link_closed(&mut self, _now: Instant, clean: bool, why: String) {
        self.events.push_back(Seen::Closed { clean, why });
    }
    fn handle_command(&mut self, _now: Instant, command: Do) {
        match command {
            Do::Report => self.events.push_back(Seen::Played(self.played.clone())),
            Do::Levels(n) => self.events.extend((0..n).map(Seen::Level)),
            Do::Events(n) => self.events.extend((0..n).map(|_| Seen::Packet)),
            Do::FireAt(at) => self.deadline = Some(at),
            Do::CloseLink(code) => self.close = Some(code),
            Do::Panic => panic!("asked to"),
            Do::PanicAtTick => self.playout.push_back(b"panic".to_vec()),
            Do::Finish => {
                self.events.push_back(Seen::Goodbye);
                self.finished = true;
            }
        }
    }
    fn handle_tick(&mut self, now: Instant) {
        self.packet = self.playout.pop_front();
        self.played.extend(self.packet.as_ref().map(|_| now));
        assert_ne!(self.packet.as_deref(), Some(&b"panic"[..]), "asked to");
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.deadline = None;
        self.events.push_back(Seen::Fired(now));
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }
    fn poll_transmit(&mut self) -> Option<(SocketAddr, &[u8])> {
        self.sending = self.packet.take()?;
        Some((self.caller?, &self.sending))
    }
    fn poll_link(&mut self) -> Option<LinkOutput<'_>> {
        if let Some(code) = self.close.take() {
            return Some(LinkOutput::Close {
                code,
                reason: "as told",
            });
        }
        self.said = self.to_agent.pop_front()?;
        Some(LinkOutput::Send {
            message: Message::Binary(&self.said),
            kind: MessageKind::Audio,
        })
    }
    fn poll_event(&mut self) -> Option<Seen> {
        self.events.pop_front()
    }
    fn is_finished(&self) -> bool {
        self.finished
    }
    fn is_obsolete_soon(event: &Seen) -> bool {
        matches!(event, Seen::Level(_))
    }
}

/// One call on one shard, seen from its three sides.
struct Bench {
    shards: Shards<Echo>,
    rtp: SocketAddr,
    phone: Phone,
    commands: mpsc::Sender<Do>,
    events: mpsc::Receiver<Seen>,
}

impl Bench {
    async fn with_agent(link: Option<String>) -> Self {
        let shards = Shards::start(1).unwrap();
        let rtp_socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let rtp = rtp_socket.local_addr().unwrap();
        let (sender, events) = mpsc::channel(QUEUE);
        let open = LegOpen {
            leg: Echo::default(),
            rtp_socket,
            link: link.map(|url| LinkRequest {
                url,
                subprotocol: None,
                headers: Vec::new(),
            }),
            connect_timeout: SOON,
            events: sender,
        };
        let commands = shards.handle().open(open).await.unwrap();
        let phone = Phone::bind("127.0.0.1:0").await.unwrap();
        Self {
            shards,
            rtp,
            phone,
            commands,
            events,
        }
    }

    async fn event(&mut self) -> Option<Seen> {
        timeout(SOON, self.events.recv()).await.expect("an event")
    }

    async fn command(&self, command: Do) {
        assert!(self.commands.send(command).await.is_ok());
    }

    fn stats(&self) -> &ShardStats {
        &self.shards.handle.shards[0].stats
    }
}

/// An agent that returns every message.
async fn echo_agent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_binary() {
                socket.send(message).await.unwrap();
            }
        }
    });
    url
}

#[tokio::test]
async fn a_packet_goes_to_the_agent_and_back_at_the_pace_of_the_clock() {
    let mut bench = Bench::with_agent(Some(echo_agent().await)).await;
    assert_eq!(bench.event().await, Some(Seen::Open));
    // All at once, as a burst from the network.
    for n in 0..10_u8 {
        bench.phone.send_to(&[n; 172], bench.rtp).await.unwrap();
    }
    for n in 0..10_u8 {
        let mut buffer = [0; 200];
        let (len, from) = timeout(SOON, bench.phone.recv_from(&mut buffer))
            .await
            .expect("a packet")
            .unwrap();
        assert_eq!((&buffer[..len], from), (&[n; 172][..], bench.rtp));
    }
    bench.command(Do::Report).await;
    let played = loop {
        if let Some(Seen::Played(played)) = bench.event().await {
            break played;
        }
    };
    // Ticks are never early and less than a frame late, or else skipped: nine frames take at least eight.
    let took = played[9] - played[0];
    assert!(took >= PTIME * 8, "{took:?}");
    assert_eq!(bench.stats().received.load(Ordering::Relaxed), 10);
    assert_eq!(bench.stats().sent.load(Ordering::Relaxed), 10);
}

#[tokio::test]
async fn a_deadline_between_two_ticks_is_served_and_not_early() {
    let mut bench = Bench::with_agent(None).await;
    for wait in [3, 7, 45] {
        let due = Instant::now() + Duration::from_millis(wait);
        bench.command(Do::FireAt(due)).await;
        let Some(Seen::Fired(at)) = bench.event().await else {
            panic!("nothing fired");
        };
        assert!(at >= due, "{:?} early", due - at);
    }
}

#[tokio::test]
async fn an_agent_that_cannot_be_reached_is_told_to_the_leg() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut bench = Bench::with_agent(Some(url)).await;
    let Some(Seen::Closed { clean: false, why }) = bench.event().await else {
        panic!("not told");
    };
    assert!(why.starts_with("ws://127.0.0.1"), "{why}");
    // The leg lives on without its agent.
    bench.phone.send_to(b"rtp", bench.rtp).await.unwrap();
    assert_eq!(bench.event().await, Some(Seen::Packet));
}

#[tokio::test]
async fn the_legs_own_goodbye_reaches_the_agent_and_is_not_told_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        loop {
            if let Frame::Close(frame) = socket.next().await.unwrap().unwrap() {
                return frame.unwrap();
            }
        }
    });
    let mut bench = Bench::with_agent(Some(url)).await;
    assert_eq!(bench.event().await, Some(Seen::Open));
    bench.command(Do::CloseLink(1008)).await;
    let frame = timeout(SOON, server).await.unwrap().unwrap();
    assert_eq!(
        (u16::from(frame.code), frame.reason.as_str()),
        (1008, "as told")
    );
    bench.command(Do::Finish).await;
    assert_eq!(bench.event().await, Some(Seen::Goodbye));
}

#[tokio::test]
async fn an_agents_goodbye_is_told_to_the_leg() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        socket.close(None).await.unwrap();
        while socket.next().await.is_some() {}
    });
    let mut bench = Bench::with_agent(Some(url)).await;
    assert_eq!(bench.event().await, Some(Seen::Open));
    assert!(matches!(
        bench.event().await,
        Some(Seen::Closed { clean: true, .. })
    ));
}

#[tokio::test]
async fn a_slow_call_loses_levels_but_no_event() {
    let mut bench = Bench::with_agent(None).await;
    bench.command(Do::Levels(500)).await;
    bench.command(Do::Events(200)).await;
    bench.command(Do::Finish).await;
    let mut levels = 0;
    let mut others = 0;
    loop {
        match bench.event().await {
            Some(Seen::Level(_)) => levels += 1,
            Some(Seen::Goodbye) => break,
            Some(_) => others += 1,
            None => panic!("the last event was lost"),
        }
    }
    assert!(levels < 500, "{levels} levels");
    assert_eq!(others, 200);
    assert_eq!(bench.event().await, None, "the leg has ended");
}

#[tokio::test]
async fn a_call_that_never_listens_costs_its_own_leg_only() {
    let mut bench = Bench::with_agent(None).await;
    bench.command(Do::Events(10_000)).await;
    // The leg is ended; its command queue closes.
    timeout(SOON, bench.commands.closed()).await.expect("ended");
    let mut seen = 0;
    while bench.event().await.is_some() {
        seen += 1;
    }
    assert!((QUEUE..10_000).contains(&seen), "{seen}");
}

#[tokio::test]
async fn a_leg_whose_call_is_gone_ends() {
    let bench = Bench::with_agent(None).await;
    drop(bench.events);
    bench.phone.send_to(b"rtp", bench.rtp).await.unwrap();
    timeout(SOON, bench.commands.closed()).await.expect("ended");

    let mut bench = Bench::with_agent(None).await;
    drop(bench.commands);
    let ended = timeout(SOON, bench.events.recv()).await.expect("ended");
    assert_eq!(ended, None);
}

#[tokio::test]
async fn a_leg_that_panics_takes_nobody_with_it() {
    let shards = Shards::start(1).unwrap();
    let handle = shards.handle();
    let open = async || {
        let (sender, events) = mpsc::channel(QUEUE);
        let rtp_socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = rtp_socket.local_addr().unwrap();
        let open = LegOpen {
            leg: Echo::default(),
            rtp_socket,
            link: None,
            connect_timeout: SOON,
            events: sender,
        };
        (handle.open(open).await.unwrap(), events, to)
    };
    let (_survivor, mut survivor_events, survivor_rtp) = open().await;
    for fatal in [Do::Panic, Do::PanicAtTick] {
        let (commands, mut events, _) = open().await;
        assert!(commands.send(fatal).await.is_ok());
        let ended = timeout(SOON, events.recv()).await.expect("ended");
        assert_eq!(ended, None);
    }
    let phone = Phone::bind("127.0.0.1:0").await.unwrap();
    phone.send_to(b"rtp", survivor_rtp).await.unwrap();
    let heard = timeout(SOON, survivor_events.recv()).await.expect("alive");
    assert_eq!(heard, Some(Seen::Packet));
    let panics: u64 = handle
        .stats()
        .map(|s| s.panics.load(Ordering::Relaxed))
        .sum();
    assert_eq!(panics, 2);
}

#[tokio::test]
async fn legs_are_spread_over_the_shards_and_seats_are_given_back() {
    let shards = Shards::start(2).unwrap();
    let handle = shards.handle();
    let mut calls = Vec::new();
    for _ in 0..4 {
        let (sender, events) = mpsc::channel(QUEUE);
        let open = LegOpen {
            leg: Echo::default(),
            rtp_socket: UdpSocket::bind("127.0.0.1:0").unwrap(),
            link: None,
            connect_timeout: SOON,
            events: sender,
        };
        calls.push((handle.open(open).await.unwrap(), events));
    }
    let load = |h: &ShardHandle<Echo>| -> Vec<_> {
        h.stats().map(|s| s.legs.load(Ordering::Relaxed)).collect()
    };
    assert_eq!(load(&handle), [2, 2]);
    for (commands, mut events) in calls {
        drop(commands);
        while events.recv().await.is_some() {}
    }
    let probe = handle.clone();
    drop(handle);
    drop(probe);
    // Ends only when every leg has been let go.
    tokio::task::spawn_blocking(|| shards.join()).await.unwrap();
}
