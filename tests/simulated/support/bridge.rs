//! The bridge without a socket, a thread or a clock: an endpoint, and for each of its calls a [`Call`], a [`Leg`] and a
//! history. What a call wants done is done as `src/bridge/call_task.rs` does it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_core::admission::{Lifecycle, Patience};
use baton_core::agent::{LinkOutput, Message};
use baton_core::call::{self, Action, Call, Final, Input, LegSetup, Operator, Setup, Stopping};
use baton_core::handoff::RequestError;
use baton_core::handoff::{self, KeyPlacement};
use baton_core::history::{
    Backend, Durability, Event as Written, Kind, Session, UnixMillis, WITNESS_SEQ, WallClock,
};
use baton_core::leg::{self, Leg};
use baton_core::media::rtp::packet::{RtpTimestamp, SeqNo};
use baton_core::media::rtp::source::LatchPolicy;
use baton_core::media::{g711, jitter, vad};
use baton_core::sdp;
use baton_core::sip::endpoint::{
    Command, CommandError, Config, DialogId, Endpoint, Event, Flow, Invited, Readiness, Transport,
};
use baton_core::sip::registration::Standing;
use baton_core::vocab::{CallId, Entropy, HandoffId, HandoffKey};

use super::agent::{Agent, Line};
use super::clock::{ms, secs};
use super::historian::Historian;
use super::store::{Store, now_or_never};
use super::wire::Datagram;

/// What the agent's socket does when it is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dial {
    Opens(Duration),
    Refuses(Duration),
    /// Neither, ever.
    Hangs,
}

/// How this bridge is configured.
#[derive(Debug, Clone)]
pub(crate) struct House {
    pub(crate) sip: Config,
    /// The other end's.
    pub(crate) trunk: Config,
    pub(crate) call: call::Config,
    pub(crate) handoff: handoff::Config,
    pub(crate) placement: KeyPlacement,
    pub(crate) no_rtp_timeout: Duration,
    pub(crate) dial: Dial,
    pub(crate) patience: Patience,
}

impl Default for House {
    fn default() -> Self {
        Self {
            sip: Config::default(),
            trunk: Config::default(),
            call: call::Config::default(),
            handoff: handoff::Config {
                target: Some("sip:queue@flex.example.com".into()),
                ..handoff::Config::default()
            },
            placement: KeyPlacement::ReferToHeader,
            no_rtp_timeout: secs(30),
            dial: Dial::Opens(ms(50)),
            patience: Patience::default(),
        }
    }
}

/// The agent's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Dialling { since: Instant },
    Open,
    Gone,
}

/// Whether RTP left when it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pace {
    /// The last packet, while one is due every 20 ms.
    last: Option<Instant>,
    pub(crate) packets: u64,
    pub(crate) longest_gap: Duration,
}

impl Pace {
    fn is_due_from(&mut self, now: Instant) {
        self.last = Some(now);
    }

    fn left(&mut self, now: Instant) {
        self.packets += 1;
        self.stop(now);
        self.last = Some(now);
    }

    fn stop(&mut self, now: Instant) {
        if let Some(last) = self.last.take() {
            self.longest_gap = self.longest_gap.max(now - last);
        }
    }
}

/// One call of the bridge.
pub(crate) struct Task {
    call: Call,
    dialog: DialogId,
    clock: WallClock,
    pub(crate) invited: Invited,
    rtp: SocketAddr,
    house: House,
    entropy: Entropy,
    leg: Option<Leg>,
    pub(crate) link: Link,
    pub(crate) agent: Agent,
    pub(crate) pace: Pace,
    historian: Historian,
    pub(crate) ended: Option<Final>,
    pub(crate) replies: Vec<Result<Option<HandoffId>, RequestError>>,
    /// What the endpoint refused to say.
    pub(crate) refused: Vec<CommandError>,
}

pub(crate) struct Bridge {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    transport: Transport,
    pub(crate) store: Arc<Store>,
    /// Where the names are that dialogs may hold, by URI.
    pub(crate) zone: BTreeMap<String, Vec<SocketAddr>>,
    /// How its registrations stood, one after the other.
    pub(crate) registrations: Vec<(String, Standing)>,
    pub(crate) lifecycle: Lifecycle,
    house: House,
    calls: BTreeMap<DialogId, Task>,
    entropy: Entropy,
    next_port: u16,
}

impl Bridge {
    pub(crate) fn new(
        house: House,
        address: SocketAddr,
        transport: Transport,
        mut entropy: Entropy,
    ) -> Self {
        Self {
            endpoint: Endpoint::new(house.sip.clone(), entropy.fork()),
            address,
            transport,
            store: Arc::new(Store::new()),
            zone: BTreeMap::new(),
            registrations: Vec::new(),
            lifecycle: Lifecycle::default(),
            house,
            calls: BTreeMap::new(),
            entropy,
            next_port: 10_000,
        }
    }

    pub(crate) fn receives(&mut self, now: Instant, datagram: &Datagram) {
        let flow = self.flow(datagram.from);
        self.endpoint.handle_datagram(now, flow, &datagram.payload);
    }

    fn flow(&self, remote: SocketAddr) -> Flow {
        Flow {
            transport: self.transport,
            local: self.address,
            remote,
        }
    }

    /// A packet for one of the legs.
    pub(crate) fn hears(&mut self, now: Instant, datagram: &Datagram) {
        let found = self.calls.values_mut().find(|task| task.rtp == datagram.to);
        if let Some(leg) = found.and_then(|task| task.leg.as_mut()) {
            leg.handle_rtp(now, datagram.from, &datagram.payload);
        }
    }

    /// Carries everything that happened to where it belongs, until nothing moves.
    pub(crate) fn settle(&mut self, now: Instant) {
        loop {
            let mut moved = false;
            while let Some(event) = self.endpoint.poll_event() {
                moved = true;
                match event {
                    Event::Invited(invited) => self.take(now, *invited),
                    Event::Dialog { dialog, event } => {
                        if let Some(task) = self.calls.get_mut(&dialog) {
                            task.tell(now, &mut self.endpoint, Input::Sip(event));
                        }
                    }
                    Event::Locate { id, uri } => {
                        let found = self.zone.get(&uri).cloned().unwrap_or_default();
                        let ways = found.into_iter().map(|remote| self.flow(remote));
                        let ways = ways.collect();
                        self.endpoint.handle_located(now, id, ways);
                    }
                    Event::Registration { trunk, standing } => {
                        self.registrations.push((trunk, standing));
                    }
                }
            }
            for task in self.calls.values_mut() {
                moved |= task.settle(now, &mut self.endpoint);
            }
            if !moved {
                return;
            }
        }
    }

    fn take(&mut self, now: Instant, invited: Invited) {
        let mut entropy = self.entropy.fork();
        let rtp = SocketAddr::new(self.address.ip(), self.next_port);
        self.next_port += 2;
        let clock = WallClock::new(now, UnixMillis(1_700_000_000_000));
        let key = HandoffKey::generate(&mut entropy);
        let setup = Setup {
            id: CallId::generate(&mut entropy),
            key,
            clock,
            local: sdp::Local::new(rtp.ip(), rtp.port(), entropy.next_u64()),
            route: call::Route {
                name: "support".into(),
                agent: "probe".into(),
                variables: BTreeMap::new(),
            },
            config: self.house.call.clone(),
            handoff: self.house.handoff.clone(),
            placement: self.house.placement,
            node: "n1".into(),
            entropy: entropy.fork(),
            invited: invited.clone(),
        };
        let dialog = invited.dialog;
        let mut task = Task {
            call: Call::new(now, setup),
            dialog,
            clock,
            invited,
            rtp,
            house: self.house.clone(),
            entropy,
            leg: None,
            link: Link::Gone,
            agent: Agent::default(),
            pace: Pace::default(),
            historian: Historian::new(Arc::clone(&self.store), key),
            ended: None,
            replies: Vec::new(),
            refused: Vec::new(),
        };
        task.perform_all(now, &mut self.endpoint);
        self.calls.insert(dialog, task);
    }

    /// `drain_timeout`, for when it must be shorter than what a call waits for.
    pub(crate) const fn set_drain(&mut self, drain: Duration) {
        self.house.patience.drain = drain;
    }

    pub(crate) const fn patience(&self) -> Patience {
        self.house.patience
    }

    /// The node is told to stop, as by a signal.
    pub(crate) fn is_told_to_stop(&mut self, now: Instant) {
        self.endpoint.set_readiness(Readiness::Draining);
        self.endpoint.unregister(now);
        let before = self.lifecycle;
        self.lifecycle.handle_stop(now, self.house.patience);
        self.lifecycle_moved(now, before);
    }

    /// Each call hears of it, as each call's task does.
    fn lifecycle_moved(&mut self, now: Instant, before: Lifecycle) {
        let stopping = match self.lifecycle {
            state if state == before => return,
            Lifecycle::Ready | Lifecycle::Draining { .. } => return,
            Lifecycle::Ending { .. } => Stopping::Gently,
            Lifecycle::Stopped => Stopping::AtOnce,
        };
        for task in self.calls.values_mut() {
            task.tell(now, &mut self.endpoint, Input::Stopping(stopping));
        }
    }

    fn advance_lifecycle(&mut self, now: Instant) {
        let before = self.lifecycle;
        let is_left = |task: &&Task| task.ended.is_none() || !task.is_written();
        self.lifecycle
            .handle_calls(self.calls.values().filter(is_left).count());
        self.lifecycle.handle_timeout(now);
        self.lifecycle_moved(now, before);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.advance_lifecycle(now);
        if self.endpoint.poll_timeout().is_some_and(|at| at <= now) {
            self.endpoint.handle_timeout(now);
        }
        for task in self.calls.values_mut() {
            task.handle_timeout(now, &mut self.endpoint);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let calls = self.calls.values().filter_map(Task::poll_timeout).min();
        let node = self.lifecycle.poll_timeout();
        let all = self.endpoint.poll_timeout().into_iter();
        all.chain(calls).chain(node).min()
    }

    /// The frame clock; returns what leaves.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Datagram> {
        self.calls
            .values_mut()
            .filter_map(|task| task.tick(now))
            .collect()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.calls.values().any(|task| task.leg.is_some())
    }

    /// Calls in the order in which they came.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &Task> {
        self.calls.values()
    }

    pub(crate) fn call(&self, number: usize) -> &Task {
        self.calls()
            .nth(number)
            .expect("the call has reached the bridge")
    }

    fn with(&mut self, number: usize, act: impl FnOnce(&mut Task, &mut Endpoint)) {
        let task = self.calls.values_mut().nth(number);
        act(
            task.expect("the call has reached the bridge"),
            &mut self.endpoint,
        );
    }

    pub(crate) fn tell(&mut self, now: Instant, number: usize, input: Input) {
        self.with(number, |task, endpoint| task.tell(now, endpoint, input));
    }

    pub(crate) fn operator(&mut self, now: Instant, number: usize, wish: Operator) {
        self.tell(now, number, Input::Operator(wish));
    }

    /// The refer-handler was asked for this call's key: it tells the call, and writes it down.
    pub(crate) fn key_is_read(&mut self, now: Instant, number: usize) {
        let (key, clock) = (self.call(number).key(), self.call(number).clock);
        self.tell(now, number, Input::KeyRead);
        let at = clock.at(now);
        let event = Written::new(at, Kind::RedirectedByHandler { call_sid: None });
        let stored = self
            .store
            .append(key, WITNESS_SEQ + at.0, vec![event], Durability::Durable);
        drop(now_or_never(stored));
    }

    /// The agent does this now, through its socket.
    pub(crate) fn agent_does(&mut self, now: Instant, number: usize, lines: Vec<Line>) {
        self.with(number, |task, _| {
            for line in lines {
                task.agent.prepare(line);
            }
            if let Some(leg) = &mut task.leg {
                leg.handle_link_message(now, Message::Text("go"));
            }
        });
    }

    /// The agent's socket is gone.
    pub(crate) fn agent_goes(&mut self, now: Instant, number: usize, clean: bool) {
        self.with(number, |task, _| {
            task.lose_link(now, clean, "socket closed");
        });
    }
}

impl Task {
    pub(crate) const fn key(&self) -> HandoffKey {
        self.call.key()
    }

    pub(crate) fn phase(&self) -> &'static str {
        self.call.phase()
    }

    /// The history has all of it.
    pub(crate) fn is_written(&self) -> bool {
        self.historian.is_done()
    }

    pub(crate) fn history(&self, store: &Store) -> Option<Session> {
        store.session(self.key())
    }

    pub(crate) fn leg_is_open(&self) -> bool {
        self.leg.is_some()
    }

    fn tell(&mut self, now: Instant, endpoint: &mut Endpoint, input: Input) {
        if self.ended.is_none() {
            self.call.handle_input(now, input);
            self.perform_all(now, endpoint);
        }
    }

    /// Leg events and commits; `true` when there was any.
    fn settle(&mut self, now: Instant, endpoint: &mut Endpoint) -> bool {
        let mut moved = false;
        self.serve_link(now);
        while let Some(event) = self.leg.as_mut().and_then(Leg::poll_event) {
            moved = true;
            self.tell(now, endpoint, Input::Leg(event));
            self.serve_link(now);
        }
        if let Some(result) = self.historian.write(now) {
            moved = true;
            self.tell(now, endpoint, Input::Committed(result));
        }
        if self.ended.is_some() || self.leg.as_ref().is_some_and(Leg::is_finished) {
            self.leg = None;
        }
        moved
    }

    fn perform_all(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(action) = self.call.poll_action() {
            self.perform(now, endpoint, action);
        }
    }

    fn perform(&mut self, now: Instant, endpoint: &mut Endpoint, action: Action) {
        match action {
            Action::Sip(Command::Refer { .. }) => panic!("a REFER without its receipt"),
            Action::Sip(command) => {
                if let Err(error) = endpoint.command(now, self.dialog, command) {
                    self.refused.push(error);
                }
            }
            Action::Refer(receipt, command)
            | Action::HangUpAndReturn(receipt, command)
            | Action::Redirect(receipt, command) => {
                assert_eq!(receipt.key(), self.key(), "a receipt for this very history");
                self.say_with_receipt(now, endpoint, command);
            }
            Action::OpenLeg(setup) => self.open_leg(now, *setup),
            Action::Leg(command) => self.tell_leg(now, command),
            Action::Record(event) => self.historian.record(event),
            Action::Commit { handoff } => self.historian.commit(handoff),
            Action::Milestone { .. } => {}
            Action::Reply(result) => self.replies.push(result),
            Action::Ended(last) => {
                assert!(self.ended.replace(*last).is_none(), "a call ends once");
            }
        }
    }

    fn say_with_receipt(&mut self, now: Instant, endpoint: &mut Endpoint, command: Command) {
        if let Err(error) = endpoint.command(now, self.dialog, command) {
            let why = error.to_string();
            self.refused.push(error);
            self.call.handle_input(now, Input::NotSent { why });
        }
    }

    fn open_leg(&mut self, now: Instant, setup: LegSetup) {
        let config = self.leg_config(&setup.media);
        let leg = Leg::new(now, config, self.agent.dialect(), setup.start, None);
        self.leg = Some(leg);
        self.link = Link::Dialling { since: now };
    }

    fn leg_config(&mut self, media: &sdp::Negotiated) -> leg::Config {
        let signalling: IpAddr = self.invited.flow.remote.ip();
        leg::Config {
            remote: media.remote,
            signalling,
            latch: LatchPolicy::Nat,
            codec: match media.codec {
                sdp::Codec::Pcmu => g711::Codec::Pcmu,
                sdp::Codec::Pcma => g711::Codec::Pcma,
            },
            telephone_event: media.telephone_event,
            comfort_noise: media.comfort_noise,
            send: media.send,
            receive: call::is_owed_audio(media),
            announce_speech: true,
            jitter: jitter::Config::default(),
            vad: vad::Config::default(),
            playout_max: secs(120),
            no_rtp_timeout: self.house.no_rtp_timeout,
            ssrc: self.entropy.next_u32(),
            seq: SeqNo((self.entropy.next_u32() & 0xffff) as u16),
            timestamp: RtpTimestamp(self.entropy.next_u32()),
        }
    }

    fn tell_leg(&mut self, now: Instant, command: leg::Command) {
        if let leg::Command::Answered = command {
            self.pace.is_due_from(now);
        }
        if let leg::Command::Renegotiated(media) = &command {
            if media.send {
                self.pace.is_due_from(now);
            } else {
                self.pace.stop(now);
            }
        }
        if let leg::Command::Close { .. } = command {
            self.pace.stop(now);
        }
        if let Some(leg) = &mut self.leg {
            leg.handle_command(now, command);
        }
    }

    /// What the leg wants of its agent's socket.
    fn serve_link(&mut self, now: Instant) {
        let mut closed = false;
        while let Some(output) = self.leg.as_mut().and_then(Leg::poll_link) {
            closed |= matches!(output, LinkOutput::Close { .. });
        }
        if closed {
            self.link = Link::Gone;
        }
        self.dial(now);
    }

    fn dial(&mut self, now: Instant) {
        let Link::Dialling { since } = self.link else {
            return;
        };
        match self.house.dial {
            Dial::Opens(after) if since + after <= now => {
                self.link = Link::Open;
                if let Some(leg) = &mut self.leg {
                    leg.handle_link_open(now);
                }
            }
            Dial::Refuses(after) if since + after <= now => {
                self.lose_link(now, false, "connection refused");
            }
            // The connector has the same patience as the call.
            Dial::Hangs if since + self.house.call.connect_timeout <= now => {
                self.lose_link(now, false, "no answer");
            }
            Dial::Opens(_) | Dial::Refuses(_) | Dial::Hangs => {}
        }
    }

    fn lose_link(&mut self, now: Instant, clean: bool, why: &str) {
        self.link = Link::Gone;
        if let Some(leg) = &mut self.leg {
            leg.handle_link_closed(now, clean, why.into());
        }
    }

    fn handle_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.dial(now);
        if self.call.poll_timeout().is_some_and(|at| at <= now) && self.ended.is_none() {
            self.call.handle_timeout(now);
            self.perform_all(now, endpoint);
        }
        if let Some(leg) = &mut self.leg
            && leg.poll_timeout().is_some_and(|at| at <= now)
        {
            leg.handle_timeout(now);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let dial = match (self.link, self.house.dial) {
            (Link::Dialling { since }, Dial::Opens(after) | Dial::Refuses(after)) => {
                Some(since + after)
            }
            (Link::Dialling { since }, Dial::Hangs) => {
                Some(since + self.house.call.connect_timeout)
            }
            (Link::Open | Link::Gone, _) => None,
        };
        let leg = self.leg.as_ref().and_then(Leg::poll_timeout);
        let call = self.call.poll_timeout().filter(|_| self.ended.is_none());
        [dial, leg, call, self.historian.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    fn tick(&mut self, now: Instant) -> Option<Datagram> {
        let leg = self.leg.as_mut()?;
        leg.handle_tick(now);
        let (to, packet) = leg.poll_transmit()?;
        self.pace.left(now);
        let payload = bytes::Bytes::copy_from_slice(packet);
        Some(Datagram {
            from: self.rtp,
            to,
            payload,
        })
    }
}
